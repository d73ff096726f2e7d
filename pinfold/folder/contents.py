"""What a directory holds, before any of its code is read: a model, a tokenizer, pointers to code elsewhere."""

import json
import re
import stat
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.safetensors import read_tensors
from pinfold.folder.filenames import READ
from pinfold.folder.loaded_code import leads_out
from pinfold.folder.model_folder import outside
from pinfold.folder.tokenizer_files import TOKENIZER_CONFIG

INSIDE = re.compile(r"(^|\.)(base_model\.model\.|base_layer\.|lora_[AB]\.|lora_embedding_[AB](\.|$))")


def adapter_inside(weights: list[Path]) -> str | None:
    """The name of a tensor that only peft's layers have: the model was saved while they were in it."""
    return next((tensor.name for tensor in read_tensors(weights) if INSIDE.search(tensor.name)), None)


def has_tokenizer(directory: Path) -> bool:
    """Whether AutoTokenizer has something to load here."""
    return any((directory / name).is_file() for name in ("tokenizer.json", TOKENIZER_CONFIG))


def has_chat_template(directory: Path) -> bool:
    """Whether the tokenizer here has a template of its own for a chat: in a file, or in its settings."""
    if (directory / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((directory / TOKENIZER_CONFIG).read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def describes_model(directory: Path) -> bool:
    """Whether there is a config.json, and a model's; that of a tokenizer alone names nothing but its class."""
    try:
        return is_models(json.loads((directory / "config.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError):
        return True


def is_models(config: object) -> bool:
    """Whether the content of a config.json is about a model."""
    return not isinstance(config, dict) or bool(config.keys() - {"tokenizer_class"})


def check_files(directory: Path) -> None:
    """Refuse what cannot be read like a file: pipes, devices, links in a circle or out of the folder.

    Raises:
        UserError: naming it.
    """
    for path in sorted(directory.iterdir()):
        try:
            mode, out = path.stat().st_mode, path.is_symlink() and leads_out(path, directory)
        except (OSError, RuntimeError):
            raise UserError(f"{path}: a link that leads nowhere or in a circle; remove it") from None
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise UserError(f"{path}: not a regular file; remove it")
        if out and stat.S_ISREG(mode):
            raise outside(path)
        if stat.S_ISDIR(mode) and path.suffix in (*READ, ".safetensors"):
            raise UserError(f"{path}: a directory, but a file of this name is expected; rename it")


def code_elsewhere(directory: Path) -> dict[str, set[str]]:
    """Repositories that the auto_map entries point to -> the Auto classes that they serve."""
    served: dict[str, set[str]] = {}
    names = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
    for path in (directory / name for name in names):
        try:
            auto_map = json.loads(path.read_text(encoding="utf-8")).get("auto_map") or {}
            entries = list(auto_map.items())
        except (OSError, ValueError, AttributeError, RecursionError):
            continue
        for auto, value in entries:
            for entry in value if isinstance(value, list) else [value]:
                if isinstance(entry, str) and "--" in entry:
                    served.setdefault(entry.split("--")[0], set()).add(auto)
    return served
