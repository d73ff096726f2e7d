"""The classes of a model folder, imported; their fields; and checkpoints of them, loaded to be fine-tuned."""

import hashlib
import importlib
import inspect
import json
import sys
import types
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder


def classes(folder: Path) -> dict[str, type]:
    """Import the classes that a model folder offers to transformers, by their Auto class.

    The folder is imported as a package of its own: transformers' cache of remote code could answer with the classes
    of another folder of the same name.

    Raises:
        UserError: no such folder, or code that cannot be imported.
    """
    auto_map = read_folder(folder).auto_map()
    package = "folder_" + hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    sys.modules.setdefault(package, types.ModuleType(package)).__path__ = [str(folder.resolve())]
    found = {}
    for auto, reference in auto_map.items():
        module, _, name = reference.partition(".")
        try:
            found[auto] = getattr(importlib.import_module(f"{package}.{module}"), name)
        except Exception as error:  # somebody else's code may raise anything
            raise UserError(
                f"{folder / module}.py: {type(error).__name__} on import ({one_line(error)}); correct or install it"
            ) from None
        found[auto].register_for_auto_class(auto)  # so that saving takes the code along
    return found


def with_code(model: Any, found: dict[str, type]) -> Any:
    """The model, whose auto_map is complete; transformers would name only the classes that it saves."""
    model.config.auto_map = {auto: f"{cls.__module__.split('.')[-1]}.{cls.__name__}" for auto, cls in found.items()}
    return model


def fine_tuned(model_class: type, start: Path, fields: dict[str, Any], classifier: bool = True) -> Any:
    """Load a checkpoint in float32; only a head, or a classifier of another size, is drawn anew."""
    import torch

    check_checkpoint(start)
    stored = json.loads((start / "config.json").read_text(encoding="utf-8"))
    wanted = model_class.config_class.model_type
    if stored.get("model_type", wanted) != wanted:
        raise UserError(
            f"{start}: holds a {stored['model_type']}, this folder is for {wanted}; give a checkpoint of it"
        )
    config = model_class.config_class.from_pretrained(start, **fields)
    model, found = model_class.from_pretrained(
        start, config=config, ignore_mismatched_sizes=True, output_loading_info=True, torch_dtype=torch.float32
    )
    sizes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    mismatched = (key if isinstance(key, str) else key[0] for key in found["mismatched_keys"])  # versions differ here
    drawn = sorted({*found["missing_keys"], *mismatched})
    first = (config.num_labels,) if classifier else None
    absent = absent_parts(model, set(found["missing_keys"]))
    foreign = [name for name in drawn if sizes[name][:1] != first and part_of(model, name) not in absent]
    if foreign := [f"{name} {sizes[name]}" for name in foreign]:
        told = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise UserError(
            f"{start}: its weights do not fit the model, which needs {told}; give a checkpoint of this model"
        )
    before = stored.get("id2label")
    if classifier and before is not None and not drawn and list(before.values()) != list(config.id2label.values()):
        print(f"the classifier of {', '.join(map(str, before.values()))} is trained on, for other classes")
    if drawn:
        told = f" for {config.num_labels} classes" if classifier else ""
        print(f"new weights{told}: {', '.join(drawn)}")
    return model


def part_of(model: Any, name: str) -> str:
    """The module of the body, or else of the model, that a weight belongs to: bert.pooler, classifier."""
    depth = 2 if name.startswith(f"{model.base_model_prefix}.") else 1
    return ".".join(name.split(".")[:depth])


def absent_parts(model: Any, missing: set[str]) -> set[str]:
    """The modules of which a checkpoint has nothing, such as the head of another task or a pooler; none where these
    are more than half of the model: that is a checkpoint of something else."""
    own = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]  # a tied weight by its first name
    there = {part_of(model, name) for name in own if name not in missing}
    sizes = {name: tensor.numel() for name, tensor in model.named_parameters()}
    if 2 * sum(sizes.get(name, 0) for name in missing) > sum(sizes.values()):
        return set()
    return {part_of(model, name) for name in missing} - there


def check_checkpoint(start: Path) -> None:
    """
    Raises:
        UserError: there is none, and transformers would take the path for a name on the Hub.
    """
    if not (start / "config.json").is_file() or not any(start.glob("*.safetensors")):
        raise UserError(f"{start}: no checkpoint; give a directory with config.json and model.safetensors")


def check_fit(config: Any, tokens: int, option: str, length: int) -> None:
    """
    Raises:
        UserError: the tokenizer has more tokens than the model, or examples are longer than it reads.
    """
    if tokens > config.vocab_size:
        raise UserError(
            f"the tokenizer has {tokens} tokens, the model vocab_size={config.vocab_size}; "
            "use the checkpoint's tokenizer, or no --set vocab_size"
        )
    if length > getattr(config, "max_position_embeddings", length):
        raise UserError(
            f"{option}={length} is more than max_position_embeddings={config.max_position_embeddings}; "
            "use less, or a larger one by --set"
        )


def set_fields(assignments: list[str], known: dict[str, set[str]]) -> dict[str, dict[str, Any]]:
    """Read KEY=VALUE, VALUE being JSON or a bare word: fields of the configuration, of another part, or of both.

    Raises:
        UserError: no such field.
    """
    fields: dict[str, dict[str, Any]] = {part: {} for part in known}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        parts = [part for part in known if key in known[part]]
        if not equals or not parts:
            allowed = ", ".join(sorted(set().union(*known.values())))
            raise UserError(f"--set {assignment}: KEY=VALUE is expected, KEY being one of {allowed}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        for part in parts:
            fields[part][key] = value
    return fields


def parameters(cls: type | None) -> set[str]:
    """The names by which a class takes its fields, transformers' own left out."""
    found = inspect.signature(cls).parameters.values() if cls else ()
    return {p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
