"""What train needs to know of tagged words: the data, examples whose words are cut into tokens, and how good the tags
are: entities where tags begin with B- and I-, else words.
"""

import argparse
import ast
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, missing_extra
from pinfold.tokenizer import train as tokenizer
from pinfold.tokenizer.corpus import decode, read_bytes
from pinfold.train import metrics
from pinfold.train.classes import one_line
from pinfold.train.data.labelled import PREFIX, TABLES, column, in_order, named, row_name, rows_of
from pinfold.train.tasks.tokens import IGNORED, batch_of, built, check_options, digest, loaded, padded, wordpiece

WORDS = ("tokens", "words")
TAGS = ("tags", "ner_tags", "pos_tags", "labels", "ner", "pos")
LINES = (".conll", ".iob", ".bio", ".txt")  # a word a line, its tag behind it, an empty line at the end


class TaggedWords:
    """Token classification: a tag for each word of a sentence, read at the word's first token."""

    task, auto, processor = "token-classification", "AutoModelForTokenClassification", "text"
    parts: dict[str, str] = {}  # noqa: RUF012
    defaults = {"epochs": 5, "vocab_size": 8000, "max_length": 128}  # noqa: RUF012
    options = frozenset({"tokenizer", "text_column", "label_column"})
    keeps_best = grouped = new_head = True
    labels, reduce, unit = ("labels",), None, "words"

    def __init__(self, args: argparse.Namespace):
        try:
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise missing_extra("train", "train", error) from None
        check_options(args)
        fraction = 0.2 if args.eval_fraction is None else args.eval_fraction
        name, rows = load_tags(args.data, args.text_column, args.label_column)
        self.names = in_order({tag for _, tags in rows for tag in tags})
        if len(self.names) < 2:
            raise UserError(f"all words have the tag {', '.join(self.names)}; a tagger needs two tags or more")
        try:
            parts = train_test_split(rows, test_size=fraction, random_state=args.seed)
        except ValueError as error:
            raise UserError(
                f"cannot hold out {fraction:.0%} of {len(rows)} sentences ({error}); add some, or use another "
                "--eval-fraction"
            ) from None
        self.rows = tuple(parts)
        if unseen := sorted(set(self.names) - {tag for _, tags in parts[0] for tag in tags}):
            raise UserError(
                f"holding out {fraction:.0%} leaves no {unseen[0]} to train on; add sentences, or use less"
            )
        self.data = {"name": name, "description": f"tagged sentences in {name}", "n": len(rows)}
        self.data |= {"sha256": digest(rows, args.tokenizer), "classes": self.names}
        self.split = {"name": "held-out", "fraction": fraction, "unit": "sentences", "seed": args.seed}
        self.start, self.given, self.progress = args.start, args.tokenizer, os.isatty(2)
        self.at_most = args.vocab_size is None  # a default is no wish
        self.tokenizer: Any = None
        self.train: list = []
        self.held: list = []
        self.left_out = 0
        self.answers: Any = None  # of the last evaluation: tags by sentence, predicted and true

    def make(self, found: dict[str, type], settings: dict) -> Any:
        """Make the tokenizer, the examples and the model, which is new or a checkpoint's.

        Raises:
            UserError: as `built`, or a tokenizer that cannot read the words.
        """
        length = settings["max_length"]
        if where := self.given or self.start:
            self.tokenizer = loaded(where)
        else:
            texts = [" ".join(words) for words, _ in self.rows[0]]
            self.tokenizer = wordpiece(texts, settings, length, self.progress, self.at_most)
        fields = {"id2label": dict(enumerate(self.names)), "label2id": {n: i for i, n in enumerate(self.names)}}
        fields |= settings["fields"]["config"]
        model = built(found, self.auto, self.start, self.tokenizer, fields, option="--max-length", length=length)
        self.train, self.held = (self._examples(rows, length) for rows in self.rows)
        for part, where in ((self.train, "to train on"), (self.held, "held out")):
            if not part:
                raise UserError(f"the tokenizer has no token for any word {where}; use another one")
        self.left_out = sum(len(words) for words, _ in self.rows[1]) - sum(len(item["read"]) for item in self.held)
        return model

    def _examples(self, rows: list[tuple[list[str], list[str]]], length: int) -> list[dict[str, Any]]:
        ids, found = {name: i for i, name in enumerate(self.names)}, []
        try:
            encoded = self.tokenizer(
                [words for words, _ in rows], is_split_into_words=True, truncation=True, max_length=length
            )
        except Exception as error:  # of the tokenizers library
            raise UserError(f"the tokenizer cannot read the words ({one_line(error)}); use another one") from None
        for place, (_, tags) in enumerate(rows):
            words, before, labels, read = encoded.word_ids(place), None, [], []
            for word in words:
                first = word is not None and word != before
                labels.append(ids[tags[word]] if first else IGNORED)
                read += [word] if first else []
                before = word
            if read:
                found.append({"input_ids": encoded["input_ids"][place], "labels": labels, "row": place, "read": read})
        return found

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Sentences as a batch, padded to the longest."""
        return batch_of(items, self.tokenizer) | {"labels": padded([item["labels"] for item in items], IGNORED)}

    def loss(self) -> None:
        """The model's own."""

    def metrics(self, found: Any) -> dict[str, float]:
        """What Trainer computes from logits and labels, after every epoch."""
        logits = found.predictions[0] if isinstance(found.predictions, tuple) else found.predictions
        counted, answers = found.label_ids != IGNORED, logits.argmax(-1)
        each = zip(answers, found.label_ids, counted, strict=True)
        self.answers = [
            ([self.names[i] for i in answer[there]], [self.names[i] for i in true[there]])
            for answer, true, there in each
        ]
        return {"accuracy": float((answers == found.label_ids)[counted].mean())}

    def described(self) -> str:
        """What goes behind the number of parameters."""
        told = f"{self.data['description']}: {len(self.train)} to train on, {len(self.held)} held out"
        cut = (
            f"; {self.left_out} held-out words are beyond --max-length, or have no token, and are not measured"
            if self.left_out
            else ""
        )
        return f"{len(self.tokenizer)} tokens, {len(self.names)} tags\n{told}{cut}"

    def results(self, measured: dict) -> tuple[dict, int, str]:
        """Metrics, of how many words, and a line that tells it; with the commonest tag of each word beside."""
        found = metrics.of_tags(self.answers, self.names)
        common = metrics.of_tags(self.commonest(), self.names)
        kept = ("accuracy", "accuracy_interval", "entity_f1", "macro_f1")
        found["commonest_tags"] = {name: common[name] for name in kept if name in common}
        count = sum(len(true) for _, true in self.answers)
        main, told = ("entity_f1", "entity F1") if "entity_f1" in found else ("accuracy", "accuracy")
        low, high = found[f"{main}_interval"]
        line = f"held-out {told} {found[main]:.3f} ({low:.3f} to {high:.3f}), {count} words in {len(self.answers)} "
        line += f"sentences; the commonest tag of each word has {common[main]:.3f}"
        return {**found, "loss": measured["eval_loss"], "words_left_out": self.left_out}, count, line

    def commonest(self) -> list[tuple[list[str], list[str]]]:
        """The tags of held-out sentences with the tag that each word mostly had, and the commonest for others."""
        seen: dict[str, Counter] = defaultdict(Counter)
        for words, tags in self.rows[0]:
            for word, tag in zip(words, tags, strict=True):
                seen[word][tag] += 1
        usual = sum(seen.values(), Counter()).most_common(1)[0][0]
        found = []
        for item in self.held:  # the same words that the model was measured on
            words, tags = ([part[i] for i in item["read"]] for part in self.rows[1][item["row"]])
            found.append(([seen[w].most_common(1)[0][0] if w in seen else usual for w in words], tags))
        return found

    def save(self, directory: Path) -> None:
        """Save the tokenizer in the form that transformers 4 and 5 read."""
        tokenizer.write_portable(self.tokenizer, directory)


def load_tags(given: str, words: str | None, tags: str | None) -> tuple[str, list[tuple[list[str], list[str]]]]:
    """Name, and the words and tags of each sentence: of a table whose columns hold lists, or of lines with a word and
    its tag.

    Raises:
        UserError: nothing there, columns that are not, or a sentence with another number of tags than words.
    """
    path = Path(given)
    if given.startswith(PREFIX):
        found, name = listed(given, words, tags), given.removeprefix(PREFIX)
    elif path.is_file() and path.suffix.lower() in TABLES:
        found, name = listed(path, words, tags), path.name
    elif path.is_file() and path.suffix.lower() in LINES:
        if words or tags:
            raise UserError(
                f"--data {given}: lines have no columns' names; leave --text-column and --label-column out"
            )
        found, name = lines(decode(read_bytes(path), given), path.name), path.name
    else:
        what = "tagged words are read from" if path.exists() else "no such file; give"
        raise UserError(f"--data {given}: {what} {', '.join((*TABLES, *LINES))}, or {PREFIX}OWNER/NAME")
    rows = list(found)
    if not rows:
        raise UserError(f"--data {given}: no sentence in it; give words and tags")
    return name, rows


def listed(path: Path | str, words: str | None, tags: str | None) -> Iterator[tuple[list[str], list[str]]]:
    """The sentences of a table: two columns of lists, or of text with spaces between."""
    columns: tuple[str, str] | None = None
    for number, row in enumerate(rows_of(path), 1):
        columns = columns or (
            column(path, list(row), words, WORDS, "text"),
            column(path, list(row), tags, TAGS, "label"),
        )
        where = row_name(path, number)
        pair = [cells(value) if isinstance(value := row.get(name), str) else value for name in columns]
        for name, value in zip(columns, pair, strict=True):
            if not isinstance(value, list) or any(isinstance(each, (list, dict, type(None))) for each in value):
                raise UserError(f"{where} has no list in {name!r}; give one of words, and one of as many tags")
        yield checked(where, *pair)


def cells(text: str) -> Any:
    """What a table without lists writes for one: words with spaces between, or Python's or JSON's own form of a list.

    >>> cells("a b"), cells("['a', 'b']")
    (['a', 'b'], ['a', 'b'])
    """
    if text.lstrip().startswith("[") and text.rstrip().endswith("]"):
        try:
            return ast.literal_eval(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return text.split()


def lines(text: str, name: str) -> Iterator[tuple[list[str], list[str]]]:
    """The sentences of lines with a word first and its tag last, as of CoNLL 2003; an empty line ends one."""
    words: list[str] = []
    tags: list[str] = []
    columns = 0
    for number, line in enumerate([*text.split("\n"), ""], 1):
        parts = line.split()
        if parts and parts[0] == "-DOCSTART-":
            continue
        if parts:
            if len(parts) < 2:
                raise UserError(
                    f"{name}: line {number} has {parts[0]!r} without a tag; write a word, a space, its tag"
                )
            columns = columns or len(parts)
            if len(parts) != columns:
                raise UserError(
                    f"{name}: line {number} has {len(parts)} columns, those before {columns}; give all as many, and "
                    "no comments"
                )
            words.append(parts[0])
            tags.append(parts[-1])
        elif words:
            yield checked(f"{name}: line {number - 1}", words, tags)
            words, tags = [], []


def checked(where: str, words: list[Any], tags: list[Any]) -> tuple[list[str], list[str]]:
    if len(words) != len(tags) or not words:
        raise UserError(f"{where} has {len(words)} words and {len(tags)} tags; give each word one tag")
    if empty := [i for i, tag in enumerate(tags) if not named(tag) or (isinstance(tag, float) and math.isnan(tag))]:
        raise UserError(f"{where} has no tag for {words[empty[0]]!r}; give each word one tag")
    return [str(word) for word in words], [named(tag) for tag in tags]
