"""The model of a source: its class from a folder's code or from transformers, and its numbers from a checkpoint."""

import difflib
import importlib
import sys
import types

from ..verify import buffers
from . import sizes


def classes_of(request: dict):
    """The class of the configuration, and a function that gives the model's Auto class and class for one."""
    import transformers

    wanted = request["auto"]
    if request["code"]:
        package = types.ModuleType("_folder")
        package.__path__ = [request["code"]]
        sys.modules["_folder"] = package
        module, name = request["place"].split(".")
        cls = getattr(importlib.import_module(f"_folder.{module}"), name)
        if cls.config_class is None:
            raise sizes.Refused(f"{name}.config_class is missing; name the configuration's class there")
        return cls.config_class, lambda config: (wanted, cls)
    kind, version = request["stored"].get("model_type"), transformers.__version__
    if kind not in transformers.CONFIG_MAPPING:
        raise sizes.Refused(
            f"config.json: model_type {kind!r} is not one of transformers {version}'s, and there is no code beside it"
        )

    def choose(config):
        named = next((n for n in request["stored"].get("architectures") or [] if hasattr(transformers, n)), None)
        if wanted is None and named:
            return named, getattr(transformers, named)
        auto = wanted or "AutoModel"
        mapping = getattr(getattr(transformers, auto, None), "_model_mapping", None)
        if mapping is None:
            near = difflib.get_close_matches(auto, [n for n in dir(transformers) if n.startswith("AutoModel")], n=1)
            raise sizes.Refused(
                f"--auto {auto}: transformers {version} has no such class; is it {[*near, 'AutoModel'][0]}"
            )
        if type(config) not in mapping:
            raise sizes.Refused(f"--auto {auto}: transformers {version} has none for {kind}; leave it out")
        cls = mapping[type(config)]
        return auto, cls[0] if isinstance(cls, (list, tuple)) else cls

    return transformers.CONFIG_MAPPING[kind], choose


def check_fields(config_class, fields: dict) -> None:
    """Refuse a field that neither the constructor nor a new configuration has."""
    if not fields:
        return
    import inspect

    known = {*config_class().to_dict(), *inspect.signature(config_class.__init__).parameters} - {"self", "kwargs"}
    blank = config_class()
    for name in fields:
        if name not in known and not hasattr(blank, name):
            near = difflib.get_close_matches(name, sorted(known), n=3)
            own = inspect.signature(config_class.__init__).parameters
            names = ", ".join(near) or ", ".join(sorted(n for n in own if n not in ("self", "kwargs"))[:12])
            raise sizes.Refused(f"--set {name}: {config_class.__name__} has no such field; it has {names}")


def stored_dtype(stored: dict) -> str | None:
    name = str(stored.get("torch_dtype") or stored.get("dtype") or "").removeprefix("torch.")
    return name if name in ("float32", "float16", "bfloat16", "float64") else None


def with_numbers(cls, config, dtype: str, request: dict, notes: list):
    """The model with numbers: from the checkpoint where there is one, else drawn."""
    import torch

    if not request["weights"]:
        notes.append("weights are drawn, as a new model's")
        return buffers.built(cls, config, dtype)
    model, info = cls.from_pretrained(
        request["weights"], config=config, torch_dtype=getattr(torch, dtype), output_loading_info=True
    )
    if missing := sorted(info["missing_keys"]):
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        notes.append(f"drawn, because the checkpoint does not hold them: {', '.join(missing[:3])}{more}")
    return model
