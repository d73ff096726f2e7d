"""What a training needs to know of its task: data, model, batches and metrics; and what the tasks have in common."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pinfold.common.errors import UserError, missing_extra
from pinfold.tokenizer.save import write_portable
from pinfold.train.options import Options
from pinfold.train.tasks.tokens import check_options


class Task:
    """One task of `pinfold train`. Its data is read when it is made, its model and its examples later, by `make`.

    Every task overrides the methods that raise NotImplementedError here.
    """

    name: ClassVar[str]  # as --task names it
    auto: ClassVar[str]  # the Auto class of its models
    defaults: ClassVar[dict[str, Any]]  # options with a value of this task
    options: ClassVar[frozenset[str]] = frozenset()  # further options that it accepts
    parts: ClassVar[dict[str, str]] = {}  # what --set reaches beside the configuration, and the Auto class of it
    processor: ClassVar[str] = "text"  # what makes its batches, in the message that model and data do not fit
    labels: ClassVar[tuple[str, ...]] = ("labels",)  # the keys of a batch that the model is not to see as inputs
    unit: ClassVar[str]  # what its metrics count
    held_out_by_default: ClassVar[float] = 0.2

    keeps_best: ClassVar[bool] = False  # whether the epoch with the lowest held-out loss is kept, instead of the last
    new_head: ClassVar[bool] = False  # whether low-rank adapters leave a new head to be trained whole
    grouped: bool = False  # whether batches hold examples of like length, so that they have little padding
    reduce: Callable[[Any, Any], Any] | None = None  # logits and labels to what is kept of them in an evaluation
    epoch = 0  # that is being trained, for tasks that draw anew in each

    data: dict[str, Any]  # name, description and size of the data
    split: dict[str, Any]  # how the held-out part was drawn
    train: list[Any]
    held: list[Any]

    def __init__(self, options: Options):
        self.start = options.start
        self.seed = options.seed
        self.fraction = self.held_out_by_default if options.eval_fraction is None else options.eval_fraction
        self.train = []
        self.held = []

    def make(self, classes: dict[str, type], settings: dict[str, Any]) -> Any:
        """Make model, processor and examples, and return the model.

        Args:
            classes: the folder's classes by their Auto class.
            settings: of the training; "fields" has those of each part that differ from its defaults, or from the
                checkpoint's.

        Raises:
            UserError: fields that the folder's classes refuse, or a checkpoint or data that do not fit.
        """
        raise NotImplementedError

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Examples as a batch that the model takes."""
        raise NotImplementedError

    def loss(self) -> Callable[..., Any] | None:
        """A loss for Trainer; None: the model's own."""
        return None

    def metrics(self, prediction: Any) -> dict[str, float]:
        """What Trainer computes after every epoch, from transformers' EvalPrediction."""
        raise NotImplementedError

    def described(self) -> str:
        """What is printed behind the number of parameters."""
        raise NotImplementedError

    def results(self, measured: dict[str, float]) -> tuple[dict[str, Any], int, str]:
        """Metrics, of how many units, and a line that says so.

        Args:
            measured: what the last evaluation returned.
        """
        raise NotImplementedError

    def save(self, directory: Path) -> None:
        """Save what makes the model's inputs."""
        raise NotImplementedError


class TextTask(Task):
    """A task whose inputs are tokens: the tokenizer is --tokenizer, the checkpoint's, or trained on the text."""

    def __init__(self, options: Options):
        super().__init__(options)
        check_options(options)
        self.given_tokenizer = options.tokenizer
        self.at_most = options.vocab_size is None  # the default size: fewer tokens are fine where the text has no more
        self.progress = os.isatty(2)
        self.tokenizer: Any = None

    def save(self, directory: Path) -> None:
        """Save the tokenizer in the form that transformers 4 and 5 read."""
        write_portable(self.tokenizer, directory)


def check_sklearn(extras: str = "train") -> None:
    """Ask for scikit-learn before data is read, which may take a while.

    Raises:
        UserError: it is not installed.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise missing_extra("train", extras, error) from None


def hold_out(
    count: int, fraction: float, seed: int, unit: str, classes: Sequence[int] | None = None, groups: Any = None
) -> tuple[list[int], list[int]]:
    """Draw positions to train on and positions held out.

    Args:
        unit: what is counted, in the message.
        classes: of each position; the same fraction of every class is held out.
        groups: of each position; a group is held out as a whole, and the fraction is one of groups.

    Raises:
        UserError: there are too few for both parts.
    """
    from sklearn.model_selection import GroupShuffleSplit, train_test_split

    try:
        if groups is not None:
            splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed)
            train, held = next(splitter.split(range(count), groups=groups))
            return train.tolist(), held.tolist()
        return tuple(train_test_split(range(count), test_size=fraction, stratify=classes, random_state=seed))
    except ValueError as error:
        drawn = count if groups is None else len(set(groups))
        smallest = f", the smallest class having {min(Counter(classes).values())}" if classes else ""
        raise UserError(
            f"cannot hold out {fraction:.0%} of {drawn} {unit}{smallest} ({error}); add {unit}, or change "
            "--eval-fraction"
        ) from None
