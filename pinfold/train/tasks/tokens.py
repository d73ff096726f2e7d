"""What all tasks on text share: where the tokenizer comes from, the model for it, and rows as a batch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, one_line
from pinfold.common.memory import total_memory
from pinfold.tokenizer.train import train as train_tokenizer
from pinfold.train.classes import check_checkpoint, check_fit, fine_tuned, with_code
from pinfold.train.options import Options

BYTES_A_WEIGHT = 16  # weight, gradient, and AdamW's two moments, in float32
IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index


def check_options(options: Options) -> None:
    """Check where tokenizer and checkpoint come from.

    Raises:
        UserError: two sources of one tokenizer, or a directory without tokenizer or checkpoint.
    """
    if options.tokenizer and options.vocab_size:
        raise UserError(f"--vocab-size={options.vocab_size}: --tokenizer brings its own; leave one of them out")
    if options.tokenizer and not (options.tokenizer / "tokenizer.json").is_file():
        raise UserError(f"--tokenizer={options.tokenizer}: no tokenizer.json; make one: pinfold tokenizer train")
    if options.start and options.vocab_size:
        raise UserError(f"--vocab-size={options.vocab_size}: --from brings its own tokenizer; leave it out")
    if options.start:
        check_checkpoint(options.start)


def load_tokenizer(where: Path) -> Any:
    """Load a tokenizer that was saved, alone or in a checkpoint.

    Raises:
        UserError: none loads without running code, or it cannot say where its tokens are in the text.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(where, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # of many kinds
        raise UserError(f"{where}: no tokenizer that loads ({one_line(error)}); give one with --tokenizer") from None
    if not tokenizer.is_fast:
        raise UserError(f"{where}: a slow tokenizer, without tokenizer.json; save it with a fast class")
    return tokenizer


def train_wordpiece(texts: list[str], settings: dict[str, Any], length: int, progress: bool, at_most: bool) -> Any:
    """Train a tokenizer on the texts to train on, in the manner of BERT's uncased ones."""
    return train_tokenizer(
        texts, "wordpiece", settings["vocab_size"], lowercase=True, model_max_length=length, progress=progress,
        at_most=at_most,
    )  # fmt: skip


def build_model(
    classes: dict[str, type],
    auto: str,
    start: Path | None,
    tokenizer: Any,
    fields: dict[str, Any],
    *,
    option: str,
    length: int,
    classifier: bool = True,
    special_ids: tuple[str, ...] = ("pad",),
) -> Any:
    """Make the model for a tokenizer: a new one, or a checkpoint's.

    Args:
        classes: the folder's classes by their Auto class.
        fields: of the configuration; of a checkpoint, those that differ from its own.
        option, length: the examples' number of tokens, and the option that sets it.
        classifier: as in `fine_tuned`.
        special_ids: the tokenizer's special tokens whose ids a new configuration holds.

    Raises:
        UserError: fields that the folder's classes refuse, a checkpoint or a tokenizer that does not fit, texts that
            are longer than the model reads, or a model that is larger than this machine's memory.
    """
    model_class: Any = classes[auto]
    try:
        if start is None:
            ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in special_ids}
            config = model_class.config_class(**{"vocab_size": len(tokenizer), **ids, **fields})
            check_size(model_class, config)
            model = model_class(config)
        else:
            model = fine_tuned(model_class, start, fields, classifier=classifier)
    except UserError:
        raise
    except Exception as error:  # a stranger's constructor, or a damaged file: either may raise anything
        raise UserError(one_line(error)) from None
    check_fit(model.config, len(tokenizer), option, length)
    model.config.tokenizer_class = "PreTrainedTokenizerFast"  # pipelines of transformers 4 look for it here
    return with_code(model, classes)


def check_size(model_class: type, config: Any) -> None:
    """Check that weights, gradients and the optimizer's moments fit into memory.

    Raises:
        UserError: training needs more memory than this machine has.
    """
    import torch

    if torch.cuda.is_available():
        return
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in model_class(config).parameters())
    memory = total_memory()
    if count * BYTES_A_WEIGHT > memory:
        raise UserError(
            f"{count / 1e9:.1f} B parameters need {count * BYTES_A_WEIGHT / 1e9:.0f} GB to train, but this machine "
            f"has {memory / 1e9:.0f} GB; make the model smaller with --set, such as --set num_hidden_layers=4"
        )


def padded(rows: list[Any], fill: int) -> Any:
    """Rows of different lengths as a tensor (rows, longest), filled up on the right.

    >>> padded([[1, 2], [3]], 0).tolist()
    [[1, 2], [3, 0]]
    """
    import torch

    return torch.nn.utils.rnn.pad_sequence([torch.as_tensor(row) for row in rows], True, fill)


def batch_of(items: list[dict[str, Any]], tokenizer: Any, names: tuple[str, ...] = ("input_ids",)) -> dict[str, Any]:
    """The tokenizer's outputs of some examples, padded, with a mask that is 1 where there is a token."""
    fills = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id}
    batch = {name: padded([item[name] for item in items], fills[name]) for name in names}
    lengths = padded([[len(item["input_ids"])] for item in items], 0)  # (rows, 1)
    positions = padded([range(batch["input_ids"].shape[1])], 0)  # (1, longest)
    return batch | {"attention_mask": (positions < lengths).long()}


def logits_of(prediction: Any) -> Any:
    """The logits of transformers' EvalPrediction: a model may return more behind them."""
    return prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions


def content_digest(content: Any, tokenizer: Path | None) -> str:
    """sha256 of data and --tokenizer: a training on others cannot be continued with these."""
    digest = hashlib.sha256(json.dumps(content).encode())
    if tokenizer:
        digest.update((tokenizer / "tokenizer.json").read_bytes())
    return digest.hexdigest()
