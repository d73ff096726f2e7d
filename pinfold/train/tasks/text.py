"""What train needs to know of plain text: tokenizer and model, blocks of tokens, perplexity; tokens left to right, or
masked ones.
"""

import argparse
import glob
import math
import os
import random
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError
from pinfold.tokenizer import train as tokenizer
from pinfold.tokenizer.corpus import TABLES, decode, find_files, read_bytes, read_texts, text_column
from pinfold.train import metrics
from pinfold.train.data.labelled import PREFIX, rows_of
from pinfold.train.tasks.tokens import IGNORED, batch_of, built, check_options, digest, loaded, padded, wordpiece


class Text:
    """Causal language modelling: every token from those before it."""

    task, auto, processor = "causal-lm", "AutoModelForCausalLM", "text"
    parts: dict[str, str] = {}  # noqa: RUF012
    defaults = {"epochs": 4, "vocab_size": 2000, "block_size": 128}  # noqa: RUF012
    options = frozenset({"tokenizer", "packing"})
    labels = ("labels",)
    keeps_best, new_head, epoch, unit = False, False, 0, "tokens"
    ids = ("pad", "bos", "eos")

    def __init__(self, args: argparse.Namespace):
        check_options(args)
        fraction = 0.1 if args.eval_fraction is None else args.eval_fraction
        name, description, documents = load_text(args.data)
        self.texts = held_out(documents, fraction, args.seed)
        size = sum(len(text.encode()) for text in documents)
        self.data = {"name": name, "description": description, "n": len(documents), "bytes": size}
        self.data["sha256"] = digest(documents, args.tokenizer)
        self.split = {"name": "held-out", "fraction": fraction, "unit": "documents", "seed": args.seed}
        self.start, self.given, self.progress, self.seed = args.start, args.tokenizer, os.isatty(2), args.seed
        self.packed = args.packing != "no"
        self.data |= {} if self.packed else {"packing": False}
        self.grouped = not self.packed  # by length, so that a batch has little padding
        self.tokenizer: Any = None
        self.train: list = []
        self.held: list = []
        self.sums: Any = None  # of the last evaluation: (examples, 3), loss, tokens and hits

    def make(self, found: dict[str, type], settings: dict) -> Any:
        """Make the tokenizer, the blocks and the model, which is new or a checkpoint's.

        Raises:
            UserError: as `built`, or too little text.
        """
        length = settings["block_size"]
        self.tokenizer = loaded(self.given or self.start) if self.given or self.start else self._trained(settings)
        self._check_tokenizer()
        cut = blocks if self.packed else pieces
        self.train, self.held = (cut(self.tokenizer, texts, length, self._ends()) for texts in self.texts)
        for part, where in ((self.train, "to train on"), (self.held, "held out")):
            if len(part) < 2:
                what = f"blocks of {length} tokens" if self.packed else "documents"
                least = "a larger" if length < 4 else "a smaller"  # than the tokens that go around a block
                raise UserError(f"{len(part)} {what} {where}; give more text, or {least} --block-size")
        self._finish()
        return built(
            found, self.auto, self.start, self.tokenizer, settings["fields"]["config"], classifier=False,
            option="--block-size", length=length, ids=self.ids,
        )  # fmt: skip

    def _trained(self, settings: dict) -> Any:
        """A tokenizer for the text to train on."""
        from transformers import PreTrainedTokenizerFast

        made = tokenizer.train(self.texts[0], "bpe", settings["vocab_size"], progress=self.progress).backend_tokenizer
        return PreTrainedTokenizerFast(
            tokenizer_object=plain(made), pad_token="[PAD]", unk_token="[UNK]", bos_token="[CLS]", eos_token="[SEP]",
            model_input_names=["input_ids", "attention_mask"], clean_up_tokenization_spaces=False,
            padding_side="left",
        )  # fmt: skip

    def _check_tokenizer(self) -> None:
        """Raise UserError where it lacks a token that this task needs."""

    def _ends(self) -> tuple[list[int], list[int], bool]:
        """The tokens before and after each document, or each block."""
        made = self.tokenizer
        return *([] if token is None else [token] for token in (made.bos_token_id, made.eos_token_id)), False

    def _finish(self) -> None:
        self.train, self.held = ([{"input_ids": ids} for ids in part] for part in (self.train, self.held))

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Examples as a batch; the model itself compares each token with the next."""
        rows = [item["input_ids"] for item in items]
        if self.packed:
            return {"input_ids": (ids := padded(rows, 0)), "labels": ids}
        return batch_of(items, self.tokenizer) | {"labels": padded(rows, IGNORED)}

    def loss(self) -> None:
        """The model's own."""

    def reduce(self, logits: Any, labels: Any) -> Any:
        """Sum of the loss, predicted tokens and hits of each row, (rows, 3): all logits of an evaluation would not
        fit into memory."""
        logits = logits[0] if isinstance(logits, tuple) else logits
        return of_rows(logits[:, :-1], labels[:, 1:])

    def metrics(self, found: Any) -> dict[str, float]:
        """What Trainer computes from the sums of all rows."""
        self.sums = found.predictions
        return {"perplexity": metrics.perplexity(self.sums[:, 0], self.sums[:, 1])}

    def described(self) -> str:
        """What goes behind the number of parameters."""
        what = f"blocks of {len(self.train[0]['input_ids'])} tokens" if self.packed else "pieces of documents"
        told = f"{len(self.train)} {what} to train on, {len(self.held)} held out"
        return f"{len(self.tokenizer)} tokens\n{self.data['description']}: {told}"

    def results(self, measured: dict) -> tuple[dict, int, str]:
        """Metrics, of how many predicted tokens, and a line that tells it."""
        found = metrics.of_losses(self.sums[:, 0], self.sums[:, 1])
        low, high = found["perplexity_interval"]
        count = round(self.sums[:, 1].sum())
        ends = f"{low:.1f} to {high:.1f}"
        told = f"held-out perplexity {found['perplexity']:.1f} ({ends}; loss {found['loss']:.3f}, {count} tokens)"
        return found, count, told

    def save(self, directory: Path) -> None:
        """Save the tokenizer in the form that transformers 4 and 5 read."""
        tokenizer.write_portable(self.tokenizer, directory)


class MaskedText(Text):
    """Masked language modelling (Devlin et al. 2018, https://arxiv.org/abs/1810.04805): 15 % of the tokens are to be
    predicted, of which 8 in 10 are masked, one is another token, and one is left as it is.

    Which ones follows from seed, epoch and example alone, so that a resumed training masks the same.
    """

    task, auto = "masked-lm", "AutoModelForMaskedLM"
    defaults = {"epochs": 4, "vocab_size": 8000, "block_size": 128}  # noqa: RUF012
    ids = ("pad",)
    rate = 0.15

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.at_most = args.vocab_size is None  # a default is no wish

    def _trained(self, settings: dict) -> Any:
        return wordpiece(self.texts[0], settings, settings["block_size"], self.progress, self.at_most)

    def _check_tokenizer(self) -> None:
        if self.tokenizer.mask_token_id is None:
            raise UserError(f"{self.given or self.start}: its tokenizer has no mask token; use one that has")

    def _ends(self) -> tuple[list[int], list[int], bool]:
        made = self.tokenizer
        return *([] if token is None else [token] for token in (made.cls_token_id, made.sep_token_id)), True

    def _finish(self) -> None:
        self.special = set(self.tokenizer.all_special_ids)
        self.train = [{"input_ids": ids, "example": i} for i, ids in enumerate(self.train, 1)]
        self.held = [self._masked({"input_ids": ids, "example": i}, -1) for i, ids in enumerate(self.held, 1)]
        for part, where in ((self.held, "held out"), ([self._masked(item, 0) for item in self.train], "to train on")):
            if not any((item["labels"] != IGNORED).any() for item in part):
                raise UserError(f"the tokenizer knows no word {where}, all are [UNK]; use another one by --tokenizer")

    def _masked(self, item: dict[str, Any], epoch: int) -> dict[str, Any]:
        """An example whose tokens were drawn; held-out ones are drawn once, as epoch -1."""
        import numpy as np

        draw, ids = np.random.default_rng([self.seed, epoch + 1, item["example"]]), np.array(item["input_ids"])
        words = np.array([place for place, token in enumerate(ids) if token not in self.special], dtype=np.int64)
        count = min(len(words), max(1, round(self.rate * len(words))))
        chosen, labels, kinds = draw.permutation(words)[:count], np.full_like(ids, IGNORED), draw.random(count)
        labels[chosen] = ids[chosen]
        ids[chosen[kinds < 0.8]] = self.tokenizer.mask_token_id
        other = chosen[kinds >= 0.9]
        ids[other] = draw.integers(0, len(self.tokenizer), len(other))
        return {"input_ids": ids, "labels": labels}

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Examples as a batch, masked anew in every epoch."""
        items = [item if "labels" in item else self._masked(item, self.epoch) for item in items]
        return batch_of(items, self.tokenizer) | {"labels": padded([item["labels"] for item in items], IGNORED)}

    def reduce(self, logits: Any, labels: Any) -> Any:
        """Sum of the loss, masked tokens and hits of each row, (rows, 3)."""
        return of_rows(logits[0] if isinstance(logits, tuple) else logits, labels)

    def results(self, measured: dict) -> tuple[dict, int, str]:
        """Metrics, of how many predicted tokens, and a line that tells it."""
        found, count, told = super().results(measured)
        hits = round(self.sums[:, 2].sum())
        found = {"accuracy": hits / count, "accuracy_interval": metrics.wilson(hits, count)} | found
        return found, count, f"{told}, {hits / count:.1%} of them right"


def of_rows(logits: Any, labels: Any) -> Any:
    """Sum of the loss, number of labels and of hits, of each row: (rows, 3)."""
    import torch

    each = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")  # 0 if ignored
    counted = labels != IGNORED
    hits = (logits.argmax(-1) == labels) & counted
    return torch.stack([each.double().sum(1), counted.sum(1).double(), hits.sum(1).double()], 1)


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
    if given.startswith(PREFIX):
        rows = list(rows_of(given))
        column = text_column(list(rows[0]), None, given) if rows else None
        documents = [row[column] for row in rows if isinstance(row[column], str) and row[column].strip()]
        if not documents:
            raise UserError(f"--data {given}: no text in it; name another data set")
        return given.removeprefix(PREFIX), f"{len(documents)} documents of {given.removeprefix(PREFIX)}", documents
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


def blocks(made: Any, texts: list[str], length: int, ends: tuple[list[int], list[int], bool]) -> list[Any]:
    """Blocks of one length, cut from the tokens of all texts one after the other.

    Args:
        ends: tokens before and after; True: of each block, False: of each text.
    """
    import numpy as np

    before, after, each_block = ends
    around = (before, after) if each_block else ([], [])
    inner = length - len(around[0]) - len(around[1])
    ids: list[int] = []
    for encoded in encoded_texts(made, texts):
        ids += encoded if each_block else [*before, *encoded, *after]
    if inner < 1:
        return []
    rows = np.array(ids[: len(ids) // inner * inner], dtype=np.int64).reshape(-1, inner)
    sides = [np.tile(np.array(side, dtype=np.int64), (len(rows), 1)) for side in around]
    return list(np.concatenate([sides[0], rows, sides[1]], axis=1))


def pieces(made: Any, texts: list[str], length: int, ends: tuple[list[int], list[int], bool]) -> list[Any]:
    """The tokens of each text by itself, in pieces of at most that length."""
    import numpy as np

    before, after, each_piece = ends
    around = (before, after) if each_piece else ([], [])
    inner, found = length - len(around[0]) - len(around[1]), []
    for encoded in encoded_texts(made, texts):
        ids = encoded if each_piece else [*before, *encoded, *after]
        cut = [ids[i : i + inner] for i in range(0, len(ids), inner)] if inner > 0 else []
        found += [np.array([*around[0], *piece, *around[1]], dtype=np.int64) for piece in cut]
    return [piece for piece in found if len(piece) > 1]  # a token alone has none to be predicted from


def encoded_texts(made: Any, texts: list[str]) -> list[list[int]]:
    return made(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
