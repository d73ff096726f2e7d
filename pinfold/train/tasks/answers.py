"""What train needs to know of questions whose answers stand in a text: the data, windows over long texts, and exact
match and F1 of the answers (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250).
"""

import argparse
import json
import os
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, missing_extra
from pinfold.tokenizer import train as tokenizer
from pinfold.tokenizer.corpus import decode, read_bytes
from pinfold.train import metrics
from pinfold.train.classes import one_line
from pinfold.train.data.labelled import PREFIX, TABLES, row_name, rows_of
from pinfold.train.tasks.tokens import batch_of, built, check_options, digest, loaded, wordpiece

LONGEST = 30  # tokens of an answer
BEST = 20  # starts and ends of a window that are tried together
ARTICLES = re.compile(r"\b(a|an|the)\b")
Example = tuple[str, str, list[tuple[int, str]]]  # question, text, and answers with their place in it


class Answers:
    """Extractive question answering: first and last token of the answer, or none."""

    task, auto, processor = "question-answering", "AutoModelForQuestionAnswering", "text"
    parts: dict[str, str] = {}  # noqa: RUF012
    defaults = {"epochs": 5, "vocab_size": 8000, "max_length": 256}  # noqa: RUF012
    options = frozenset({"tokenizer"})
    keeps_best = new_head = True
    grouped = False  # evaluation needs the windows in their order
    labels, reduce, unit = ("start_positions", "end_positions"), None, "questions"

    def __init__(self, args: argparse.Namespace):
        try:
            from sklearn.model_selection import GroupShuffleSplit
        except ImportError as error:
            raise missing_extra("train", "train", error) from None
        check_options(args)
        fraction = 0.2 if args.eval_fraction is None else args.eval_fraction
        name, rows = load_answers(args.data)
        texts = [text for _, text, _ in rows]  # questions about one text stay together
        try:
            places = next(GroupShuffleSplit(1, test_size=fraction, random_state=args.seed).split(texts, groups=texts))
        except ValueError as error:
            raise UserError(
                f"cannot hold out {fraction:.0%} of {len(set(texts))} texts ({error}); add some, or change "
                "--eval-fraction"
            ) from None
        self.rows = tuple([rows[i] for i in ids] for ids in places)
        self.data = {"name": name, "description": f"questions and answers in {name}", "n": len(rows)}
        self.data |= {"sha256": digest(rows, args.tokenizer)}
        self.split = {"name": "held-out", "fraction": fraction, "unit": "texts", "seed": args.seed}
        self.start, self.given, self.progress = args.start, args.tokenizer, os.isatty(2)
        self.at_most = args.vocab_size is None  # a default is no wish
        self.nothing = any(not answers for _, _, answers in rows)
        self.tokenizer: Any = None
        self.train: list = []
        self.held: list = []
        self.names: tuple[str, ...] = ("input_ids",)
        self.answers: list[str] = []  # of the last evaluation

    def make(self, found: dict[str, type], settings: dict) -> Any:
        """Make the tokenizer, the windows and the model, which is new or a checkpoint's.

        Raises:
            UserError: as `built`, or a question that leaves no room for the text.
        """
        length = settings["max_length"]
        if where := self.given or self.start:
            self.tokenizer = loaded(where)
        else:
            texts = [part for question, text, _ in self.rows[0] for part in (question, text)]
            self.tokenizer = wordpiece(texts, settings, length, self.progress, self.at_most)
        fields = settings["fields"]["config"]
        model = built(found, self.auto, self.start, self.tokenizer, fields, option="--max-length", length=length)
        if "token_type_ids" in self.tokenizer.model_input_names and getattr(model.config, "type_vocab_size", 0) > 1:
            self.names = ("input_ids", "token_type_ids")
        self.train, self.held = (self._windows(rows, length) for rows in self.rows)
        return model

    def _windows(self, rows: list[Example], length: int) -> list[dict[str, Any]]:
        """Question and part of the text, as often as it takes; neighbours overlap by a quarter."""
        for question, _, _ in rows:
            asked = len(self.tokenizer(question, add_special_tokens=False)["input_ids"])
            if asked > length // 2:
                raise UserError(
                    f"--max-length={length} leaves too little room beside a question of {asked} tokens "
                    f"({question[:40]!r}); use more"
                )
        try:
            encoded = self.tokenizer(
                [question for question, _, _ in rows], [text for _, text, _ in rows], truncation="only_second",
                max_length=length, stride=length // 4, return_overflowing_tokens=True, return_offsets_mapping=True,
                return_token_type_ids=True,
            )  # fmt: skip
        except Exception as error:  # of the tokenizers library
            raise UserError(f"the tokenizer cannot read the texts ({one_line(error)}); use another one") from None
        found = []
        for place, row in enumerate(encoded["overflow_to_sample_mapping"]):
            sides = encoded.sequence_ids(place)
            offsets = [
                pair if side == 1 else None for pair, side in zip(encoded["offset_mapping"][place], sides, strict=True)
            ]
            start, end = self._place(offsets, rows[row][2])
            item = {name: encoded[name][place] for name in self.names}
            found.append(item | {"start": start, "end": end, "offsets": offsets, "row": row})
        return found

    @staticmethod
    def _place(offsets: list[tuple[int, int] | None], answers: list[tuple[int, str]]) -> tuple[int, int]:
        """First and last token of the first answer, or the first token of all where it is not in the window."""
        if answers:
            start, end = answers[0][0], answers[0][0] + len(answers[0][1])
            inside = [i for i, pair in enumerate(offsets) if pair and pair[0] < end and pair[1] > start]
            if inside and offsets[inside[0]][0] <= start and offsets[inside[-1]][1] >= end:
                return inside[0], inside[-1]
        return 0, 0

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Windows as a batch, padded to the longest."""
        import torch

        batch = batch_of(items, self.tokenizer, self.names)
        return batch | {f"{side}_positions": torch.tensor([item[side] for item in items]) for side in ("start", "end")}

    def loss(self) -> None:
        """The model's own."""

    def metrics(self, found: Any) -> dict[str, float]:
        """What Trainer computes from logits and labels, after every epoch."""
        self.answers = self.read(*found.predictions[:2])
        exact, f1 = self.scores()
        return {"exact_match": float(exact.mean()), "f1": float(f1.mean())}

    def read(self, starts: Any, ends: Any) -> list[str]:
        """The likeliest answer to each held-out question, over all of its windows; "" for none.

        Args:
            starts, ends: logits, (windows, tokens).
        """
        import numpy as np

        best: dict[int, tuple[float, str]] = {}
        none: dict[int, float] = {}
        for item, start, end in zip(self.held, starts, ends, strict=True):
            row, offsets = item["row"], item["offsets"]
            none[row] = min(none.get(row, np.inf), float(start[0] + end[0]))
            likely = [np.argsort(-side[: len(offsets)])[:BEST] for side in (start, end)]
            for i in likely[0]:
                for j in likely[1]:
                    if offsets[i] and offsets[j] and i <= j < i + LONGEST:
                        score = float(start[i] + end[j])
                        if row not in best or score > best[row][0]:
                            best[row] = (score, self.rows[1][row][1][offsets[i][0] : offsets[j][1]])
        found = []
        for row in range(len(self.rows[1])):
            score, text = best.get(row, (-np.inf, ""))
            found.append("" if self.nothing and none.get(row, np.inf) > score else text)
        return found

    def scores(self) -> tuple[Any, Any]:
        """Exact match and F1 of each held-out question."""
        import numpy as np

        pairs = [
            (told, [t for _, t in answers]) for told, (_, _, answers) in zip(self.answers, self.rows[1], strict=True)
        ]
        return np.array([exact_match(*pair) for pair in pairs]), np.array([f1_score(*pair) for pair in pairs])

    def described(self) -> str:
        """What goes behind the number of parameters."""
        count = [len(rows) for rows in self.rows]
        told = f"{count[0]} questions ({len(self.train)} windows) to train on, {count[1]} ({len(self.held)}) held out"
        seen = {item["row"] for item in self.train if item["start"] or item["end"]}
        if cut := sum(bool(answers) for _, _, answers in self.rows[0]) - len(seen):
            told += f"; {cut} answers to train on are in no window"
        return f"{len(self.tokenizer)} tokens\n{self.data['description']}: {told}"

    def results(self, measured: dict) -> tuple[dict, int, str]:
        """Metrics, of how many questions, and a line that tells it."""
        exact, f1 = self.scores()
        hits, count = int(exact.sum()), len(exact)
        interval = metrics.bootstrap(lambda a, _: float(a.mean()), f1, f1)
        found = {"exact_match": hits / count, "exact_match_interval": metrics.wilson(hits, count)}
        found |= {"f1": float(f1.mean()), "f1_interval": interval, "loss": measured["eval_loss"]}
        low, high = found["exact_match_interval"]
        told = f"held-out exact match {hits / count:.2%} ({low:.2%} to {high:.2%}), F1 {found['f1']:.3f}"
        return found, count, f"{told}, {count} questions"

    def save(self, directory: Path) -> None:
        """Save the tokenizer in the form that transformers 4 and 5 read."""
        tokenizer.write_portable(self.tokenizer, directory)


def plain_words(text: str) -> list[str]:
    """Words as SQuAD compares them: lower case, without punctuation and articles.

    >>> plain_words("The Eiffel Tower!")
    ['eiffel', 'tower']
    """
    kept = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return ARTICLES.sub(" ", kept).split()


def exact_match(told: str, true: list[str]) -> bool:
    """Whether it is one of the answers; none is right where there is none."""
    return any(plain_words(told) == plain_words(each) for each in true or [""])


def f1_score(told: str, true: list[str]) -> float:
    """Of the words in common with the nearest answer."""

    def one(words: list[str], others: list[str]) -> float:
        if not words or not others:
            return float(words == others)
        return 2 * (Counter(words) & Counter(others)).total() / (len(words) + len(others))

    return max(one(plain_words(told), plain_words(each)) for each in true or [""])


def load_answers(given: str) -> tuple[str, list[Example]]:
    """Name, and questions with their texts and answers: a table, or the JSON of SQuAD.

    Raises:
        UserError: nothing there, no such columns, or an answer that does not stand where it is said to.
    """
    path = Path(given)
    if given.startswith(PREFIX):
        rows, name = list(asked(given)), given.removeprefix(PREFIX)
    elif path.is_file() and path.suffix.lower() in TABLES:
        rows, name = list(asked(path)), path.name
    elif path.is_file() and path.suffix.lower() == ".json":
        rows, name = list(squad(path)), path.name
    else:
        what = "questions are read from" if path.exists() else "no such file; give"
        raise UserError(f"--data {given}: {what} {', '.join((*TABLES, '.json of SQuAD'))}, or {PREFIX}OWNER/NAME")
    if rows and not any(answers for _, _, answers in rows):
        raise UserError(f"--data {given}: no question in it has an answer; give answers to some of them")
    if not rows:
        raise UserError(f"--data {given}: no question in it; give question, context and answers in each row")
    return name, rows


def asked(path: Path | str) -> Iterator[Example]:
    """The rows of a table with question, context and answers (SQuAD's form), or answer and perhaps answer_start."""
    for number, row in enumerate(rows_of(path), 1):
        if number == 1 and (not {"question", "context"} <= row.keys() or not {"answers", "answer"} & row.keys()):
            listed = ", ".join(map(str, row))
            raise UserError(f"{path}: its columns are {listed}; question, context and answers (or answer) are needed")
        where, given = row_name(path, number), row.get("answers", row.get("answer"))
        if isinstance(given, dict):
            texts, starts = (as_list(given.get(name)) for name in ("text", "answer_start"))
            if starts and len(starts) != len(texts):
                raise UserError(f"{where} has {len(texts)} answers and {len(starts)} places; give each its own")
            given = [{"text": t, "answer_start": s} for t, s in zip(texts, starts or [None] * len(texts), strict=True)]
        elif isinstance(given, str) or given is None:
            given = [{"text": given, "answer_start": row.get("answer_start")}] if given else []
        yield example(where, row.get("question"), row.get("context"), given)


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def squad(path: Path) -> Iterator[Example]:
    """The questions of a file in SQuAD's own form, version 1 or 2."""
    try:
        found = json.loads(decode(read_bytes(path), str(path)))
        paragraphs = [paragraph for article in found["data"] for paragraph in article["paragraphs"]]
        questions = [(part["context"], question) for part in paragraphs for question in part["qas"]]
        for number, (text, question) in enumerate(questions, 1):
            where = f"{path.name}: question {number}"
            yield example(where, question["question"], text, question.get("answers", []))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: no JSON of SQuAD ({type(error).__name__} {one_line(error)}); give a table") from None


def example(where: str, question: Any, text: Any, answers: Any) -> Example:
    for name, value in (("question", question), ("context", text)):
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{where} has no {name}; correct or remove it")
    found = []
    if not isinstance(answers, list):
        raise UserError(f"{where} has the answers {str(answers)[:40]!r}, which are no list; correct them")
    for answer in answers:
        told, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (answer, None)
        if not isinstance(told, str) or not told.strip():
            raise UserError(f"{where} has the answer {told!r}, which is no text; correct it, or give none")
        if start in (None, ""):
            start = text.find(told)
        try:
            begin = int(start) if not isinstance(start, bool) and float(start) == int(start) else -1
            there = begin >= 0 and text[begin : begin + len(told)] == told
        except (TypeError, ValueError, OverflowError):
            there = False
        if not there:
            place = "in its context" if start == -1 else f"at answer_start={start}"
            raise UserError(
                f"{where} has the answer {told[:40]!r}, which does not stand {place}; correct or remove it"
            )
        found.append((begin + len(told) - len(told.lstrip()), told.strip()))  # a space has no token
    return question, text, found
