"""Extractive question answering: questions with a text that holds the answer, windows over long texts, and exact match
and F1 of the answers (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250).
"""

import json
import math
import re
import string
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, one_line
from pinfold.tokenizer.corpus import decode, read_bytes
from pinfold.train import metrics
from pinfold.train.data.labelled import PREFIX, TABLES, row_name, rows_of
from pinfold.train.options import Options
from pinfold.train.tasks.task import TextTask, check_sklearn, hold_out
from pinfold.train.tasks.tokens import batch_of, build_model, content_digest, load_tokenizer, train_wordpiece

LONGEST = 30  # tokens of an answer
BEST = 20  # starts and ends of a window that are tried together
ARTICLES = re.compile(r"\b(a|an|the)\b")
Example = tuple[str, str, list[tuple[int, str]]]  # question, text, and answers with where they begin in it


class Answers(TextTask):
    """Extractive question answering: first and last token of the answer, or none."""

    name = "question-answering"
    auto = "AutoModelForQuestionAnswering"
    unit = "questions"
    defaults = {"epochs": 5, "vocab_size": 8000, "max_length": 256}  # noqa: RUF012 (of the class, as its base says)
    options = frozenset({"tokenizer"})
    keeps_best = new_head = True  # not grouped: evaluation needs the windows in their order
    labels = ("start_positions", "end_positions")

    def __init__(self, options: Options):
        check_sklearn()
        super().__init__(options)
        name, rows = load_answers(options.data)
        texts = [text for _, text, _ in rows]  # questions about one text stay together
        parts = hold_out(len(rows), self.fraction, self.seed, "texts", groups=texts)
        self.rows = tuple([rows[i] for i in ids] for ids in parts)
        self.data = {"name": name, "description": f"questions and answers in {name}", "n": len(rows)}
        self.data["sha256"] = content_digest(rows, options.tokenizer)
        self.split = {"name": "held-out", "fraction": self.fraction, "unit": "texts", "seed": self.seed}
        self.some_unanswered = any(not answers for _, _, answers in rows)
        self.inputs: tuple[str, ...] = ("input_ids",)  # names of the tokenizer's outputs that the model reads
        self.answers: list[str] = []  # of the last evaluation

    def make(self, classes: dict[str, type], settings: dict[str, Any]) -> Any:
        """Make the tokenizer, the windows and the model, which is new or a checkpoint's.

        Raises:
            UserError: as `build_model`, or a question that leaves no room for the text.
        """
        length = settings["max_length"]
        if where := self.given_tokenizer or self.start:
            self.tokenizer = load_tokenizer(where)
        else:
            texts = [part for question, text, _ in self.rows[0] for part in (question, text)]
            self.tokenizer = train_wordpiece(texts, settings, length, self.progress, self.at_most)
        fields = settings["fields"]["config"]
        model = build_model(
            classes, self.auto, self.start, self.tokenizer, fields, option="--max-length", length=length
        )
        if "token_type_ids" in self.tokenizer.model_input_names and getattr(model.config, "type_vocab_size", 0) > 1:
            self.inputs = ("input_ids", "token_type_ids")
        self.train, self.held = (self._windows(rows, length) for rows in self.rows)
        return model

    def _windows(self, rows: list[Example], length: int) -> list[dict[str, Any]]:
        """Question and part of the text, as often as it takes; neighbours overlap by a quarter."""
        for question, _, _ in rows:
            size = len(self.tokenizer(question, add_special_tokens=False)["input_ids"])
            if size > length // 2:
                raise UserError(
                    f"--max-length={length} leaves too little room beside a question of {size} tokens "
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
        windows = []
        for window, row in enumerate(encoded["overflow_to_sample_mapping"]):
            sides = encoded.sequence_ids(window)  # 1: of the text
            offsets = [
                pair if side == 1 else None
                for pair, side in zip(encoded["offset_mapping"][window], sides, strict=True)
            ]
            start, end = self._answer_tokens(offsets, rows[row][2])
            item = {name: encoded[name][window] for name in self.inputs}
            windows.append(item | {"start": start, "end": end, "offsets": offsets, "row": row})
        return windows

    @staticmethod
    def _answer_tokens(offsets: list[tuple[int, int] | None], answers: list[tuple[int, str]]) -> tuple[int, int]:
        """First and last token of the first answer, or the first token of all where it is not in the window."""
        if answers:
            start, answer = answers[0]
            end = start + len(answer)
            inside = [i for i, pair in enumerate(offsets) if pair and pair[0] < end and pair[1] > start]
            if inside and offsets[inside[0]][0] <= start and offsets[inside[-1]][1] >= end:
                return inside[0], inside[-1]
        return 0, 0

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Windows as a batch, padded to the longest."""
        import torch

        batch = batch_of(items, self.tokenizer, self.inputs)
        return batch | {f"{side}_positions": torch.tensor([item[side] for item in items]) for side in ("start", "end")}

    def metrics(self, prediction: Any) -> dict[str, float]:
        """Exact match and F1."""
        self.answers = self.likeliest_answers(*prediction.predictions[:2])
        exact, f1 = self.scores()
        return {"exact_match": float(exact.mean()), "f1": float(f1.mean())}

    def likeliest_answers(self, starts: Any, ends: Any) -> list[str]:
        """The likeliest answer to each held-out question, over all of its windows; "" for none.

        Args:
            starts, ends: logits, (windows, tokens).
        """
        best: dict[int, tuple[float, str]] = {}  # by question: score and answer
        none: dict[int, float] = {}  # by question: the lowest score of no answer in any of its windows
        for item, start, end in zip(self.held, starts, ends, strict=True):
            row = item["row"]
            none[row] = min(none.get(row, math.inf), float(start[0] + end[0]))
            for score, answer in self._candidates(item, start, end):
                if row not in best or score > best[row][0]:
                    best[row] = (score, answer)
        answers = []
        for row in range(len(self.rows[1])):
            score, answer = best.get(row, (-math.inf, ""))
            answers.append("" if self.some_unanswered and none.get(row, math.inf) > score else answer)
        return answers

    def _candidates(self, item: dict[str, Any], start: Any, end: Any) -> Iterator[tuple[float, str]]:
        """Scores and answers of a window, from its likeliest first and last tokens.

        Args:
            start, end: logits, (tokens,).
        """
        import numpy as np

        offsets = item["offsets"]
        text = self.rows[1][item["row"]][1]
        firsts, lasts = (np.argsort(-side[: len(offsets)])[:BEST] for side in (start, end))
        for i in firsts:
            for j in lasts:
                if offsets[i] and offsets[j] and i <= j < i + LONGEST:
                    yield float(start[i] + end[j]), text[offsets[i][0] : offsets[j][1]]

    def scores(self) -> tuple[Any, Any]:
        """Exact match and F1 of each held-out question."""
        import numpy as np

        pairs = [
            (answer, [text for _, text in true])
            for answer, (_, _, true) in zip(self.answers, self.rows[1], strict=True)
        ]
        return np.array([exact_match(*pair) for pair in pairs]), np.array([f1_score(*pair) for pair in pairs])

    def described(self) -> str:
        """Tokens, how many questions and windows each part has, and how many answers are lost."""
        trained, held = (len(rows) for rows in self.rows)
        sizes = f"{trained} questions ({len(self.train)} windows) to train on, {held} ({len(self.held)}) held out"
        seen = {item["row"] for item in self.train if item["start"] or item["end"]}
        if cut := sum(bool(answers) for _, _, answers in self.rows[0]) - len(seen):
            sizes += f"; {cut} answers to train on are in no window"
        return f"{len(self.tokenizer)} tokens\n{self.data['description']}: {sizes}"

    def results(self, measured: dict[str, float]) -> tuple[dict[str, Any], int, str]:
        """Exact match and F1 of the questions."""
        exact, f1 = self.scores()
        hits = int(exact.sum())
        count = len(exact)
        low, high = metrics.wilson(hits, count)
        scores = {
            "exact_match": hits / count,
            "exact_match_interval": (low, high),
            "f1": float(f1.mean()),
            "f1_interval": metrics.bootstrap(lambda each, _: float(each.mean()), f1, f1),
            "loss": measured["eval_loss"],
        }
        summary = f"held-out exact match {hits / count:.2%} ({low:.2%} to {high:.2%}), F1 {scores['f1']:.3f}"
        return scores, count, f"{summary}, {count} questions"


def plain_words(text: str) -> list[str]:
    """Words as SQuAD compares them: lower case, without punctuation and articles.

    >>> plain_words("The Eiffel Tower!")
    ['eiffel', 'tower']
    """
    letters = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return ARTICLES.sub(" ", letters).split()


def exact_match(answer: str, true: list[str]) -> bool:
    """Whether it is one of the true answers; an empty one is right where there is none."""
    return any(plain_words(answer) == plain_words(each) for each in true or [""])


def f1_score(answer: str, true: list[str]) -> float:
    """F1 of the words that an answer has in common with the nearest true one."""

    def of_pair(words: list[str], others: list[str]) -> float:
        if not words or not others:
            return float(words == others)
        return 2 * (Counter(words) & Counter(others)).total() / (len(words) + len(others))

    return max(of_pair(plain_words(answer), plain_words(each)) for each in true or [""])


def load_answers(source: str) -> tuple[str, list[Example]]:
    """Name, and questions with their texts and answers: a table, or the JSON of SQuAD.

    Raises:
        UserError: no such file or columns, or an answer that is not in its text.
    """
    path = Path(source)
    if source.startswith(PREFIX):
        name = source.removeprefix(PREFIX)
        rows = list(table_questions(source))
    elif path.is_file() and path.suffix.lower() in TABLES:
        name = path.name
        rows = list(table_questions(path))
    elif path.is_file() and path.suffix.lower() == ".json":
        name = path.name
        rows = list(squad_questions(path))
    else:
        what = "questions are read from" if path.exists() else "no such file; give"
        raise UserError(f"--data {source}: {what} {', '.join((*TABLES, '.json of SQuAD'))}, or {PREFIX}OWNER/NAME")
    if rows and not any(answers for _, _, answers in rows):
        raise UserError(f"--data {source}: no question in it has an answer; give answers to some of them")
    if not rows:
        raise UserError(f"--data {source}: no question in it; give question, context and answers in each row")
    return name, rows


def table_questions(path: Path | str) -> Iterator[Example]:
    """The rows of a table with question, context and answers (SQuAD's form), or answer and perhaps answer_start."""
    for number, row in enumerate(rows_of(path), 1):
        if number == 1 and (not {"question", "context"} <= row.keys() or not {"answers", "answer"} & row.keys()):
            listed = ", ".join(map(str, row))
            raise UserError(f"{path}: its columns are {listed}; question, context and answers (or answer) are needed")
        where = row_name(path, number)
        answers = row.get("answers", row.get("answer"))
        if isinstance(answers, dict):
            texts, starts = (as_list(answers.get(name)) for name in ("text", "answer_start"))
            if starts and len(starts) != len(texts):
                raise UserError(f"{where} has {len(texts)} answers and {len(starts)} places; give each its own")
            starts = starts or [None] * len(texts)
            answers = [{"text": t, "answer_start": s} for t, s in zip(texts, starts, strict=True)]
        elif isinstance(answers, str) or answers is None:
            answers = [{"text": answers, "answer_start": row.get("answer_start")}] if answers else []
        yield checked_example(where, row.get("question"), row.get("context"), answers)


def as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def squad_questions(path: Path) -> Iterator[Example]:
    """The questions of a file in SQuAD's own form, version 1 or 2."""
    try:
        content = json.loads(decode(read_bytes(path), str(path)))
        paragraphs = [paragraph for article in content["data"] for paragraph in article["paragraphs"]]
        questions = [(part["context"], question) for part in paragraphs for question in part["qas"]]
        for number, (text, question) in enumerate(questions, 1):
            where = f"{path.name}: question {number}"
            yield checked_example(where, question["question"], text, question.get("answers", []))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path}: not JSON of SQuAD ({type(error).__name__} {one_line(error)}); give a table"
        ) from None


def checked_example(where: str, question: Any, text: Any, answers: Any) -> Example:
    """An example, if question and text are there and each answer is in the text.

    Raises:
        UserError: they are not.
    """
    for name, value in (("question", question), ("context", text)):
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{where} has no {name}; correct or remove it")
    if not isinstance(answers, list):
        raise UserError(f"{where} has the answers {str(answers)[:40]!r}, which are not a list; correct them")
    return question, text, [_checked_answer(where, text, answer) for answer in answers]


def _checked_answer(where: str, text: str, answer: Any) -> tuple[int, str]:
    """Where an answer begins in its text, and the answer without spaces around it, which have no token."""
    words, start = (answer.get("text"), answer.get("answer_start")) if isinstance(answer, dict) else (answer, None)
    if not isinstance(words, str) or not words.strip():
        raise UserError(f"{where} has the answer {words!r}, which is not text; correct it, or give none")
    if start in (None, ""):
        start = text.find(words)
    try:
        begin = int(start) if not isinstance(start, bool) and float(start) == int(start) else -1
    except (TypeError, ValueError, OverflowError):
        begin = -1
    if begin < 0 or text[begin : begin + len(words)] != words:
        place = "in its context" if start == -1 else f"at answer_start={start}"
        raise UserError(f"{where} has the answer {words[:40]!r}, which is not {place}; correct or remove it")
    return begin + len(words) - len(words.lstrip()), words.strip()
