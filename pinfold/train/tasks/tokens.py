"""What all tasks on text share: where the tokenizer comes from, the model for it, and rows as a batch."""

import argparse
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError
from pinfold.tokenizer import train as tokenizer
from pinfold.train.classes import check_checkpoint, check_fit, fine_tuned, one_line, with_code

BYTES_A_WEIGHT = 16  # weight, gradient, and AdamW's two moments, in float32
IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index


def check_options(args: argparse.Namespace) -> None:
    """
    Raises:
        UserError: two sources of one tokenizer, or no tokenizer or checkpoint where they are said to be.
    """
    if args.tokenizer and args.vocab_size:
        raise UserError(f"--vocab-size={args.vocab_size}: --tokenizer brings its own; leave one of them out")
    if args.tokenizer and not (args.tokenizer / "tokenizer.json").is_file():
        raise UserError(f"--tokenizer={args.tokenizer}: no tokenizer.json; make one: pinfold tokenizer train")
    if args.start and args.vocab_size:
        raise UserError(f"--vocab-size={args.vocab_size}: --from brings its own tokenizer; leave it out")
    if args.start:
        check_checkpoint(args.start)


def loaded(where: Path) -> Any:
    """A tokenizer that was saved, alone or in a checkpoint.

    Raises:
        UserError: there is none that loads without running code, or it gives no places of its tokens.
    """
    from transformers import AutoTokenizer

    try:
        found = AutoTokenizer.from_pretrained(where, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # of many kinds
        raise UserError(f"{where}: no tokenizer that loads ({one_line(error)}); give one by --tokenizer") from None
    if not found.is_fast:
        raise UserError(f"{where}: a slow tokenizer, without tokenizer.json; save it by a fast class")
    return found


def wordpiece(texts: list[str], settings: dict, length: int, progress: bool, at_most: bool) -> Any:
    """A tokenizer that is trained on the texts to train on, in the manner of BERT's uncased ones."""
    return tokenizer.train(
        texts, "wordpiece", settings["vocab_size"], lowercase=True, model_max_length=length, progress=progress,
        at_most=at_most,
    )  # fmt: skip


def built(found: dict[str, type], auto: str, start: Path | None, made: Any, fields: dict, **how: Any) -> Any:
    """The model for a tokenizer: a new one, or a checkpoint's.

    Args:
        found: the folder's classes by their Auto class.
        made: the tokenizer.
        fields: of the configuration; of a checkpoint, those that differ from its own.
        how: "option" and "length", the examples' number of tokens and what it is called; "classifier" of fine_tuned;
            "ids", the tokenizer's special tokens that a new configuration is told.

    Raises:
        UserError: fields that the folder's classes refuse, a checkpoint or a tokenizer that does not fit, texts that
            are longer than the model reads, or a model that is larger than this machine's memory.
    """
    model_class = found[auto]
    try:
        if start is None:
            ids = {f"{name}_token_id": getattr(made, f"{name}_token_id") for name in how.get("ids", ("pad",))}
            config = model_class.config_class(**{"vocab_size": len(made), **ids, **fields})
            check_size(model_class, config)
            model = model_class(config)
        else:
            model = fine_tuned(model_class, start, fields, classifier=how.get("classifier", True))
    except UserError:
        raise
    except Exception as error:  # somebody else's constructor, or a damaged file: either may raise anything
        raise UserError(one_line(error)) from None
    check_fit(model.config, len(made), how["option"], how["length"])
    model.config.tokenizer_class = "PreTrainedTokenizerFast"  # pipelines of transformers 4 look for it here
    return with_code(model, found)


def check_size(model_class: type, config: Any) -> None:
    """
    Raises:
        UserError: training needs more memory than this machine has.
    """
    import torch

    if torch.cuda.is_available() or not hasattr(os, "sysconf"):
        return
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in model_class(config).parameters())
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if count * BYTES_A_WEIGHT > there:
        raise UserError(
            f"{count / 1e9:.1f} B parameters need {count * BYTES_A_WEIGHT / 1e9:.0f} GB to train, this machine has "
            f"{there / 1e9:.0f} GB; make the model smaller by --set, such as --set num_hidden_layers=4"
        )


def padded(rows: list[Any], fill: int) -> Any:
    """Rows of different lengths as a tensor (rows, longest), filled up on the right.

    >>> padded([[1, 2], [3]], 0).tolist()
    [[1, 2], [3, 0]]
    """
    import torch

    return torch.nn.utils.rnn.pad_sequence([torch.as_tensor(row) for row in rows], True, fill)


def batch_of(items: list[dict[str, Any]], made: Any, names: tuple[str, ...] = ("input_ids",)) -> dict[str, Any]:
    """The tokenizer's outputs of some examples, padded, with the mask of what is no padding."""
    fills = {"input_ids": made.pad_token_id or 0, "token_type_ids": made.pad_token_type_id}
    batch = {name: padded([item[name] for item in items], fills[name]) for name in names}
    lengths = padded([[len(item["input_ids"])] for item in items], 0)
    places = padded([range(batch["input_ids"].shape[1])], 0)
    return batch | {"attention_mask": (places < lengths).long()}


def digest(content: Any, tokenizer: Path | None) -> str:
    """Of the data and a tokenizer that was given: a training of others cannot be continued with these."""
    found = hashlib.sha256(json.dumps(content).encode())
    if tokenizer:
        found.update((tokenizer / "tokenizer.json").read_bytes())
    return found.hexdigest()
