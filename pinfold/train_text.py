"""What train needs to know of text: the documents, tokenizer and model, blocks of tokens, and the perplexity."""

import argparse
import glob
import math
import os
import random
from pathlib import Path
from typing import Any

from pinfold import tokenizer
from pinfold.assemble import check_fit, fine_tuned, one_line, with_code
from pinfold.errors import UserError
from pinfold.tokenizer_corpus import TABLES, decode, find_files, read_bytes, read_texts

BYTES_A_WEIGHT = 16  # weight, gradient, and AdamW's two moments, in float32


class Text:
    """Causal language modelling: every token from those before it."""

    task, auto, processor = "causal-lm", "AutoModelForCausalLM", "text"
    parts: dict[str, str] = {}  # noqa: RUF012
    defaults = {"epochs": 4, "vocab_size": 2000, "block_size": 128}  # noqa: RUF012
    options = frozenset({"tokenizer"})
    metrics = None  # the loss says it all
    keeps_best = grouped = False

    def __init__(self, args: argparse.Namespace):
        fraction = 0.1 if args.eval_fraction is None else args.eval_fraction
        if args.tokenizer and args.vocab_size:
            raise UserError(f"--vocab-size={args.vocab_size}: --tokenizer brings its own; leave one of them out")
        if args.tokenizer and not (args.tokenizer / "tokenizer.json").is_file():
            raise UserError(f"--tokenizer={args.tokenizer}: no tokenizer.json; make one: pinfold tokenizer train")
        name, description, documents = load_text(args.data)
        self.texts = held_out(documents, fraction, args.seed)
        size = sum(len(text.encode()) for text in documents)
        self.data = {"name": name, "description": description, "n": len(documents), "bytes": size}
        self.split = {"name": "held-out", "fraction": fraction, "unit": "documents", "seed": args.seed}
        self.start, self.given, self.progress = args.start, args.tokenizer, os.isatty(2)
        self.tokenizer: Any = None
        self.train: list = []
        self.held: list = []

    def make(self, found: dict[str, type], settings: dict) -> Any:
        """Make the tokenizer, the blocks and the model, which is new or a checkpoint's.

        Raises:
            UserError: fields that the folder's classes refuse, a checkpoint or a tokenizer that does not fit, too
                little text, or a model that is larger than this machine's memory.
        """
        length = settings["block_size"]
        self.tokenizer = self._tokenizer(settings)
        self.train, self.held = (blocks(self.tokenizer, texts, length) for texts in self.texts)
        for part, where in ((self.train, "to train on"), (self.held, "held out")):
            if len(part) < 2:
                raise UserError(
                    f"{len(part)} blocks of {length} tokens {where}; give more text, or a smaller --block-size"
                )
        ids = {f"{name}_token_id": getattr(self.tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
        model_class, fields = found[self.auto], settings["fields"]["config"]
        try:
            if self.start is None:
                config = model_class.config_class(**{"vocab_size": len(self.tokenizer), **ids, **fields})
                check_size(model_class, config)
                model = model_class(config)
            else:
                model = fine_tuned(model_class, self.start, fields, classifier=False)
        except UserError:
            raise
        except Exception as error:  # somebody else's constructor, or a damaged file: either may raise anything
            raise UserError(one_line(error)) from None
        config = model.config
        check_fit(config, len(self.tokenizer), "--block-size", length)
        config.tokenizer_class = "PreTrainedTokenizerFast"  # pipelines of transformers 4 look for it here
        return with_code(model, found)

    def _tokenizer(self, settings: dict) -> Any:
        """The one that was given, the checkpoint's, or one that is trained on the text to train on."""
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

        if where := self.given or self.start:
            try:
                return AutoTokenizer.from_pretrained(where, trust_remote_code=False)
            except Exception as error:  # of many kinds
                raise UserError(
                    f"{where}: no tokenizer that loads ({one_line(error)}); give one by --tokenizer"
                ) from None
        made = tokenizer.train(self.texts[0], "bpe", settings["vocab_size"], progress=self.progress).backend_tokenizer
        return PreTrainedTokenizerFast(
            tokenizer_object=plain(made), pad_token="[PAD]", unk_token="[UNK]", bos_token="[CLS]", eos_token="[SEP]",
            model_input_names=["input_ids", "attention_mask"], clean_up_tokenization_spaces=False,
            padding_side="left",
        )  # fmt: skip

    def collate(self, items: list[Any]) -> dict[str, Any]:
        """Blocks as a batch; the model itself compares each token with the next."""
        import torch

        ids = torch.stack([torch.as_tensor(item) for item in items])
        return {"input_ids": ids, "labels": ids}

    def loss(self) -> None:
        """The model's own."""

    def described(self) -> str:
        """What goes behind the number of parameters."""
        length = len(self.train[0])
        told = f"{len(self.train)} blocks of {length} tokens to train on, {len(self.held)} held out"
        return f"{len(self.tokenizer)} tokens\n{self.data['description']}: {told}"

    def results(self, measured: dict) -> tuple[dict, int, str]:
        """Metrics, of how many predicted tokens, and a line that tells it."""
        loss, count = measured["eval_loss"], len(self.held) * (len(self.held[0]) - 1)
        told = f"held-out perplexity {math.exp(loss):.1f} (loss {loss:.3f}, {count} tokens)"
        return {"perplexity": math.exp(loss), "loss": loss}, count, told

    def save(self, directory: Path) -> None:
        """Save the tokenizer in the form that transformers 4 and 5 read."""
        tokenizer.write_portable(self.tokenizer, directory)


def plain(made: Any) -> Any:
    """A tokenizer that puts nothing around a text: a prompt goes on, and no end of text may stand behind it."""
    from tokenizers import processors

    made.post_processor = processors.ByteLevel(trim_offsets=False)
    return made


def load_text(given: str) -> tuple[str, str, list[str]]:
    """Name, description and documents: a named data set, or files, a row of a table being a document.

    Raises:
        UserError: nothing there, or no text.
    """
    if given == "python-docs":
        try:
            from pydoc_data.topics import topics
        except ImportError:
            raise UserError("--data python-docs: this Python comes without pydoc_data; give files of text") from None
        return given, "Python's language reference", [topics[name] for name in sorted(topics)]
    documents: list[str] = []
    for path in find_files([given]):
        if Path(path).suffix.lower() in TABLES:
            documents += read_texts([path])
        else:
            documents.append(decode(read_bytes(path), str(path)))
    documents = [text for text in documents if text.strip()]
    if not documents:
        raise UserError(f"--data {given}: no text in it; give 'python-docs', files, a quoted glob or a folder of .txt")
    name = "text" if glob.has_magic(given) or given == "-" else Path(given).resolve().name
    return name, f"{len(documents)} documents of {name}" if len(documents) > 1 else name, documents


def held_out(documents: list[str], fraction: float, seed: int) -> tuple[list[str], list[str]]:
    """Documents to train on and documents held out, about that fraction of the text.

    They are drawn by the seed; one that is far too long is passed over. Where too few fit, the end of the longest
    is held out.

    >>> held_out(["a" * 8, "b" * 2], 0.2, seed=0)
    (['aaaaaaaa'], ['bb'])
    >>> held_out(["one\\ntwo\\nthree\\n"], 0.5, seed=0)
    (['one\\n'], ['two\\nthree\\n'])
    """
    wanted, size, held = fraction * sum(map(len, documents)), 0, set()
    for place in random.Random(seed).sample(range(len(documents)), len(documents)):
        if size < wanted and size + len(documents[place]) <= 1.25 * wanted:
            held.add(place)
            size += len(documents[place])
    if size >= wanted / 2:
        kept = [text for place, text in enumerate(documents) if place not in held]
        return kept, [documents[place] for place in sorted(held)]
    longest = max(range(len(documents)), key=lambda place: len(documents[place]))
    text = documents[longest]
    cut = max(0, len(text) - math.ceil(wanted))
    cut = text.rfind("\n", 0, cut) + 1 or cut
    return [*documents[:longest], text[:cut], *documents[longest + 1 :]], [text[cut:]]


def blocks(made: Any, texts: list[str], length: int) -> list[Any]:
    """Blocks of one length, cut from the tokens of all texts; each text stands between the tokenizer's bos and eos."""
    import numpy as np

    before, after = ([] if token is None else [token] for token in (made.bos_token_id, made.eos_token_id))
    ids: list[int] = []
    for encoded in made(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]:
        ids += [*before, *encoded, *after]
    return list(np.array(ids[: len(ids) // length * length], dtype=np.int64).reshape(-1, length))


def check_size(model_class: type, config: Any) -> None:
    """Raises:
    UserError: training needs more memory than this machine has.
    """
    import torch

    if torch.cuda.is_available() or not hasattr(os, "sysconf"):
        return
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in model_class(config).parameters())
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if count * BYTES_A_WEIGHT > there:
        raise UserError(
            f"{count / 1e9:.1f} B parameters need {count * BYTES_A_WEIGHT / 1e9:.0f} GB to train, this machine has "
            f"{there / 1e9:.0f} GB; make the model smaller by --set, such as --set num_hidden_layers=4"
        )
