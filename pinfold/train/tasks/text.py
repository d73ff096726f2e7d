"""Language models, causal and masked: plain text, blocks of its tokens, and the perplexity."""

import glob
import math
import random
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError
from pinfold.tokenizer.corpus import TABLES, decode, find_files, read_bytes, read_texts, text_column
from pinfold.tokenizer.train import train as train_tokenizer
from pinfold.train import metrics
from pinfold.train.data.labelled import PREFIX, rows_of
from pinfold.train.options import Options
from pinfold.train.tasks.task import TextTask
from pinfold.train.tasks.tokens import (
    IGNORED,
    batch_of,
    build_model,
    content_digest,
    load_tokenizer,
    padded,
    train_wordpiece,
)

Ends = tuple[list[int], list[int], bool]  # tokens before and after; True: of each block, False: of each text


class Text(TextTask):
    """Causal language modelling: every token from those before it."""

    name = "causal-lm"
    auto = "AutoModelForCausalLM"
    unit = "tokens"
    defaults = {"epochs": 4, "vocab_size": 2000, "block_size": 128}  # noqa: RUF012 (of the class, as its base says)
    options = frozenset({"tokenizer", "packing"})
    held_out_by_default = 0.1
    special_ids: tuple[str, ...] = ("pad", "bos", "eos")

    def __init__(self, options: Options):
        super().__init__(options)
        name, description, documents = load_text(options.data)
        self.texts = held_out(documents, self.fraction, self.seed)
        size = sum(len(text.encode()) for text in documents)
        self.data = {"name": name, "description": description, "n": len(documents), "bytes": size}
        self.data["sha256"] = content_digest(documents, options.tokenizer)
        self.split = {"name": "held-out", "fraction": self.fraction, "unit": "documents", "seed": self.seed}
        self.packed = options.packing != "no"
        if not self.packed:
            self.data["packing"] = False
        self.grouped = not self.packed  # packed blocks are all of one length
        self.sums: Any = None  # of the last evaluation: (examples, 3), loss, tokens and hits

    def make(self, classes: dict[str, type], settings: dict[str, Any]) -> Any:
        """Make the tokenizer, the blocks and the model, which is new or a checkpoint's.

        Raises:
            UserError: as `build_model`, or too little text.
        """
        length = settings["block_size"]
        where = self.given_tokenizer or self.start
        self.tokenizer = load_tokenizer(where) if where else self._train_tokenizer(settings)
        self._check_tokenizer()
        cut = blocks if self.packed else pieces
        self.train, self.held = (cut(self.tokenizer, texts, length, self._ends()) for texts in self.texts)
        for part, where_to in ((self.train, "to train on"), (self.held, "held out")):
            if len(part) < 2:
                what = f"blocks of {length} tokens" if self.packed else "documents"
                least = "a larger" if length < 4 else "a smaller"  # than the tokens that go around a block
                raise UserError(f"{len(part)} {what} {where_to}; give more text, or {least} --block-size")
        self._make_examples()
        return build_model(
            classes, self.auto, self.start, self.tokenizer, settings["fields"]["config"], option="--block-size",
            length=length, classifier=False, special_ids=self.special_ids,
        )  # fmt: skip

    def _train_tokenizer(self, settings: dict[str, Any]) -> Any:
        """A tokenizer for the text to train on."""
        from transformers import PreTrainedTokenizerFast

        trained = train_tokenizer(self.texts[0], "bpe", settings["vocab_size"], progress=self.progress)
        return PreTrainedTokenizerFast(
            tokenizer_object=without_template(trained.backend_tokenizer), pad_token="[PAD]", unk_token="[UNK]",
            bos_token="[CLS]", eos_token="[SEP]", model_input_names=["input_ids", "attention_mask"],
            clean_up_tokenization_spaces=False, padding_side="left",
        )  # fmt: skip

    def _check_tokenizer(self) -> None:
        """Raise UserError where it lacks a token that this task needs."""

    def _ends(self) -> Ends:
        """The tokens before and after each document, or each block."""
        return ids_of(self.tokenizer.bos_token_id), ids_of(self.tokenizer.eos_token_id), False

    def _make_examples(self) -> None:
        """Make examples of the blocks."""
        self.train, self.held = ([{"input_ids": ids} for ids in part] for part in (self.train, self.held))

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Examples as a batch; the model itself compares each token with the next."""
        rows = [item["input_ids"] for item in items]
        if self.packed:
            return {"input_ids": (ids := padded(rows, 0)), "labels": ids}
        return batch_of(items, self.tokenizer) | {"labels": padded(rows, IGNORED)}

    def reduce(self, logits: Any, labels: Any) -> Any:
        """Sum of the loss, predicted tokens and hits of each row, (rows, 3): all logits of an evaluation would not
        fit into memory."""
        logits = logits[0] if isinstance(logits, tuple) else logits
        return of_rows(logits[:, :-1], labels[:, 1:])

    def metrics(self, prediction: Any) -> dict[str, float]:
        """The perplexity, of the sums of all rows."""
        self.sums = prediction.predictions
        return {"perplexity": metrics.perplexity(self.sums[:, 0], self.sums[:, 1])}

    def described(self) -> str:
        """Tokens, and how many blocks each part has."""
        what = f"blocks of {len(self.train[0]['input_ids'])} tokens" if self.packed else "pieces of documents"
        sizes = f"{len(self.train)} {what} to train on, {len(self.held)} held out"
        return f"{len(self.tokenizer)} tokens\n{self.data['description']}: {sizes}"

    def results(self, measured: dict[str, float]) -> tuple[dict[str, Any], int, str]:
        """Perplexity and loss of the predicted tokens."""
        scores = metrics.of_losses(self.sums[:, 0], self.sums[:, 1])
        low, high = scores["perplexity_interval"]
        count = round(self.sums[:, 1].sum())
        ends = f"{low:.1f} to {high:.1f}"
        summary = f"{scores['perplexity']:.1f} ({ends}; loss {scores['loss']:.3f}, {count} tokens)"
        return scores, count, f"held-out perplexity {summary}"


class MaskedText(Text):
    """Masked language modelling (Devlin et al. 2018, https://arxiv.org/abs/1810.04805): 15 % of the tokens are to be
    predicted, of which 8 in 10 are masked, one is another token, and one is left as it is.

    Which ones follows from seed, epoch and example alone, so that a resumed training masks the same.
    """

    name = "masked-lm"
    auto = "AutoModelForMaskedLM"
    defaults = {"epochs": 4, "vocab_size": 8000, "block_size": 128}  # noqa: RUF012 (of the class, as its base says)
    special_ids = ("pad",)
    rate = 0.15

    def _train_tokenizer(self, settings: dict[str, Any]) -> Any:
        return train_wordpiece(self.texts[0], settings, settings["block_size"], self.progress, self.at_most)

    def _check_tokenizer(self) -> None:
        if self.tokenizer.mask_token_id is None:
            raise UserError(f"{self.given_tokenizer or self.start}: its tokenizer has no mask token; use one that has")

    def _ends(self) -> Ends:
        return ids_of(self.tokenizer.cls_token_id), ids_of(self.tokenizer.sep_token_id), True

    def _make_examples(self) -> None:
        self.special = set(self.tokenizer.all_special_ids)
        self.train = [{"input_ids": ids, "example": i} for i, ids in enumerate(self.train, 1)]
        self.held = [self._masked({"input_ids": ids, "example": i}, -1) for i, ids in enumerate(self.held, 1)]
        for part, where in ((self.held, "held out"), ([self._masked(item, 0) for item in self.train], "to train on")):
            if not any((item["labels"] != IGNORED).any() for item in part):
                raise UserError(
                    f"the tokenizer does not know any word {where}, all are [UNK]; use another one with --tokenizer"
                )

    def _masked(self, item: dict[str, Any], epoch: int) -> dict[str, Any]:
        """An example whose tokens were drawn; held-out ones are drawn once, as epoch -1."""
        import numpy as np

        draw = np.random.default_rng([self.seed, epoch + 1, item["example"]])
        ids = np.array(item["input_ids"])
        words = np.array([place for place, token in enumerate(ids) if token not in self.special], dtype=np.int64)
        count = min(len(words), max(1, round(self.rate * len(words))))
        # the order of the three draws is part of what a seed means
        chosen = draw.permutation(words)[:count]
        kinds = draw.random(count)
        labels = np.full_like(ids, IGNORED)
        labels[chosen] = ids[chosen]
        ids[chosen[kinds < 0.8]] = self.tokenizer.mask_token_id
        replaced = chosen[kinds >= 0.9]
        ids[replaced] = draw.integers(0, len(self.tokenizer), len(replaced))
        return {"input_ids": ids, "labels": labels}

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Examples as a batch, masked anew in every epoch."""
        items = [item if "labels" in item else self._masked(item, self.epoch) for item in items]
        return batch_of(items, self.tokenizer) | {"labels": padded([item["labels"] for item in items], IGNORED)}

    def reduce(self, logits: Any, labels: Any) -> Any:
        """Sum of the loss, masked tokens and hits of each row, (rows, 3)."""
        return of_rows(logits[0] if isinstance(logits, tuple) else logits, labels)

    def results(self, measured: dict[str, float]) -> tuple[dict[str, Any], int, str]:
        """Accuracy, perplexity and loss of the predicted tokens."""
        scores, count, summary = super().results(measured)
        hits = round(self.sums[:, 2].sum())
        accuracy = {"accuracy": hits / count, "accuracy_interval": metrics.wilson(hits, count)}
        return accuracy | scores, count, f"{summary}, {hits / count:.1%} of them right"


def ids_of(token: int | None) -> list[int]:
    return [] if token is None else [token]


def of_rows(logits: Any, labels: Any) -> Any:
    """Sum of the loss, number of labels and of hits, of each row: (rows, 3)."""
    import torch

    each = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")  # 0 if ignored
    counted = labels != IGNORED
    hits = (logits.argmax(-1) == labels) & counted
    return torch.stack([each.double().sum(1), counted.sum(1).double(), hits.sum(1).double()], 1)


def without_template(tokenizer: Any) -> Any:
    """The tokenizer, putting nothing around a text: a prompt goes on, and no end of text may follow it."""
    from tokenizers import processors

    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


def load_text(source: str) -> tuple[str, str, list[str]]:
    """Name, description and documents: a named data set, or files, a row of a table being a document.

    Raises:
        UserError: no such data, or no text in it.
    """
    if source == "python-docs":
        try:
            from pydoc_data.topics import topics
        except ImportError:
            raise UserError("--data python-docs: this Python comes without pydoc_data; give files of text") from None
        return source, "Python's language reference", [topics[name] for name in sorted(topics)]
    if source.startswith(PREFIX):
        rows = list(rows_of(source))
        column = text_column(list(rows[0]), None, source) if rows else None
        documents = [row[column] for row in rows if isinstance(row[column], str) and row[column].strip()]
        if not documents:
            raise UserError(f"--data {source}: no text in it; name another data set")
        return source.removeprefix(PREFIX), f"{len(documents)} documents of {source.removeprefix(PREFIX)}", documents
    documents: list[str] = []
    for path in find_files([source]):
        if Path(path).suffix.lower() in TABLES:
            documents += read_texts([path])
        else:
            documents.append(decode(read_bytes(path), str(path)))
    documents = [text for text in documents if text.strip()]
    if not documents:
        raise UserError(
            f"--data {source}: no text in it; give 'python-docs', files, a quoted glob or a folder of .txt"
        )
    name = "text" if glob.has_magic(source) or source == "-" else Path(source).resolve().name
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
    target = fraction * sum(map(len, documents))  # characters to hold out
    size = 0
    held: set[int] = set()
    for place in random.Random(seed).sample(range(len(documents)), len(documents)):
        if size < target and size + len(documents[place]) <= 1.25 * target:
            held.add(place)
            size += len(documents[place])
    if size >= target / 2:
        rest = [text for place, text in enumerate(documents) if place not in held]
        return rest, [documents[place] for place in sorted(held)]
    longest = max(range(len(documents)), key=lambda place: len(documents[place]))
    text = documents[longest]
    cut = max(0, len(text) - math.ceil(target))
    cut = text.rfind("\n", 0, cut) + 1 or cut
    return [*documents[:longest], text[:cut], *documents[longest + 1 :]], [text[cut:]]


def blocks(tokenizer: Any, texts: list[str], length: int, ends: Ends) -> list[Any]:
    """Blocks of one length, cut from the tokens of all texts one after the other."""
    import numpy as np

    before, after, each_block = ends
    around = (before, after) if each_block else ([], [])
    inner = length - len(around[0]) - len(around[1])
    ids: list[int] = []
    for encoded in encoded_texts(tokenizer, texts):
        ids += encoded if each_block else [*before, *encoded, *after]
    if inner < 1:
        return []
    rows = np.array(ids[: len(ids) // inner * inner], dtype=np.int64).reshape(-1, inner)
    sides = [np.tile(np.array(side, dtype=np.int64), (len(rows), 1)) for side in around]
    return list(np.concatenate([sides[0], rows, sides[1]], axis=1))


def pieces(tokenizer: Any, texts: list[str], length: int, ends: Ends) -> list[Any]:
    """The tokens of each text by itself, in pieces of at most that length."""
    import numpy as np

    before, after, each_piece = ends
    around = (before, after) if each_piece else ([], [])
    inner = length - len(around[0]) - len(around[1])
    rows = []
    for encoded in encoded_texts(tokenizer, texts):
        ids = encoded if each_piece else [*before, *encoded, *after]
        cut = [ids[i : i + inner] for i in range(0, len(ids), inner)] if inner > 0 else []
        rows += [np.array([*around[0], *piece, *around[1]], dtype=np.int64) for piece in cut]
    return [row for row in rows if len(row) > 1]  # a token alone has none to be predicted from


def encoded_texts(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
