"""The classes of a model folder, imported; their fields; and checkpoints of them, loaded to be fine-tuned."""

import hashlib
import importlib
import inspect
import json
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, one_line
from pinfold.folder.model_folder import read_folder


def import_classes(folder: Path) -> dict[str, type]:
    """Import the classes that a model folder offers to transformers, by their Auto class.

    The folder is imported as a package with a unique name: transformers' cache of remote code could answer with the
    classes of another folder of the same name.

    Raises:
        UserError: no such folder, or code that cannot be imported.
    """
    auto_map = read_folder(folder).auto_map()
    package = "folder_" + hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    sys.modules.setdefault(package, types.ModuleType(package)).__path__ = [str(folder.resolve())]
    classes = {}
    for auto, reference in auto_map.items():
        module, _, name = reference.partition(".")
        try:
            classes[auto] = getattr(importlib.import_module(f"{package}.{module}"), name)
        except Exception as error:  # a stranger's code may raise anything
            raise UserError(
                f"{folder / module}.py: {type(error).__name__} on import ({one_line(error)}); correct or install it"
            ) from None
        classes[auto].register_for_auto_class(auto)  # so that saving takes the code along
    return classes


def with_code(model: Any, classes: dict[str, type]) -> Any:
    """The model, with a complete auto_map; transformers would name only the classes that it saves."""
    model.config.auto_map = {auto: f"{cls.__module__.split('.')[-1]}.{cls.__name__}" for auto, cls in classes.items()}
    return model


def fine_tuned(model_class: Any, start: Path, fields: dict[str, Any], classifier: bool = True) -> Any:
    """Load a checkpoint in float32; only a head, or a classifier of another size, gets new weights.

    Args:
        fields: of the configuration, instead of the checkpoint's.
        classifier: whether the model has one, whose size is the number of classes.

    Raises:
        UserError: a checkpoint of another model, or weights that do not fit this one.
    """
    import torch

    check_checkpoint(start)
    stored = json.loads((start / "config.json").read_text(encoding="utf-8"))
    model_type = model_class.config_class.model_type
    if stored.get("model_type", model_type) != model_type:
        raise UserError(
            f"{start}: holds a {stored['model_type']}, but this folder is for {model_type}; give a checkpoint of it"
        )
    config = model_class.config_class.from_pretrained(start, **fields)
    model, info = model_class.from_pretrained(
        start, config=config, ignore_mismatched_sizes=True, output_loading_info=True, torch_dtype=torch.float32
    )
    mismatched = (key if isinstance(key, str) else key[0] for key in info["mismatched_keys"])  # versions differ here
    new = sorted({*info["missing_keys"], *mismatched})
    check_new_weights(model, start, new, set(info["missing_keys"]), config.num_labels if classifier else None)
    before = stored.get("id2label")
    if classifier and before is not None and not new and list(before.values()) != list(config.id2label.values()):
        print(f"the classifier of {', '.join(map(str, before.values()))} is trained on, for other classes")
    if new:
        purpose = f" for {config.num_labels} classes" if classifier else ""
        print(f"new weights{purpose}: {', '.join(new)}")
    return model


def check_new_weights(model: Any, start: Path, new: list[str], missing: set[str], classes: int | None) -> None:
    """Check that what a checkpoint leaves open is a classifier of this many classes, or a whole part of the model.

    Args:
        new: names of the weights that were not loaded.
        missing: those of them of which the checkpoint has nothing, not even another size.

    Raises:
        UserError: other weights are missing.
    """
    sizes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    rows = (classes,) if classes is not None else None
    absent = absent_parts(model, missing)
    foreign = [name for name in new if sizes[name][:1] != rows and part_of(model, name) not in absent]
    if foreign := [f"{name} {sizes[name]}" for name in foreign]:
        listed = ", ".join(foreign[:3]) + (f" and {len(foreign) - 3} more" if len(foreign) > 3 else "")
        raise UserError(
            f"{start}: its weights do not fit the model, which needs {listed}; give a checkpoint of this model"
        )


def part_of(model: Any, name: str) -> str:
    """The module of the body, or else of the model, that a weight belongs to: bert.pooler, classifier."""
    depth = 2 if name.startswith(f"{model.base_model_prefix}.") else 1
    return ".".join(name.split(".")[:depth])


def absent_parts(model: Any, missing: set[str]) -> set[str]:
    """The modules of which a checkpoint has nothing, such as the head of another task or a pooler; none where these
    are more than half of the model: that is a checkpoint of something else.
    """
    own = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]  # a tied weight by its first name
    loaded = {part_of(model, name) for name in own if name not in missing}
    sizes = {name: tensor.numel() for name, tensor in model.named_parameters()}
    if 2 * sum(sizes.get(name, 0) for name in missing) > sum(sizes.values()):
        return set()
    return {part_of(model, name) for name in missing} - loaded


def check_checkpoint(start: Path) -> None:
    """Check that a directory holds a checkpoint: transformers would take the path for a name on the Hub.

    Raises:
        UserError: it does not.
    """
    if not (start / "config.json").is_file() or not any(start.glob("*.safetensors")):
        raise UserError(f"{start}: no checkpoint; give a directory with config.json and model.safetensors")


def check_fit(config: Any, tokens: int, option: str, length: int) -> None:
    """Check that a model reads all tokens, and examples of this length.

    Args:
        option: that sets the length.

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
            "use less, or a larger one with --set"
        )


def set_fields(assignments: Iterable[str], known: dict[str, set[str]]) -> dict[str, dict[str, Any]]:
    """Read KEY=VALUE, VALUE being JSON or a bare word: fields of the configuration, of another part, or of both.

    Args:
        known: the fields of each part.

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


def field_names(cls: type | None) -> set[str]:
    """The names by which a class takes its fields, transformers' own left out."""
    parameters = inspect.signature(cls).parameters.values() if cls else ()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
