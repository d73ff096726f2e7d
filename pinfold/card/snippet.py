"""The lines that load a repository at one commit, and the example under them that a card shows with its output."""

import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from pinfold.common.files import read_json
from pinfold.fenced.probe.declared import DTYPES, IDS, is_nested, needs_files, own_probe, sibling
from pinfold.folder.contents import has_chat_template, has_tokenizer
from pinfold.folder.outputs import inputs_of
from pinfold.folder.sentence import MODULES
from pinfold.staging.stage import Staged

TEXT = "The wind had fallen, and the sea was calm again."
QUESTION, CONTEXT = "What had fallen?", TEXT
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # the only words of a probe.json that get into a program
MASK = "attention_mask"
KEY = re.compile(r"[A-Za-z0-9_. -]{1,80}")  # of a dict among the inputs; these get into it as well
LONGEST = 400  # characters of one input in it
OF_ALL = [  # for a model of which one output is a dict or a tuple of tensors
    "",
    "def shapes(output):",
    '    if hasattr(output, "shape"):',
    "        return tuple(output.shape)",
    '    named = output.items() if hasattr(output, "items") else enumerate(output)',
    '    shown = [pair for pair in named if hasattr(pair[1], "shape") or isinstance(pair[1], (dict, list, tuple))]',
    "    return {name: shapes(each) for name, each in shown}",
    "",
    "outputs = model(**inputs)",
    "print(shapes(outputs))",
]
OF_SENTENCES = "sentence_transformers"
WIDTH, LINES = 110, 12  # characters and lines of an output that a card shows
# control characters, those that turn the direction of text, and halves of characters
UNSHOWN = re.compile("[^\x20-\x7e\xa0-\u2027\u2030-\u2065\u206a-\ud7ff\ue000-\ufefe\U00010000-\U0010ffff]")

# What an Auto class is asked for where a tokenizer is there: the lines after `inputs`. They print words, or numbers
# rounded to what every machine gives. What is written is shown in quotes, so that spaces and line ends are seen.
WITH_WORDS = {
    "AutoModelForSequenceClassification": [
        "scores = model(**inputs).logits.detach().softmax(-1)[0]",
        "best = scores.argmax().item()",
        "print(model.config.id2label[best], round(scores[best].item(), 2))",
    ],
    "AutoModelForTokenClassification": [
        "labels = model(**inputs).logits.argmax(-1)[0].tolist()",
        "words = tokenizer.convert_ids_to_tokens(inputs.input_ids[0])",
        "print([(word, model.config.id2label[label]) for word, label in zip(words, labels)])",
    ],
    "AutoModelForQuestionAnswering": [
        "outputs = model(**inputs)",
        "start, end = outputs.start_logits.argmax().item(), outputs.end_logits.argmax().item()",
        "print(repr(tokenizer.decode(inputs.input_ids[0, start : end + 1])))",
    ],
    "AutoModelForMaskedLM": [
        "place = (inputs.input_ids[0] == tokenizer.mask_token_id).nonzero().item()",
        "best = model(**inputs).logits[0, place].topk(5).indices",
        "print([tokenizer.decode([token]) for token in best.tolist()])",
    ],
    "AutoModelForSeq2SeqLM": [
        "tokens = model.generate(**inputs, max_new_tokens=20, do_sample=False)",
        "print(repr(tokenizer.decode(tokens[0], skip_special_tokens=True)))",
    ],
    "AutoModelForCausalLM": [
        "tokens = model.generate(**inputs, max_new_tokens=20, do_sample=False)",
        "print(repr(tokenizer.decode(tokens[0], skip_special_tokens=True)))",
    ],
}
CHAT = [
    f'chat = [{{"role": "user", "content": "{TEXT}"}}]',
    "inputs = tokenizer.apply_chat_template(",
    '    chat, add_generation_prompt=True, return_tensors="pt", return_dict=True',
    ")",
    "tokens = model.generate(**inputs, max_new_tokens=20, do_sample=False)",
    "print(repr(tokenizer.decode(tokens[0, inputs.input_ids.shape[1] :], skip_special_tokens=True)))",
]
PICTURE = 'picture = Image.radial_gradient("L").convert("RGB")'
# Auto classes whose models write tokens when they see or hear something
WRITERS = (
    "AutoModelForSpeechSeq2Seq", "AutoModelForImageTextToText", "AutoModelForVision2Seq", "AutoModelForMultimodalLM",
    "AutoModelForSeq2SeqLM", "AutoModelForCausalLM",
)  # fmt: skip
NUMBERS = {  # what kind of answer a classifier gives, where it does not choose one class
    "multi_label_classification": [
        "scores = model(**inputs).logits.detach().sigmoid()[0].tolist()",
        "print({model.config.id2label[i]: round(score, 2) for i, score in enumerate(scores)})",
    ],
    "regression": ["print([round(value, 2) for value in model(**inputs).logits.detach()[0].tolist()])"],
}


def main_auto_class(staged: Staged) -> str:
    """The Auto class of the architecture that the checkpoint holds."""
    return next(
        auto
        for auto, place in sorted(staged.auto_map.items(), reverse=True)
        if auto.startswith("AutoModel") and place.split(".")[-1] == staged.architecture
    )


def parts(staged: Staged) -> dict[str, str]:
    """What is loaded: the name of a variable -> the Auto class that gives it."""
    if staged.tokenizer_only:
        return {"tokenizer": "AutoTokenizer"}
    loads = {"model": main_auto_class(staged)}
    if has_tokenizer(staged.directory):
        loads["tokenizer"] = "AutoTokenizer"
    if (staged.directory / "processor_config.json").exists():
        loads["processor"] = "AutoProcessor"
    elif (staged.directory / "preprocessor_config.json").exists():
        settings = read_json(staged.directory / "preprocessor_config.json", "")
        audio = "AutoFeatureExtractor" in staged.auto_map
        audio |= "feature_extractor_type" in settings and "image_processor_type" not in settings
        loads["processor"] = "AutoFeatureExtractor" if audio else "AutoImageProcessor"
    elif (staged.directory / "video_preprocessor_config.json").exists():
        loads["processor"] = "AutoVideoProcessor"
    return loads


def snippet(staged: Staged, repo: str, revision: str, first: tuple[str, ...] = ()) -> str:
    """The lines that load the model, and what goes with it, at one commit.

    A tokenizer alone is of a class of transformers and needs no trust. Beside a model whose code is here,
    AutoTokenizer asks for it in transformers 5, even where the tokenizer itself has no code.

    Args:
        first: imports of the example that follows.
    """
    code = f', code_revision="{staged.code_from.sha}"' if staged.code_from else ""
    trust = "" if staged.tokenizer_only else f"{code}, trust_remote_code=True"
    loads = parts(staged)
    imports = [*first, f"from transformers import {', '.join(sorted(set(loads.values())))}"]
    calls = [
        f'{name} = {auto}.from_pretrained("{repo}", revision="{revision}"{trust})' for name, auto in loads.items()
    ]
    return "\n".join([*imports, "", *calls])


def examples(
    staged: Staged, repo: str, revision: str, inputs: dict | None = None, outputs: Iterable[str] = ()
) -> list[str]:
    """Programs that load the model at one commit and show what it gives, the most telling first.

    Args:
        inputs: of forward, name -> [dtype, shape], where the model was seen to run.
        outputs: what it gave; "logits.click" for one tensor of a dict.
    """
    # sentence-transformers drops code_revision, and would run main's code: not shown where the code is elsewhere
    embeds = (staged.directory / MODULES).is_file() and staged.code_from is None
    programs = [_for_sentences(repo, revision)] if embeds else []
    for imports, lines in _uses(staged, inputs or {}, any("." in name for name in outputs)):
        programs.append("\n".join([snippet(staged, repo, revision, tuple(imports)), "", *lines]).rstrip())
    return programs


def _for_sentences(repo: str, revision: str) -> str:
    """A program for sentence-transformers, which puts the model, its pooling and what follows together."""
    return "\n".join(
        [
            "from sentence_transformers import SentenceTransformer",
            "",
            f'model = SentenceTransformer("{repo}", revision="{revision}", trust_remote_code=True)',
            f'vectors = model.encode(["{TEXT}", "The storm was over.", "Two eggs, please."])',
            "print(vectors.shape, [round(value.item(), 2) for value in model.similarity(vectors[:1], vectors)[0]])",
        ]
    )


def why_not_for_sentences(programs: list[str], ran: dict) -> str:
    """Why sentence-transformers, for which modules.json is there, cannot use what was published; "" where it can.

    Args:
        ran: what running the programs gave.
    """
    failed = ran.get("failed")
    why = failed.get("0") if isinstance(failed, dict) and programs[:1] and OF_SENTENCES in programs[0] else None
    return why if isinstance(why, str) and f"No module named '{OF_SENTENCES}'" not in why else ""


def printed(output: str) -> list[str]:
    """What an example printed, as comments: they are shown inside of a block of code, which nothing may end.

    >>> printed("sea 0.9\\n")
    ['# sea 0.9']
    """
    lines = [UNSHOWN.sub(" ", line).replace("<!--", "< !--").rstrip() for line in output.splitlines()]
    lines = [line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…" for line in lines if line.strip()]
    return [f"# {line}" for line in (lines if len(lines) <= LINES else [*lines[: LINES - 1], "…"])]


def may_be_shown(output: str) -> bool:
    """Whether an output says something of the model, and nothing of the machine or of other revisions."""
    places = (tempfile.gettempdir(), str(Path.home()), os.getcwd())
    return not re.search(r"revision\s*=|from_pretrained", output) and not any(
        len(place) > 1 and place in output for place in places
    )


def _uses(staged: Staged, inputs: dict, gives_nested: bool):
    """(imports, lines) of each example that might work."""
    loads = parts(staged)
    if staged.tokenizer_only:
        yield [], [f'print(tokenizer.tokenize("{TEXT}"))']
        return
    auto = loads["model"]
    generic = [
        "outputs = model(**inputs)",
        "print({name: tuple(t.shape) for name, t in outputs.items() if hasattr(t, 'shape')})",
    ]
    if gives_nested:
        generic = OF_ALL
    if "processor" in loads:  # before words alone, which many models that see or hear take too
        yield from _seen_or_heard(loads, inputs, generic)
    if "tokenizer" in loads and (not inputs or "input_ids" in inputs):
        words = WITH_WORDS.get(auto, generic)
        if auto == "AutoModelForSequenceClassification":
            kind = staged.config.get("problem_type") or ("regression" if len(_labels(staged)) == 1 else None)
            words = NUMBERS.get(kind, words) if kind else words
        text = f'"{TEXT}"'
        if auto == "AutoModelForMaskedLM":
            text = 'f"The sea was {tokenizer.mask_token} again."'
        elif auto == "AutoModelForQuestionAnswering":
            text = f'"{QUESTION}", "{CONTEXT}"'
        encode = f'inputs = tokenizer({text}, return_tensors="pt")'
        if auto == "AutoModelForCausalLM" and has_chat_template(staged.directory):
            yield [], CHAT
        yield [], [encode, *words]
        if words is not generic:
            yield [], [encode, *generic]
    if "tokenizer" in loads:
        yield from (([], [*lines, *generic]) for lines in _of_towers(staged, inputs))
    if own := _of_probe(own_probe(str(staged.folder.path))):
        yield ["import torch"], ["inputs = {", *own, "}", *generic]
    if inputs and all(name.isidentifier() for name in inputs):
        made = [f'    "{name}": {_tensor(dtype, shape)},' for name, (dtype, shape) in inputs.items()]
        yield ["import torch"], ["inputs = {", *made, "}", *generic]
    yield [], []


def _of_towers(staged: Staged, inputs: dict) -> Iterator[list[str]]:
    """Lines that tokenize words for each argument of token ids, where none is called input_ids alone."""
    known = inputs_of(staged.folder, staged.architecture) if staged.architecture in staged.folder.classes else None
    names = [name for name in inputs if IDS in name and name.isidentifier()]
    masks = {name: sibling(name, MASK) for name in names}
    if not names or IDS in names or known is None or set(inputs) - {*names, *masks.values()}:
        return
    texts = {name: (QUESTION, TEXT, "The storm was over.")[number % 3] for number, name in enumerate(names)}
    variables = {name: f"{name.replace(IDS, '').strip('_')}_words" for name in names}
    lines = [f'{variables[name]} = tokenizer("{texts[name]}", return_tensors="pt")' for name in names]
    # a tokenizer need not return a mask
    for with_masks in (True, False):
        made = []
        for name in names:
            made.append(f'    "{name}": {variables[name]}.{IDS},')
            if with_masks and masks[name] in known[0]:
                made.append(f'    "{masks[name]}": {variables[name]}.{MASK},')
        yield [*lines, "inputs = {", *made, "}"]


def _seen_or_heard(loads: dict[str, str], inputs: dict, generic: list[str]):
    """(imports, lines) of examples with a picture, a clip or a tone: what each kind of processor may take.

    Args:
        loads: as :func:`parts` has them. inputs: as :func:`examples` has them. generic: lines that show any output.
    """
    auto, kind = loads["model"], loads["processor"]
    picture, pillow = f'{PICTURE}  # or a picture of your own: Image.open("picture.png")', ["from PIL import Image"]
    clips = [shape[1] for dtype, shape in inputs.values() if len(shape) == 5 and dtype.startswith("float")]
    classifies = auto in ("AutoModelForImageClassification", "AutoModelForVideoClassification")
    if kind in ("AutoImageProcessor", "AutoVideoProcessor"):
        asked = [[picture, 'inputs = processor(picture, return_tensors="pt")']] if kind == "AutoImageProcessor" else []
        for frames in clips[:1]:
            clip = f"clip = [picture] * {frames}  # the frames of a video"
            asked += [
                [picture, clip, f'inputs = processor({form}, return_tensors="pt")'] for form in ("clip", "[clip]")
            ]
        for lines in asked:
            if classifies:
                yield pillow, [*lines, *WITH_WORDS["AutoModelForSequenceClassification"]]
            yield pillow, [*lines, *generic]
    # what a model writes is shown where generate() was compared on inputs of this kind
    writes = auto in WRITERS and any(
        name != "input_ids" and dtype.startswith("float") for name, (dtype, _) in inputs.items()
    )
    reader = {"AutoProcessor": "processor"}.get(kind, "tokenizer" if "tokenizer" in loads else "")
    written = ["tokens = model.generate(**inputs, max_new_tokens=20, do_sample=False)"]
    written += [
        f"print(repr({reader}.decode(tokens[0], skip_special_tokens=True)))" if reader else "print(tokens[0].tolist())"
    ]
    if kind in ("AutoFeatureExtractor", "AutoProcessor"):
        holder, word = (
            ("processor", "") if kind == "AutoFeatureExtractor" else ("processor.feature_extractor", "audio=")
        )
        tone = [
            f"rate = {holder}.sampling_rate",
            "tone = torch.sin(2 * torch.pi * 220 * torch.arange(rate) / rate)  # or your own",
            f'inputs = processor({word}tone.numpy(), sampling_rate=rate, return_tensors="pt")',
        ]
        heard = [written] if writes else []
        if auto == "AutoModelForAudioClassification":
            heard.append(WITH_WORDS["AutoModelForSequenceClassification"])
        for lines in (*heard, generic):
            yield ["import torch"], [*tone, *lines]
    if kind == "AutoProcessor":
        small = f"{PICTURE}.resize((64, 64))  # or a picture of your own"
        # some processors put a word of their own where the picture is read, and ask for it in the text
        texts = (
            f'images=picture, text="{TEXT}"',
            f'images=picture, text=processor.image_token + "{TEXT}"',
            "images=picture",
        )
        for lines in [written, generic] if writes else [generic]:
            for arguments in texts:
                yield pillow, [small, f'inputs = processor({arguments}, return_tensors="pt")', *lines]


def _labels(staged: Staged) -> dict:
    labels = staged.config.get("id2label")
    return labels if isinstance(labels, dict) else {}


def _of_probe(own: dict) -> list[str]:
    """Lines of a dict with the inputs of probe.json; none where one is made by files or has a name of another kind."""
    if needs_files(own) or not all(NAME.fullmatch(name) for name in own):
        return []
    try:
        lines = [line for name, words in own.items() for line in _of_input(f'"{name}": ', words, "    ")]
    except ValueError:
        return []
    return lines if max(map(len, lines), default=0) <= LONGEST else []


def _of_input(name: str, words: dict | list, indent: str) -> list[str]:
    """Lines for one input, or for one of a dict or a list of inputs.

    Raises:
        ValueError: a name or a text may not get into a program.
    """
    if isinstance(words, dict) and not is_nested(words):
        text = words.get("values") if "shape" not in words else None
        if isinstance(text, str) and not NAME.fullmatch(text):
            raise ValueError(text)
        return [f"{indent}{name}{_of_words(words)},"]
    if isinstance(words, dict) and not all(map(KEY.fullmatch, words)):
        raise ValueError(name)
    pairs = [(f'"{key}": ', inner) for key, inner in words.items()] if isinstance(words, dict) else []
    pairs = pairs or [("", inner) for inner in words]
    inside = [line for key, inner in pairs for line in _of_input(key, inner, f"{indent}    ")]
    opened, closed = "{}" if isinstance(words, dict) else "[]"
    return [f"{indent}{name}{opened}", *inside, f"{indent}{closed},"]


def _of_words(words: dict) -> str:
    """Python for one input; words were checked, so that only numbers and the names of types get into it."""
    dtype = f", dtype=torch.{words['dtype']}" if words.get("dtype") in DTYPES else ""
    if "shape" not in words:
        literal = words["values"]
        return f"torch.tensor({literal!r}{dtype})" if isinstance(literal, list) or dtype else ascii(literal)
    size = ", ".join(map(str, words["shape"]))
    kind, first, below = words.get("values", "wave"), words.get("from", 0), words.get("below", words.get("modulo"))
    if kind == "wave":
        return f"torch.zeros({size}{dtype})"
    if kind == "ones":
        return f"torch.ones({size}{dtype or ', dtype=torch.long'})"
    count = f"torch.arange({math.prod(words['shape'])}).reshape({size})"
    if words.get("per_row"):
        count = f"torch.arange({words['shape'][-1]}).repeat({', '.join(map(str, [*words['shape'][:-1], 1]))})"
    counted = f"{count} % {below - first}" if below else count
    started = f"{first} + {counted}" if first else counted
    return f"({started}).to(torch.{words['dtype']})" if dtype else started


def _tensor(dtype: str, shape: list[int]) -> str:
    size = ", ".join(map(str, shape))
    if dtype.startswith(("int", "uint")):
        return f"torch.ones({size}, dtype=torch.long)"
    return f"torch.zeros({size})"
