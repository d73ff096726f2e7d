"""Rules about generate(): the names under which a forward takes and returns the cache, and models that keep none.

generate() of transformers 5.24 passes the cache as ``cache``, older releases as ``past_key_values``. From 4.54 on it
hands each step the last token alone where ``use_cache`` is not False, whatever the forward takes. A name that falls
into **kwargs raises nothing: the model sees one token without its past, and writes other text (P26). Output classes of
5.24 rename what they are built with: past_key_values and cache_params become ``cache``, also in classes that have no
such field (P29).
"""

import ast
import re
from collections.abc import Callable, Iterator

from packaging.version import Version

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    defaults,
    is_self_attribute,
    parameters,
    string,
)
from pinfold.common.trees import every, walk
from pinfold.folder.releases import every_minor, release_ranges

CACHES = ("past_key_values", "cache", "cache_params")
PASSED = ("attention_mask", "return_dict", "cache_position", "position_ids", "inputs_embeds")
OLDER_FIELDS = ("past_key_values", "cache_params")
WRITES_TEXT = (
    "AutoModelForCausalLM",
    "AutoModelForSeq2SeqLM",
    "AutoModelForVision2Seq",
    "AutoModelForImageTextToText",
)


def cache_names(code: ReachableCode) -> Iterator[Finding]:
    """P26: models whose generate() loses its past in some release."""
    for cls in code.models:
        definition = code.folder.method(cls, "forward")
        if definition is None or code.folder.is_stock(cls) or not generates(code, cls):
            continue
        owner, forward = definition
        if forward.args.kwarg is None:
            yield from _not_taken(code, cls, owner, forward)
            yield from _own_inputs(code, cls)
            continue  # generate raises for a name of the cache that it does not take, and D08 says so
        takes = [name for name in CACHES if name in _taken(code, cls, forward)]
        if "cache_params" in takes or code.folder.method(cls, "generate"):
            continue  # a state space model prepares its own inputs
        yield from _own_inputs(code, cls)
        if takes:
            yield from _one_name(code, cls, owner, forward, takes)
        elif not code.folder.method(cls, "prepare_inputs_for_generation"):
            yield from _no_cache(code, cls, owner, forward)


def _no_cache(code: ReachableCode, cls: str, owner: str, forward: ast.FunctionDef) -> Iterator[Finding]:
    """P26: a forward that keeps no past, and settings that do not say so where generate looks.

    Measured: generate takes use_cache from generation_config.json alone, where that file is there. Else 4.54.1 to
    4.57.6 take it from the configuration, and so from its class, and 5.0.0 to 5.24.0 from config.json alone.
    """
    stored = next((name for name in ("generation_config.json", "config.json") if name in code.configs), "")
    in_class = says_no_cache(code)
    if code.configs.get(stored, {}).get("use_cache") is False or (in_class and not stored):
        return
    by_class = in_class and stored == "config.json" and "use_cache" not in code.configs[stored]
    says = code.folder.attribute(cls, "_supports_cache_class")
    by_default = not (isinstance(says, ast.Constant) and says.value is True)
    case = "P26.takes_no_cache" + "_by_default" * by_default
    case = "P26.class_alone_says_no_cache" if by_class else case
    affected = harmed(case, code.lowest_version)
    words, fix = "its configuration does not say so", ""
    if in_class:
        words = f"its configuration class alone says so, and not {stored}"
    else:
        fix = "Set use_cache=False in the configuration class: def __init__(self, ..., use_cache=False, **kwargs) and "
        fix += "self.use_cache = use_cache. "
    if stored:
        fix += f'Write "use_cache": false into {stored}; save_pretrained does so, where the class has that default.'
    if affected:
        yield code.finding(
            "P26",
            f"{cls}.forward takes no cache, but {words}. generate of transformers {release_ranges(affected)} then "
            "passes only the last token, and other text is written.",
            owner,
            forward,
            fix=fix.strip(),
            releases=affected,
            case=case,
        )


def _not_taken(code: ReachableCode, cls: str, owner: str, forward: ast.FunctionDef) -> Iterator[Finding]:
    """P26: what generate passes to every forward, and what transformers' own preparation adds in some releases."""
    own = code.folder.method(cls, "prepare_inputs_for_generation")
    goes_on = own is None or any(
        isinstance(part, ast.Attribute) and part.attr == "prepare_inputs_for_generation" for part in walk(own[1])
    )
    names = [name for name in PASSED if name not in _arguments(forward) and (goes_on or name == "return_dict")]
    missing = {name: affected for name in names if (affected := harmed(f"P26.no_{name}", code.lowest_version))}
    if missing and not code.folder.method(cls, "generate"):
        name = max(missing, key=lambda each: len(missing[each]))  # the one that most releases pass
        yield code.finding(
            "P26",
            f"{cls}.forward takes no {' and '.join(missing)}, which generate passes: it raises a TypeError.",
            owner,
            forward,
            fix=f"Take {' and '.join(f'{each}=None' for each in missing)} in forward.",
            releases=missing[name],
            case=f"P26.no_{name}",
        )


def _own_inputs(code: ReachableCode, cls: str) -> Iterator[Finding]:
    """P26: a prepare_inputs_for_generation of its own that knows the cache by the older name alone.

    Measured in 5.24.0: without **kwargs it raises a TypeError, and so does transformers' own that is given the cache
    by position. Where it returns **kwargs, forward gets the whole text beside a cache that holds it already. Otherwise
    the cache is dropped, and each step computes the whole text again.
    """
    own = code.folder.method(cls, "prepare_inputs_for_generation")
    affected = harmed("P26.past_key_values_only", code.lowest_version)
    if own is None or not affected or code.folder.method(cls, "generate"):
        return
    owner, function = own
    names = _arguments(function)
    if "past_key_values" not in names or "cache" in names or _mentions(code, "cache"):
        return
    taken = function.args.kwarg
    fix = "Take past_key_values=None, cache=None and **kwargs there, and use the one that is given."
    hands_on = [call for call in calls(function) if call_name(call) == "prepare_inputs_for_generation"]
    # GenerationMixin.prepare_inputs_for_generation(self, input_ids) has the object before the ids; super() has it not.
    by_place = [call for call in hands_on if len(call.args) - any(_is_name(a, "self") for a in call.args[:1]) > 1]
    if by_place:
        fix = "Give it past_key_values=past_key_values, by its name."
        effect = "its second argument is another one there, and it raises a TypeError."
        words = f"{cls}.prepare_inputs_for_generation gives the cache to transformers' own by position, but {effect}"
        yield code.finding("P26", words, owner, by_place[0], fix=fix, releases=affected)
        return
    if hands_on:
        return  # what it was given goes on under the name that it came with
    severity = ERROR
    if taken is None:
        effect = "It raises a TypeError."
    elif any(_is_name(value, taken.arg) for value in _unpacked(function)):
        effect = f"forward gets it from **{taken.arg}, beside the whole text, and other text can be written."
    else:
        severity = WARNING
        effect = f"It lands in **{taken.arg} and is not used: each new token is computed from the whole text again."
    words = (
        f"{cls}.prepare_inputs_for_generation takes the cache as past_key_values, but generate passes it as cache "
        f"from transformers 5.24 on. {effect}"
    )
    yield code.finding("P26", words, owner, function, fix=fix, releases=affected, severity=severity)


def drops_the_cache(code: ReachableCode, cls: str) -> bool:
    """Whether what generate calls cache is lost in a preparation of the class's own, and no code sees it.

    The releases that call it so then compute the whole text at each step, which is slow and right (P26).
    """
    own = code.folder.method(cls, "prepare_inputs_for_generation")
    return (
        own is not None
        and "cache" not in _arguments(own[1])
        and not _mentions(code, "cache")
        and _prepares_alone(code, cls)
    )


def _prepares_alone(code: ReachableCode, cls: str) -> bool:
    """Whether forward gets from generate only what a preparation of its own names: no cache under another name."""
    own = code.folder.method(cls, "prepare_inputs_for_generation")
    if own is None or own[1].args.kwarg is None:
        return False
    hands_on = any(call_name(call) == "prepare_inputs_for_generation" for call in calls(own[1]))
    return not hands_on and not any(_is_name(value, own[1].args.kwarg.arg) for value in _unpacked(own[1]))


def _unpacked(function: ast.FunctionDef) -> Iterator[ast.expr]:
    """What a function unpacks into a table or a call, or adds to a table: {**a}, f(**a), table.update(a), a | b."""
    for node in walk(function):
        if isinstance(node, ast.Dict):
            yield from (value for key, value in zip(node.keys, node.values, strict=True) if key is None)
        elif isinstance(node, ast.Call):
            yield from (keyword.value for keyword in node.keywords if keyword.arg is None)
            yield from node.args if call_name(node) == "update" else ()
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            yield from (node.left, node.right)
        elif isinstance(node, ast.Return) and node.value is not None:
            yield node.value


def _is_name(value: ast.expr, name: str) -> bool:
    return isinstance(value, ast.Name) and value.id == name


def output_fields(code: ReachableCode) -> Iterator[Finding]:
    """P29: output classes of the folder that hold the cache under a name which transformers 5.24 renames."""
    affected = harmed("P29.field", code.lowest_version)
    for cls, (module, node) in code.folder.classes.items():
        if module not in code.modules or not affected or not _is_output(code, cls):
            continue
        fields = {
            part.target.id: part
            for part in node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        }
        for name in OLDER_FIELDS:
            if name in fields:
                named = _passed_by_name(code, cls, name)
                effect = (
                    f"{cls}({name}=...) raises a TypeError there."
                    if named
                    else f"what a model returns has {name}=None there."
                )
                yield code.finding(
                    "P29",
                    f"{cls} has a field {name}, which transformers 5.24 renames to cache in every output class: "
                    f"{effect}",
                    cls,
                    fields[name],
                    fix=f"Derive {cls} from CausalLMOutputWithPast, without a field of its own for the cache, and "
                    "give it the cache as past_key_values=.",
                    releases=affected,
                    severity=ERROR if named else WARNING,
                )


def _passed_by_name(code: ReachableCode, cls: str, field: str) -> bool:
    """Whether an output is built with this field as a keyword; in its place among the others it is lost silently."""
    return any(
        call_name(call) == cls and any(keyword.arg in (field, None) for keyword in call.keywords)
        for module in code.modules
        for call in calls(module.tree)
    )


def _is_output(code: ReachableCode, cls: str) -> bool:
    bases = [base for owner in code.folder.lineage(cls) for base, _ in code.folder.bases(owner)]
    return any(base == "ModelOutput" or re.search(r"Output(With\w+)?$", base) for base in bases)


def _one_name(
    code: ReachableCode, cls: str, owner: str, forward: ast.FunctionDef, takes: list[str]
) -> Iterator[Finding]:
    for name, other, case in (
        ("past_key_values", "cache", "P26.past_key_values_only"),
        ("cache", "past_key_values", "P26.cache_only"),
    ):
        affected = harmed(case, code.lowest_version)
        renamed = any(string(n) == other for decorator in forward.decorator_list for n in walk(decorator))
        alone = other == "cache" and _prepares_alone(code, cls)
        if takes != [name] or not affected or renamed or alone or _mentions(code, other):
            continue
        kwargs = forward.args.kwarg.arg if forward.args.kwarg else ""
        since = "from transformers 5.24 on" if other == "cache" else "up to transformers 5.23"
        yield code.finding(
            "P26",
            f"{cls}.forward takes its cache as {name}, but generate passes it as {other} {since}. It lands in "
            f"**{kwargs}, and other text is written without an error.",
            owner,
            forward,
            fix="Take past_key_values=None and cache=None, use the one that is given, and return it as "
            "CausalLMOutputWithPast(past_key_values=...), which has both names.",
            releases=affected,
            case=case,
        )


def releases_of(code: ReachableCode, concerned: Callable[[Version], bool]) -> tuple[str, ...]:
    """The releases that a folder supports, of those that something concerns."""
    lowest = Version(".".join(map(str, code.lowest_version)))
    return tuple(r for r in every_minor() if Version(r) >= lowest and concerned(Version(r)))


def sets_up_cache(code: ReachableCode) -> bool:
    """Whether generate makes a cache for some class of the folder, for which it reads the configuration's layers."""
    if code.configs.get("config.json", {}).get("use_cache") is False:
        return False
    return any(
        (generates(code, cls) or code.folder.method(cls, "prepare_inputs_for_generation"))  # an Auto class mixes it in
        and not generates_itself(code, cls)
        and not code.folder.method(cls, "_supports_default_dynamic_cache")
        and not says_no_cache(code)
        for cls in code.models
        if not code.folder.is_stock(cls)
    )


def generates_itself(code: ReachableCode, cls: str) -> bool:
    """Whether it has a generate of its own that does not go on to transformers': super().generate(...)."""
    own = code.folder.method(cls, "generate")
    return own is not None and not any(
        isinstance(node, ast.Attribute) and node.attr == "generate" and isinstance(node.value, ast.Call)
        for node in walk(own[1])
    )


def generates(code: ReachableCode, cls: str) -> bool:
    """Whether the class inherits GenerationMixin, as every release wants it, or is asked to by P34.

    What generate will find there is said together with P34: whoever follows one finding would meet the next else.
    """
    bases = [base for owner in code.folder.lineage(cls) for base, _ in code.folder.bases(owner)]
    return "GenerationMixin" in bases or bool(lacks_generate(code, cls))


def writes_text(code: ReachableCode, cls: str) -> bool:
    """Whether the class generates, by itself or because an Auto class lets it.

    An Auto class mixes GenerationMixin in where a class prepares its inputs itself
    (add_generation_mixin_to_remote_model in models/auto/auto_factory.py, 4.48 to 5.24).
    """
    named = derives(code, cls)  # transformers goes by the name
    return named or code.folder.method(cls, "prepare_inputs_for_generation") is not None


def lacks_generate(code: ReachableCode, cls: str) -> str:
    """The Auto class that offers the class to write text, where it has no generate; "" where all is well.

    A class that calls self.generate is P09's.
    """
    if code.folder.is_stock(cls) or has_unknown_base(code, cls):
        return ""
    if writes_text(code, cls) or code.folder.method(cls, "generate"):
        return ""
    entries = {auto: place.split(".")[-1] for auto, place in sorted(code.auto_map.items())}
    return next((auto for auto, name in entries.items() if auto in WRITES_TEXT and name == cls), "")


def derives(code: ReachableCode, cls: str) -> bool:
    """Whether a base of the class, however far, has GenerationMixin in its name."""
    return any("GenerationMixin" in base for owner in code.folder.lineage(cls) for base, _ in code.folder.bases(owner))


def has_unknown_base(code: ReachableCode, cls: str) -> bool:
    """Whether a base comes from another package, or from a name that is not followed."""
    known = ("torch", "transformers")
    return any(
        base not in code.folder.classes
        and place.split(".")[0] not in known
        and base not in ("object", "ABC", "Generic")
        for owner in code.folder.lineage(cls)
        for base, place in code.folder.bases(owner)
    )


def _taken(code: ReachableCode, cls: str, forward: ast.FunctionDef) -> set[str]:
    """Arguments of a forward, and of the models of the folder to which it may hand its **kwargs."""
    names = _arguments(forward)
    if forward.args.kwarg is not None:
        for inner in code.folder.classes:
            definition = code.folder.method(inner, "forward") if code.folder.kind(inner) == "model" else None
            if inner != cls and definition:
                names |= _arguments(definition[1]) & set(CACHES)
    return names


def _arguments(forward: ast.FunctionDef) -> set[str]:
    return {argument.arg for argument in parameters(forward)}


def _mentions(code: ReachableCode, name: str) -> bool:
    """Whether the code reads it from a table: kwargs.pop("cache"), kwargs["cache"], "cache" in kwargs."""
    for module in code.modules:
        for node in walk(module.tree):
            keys: list[ast.expr] = []
            if isinstance(node, ast.Call):
                keys = node.args[:1] if call_name(node) in ("get", "pop", "setdefault") else []
            elif isinstance(node, ast.Subscript):
                keys = [node.slice]
            elif isinstance(node, ast.Compare):
                keys = [node.left]
            if any(string(key) == name for key in keys):
                return True
    return False


def says_no_cache(code: ReachableCode) -> bool:
    """Whether the configuration's class sets use_cache to False; a default counts where config.json says nothing."""
    stored = code.configs.get("config.json", {}).get("use_cache") is True
    for config in code.config_classes:
        node = code.folder.classes[config][1]
        for function in every(node, ast.FunctionDef):
            if not stored and _is_false(defaults(function).get("use_cache")):
                return True
        for part in every(node, *ASSIGNMENTS, ast.keyword):
            for target, value in assignments(part):
                own = is_self_attribute(target) and target.attr == "use_cache"
                if (own or (isinstance(target, ast.Name) and target.id == "use_cache")) and _is_false(value):
                    return True
            if isinstance(part, ast.keyword) and part.arg == "use_cache" and _is_false(part.value):
                return True
    return False


def _is_false(value: ast.AST | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is False
