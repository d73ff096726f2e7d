"""What a fix of the code goes by: the code, what the audit said of it, and the files to change."""

import ast
from dataclasses import dataclass

from pinfold.audit.finding import Finding
from pinfold.audit.fixes.source import Source
from pinfold.audit.reachable import ReachableCode
from pinfold.folder.model_folder import Module, located


@dataclass(frozen=True)
class Work:
    """A folder whose faults are to be fixed."""

    code: ReachableCode
    sources: dict[str, Source]
    findings: list[Finding]

    def source(self, module: Module) -> Source:
        """The file of a module, with its changes."""
        return self.sources[module.name]

    def reported(self, rule: str, module: Module, node: ast.AST) -> bool:
        """Whether the audit reports a fault at a node's line."""
        place = (rule, module.file, located(node).lineno)
        return any((finding.code, finding.file, finding.line) == place for finding in self.findings)
