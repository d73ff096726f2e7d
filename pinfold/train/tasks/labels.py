"""Text classification and regression: labelled texts, examples and batches, and how good the answers are."""

import warnings
from collections.abc import Callable
from typing import Any

from pinfold.common.errors import UserError, one_line
from pinfold.train import metrics
from pinfold.train.data.labelled import KINDS, load_data
from pinfold.train.options import Options
from pinfold.train.tasks.task import TextTask, check_sklearn, hold_out
from pinfold.train.tasks.tokens import build_model, content_digest, load_tokenizer, logits_of, train_wordpiece


class LabelledText(TextTask):
    """Text classification: one label, several labels, or a number for each text."""

    name = "text-classification"
    auto = "AutoModelForSequenceClassification"
    unit = "texts"
    defaults = {"epochs": 5, "vocab_size": 8000, "max_length": 128}  # noqa: RUF012 (of the class, as its base says)
    keeps_best = grouped = new_head = True
    options = frozenset({"tokenizer", "text_column", "label_column", "problem", "class_weights"})

    def __init__(self, options: Options):
        check_sklearn()
        super().__init__(options)
        data = load_data(options.data, options.text_column, options.label_column, options.problem)
        self.names = data.names
        self.kind = data.kind
        self.single = data.kind == KINDS[0]
        if options.class_weights and not self.single:
            raise UserError(f"--class-weights={options.class_weights}: only for one label a text, this is {data.kind}")
        classes = data.labels if self.single else None
        kept, held = hold_out(len(data.texts), self.fraction, self.seed, "texts", classes=classes)
        missing = sorted(set(data.labels) - {data.labels[i] for i in kept}) if self.single else []
        if missing or len(kept) < 2:
            rest = f"no text of {data.names[missing[0]]}" if missing else f"{len(kept)} texts"
            raise UserError(f"holding out {self.fraction:.0%} leaves {rest} to train on; add texts, or use less")
        self.rows = tuple([(data.texts[i], data.labels[i]) for i in sorted(ids)] for ids in (kept, held))
        self.data = {"name": data.name, "description": data.description, "n": len(data.texts)}
        self.data["sha256"] = content_digest([data.texts, data.labels], options.tokenizer)
        if data.kind != "regression":
            self.data["classes"] = data.names
        if options.class_weights:
            self.data["class_weights"] = options.class_weights
        self.split = {"name": "held-out", "fraction": self.fraction, "stratified": self.single, "seed": self.seed}
        self.logits: Any = None  # of the last evaluation
        self.true: Any = None  # the labels of the same texts

    def make(self, classes: dict[str, type], settings: dict[str, Any]) -> Any:
        """Make the tokenizer, the examples and the model, which is new or a checkpoint's.

        Raises:
            UserError: fields that the folder's classes refuse, a checkpoint or a tokenizer that does not fit, or
                texts that are longer than the model reads.
        """
        length = settings["max_length"]
        if where := self.given_tokenizer or self.start:
            self.tokenizer = load_tokenizer(where)
        else:
            texts = [text for text, _ in self.rows[0]]
            self.tokenizer = train_wordpiece(texts, settings, length, self.progress, self.at_most)
        fields = {"id2label": dict(enumerate(self.names)), "label2id": {n: i for i, n in enumerate(self.names)}}
        fields |= settings["fields"]["config"] | {"problem_type": self.kind}
        model = build_model(
            classes, self.auto, self.start, self.tokenizer, fields, option="--max-length", length=length
        )
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
        dtype = torch.long if self.single else torch.float
        labels = torch.tensor([item["labels"] for item in items], dtype=dtype)
        return {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"], "labels": labels}

    def loss(self) -> Callable[..., Any] | None:
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

    def metrics(self, prediction: Any) -> dict[str, float]:
        """Accuracy, or the mean absolute error of a regression."""
        import numpy as np

        self.logits = logits = logits_of(prediction)
        self.true = true = prediction.label_ids
        match self.kind:
            case "single_label_classification":
                return {"accuracy": float((logits.argmax(-1) == true).mean())}
            case "multi_label_classification":
                return {"accuracy": float(((logits > 0) == (true > 0.5)).all(1).mean())}
        return {"mean_absolute_error": float(np.abs(logits.reshape(-1) - true.reshape(-1)).mean())}

    def described(self) -> str:
        """Tokens and classes, and how many texts each part has."""
        sizes = f"{len(self.train)} texts to train on, {len(self.held)} held out"
        classes = "" if self.kind == "regression" else f", {len(self.names)} classes"
        return f"{len(self.tokenizer)} tokens{classes}\n{self.data['description']}: {sizes}"

    def results(self, measured: dict[str, float]) -> tuple[dict[str, Any], int, str]:
        """Metrics of the texts; with those of a bag of words beside them, but for a regression."""
        scores, summary = self._number_results() if self.kind == "regression" else self._class_results()
        return {**scores, "loss": measured["eval_loss"]}, len(self.true), summary

    def _number_results(self) -> tuple[dict[str, Any], str]:
        scores = metrics.of_numbers(self.logits.reshape(-1), self.true.reshape(-1))
        low, high = scores["mean_absolute_error_interval"]
        error = f"{scores['mean_absolute_error']:.3f} ({low:.3f} to {high:.3f})"
        return scores, f"held-out mean absolute error {error}, {len(self.true)} texts"

    def _class_results(self) -> tuple[dict[str, Any], str]:
        measure = metrics.of_classes if self.single else metrics.of_sets
        answers = self.logits.argmax(-1) if self.single else (self.logits > 0).astype(int)
        scores = measure(answers, self.true.astype(int), self.names)
        low, high = scores["accuracy_interval"]
        summary = (
            f"held-out accuracy {scores['accuracy']:.2%} ({low:.2%} to {high:.2%}), macro F1 "
            f"{scores['macro_f1']:.3f}, {len(self.true)} texts"
        )
        if (words := self.bag_of_words()) is not None:
            simple = measure(words, self._held_labels(), self.names)
            scores["bag_of_words"] = {name: simple[name] for name in ("accuracy", "accuracy_interval", "macro_f1")}
            summary += f"; a bag of words has {simple['accuracy']:.2%} and {simple['macro_f1']:.3f}"
        return scores, summary

    def bag_of_words(self) -> Any:
        """What logistic regression on counts of words answers for the held-out texts; None where no text has words."""
        import numpy as np
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.pipeline import make_pipeline

        balanced = "balanced" if "class_weights" in self.data else None
        classifier = LogisticRegression(max_iter=1000, class_weight=balanced)
        if not self.single:
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
