"""What one transformers release does with whole folders: the side of truth.py that runs beside the release.

    PYTHONPATH=OVERLAY python scripts/laboratory/truth_inside.py < orders.json

Imports nothing of pinfold. Each folder has a process of its own, forked once torch and transformers are there.
"""

import functools
import json
import re
import sys
import tempfile
import traceback
from pathlib import Path

from apart import apart, begin, dirty_memory

SECONDS = 150.0  # for one folder
NEW_TOKENS = 5


def main() -> None:
    """Make the weights of every folder, or look at what it does, and write {name: {stage: result}}."""
    orders = json.load(sys.stdin)
    transformers = begin()
    # transformers imports these parts when they are asked for; forked processes then have them
    from transformers import AutoModelForCausalLM, GenerationMixin  # noqa: F401
    from transformers.dynamic_module_utils import get_class_from_dynamic_module  # noqa: F401

    release = transformers.__version__
    act, begins = (make, "made") if orders["action"] == "make" else (look, release)
    results = {}
    for folder in map(Path, orders["folders"]):
        tensors = Path(orders["tensors"]) / f"{begins}-{folder.name}.safetensors"
        results[folder.name] = apart(functools.partial(act, folder, tensors), Path(orders["output"]), SECONDS)
    Path(orders["output"]).write_text(json.dumps({"release": release, "results": results}), encoding="utf-8")


def attempt(action) -> str:
    """What it gives; or the error, with the line of the folder's code."""
    try:
        return action()
    except BaseException as error:
        words = " | ".join(line.strip() for line in str(error).splitlines() if line.strip())[:300]
        words = re.sub(r"(?<![\w.])/[^\s)\"']*/", ".../", words)  # directories of this machine say nothing to others
        frames = reversed(traceback.extract_tb(error.__traceback__))
        own = (f"{Path(f.filename).name}:{f.lineno}" for f in frames if "transformers_modules" in f.filename)
        place = next(own, "")
        return f"error: {type(error).__name__}: {words}" + (f" [{place}]" if place else "")


def about(folder: Path) -> dict:
    """How a folder is used."""
    return json.loads((folder / "about.json").read_text(encoding="utf-8"))


def entry(folder: Path) -> str:
    """The class that its Auto class loads, as config.json names it."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config["auto_map"][about(folder)["auto"]]


def inputs(folder: Path) -> dict:
    """What forward gets: lists are tensors of numbers, {"wave": shape} is a tensor of floats."""
    import torch

    def one(value):
        if isinstance(value, dict) and "wave" in value:
            numbers = torch.arange(torch.Size(value["wave"]).numel(), dtype=torch.float64)
            return torch.sin(numbers * 0.7).float().reshape(value["wave"])
        if isinstance(value, dict) and "mask" in value:
            return torch.ones(value["mask"], dtype=torch.bool)
        return torch.tensor(value) if isinstance(value, list) else value

    return {name: one(value) for name, value in about(folder)["inputs"].items()}


def make(folder: Path, tensors: Path) -> dict[str, str]:
    """Write model.safetensors into the folder: what its own code begins with, each weight changed a little.

    What the model computes then, in the memory of who made it, is left in the file of tensors.
    """
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    def weights() -> str:
        torch.manual_seed(0)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        model = get_class_from_dynamic_module(entry(folder), str(folder))(config)
        seen: set[int] = set()
        with torch.no_grad():
            for number, (_, weight) in enumerate(model.named_parameters()):
                if weight.is_floating_point() and weight.data_ptr() not in seen:
                    seen.add(weight.data_ptr())
                    steps = torch.arange(weight.numel(), dtype=torch.float64) * (0.7 + 0.1 * number)
                    begun = torch.nan_to_num(weight.double(), 0, 0, 0).clamp(-3, 3)
                    weight.copy_((begun + 0.05 * torch.sin(steps).reshape(weight.shape)).to(weight.dtype))
        target = folder / "model.safetensors"
        with tempfile.TemporaryDirectory() as place:
            try:
                model.save_pretrained(place, safe_serialization=True)
                target.write_bytes((Path(place) / "model.safetensors").read_bytes())
            except Exception:  # a folder that cannot be saved is one of the faults: its author saved it by hand
                save_file(each_once(model.state_dict()), target, metadata={"format": "pt"})
        numbers = {"numbers": output_of(model.eval(), folder)}  # last, as a forward may change weights
        save_file(numbers, tensors)
        return "made"

    return {"weights": attempt(weights)}


def each_once(tensors: dict) -> dict:
    """The tensors without those that are another one's memory."""
    kept, places = {}, set()
    for name, tensor in tensors.items():
        if not tensor.numel() or tensor.data_ptr() not in places:
            places.add(tensor.data_ptr())
            kept[name] = tensor.contiguous().clone()
    return kept


def look(folder: Path, tensors: Path) -> dict[str, str]:
    """Stage -> what it gave; "ran" where outputs are left in the file of tensors."""
    import torch
    import transformers
    from safetensors.torch import save_file

    auto = getattr(transformers, about(folder)["auto"])
    # What is not initialised is neither nought by luck nor what it was in another release.
    torch.manual_seed(sum(transformers.__version__.encode()))
    dirty_memory()
    results: dict[str, str] = {}
    outputs: dict = {}
    model = None

    def load() -> str:
        nonlocal model
        model = auto.from_pretrained(folder, trust_remote_code=True).eval()
        return "ok"

    def run(one, name: str) -> str:
        outputs[name] = output_of(one, folder)
        return "ran"

    results["load"] = attempt(load)
    if model is not None:
        results["numbers"] = attempt(lambda: run(model, "numbers"))
        if about(folder)["generates"]:
            results["generate"] = attempt(lambda: text(model, folder))
        results["save"] = attempt(lambda: run(saved(model, folder, auto), "save"))
    save_file(outputs, tensors)
    return results


def output_of(model, folder: Path):
    """What forward gives for the folder's inputs."""
    import torch

    with torch.no_grad():
        output = model(**inputs(folder))
    key = about(folder)["output"]
    if key != "":
        output = getattr(output, key) if isinstance(key, str) and hasattr(output, key) else output[key]
    return output.detach().float().contiguous().clone()


def text(model, folder: Path) -> str:
    """The tokens that greedy generation writes."""
    import torch

    given = inputs(folder)
    if "input_ids" in given and about(folder).get("mask", True):
        given.setdefault("attention_mask", torch.ones_like(given["input_ids"]))
    padding = {"pad_token_id": 0} if about(folder).get("pad", True) else {}
    written = model.generate(**given, max_new_tokens=NEW_TOKENS, do_sample=False, **padding)
    return str(written.tolist() if hasattr(written, "tolist") else written)


def saved(model, folder: Path, auto):
    """The model after it was saved and loaded again."""
    with tempfile.TemporaryDirectory() as place:
        again = Path(place) / f"{folder.name}_again"
        model.save_pretrained(again)
        for file in folder.rglob("*.py"):  # save_pretrained writes the code of registered classes only
            target = again / file.relative_to(folder)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(file.read_bytes())
        config = json.loads((again / "config.json").read_text(encoding="utf-8"))
        config["auto_map"] = json.loads((folder / "config.json").read_text(encoding="utf-8"))["auto_map"]
        (again / "config.json").write_text(json.dumps(config), encoding="utf-8")
        return auto.from_pretrained(again, trust_remote_code=True).eval()


if __name__ == "__main__":
    main()
