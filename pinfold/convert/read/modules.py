"""Where a module's file lies, and what its dotted name says; nothing is imported."""

import importlib.util
import os
import re
import sys
from functools import lru_cache
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.shipped import shipped

TRANSFORMERS = "transformers"
# what a file's name has in front of the architecture's
FILE_KIND = re.compile(
    r"^(modular|modeling|configuration|tokenization(_fast)?|image_processing(_pil|_fast)?|video_processing|"
    r"feature_extraction|processing)_(?=.)"
)
# files of other kinds than modeling code: what they define goes into files of the same kind
OTHER_KINDS = re.compile(
    r"(configuration|tokenization|processing|image_processing|feature_extraction|video_processing)_"
)


@lru_cache(maxsize=4096)
def find(module: str) -> Path | None:
    """The file of a module of transformers, found by path: nothing is imported but the package's own root.

    A file of this repository is named by its folder's path and its stem: /here/bert_model.modeling_bert.
    """
    if os.path.isabs(module):
        return Path(f"{module.rpartition('.')[0]}{os.sep}{module.rpartition('.')[2]}.py")
    root, _, rest = module.partition(".")
    if root != TRANSFORMERS:
        return None
    spec = importlib.util.find_spec(root)
    if spec is None or not spec.submodule_search_locations:
        return None
    base = Path(spec.submodule_search_locations[0], *rest.split("."))
    for path in (base.with_name(base.name + ".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@lru_cache(maxsize=1024)
def has(module: str, name: str | None) -> bool:
    """Whether a generic module of transformers says the name at all (one does not: `logger` of transformers.utils)."""
    path = find(module) if module.startswith(f"{TRANSFORMERS}.") and name else None
    return path is None or bool(re.search(rf"\b{name}\b", read(path)) or find(f"{module}.{name}"))


@lru_cache(maxsize=256)
def is_model_module(module: str) -> bool:
    """A file of one architecture, or of this repository, which must not be imported by what is generated."""
    if os.path.isabs(module):
        return True
    parts = module.split(".")
    return parts[:2] == [TRANSFORMERS, "models"] and len(parts) >= 3 and parts[2] != "auto"


def package_of(module: str) -> str:
    """The lower-case name of a module's architecture: `llama` of transformers.models.llama.modeling_llama."""
    if not os.path.isabs(module):
        return module.split(".")[2]
    folder, _, stem = module.rpartition(".")
    if FILE_KIND.match(stem):
        return FILE_KIND.sub("", stem)
    return next((name for name in architectures(folder) if stem.endswith(f"_{name}")), stem)  # attention_bert


@lru_cache(maxsize=256)
def architectures(folder: str) -> list[str]:
    """What the models of a folder of this repository are called, by the names of their files."""
    return sorted({FILE_KIND.sub("", p.stem) for p in Path(folder).glob("mod*_*.py")}, key=len, reverse=True)


def purpose(module: str) -> str:
    """What a file is for: `image_processing_pil` of transformers.models.detr.image_processing_pil_detr."""
    match = FILE_KIND.match(module.rpartition(".")[2])
    return match[0] if match else ""


def shown(module: str) -> str:
    """A module's name for people: the same wherever the repository lies."""
    folder, _, stem = module.rpartition(".")
    return f"{Path(folder).name}.{stem}" if os.path.isabs(module) else module


def read(path: Path) -> str:
    """
    Raises:
        UserError: one line with the file, and the line where it is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # with or without a mark of byte order
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise UserError(f"{path}:{line}: this is not UTF-8; save it as UTF-8, nothing was written") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); nothing was written") from None


@lru_cache(maxsize=1)
def public_classes() -> dict[str, str]:
    """Module of each class that `from transformers import X` gives, for those of one architecture."""
    modules = {}
    spec = importlib.util.find_spec(TRANSFORMERS)
    models = Path(spec.submodule_search_locations[0]) / "models"
    for path in sorted(models.glob("*/*.py")):
        if path.name.startswith(("modular_", "convert_", "__init__")) or path.parent.name == "auto":
            continue
        text = path.read_text(encoding="utf-8")
        at = text.rfind("__all__")
        if at < 0:
            continue
        for name in re.findall(r"[\"'](\w+)[\"']", text[at:]):
            modules.setdefault(name, f"{TRANSFORMERS}.models.{path.parent.name}.{path.stem}")
    return modules


LIBRARIES = {"torch", "transformers", "numpy"}


def locate(path: Path, level: int, module: str) -> Path | None:
    """The file that an import in `path` names: of this repository, or of a model folder that comes with this package.

    None where neither has it. A file beside the modular one that it imports with one dot stays an import, unless that
    is a modular file itself.
    """
    parts = module.split(".") if module else []
    if not parts or (not level and (parts[0] in LIBRARIES or parts[0] in sys.stdlib_module_names)):
        return None
    folder = path.absolute().parent
    if level:
        if level == 1 and len(parts) == 1 and not parts[0].startswith("modular_"):
            return None
        places = [folder.parents[level - 2]] if 1 < level < len(folder.parents) + 2 else [folder] if level == 1 else []
    else:
        own = shipped(parts[0])
        places = [*upwards(folder), *([own.parent] if own else [])]
    for place in places:
        file = place.joinpath(*parts).with_suffix(".py")
        if file.is_file() and place.joinpath(*parts).suffix == "":
            return file
    return None


def upwards(folder: Path) -> list[Path]:
    """The folder and those around it, as far as the repository or the current directory goes; at least one."""
    folders = [folder, *folder.parents]
    for number, place in enumerate(folders):
        if (place / ".git").exists() or (number and place == Path.cwd()):
            return folders[: number + 1]
    return folders[:2]


def shown_path(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def shown_symbol(origin: str) -> str:
    """The same wherever the repository lies: bert_model.modeling_bert.BERTLayer."""
    module, _, name = origin.rpartition(".")
    return f"{shown(module)}.{name}"
