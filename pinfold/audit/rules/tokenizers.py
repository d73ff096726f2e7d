"""P39 and P40: a tokenizer beside a model that cannot use what it gives."""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, string
from pinfold.audit.rules.generation import WRITES_TEXT
from pinfold.folder.outputs import inputs_of

SETTINGS = "tokenizer_config.json"
# Classes that say token_type_ids where the file names no inputs (model_input_names of PreTrainedTokenizerBase) -> the
# laboratory's case.
SAYS_SEGMENTS = {"PreTrainedTokenizerFast": "P39.inputs_absent"}
BASES = ("PreTrainedTokenizer", "PreTrainedTokenizerFast")  # both have it from there


def inputs(code: ReachableCode) -> Iterator[Finding]:
    """P39: an input that the tokenizer gives and forward does not take: generate and pipelines raise."""
    saved = code.configs.get(SETTINGS)
    if saved is None:
        return
    names = saved.get("model_input_names")
    for auto, place in sorted(code.auto_map.items()):
        cls = place.split(".")[-1]
        if auto not in WRITES_TEXT or cls not in code.folder.classes or code.folder.is_stock(cls):
            continue
        taken = inputs_of(code.folder, cls)
        if not taken or taken[1]:
            continue
        if not isinstance(names, list):
            case, names = _of_class(code, str(saved.get("tokenizer_class")))
        else:
            case = "P39.inputs_segments"
        if not case:
            continue
        extra = [name for name in names if isinstance(name, str) and name not in taken[0]]
        affected = harmed(case, code.lowest_version)
        if extra and affected:
            known = [name for name in ("input_ids", "attention_mask") if name in taken[0]]
            yield Finding(
                "P39",
                f"{SETTINGS}: the tokenizer gives {extra[0]}, and {cls}.forward does not take it: generate with what "
                "it gives raises a ValueError.",
                SETTINGS,
                fix=f'Write "model_input_names": {known} into it.'.replace("'", '"'),
                releases=affected,
                case=case,
            )
            return


def _of_class(code: ReachableCode, name: str) -> tuple[str, list[str]]:
    """The laboratory's case of a tokenizer's class, and what it gives that a model may not take."""
    entry = code.auto_map.get("AutoTokenizer", "").split(".")[-1]
    if entry in code.folder.classes:
        said = code.folder.attribute(entry, "model_input_names")
        if isinstance(said, (ast.List, ast.Tuple)):
            return "P39.inputs_segments", [text for node in said.elts if (text := string(node))]
        bases = {base for owner in code.folder.lineage(entry) for base, _ in code.folder.bases(owner)}
        return ("P39.inputs_absent", ["token_type_ids"]) if said is None and bases & set(BASES) else ("", [])
    return SAYS_SEGMENTS.get(name, ""), ["token_type_ids"]


def end_of_text(code: ReachableCode) -> Iterator[Finding]:
    """P40: a model that writes text, and a tokenizer that cannot say where a text ends."""
    saved = code.configs.get(SETTINGS)
    writes = [auto for auto in code.auto_map if auto in WRITES_TEXT]
    said = [code.configs.get(file, {}).get("eos_token_id") for file in ("config.json", "generation_config.json")]
    if saved is None or not writes or saved.get("eos_token") or any(each is not None for each in said):
        return
    own = saved.get("tokenizer_class") not in (None, "PreTrainedTokenizerFast", "TokenizersBackend")
    if own or (code.directory / "special_tokens_map.json").exists():  # a class has tokens of its own, a map may have
        return
    yield Finding(
        "P40",
        f"{SETTINGS} has no eos_token: generate does not stop before its limit, and trainers of text, such as trl's, "
        "raise.",
        SETTINGS,
        fix='Name the token that ends a text: "eos_token": "...".',
        severity=WARNING,
    )
