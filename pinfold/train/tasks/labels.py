"""What train needs to know of labelled text: the data, tokenizer and model, batches, and how good the answers are."""

import argparse
import os
import warnings
from typing import Any

from pinfold.common.errors import UserError, missing_extra
from pinfold.tokenizer import train as tokenizer
from pinfold.train import metrics
from pinfold.train.classes import one_line
from pinfold.train.data.labelled import KINDS, load_data
from pinfold.train.tasks.tokens import built, check_options, digest, loaded, wordpiece

AUTO = "AutoModelForSequenceClassification"


class LabelledText:
    """Text classification: one label, several labels, or a number for each text."""

    task, auto, processor = "text-classification", AUTO, "text"
    parts: dict[str, str] = {}  # noqa: RUF012
    defaults = {"epochs": 5, "vocab_size": 8000, "max_length": 128}  # noqa: RUF012
    keeps_best = grouped = new_head = True
    labels, reduce, unit = ("labels",), None, "texts"
    options = frozenset({"tokenizer", "text_column", "label_column", "problem", "class_weights"})

    def __init__(self, args: argparse.Namespace):
        try:
            from sklearn.model_selection import train_test_split
        except ImportError as error:
            raise missing_extra("train", "train", error) from None
        check_options(args)
        fraction = 0.2 if args.eval_fraction is None else args.eval_fraction
        found = load_data(args.data, args.text_column, args.label_column, args.problem)
        one = found.kind == KINDS[0]
        if args.class_weights and not one:
            raise UserError(f"--class-weights={args.class_weights}: only for one label a text, this is {found.kind}")
        try:
            places = train_test_split(
                range(len(found.texts)), test_size=fraction, stratify=found.labels if one else None,
                random_state=args.seed,
            )  # fmt: skip
        except ValueError as error:
            raise UserError(
                f"cannot hold out {fraction:.0%} of {len(found.texts)} texts ({error}); add texts, or change "
                "--eval-fraction"
            ) from None
        missing = sorted(set(found.labels) - {found.labels[i] for i in places[0]}) if one else []
        if missing or len(places[0]) < 2:
            told = f"no text of {found.names[missing[0]]}" if missing else f"{len(places[0])} texts"
            raise UserError(f"holding out {fraction:.0%} leaves {told} to train on; add texts, or use less")
        self.rows = tuple([(found.texts[i], found.labels[i]) for i in sorted(ids)] for ids in places)
        self.names, self.kind = found.names, found.kind
        self.data = {"name": found.name, "description": found.description, "n": len(found.texts)}
        self.data["sha256"] = digest([found.texts, found.labels], args.tokenizer)
        self.data |= {"classes": found.names} if found.kind != "regression" else {}
        self.data |= {"class_weights": args.class_weights} if args.class_weights else {}
        self.split = {"name": "held-out", "fraction": fraction, "stratified": one, "seed": args.seed}
        self.start, self.given, self.progress = args.start, args.tokenizer, os.isatty(2)
        self.at_most = args.vocab_size is None  # a default is no wish
        self.tokenizer: Any = None
        self.train: list = []
        self.held: list = []
        self.answers: Any = None  # of the last evaluation: predictions and labels

    def make(self, found: dict[str, type], settings: dict) -> Any:
        """Make the tokenizer, the examples and the model, which is new or a checkpoint's.

        Raises:
            UserError: fields that the folder's classes refuse, a checkpoint or a tokenizer that does not fit, or
                texts that are longer than the model reads.
        """
        length, texts = settings["max_length"], [text for text, _ in self.rows[0]]
        if where := self.given or self.start:
            self.tokenizer = loaded(where)
        else:
            self.tokenizer = wordpiece(texts, settings, length, self.progress, self.at_most)
        names = self.names
        fields = {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
        fields |= settings["fields"]["config"] | {"problem_type": self.kind}
        model = built(found, AUTO, self.start, self.tokenizer, fields, option="--max-length", length=length)
        self.train, self.held = (self._examples(rows, length) for rows in self.rows)
        return model

    def _examples(self, rows: list[tuple[str, Any]], length: int) -> list[dict[str, Any]]:
        try:
            encoded = self.tokenizer([text for text, _ in rows], truncation=True, max_length=length)["input_ids"]
        except Exception as error:  # of the tokenizers library
            raise UserError(f"the tokenizer cannot read the texts ({one_line(error)}); use another one") from None
        if empty := [text for ids, (text, _) in zip(encoded, rows, strict=True) if not ids]:
            raise UserError(f"the tokenizer has no token for {empty[0][:40]!r}; use another one, or remove that text")
        return [{"input_ids": ids, "labels": label} for ids, (_, label) in zip(encoded, rows, strict=True)]

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Texts as a batch, padded to the longest."""
        import torch

        batch = self.tokenizer.pad({"input_ids": [item["input_ids"] for item in items]}, return_tensors="pt")
        whole = torch.long if self.kind == KINDS[0] else torch.float
        labels = torch.tensor([item["labels"] for item in items], dtype=whole)
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}

    def loss(self) -> Any:
        """A loss for Trainer in which rare classes weigh as much as frequent ones; None: the model's own."""
        import torch
        from torch.nn.functional import cross_entropy

        if "class_weights" not in self.data:
            return None
        counts = torch.bincount(torch.tensor([label for _, label in self.rows[0]]), minlength=len(self.names))
        weights = counts.sum() / (len(self.names) * counts)

        def weighted(outputs: Any, labels: Any, num_items_in_batch: Any = None) -> Any:
            each = cross_entropy(outputs["logits"].float(), labels, weights.to(labels.device), reduction="none").sum()
            return each / (len(labels) if num_items_in_batch is None else num_items_in_batch)

        return weighted

    def metrics(self, found: Any) -> dict[str, float]:
        """What Trainer computes from logits and labels, after every epoch."""
        import numpy as np

        logits = found.predictions[0] if isinstance(found.predictions, tuple) else found.predictions
        self.answers = (logits, found.label_ids)
        match self.kind:
            case "single_label_classification":
                return {"accuracy": float((logits.argmax(-1) == found.label_ids).mean())}
            case "multi_label_classification":
                return {"accuracy": float(((logits > 0) == (found.label_ids > 0.5)).all(1).mean())}
        return {"mean_absolute_error": float(np.abs(logits.reshape(-1) - found.label_ids.reshape(-1)).mean())}

    def described(self) -> str:
        """What goes behind the number of parameters."""
        told = f"{self.data['description']}: {len(self.train)} texts to train on, {len(self.held)} held out"
        classes = "" if self.kind == "regression" else f", {len(self.names)} classes"
        return f"{len(self.tokenizer)} tokens{classes}\n{told}"

    def results(self, measured: dict) -> tuple[dict, int, str]:
        """Metrics, of how many, and a line that tells it; with those of a bag of words on the same texts."""
        logits, labels = self.answers
        count, loss = len(labels), measured["eval_loss"]
        if self.kind == "regression":
            found = metrics.of_numbers(logits.reshape(-1), labels.reshape(-1))
            low, high = found["mean_absolute_error_interval"]
            told = f"mean absolute error {found['mean_absolute_error']:.3f} ({low:.3f} to {high:.3f})"
            return {**found, "loss": loss}, count, f"held-out {told}, {count} texts"
        one = self.kind == KINDS[0]
        measure = metrics.of_classes if one else metrics.of_sets
        answers = logits.argmax(-1) if one else (logits > 0).astype(int)
        found = measure(answers, labels.astype(int), self.names)
        words = self.bag_of_words()
        simple = {} if words is None else measure(words, self._held_labels(), self.names)
        if simple:
            found["bag_of_words"] = {name: simple[name] for name in ("accuracy", "accuracy_interval", "macro_f1")}
        low, high = found["accuracy_interval"]
        told = (
            f"held-out accuracy {found['accuracy']:.2%} ({low:.2%} to {high:.2%}), macro F1 {found['macro_f1']:.3f}, "
            f"{count} texts"
        )
        if simple:
            told += f"; a bag of words has {simple['accuracy']:.2%} and {simple['macro_f1']:.3f}"
        return {**found, "loss": loss}, count, told

    def bag_of_words(self) -> Any:
        """What logistic regression on counts of words answers for the held-out texts; None for texts without words."""
        import numpy as np
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline

        balanced = "balanced" if "class_weights" in self.data else None
        classifier = LogisticRegression(max_iter=1000, class_weight=balanced)
        if self.kind != KINDS[0]:
            classifier = OneVsRestClassifier(classifier)
        texts, labels = zip(*self.rows[0], strict=True)
        words = CountVectorizer(token_pattern=r"(?u)\b\w+\b")  # of one letter, too
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of labels that all texts have
                trained = make_pipeline(words, classifier).fit(texts, np.array(labels).astype(int))
        except ValueError:  # no letter in any of them
            return None
        return trained.predict([text for text, _ in self.rows[1]])

    def _held_labels(self) -> Any:
        """In the order of the texts: Trainer evaluates them by length."""
        import numpy as np

        return np.array([label for _, label in self.rows[1]]).astype(int)

    def save(self, directory: Any) -> None:
        """Save the tokenizer in the form that transformers 4 and 5 read."""
        tokenizer.write_portable(self.tokenizer, directory)
