"""P47: the mask that every tokenizer gives, and that generate refuses where the model names it nowhere.

_validate_model_kwargs of generation/utils.py, 4.48 to 5.24, looks at the names of arguments alone: those of
prepare_inputs_for_generation, and those of forward as well where the first has kwargs or model_kwargs among them. What
falls into forward's **kwargs is not named.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, call_name, calls, string
from pinfold.audit.rules.generation import WRITES_TEXT, generates, generates_itself, has_unknown_base, writes_text
from pinfold.common.trees import walk

MASK, WORDS = "attention_mask", "input_ids"
REST = ("kwargs", "model_kwargs")


def refused(code: ReachableCode) -> Iterator[Finding]:
    """P47: neither prepare_inputs_for_generation nor forward names the mask."""
    for cls in sorted({place.split(".")[-1] for auto, place in code.auto_map.items() if auto in WRITES_TEXT}):
        if cls not in code.models or code.folder.is_stock(cls) or not _is_asked(code, cls):
            continue
        prepare, forward = (code.folder.method(cls, n) for n in ("prepare_inputs_for_generation", "forward"))
        if prepare is None or forward is None or prepare[1].decorator_list:
            continue
        names, further = _names(prepare[1]), _names(forward[1])
        looked_at = bool(names & set(REST))
        if MASK in names or (looked_at and MASK in further) or WORDS not in names & further:
            continue
        case = "P47.other_name" if MASK in further else "P47.neither"
        fix = f"Take {MASK}=None in prepare_inputs_for_generation"
        if MASK in further and prepare[1].args.kwarg is not None:
            fix += f", or call its **{prepare[1].args.kwarg.arg} **kwargs: forward is asked only then."
        else:
            fix += "; a model that reads padded texts has to hand it on to forward as well."
        yield code.finding(
            "P47",
            f"{cls} names no {MASK} where generate looks for it, and every tokenizer gives one: generate raises a "
            "ValueError.",
            prepare[0],
            prepare[1],
            fix=fix,
            releases=harmed(case, code.lowest_version),
            case=case,
        )


def _is_asked(code: ReachableCode, cls: str) -> bool:
    """Whether transformers' generate runs the class on words, and asks for nothing but these two functions.

    An encoder-decoder is left out: the arguments of its encoder count too. A tokenizer may say that it gives no mask.
    """
    if not (writes_text(code, cls) or generates(code, cls)) or has_unknown_base(code, cls):
        return False
    if generates_itself(code, cls) or code.folder.method(cls, "_validate_model_kwargs") or _keeps_mask(code, cls):
        return False
    main = code.folder.attribute(cls, "main_input_name")
    if (main is not None and string(main) != WORDS) or _has_encoder(code):
        return False
    given = code.configs.get("tokenizer_config.json", {}).get("model_input_names", _of_own_tokenizer(code))
    return not isinstance(given, list) or MASK in given


def _of_own_tokenizer(code: ReachableCode) -> list[str] | None:
    """The names of what a tokenizer of the folder gives, where its class has them."""
    cls = code.auto_map.get("AutoTokenizer", "").split(".")[-1]
    names = code.folder.attribute(cls, "model_input_names") if cls in code.folder.classes else None
    return [string(name) or "" for name in names.elts] if isinstance(names, (ast.List, ast.Tuple)) else None


def _keeps_mask(code: ReachableCode, cls: str) -> bool:
    """Whether a generate of its own does not hand the mask on to transformers': super().generate(input_ids)."""
    own = code.folder.method(cls, "generate")
    if own is None:
        return False
    for node in walk(own[1]):
        word = string(node.args[0]) if isinstance(node, ast.Call) and node.args else None
        if word == MASK and isinstance(node, ast.Call) and call_name(node) == "pop":
            return True
        if isinstance(node, ast.Delete) and any(string(getattr(t, "slice", None)) == MASK for t in node.targets):
            return True
    handed = {part for call in calls(own[1]) if call_name(call) == "generate" for part in walk(call)}
    names = {getattr(node, "arg", "") or getattr(node, "id", "") for node in handed}
    in_table = any(string(node) == MASK for node in walk(own[1]))
    takes_any = own[1].args.kwarg is not None or own[1].args.vararg is not None
    return not in_table and MASK not in names and (MASK in _names(own[1]) or not takes_any)


def _has_encoder(code: ReachableCode) -> bool:
    """Whether the settings or the configuration's class may say is_encoder_decoder."""
    if "is_encoder_decoder" in (settings := code.configs.get("config.json", {})):
        return settings["is_encoder_decoder"] is not False
    modules = {code.folder.classes[config][0].file: code.folder.classes[config][0] for config in code.config_classes}
    return any("is_encoder_decoder" in ast.unparse(module.tree) for module in modules.values())


def _names(function: ast.FunctionDef) -> set[str]:
    """The names that inspect.signature gives."""
    return {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
