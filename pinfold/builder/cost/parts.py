"""What a count of costs consists of, and the activations that layers may have."""

from dataclasses import dataclass

NUMBER, INDEX = 4, 8  # bytes of a float32, and of a whole number in torch

# What backward keeps of a function between two linear layers, in bytes for each number that goes through it, with the
# second layer's input: 4 where the function's result is all that it needs, 8 where it needs what went in as well,
# which is taken for granted of a function that is not listed.
KEPT = {
    **dict.fromkeys(("linear", "relu", "sigmoid", "tanh"), 4),
    **dict.fromkeys(("gelu", "gelu_pytorch_tanh", "hardswish", "laplace", "leaky_relu", "mish", "prelu"), 8),
    **dict.fromkeys(("relu2", "relu6", "silu", "sqrtsoftplus", "swish"), 8),
    **dict.fromkeys(("gelu_10", "quick_gelu"), 12),
    "gelu_python": 16,
    **dict.fromkeys(("gelu_accurate", "gelu_new", "gelu_python_tanh"), 20),
    "xielu": 21,
    "gelu_fast": 32,
}
LEARNED = {"prelu": 1, "xielu": 2}  # numbers that are trained
FIXED = {"xielu": 2}  # numbers in buffers
ONCE = {"xielu": 4}  # bytes that backward keeps, however many numbers go through


@dataclass(frozen=True)
class Row:
    """One part of the stack.

    Args:
        slot: "embedding", "layers", "pooler", "norm" or "head".
        layer: its number, from 0; None for other slots.
        name: of the module in the model, such as "bert.encoder.layer.0".
        parameters: trained numbers whose first name is in here: a tied head has those of its own only.
        flops: what this implementation computes, by the convention of pinfold/fenced/cost/flops.py.
        useful: the same with those scores only that the mask lets through. Strided and random attention compute a
            token's own key without a product, so that this may be the larger number by so much.
        kept: bytes that backward needs and that this part is the first to keep.
        buffers: numbers in buffers.
    """

    slot: str
    layer: int | None
    name: str
    parameters: int
    flops: int
    useful: int
    kept: int
    buffers: int = 0


@dataclass(frozen=True)
class Memory:
    """Bytes of one forward or of one step of training, in float32, with the loss for labels where a head has one.

    They are what pinfold/fenced/cost/observe.py counts on the meta device: attention is the operator of a CPU, which
    keeps no scores without dropout, and keeps them three times with it; sparse kinds compute 8,192 tokens at a time,
    as they do on an accelerator. Other operators, such as a GPU's attention with dropout, keep less.

    Args:
        weights: 4 for each parameter. buffers: likewise.
        activations: the most that is alive at once in a forward without gradients, with the inputs; an estimate:
            alive.py.
        kept: what autograd keeps for backward, each memory once, with dropout where its rate is above 0; exact.
        gradients: as many as weights. states: AdamW's two numbers for each parameter (https://arxiv.org/abs/1711.05101).
    """

    weights: int
    buffers: int
    activations: int
    kept: int
    gradients: int
    states: int

    @property
    def inference(self) -> int:
        return self.weights + self.buffers + self.activations

    @property
    def training(self) -> int:
        return self.weights + self.buffers + self.kept + self.gradients + self.states


@dataclass(frozen=True)
class Costs:
    """What a drawing costs; the rows' numbers add up to the sums.

    Args:
        density: for each layer the share of pairs of query and key that its mask lets through.
    """

    parameters: int
    flops: int
    useful_flops: int
    memory: Memory
    density: tuple[float, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Parts:
    """What an architecture says of a drawing.

    Args:
        rows: from top to bottom. loss: bytes that it keeps for backward. alive: the most in a forward, in bytes.
    """

    rows: list[Row]
    loss: int
    alive: int
    density: list[float]


def class_loss(rows: int, classes: int, targets: int | None = None) -> int:
    """What cross entropy keeps: logarithms of shares, class ids (``targets`` where not one a row), and a number."""
    return NUMBER * rows * classes + INDEX * (rows if targets is None else targets) + NUMBER


def value_loss(numbers: int) -> int:
    """What a regression, or one sigmoid a class, keeps: what comes out and what it should be."""
    return 2 * NUMBER * numbers


def labels(config: dict) -> int:
    """Number of classes, as transformers reads it: by ``num_labels``, else by the names of the classes, else 2."""
    if config.get("num_labels") is not None:
        return config["num_labels"]
    return len(config["id2label"]) if config.get("id2label") is not None else 2


def rate(*rates: float | None, otherwise: float = 0.0) -> float:
    """The first rate of dropout that is set."""
    return next((each for each in rates if each is not None), otherwise)
