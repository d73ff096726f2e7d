"""Shapes of every row of a drawing, from a forward on the meta device: no numbers, no memory."""

import functools
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pinfold.builder.cost.parts import Row
from pinfold.builder.drawing.state import Drawing

CHOICES = 2  # of a row for multiple choice


def shapes(drawing: Drawing, rows: Iterable[Row], batch: int, length: int) -> dict[str, list[int]]:
    """Module name -> shape of what it returns, for the rows of a drawing's costs.

    Layers of the same kinds are alike, so that one of each runs: a stack of 24 costs no more than its kinds.
    """
    each = [name for name, field in drawing.of.fields.items() if field.each]
    kinds = list(zip(*(drawing.config[name] for name in each), strict=True)) if each else []
    kinds = kinds or [()] * drawing.config["num_hidden_layers"]
    distinct = list(dict.fromkeys(kinds))
    words = {name: [kind[i] for kind in distinct] for i, name in enumerate(each)}
    small = replace(drawing, config={**drawing.config, **words, "num_hidden_layers": len(distinct)})
    names = {
        row.name: row.name
        if row.layer is None
        else f"{row.name.rpartition('.')[0]}.{distinct.index(kinds[row.layer])}"
        for row in rows
    }
    key = json.dumps([small.architecture, small.main, small.configuration()], sort_keys=True)
    seen = _shapes(key, tuple(dict.fromkeys(names.values())), batch, length)
    return {name: seen[other] for name, other in names.items() if other in seen}


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
