"""A checkpoint whose weights are pickles alone, as a copy with safetensors: the user's own files stay as they are."""

import shutil
import tempfile
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.files import read_json, write_json
from pinfold.common.safetensors import read_tensors
from pinfold.fence import process as fence
from pinfold.folder.filenames import INDEX, PICKLES, WEIGHTS

PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"  # those that transformers reads
COPY = "as-safetensors"  # in the path that messages show


class Unreadable(UserError):
    """A pickle that no release of transformers reads either; ``directory`` holds it."""

    def __init__(self, message: str, directory: Path):
        super().__init__(message)
        self.directory = directory


def pickles(directory: Path) -> list[Path]:
    """The pickles that transformers would load from a directory; none where it has safetensors.

    Raises:
        UserError: the table of shards is broken, or names files that are not there.
    """
    if (directory / WEIGHTS).exists() or (directory / INDEX).exists():
        return []
    if not (directory / PICKLE_INDEX).exists():
        return [directory / PICKLE] if (directory / PICKLE).is_file() else []
    places = read_json(directory / PICKLE_INDEX, "").get("weight_map")
    names = sorted(set(places.values())) if isinstance(places, dict) else []
    absent = [name for name in names if "/" in name or "\\" in name or not (directory / name).is_file()]
    if absent or not names:
        named = f"{absent[0]}, which the directory does not hold" if absent else "no files"
        where = directory / PICKLE_INDEX
        raise UserError(f"{where}: it names {named}; save the checkpoint again with save_pretrained")
    return [directory / name for name in names]


def readable(directory: Path, work: Path) -> Path:
    """The directory itself, or a copy below ``work`` that holds safetensors in place of pickles.

    Raises:
        Unreadable: a pickle holds something other than tensors by name.
        UserError: the table of its shards is broken.
    """
    files = pickles(directory)
    if not files:
        return directory
    target = Path(tempfile.mkdtemp(prefix="converted-", dir=work)) / COPY / directory.resolve().name
    left = shutil.ignore_patterns(*(f"*{ending}" for ending in PICKLES), PICKLE_INDEX, ".git")
    shutil.copytree(directory, target, ignore=left, ignore_dangling_symlinks=True)
    made = target.parent / "tensors"
    made.mkdir()
    size = sum(file.stat().st_size for file in files)
    resolved = [file.resolve() for file in files]
    job = {"module": "verify.unpickle", "files": [str(file) for file in resolved], "directory": str(made)}
    limits = {"memory": 4 * fence.GIB + 4 * size, "disk": fence.GIB + 2 * size, "seconds": 300 + size / 5e6}
    answer = fence.run_sandboxed(job, work, visible=resolved, writable=[made], name="reading the pickles", **limits)
    if failures := answer["failures"]:
        raise Unreadable(
            f"D01 the weights are a pickle that cannot be read with weights_only=True, as transformers reads it: "
            f"{failures[0]['line']}",
            directory,
        )
    names = [WEIGHTS]
    if len(files) > 1:
        names = [f"model-{number:05}-of-{len(files):05}.safetensors" for number in range(1, len(files) + 1)]
    for number, name in enumerate(names, 1):
        shutil.move(made / f"{number}.safetensors", target / name)
    if len(names) > 1:
        places = {tensor.name: name for name in names for tensor in read_tensors([target / name])}
        write_json(target / INDEX, {"metadata": {"total_size": size}, "weight_map": places})
    return target
