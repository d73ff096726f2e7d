"""P39 and P40: a tokenizer beside a model that cannot use what it gives."""

from collections.abc import Iterator

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode
from pinfold.audit.rules.caches import WRITES_TEXT
from pinfold.folder.outputs import inputs_of

SETTINGS = "tokenizer_config.json"
# Classes that say token_type_ids where the file names no inputs (model_input_names of PreTrainedTokenizerBase).
SAYS_SEGMENTS = ("PreTrainedTokenizerFast",)


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
        if isinstance(names, list):
            case, extra = "P39.inputs_segments", [n for n in names if isinstance(n, str) and n not in taken[0]]
        else:
            says = saved.get("tokenizer_class") in SAYS_SEGMENTS and "token_type_ids" not in taken[0]
            case, extra = "P39.inputs_absent", ["token_type_ids"] * says
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
