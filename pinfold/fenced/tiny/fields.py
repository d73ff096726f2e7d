"""What a configuration holds: its fields, the configurations inside it, and of which type a value is."""

from collections.abc import Iterator


def nested(config) -> list:
    """The configurations inside a configuration, at any depth."""
    inner = []
    for value in vars(config).values():
        if hasattr(value, "to_dict") and hasattr(value, "model_type"):
            inner += [value, *nested(value)]
    return inner


def every(config) -> list:
    """A configuration and those inside it."""
    return [config, *nested(config)]


def pick(config, *names: str, default=None):
    """The first of these fields that is set in a configuration or in one inside it."""
    for each in every(config):
        for name in names:
            value = getattr(each, name, None)
            if value is not None:
                return value
    return default


def parts(values: dict) -> Iterator[dict]:
    """A configuration's dictionary and those inside it."""
    yield values
    for value in values.values():
        if is_config(value):
            yield from parts(value)


def is_config(value) -> bool:
    names = ("model_type", "transformers_version", "output_hidden_states")
    return isinstance(value, dict) and any(name in value for name in names)


def is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value) -> bool:
    return is_int(value) or isinstance(value, float)


def is_list(value) -> bool:
    return isinstance(value, list)


def is_dict(value) -> bool:
    return isinstance(value, dict)


def is_int_list(value) -> bool:
    return isinstance(value, list) and all(is_int(v) for v in value)
