"""The mask that every tokenizer gives: refused by generate (P47), and not handed on where it hides nothing (P81).

P47: _validate_model_kwargs of generation/utils.py, 4.48 to 5.24, looks at the names of arguments alone: those of
prepare_inputs_for_generation, and those of forward as well where the first has kwargs or model_kwargs among them. What
falls into forward's **kwargs is not named. It looks at what it is given alone: words without a mask are not refused.

P81: later releases drop a mask that is 1 everywhere before they prepare the inputs of a forward that names it.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, assignments, call_name, calls, string
from pinfold.audit.rules.generation import WRITES_TEXT, generates, generates_itself, has_unknown_base, writes_text
from pinfold.audit.rules.given_masks import goes_without_mask
from pinfold.audit.rules.members import mains
from pinfold.common.trees import every, walk
from pinfold.folder.releases import release_ranges

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
        unmet = goes_without_mask(code)  # then only a caller of another kind meets it
        yield code.finding(
            "P47",
            f"{cls} names no {MASK} where generate looks for it, and every tokenizer gives one: generate raises a "
            f"ValueError{' where it is handed on' * unmet}.",
            prepare[0],
            prepare[1],
            fix=fix,
            releases=harmed(case, code.lowest_version),
            severity=WARNING if unmet else ERROR,
            case=case,
        )


def used_unasked(code: ReachableCode) -> Iterator[Finding]:
    """P81: kwargs["attention_mask"].bool() in a preparation that does not ask whether there is one."""
    case = "P81.prepared"
    for cls in mains(code):
        prepare, forward = (code.folder.method(cls, n) for n in ("prepare_inputs_for_generation", "forward"))
        affected = harmed(case, code.lowest_version)
        if prepare is None or forward is None or not affected or generates_itself(code, cls) or has_encoder(code):
            continue
        if MASK in _names(forward[1]) and (use := _unasked(prepare[1])) is not None:
            yield code.finding(
                "P81",
                f'{cls}.prepare_inputs_for_generation uses the {MASK}, "{ast.unparse(use)[:60]}", and transformers '
                f"{release_ranges(affected)} has None in its place where no text is padded: generate fails.",
                prepare[0],
                use,
                fix=f"Ask whether {MASK} is None first.",
                releases=affected,
                case=case,
            )


def _unasked(function: ast.FunctionDef) -> ast.AST | None:
    """A plain statement's use of the mask, in a function that nowhere asks whether there is one."""
    held = {MASK} & _names(function)
    for target, value in (pair for node in every(function, ast.Assign) for pair in assignments(node)):
        if isinstance(target, ast.Name) and _is_mask(value, held):
            held.add(target.id)
    tests = [getattr(node, "test", node) for node in every(function, ast.If, ast.IfExp, ast.While, ast.Assert)]
    tests += [value for node in every(function, ast.BoolOp) for value in node.values]
    if any(_is_mask(part, held) for test in tests for part in walk(test)) or every(function, ast.Try):
        return None
    for statement in function.body:
        if isinstance(statement, (ast.Return, ast.Assign, ast.AnnAssign, ast.Expr)):
            for node in every(statement, ast.Attribute, ast.Subscript):
                if isinstance(node.ctx, ast.Load) and _is_mask(node.value, held):
                    return node
        elif any(isinstance(part, (ast.Return, ast.Raise)) for part in walk(statement)):
            return None
    return None


def _is_mask(node: ast.AST | None, held: set[str]) -> bool:
    """attention_mask, or kwargs["attention_mask"], or kwargs.get("attention_mask") without another default."""
    if isinstance(node, ast.Name):
        return node.id in held
    if isinstance(node, ast.Subscript):
        return string(node.slice) == MASK
    if isinstance(node, ast.Call) and call_name(node) in ("get", "pop"):
        return bool(node.args) and string(node.args[0]) == MASK
    return False


def _is_asked(code: ReachableCode, cls: str) -> bool:
    """Whether transformers' generate runs the class on words, and asks for nothing but these two functions.

    An encoder-decoder is left out: the arguments of its encoder count too. A tokenizer may say that it gives no mask.
    """
    if not (writes_text(code, cls) or generates(code, cls)) or has_unknown_base(code, cls):
        return False
    if generates_itself(code, cls) or code.folder.method(cls, "_validate_model_kwargs") or _keeps_mask(code, cls):
        return False
    main = code.folder.attribute(cls, "main_input_name")
    if (main is not None and string(main) != WORDS) or has_encoder(code):
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


def has_encoder(code: ReachableCode) -> bool:
    """Whether the settings or the configuration's class may say is_encoder_decoder."""
    if "is_encoder_decoder" in (settings := code.configs.get("config.json", {})):
        return settings["is_encoder_decoder"] is not False
    modules = {code.folder.classes[config][0].file: code.folder.classes[config][0] for config in code.config_classes}
    return any("is_encoder_decoder" in ast.unparse(module.tree) for module in modules.values())


def _names(function: ast.FunctionDef) -> set[str]:
    """The names that inspect.signature gives."""
    return {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
