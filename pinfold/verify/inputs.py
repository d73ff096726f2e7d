"""What a verification is made from: the checkpoint's tokenizer, types, sizes, and classes beside the model."""

import json
import shutil
from pathlib import Path

from pinfold.common.safetensors import DTYPES, read_tensors
from pinfold.folder.contents import has_tokenizer
from pinfold.folder.tokenizer_files import TOKENIZER
from pinfold.staging.stage import Staged


def tokenizer_files(staged: Staged, checkpoint: Path, directory: Path) -> dict | None:
    """The checkpoint's own tokenizer files, in a directory without anything else; None where there are none.

    A class of the folder loads them from the checkpoint itself, since it may read files of any name. One whose code is
    in neither of the two is left to its own repository.

    Args:
        directory: where the files are copied to.

    Returns:
        "place": the class as "module.Class", None for transformers' own; "directory": what it loads from.
    """
    if not has_tokenizer(staged.directory):
        return None
    settings: dict = {}
    entry = None
    try:
        settings = json.loads((checkpoint / "tokenizer_config.json").read_text(encoding="utf-8"))
        settings = settings if isinstance(settings, dict) else {}
        published = json.loads((staged.directory / "tokenizer_config.json").read_text(encoding="utf-8"))
        entry = published["auto_map"]["AutoTokenizer"]
    except FileNotFoundError:
        settings = {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass  # no entry: transformers' own class
    entries = [each for each in (entry if isinstance(entry, list) else [entry]) if isinstance(each, str)]
    if entries:
        place = entries[-1].rpartition("--")[2]
        here = place.count(".") == 1 and place.split(".")[1] in staged.folder.classes
        return {"place": place, "directory": str(checkpoint.resolve())} if here else None
    copies = directory / "tokenizer"
    copies.mkdir()
    for name in TOKENIZER:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, copies / name)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **{k: v for k, v in settings.items() if k != "auto_map"}}
    (copies / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return {"place": None, "directory": str(copies)}


def other_classes(staged: Staged) -> dict[str, str]:
    """Auto classes for what goes with a model, where the checkpoint has the file that they load."""
    files = {
        "AutoConfig": ["config.json"],
        "AutoImageProcessor": ["preprocessor_config.json"],
        "AutoFeatureExtractor": ["preprocessor_config.json"],
        "AutoVideoProcessor": ["video_preprocessor_config.json"],
        "AutoTokenizer": ["tokenizer_config.json"],
        "AutoProcessor": ["processor_config.json", "preprocessor_config.json"],
    }
    return {
        auto: place
        for auto, place in staged.auto_map.items()
        if any((staged.directory / name).exists() for name in files.get(auto, ()))
    }


def widest_dtype(staged: Staged) -> str:
    """float32 where any tensor of the files has it, else the half precision that they have."""
    dtypes = {DTYPES.get(tensor.dtype) for tensor in read_tensors(staged.weights)}
    return "float32" if "float32" in dtypes or not dtypes & {"float16", "bfloat16"} else sorted(dtypes - {None})[0]


def declared_dtype(config: dict) -> str | None:
    """The type that config.json names for the weights, None for one that is not known."""
    name = config.get("torch_dtype") or config.get("dtype")
    return name if name in DTYPES.values() else None


def picture_size(directory: Path) -> int | None:
    """Width and height of the pictures that the processor makes, where its settings say so."""
    try:
        settings = json.loads((directory / "preprocessor_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(settings, dict):
        return None
    # a processor crops after it resizes, so the crop's size comes first, where it crops at all
    names = ["crop_size"] * (settings.get("do_center_crop") is not False) + ["size", "image_size"]
    for name in names:
        size = settings.get(name)
        if isinstance(size, dict):
            size = size.get("height") if size.get("height") == size.get("width") else size.get("shortest_edge")
        if type(size) is int and 0 < size <= 4096:
            return size
    return None
