"""P68: code that refuses releases of transformers itself, when its file is imported or its classes are built."""

import ast
import dataclasses
import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from pinfold.audit.finding import Finding
from pinfold.audit.reachable import (
    ReachableCode,
    assignments,
    call_name,
    chain,
    combined,
    is_combined,
    string,
)
from pinfold.audit.rules.members import mains
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module
from pinfold.folder.releases import every_minor, release_ranges

COMPARES: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
PARSES = ("parse", "Version", "parse_version", "LooseVersion", "StrictVersion")


def refuses(code: ReachableCode) -> Iterator[Finding]:
    """P68: a raise, an assert or require_version that a release alone decides."""
    supported = [r for r in every_minor() if tuple(map(int, r.split(".")[:2])) >= code.lowest_version]
    bodies: list[tuple[Module, list[ast.stmt]]] = [(module, module.tree.body) for module in code.modules]
    for cls in (*mains(code), code.auto_map.get("AutoConfig", "").split(".")[-1]):
        init = code.folder.method(cls, "__init__") if cls in code.folder.classes else None
        bodies += [(code.folder.classes[init[0]][0], init[1].body)] if init else []
    for module, body in bodies:
        known = _Known(module)
        for statement in body:
            affected = tuple(r for r in supported if known.refused(statement, r))
            if affected:
                line = statement.lineno
                yield Finding(
                    "P68",
                    f"{module.file}:{line}: {module.text(statement, 60)} refuses transformers "
                    f"{release_ranges(affected)}.",
                    module.file,
                    line,
                    fix="Say so in requirements.txt and in the card, or let it warn.",
                    releases=affected,
                )


def met(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings without those that no load comes to, as the code refuses each release that they concern."""
    listed = list(findings)
    refused = {release for finding in listed if finding.code == "P68" for release in finding.releases}
    for finding in listed:
        left = tuple(release for release in finding.releases if release not in refused)
        if finding.code == "P68" or left == finding.releases:
            yield finding
        elif left:
            yield dataclasses.replace(finding, releases=left)


class _Known:
    """What the statements of a file come to in a release, as far as the version alone decides."""

    def __init__(self, module: Module):
        self.module = module
        self.named = {
            target.id: value
            for statement in module.tree.body
            for target, value in assignments(statement)
            if isinstance(target, ast.Name) and value is not None
        }

    def refused(self, statement: ast.stmt, release: str) -> bool:
        """Whether a statement raises in a release."""
        if isinstance(statement, ast.If):
            holds = self.holds(statement.test, release)
            branch = [] if holds is None else statement.body if holds else statement.orelse
            return any(isinstance(each, ast.Raise) or self.refused(each, release) for each in branch)
        if isinstance(statement, ast.Assert):
            return self.holds(statement.test, release) is False
        call = statement.value if isinstance(statement, ast.Expr) else None
        if isinstance(call, ast.Call) and call.args and (text := string(call.args[0])):
            if call_name(call) == "require_version":
                return _not_met(text, release)
            if call_name(call) == "check_min_version":
                return _version(text) is not None and Version(release) < Version(text)
        return False

    def holds(self, test: ast.expr, release: str) -> bool | None:
        """Whether a condition holds; None where more than the version decides."""
        if is_combined(test):
            return combined(test, lambda part: self.holds(part, release))
        if isinstance(test, ast.Name) and test.id in self.named and isinstance(self.named[test.id], ast.Compare):
            return self.holds(self.named[test.id], release)
        if not isinstance(test, ast.Compare) or len(test.ops) != 1 or type(test.ops[0]) not in COMPARES:
            return None
        left, right = self.value(test.left, release), self.value(test.comparators[0], release)
        if left is None or right is None:
            return None
        if type(left) is not type(right):
            return None
        try:
            return bool(COMPARES[type(test.ops[0])](left, right))
        except TypeError:  # (4, 54) < ("4", "54"): raises in every release, which is another matter
            return None

    def value(self, node: ast.expr, release: str, deep: int = 4) -> Any:
        """A version, the numbers of one, or its text; None where it is something else."""
        if not deep:
            return None
        if isinstance(node, ast.Name) and node.id in self.named:
            return self.value(self.named[node.id], release, deep - 1)
        if self._is_version(node):
            return release
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, int)):
            return node.value
        if isinstance(node, ast.Tuple) and all(isinstance(each, ast.Constant) for each in node.elts):
            return tuple(each.value for each in node.elts if isinstance(each, ast.Constant))
        if isinstance(node, ast.Call) and call_name(node) in PARSES and node.args:
            text = self.value(node.args[0], release, deep - 1)
            return _version(text) if isinstance(text, str) else None
        if isinstance(node, ast.Attribute) and node.attr in ("major", "minor", "release"):
            whole = self.value(node.value, release, deep - 1)
            return getattr(whole, node.attr) if isinstance(whole, Version) else None
        if isinstance(node, ast.Call) and any(self._is_version(part) for part in every(node, ast.Attribute, ast.Name)):
            numbers, text = Version(release).release, ast.unparse(node)
            cut = re.search(r"\[:(\d)\]", text)
            if call_name(node) == "tuple":  # tuple(int(part) for part in transformers.__version__.split(".")[:2])
                return numbers[: int(cut[1])] if cut else numbers
            if call_name(node) == "int" and "[0]" in text:
                return numbers[0]
        return None

    def _is_version(self, node: ast.AST) -> bool:
        """transformers.__version__, or that name where it was imported from transformers."""
        path = chain(node)
        if not path or (path[-1] != "__version__" and len(path) > 1):
            return False
        place, name = self.module.imports.get(path[0], ("", ""))
        if len(path) == 1:
            return (place, name) == ("transformers", "__version__")
        return (place or name).split(".")[0] == "transformers" and len(path) == 2


def _version(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def _not_met(text: str, release: str) -> bool:
    try:
        asked = Requirement(text)
    except InvalidRequirement:
        return False
    return asked.name == "transformers" and not asked.specifier.contains(release, prereleases=True)
