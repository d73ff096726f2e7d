"""Token classification: tagged words, examples whose words are cut into tokens, and how good the tags are: of whole
entities where tags begin with B- and I-, else of each tag.
"""

import ast
import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, one_line
from pinfold.tokenizer.corpus import decode, read_bytes
from pinfold.train import metrics
from pinfold.train.data.labelled import PREFIX, TABLES, class_name, find_column, in_order, row_name, rows_of
from pinfold.train.options import Options
from pinfold.train.tasks.task import TextTask, check_sklearn, hold_out
from pinfold.train.tasks.tokens import (
    IGNORED,
    batch_of,
    build_model,
    content_digest,
    load_tokenizer,
    logits_of,
    padded,
    train_wordpiece,
)

WORDS = ("tokens", "words")
TAGS = ("tags", "ner_tags", "pos_tags", "labels", "ner", "pos")
Sentence = tuple[list[str], list[str]]  # words and their tags
LINES = (".conll", ".iob", ".bio", ".txt")  # a word a line, its tag behind it, an empty line at the end


class TaggedWords(TextTask):
    """Token classification: a tag for each word of a sentence, read at the word's first token."""

    name = "token-classification"
    auto = "AutoModelForTokenClassification"
    unit = "words"
    defaults = {"epochs": 5, "vocab_size": 8000, "max_length": 128}  # noqa: RUF012 (of the class, as its base says)
    options = frozenset({"tokenizer", "text_column", "label_column"})
    keeps_best = grouped = new_head = True

    def __init__(self, options: Options):
        check_sklearn()
        super().__init__(options)
        name, rows = load_tags(options.data, options.text_column, options.label_column)
        self.names = in_order({tag for _, tags in rows for tag in tags})
        if len(self.names) < 2:
            raise UserError(f"all words have the tag {', '.join(self.names)}; a tagger needs two tags or more")
        parts = hold_out(len(rows), self.fraction, self.seed, "sentences")
        self.rows = tuple([rows[i] for i in ids] for ids in parts)
        if unseen := sorted(set(self.names) - {tag for _, tags in self.rows[0] for tag in tags}):
            raise UserError(
                f"holding out {self.fraction:.0%} leaves no {unseen[0]} to train on; add sentences, or use less"
            )
        self.data = {"name": name, "description": f"tagged sentences in {name}", "n": len(rows)}
        self.data |= {"sha256": content_digest(rows, options.tokenizer), "classes": self.names}
        self.split = {"name": "held-out", "fraction": self.fraction, "unit": "sentences", "seed": self.seed}
        self.left_out = 0  # held-out words without a token
        self.answers: list[tuple[list[str], list[str]]] = []  # of the last evaluation: predicted and true, by sentence

    def make(self, classes: dict[str, type], settings: dict[str, Any]) -> Any:
        """Make the tokenizer, the examples and the model, which is new or a checkpoint's.

        Raises:
            UserError: as `build_model`, or a tokenizer that cannot read the words.
        """
        length = settings["max_length"]
        if where := self.given_tokenizer or self.start:
            self.tokenizer = load_tokenizer(where)
        else:
            texts = [" ".join(words) for words, _ in self.rows[0]]
            self.tokenizer = train_wordpiece(texts, settings, length, self.progress, self.at_most)
        fields = {"id2label": dict(enumerate(self.names)), "label2id": {n: i for i, n in enumerate(self.names)}}
        fields |= settings["fields"]["config"]
        model = build_model(
            classes, self.auto, self.start, self.tokenizer, fields, option="--max-length", length=length
        )
        self.train, self.held = (self._examples(rows, length) for rows in self.rows)
        for part, where_to in ((self.train, "to train on"), (self.held, "held out")):
            if not part:
                raise UserError(f"the tokenizer has no token for any word {where_to}; use another one")
        self.left_out = sum(len(words) for words, _ in self.rows[1]) - sum(len(item["read"]) for item in self.held)
        return model

    def _examples(self, rows: list[Sentence], length: int) -> list[dict[str, Any]]:
        """Sentences as tokens; the first token of a word has its tag, all others are ignored."""
        try:
            encoded = self.tokenizer(
                [words for words, _ in rows], is_split_into_words=True, truncation=True, max_length=length
            )
        except Exception as error:  # of the tokenizers library
            raise UserError(f"the tokenizer cannot read the words ({one_line(error)}); use another one") from None
        ids = {name: i for i, name in enumerate(self.names)}
        examples = []
        for row, (_, tags) in enumerate(rows):
            labels = []
            read: list[int] = []  # positions of the words that have a token
            before = None
            for word in encoded.word_ids(row):
                first = word is not None and word != before
                labels.append(ids[tags[word]] if first else IGNORED)
                read += [word] if first else []
                before = word
            if read:
                examples.append({"input_ids": encoded["input_ids"][row], "labels": labels, "row": row, "read": read})
        return examples

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Sentences as a batch, padded to the longest."""
        return batch_of(items, self.tokenizer) | {"labels": padded([item["labels"] for item in items], IGNORED)}

    def metrics(self, prediction: Any) -> dict[str, float]:
        """The accuracy of tags."""
        true = prediction.label_ids  # (sentences, tokens)
        predicted = logits_of(prediction).argmax(-1)
        counted = true != IGNORED
        self.answers = [
            ([self.names[i] for i in answer[mask]], [self.names[i] for i in tags[mask]])
            for answer, tags, mask in zip(predicted, true, counted, strict=True)
        ]
        return {"accuracy": float((predicted == true)[counted].mean())}

    def described(self) -> str:
        """Tokens and tags, how many sentences each part has, and how many words are not measured."""
        sizes = f"{len(self.train)} to train on, {len(self.held)} held out"
        cut = (
            f"; {self.left_out} held-out words are beyond --max-length, or have no token, and are not measured"
            if self.left_out
            else ""
        )
        return f"{len(self.tokenizer)} tokens, {len(self.names)} tags\n{self.data['description']}: {sizes}{cut}"

    def results(self, measured: dict[str, float]) -> tuple[dict[str, Any], int, str]:
        """Metrics of the words, with those of the commonest tag of each word beside them."""
        scores = metrics.of_tags(self.answers, self.names)
        common = metrics.of_tags(self.commonest(), self.names)
        compared = ("accuracy", "accuracy_interval", "entity_f1", "macro_f1")
        scores["commonest_tags"] = {name: common[name] for name in compared if name in common}
        count = sum(len(true) for _, true in self.answers)
        main, title = ("entity_f1", "entity F1") if "entity_f1" in scores else ("accuracy", "accuracy")
        low, high = scores[f"{main}_interval"]
        line = f"held-out {title} {scores[main]:.3f} ({low:.3f} to {high:.3f}), {count} words in {len(self.answers)} "
        line += f"sentences; the commonest tag of each word has {common[main]:.3f}"
        return {**scores, "loss": measured["eval_loss"], "words_left_out": self.left_out}, count, line

    def commonest(self) -> list[tuple[list[str], list[str]]]:
        """The tags of held-out sentences with the tag that each word mostly had, and the commonest for others."""
        seen: dict[str, Counter] = defaultdict(Counter)
        for words, tags in self.rows[0]:
            for word, tag in zip(words, tags, strict=True):
                seen[word][tag] += 1
        usual = sum(seen.values(), Counter()).most_common(1)[0][0]
        answers = []
        for item in self.held:  # the same words that the model was measured on
            words, tags = ([part[i] for i in item["read"]] for part in self.rows[1][item["row"]])
            answers.append(([seen[w].most_common(1)[0][0] if w in seen else usual for w in words], tags))
        return answers


def load_tags(source: str, words: str | None, tags: str | None) -> tuple[str, list[Sentence]]:
    """Name, and the words and tags of each sentence: of a table whose columns hold lists, or of lines with a word and
    its tag.

    Raises:
        UserError: no such file or columns, or a sentence with another number of tags than words.
    """
    path = Path(source)
    if source.startswith(PREFIX):
        name = source.removeprefix(PREFIX)
        sentences = table_sentences(source, words, tags)
    elif path.is_file() and path.suffix.lower() in TABLES:
        name = path.name
        sentences = table_sentences(path, words, tags)
    elif path.is_file() and path.suffix.lower() in LINES:
        if words or tags:
            raise UserError(
                f"--data {source}: lines have no columns' names; leave --text-column and --label-column out"
            )
        name = path.name
        sentences = line_sentences(decode(read_bytes(path), source), path.name)
    else:
        what = "tagged words are read from" if path.exists() else "no such file; give"
        raise UserError(f"--data {source}: {what} {', '.join((*TABLES, *LINES))}, or {PREFIX}OWNER/NAME")
    rows = list(sentences)
    if not rows:
        raise UserError(f"--data {source}: no sentence in it; give words and tags")
    return name, rows


def table_sentences(path: Path | str, words: str | None, tags: str | None) -> Iterator[Sentence]:
    """The sentences of a table: two columns of lists, or of text with spaces between."""
    columns: tuple[str, str] | None = None
    for number, row in enumerate(rows_of(path), 1):
        columns = columns or (
            find_column(path, list(row), words, WORDS, "text"),
            find_column(path, list(row), tags, TAGS, "label"),
        )
        where = row_name(path, number)
        pair = [cells(value) if isinstance(value := row.get(name), str) else value for name in columns]
        for name, value in zip(columns, pair, strict=True):
            if not isinstance(value, list) or any(isinstance(each, (list, dict, type(None))) for each in value):
                raise UserError(f"{where} has no list in {name!r}; give one of words, and one of as many tags")
        yield checked_sentence(where, *pair)


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


def line_sentences(text: str, name: str) -> Iterator[Sentence]:
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
            yield checked_sentence(f"{name}: line {number - 1}", words, tags)
            words = []
            tags = []


def checked_sentence(where: str, words: list[Any], tags: list[Any]) -> Sentence:
    if len(words) != len(tags) or not words:
        raise UserError(f"{where} has {len(words)} words and {len(tags)} tags; give each word one tag")
    if empty := [
        i for i, tag in enumerate(tags) if not class_name(tag) or (isinstance(tag, float) and math.isnan(tag))
    ]:
        raise UserError(f"{where} has no tag for {words[empty[0]]!r}; give each word one tag")
    return [str(word) for word in words], [class_name(tag) for tag in tags]
