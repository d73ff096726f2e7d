"""Values that more than one job of the sandbox looks at: outputs, inputs, configurations and exceptions."""

import hashlib
import json
import os
import traceback

# Of outputs: another type in each version, and no part of what is compared.
# transformers 5.24 gives its own output classes a field "cache" in place of past_key_values.
CACHES = ("past_key_values", "cache", "encoder_past_key_values", "cache_params")
# Of configurations: where one came from, and how it was loaded.
NOTES = {"transformers_version", "torch_dtype", "dtype", "_name_or_path", "architectures", "_commit_hash", "auto_map"}
MANY_LINES = 6


def flat(value, without: tuple[str, ...] = (), name: str = "") -> dict:
    """Copies of the tensors in an output by their path: "logits", "hidden_states.0"; "output" for a tensor alone.

    Args:
        without: keys that are left out.
    """
    import torch

    if isinstance(value, torch.Tensor):
        return {name or "output": value.detach().clone()}
    if isinstance(value, dict) or hasattr(value, "to_tuple"):
        pairs = value.items()
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    else:
        return {}
    tensors = {}
    for key, inner in pairs:
        if key not in without:
            tensors |= flat(inner, without, f"{name}.{key}" if name else str(key))
    return tensors


def mapped(value, function):
    """Inputs with each tensor replaced by what the function makes of it, those in objects and lists too."""
    import torch

    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: mapped(inner, function) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(inner, function) for inner in value)
    return value


def clone(value, device: str = "cpu"):
    """A copy of inputs for one run: a model may write into its inputs."""
    return mapped(value, lambda tensor: tensor.detach().clone().to(device))


def by_place(inputs: dict) -> dict:
    """Inputs of forward one by one: "features.user" is the tensor or the value of that key, "pair.0" that place."""
    every: dict = {}
    for name, value in inputs.items():
        if isinstance(value, dict) or (isinstance(value, (list, tuple)) and value):
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            every |= by_place({f"{name}.{key}": inner for key, inner in pairs})
        else:
            every[name] = value
    return every


def sha256(tensor) -> str:
    """A digest of a tensor's numbers."""
    import torch

    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b""
    return hashlib.sha256(data).hexdigest()


def plain_config(config, private: bool = True) -> dict:
    """A configuration as JSON holds it, without notes about where it came from.

    Args:
        private: with fields whose names begin with an underscore.
    """
    text = json.dumps(config.to_dict(), default=str)
    values = json.loads(text, parse_constant=str)  # NaN as text, which equals itself
    return {
        name: value
        for name, value in values.items()
        if name not in NOTES and "attn_implementation" not in name and (private or not name.startswith("_"))
    }


def first_line(error: BaseException) -> str:
    """What an exception says, on one line: its first, with the last one where that alone says little.

    Advice, addresses and frames lie below what happened; a first line that ends with a colon only announces it.
    """
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    if not lines:
        return ""
    first, last = lines[0], lines[-1]
    is_short = len(lines) <= MANY_LINES and (first.endswith(":") or len(first) < 40 or len(last) < 40)
    return (f"{first} … {last}" if len(lines) > 1 and is_short else first)[:400]


def out_of_memory(error: BaseException) -> bool:
    """Whether there was no memory for what raised this."""
    # torch raises a plain RuntimeError where the CPU's memory ends; nothing but its text says so
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def describe(error: BaseException) -> str:
    """What an exception is and says, on one line."""
    return f"{type(error).__name__}: {first_line(error)}"


def describe_with_place(error: BaseException) -> str:
    """What an exception is and says, and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return describe(error) + place
