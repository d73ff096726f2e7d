"""P55: code that takes apart what a module of transformers returns, which is another thing in other releases.

A decoder layer returned a tuple up to 4.53 and returns a tensor later; attention returned three values, and returns
two. ``hidden = layer(hidden)[0]`` then takes the first example of the batch, and an unpacking fails.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.reachable import ReachableCode
from pinfold.audit.rules.certain import CertainCalls
from pinfold.audit.rules.stock_flow import STOCK, Flows, is_certain, is_one
from pinfold.audit.rules.values import TENSOR, TUPLE, Record, Use
from pinfold.common.trees import walk
from pinfold.folder.releases import RELEASES, release_ranges

RESULTS = ("P55.load", "P55.forward", "P55.generate")
AS_A_TUPLE = ("unpack", "star", "item", "slice", "joined")
CURE = "Ask what it is: out[0] if isinstance(out, tuple) else out."


@dataclass
class _Place:
    """One use of a result: how it ends in each release in which that is known.

    Args:
        name: what returned it. wrong: release -> what is returned there. certain: it runs whenever the call does.
        apart: it is in a function that is handed the result. counted: it takes apart a tuple of another known number.
    """

    use: Use
    name: str
    apart: bool
    counted: bool = True
    right: set[str] = field(default_factory=set)
    wrong: dict[str, str] = field(default_factory=dict)
    certain: bool = False


def results(code: ReachableCode, certain: CertainCalls, flows: Flows) -> Iterator[Finding]:
    """P55: uses of results that are right in some of the supported releases alone, or in none as all show."""
    places: dict[tuple[ast.AST, str], _Place] = {}
    for cls in flows.concerned:
        for owner, function in _methods(code, cls):
            ends = (modules for modules, _ in (*flows.alike[:1], *flows.alike[-1:]))
            if not any(modules.read(cls, owner, function)[1].uses for modules in ends):
                continue  # what is not used in the oldest and in the newest is not looked for in between
            for modules, releases in flows.alike:
                _gather(places, modules.read(cls, owner, function)[1], function, releases)
    if flows.steps <= 0:  # what was read of some releases alone would say the wrong ones
        return
    by_call: dict[ast.Call, list[_Place]] = {}
    for place in places.values():
        if place.use.value.source is not None and place.wrong and (place.right or place.counted):
            by_call.setdefault(place.use.value.source, []).append(place)
    for source, wrong in by_call.items():
        yield from _finding(flows, source, wrong, certain)


def _methods(code: ReachableCode, cls: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    """The methods of a class that it has itself, and the forward that it inherits, with the class that has them."""
    node = code.folder.classes[cls][1]
    yield from ((cls, n) for n in node.body if isinstance(n, ast.FunctionDef) and is_one(node, n))
    inherited = code.folder.method(cls, "forward")
    if inherited is not None and inherited[0] != cls:
        yield inherited


def _gather(places: dict, record: Record, function: ast.FunctionDef, releases: list[str]) -> None:
    """Hold the uses in one method against what is returned."""
    calls = {node: (callee, path) for node, callee, path in record.calls}
    inside = set(walk(function)) if record.uses else set()
    for use in record.uses:
        if use.value.source not in calls:
            continue
        callee, path = calls[use.value.source]
        place = places.setdefault((use.node, use.way), _Place(use, callee.of[-1], use.node not in inside))
        place.certain |= is_certain(use.path, path)
        place.name = callee.of[-1] if callee.of[0] == STOCK else place.name
        wrong = _is_wrong(use)
        place.counted &= use.way == "unpack" and use.value.kind == TUPLE and use.value.least == use.value.most
        if wrong:
            place.wrong |= dict.fromkeys(releases, _words(use))
        elif wrong is not None:
            place.right |= set(releases)


def _is_wrong(use: Use) -> bool | None:
    """Whether a use fails with the value; None where that is not known."""
    value = use.value
    if value.kind == TENSOR:
        return use.way in AS_A_TUPLE
    if value.kind != TUPLE:
        return None
    if use.way == "unpack":
        return use.count < value.least or (value.most is not None and use.count > value.most)
    if use.way == "star":
        return value.most is not None and use.count > value.most
    if use.way == "item":
        return use.count >= 0 and value.most is not None and use.count >= value.most
    return use.way not in AS_A_TUPLE


def _words(use: Use) -> str:
    value = use.value
    if value.kind == TENSOR:
        return "a tensor"
    return str(value.least) if use.way == "unpack" and value.least == value.most else "a tuple"


def _finding(flows: Flows, source: ast.Call, wrong: list[_Place], certain: CertainCalls) -> Iterator[Finding]:
    wrong.sort(key=lambda place: (place.apart, getattr(place.use.node, "lineno", 0)))
    first = wrong[0]
    module = flows.file_of_nodes.get(first.use.node)
    if module is None:
        return
    affected = tuple(r for r in RELEASES if any(r in place.wrong for place in wrong))
    expects = "a tuple" if first.use.way in AS_A_TUPLE else "a tensor"
    expects = f"{first.use.count} values" if first.use.way == "unpack" else expects
    stage = certain.stage.get(source, "") if any(place.certain for place in wrong) else ""
    line = getattr(first.use.node, "lineno", source.lineno)
    yield Finding(
        "P55",
        f"{module.file}:{line}: {module.text(first.use.node, 60)} expects {expects}, and {first.name} returns "
        f"{' or '.join(dict.fromkeys(first.wrong.values()))} in transformers {release_ranges(affected)}.",
        module.file,
        line,
        fix=CURE,
        releases=affected,
        severity="error" if stage else WARNING,
        case=f"P55.{stage}" if stage else "",
    )
