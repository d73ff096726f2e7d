"""Load the laboratory's folders in one transformers release and write down what happens.

    PYTHONPATH=OVERLAY python scripts/laboratory/inside.py < orders.json

Runs beside the release and imports nothing of pinfold. Each folder has a process of its own, forked once torch and
transformers are there, so that one folder's classes and tables are not there for the next.

Orders: {"folders": {name: path}, "output": path, "seconds": limit of one folder}.
"""

import contextlib
import functools
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from apart import apart, begin, dirty_memory

IDS = [[1, 5, 3, 7, 2]]
NEW_TOKENS = 5


def main() -> None:
    """Look at every folder, and write {name: {stage: result}}."""
    orders = json.load(sys.stdin)
    transformers = begin()
    # transformers imports these parts when they are asked for; forked processes then have them
    from transformers import AutoModelForCausalLM, AutoProcessor, AutoTokenizer, GenerationMixin, pipeline  # noqa: F401
    from transformers.dynamic_module_utils import get_class_from_dynamic_module  # noqa: F401

    output = Path(orders["output"])
    results = {}
    for name, path in orders["folders"].items():
        results[name] = apart(functools.partial(look_at, Path(path)), output, orders["seconds"])
    output.write_text(json.dumps({"release": transformers.__version__, "results": results}), encoding="utf-8")


def look_at(folder: Path) -> dict[str, str]:
    """Stage -> what it gave; "error: ..." where it raised."""
    orders = json.loads((folder / "laboratory.json").read_text(encoding="utf-8"))
    if orders["loads"] != "model":
        return {"load": attempt(lambda: _load_part(folder, orders["loads"]))}
    results: dict[str, str] = {}
    dirty_memory()
    model = None

    def load() -> str:
        nonlocal model
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
        return "loads"

    results["load"] = attempt(load)
    results["direct"] = attempt(lambda: directly(folder))
    results["settings"] = attempt(lambda: settings(folder))
    if model is not None:
        results["numbers"] = attempt(lambda: numbers(model))
        results["generate"] = attempt(lambda: text(model))
        results["save"] = attempt(lambda: saved(model, f"{folder.name}_again"))
        results["tokens"] = attempt(lambda: of_tokenizer(model, folder)) if orders["pipeline"] else "not asked"
        results["pipeline"] = attempt(lambda: piped(folder)) if orders["pipeline"] else "not asked"
    return results


def attempt(action) -> str:
    """What it gives, or the last line of what it raises."""
    try:
        return action()
    except BaseException as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
        return f"error: {type(error).__name__}: {lines[0][:200]}"


def numbers(model) -> str:
    """A hash of the logits of fixed tokens."""
    import torch

    with torch.no_grad():
        logits = model(input_ids=torch.tensor(IDS)).logits
    return f"{logits.dtype} {hashlib.sha256(logits.float().numpy().tobytes()).hexdigest()[:16]}"


def text(model) -> str:
    """The tokens that greedy generation writes, and a hash of the logits that it chose them by.

    Wrong logits can lead to the same tokens in a model as small as these. Right ones may differ in their last bits,
    where a step computes the whole text again, which is slow and no other text: four digits count.
    """
    import torch

    tokens = torch.tensor(IDS)
    written = model.generate(
        tokens,
        attention_mask=torch.ones_like(tokens),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        pad_token_id=0,
        output_scores=True,
        return_dict_in_generate=True,
    )
    scores = torch.stack(written.scores).float().mul(1e4).round().add(0.0).numpy().tobytes()
    return f"{written.sequences.tolist()} {hashlib.sha256(scores).hexdigest()[:16]}"


def saved(model, name: str) -> str:
    """Numbers after it was saved and loaded again.

    Args:
        name: of the directory, and of this folder alone: some releases keep the code of one of the same name.
    """
    from transformers import AutoModelForCausalLM

    with tempfile.TemporaryDirectory() as place:
        again = Path(place) / name
        model.save_pretrained(again)
        return numbers(AutoModelForCausalLM.from_pretrained(again, trust_remote_code=True).eval())


def directly(folder: Path) -> str:
    """Numbers of the class itself, loaded without an Auto class."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    cls = get_class_from_dynamic_module(config["auto_map"]["AutoModelForCausalLM"], str(folder))
    return numbers(cls.from_pretrained(folder).eval())


def settings(folder: Path) -> str:
    """The configuration, printed as what differs from the defaults."""
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    repr(config)
    config.to_json_string(use_diff=True)
    return "printed"


def of_tokenizer(model, folder: Path) -> str:
    """What it writes to what its own tokenizer gives, handed over whole as the documentation of transformers does."""
    from transformers import AutoTokenizer

    given = AutoTokenizer.from_pretrained(folder, trust_remote_code=True)("a b", return_tensors="pt")
    return str(model.generate(**given, max_new_tokens=2, do_sample=False, pad_token_id=0).tolist())


def piped(folder: Path) -> str:
    """What a pipeline writes."""
    from transformers import pipeline

    with contextlib.redirect_stdout(sys.stderr):
        run = pipeline("text-generation", model=str(folder), trust_remote_code=True)
    return str(run("a b", max_new_tokens=2, do_sample=False))


def _load_part(folder: Path, auto: str) -> str:
    import transformers

    part = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True)
    if auto == "AutoTokenizer":
        return str(part("a b")["input_ids"])
    return type(part).__name__


if __name__ == "__main__":
    main()
