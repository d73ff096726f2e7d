"""The configuration and the documentation: what users read and set before they run anything."""

import dataclasses
import inspect
import json

from ..tiny.fields import nested
from ..values import plain_config
from .subject import CheckFailed, NotApplicable, Subject

COMMON = ("vocab_size", "hidden_size", "num_attention_heads", "num_hidden_layers")


def different(actual: dict, expected: dict) -> str | None:
    for key in sorted({*actual, *expected}):
        if actual.get(key) != expected.get(key):
            return f"{key} is {str(actual.get(key))[:60]} instead of {str(expected.get(key))[:60]}"
    return None


def configuration_kept(subject: Subject) -> str:
    """Fails when a field of the configuration changes on saving, and the model with it."""
    config, cls = subject.configuration(), type(subject.config)
    expected = plain_config(config)
    directory = subject.scratch()
    config.save_pretrained(directory)
    ways = {
        "from_dict(to_dict())": cls.from_dict(config.to_dict()),
        "its JSON": cls(**{k: v for k, v in json.loads(config.to_json_string()).items() if k != "model_type"}),
        "save_pretrained and from_pretrained": cls.from_pretrained(directory),
    }
    for way, actual in ways.items():
        if line := different(plain_config(actual), expected):
            raise CheckFailed(f"after {way} {line}; take it as an argument of __init__ and keep it under its name")
    if field := _ignored(cls):
        raise CheckFailed(
            f"{field} keeps its default whatever {cls.__name__}({field}=...) is given; set it in __init__"
        )
    more = cls.from_dict({**config.to_dict(), "a_field_of_another_program": 3})
    if getattr(more, "a_field_of_another_program", None) != 3:
        raise CheckFailed("a field that the class does not know is lost; pass **kwargs on to super().__init__")
    return f"{len(expected)} fields, {len(ways)} ways"


def _ignored(cls) -> str | None:
    """An argument of the constructor with which it does nothing."""
    for name, parameter in inspect.signature(cls.__init__).parameters.items():
        default = parameter.default
        if isinstance(default, bool) or not isinstance(default, (int, float)):
            continue
        others = (default + 1, default * 2) if isinstance(default, int) else (default / 2 + 0.05, default / 4)
        for value in others:
            try:
                config = cls(**{name: value})
            except Exception:  # another number does not go with the rest
                continue
            if value == default:
                continue
            if getattr(config, name, value) == default:
                return name
            break
    return None


def number_of_labels(subject: Subject) -> str:
    """Fails when a classifier comes back with another number of classes."""
    cls = type(subject.config)
    for count in (1, 2, 3, 7):
        config = cls.from_dict(subject.config.to_dict())
        config.num_labels = count
        directory = subject.scratch()
        config.save_pretrained(directory)
        loaded = cls.from_pretrained(directory)
        if loaded.num_labels != count or len(loaded.id2label) != count:
            raise CheckFailed(
                f"num_labels={count} comes back as {loaded.num_labels} with {len(loaded.id2label)} names"
            )
        again = cls.from_pretrained(directory, num_labels=count + 2)
        if again.num_labels != count + 2:
            raise CheckFailed(
                f"from_pretrained(num_labels={count + 2}) gives {again.num_labels}; keep num_labels settable"
            )
    return "1, 2, 3 and 7"


def common_names(subject: Subject) -> str:
    """Fails when tools cannot read or set hidden_size or num_hidden_layers, as every other model has them."""
    cls, seen = type(subject.config), []
    for name in COMMON:
        if not hasattr(subject.config, name):
            continue
        config = subject.configuration()
        value = getattr(config, name)
        if not isinstance(value, int) or isinstance(value, bool):
            continue
        seen.append(name)
        try:
            setattr(config, name, value)
        except NotImplementedError:  # what transformers' own configurations raise for a field that is computed
            raise CheckFailed(f"{name} can be read but not set; put it in attribute_map") from None
        if getattr(cls.from_dict(config.to_dict()), name) != value:
            raise CheckFailed(f"{name}={value} is lost in to_dict; put it in attribute_map")
    text = subject.config.get_text_config() if hasattr(subject.config, "get_text_config") else subject.config
    missing = [n for n in ("vocab_size", "hidden_size", "num_hidden_layers") if not hasattr(text, n)]
    if subject.is_text() and missing:
        raise CheckFailed(f"the configuration has no {', '.join(missing)}; add it, or name yours in attribute_map")
    if not seen:
        raise NotApplicable("it reads no text, and its configuration has none of the common names")
    try:
        cls()
    except Exception as error:
        raise CheckFailed(f"{cls.__name__}() needs arguments ({error}); give each a default") from None
    return ", ".join(seen)


def documented(subject: Subject) -> str:
    """Fails when users cannot read what the model takes and what it returns."""
    lacking, seen = [], 0
    common = (
        set(subject.classes["AutoModel"].__mro__)
        if subject.cls is not subject.classes.get("AutoModel", subject.cls)
        else set()
    )
    for cls in (subject.cls, type(subject.config)):
        seen += 1
        # a mixin of the folder may describe what its heads share; what all models inherit describes none of them
        own = [cls, *(c for c in cls.__mro__[1:] if c.__module__ == cls.__module__ and c not in common)]
        if not any((vars(c).get("__doc__") or "").strip() for c in own):
            lacking.append(cls.__name__)
    forward = next(vars(c)["forward"] for c in subject.cls.__mro__ if "forward" in vars(c))
    if not (inspect.unwrap(forward).__doc__ or forward.__doc__ or "").strip():
        lacking.append(f"{subject.cls.__name__}.forward")
    module = inspect.sys.modules[subject.cls.__module__]
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__ == subject.cls.__module__ and dataclasses.is_dataclass(value):
            seen += 1
            written = (vars(value).get("__doc__") or "").strip()
            if not written or written.startswith(f"{name}("):  # what dataclasses write by themselves
                lacking.append(name)
    if lacking:
        raise CheckFailed(f"no docstring: {', '.join(lacking)}; say what it takes, with shapes, and what it returns")
    return f"{seen + 1} docstrings"


def nested_configurations(subject: Subject) -> str:
    """Fails when a part of a composite model is built from defaults after a reload."""
    inner = nested(subject.config)
    if not inner:
        raise NotApplicable("it holds no other configuration")
    directory = subject.scratch()
    subject.config.save_pretrained(directory)
    again = nested(type(subject.config).from_pretrained(directory))
    if len(again) != len(inner):
        raise CheckFailed(
            f"{len(inner)} configurations inside of it, {len(again)} after a reload; build them in __init__"
        )
    for before, after in zip(inner, again, strict=True):
        if line := different(plain_config(after), plain_config(before)):
            raise CheckFailed(f"inside of it {type(before).__name__}: {line} after a reload")
    return f"{len(inner)} configurations"
