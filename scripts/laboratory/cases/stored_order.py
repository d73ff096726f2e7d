"""Names of tensors that some releases cannot put in order: a number and a word at the same place."""

from cases.base import POST, SUM, M, case

ADDS = """class Adds(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.more = nn.Parameter(torch.zeros(size, size))

    def forward(self, weight):
        return weight + self.more


class Mix(nn.Module):
"""
case(
    "P66.parametrized",
    (
        M,
        "        self.mix.added = Adds(config.hidden_size)\n",
        '        register_parametrization(self.mix.inner, "weight", Adds(config.hidden_size))\n',
    ),
    (M, "F.linear(x.cumsum(1) / steps, self.added(self.inner.weight), self.inner.bias)", SUM),
    right=(
        (
            M,
            "from torch.nn import functional as F\n",
            "from torch.nn import functional as F\nfrom torch.nn.utils.parametrize import register_parametrization\n",
        ),
        (M, "class Mix(nn.Module):\n", ADDS),
        (M, SUM, "F.linear(x.cumsum(1) / steps, self.added(self.inner.weight), self.inner.bias)"),
        (M, POST, "        self.mix.added = Adds(config.hidden_size)\n" + POST),
    ),
    keys={
        "mix.inner.weight": "mix.inner.parametrizations.weight.original",
        "mix.added.more": "mix.inner.parametrizations.weight.0.more",
    },
)
