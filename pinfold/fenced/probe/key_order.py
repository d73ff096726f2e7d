"""Whether a model is another one after loading because config.json has the keys of its tables sorted."""

import copy
import json
from collections.abc import Callable


def sorted_tables(model, is_loaded_one: Callable) -> str:
    """The settings whose order makes the difference, "config.sizes"; "" where something else does.

    The model is built anew with its own tensors, from its settings as transformers writes them, and from the same with
    a table in its first order. It is that order where the first one alone is like what was loaded.

    Args:
        is_loaded_one: whether a model gives the numbers of the one that was loaded.
    """
    try:
        written = json.loads(model.config.to_json_string())
        before = model.config.to_dict()
        in_order = {name: _as_before(value, before.get(name)) for name, value in written.items()}
        mixed = [name for name in written if json.dumps(written[name]) != json.dumps(in_order[name])]
        if mixed and is_loaded_one(_built(model, written)):
            causes = [name for name in mixed if not is_loaded_one(_built(model, {**written, name: in_order[name]}))]
            return " and ".join(f"config.{name}" for name in causes)
    except Exception:  # the model's own code, which may refuse to be built so: the cause stays open
        return ""
    return ""


def _as_before(value: object, before: object) -> object:
    """A value that was read from JSON, with the keys of its tables in the order that they had."""
    if isinstance(value, dict) and isinstance(before, dict):
        places = {str(key): place for place, key in enumerate(before)}
        keys = sorted(value, key=lambda key: places.get(key, len(places)))
        return {key: _as_before(value[key], before.get(key)) for key in keys}
    if isinstance(value, list) and isinstance(before, (list, tuple)) and len(value) == len(before):
        return [_as_before(part, other) for part, other in zip(value, before, strict=True)]
    return value


def _built(model, settings: dict):
    """A model of these settings, with the tensors of another one."""
    import torch

    config = type(model.config).from_dict(copy.deepcopy(settings))
    config._attn_implementation = model.config._attn_implementation
    with torch.random.fork_rng(devices=[]):
        built = type(model)(config)
    built.to(device=model.device, dtype=model.dtype)
    built.load_state_dict(model.state_dict())
    return built.train(model.training)
