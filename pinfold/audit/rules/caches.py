"""P32 and P34: models that generate() of some release cannot run.

Up to 4.53 generate() handed a model without _supports_cache_class the tuples that it had returned itself. Since 4.54
it makes a DynamicCache for every model that does not say otherwise; the ranges are measured (ranges.json).
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    defined_functions,
    parameters,
    string,
)
from pinfold.audit.rules.generation import (
    WRITES_TEXT,
    derives,
    drops_the_cache,
    generates,
    generates_itself,
    has_unknown_base,
    writes_text,
)
from pinfold.audit.rules.handed import (
    attributes_of,
    calls_of,
    case_of_tuples,
    expected,
    goes_on,
    hands_on,
    of_something_else,
    replaces_empty,
    where_true,
)
from pinfold.audit.rules.not_built import NotBuilt
from pinfold.common.trees import every, walk
from pinfold.folder.model_folder import Module, located

CACHES = ("past_key_values", "past_key_value", "cache", "layer_past", "past")
EMPTY = "P32.empty_asked"  # an empty cache is false up to 4.55, and true later
HELPERS_DEEP = 2  # calls of the folder's own functions that are followed with the cache
ASKS_FOR_CLASS = ("from_legacy_cache", "get_seq_length", "to_legacy_cache", "get_usable_length")


def tuple_caches(code: ReachableCode) -> Iterator[Finding]:
    """P32: code that takes the cache for a tuple of tuples."""
    without = NotBuilt(code).nodes
    for cls in code.models:
        if code.folder.is_stock(cls) or not is_handed_a_cache(code, cls):
            continue
        if (case := case_of_tuples(code, cls)) is None:
            continue
        places: list[tuple[str, tuple[Module, ast.AST], bool]] = []
        empty_is_none = False  # what one of these functions hands on to the next
        for name, definition in get_the_cache(code, cls):
            owner, function = definition
            reading = _Reading(
                code, cls if name != "forward" or code.folder.method(cls, name) == definition else owner, without
            )
            reading.look_at(code.folder.classes[owner][0], function, of_cache(function))
            place = reading.place or reading.where_true
            if place is not None and not reading.asks:
                places.append((f"{owner}.{name}", place, empty_is_none or reading.place is None))
            empty_is_none = empty_is_none or replaces_empty(function, of_cache(function))
        if places:  # the first that an empty cache comes to as well, as that fails in more releases
            yield _of_tuples(code, cls, case, *min(places, key=lambda each: each[2]))


def _of_tuples(
    code: ReachableCode, cls: str, case: str, method: str, place: tuple[Module, ast.AST], filled: bool
) -> Finding:
    """P32. filled: an empty cache of a release in which it is false does not come there."""
    unmet = harmed("P26.past_key_values_only") if drops_the_cache(code, cls) else ()
    if filled:
        unmet += tuple(release for release in harmed(case) if release not in harmed(EMPTY))
    module, node = place
    line = located(node).lineno
    return Finding(
        "P32",
        f"{module.file}:{line}: {method} reads the cache as a tuple, {module.text(node, 60)}, but "
        "generate passes a DynamicCache.",
        module.file,
        line,
        fix="Take its length from past_key_values.get_seq_length(), give each layer the cache and its "
        f"index, and let it call key, value = cache.update(key, value, index).{_flag(code, cls)}",
        releases=tuple(r for r in harmed(case, code.lowest_version) if r not in unmet),
        case=case,
    )


def _flag(code: ReachableCode, cls: str) -> str:
    """What older releases look for before they hand a cache over as one.

    Measured of a second turn without it: 4.48.3 hands over tuples, 4.52.4 and 4.53.3 refuse one, 4.54.1 does not ask.
    """
    if code.lowest_version >= (4, 54) or code.folder.attribute(cls, "_supports_cache_class") is not None:
        return ""
    return f" Let {cls} have _supports_cache_class = True: without it, generate of older releases hands over tuples."


def get_the_cache(code: ReachableCode, cls: str) -> Iterator[tuple[str, tuple[str, ast.FunctionDef]]]:
    """Functions to which generate hands the cache: of the class, and forward of the models that it builds."""
    prepare = code.folder.method(cls, "prepare_inputs_for_generation")
    if prepare and not _sees(prepare[1]):
        return
    if prepare:
        yield "prepare_inputs_for_generation", prepare
        if _keeps_it(prepare[1]):
            return
    if definition := code.folder.method(cls, "forward"):
        yield "forward", definition
    forward = code.folder.method(cls, "forward")
    words = {n.id for n in every(forward[1], ast.Name)} if forward else set()
    if not words & {*CACHES, "kwargs"}:
        return
    seen, waiting = {cls}, [cls]
    while waiting:  # a model hands it to its decoder, which may be a model of its own
        outer = waiting.pop()
        built = {call_name(c) for owner in code.folder.lineage(outer) for c in calls(code.folder.classes[owner][1])}
        for part in sorted((built & set(code.folder.classes)) - seen):
            inner = code.folder.method(part, "forward") if code.folder.kind(part) == "model" else None
            if inner is not None and _may_get_it(code, outer, part):
                seen.add(part)
                yield "forward", inner
                waiting += [part] * bool({n.id for n in every(inner[1], ast.Name)} & {*CACHES, "kwargs"})


def is_handed_a_cache(code: ReachableCode, cls: str) -> bool:
    """Whether transformers' generate runs the class, or will, once it derives from GenerationMixin."""
    return (writes_text(code, cls) or generates(code, cls)) and not generates_itself(code, cls)


def _may_get_it(code: ReachableCode, outer: str, part: str) -> bool:
    """Whether a model hands what it is given to a part, as far as its calls of the part show."""
    found = list(calls_of(code, outer, attributes_of(code, outer, part)))
    return not found or any(
        hands_on(call, names, of_something_else(function, names))
        for function, call in found
        for names in [of_cache(function)]
    )


def _keeps_it(prepare: ast.FunctionDef) -> bool:
    """Whether forward does not get the cache of generate: it is not handed on, or made another after a question."""
    names = {CACHES[0]} & {each.arg for each in parameters(prepare)}
    if not names:
        return False
    asks = any(
        isinstance(node, ast.Call) and (call_name(node) in ASKS_FOR_CLASS or _asks_what_it_is(node, names))
        for node in walk(prepare)
    )
    # an empty cache becomes tuples without tensors, which are as little what the code expects
    names_asked = {call_name(call) for call in calls(prepare)}
    asks = asks and ("to_legacy_cache" not in names_asked or "get_seq_length" in names_asked)
    changed = any(
        isinstance(target, ast.Name) and target.id in names
        for node in every(prepare, *ASSIGNMENTS)
        for target, _ in assignments(node)
    )
    return not goes_on(prepare, names) or (asks and changed)


def _sees(prepare: ast.FunctionDef) -> bool:
    """Whether a prepare_inputs_for_generation sees the cache, which generate calls past_key_values, not past."""
    rest = prepare.args.kwarg.arg if prepare.args.kwarg else ""
    for node in walk(prepare):
        if isinstance(node, ast.arg) and node.arg == "past_key_values":
            return True
        if isinstance(node, ast.Call):
            reads = call_name(node) in ("get", "pop", "setdefault") and bool(node.args)
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            whole = any(
                isinstance(v, ast.Starred) and isinstance(v.value, ast.Name) and v.value.id == rest for v in given
            )
            whole = whole or any(isinstance(v, ast.Name) and v.id == rest for v in given)
            if whole or (reads and string(node.args[0]) == "past_key_values"):
                return True
        if isinstance(node, ast.Subscript) and string(node.slice) == "past_key_values":
            return True
        if isinstance(node, ast.Dict) and any(key is None for key in node.keys):  # {**kwargs}
            return True
    return False


class _Reading:
    """Where a function, or one of the folder's own that it hands the cache to, reads an entry of it.

    Args:
        cls: the class whose methods self.name(...) means. without: nodes that the settings rule out.
    """

    def __init__(self, code: ReachableCode, cls: str, without: set[int]):
        self.code = code
        self.cls = cls
        self.without = without
        self.place: tuple[Module, ast.AST] | None = None
        self.where_true: tuple[Module, ast.AST] | None = None  # one that an empty cache of 4.54 does not come to
        self.asked = False
        self.asks = False  # the code asks what the cache is, and may then read both kinds

    def look_at(self, module: Module, function: ast.FunctionDef, names: set[str], depth: int = 0) -> None:
        """Look through a function in which these names hold the cache."""
        helpers = []
        other = of_something_else(function, names) | expected(function)
        true = where_true(function, names)
        for node in (each for each in walk(function) if id(each) not in self.without):
            if isinstance(node, ast.Call) and (call_name(node) in ASKS_FOR_CLASS or _asks_what_it_is(node, names)):
                self.asks = True
            if isinstance(node, (ast.If, ast.IfExp)) and _is_asked(node.test, names):
                self.asks = True
            parts: list[ast.AST] = []
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load) and string(node.slice) is None:
                parts = [node.value]
            elif isinstance(node, ast.Call) and call_name(node) in ("zip", "enumerate"):
                parts = list(node.args)
            elif isinstance(node, (ast.For, ast.comprehension)):
                parts = [node.iter]
            elif isinstance(node, ast.Call):
                helpers.append(node)
            for part in parts:
                held = part.values[0] if isinstance(part, ast.BoolOp) and isinstance(part.op, ast.Or) else part
                if not (isinstance(held, ast.Name) and held.id in names) or held in other:
                    continue
                place = module, node if isinstance(node, ast.expr) else part
                if self.asked or held in true or held is not part:
                    self.where_true = self.where_true or place
                else:
                    self.place = self.place or place
        asked = self.asked
        for call in helpers if depth < HELPERS_DEEP else ():
            self.asked = asked or call in true
            self._follow(module, call, names, depth)
        self.asked = asked

    def _module(self, attribute: str) -> str:
        """The class of the folder that alone can be self.attribute, a module and no model; else nothing."""
        parts = [
            part
            for part in self.code.torch_modules
            if self.code.folder.kind(part) != "model" and attribute in attributes_of(self.code, self.cls, part)
        ]
        return parts[0] if len(parts) == 1 else ""

    def _follow(self, module: Module, call: ast.Call, names: set[str], depth: int) -> None:
        """self.length(cache), Class.length(cache) or length(cache), where that is a function of the folder.

        Also self.decoder(cache), where that is a module and no model.
        """
        given = [*enumerate(call.args), *((k.arg, k.value) for k in call.keywords)]
        handed = [place for place, value in given if isinstance(value, ast.Name) and value.id in names]
        if not handed:
            return
        func, owner, part = call.func, "", ""
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name):
            of = self.cls if func.value.id in ("self", "cls") else func.value.id
            method = self.code.folder.method(of, func.attr) if of in self.code.folder.classes else None
            part = self._module(func.attr) if method is None and func.value.id == "self" else ""
            owner, function = method or self.code.folder.method(part, "forward") or ("", None)
        elif isinstance(func, ast.Name):
            place, name = module.imports.get(func.id, ("", func.id))
            module = self.code.folder.modules.get(place.lstrip("."), module) if place.startswith(".") else module
            function = defined_functions(module).get(name)
        else:
            return
        if function is None:
            return
        module = self.code.folder.classes[owner][0] if owner else module
        arguments = [each.arg for each in parameters(function)]
        static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
        arguments = arguments[1:] if owner and not static else arguments
        held = {arguments[at] for at in handed if isinstance(at, int) and at < len(arguments)}
        held |= {at for at in handed if isinstance(at, str) and at in arguments}
        if held:
            outer, self.cls = self.cls, part or self.cls
            self.look_at(module, function, of_cache(function, held), depth + 1)
            self.cls = outer


def _asks_what_it_is(call: ast.Call, names: set[str]) -> bool:
    """isinstance(past_key_values, Cache), hasattr(past_key_values, "get_seq_length"), type(past_key_values)"""
    first = call.args[0] if call.args else None
    return call_name(call) in ("isinstance", "hasattr", "type") and isinstance(first, ast.Name) and first.id in names


def _is_asked(test: ast.expr, names: set[str]) -> bool:
    """A function of the folder that is given the cache decides: if is_legacy(past_key_values)."""
    return any(
        isinstance(node, ast.Call) and any(isinstance(a, ast.Name) and a.id in names for a in node.args)
        for node in walk(test)
    )


def of_cache(function: ast.FunctionDef, held: set[str] | None = None) -> set[str]:
    """Names that hold the cache: its argument, and what is assigned from it as it is.

    Args:
        held: the arguments that hold it, where it is not known by their names.
    """
    rebound: set[str] = set()
    names = {a.arg for a in parameters(function)} & set(CACHES) if held is None else set(held)
    own = set(names)
    for node in every(function, *ASSIGNMENTS):
        for target, value in assignments(node):
            branches = [value]
            if isinstance(value, ast.IfExp):
                branches = [value.body, value.orelse]
            elif isinstance(value, ast.BoolOp):
                branches = list(value.values)
            if isinstance(target, ast.Name) and any(isinstance(b, ast.Name) and b.id in names for b in branches):
                names.add(target.id)
            elif not isinstance(target, ast.Name) or target.id in own:
                continue  # an argument that becomes a list where there is none is a cache where there is one
            elif isinstance(value, (ast.List, ast.Tuple, ast.ListComp, ast.BinOp)):
                rebound.add(target.id)  # pasts = [None] * n without a cache: then it is the code's own list
    return names - rebound


def cannot_generate(code: ReachableCode) -> Iterator[Finding]:
    """P34: a class that is registered to write text and has no generate. A call of self.generate is P09's."""
    for auto, place in sorted(code.auto_map.items()):
        cls = place.split(".")[-1]
        if auto not in WRITES_TEXT or cls not in code.models or code.folder.is_stock(cls):
            continue
        if has_unknown_base(code, cls) or code.folder.method(cls, "generate"):
            continue
        behind = _hides_mixin(code, cls)
        if not writes_text(code, cls):
            words = (
                f"{cls} is registered as {auto}, and has no generate: transformers adds it to classes that derive "
                "from GenerationMixin, or prepare their inputs themselves."
            )
            fix, case = f"Write class {cls}(..., GenerationMixin), with from transformers import GenerationMixin.", ""
        elif behind and not code.folder.method(cls, "prepare_inputs_for_generation"):
            words = (
                f"{cls} has GenerationMixin from {behind} alone, where transformers does not look for it: generate "
                "raises."
            )
            fix = f"Name it beside the others: class {cls}(..., GenerationMixin)."
            case = "P34.own_mixin" if code.folder.kind(behind) != "model" else "P34.mixin_of_base"
        else:
            continue
        case = case or "P34.no_mixin"
        yield code.finding("P34", words, cls, fix=fix, releases=harmed(case, code.lowest_version), case=case)


def _hides_mixin(code: ReachableCode, cls: str) -> str:
    """The base behind which transformers does not find GenerationMixin; "" where it does, or where it is not.

    can_generate of modeling_utils.py, 4.48 to 5.24, asks the names of the bases, and then each base that is a model;
    one that is called ...PreTrainedModel is not asked.
    """
    if any("GenerationMixin" in base for base, _ in code.folder.bases(cls)):
        return ""
    behind = ""
    for base in code.folder.own_bases(cls):
        if base == cls or base not in code.folder.classes or not derives(code, base):
            continue
        asked = code.folder.kind(base) == "model" and "PreTrainedModel" not in base
        hides = _hides_mixin(code, base) if asked else base
        if not hides:
            return ""
        behind = behind or hides
    return behind
