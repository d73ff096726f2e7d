"""Verify what will be, or was, published: the same tensors and the same numbers, in a fresh process.

How it works:
- ``reference`` computes the expected outputs from the folder's own source and the checkpoint's tensors.
- ``staged`` and ``published`` load through the Auto classes from an empty HF_HOME and compare with them bit by bit.
- All of it runs behind the fence (fence.py), since it executes the folder's code; this half only compares answers.
"""

import json
import math
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from pinfold.errors import UserError
from pinfold.publish import fence, inside
from pinfold.publish.stage import DTYPES, Staged, find_weights, headers

INSIDE = Path(inside.__file__)


@dataclass
class Reference:
    """The numbers that every later load has to give."""

    outputs: Path
    hashes: dict[str, str]
    parameters: int
    checkpoint: Path
    request: dict = field(default_factory=dict)


def reference(staged: Staged, checkpoint: Path, work: Path) -> Reference:
    """Outputs of every model class of the folder with the staged weights, computed without transformers' loading.

    Raises:
        UserError: the weights do not fit the configuration, or the folder's code fails.
    """
    models = {a: place for a, place in staged.auto_map.items() if a.startswith("AutoModel")}
    config = staged.directory / "config.json"
    request = {
        "models": models,
        "others": _others(staged),
        "architecture": staged.architecture,
        "dtype": json.loads(config.read_text(encoding="utf-8")).get("torch_dtype") or _widest(staged),
        "threads": max(1, (os.cpu_count() or 2) // 2),
        "weights": [str(p.resolve()) for p in find_weights(checkpoint)],
        "outputs": str(work / "reference.safetensors"),
        "probe": _own_probe(staged),
        "code": staged.code,
        "model_code": [m.file for m in staged.folder.closure([place.split(".")[0] for place in models.values()])],
    }
    folder = staged.folder.path.resolve()
    job = {
        **request,
        "job": "reference",
        "folder": str(folder),
        "checkpoint": str(config.parent),
    }
    answer = fence.run(INSIDE, job, work, visible=[folder, staged.directory, checkpoint.resolve()], **_limits(staged))
    _raise(answer, f"{staged.folder.path} with {checkpoint}")
    return Reference(Path(request["outputs"]), answer["hashes"], answer["parameters"], checkpoint.resolve(), request)


def compare_in_memory(model, auto: str, expected: Reference) -> None:
    """Compare a model in this process with the reference, bit for bit; it is left as it was.

    Raises:
        UserError: its outputs differ from those of the folder's source with the same tensors.
    """
    import copy

    import torch
    from safetensors.torch import load_file

    def failures(copied) -> list:
        outputs = {f"{auto}/{key}": value for key, value in inside.run_probe(copied, probe).items()}
        return inside.compare_outputs(auto, outputs, wanted, "")

    threads, probe, wanted = torch.get_num_threads(), expected.request["probe"], load_file(expected.outputs)
    torch.set_num_threads(expected.request["threads"])
    try:
        on_cpu = all(p.device.type == "cpu" for p in model.parameters())
        # a model that was itself loaded may lie unaligned in memory; its copy does not
        found = failures(model) if on_cpu else [None]
        found = failures(copy.deepcopy(model).cpu()) if found else []
    finally:
        torch.set_num_threads(threads)
    _raise({"failures": found}, "the folder's source does not compute what this model computes")


def staged_load(staged: Staged, expected: Reference, work: Path, overlay: Path | None = None) -> dict:
    """Load the staged directory through every Auto class, save it, reload it.

    Returns the answer: "hashes" by Auto class, "transformers" version, "formula" (tensors that no file holds).
    """
    copy = work / "staged-copy" / staged.directory.name
    shutil.rmtree(copy.parent, ignore_errors=True)
    shutil.copytree(staged.directory, copy, copy_function=_link)
    job = {**expected.request, "job": "load", "target": str(copy), "resave": str(work / "saved")}
    answer = fence.run(
        INSIDE, job, work, visible=[staged.directory, work, expected.checkpoint], overlay=overlay, **_limits(staged)
    )
    shutil.rmtree(work / "saved", ignore_errors=True)
    _raise(answer, "the staged files do not load as they should")
    return answer


def published_load(
    staged: Staged,
    expected: Reference,
    work: Path,
    hub_home: Path,
    repo: str,
    revision: str,
    overlay: Path | None = None,
) -> dict:
    """Load a repository at a commit from a cache that holds nothing but that snapshot."""
    job = {
        **expected.request,
        "job": "load",
        "target": repo,
        "revision": revision,
    }
    answer = fence.run(
        INSIDE,
        job,
        work,
        visible=[work, hub_home, expected.checkpoint],
        hub_home=hub_home,
        overlay=overlay,
        **_limits(staged),
    )
    _raise(answer, f"{repo} at {revision} does not load as it should")
    return answer


def _others(staged: Staged) -> dict[str, str]:
    """Auto classes for what goes with a model, where the checkpoint has the file that they load."""
    files = {
        "AutoConfig": ["config.json"],
        "AutoImageProcessor": ["preprocessor_config.json"],
        "AutoFeatureExtractor": ["preprocessor_config.json"],
        "AutoTokenizer": ["tokenizer_config.json"],
        "AutoProcessor": ["processor_config.json", "preprocessor_config.json"],
    }
    return {
        auto: place
        for auto, place in staged.auto_map.items()
        if any((staged.directory / name).exists() for name in files.get(auto, ()))
    }


def _own_probe(staged: Staged) -> dict:
    path = staged.folder.path / "probe.json"
    if not path.exists():
        return {}
    try:
        probe = json.loads(path.read_text(encoding="utf-8"))
        for name, spec in probe.items():
            shape, modulo = spec["shape"], spec.get("modulo", 1)
            if not isinstance(shape, list) or not shape or not all(type(n) is int and n > 0 for n in (*shape, modulo)):
                raise ValueError(f"{name} needs a shape of positive integers, and so is modulo")
            if math.prod(shape) > 10**8 or spec.get("values", "wave") not in ("wave", "ramp"):
                raise ValueError(f"{name} may have 100 million values, wave or ramp")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f'{path}: {error}; write {{"name": {{"shape": [2, 16], "values": "wave"}}}}') from None
    return probe


def _widest(staged: Staged) -> str:
    found = {DTYPES.get(entry["dtype"]) for entry in headers(staged.weights).values()}
    return "float32" if "float32" in found or not found & {"float16", "bfloat16"} else sorted(found - {None})[0]


def _limits(staged: Staged) -> dict:
    size = sum(p.stat().st_size for p in staged.weights)
    return {"memory": 8 * fence.GIB + 8 * size, "seconds": 600 + size / 5e6}


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _raise(answer: dict, what: str) -> None:
    if failures := answer["failures"]:
        first, more = failures[0], len(failures) - 1
        rest = f" (and {more} more: {', '.join(f['line'] for f in failures[1:4])})" if more else ""
        if first["check"] == "weights":
            raise UserError(f"{what}: {first['line']}")
        raise UserError(f"{first['check']} {what}: {first['line']}{rest}")
