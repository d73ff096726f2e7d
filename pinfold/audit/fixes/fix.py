"""Fix what is mechanical and safe: the same model, written as every transformers release reads it.

How it works:
- Code is changed at the places that its syntax tree gives, JSON at its top-level keys; all other bytes stay.
- Nothing is guessed: if a fault has more than one cure, nothing is changed, and the reason is printed.
- Nothing here imports or executes the folder, and only ``apply`` writes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from pinfold.audit.finding import Finding
from pinfold.audit.fixes import buffers, configuration, constructors, initialisation
from pinfold.audit.fixes.classes import Classes
from pinfold.audit.fixes.files import Fix
from pinfold.audit.fixes.settings import settings
from pinfold.audit.fixes.source import Source
from pinfold.audit.fixes.work import Work
from pinfold.audit.rules.own_loading import loads_itself
from pinfold.audit.run import audit, reachable_code, read_configs
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import ModelFolder, outside


@dataclass(frozen=True)
class Proposal:
    """What can be fixed in a directory.

    Args:
        reasons: one line for each fault in the code that has no mechanical cure: where it is, and why.
    """

    changes: list[Fix] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def propose(directory: Path, folder: ModelFolder) -> Proposal:
    """Everything that can be fixed in a directory; nothing is written.

    Args:
        directory: holds config.json and the like, as far as they are there.
        folder: its Python files, as ``read_modules`` read them.

    Raises:
        UserError: a file that would be changed is a link out of the directory.
    """
    directory = Path(directory)
    sources = {name: Source(module) for name, module in folder.modules.items()}
    for source in sources.values():
        Classes(folder, source).find_edits()
    _of_findings(directory, folder, sources)
    possible = [*(source.fix() for source in sources.values()), *settings(directory, folder)]
    changes = [fix for fix in possible if fix.after != fix.before]
    for fix in changes:
        if not fix.path.resolve().is_relative_to(directory.resolve()):
            raise outside(fix.path)
    return Proposal(changes, [reason for source in sources.values() for reason in source.reasons])


def _of_findings(directory: Path, folder: ModelFolder, sources: dict[str, Source]) -> None:
    """The fixes that need what the rules found: P12 to P15."""
    try:
        findings: list[Finding] = audit(directory, folder) if folder.modules else []
        configs = read_configs(directory)
    except UserError:  # a file that cannot be read: the audit that a check begins with says it
        return
    if not any(finding.code[:3] in ("P12", "P13", "P14", "P15") for finding in findings):
        return
    code = reachable_code(directory, folder, configs)
    work = Work(code, sources, findings)
    configuration.fix(work)
    if code.models and all(loads_itself(folder, cls) for cls in code.models):
        return  # what transformers does on the meta device does not happen to them
    initialisation.fix(work)
    buffers.fix(work)
    constructors.fix(work)
