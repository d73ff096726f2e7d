"""Configuration of a sentiment analyzer: a bidirectional LSTM over word embeddings, and a linear classifier.

- Papers: Hochreiter and Schmidhuber 1997 (LSTM, https://doi.org/10.1162/neco.1997.9.8.1735), Graves and
  Schmidhuber 2005 (both directions, https://doi.org/10.1016/j.neunet.2005.06.042).
- `num_classes`, transformers' `num_labels` and the labels themselves are one thing here: giving one gives all, a
  contradiction is an error. Three classes are negative, neutral and positive unless they are named.
"""

from typing import Any

from transformers import PretrainedConfig

CODE_DIGEST = ""  # filled in the published copy, so that two versions of this code never share loaded modules

POOLINGS = ("last", "mean", "max", "attention")
PROBLEMS = (None, "regression", "single_label_classification", "multi_label_classification")
SENTIMENTS = ("negative", "neutral", "positive")
LABEL_FIELDS = ("num_classes", "num_labels", "id2label", "label2id")
LARGEST = 2**31 - 1  # of a size: what is larger is a slip, and would be found out by running out of memory


class SentimentConfig(PretrainedConfig):
    """Sizes of the analyzer.

    Raises ValueError for a value that no model can be built from, with the cure.
    """

    model_type = "sentiment_analyzer"
    attribute_map = {  # noqa: RUF012 (transformers reads a plain dict)
        "num_classes": "num_labels",
        "hidden_size": "hidden_dim",
        "num_hidden_layers": "num_layers",
    }

    def __init__(
        self,
        vocab_size: int = 10000,
        embedding_dim: int = 128,
        hidden_dim: int = 256,  # of one direction: the classifier reads twice as many features
        num_layers: int = 2,
        num_classes: int | None = None,  # 3 unless num_labels or the labels say otherwise
        dropout: float = 0.3,  # of embeddings, between layers, and of what the classifier reads
        pad_token_id: int | None = 0,  # None: no embedding is kept at zero, and padding is told by the mask alone
        pooling: str = "last",  # each direction's last real step, or the mean, maximum or a learned mixture of all
        **kwargs: Any,
    ):
        self.vocab_size = vocab_size
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.num_layers = num_layers
        self.dropout = dropout
        self.pad_token_id = pad_token_id
        self.pooling = pooling
        self.check_architecture()
        given = {name: kwargs.pop(name, None) for name in LABEL_FIELDS[1:]}
        super().__init__(pad_token_id=pad_token_id, **labels(num_classes=num_classes, **given), **kwargs)

    def check_architecture(self) -> None:
        """Raise ValueError when no model can be built from the fields.

        The model calls it once more: `from_pretrained(..., pooling=...)` sets fields after construction.
        """
        for name in ("vocab_size", "embedding_dim", "hidden_dim", "num_layers"):
            value = getattr(self, name)
            most = 1000 if name == "num_layers" else LARGEST
            if not is_count(value) or value > most:
                raise ValueError(f"{name}={value!r} must be an integer from 1 to {most}; leave it out if unsure")
        if type(self.dropout) not in (int, float) or not 0 <= self.dropout < 1:
            raise ValueError(f"dropout={self.dropout!r} must be at least 0 and less than 1; use 0 for no dropout")
        pad = self.pad_token_id
        if pad is not None and not (type(pad) is int and 0 <= pad < self.vocab_size):
            last = self.vocab_size - 1
            raise ValueError(f"pad_token_id={pad!r} must be from 0 to {last}, or None for no padding token")
        # problem_type is transformers' own field, which it reads after this code at first
        for name, allowed in (("pooling", POOLINGS), ("problem_type", PROBLEMS)):
            value = getattr(self, name, None)
            if value not in allowed:
                raise ValueError(f"{name}={value!r} is not known; use {' or '.join(map(repr, allowed))}")

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "id2label" and value is not None:
            super().__setattr__("label2id", {label: int(i) for i, label in value.items()})

    def to_diff_dict(self) -> dict[str, Any]:
        # transformers 5 leaves out labels that equal its own default of two, and would then read our default of three
        return {**super().to_diff_dict(), "id2label": self.id2label, "label2id": self.label2id}

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any):
        # Labels given to from_pretrained replace the stored ones (fine-tuning). transformers 4 would set them after
        # construction and transformers 5 some of them before it, where they would contradict the stored ones.
        given = {name: kwargs.pop(name) for name in LABEL_FIELDS if name in kwargs}
        if given:
            config_dict = {name: value for name, value in config_dict.items() if name not in LABEL_FIELDS} | given
        if (
            "problem_type" in kwargs
        ):  # a classifier becomes a regression, and the stored kind would contradict one label
            config_dict = {**config_dict, "problem_type": kwargs.pop("problem_type")}
        return super().from_dict(config_dict, **kwargs)


def is_count(value: Any) -> bool:
    """True for an integer of at least one; True and False are no counts."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def labels(num_classes: Any, num_labels: Any, id2label: dict | None, label2id: dict | None) -> dict[str, dict]:
    """Complete id2label and label2id from whichever of the four was given; three sentiments if none was."""
    for name, given in (("id2label", id2label), ("label2id", label2id)):
        if given is not None and not isinstance(given, dict):
            raise ValueError(f"{name}={given!r} must be a dict, as in id2label={{0: 'bad', 1: 'good'}}")
    if label2id and not all(isinstance(i, int) for i in label2id.values()):
        raise ValueError(f"label2id={label2id!r} must give each name an integer, as in {{'bad': 0, 'good': 1}}")
    sizes = {"num_classes": num_classes, "num_labels": num_labels}
    sizes |= {
        name: len(given) for name, given in (("id2label", id2label), ("label2id", label2id)) if given is not None
    }
    sizes = {name: size for name, size in sizes.items() if size is not None} or {"num_classes": len(SENTIMENTS)}
    for name, size in sizes.items():
        if not is_count(size):
            raise ValueError(f"{name}={size!r} must be a positive integer; a classifier of two classes has 2")
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{name} says {size}" for name, size in sizes.items())
        raise ValueError(f"the number of classes is contradictory: {said}; give one of them")
    if id2label is None:
        size = next(iter(sizes.values()))
        names = SENTIMENTS if size == len(SENTIMENTS) else [f"LABEL_{i}" for i in range(size)]
        inverse = label2id or {label: i for i, label in enumerate(names)}
        id2label = {i: label for label, i in inverse.items()}
    id2label = {int(i): label for i, label in id2label.items()}  # JSON turns the ids into strings
    inverse = {label: i for i, label in id2label.items()}
    if sorted(id2label) != list(range(len(id2label))) or len(inverse) < len(id2label):
        raise ValueError(f"id2label must give each of the ids 0 to {len(id2label) - 1} a name of its own")
    if label2id is not None and label2id != inverse:
        raise ValueError("label2id contradicts id2label; give one of them")
    return {"id2label": id2label, "label2id": inverse}


SentimentConfig.register_for_auto_class()
