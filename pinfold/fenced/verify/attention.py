"""Which attention implementation a model runs with, so that two copies of it can be compared bit for bit.

transformers keeps it in the configuration, but not in config.json: a model in memory can run with another than a load
of it, and their last bits differ then.

Runs inside the fence as well (inside.py): imports nothing of pinfold.
"""

ON_CPU = {None, "eager", "sdpa"}  # what every machine can run


def read(config) -> dict:
    """The implementation under "", and that of each part under its name."""
    parts = {name: getattr(config, name, None) for name in getattr(config, "sub_configs", None) or ()}
    found = {name: read(part) for name, part in sorted(parts.items()) if hasattr(part, "to_dict")}
    return {"": getattr(config, "_attn_implementation", None), **found}


def write(config, found: dict) -> None:
    """Give a configuration, and so the models that read it, what ``read`` found in another."""
    config._attn_implementation = found[""]  # newer releases hand this on to the parts, which follow
    for name in found.keys() - {""}:
        write(getattr(config, name), found[name])


def on_cpu(found: dict) -> bool:
    """Whether the outputs can be computed on any machine."""
    return found[""] in ON_CPU and all(on_cpu(part) for name, part in found.items() if name)


def named(found: dict) -> str:
    """All implementations, for the user."""
    names = {str(found[""]), *(name for key, part in found.items() if key for name in named(part).split(", "))}
    return ", ".join(sorted(names - {"None"}))
