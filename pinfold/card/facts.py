"""What a card's sentences and tables say, from the staged files and from what a push found out.

Texts of a folder's author pass `escape_markdown` on their way into Markdown, names in backticks pass `code_span`.
"""

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pinfold.audit.finding import Finding
from pinfold.card.picture import picture
from pinfold.card.pipelines import Pipeline
from pinfold.card.snippet import UNSHOWN, main_auto_class
from pinfold.card.sources import Sources
from pinfold.common.files import cached_sha256
from pinfold.common.safetensors import DTYPES, read_tensors
from pinfold.common.trees import walk
from pinfold.folder.model_folder import Module
from pinfold.staging.stage import Staged

# What a model of an Auto class is, in a word.
KINDS = {
    "AutoModelForCausalLM": "language model",
    "AutoModelForImageClassification": "image classifier",
    "AutoModelForMaskedLM": "masked language model",
    "AutoModelForMultipleChoice": "model for multiple choice",
    "AutoModelForNextSentencePrediction": "model that predicts whether one sentence follows another",
    "AutoModelForObjectDetection": "object detector",
    "AutoModelForPreTraining": "pretrained model",
    "AutoModelForQuestionAnswering": "model for extractive question answering",
    "AutoModelForSemanticSegmentation": "model for semantic segmentation",
    "AutoModelForSeq2SeqLM": "sequence-to-sequence model",
    "AutoModelForSequenceClassification": "text classifier",
    "AutoModelForTokenClassification": "token classifier",
}
ROLES = {
    ".jinja": "chat template",
    ".json": "settings",
    ".png": "picture",
    ".py": "code, runs on your machine",
    ".safetensors": "weights",
    ".svg": "picture",
    ".txt": "words of the tokenizer",
}
ROLE_OF = {"tokenizer.json": "tokenizer", "pinfold.json": "list of these files", "vocab.json": "tokenizer"}
LOOKED_FOR = (  # a line each
    "text that is run as a program, other programs, native code, pickles",
    "the network, writing and deleting files, secrets, the environment",
    "code under made-up names, hidden names, encoded text",
    "changes of installed modules, code at import, methods that Python calls automatically, settings that choose code",
    "faults that make a load fail, or give other numbers, in some release of transformers",
)
CONTEXT = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "block_size")


@dataclass(frozen=True)
class Facts:
    """What a push found out.

    Args:
        parameters: how many. requirements: quoted for pip. vocabulary: tokens of a tokenizer alone.
        versions: transformers releases that gave the same numbers. findings: of the audit, none of which stopped it.
        measured: sizes, as measured.py gives them. example: the snippet's program and what it printed, as example.py
            gives them, with the "programs" that it was chosen from. made_with: software -> version. date: of the card.
        drawn: Auto class -> tensors that no file holds, random for users. unaligned: equal only once copied.
        fails_in: types of half precision in which forward raises -> what. not_finite: those in which an output is not.
        limit: what generate() of a second turn cannot do. pipeline: the one that the task promises.
        sources: what lies beside the weights. picture: what the picture of the architecture shows.
    """

    parameters: int
    requirements: str
    versions: list[str]
    findings: list[Finding] = field(default_factory=list)
    vocabulary: int = 0
    measured: dict = field(default_factory=dict)
    example: dict = field(default_factory=dict)
    made_with: dict[str, str] = field(default_factory=dict)
    date: str = ""
    drawn: dict[str, list[str]] = field(default_factory=dict)
    unaligned: bool = False
    fails_in: dict[str, str] = field(default_factory=dict)
    not_finite: dict[str, str] = field(default_factory=dict)
    limit: str = ""
    pipeline: Pipeline = field(default_factory=Pipeline)
    sources: Sources = field(default_factory=Sources)
    picture: str = ""

    @property
    def heads(self) -> list[tuple[str, str]]:
        """(Auto class, names) of what transformers draws at random, because the files do not hold it."""
        heads = []
        for auto, tensors in sorted(self.drawn.items()):
            if tensors:
                names = [name for name in tensors if isinstance(name, str)]
                heads.append((auto, ", ".join(map(code_span, names[:4])) + (", ..." if len(names) > 4 else "")))
        return heads


@dataclass(frozen=True)
class Sizes:
    """Measured sizes, checked: the process that measured them has run the folder's code."""

    inputs: dict[str, tuple[str, list[int]]]
    outputs: dict[str, list[int]]
    flops: int
    unknown: list[str]  # operators that are not in that number

    @classmethod
    def read(cls, measured: dict) -> "Sizes | None":
        """None where nothing was measured, or what is said cannot be sizes.

        >>> Sizes.read({"why": "RuntimeError"}) is None
        True
        """
        try:
            inputs = {_name(n): (_name(dtype), _shape(shape)) for n, (dtype, shape) in measured["inputs"].items()}
            outputs = {_name(n): _shape(shape) for n, shape in measured["outputs"].items()}
            flops, unknown = measured["flops"], [str(name)[:80] for name in measured["unknown"]]
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return cls(inputs, outputs, flops, unknown) if type(flops) is int and 0 <= flops < 10**24 and inputs else None


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+){0,8}", text, re.ASCII) or len(text) > 80:
        raise ValueError(text)
    return text


def _shape(sizes: list) -> list[int]:
    if not isinstance(sizes, list) or len(sizes) > 12 or not all(type(n) is int and 0 <= n < 10**12 for n in sizes):
        raise ValueError(sizes)
    return sizes


def escape_markdown(text: str) -> str:
    """Text as one line that is neither Markdown nor HTML.

    >>> escape_markdown("a|b  <i>")
    'a\\\\|b \\\\<i\\\\>'
    """
    return re.sub(r"([\\`*_{}\[\]<>|~&])", r"\\\1", " ".join(UNSHOWN.sub(" ", str(text)).split()))


def code_span(text: str) -> str:
    """A name as code within a table: in backticks, more of them than the name itself holds, and without a bar.

    >>> code_span("a_b"), code_span("a`b")
    ('`a_b`', '`` a`b ``')
    """
    line = " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", str(text)).split()).replace("|", "\\|")
    ticks = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    return f"`{line}`" if len(ticks) == 1 else f"{ticks} {line} {ticks}"


def amount(count: int) -> str:
    """A number that a reader remembers.

    >>> amount(25557032), amount(688_208), amount(1234), amount(7_000_000_000)
    ('25.6 M', '688 k', '1,234', '7.0 B')
    """
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.0f} k" if count >= 10_000 else f"{count:,}"


def size_of(count: int) -> str:
    """Bytes in decimal units, as the Hub shows them."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


def summary(staged: Staged, facts: Facts) -> str:
    """One sentence: what it is."""
    if staged.tokenizer_only:
        cls = escape_markdown(staged.architecture)
        return f"A tokenizer with {facts.vocabulary:,} tokens, of transformers' class `{cls}`."
    auto, sizes = main_auto_class(staged), Sizes.read(facts.measured)
    kind = KINDS.get(auto, "model")
    count = amount(facts.parameters)
    details = [f"type `{staged.config['model_type']}`"]
    pictures = [shape for _, shape in sizes.inputs.values() if len(shape) == 4] if sizes else []
    details += [f"pictures of {shape[3]} x {shape[2]}" for shape in pictures[:1]]
    labels = staged.config.get("id2label")
    if labels and auto != "AutoModel" and "Classification" in auto:
        details.append(f"{len(labels)} labels" if len(labels) > 1 else "one number")
    origin = ""
    if facts.sources.conversion:
        origin = f", converted from {escape_markdown(facts.sources.conversion.source)}"
    elif facts.sources.training and facts.sources.training.data:
        origin = f", trained on {escape_markdown(facts.sources.training.data.split(':')[0])}"
    article = "An" if re.match(r"8|11[.,M ]|18[.,M ]", count) else "A"
    return f"{article} {count}-parameter {kind}, `{staged.architecture}` ({', '.join(details)}){origin}."


def table(staged: Staged, facts: Facts, licence: str) -> list[tuple[str, str]]:
    """The facts on one look: (what, Markdown)."""
    return [(what, value) for what, value in _rows(staged, facts, licence) if value]


def _rows(staged: Staged, facts: Facts, licence: str) -> Iterator[tuple[str, str]]:
    config, sizes = staged.config, Sizes.read(facts.measured)
    if staged.tokenizer_only:
        yield "Vocabulary", f"{facts.vocabulary:,} tokens"
    else:
        yield "Parameters", f"{facts.parameters:,}{_held(staged, facts.parameters)}"
    if sizes:
        yield "Input → output", f"{_named(sizes.inputs)} → {_named(sizes.outputs)}"
        if sizes.flops:
            unit = next((u for u in (("T", 12), ("G", 9), ("M", 6)) if sizes.flops >= 10 ** u[1]), ("", 0))
            short = f"{sizes.flops / 10 ** unit[1]:.3g} {unit[0]}" if unit[1] else f"{sizes.flops}"
            more = f", without {', '.join(map(code_span, sizes.unknown[:3]))}" if sizes.unknown else ""
            yield "FLOPs of that", f"{short} (a multiply-add is 2{more})"
    context = next((config[name] for name in CONTEXT if type(config.get(name)) is int), None)
    yield "Context length", f"{context:,} tokens" if context else ""
    words = config.get("vocab_size")
    yield "Vocabulary", f"{words:,} tokens" if type(words) is int else ""
    files = staged.weights or [staged.directory / name for name in staged.files]
    total, parts = sum(path.stat().st_size for path in files), len(files)
    yield (
        "Size of the " + ("weights" if staged.weights else "files"),
        f"{size_of(total)} in {parts} file{'s' * (parts > 1)}",
    )
    yield "License", escape_markdown(licence)
    if facts.sources.conversion:
        at = f" at {code_span(facts.sources.conversion.revision)}" if facts.sources.conversion.revision else ""
        yield "Converted from", escape_markdown(facts.sources.conversion.source) + at
        yield "License of the source", escape_markdown(facts.sources.conversion.licence)
    yield "Trained on", escape_markdown(facts.sources.training.data) if facts.sources.training else ""
    yield "Same numbers in", f"transformers {', '.join(facts.versions)}" if facts.versions else ""


def _held(staged: Staged, parameters: int) -> str:
    """What the headers of the files say: the dtype, and how many numbers where those are not the parameters alone."""
    held: dict[str, int] = {}
    for tensor in read_tensors(staged.weights):
        kind = DTYPES.get(tensor.dtype) or re.sub(r"^i(?=\d)", "int", tensor.dtype.lower())
        held[kind] = held.get(kind, 0) + tensor.parameters
    if list(held.values()) == [parameters]:
        return f" of {next(iter(held))}"
    numbers = " and ".join(f"{n:,} of {kind}" for kind, n in sorted(held.items(), key=lambda pair: -pair[1]))
    buffers = "with buffers, " if sum(held.values()) > parameters else ""
    return f"; {buffers}the files hold {numbers}" if numbers else ""


def _named(shapes: dict) -> str:
    tensors = []
    for name, value in shapes.items():
        dtype, shape = value if isinstance(value, tuple) else ("", value)
        inside = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        tensors.append(f"`{name}` {f'{dtype} ' if dtype else ''}({inside})")
    return ", ".join(tensors[:4]) + (f" and {len(tensors) - 4} more" if len(tensors) > 4 else "")


def files(staged: Staged) -> list[dict]:
    """Every file, Python first: name, size, sha256, role, imports (of packages that are not Python's own)."""
    rows = []
    if staged.code_from:
        for module in sorted(staged.code):
            path = staged.folder.path / module
            rows.append(_file(f"{staged.code_from.repo}: {module}", path, staged.folder.modules[module[:-3]]))
    for name in sorted(staged.files, key=lambda n: (not n.endswith(".py"), n)):
        rows.append(_file(name, staged.directory / name, staged.folder.modules.get(name.removesuffix(".py"))))
    return rows


def _file(name: str, path: Path, module: Module | None) -> dict:
    role = ROLE_OF.get(path.name) or ROLES.get(path.suffix, "data")
    imports = ", ".join(foreign(module)) if module and path.suffix == ".py" else ""
    return {"name": name, "size": path.stat().st_size, "sha256": cached_sha256(path), "role": role, "imports": imports}


def foreign(module: Module) -> list[str]:
    """Packages that a file imports, wherever in it, other than Python's own and its siblings."""
    tops = set()
    for node in walk(module.tree):
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            tops.add(node.module.split(".")[0])
    return sorted(tops - sys.stdlib_module_names)


def sums(staged: Staged) -> dict[str, tuple[int, str]]:
    """Size and sha256 of every staged file."""
    return {n: ((staged.directory / n).stat().st_size, cached_sha256(staged.directory / n)) for n in staged.files}


def missing(staged: Staged, facts: Facts) -> list[str]:
    """What a reader would look for, and is not known."""
    if staged.tokenizer_only:
        return []
    known = {
        "evaluation": facts.sources.evaluation,
        "training data": facts.sources.conversion or (facts.sources.training and facts.sources.training.data),
        "sizes of a forward pass": Sizes.read(facts.measured),
        "picture": facts.picture or (staged.directory / picture.PICTURE).exists(),
    }
    return [name for name, value in known.items() if not value]
