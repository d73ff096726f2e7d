"""P56: a module of the folder in the place of one of transformers', which calls it otherwise in other releases.

An attention of its own is handed position_embeddings, past_key_value, later past_key_values; a decoder layer had to
return a tuple up to 4.53, and has to return a tensor later.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.audit import stock
from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.reachable import ReachableCode, call_name, defaults, parameters
from pinfold.audit.rules.members import built, mains
from pinfold.audit.rules.stock_flow import OWN, STOCK, Flows, Modules, writes_or_derives
from pinfold.audit.rules.values import MODULE, MODULES, SELF, TENSOR, TUPLE, Stored, Value
from pinfold.common.trees import every
from pinfold.folder.releases import RELEASES, release_ranges

PLACES = FORWARD, TEXT = "P56.forward", "P56.text"
CACHES = ("past_key_value", "past_key_values", "layer_past", "cache")


@dataclass
class _Taken:
    """A module of the folder in a place of transformers', and what goes wrong there in which releases."""

    cls: str
    base: str
    part: str
    known: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)
    returned: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    without_cache: dict[str, str] = field(default_factory=dict)
    certain: bool = False


def places(code: ReachableCode, flows: Flows) -> Iterator[Finding]:
    """P56: own modules that transformers' code calls."""
    taken: dict[tuple[str, str, str], _Taken] = {}
    surely = set(built(code))
    for modules, releases in flows.alike:
        for cls in flows.concerned:
            for stored in modules.built(cls).stored:
                for file, base in _callers(code, modules, cls, stored):
                    calls = stock.handed(file, base, stored.name, modules.release)
                    own = stored.value.of[1]
                    if calls and code.folder.method(own, "forward"):
                        one = taken.setdefault((own, base, stored.name), _Taken(own, base, stored.name))
                        one.certain |= cls in surely and not stored.path and all(call.certain for call in calls)
                        lost = stock.ever_handed(file, base, stored.name)
                        lost -= stock.handed_above(file, base, modules.release)
                        _hold(code, modules, one, releases, calls, lost)
    for one in taken.values() if flows.steps > 0 else ():
        yield from _findings(code, one)


def _callers(code: ReachableCode, modules: Modules, cls: str, stored: Stored) -> Iterator[tuple[str, str]]:
    """(file, class) of transformers whose forward calls what is stored."""
    if stored.value.kind not in (MODULE, MODULES) or stored.value.of[:1] != (OWN,):
        return
    owner = (OWN, cls) if stored.owner == SELF else stored.owner
    if owner[:1] == (STOCK,):
        if owner in _running(code, modules, cls):
            yield owner[1], owner[2]
    elif owner[:1] == (OWN,) and _goes_on(code, owner[1]) and (base := modules.base(owner[1])):
        yield base


def _running(code: ReachableCode, modules: Modules, cls: str) -> set[tuple[str, ...]]:
    """Modules of transformers whose forward runs when that of a class does."""
    running: set[tuple[str, ...]] = set()
    base = modules.base(cls)
    if base and _goes_on(code, cls):
        modules.reached((STOCK, *base), running)
    definition = code.folder.method(cls, "forward")
    if definition is not None:
        for _, callee, _ in modules.read(cls, *definition)[1].calls:
            if callee.of[:1] == (STOCK,):
                modules.reached(callee.of, running)
    return running


def _goes_on(code: ReachableCode, cls: str) -> bool:
    """Whether forward of transformers' class runs: the folder's classes have none, or go on to it."""
    own = code.folder.method(cls, "forward")
    return own is None or any(
        call_name(call) == "forward" and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call)
        for call in every(own[1], ast.Call)
    )


def taken_by(function: ast.FunctionDef) -> stock.Parameters:
    """What may be handed to a method."""
    signature = function.args
    positional = tuple(each.arg for each in [*signature.posonlyargs, *signature.args])[1:]
    optional = defaults(function)
    names = [each.arg for each in parameters(function)][1:]
    return stock.Parameters(
        positional,
        {each.arg: "" for each in signature.kwonlyargs},
        frozenset(name for name in names if name not in optional),
        signature.vararg is not None,
        signature.kwarg is not None,
    )


def _hold(
    code: ReachableCode,
    modules: Modules,
    one: _Taken,
    releases: list[str],
    calls: tuple[stock.Handed, ...],
    named: frozenset[str],
) -> None:
    """Hold a module's forward against the calls in releases that are alike.

    Args:
        named: what the caller names in some release, and is not handed itself here, so that its **kwargs lack it.
    """
    definition = code.folder.method(one.cls, "forward")
    if definition is None or definition[1].decorator_list:
        return
    takes = taken_by(definition[1])
    value = modules.returned((OWN, one.cls))
    one.known |= set(releases)
    for call in calls:
        missing = named.intersection(takes.missing(call.count, call.names)) if call.count is not None else None
        why = takes.refuses_these(call.count, call.names, call.rest)
        if why := why or (f"needs {min(missing)}" if missing else ""):
            one.refused |= dict.fromkeys(releases, why)
        if expected := _other_result(call.result, value):
            one.expected |= dict.fromkeys(releases, expected)
            one.returned |= dict.fromkeys(releases, _words(value))
        handed = [name for name in call.names if name in CACHES]
        if handed and _loses_cache(definition[1], handed):
            one.without_cache |= dict.fromkeys(releases, handed[0])


def _loses_cache(function: ast.FunctionDef, handed: list[str]) -> bool:
    """Whether forward uses a cache, and not under the name under which it is handed over."""
    named = {each.arg for each in parameters(function) if each.arg in CACHES}
    used = {part.id for part in every(function, ast.Name) if part.id in named and isinstance(part.ctx, ast.Load)}
    by_text = {part.value for part in every(function, ast.Constant)} & set(CACHES)
    return bool(used and function.args.kwarg) and not by_text and not named.intersection(handed)


def _other_result(result: str, value: Value) -> str:
    """What a caller expects where the value is another thing; "" where it is right, or not known."""
    if value.kind not in (TENSOR, TUPLE) or not result:
        return ""
    if result == "t":
        return "a tensor" if value.kind == TUPLE else ""
    if result == "i":
        return "a tuple" if value.kind == TENSOR else ""
    count = int(result)
    fits = value.kind == TUPLE and value.least <= count and (value.most is None or value.most >= count)
    return "" if fits else f"{count} values"


def _words(value: Value) -> str:
    if value.kind == TENSOR:
        return "a tensor"
    return f"{value.least} values" if value.least == value.most and value.least > 1 else "a tuple"


def _findings(code: ReachableCode, one: _Taken) -> Iterator[Finding]:
    severity = "error" if one.certain else WARNING
    definition = code.folder.method(one.cls, "forward")
    owner, function = definition if definition else (one.cls, None)

    def finding(words: str, releases: set[str] | dict[str, str], fix: str, case: str) -> Finding:
        affected = tuple(release for release in RELEASES if release in releases)
        sentence = f"{one.cls}.forward {words} in transformers {release_ranges(affected)}."
        more = {"releases": affected, "fix": fix, "severity": severity, "case": case if one.certain else ""}
        return code.finding("P56", sentence, owner, function, **more)

    if one.refused:
        reasons = list(dict.fromkeys(one.refused[release] for release in RELEASES if release in one.refused))
        why = reasons[0]
        if all(reason.startswith("takes no ") and reason.split()[-1] != "name" for reason in reasons):
            why = f"takes no {' and no '.join(reason.removeprefix('takes no ') for reason in reasons)}"
        does = "gives it more" if why.endswith("without a name") else "calls it with that"
        cure = "Take *args and **kwargs too." if why.endswith("without a name") else "Take **kwargs too."
        if why.startswith("needs "):
            does, cure = "does not give it", f"Give {why.removeprefix('needs ')} a default."
        yield finding(f"{why}, and {one.base}, whose {one.part} it is, {does}", one.refused, cure, FORWARD)
    counted = all(expected.endswith("values") for expected in one.expected.values())
    counted &= "a tuple" not in one.returned.values() and "a tensor" not in one.returned.values()
    if one.expected and (counted or set(one.expected) < one.known):
        first = min(one.expected, key=RELEASES.index)
        words = f"returns {one.returned[first]}, and {one.base}, whose {one.part} it is, expects {one.expected[first]}"
        cure = f"Ask transformers.__version__, and return {one.expected[first]} there."
        yield finding(words, one.expected, cure, FORWARD)
    if (
        one.without_cache
        and set(one.without_cache) < one.known
        and any(writes_or_derives(code, cls) for cls in mains(code))
    ):
        words = f"does not use the cache, which {one.base}, whose {one.part} it is, hands over under another name"
        cure = f"Read it from **kwargs too, as {' and as '.join(dict.fromkeys(one.without_cache.values()))}."
        yield finding(words, one.without_cache, cure, TEXT)
