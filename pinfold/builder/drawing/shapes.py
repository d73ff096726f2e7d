"""Shapes of every row of a drawing, from a forward on the meta device: no numbers, no memory."""

import functools
import json
from typing import Any

from pinfold.builder.drawing.state import Drawing

CHOICES = 2  # of a row for multiple choice


def shapes(drawing: Drawing, names: list[str], batch: int, length: int) -> dict[str, list[int]]:
    """Module name -> shape of what it returns, for those of ``names`` that are modules of the model."""
    key = json.dumps([drawing.architecture, drawing.main, drawing.configuration()], sort_keys=True)
    return dict(_shapes(key, tuple(names), batch, length))


@functools.lru_cache(maxsize=64)
def _shapes(key: str, names: tuple[str, ...], batch: int, length: int) -> dict[str, list[int]]:
    import torch

    from pinfold.builder.drawing.architectures import ARCHITECTURES

    architecture, main, values = json.loads(key)
    of = ARCHITECTURES[architecture]
    cls = of.model_class(main)
    values |= {"use_cache": True} if "use_cache" in values else {}  # without one, a decoder looks into its inputs
    seen: dict[str, list[int]] = {}

    def see(name: str) -> Any:
        def hook(module: Any, arguments: Any, result: Any) -> None:
            first = result
            while isinstance(first, (tuple, list)) or hasattr(first, "to_tuple"):
                first = first.to_tuple()[0] if hasattr(first, "to_tuple") else first[0]
            seen[name] = list(first.shape)

        return hook

    with torch.device("meta"), torch.no_grad():
        model = cls(of.config_class(**values)).eval()
        for name, module in model.named_modules():
            if name in names:
                module.register_forward_hook(see(name))
        size = (batch, CHOICES, length) if "MultipleChoice" in main else (batch, length)
        model(input_ids=torch.zeros(size, dtype=torch.long))
    return seen
