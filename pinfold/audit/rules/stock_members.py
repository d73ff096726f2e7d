"""P09: methods of transformers' model classes that some release lacks, of the class or of one that derives from it.

``_update_causal_mask = LlamaModel._update_causal_mask`` in the body of a class fails when the file is imported, and
``self._update_causal_mask(...)`` when forward runs. Which classes lost which methods is in stock.json.gz.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from pinfold.audit import stock
from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.reachable import ReachableCode, call_name, is_self_attribute, string
from pinfold.audit.rules.certain import LOAD, CertainCalls
from pinfold.audit.rules.guards import guarded
from pinfold.audit.rules.members import IN_FORWARD, WHILE_GENERATING
from pinfold.audit.rules.stock_flow import stock_bases
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module
from pinfold.folder.releases import RELEASES, release_ranges, releases_of_names

CASES = {LOAD: "", "forward": IN_FORWARD, "generate": WHILE_GENERATING}


@dataclass(frozen=True)
class _Taken:
    """A method that is taken of a class of transformers: where, of which, and the releases that lack it."""

    node: ast.Attribute
    base: str
    releases: tuple[str, ...]


def lost_members(code: ReachableCode, certain: CertainCalls) -> Iterator[Finding]:
    """P09: methods that releases took out of their model classes."""
    for module in code.modules:
        taken = [*_of_classes(code, module), *_of_objects(code, module)]
        if not taken:
            continue
        expected = _expected_to_lack(module)
        functions = every(module.tree, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
        inside = {part for function in functions for part in every(function, ast.Attribute)}
        stages = {call.func: stage for call, stage in certain.stage.items()}
        seen: set[tuple[str, str]] = set()
        staged = [(stages.get(each.node, "") if each.node in inside else LOAD, each) for each in taken]
        for stage, each in sorted(
            staged, key=lambda one: (not one[0], one[1].node.lineno)
        ):  # what is sure to run first
            if each.node in expected or (each.base, each.node.attr) in seen:
                continue
            seen.add((each.base, each.node.attr))
            yield Finding(
                "P09",
                f"{module.file}:{each.node.lineno}: {each.base}.{each.node.attr} does not exist in transformers "
                f"{release_ranges(each.releases)}. Use code of your own.",
                module.file,
                each.node.lineno,
                releases=each.releases,
                severity=ERROR if stage else WARNING,
                case=CASES.get(stage, ""),
            )


def _lost(code: ReachableCode, place: str, base: str, name: str) -> tuple[str, ...]:
    """Supported releases in which a class lacks a method; those that P09 knows of PreTrainedModel are left out."""
    if name in releases_of_names("members", "PreTrainedModel") or name in releases_of_names(
        "members", "GenerationMixin"
    ):
        return ()
    lost = stock.lost(place, base).get(name, {})
    return tuple(r for r in RELEASES if r in lost and tuple(map(int, r.split(".")[:2])) >= code.lowest_version)


def _of_classes(code: ReachableCode, module: Module) -> Iterator[_Taken]:
    """Base.method, where that is read."""
    for node in every(module.tree, ast.Attribute):
        if isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name):
            place, name = module.imports.get(node.value.id, ("", ""))
            if place.split(".")[0] == "transformers" and (releases := _lost(code, place, name, node.attr)):
                yield _Taken(node, name, releases)


def _of_objects(code: ReachableCode, module: Module) -> Iterator[_Taken]:
    """self.method and super().method in classes that derive from it, where the folder has no method of the name."""
    for cls, (where, node) in code.folder.classes.items():
        if where is not module:
            continue
        taken = []
        for place, base in stock_bases(code, cls):
            for part in every(node, ast.Attribute):
                of_super = isinstance(part.value, ast.Call) and call_name(part.value) == "super"
                is_read = isinstance(part.ctx, ast.Load) and (of_super or is_self_attribute(part))
                if is_read and (releases := _lost(code, place, base, part.attr)):
                    taken.append(_Taken(part, base, releases))
        own = _own_names(code, cls) if taken else set()
        yield from (each for each in taken if not (is_self_attribute(each.node) and each.node.attr in own))


def _own_names(code: ReachableCode, cls: str) -> set[str]:
    """What the classes that this one derives from, and those that derive from it, define or set themselves."""
    related = {name for name in code.folder.classes if cls in code.folder.lineage(name)} | set(
        code.folder.lineage(cls)
    )
    names: set[str] = set()
    for name in related:
        node = code.folder.classes[name][1]
        names |= {part.name for part in node.body if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef))}
        names |= {part.id for statement in node.body for part in _targets(statement)}
        names |= {part.attr for part in every(node, ast.Attribute) if isinstance(part.ctx, ast.Store)}
    return names


def _targets(statement: ast.stmt) -> list[ast.Name]:
    targets = getattr(statement, "targets", [getattr(statement, "target", None)])
    return [target for target in targets if isinstance(target, ast.Name)]


def _expected_to_lack(module: Module) -> set[ast.AST]:
    """Attributes whose absence is expected: behind try, a question for the version, hasattr, getattr or dir."""
    calls = every(module.tree, ast.Call)
    asked = {
        string(call.args[1]) for call in calls if call_name(call) in ("hasattr", "getattr") and len(call.args) > 1
    }
    asked |= {string(test.left) for test in every(module.tree, ast.Compare) if _looks_into_dir(test)}
    expected = guarded(module, ast.Attribute, "AttributeError")
    return expected | {part for part in every(module.tree, ast.Attribute) if part.attr in asked}


def _looks_into_dir(test: ast.Compare) -> bool:
    where = test.comparators[0]
    return isinstance(test.ops[0], (ast.In, ast.NotIn)) and isinstance(where, ast.Call) and call_name(where) == "dir"
