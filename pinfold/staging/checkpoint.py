"""A checkpoint as save_pretrained wrote it: what it holds and whether it fits the folder."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.files import read_json
from pinfold.folder.contents import adapter_inside
from pinfold.folder.filenames import INDEX, PICKLES, WEIGHTS
from pinfold.folder.model_folder import ModelFolder

ADAPTER = "adapter_config.json"  # what peft writes
UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


@dataclass(frozen=True)
class CodeFrom:
    """Code that lies in another repository, at a commit."""

    repo: str
    sha: str

    def __str__(self) -> str:
        return f"{self.repo}@{self.sha}"

    @classmethod
    def parse(cls, text: str) -> "CodeFrom":
        """Read "owner/name@SHA".

        Raises:
            UserError: it does not name one commit.
        """
        match = re.fullmatch(r"([\w.-]+/[\w.-]+)@([0-9a-f]{40})", text, re.ASCII)
        if not match:
            raise UserError(f"--code-from={text} must be owner/name@SHA with all 40 hex digits; a branch can move")
        return cls(match[1], match[2])


def parse_size(text: str) -> int:
    """Bytes in "5GB", "300MB", ...; decimal units, as huggingface_hub means them.

    >>> parse_size("300MB")
    300000000
    """
    number, unit = text[:-2], text[-2:].upper()
    if unit not in UNITS or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", number) or float(number) * UNITS[unit] < 1:
        raise UserError(f"--max-shard-size={text} is not a size; use a number and KB, MB, GB or TB, such as 5GB")
    return int(float(number) * UNITS[unit])


def check_config(config: dict, path: Path) -> None:
    """Refuse what transformers cannot read, and names that would be Markdown or code in a card.

    Raises:
        UserError: naming the key.
    """
    kind, classes = config.get("model_type"), config.get("architectures") or []
    if not isinstance(kind, str) or not re.fullmatch(r"[\w.+-]{1,100}", kind, re.ASCII):
        raise UserError(f"{path}: model_type={kind!r} must be a name such as my-resnet; set it on the config class")
    if not isinstance(classes, list) or not all(isinstance(name, str) and name.isidentifier() for name in classes):
        raise UserError(f"{path}: architectures={classes!r} must be a list of class names; save the checkpoint again")


def read_config(checkpoint: Path) -> dict:
    """config.json of a checkpoint that holds weights.

    Raises:
        UserError: weights or config.json are missing, or transformers cannot read config.json.
    """
    if checkpoint.is_dir():
        _refuse_adapter(checkpoint)
    config = read_json(checkpoint / "config.json", "save_pretrained writes one")
    _refuse_adapters_inside(checkpoint, find_weights(checkpoint))
    check_config(config, checkpoint / "config.json")
    return config


def _refuse_adapter(checkpoint: Path) -> None:
    if (checkpoint / ADAPTER).is_file() and not (checkpoint / "config.json").is_file():
        raise UserError(
            f"{checkpoint} is an adapter ({ADAPTER}), which needs its base model; publish the merged model: "
            "model.merge_and_unload().save_pretrained(DIR)"
        )


def _refuse_adapters_inside(checkpoint: Path, weights: list[Path]) -> None:
    """A model that was saved while peft's layers were in it: no class but peft's has a place for its tensors."""
    if name := adapter_inside(weights):
        raise UserError(
            f"{checkpoint}: {name} belongs to an adapter that is still inside the model; merge it, and save again: "
            "model.merge_and_unload().save_pretrained(DIR)"
        )


def _check_type(config: dict, folder: ModelFolder, path: Path) -> None:
    """Refuse a checkpoint of another architecture: the folder's configuration class would not read it as its own."""
    cls = folder.config_class(folder.auto_map())
    own = folder.attribute(cls, "model_type") if cls else None
    if isinstance(own, ast.Constant) and own.value != config["model_type"]:
        raise UserError(
            f"{path}: model_type={config['model_type']!r}, but {cls}.model_type={own.value!r} in {folder.path}; "
            "give the folder that this checkpoint was saved with"
        )


def find_weights(checkpoint: Path) -> list[Path]:
    """The safetensors files of a checkpoint directory.

    Raises:
        UserError: there are none; what is there instead is named, with the way out.
    """
    if not checkpoint.is_dir():
        raise UserError(f"{checkpoint}: no such checkpoint; give a directory that save_pretrained wrote")
    index = checkpoint / INDEX
    if index.exists():
        places = read_json(index, "").get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise UserError(f"{index}: weight_map is not a table of file names; save the checkpoint again")
        names = sorted(set(places.values()))
        if elsewhere := [name for name in names if "/" in name or "\\" in name]:
            raise UserError(
                f"{index}: {elsewhere[0]} is not the name of a file beside it; save the checkpoint again with "
                "save_pretrained"
            )
        absent = [name for name in names if not (checkpoint / name).is_file()]
        if absent or not names:
            named = f"{', '.join(absent)}, which the directory does not hold" if absent else "no files"
            raise UserError(f"{index}: it names {named}; save the checkpoint again with save_pretrained")
        return [checkpoint / name for name in names]
    if (checkpoint / WEIGHTS).exists():
        return [checkpoint / WEIGHTS]
    pickles = sorted(p.name for p in checkpoint.iterdir() if p.suffix in PICKLES and p.name != "training_args.bin")
    steps = sorted((p.name for p in checkpoint.glob("checkpoint-*")), key=lambda n: (len(n), n))
    if pickles:
        raise UserError(
            f"{checkpoint / pickles[0]} is a pickle ({Path(pickles[0]).suffix}); publish {WEIGHTS} only. Convert it: "
            "AutoModel.from_pretrained(DIR).save_pretrained(DIR) writes safetensors"
        )
    if steps:
        raise UserError(
            f"{checkpoint} holds only {', '.join(steps)}; choose one: --checkpoint {checkpoint / steps[-1]}"
        )
    raise UserError(f"{checkpoint} has no {WEIGHTS}; give a directory that save_pretrained wrote")
