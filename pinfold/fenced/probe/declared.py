"""probe.json: what a folder says goes into its models, for a forward whose inputs follow from no configuration.

Each argument of forward gets one of these:

- ``{"shape": [2, 16], "values": "wave"}``: numbers, sin + cos over the last two axes.
- ``{"shape": [2, 16], "values": "ramp", "from": 0, "below": 100, "per_row": true}``: integers that count up.
- ``{"shape": [2, 16], "values": "ones"}``: integers, for a mask.
- ``{"values": [[0, 1], [1, 2]], "dtype": "int64"}``: these numbers. Without a dtype, a single value is not a tensor.
- ``{"text": ["first row", "second"]}``: the folder's tokenizer, with all that it returns and forward takes under names
  of the same form: query_attention_mask beside query_input_ids. Several arguments may have texts.
- ``{"pictures": 2, "size": [480, 640]}`` and ``{"tones": 2, "seconds": 1}``: drawn, through the folder's processor.

``"batch": false`` beside any of them says that the first axis is not one of rows.

Where forward takes a dict or a list of tensors, the argument is an object or a list of these, nested as forward takes
it: ``{"features": {"user": {"shape": [2], "values": "ramp"}}}``. The words of a declaration never hold an object. An
object in which a value is one, or is a list with one in it, is thus a dict; its keys may be "values" or "shape" too.

It runs on both sides of the sandbox; torch is imported only when a function is called.
"""

import json
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

from ..values import mapped

OWN = "probe.json"
INPUTS = "inputs.safetensors"  # what texts, pictures and tones became, for later jobs
MOST = 10**8  # values of one tensor
DTYPES = ("float32", "int64", "bool")
# What is written beside each word, and what is allowed there.
WORDS = {
    "values": {"shape", "values", "from", "below", "modulo", "per_row", "dtype", "batch"},
    "text": {"text", "batch"},
    "pictures": {"pictures", "size", "batch"},
    "tones": {"tones", "seconds", "batch"},
}
MADE = ("text", "pictures", "tones")  # by the files of a checkpoint
IDS = "input_ids"  # what a tokenizer calls its ids
LISTED = "shape with values (wave, ramp or ones), values, text, pictures or tones"
DEEPEST = 8  # objects and lists in one another


def own_probe(folder: str) -> dict:
    """What a folder's probe.json says goes into its models: argument of forward -> its words.

    Returns:
        An empty dict without such a file.

    Raises:
        ValueError: it cannot be read, or it has an unknown word, or a shape or value that a tensor cannot have.
    """
    path = os.path.join(folder, OWN)
    if not os.path.exists(path):
        return {}
    try:
        with open(path, encoding="utf-8") as file:
            probe = json.load(file, parse_constant=_not_finite)
        return checked(probe)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'{path}: {error}; write {{"name": {{"shape": [2, 16], "values": "wave"}}}}') from None


def checked(probe: Any) -> dict:
    """
    Raises:
        ValueError: it does not describe inputs, it has an unknown word, or a tensor cannot have what it asks for.
    """
    if not isinstance(probe, dict) or not probe:
        raise ValueError("it must be an object whose names are arguments of forward")
    for name, words in probe.items():
        _check(name, words)
    for kind in MADE[1:]:
        if len(named := [name for name, words in probe.items() if kind in words and not is_nested(words)]) > 1:
            raise ValueError(f"{' and '.join(named)} both have {kind}; only one argument can")
    return probe


def _not_finite(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def is_nested(words: Any) -> bool:
    """Whether this is a dict or a list of declarations, and not one of them.

    >>> is_nested({"shape": [2, 3]}), is_nested({"shape": {"shape": [2, 3]}}), is_nested([{"values": 1}])
    (False, True, True)
    """
    values = words.values() if isinstance(words, dict) else words if isinstance(words, list) else ()
    return any(isinstance(value, dict) or is_nested(value) for value in values)


def leaves(words: Any, name: str = "") -> Iterator[tuple[str, dict]]:
    """Every declaration in there, with its place such as "features.user" or "pair.0"."""
    if not is_nested(words):
        yield name, words
        return
    for key, inner in words.items() if isinstance(words, dict) else enumerate(words):
        yield from leaves(inner, f"{name}.{key}" if name else str(key))


def for_each(words: Any, function: Callable[[dict], Any]) -> Any:
    """The same objects and lists with what the function makes of each declaration."""
    if not is_nested(words):
        return function(words)
    if isinstance(words, dict):
        return {key: for_each(inner, function) for key, inner in words.items()}
    return [for_each(inner, function) for inner in words]


def _check(name: str, words: Any, depth: int = 0) -> None:
    """One argument's words.

    Raises:
        ValueError: one of them is not known, or has a value that is not allowed.
    """
    if depth > DEEPEST:
        raise ValueError(f"{name} lies in more than {DEEPEST} objects and lists")
    if is_nested(words):
        for key, inner in words.items() if isinstance(words, dict) else enumerate(words):
            _check(f"{name}.{key}", inner, depth + 1)
        return
    if not isinstance(words, dict):
        raise ValueError(f"{name} needs an object with {LISTED}")
    if depth and (through := [kind for kind in MADE if kind in words]):
        raise ValueError(
            f"{name}: {through[0]} is only for an argument of forward itself, as a tokenizer or a processor returns "
            "several; in an object or a list, write shape or values"
        )
    kinds = [kind for kind in WORDS if kind in words] or (["values"] if "shape" in words else [])
    if len(kinds) != 1:
        raise ValueError(f"{name} needs one of {LISTED}")
    if unknown := sorted(set(words) - WORDS[kinds[0]]):
        raise ValueError(
            f"{name}: {unknown[0]!r} cannot be combined with {kinds[0]}; allowed are {sorted(WORDS[kinds[0]])}"
        )
    if not isinstance(words.get("batch", True), bool):
        raise ValueError(f"{name}: batch must be true or false")
    if kinds == ["text"]:
        rows = words["text"]
        if not isinstance(rows, list) or not rows or not all(isinstance(row, str) and row for row in rows):
            raise ValueError(f"{name}: text must be a list of texts, one for each row")
    elif kinds == ["values"]:
        _check_values(name, words)
    else:
        size = words.get("size", [64, 64])
        if not _positive(words[kinds[0]]) or words[kinds[0]] > 64:
            raise ValueError(f"{name}: {kinds[0]} must be a number from 1 to 64")
        if not isinstance(size, list) or len(size) != 2 or not all(_positive(side) and side <= 4096 for side in size):
            raise ValueError(f"{name}: size must be [height, width], in pixels up to 4096")
        if type(words.get("seconds", 1)) not in (int, float) or not 0 < words.get("seconds", 1) <= 60:
            raise ValueError(f"{name}: seconds must be a number up to 60")


def _check_values(name: str, words: dict) -> None:
    if "shape" not in words:
        _check_literal(name, words)
        return
    shape, kind = words["shape"], words.get("values", "wave")
    bounds = [words[bound] for bound in ("below", "modulo") if bound in words]
    if not isinstance(shape, list) or not shape or not all(_positive(n) for n in shape):
        raise ValueError(f"{name} needs a shape of positive integers")
    if kind not in ("wave", "ramp", "ones") or math.prod(shape) > MOST:
        raise ValueError(f"{name}: values must be wave, ramp or ones, and at most 100 million of them")
    if not all(_positive(bound) for bound in bounds):
        raise ValueError(f"{name}: below must be a positive integer")
    first = words.get("from", 0)
    if type(first) is not int or (bounds and first >= bounds[0]):
        raise ValueError(f"{name}: from must be an integer less than below")
    if kind != "ramp" and (bounds or "from" in words or "per_row" in words):
        raise ValueError(f"{name}: from, below and per_row are only for values of a ramp")
    if words.get("dtype", "int64") not in DTYPES:
        raise ValueError(f"{name}: dtype must be one of {', '.join(DTYPES)}")


def _check_literal(name: str, words: dict) -> None:
    """Values themselves: one, which may be of any kind, or nested lists of numbers with the same lengths."""
    if words.get("dtype", "int64") not in DTYPES:
        raise ValueError(f"{name}: dtype must be one of {', '.join(DTYPES)}")
    if more := {"from", "below", "modulo", "per_row"} & set(words):
        raise ValueError(f"{name}: {min(more)} needs a shape, and ramp as values")
    literal = words["values"]
    if literal in ("wave", "ramp", "ones"):
        raise ValueError(f"{name} needs a shape of positive integers")
    if not isinstance(literal, (list, int, float, str, type(None))):
        raise ValueError(f"{name}: values must be a number, a text, true, false, null or nested lists of numbers")
    if "dtype" in words and not isinstance(literal, (list, int, float)):
        raise ValueError(f"{name}: dtype is only for numbers, true and false")
    if isinstance(literal, list) and _lengths(literal) is None:
        raise ValueError(f"{name}: the lists in values differ in length, or contain something other than numbers")


def _lengths(literal: Any) -> tuple[int, ...] | None:
    """The shape of nested lists of numbers; None for one that is not rectangular."""
    if not isinstance(literal, list):
        return () if isinstance(literal, (int, float)) else None
    inner = {_lengths(each) for each in literal}
    if len(inner) != 1 or (lengths := inner.pop()) is None:
        return None
    return (len(literal), *lengths)


def _positive(value: Any) -> bool:
    return type(value) is int and value > 0


def made(words: Any) -> Any:
    """The input that these words ask for: a tensor, a single value, or a dict or a list of them.

    Raises:
        ValueError: it is made by a tokenizer or a processor, and ``through_files`` has not been called.
    """
    import torch

    if is_nested(words):
        return for_each(words, made)
    if "kept" in words:
        from safetensors import safe_open

        with safe_open(words["file"], "pt") as file:
            return file.get_tensor(words["kept"])
    if needs_files({"": words}):
        raise ValueError(f"{OWN} asks for text, pictures or tones, which needs the files of a checkpoint")
    dtype = getattr(torch, words["dtype"]) if "dtype" in words else None
    if "shape" in words:
        first, below = words.get("from", 0), words.get("below", words.get("modulo"))
        tensor = formula(words["shape"], words.get("values", "wave"), below, first, words.get("per_row", False))
        return tensor if dtype is None else tensor.to(dtype)
    literal = words["values"]
    if not isinstance(literal, list) and dtype is None:
        return literal
    tensor = torch.tensor(literal, dtype=dtype)
    return tensor.float() if dtype is None and tensor.is_floating_point() else tensor


def formula(shape: list, kind: str, below: int | None = None, first: int = 0, per_row: bool = False) -> Any:
    """A tensor by formula.

    Args:
        kind: "ramp" counts up from ``first`` and starts anew at ``below``; "ones"; "wave" is sin + cos over the last
            two axes.
        per_row: each row, along the last axis, starts at ``first``.
    """
    import torch

    if kind == "ones":
        return torch.ones(shape, dtype=torch.long)
    if kind == "ramp":
        count = torch.arange(shape[-1]).expand(shape) if per_row else torch.arange(math.prod(shape)).reshape(shape)
        return first + count % ((below or 2**31) - first)
    if len(shape) < 2:
        return torch.sin(torch.arange(math.prod(shape), dtype=torch.float32)).reshape(shape)
    rows, columns = torch.arange(shape[-2], dtype=torch.float32), torch.arange(shape[-1], dtype=torch.float32)
    grid = torch.sin(rows)[:, None] + torch.cos(columns)[None, :]
    # every channel and every picture gets another scale, so that mixing them up shows
    scale = 1 / torch.arange(1, math.prod(shape[:-2]) + 1, dtype=torch.float32)
    return (scale[:, None, None] * grid).reshape(shape)


def in_own_type(model, inputs: dict) -> dict:
    """The inputs, with floating-point tensors in the type of the model's weights."""
    import torch

    floating = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return mapped(inputs, lambda tensor: tensor.to(floating) if tensor.is_floating_point() else tensor)


def is_resizable(own: dict) -> bool:
    """Whether every input has rows, and a formula that makes more of them."""
    return not own or all(words.get("batch", True) and "shape" in words for _, words in leaves(own))


def resized(own: dict, rows: int) -> dict:
    """The same probe with another number of rows.

    Raises:
        ValueError: its inputs are literal, or have no rows.
    """
    if not is_resizable(own):
        raise ValueError(f"{OWN} says how many rows go in")
    return for_each(own, lambda words: {**words, "shape": [rows, *words["shape"][1:]]})


def needs_files(own: dict) -> bool:
    """Whether the folder's own tokenizer or processor makes an input."""
    return any(kind in words for words in own.values() if not is_nested(words) for kind in MADE)


def through_files(own: dict, directory: str, takes: list[str], kept_in: str) -> dict:
    """The probe with texts, pictures and tones turned into tensors by the files of a checkpoint.

    Args:
        directory: where AutoProcessor, AutoTokenizer, AutoImageProcessor and AutoFeatureExtractor look.
        takes: the arguments of forward; what else a tokenizer returns is left out.
        kept_in: a safetensors file to write the tensors to; later jobs read them there.

    Raises:
        ValueError: a file is missing, or the tokenizer or processor fails; the message says which of them.
    """
    import torch
    from safetensors.torch import save_file

    if not needs_files(own):
        return own
    tensors: dict = {}
    flat = {name: words for name, words in own.items() if not is_nested(words)}
    asked = {kind: words for words in flat.values() for kind in MADE if kind in words}
    texts = {name: words for name, words in flat.items() if "text" in words}
    joint = joint_processor(directory) if len(asked) > 1 and len(texts) < 2 else None
    try:
        if joint is not None:
            tensors = dict(_called(joint, asked))
        else:
            for kind in [kind for kind in asked if kind != "text"]:
                tensors |= _called(_single(kind, directory), {kind: asked[kind]})
            for name, words in texts.items():
                encoded = _called(_single("text", directory), {"text": words})
                tensors |= {sibling(name, key): tensor for key, tensor in encoded.items()}
    except Exception as error:
        said = str(error).splitlines()
        raise ValueError(f"{OWN}: {' and '.join(asked)}: {type(error).__name__}: {said[0] if said else ''}") from None
    tensors = {name: torch.as_tensor(t).contiguous() for name, t in tensors.items() if name in takes}
    save_file({name: t.clone() for name, t in tensors.items()}, kept_in)
    rest = {name: words for name, words in own.items() if not needs_files({name: words})}
    return rest | {name: {"kept": name, "file": kept_in} for name in tensors if name not in rest}


def sibling(name: str, key: str) -> str:
    """The argument of forward that goes with one of token ids.

    >>> sibling("query_input_ids", "attention_mask"), sibling("input_ids_a", "attention_mask")
    ('query_attention_mask', 'attention_mask_a')
    >>> sibling("words", "input_ids"), sibling("words", "attention_mask")
    ('words', 'attention_mask')
    """
    if IDS in name:
        return name.replace(IDS, key)
    return name if key == IDS else key


def joint_processor(directory: str) -> Any:
    import transformers

    try:
        processor = transformers.AutoProcessor.from_pretrained(directory, trust_remote_code=True)
    except Exception:  # the parts are then asked one by one, and say what is missing
        return None
    # without a processor's own file, AutoProcessor gives the tokenizer or another part alone
    return processor if isinstance(processor, transformers.ProcessorMixin) else None


def _single(kind: str, directory: str) -> Any:
    import transformers

    auto, part = {
        "text": ("AutoTokenizer", "tokenizer"),
        "pictures": ("AutoImageProcessor", "image_processor"),
        "tones": ("AutoFeatureExtractor", "feature_extractor"),
    }[kind]
    try:
        return getattr(transformers, auto).from_pretrained(directory, trust_remote_code=True)
    except Exception:  # its settings may be in the processor's own file alone
        if (single := getattr(joint_processor(directory), part, None)) is None:
            raise
        return single


def _called(processor: Any, asked: dict) -> dict:
    arguments: dict = {"return_tensors": "pt"}
    if "text" in asked:
        arguments["text"] = asked["text"]["text"]
        tokenizer = getattr(processor, "tokenizer", processor)
        arguments["padding"] = getattr(tokenizer, "pad_token", None) is not None
    if "pictures" in asked:
        arguments["images"] = pictures(asked["pictures"]["pictures"], *asked["pictures"].get("size", [64, 64]))
    if "tones" in asked:
        extractor = getattr(processor, "feature_extractor", processor)
        rate = getattr(extractor, "sampling_rate", 16000)
        sounds = tones(asked["tones"]["tones"], rate, asked["tones"].get("seconds", 1))
        if len(asked) == 1 and extractor is processor:
            return dict(processor(sounds, sampling_rate=rate, return_tensors="pt"))
        arguments |= {"audio": sounds, "sampling_rate": rate}
    return dict(processor(**arguments))


def pictures(count: int, height: int, width: int) -> list:
    """Drawn pictures, each another: a wave in red, green and blue."""
    import numpy
    from PIL import Image

    y, x = numpy.mgrid[0:height, 0:width]
    drawn = []
    for number in range(count):
        channels = [numpy.sin((x * (channel + 1) + y * (number + 1)) / 9) for channel in range(3)]
        drawn.append(Image.fromarray((127.5 + 127 * numpy.stack(channels, -1)).astype("uint8")))
    return drawn


def tones(count: int, rate: int, seconds: float) -> list:
    """Sine tones of 220 Hz and its multiples, as arrays of float32 at this sampling rate in Hz."""
    import numpy

    times = numpy.arange(int(rate * seconds)) / rate
    return [numpy.sin(2 * numpy.pi * 220 * (number + 1) * times).astype("float32") for number in range(count)]
