"""The options of one training, as the command line gives them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Options of a training; None: not given, so that the preset or the task decides.

    Args:
        start: the checkpoint to fine-tune (--from).
        fields: KEY=VALUE of the configuration or the processor (--set).
    """

    folder: Path
    data: str
    output: Path
    task: str | None = None
    start: Path | None = None
    fields: Sequence[str] = ()
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    warmup: float | None = None
    tokenizer: Path | None = None
    vocab_size: int | None = None
    block_size: int | None = None
    max_length: int | None = None
    text_column: str | None = None
    label_column: str | None = None
    problem: str | None = None
    class_weights: str | None = None
    eval_fraction: float | None = None
    patience: int | None = None
    packing: str | None = None
    accumulate: int = 1
    gradient_checkpointing: bool = False
    compile: bool = False
    lora: int | None = None
    fsdp: bool = False
    seed: int = 0
    precision: str = "auto"
    overwrite: bool = False
