"""What is wrong with a drawing, and what is allowed but surprising; each at the row or field that causes it."""

import keyword
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from pinfold.builder.drawing.fields import BATCH, LENGTH, Field
from pinfold.builder.drawing.state import Drawing

PREFIX = re.compile(r"[A-Z][A-Za-z0-9]{0,39}")
MODEL_TYPE = re.compile(r"[a-z][a-z0-9_]{0,39}")
RUN = "run"  # the slot of batch and length
MOST = 8  # problems that are listed


@dataclass(frozen=True)
class Problem:
    """One thing to change.

    Args:
        field: the field that causes it. layer: from 0, where it is one layer's.
        slot: where the page shows it: sizes, layers, name, run.
        say: what is so. cure: what to do.
    """

    field: str
    slot: str
    say: str
    cure: str
    layer: int | None = None

    def line(self) -> str:
        return f"{self.say} {self.cure}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def problems(drawing: Drawing, batch: int, length: int) -> list[Problem]:
    """All that keeps a drawing from being built, run on rows of this length, or exported; [] where nothing does."""
    listed = [*name_problems(drawing), *field_problems(drawing)]
    if not any(problem.field == "num_hidden_layers" for problem in listed):
        listed += layer_problems(drawing)
    if not listed:
        listed = [*size_problems(drawing), *label_problems(drawing)]
    listed += run_problems(drawing, batch, length)
    if not listed:
        listed = refusal(drawing)
    return listed[:MOST]


def name_problems(drawing: Drawing) -> list[Problem]:
    """The two names become Python source, so they are held to letters, digits and the underscore."""
    listed = []
    prefix, model_type = drawing.prefix, drawing.model_type
    if not PREFIX.fullmatch(prefix) or keyword.iskeyword(prefix):
        why = "is a keyword of Python" if keyword.iskeyword(prefix) else "cannot begin the name of a class"
        cure = "Use a capital letter, then letters and digits, at most 40, such as Chapter."
        listed.append(Problem("prefix", "name", f"{shown(prefix)} {why}.", cure))
    elif taken := taken_classes(drawing):
        cure = f"Choose another prefix, such as My{prefix}."[:90]
        listed.append(Problem("prefix", "name", f"{taken} is a class of transformers itself.", cure))
    elif prefix != drawing.of.own and (own := f"{prefix}Attention") in drawing.of.class_names:
        cure = f"Choose another prefix, such as My{prefix}."[:90]
        listed.append(Problem("prefix", "name", f"{own} is a class that {drawing.of.folder} has already.", cure))
    if not MODEL_TYPE.fullmatch(model_type) or keyword.iskeyword(model_type):
        why = "is a keyword of Python" if keyword.iskeyword(model_type) else "cannot name the files"
        cure = "Use a small letter, then small letters, digits and _, at most 40, such as chapter."
        listed.append(Problem("model_type", "name", f"{shown(model_type)} {why}.", cure))
    elif model_type in built_in_types():
        cure = f"Choose another one, such as my_{model_type}."[:90]
        listed.append(Problem("model_type", "name", f"{model_type} is a model type of transformers itself.", cure))
    return listed


def shown(value: object) -> str:
    """A value in a message: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def taken_classes(drawing: Drawing) -> str:
    """The first class of the export that transformers has under the same name, or nothing."""
    import transformers

    names = [drawing.class_of(auto) for auto in ("AutoConfig", "AutoModel", *drawing.heads)]
    return next((name for name in names if name in transformers.__all__), "")


def built_in_types() -> set[str]:
    from transformers import CONFIG_MAPPING

    return set(CONFIG_MAPPING.keys())


def layer_problems(drawing: Drawing) -> list[Problem]:
    """Lists that have to have a word for each layer."""
    layers = drawing.config["num_hidden_layers"]
    listed = []
    for name, field in drawing.of.fields.items():
        values = drawing.config[name]
        if not field.each:
            continue
        if not isinstance(values, list):
            listed.append(Problem(name, "layers", f"{name} is not a list.", "Give one word for each layer."))
        elif len(values) != layers:
            say = f"{name} has {len(values)} words for {shown(layers)} layers."
            listed.append(Problem(name, "layers", say, "Give one for each layer."))
        else:
            for number, value in enumerate(values):
                if problem := field_problem(field, value):
                    say = f"Layer {number + 1}: {problem[0]}"
                    listed.append(Problem(name, "layers", say, problem[1], number))
    return listed


def field_problems(drawing: Drawing) -> list[Problem]:
    """Values of another kind than their field's, or out of its range."""
    listed = []
    for name, field in drawing.of.fields.items():
        if not field.each and (problem := field_problem(field, drawing.config[name])):
            listed.append(Problem(name, "sizes", *problem))
    return listed


def field_problem(field: Field, value: object) -> tuple[str, str] | None:
    """What is so and what to do, or None."""
    if value is None:
        return None if field.none else (f"{field.name} is empty.", f"Give {allowed(field)}.")
    if field.kind == "truth":
        return (
            None if isinstance(value, bool) else (f"{field.name} {shown(value)} is not true or false.", "Choose one.")
        )
    if field.kind == "word":
        words = [option[0] for option in field.options]
        if value in words:
            return None
        return f"{field.name} {shown(value)} is not known.", f"Use {', '.join(words)}."
    whole = field.kind == "integer"
    if type(value) is not int and (whole or type(value) is not float or not math.isfinite(value)):
        return f"{field.name} {shown(value)} is not a{' whole' if whole else ''} number.", f"Give {allowed(field)}."
    assert isinstance(value, (int, float))
    if value < field.least or value > field.most:
        side = "less" if value < field.least else "more"
        edge = field.least if value < field.least else field.most
        return f"{field.name} {shown(value)} is {side} than {edge:,}.", f"Give {allowed(field)}."
    return None


def allowed(field: Field) -> str:
    if field.kind not in ("integer", "number"):
        return "one of its words" if field.kind == "word" else "true or false"
    return f"a{' whole' if field.kind == 'integer' else ''} number from {field.least:,} to {field.most:,}"


def size_problems(drawing: Drawing) -> list[Problem]:
    """Sizes that do not go together; every value is of its own kind here."""
    config, listed = drawing.config, []
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if hidden % heads:
        say = f"hidden_size {hidden} is not divisible by {heads} heads."
        listed.append(Problem("num_attention_heads", "sizes", say, f"Choose {near_divisors(hidden, heads)}."))
    if "num_key_value_heads" in config:
        shared = config["num_key_value_heads"]
        if heads % shared:
            say = f"{heads} attention heads cannot share {shared} key-value heads evenly."
            listed.append(Problem("num_key_value_heads", "sizes", say, f"Choose {near_divisors(heads, shared)}."))
        width = config["head_dim"] or (hidden // heads if hidden % heads == 0 else 2)
        if width % 2:
            name = "head_dim" if config["head_dim"] else "num_attention_heads"
            say = f"A head's size is {width}, which is odd; rotary positions turn pairs."
            listed.append(
                Problem(name, "sizes", say, "Choose sizes with an even hidden_size / heads, or an even head_dim.")
            )
    if config.get("use_bidirectional_attention") and "AutoModelForCausalLM" in drawing.heads:
        say = "A language model goes on from left to right, and with bidirectional attention its tokens see both ways."
        listed.append(Problem("use_bidirectional_attention", "sizes", say, "Turn it off, or choose other heads."))
    for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
        token = config.get(name)
        if token is not None and token >= config["vocab_size"]:
            say = f"{name} {token} is not in a vocabulary of {config['vocab_size']}."
            listed.append(Problem(name, "sizes", say, f"Use 0 to {config['vocab_size'] - 1}, or leave it empty."))
    return listed


def near_divisors(number: int, near: int) -> str:
    """Up to five divisors of a number, those that are nearest to another one, in order."""
    small = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
    every = {*small, *(number // n for n in small)}
    nearest = sorted(sorted(every, key=lambda n: (abs(n - near), n))[:5])
    return " or ".join(filter(None, [", ".join(map(str, nearest[:-1])), str(nearest[-1])]))


def label_problems(drawing: Drawing) -> list[Problem]:
    """What an import has kept beside a field, and does not fit it any more."""
    listed: list[Problem] = []
    names, count = drawing.unknown.get("id2label"), drawing.config["num_labels"]
    numbers = {str(number) for number in range(count)}
    if isinstance(names, dict) and len(names) != count:
        say = f"num_labels is {count}, but config.json names {len(names)} classes (id2label)."
        cure = f"Use {len(names)}, or open a config.json with other names."
        listed.append(Problem("num_labels", "head", say, cure))
    elif names is not None and (not isinstance(names, dict) or set(map(str, names)) != numbers):
        say = f"config.json does not name the classes 0 to {count - 1} (id2label)."
        listed.append(Problem("num_labels", "head", say, "Open a config.json that does, or one without id2label."))
    last = drawing.unknown.get("eos_token_id")
    if isinstance(last, list) and last[:1] != [drawing.config["eos_token_id"]]:
        drawn = drawing.config["eos_token_id"]
        say = f"config.json has several last tokens ({shown(last)}), and the first is not {drawn}."
        cure = f"Use {last[0] if last else 'none'}, or open a config.json with one."
        listed.append(Problem("eos_token_id", "sizes", say, cure))
    return listed


def run_problems(drawing: Drawing, batch: int, length: int) -> list[Problem]:
    """Rows and tokens that this drawing does not take."""
    listed = []
    for name, value, most in (("batch", batch, BATCH), ("length", length, LENGTH)):
        if type(value) is not int or not 1 <= value <= most:
            listed.append(Problem(name, RUN, f"{name} {shown(value)} cannot be run here.", f"Give 1 to {most:,}."))
    pads = drawing.config.get("pad_token_id")
    if not listed and batch > 1 and drawing.reads_last_token and pads is None:
        say = f"A batch of {batch} needs a padding token: this head reads each row's last real token."
        listed.append(Problem("pad_token_id", RUN, say, "Give pad_token_id, or run 1 row."))
    longest = drawing.config["max_position_embeddings"]
    learned = drawing.config.get("position_embedding_type", "learned") != "sinusoidal"
    if not listed and type(longest) is int and learned and length > longest:
        say = f"Sequence {length} is longer than max_position_embeddings {longest}."
        listed.append(Problem("length", RUN, say, "Raise it, or shorten the input."))
    return listed


def refusal(drawing: Drawing) -> list[Problem]:
    """What the configuration's own class says; it has the last word."""
    try:
        drawing.of.config_class(**drawing.configuration())
    except Exception as error:  # of the folder's own checks and of transformers': each with a message for its user
        return [refused(drawing, error)]
    return []


def refused(drawing: Drawing, error: Exception) -> Problem:
    """What a class of the model, or transformers, says of a drawing."""
    text = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
    name = next((n for n in drawing.of.fields if text.startswith(n)), "")
    say, _, cure = text.partition("; ")
    if not cure:
        kept = not name and drawing.unknown
        cure = "open a config.json without the keys that this page does not draw" if kept else "change it"
    return Problem(name, "sizes", f"{say}.", f"{cure[:1].upper()}{cure[1:]}.")


def warnings(drawing: Drawing, length: int) -> list[Problem]:
    """What can be built but is likely not what was meant. For a drawing without problems."""
    config, listed = drawing.config, []
    for number, kind in enumerate(config.get("attention_type") or ()):
        if surprise := _kind_surprise(config, kind, length):
            say, cure, name = surprise
            listed.append(Problem(name, "layers", f"Layer {number + 1}: {say}", cure, number))
    return listed[:MOST]


def _kind_surprise(config: dict[str, Any], kind: str, length: int) -> tuple[str, str, str] | None:
    window, stride, keys = config["attention_window"], config["attention_stride"], config["num_random_keys"]
    if kind != "full" and config["num_global_tokens"] >= length:
        return f"all {length} tokens are global: it computes full attention.", "Use fewer.", "num_global_tokens"
    if kind == "local" and window >= length - 1:
        say = f"window {window} covers the whole {length}-token sequence: it computes full attention."
        return say, "Use a smaller window, or longer sequences.", "attention_window"
    if kind == "strided" and stride == 1:
        return "stride 1 sees every token: it computes full attention.", "Use 2 or more.", "attention_stride"
    if kind == "strided" and stride >= length:
        say = f"stride {stride} is not less than {length} tokens: each token sees the first one and itself."
        return say, "Use a smaller stride, or longer sequences.", "attention_stride"
    if kind == "random" and keys >= length:
        say = f"{keys} random keys for {length} tokens cost as much as full attention."
        return say, "Use fewer keys, or longer sequences.", "num_random_keys"
    return None
