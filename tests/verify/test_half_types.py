"""What is said of a parameter that a load in half precision leaves in another type."""

import pytest
import torch
from torch import nn

from pinfold.fenced.verify.further_loads import _not_in_half


class Model(nn.Module):
    """Parameters by name, each with its type; ``kept`` is the class's declaration."""

    def __init__(self, types, kept=()):
        super().__init__()
        self._keep_in_fp32_modules = list(kept)
        for name, dtype in types.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(2, dtype=dtype)))


HALF, FULL = torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("types", "kept", "words"),
    [
        ({"a": HALF, "b": HALF}, (), None),
        ({"a": HALF, "b": FULL}, ("b",), None),
        ({"a": HALF, "b": FULL}, (), "b is torch.float32; create it without a dtype of its own; where it has to be"),
        ({"a": HALF, "b": FULL}, (), '_keep_in_fp32_modules = ["b"] says so'),
        ({"a": FULL, "b": HALF}, (), 'create it after another parameter, and say so: _keep_in_fp32_modules = ["a"]'),
        ({"a": FULL, "b": FULL}, ("a",), "or create a so, after whose type this release loads all others"),
        ({"a": HALF, "b": torch.float64}, ("c",), "b is torch.float64"),
    ],
)
def test_a_parameter_of_another_type_is_named_with_what_to_do(types, kept, words):
    lines = _not_in_half(Model(types, kept), HALF)
    assert len(lines) == (words is not None)
    assert all(words in line for line in lines)
