"""The most that is alive at once in a forward without gradients: inputs, states on the way, what an operator makes.

It is the largest of a few moments, each a sum of what is held there and what is being made: attention with its scores
or its mask, the feed-forward network with the function in its middle, a norm, the head with its logits. Moments that
are the largest for a few numbers in a row only are left out, and so are masks of a few bytes: an estimate, mostly
equal to the count, and within 3 % of it where a row has 16 tokens and the states some 16 numbers (test_cost.py).
"""

from .attention import SMALLEST_BLOCK, Shape, chunks
from .pairs import RANDOM_BLOCK, shared_keys
from .parts import INDEX, NUMBER, labels

# Bytes for each number that goes through a function, the most at once, with what went in.
MOST = {
    "linear": 4,
    **dict.fromkeys(("gelu_10", "quick_gelu", "relu2", "sqrtsoftplus"), 12),
    **dict.fromkeys(("gelu_accurate", "gelu_new", "gelu_python", "gelu_python_tanh", "laplace"), 16),
    "gelu_fast": 20,
    "xielu": 21,
}


def function_makes(function: str, numbers: int) -> int:
    return MOST.get(function, 2 * NUMBER) * numbers


def encoder(config: dict, kinds: list[str], functions: list[str], head: str, shape: Shape) -> int:
    """Bytes, for ``shape.batch`` texts."""
    tokens, states = shape.batch * shape.length, NUMBER * shape.states
    inputs = INDEX * tokens
    norm = NUMBER * 2 * tokens
    embedding = INDEX * (tokens + shape.length) + 3 * states
    embedding += max(norm, NUMBER * shape.length * shape.hidden)
    most = inputs + embedding
    between = {kind: max(mixing(kind, shape), 3 * states + norm) for kind in set(kinds)}
    for i, (kind, function) in enumerate(zip(kinds, functions, strict=True)):
        held = inputs + states * (2 if i else 1)  # the embeddings are held to the end of the encoder
        inner = tokens * config["intermediate_size"]
        forward = states + max(function_makes(function, inner), NUMBER * inner + 2 * states + norm)
        most = max(most, held + between[kind], held + forward)
    held = inputs + states + NUMBER * shape.batch * shape.hidden
    if config["pooling"] == "mean":
        most = max(most, held + 2 * states)
    return max(most, held + _head(config, functions[-1], head, tokens, states))


def mixing(kind: str, shape: Shape) -> int:
    """One layer's attention, beside what goes into it."""
    states, rows = NUMBER * shape.states, shape.batch * shape.heads * shape.length
    if kind == "full" or is_short(kind, shape):
        pairs = 0 if kind == "full" else shape.length**2
        drawing = _drawing(shape) if kind == "random" else 0
        return 3 * states + max(drawing, NUMBER * pairs + max(states + NUMBER * rows, pairs))
    block = max(shape.window, SMALLEST_BLOCK) if kind == "local" else RANDOM_BLOCK
    steps = chunks(shape, block)
    count = steps[0]
    part = {"local": _windows, "strided": _columns, "random": _draws}[kind](shape, block, count)
    together = states if len(steps) > 1 else 0  # what the parts are written to
    first = NUMBER * shape.batch * shape.first * (shape.hidden + shape.heads)
    drawing = _drawing(shape) if kind == "random" else 0
    return 3 * states + max(drawing, together + part, 2 * states + (first if shape.first else 0))


def _drawing(shape: Shape) -> int:
    """The hash of random keys: what goes in, what comes out, and one between."""
    return 3 * INDEX * -(-shape.length // RANDOM_BLOCK) * shape.keys


def is_short(kind: str, shape: Shape) -> bool:
    limits = {"local": max(shape.window, SMALLEST_BLOCK) + shape.window, "strided": 2 * shape.stride}
    return shape.length <= limits.get(kind, RANDOM_BLOCK)


def _windows(shape: Shape, block: int, count: int) -> int:
    """The mask twice, in booleans and in numbers, and blocks of queries and keys."""
    near, folded = block + 2 * shape.window + shape.first, shape.batch * count
    views = shape.batch == 1 and not shape.first
    numbers = 2 * ((count - 1) * block * views + near) * (1 if views else folded) * shape.hidden
    queries = folded * block * shape.hidden
    numbers += queries * (3 if shape.copied and count * block > shape.length else 2)
    numbers += folded * block * (near + shape.heads)
    places = count * (1 + block + near - shape.first)
    return NUMBER * numbers + folded * block * near + INDEX * places


def _columns(shape: Shape, block: int, count: int) -> int:
    """Scores of shared keys, and again with each token's own."""
    keys, queries = shared_keys(shape.length, shape.stride, shape.first), min(count * block, shape.length)
    rows = shape.batch * queries
    kept = NUMBER * 2 * shape.batch * keys * shape.hidden + INDEX * (keys + queries) + queries * keys
    return kept + _scores(shape, rows, keys)


def _draws(shape: Shape, block: int, count: int) -> int:
    """The keys of each block, and queries, keys and values in blocks."""
    keys, rows = shape.first + shape.keys, shape.batch * count * block
    blocks = -(-shape.length // block)
    numbers = 2 * shape.batch * count * keys * shape.hidden + 3 * rows * shape.hidden
    kept = NUMBER * numbers + (INDEX + 1) * blocks * keys + INDEX * count * block + rows * keys
    return kept + _scores(shape, rows, keys)


def _scores(shape: Shape, rows: int, keys: int) -> int:
    """Scores, and with one more column beside them, twice; or once, and three mixtures."""
    scores, more = rows * shape.heads * (keys + 1), rows * shape.heads * (keys + 1)
    return NUMBER * (scores + more + max(more, 3 * rows * shape.hidden))


def _head(config: dict, function: str, head: str, tokens: int, states: int) -> int:
    if head in ("AutoModelForMaskedLM", "AutoModelForPreTraining"):
        transformed = max(function_makes(function, states // NUMBER), 2 * states + NUMBER * 2 * tokens)
        return max(transformed, states + NUMBER * tokens * config["vocab_size"])
    if head == "AutoModelForTokenClassification":
        return NUMBER * tokens * labels(config)
    return NUMBER * 4 * tokens if head == "AutoModelForQuestionAnswering" else 0


def decoder(config: dict, head: str, width: int, batch: int, length: int) -> int:
    """Bytes; keys and values of all layers are among them where they are returned for the tokens to come."""
    tokens, inner = batch * length, batch * length * config["intermediate_size"]
    heads = config["num_attention_heads"]
    states, query = NUMBER * tokens * config["hidden_size"], NUMBER * tokens * heads * width
    key = NUMBER * tokens * (config["num_key_value_heads"] or heads) * width
    layers = config["num_hidden_layers"]
    cache = 2 * key * layers if config["use_cache"] else 0
    inputs = INDEX * tokens
    # positions, cosines and sines, the embeddings, and what goes into the last layer
    held = inputs + INDEX * length + NUMBER * 2 * length * width + states * (2 if layers > 1 else 1)
    before = cache - (2 * key if cache else 0)
    turning = before + states + max(4 * query + 2 * key, 2 * query + 5 * key)
    mixing = before + states + 2 * query + 2 * key + max(NUMBER * tokens * heads, states)
    forward = cache + 2 * states + max(3 * NUMBER * inner, function_makes(config["hidden_act"], inner))
    forward = max(forward, cache + 2 * states + NUMBER * inner + states)
    norm = cache + 3 * states + NUMBER * config["hidden_size"]
    logits = cache + inputs + states + _decoder_head(config, head, tokens)
    return max(logits, held + max(turning, mixing, forward, norm))


def _decoder_head(config: dict, head: str, tokens: int) -> int:
    if head == "AutoModelForCausalLM":
        return NUMBER * tokens * config["vocab_size"]
    if head in ("AutoModelForSequenceClassification", "AutoModelForTokenClassification"):
        return NUMBER * tokens * labels(config)
    return NUMBER * 4 * tokens if head == "AutoModelForQuestionAnswering" else 0
