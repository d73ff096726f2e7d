"""Which attention implementation a model runs with, so that two copies of it can be compared bit for bit.

transformers keeps it in the configuration, but not in config.json: a model in memory can run with another than a load
of it, and their last bits differ then.

It runs on both sides of the sandbox.
"""

ON_CPU = {None, "eager", "sdpa"}  # what every machine can run


def implementations(config) -> dict:
    """The implementation under "", and that of each part under its name."""
    parts = {name: getattr(config, name, None) for name in getattr(config, "sub_configs", None) or ()}
    of_parts = {name: implementations(part) for name, part in sorted(parts.items()) if hasattr(part, "to_dict")}
    return {"": getattr(config, "_attn_implementation", None), **of_parts}


def set_implementations(config, names: dict) -> None:
    """Give a configuration, and so the models that read it, the implementations of another."""
    config._attn_implementation = names[""]  # before the parts: newer releases hand it on to them
    for name in names.keys() - {""}:
        set_implementations(getattr(config, name), names[name])


def on_cpu(names: dict) -> bool:
    """Whether the outputs can be computed on any machine."""
    return names[""] in ON_CPU and all(on_cpu(part) for name, part in names.items() if name)


def spoken(implementations: dict) -> str:
    """All implementations, for the user."""
    parts = [part for name, part in implementations.items() if name]
    names = {str(implementations[""]), *(name for part in parts for name in spoken(part).split(", "))}
    return ", ".join(sorted(names - {"None"}))
