"""The job that writes a checkpoint's pickles anew as safetensors, so that they are read once and run nothing.

Only tensors come through: torch refuses everything else with weights_only, as transformers does when it loads one.
"""

import os

from ..values import describe


def answer(request: dict) -> dict:
    """Convert every file; the first that cannot be read is a failure."""
    for number, file in enumerate(request["files"], 1):
        try:
            _convert(file, os.path.join(request["directory"], f"{number}.safetensors"))
        except Exception as error:
            return {"failures": [{"check": "D01", "line": f"{os.path.basename(file)}: {describe(error)}"}]}
    return {"failures": []}


def _convert(file: str, target: str) -> None:
    import torch
    from safetensors.torch import save_file

    content = torch.load(file, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or not content:
        raise TypeError(f"it holds {type(content).__name__}, not tensors by name")
    odd = [name for name, value in content.items() if not isinstance(name, str) or not isinstance(value, torch.Tensor)]
    if odd:
        raise TypeError(f"{odd[0]} is {type(content[odd[0]]).__name__}, not a tensor")
    # copies, as safetensors takes no two names for one memory: a pickle keeps tied weights so
    save_file({name: value.detach().clone().contiguous() for name, value in content.items()}, target, {"format": "pt"})
