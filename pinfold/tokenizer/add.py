"""Add tokens to a tokenizer, and rows for them to the embeddings of a model."""

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, first_line
from pinfold.folder.model_folder import read_folder
from pinfold.tokenizer.save import check_output, check_reload, new_directory, write_portable


def add_tokens(
    tokenizer_dir: Path,
    tokens: list[str],
    output: Path,
    checkpoint: Path | None = None,
    folder: Path | None = None,
    pad_to_multiple_of: int | None = None,
) -> str:
    """Save a tokenizer with more tokens; with a checkpoint, its model with more rows beside it.

    Args:
        folder: the model folder with the checkpoint's code, which is executed; without it, a stock model.

    Returns:
        What was done, for the user.

    Raises:
        UserError: a token is there already, or the model does not fit; nothing is written then.
    """
    from transformers import AutoTokenizer

    if not (tokenizer_dir / "tokenizer_config.json").is_file():
        raise UserError(
            f"{tokenizer_dir}: no tokenizer_config.json there; give a directory that save_pretrained wrote"
        )
    if checkpoint is None and (folder or pad_to_multiple_of):
        raise UserError("--folder and --pad-to-multiple-of are for the model of a --checkpoint; give that as well")
    check_output(output, overwrite=False, replace="")
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_dir, trust_remote_code=False)
    except Exception as error:  # of many kinds, as what is read there can be anything
        raise UserError(f"{tokenizer_dir}: {_line(error)}; give a tokenizer that AutoTokenizer loads") from None
    before = len(tokenizer)
    _check_tokens(tokenizer, tokens)
    tokenizer.add_tokens(tokens)
    # only now, as a normalizer may change a token in a text so that it never matches
    if lost := [token for token in tokens if tokenizer.convert_tokens_to_ids(token) not in _ids_of(tokenizer, token)]:
        raise UserError(
            f"TOKEN={lost[0]!r} would never match, because this tokenizer's normalizer changes it; choose a token "
            "that it leaves unchanged"
        )
    summary = f"{tokenizer_dir}: {before} tokens, now {len(tokenizer)}"
    with tempfile.TemporaryDirectory(prefix="pinfold_") as work, new_directory(output) as directory:
        if checkpoint is not None:
            model, loader, options = load_model(checkpoint, folder, Path(work))
            _check_embeddings(model)
            summary += "; " + resize(model, before, len(tokenizer), pad_to_multiple_of)
            _save_model(model, directory, loader, options)
        write_portable(tokenizer, directory)
        check_reload(tokenizer, directory)
    return f"{summary}\nwrote {output}"


def _check_tokens(tokenizer: Any, tokens: list[str]) -> None:
    """Refuse tokens that are given twice, known already or empty."""
    if twice := [token for token, count in Counter(tokens).items() if count > 1]:
        raise UserError(f"TOKEN={twice[0]!r} given twice; give each once")
    known = tokenizer.get_vocab()
    if present := [token for token in tokens if token in known]:
        raise UserError(f"TOKEN={present[0]!r} is in the vocabulary already, as {known[present[0]]}; leave it out")
    if any(not token.strip() for token in tokens):
        raise UserError("TOKEN is empty; give a word such as '<code>'")


def _save_model(model: Any, directory: Path, loader: Any, options: dict[str, Any]) -> None:
    """Save the model, and check that it loads again with as many rows, tied as before."""
    tied = is_tied(model)
    rows = model.get_input_embeddings().weight.shape[0]
    model.save_pretrained(directory)
    try:
        reloaded = loader.from_pretrained(directory, **options)
    except Exception as error:  # of a folder's code
        raise UserError(f"the saved model does not load again: {_line(error)}; nothing was written") from None
    check_rows(reloaded, rows, tied)


def _ids_of(tokenizer: Any, token: str) -> list[int]:
    return tokenizer(f"a {token} b")["input_ids"]


def load_model(checkpoint: Path, folder: Path | None, work: Path) -> tuple[Any, Any, dict[str, Any]]:
    """The checkpoint's model, with the class that loaded it and that one's options.

    Raises:
        UserError: no such checkpoint or class.
    """
    import transformers

    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        name = (config.get("architectures") or [None])[0]
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        raise UserError(f"{checkpoint}: no config.json that can be read; give what save_pretrained wrote") from None
    options: dict[str, Any] = {}
    if folder is None:
        source = checkpoint
        loader = getattr(transformers, str(name), None)
        if config.get("auto_map") or loader is None or not hasattr(loader, "from_pretrained"):
            raise UserError(f"{checkpoint}: {name} is not part of transformers; name its code's folder with --folder")
    else:
        auto_map = read_folder(folder).auto_map()
        autos = [auto for auto, reference in auto_map.items() if reference.split(".")[-1] == name]
        if not autos:
            raise UserError(
                f"{folder}: does not register {name}, which {checkpoint} was saved from; give its own folder"
            )
        # code of the folder and weights of the checkpoint in one directory, as from_pretrained wants them
        source = work / work.name
        loader = getattr(transformers, autos[0])
        options = {"trust_remote_code": True}
        source.mkdir()
        for path in [*checkpoint.glob("*.safetensors*"), *checkpoint.glob("generation_config.json")]:
            (source / path.name).symlink_to(path.resolve())
        for path in folder.glob("*.py"):
            shutil.copyfile(path, source / path.name)
        (source / "config.json").write_text(json.dumps(config | {"auto_map": auto_map}), encoding="utf-8")
    try:
        return loader.from_pretrained(source, **options), loader, options
    except Exception as error:  # of the weights' readers, of transformers, of a folder's code
        raise UserError(f"{checkpoint}: {_line(error)}; give a checkpoint that loads") from None


def resize(model: Any, before: int, after: int, multiple: int | None) -> str:
    """Give the embeddings a row for each token; rows that are there already are never taken away.

    Raises:
        UserError: the checkpoint has another vocabulary, or the model does not follow the change.
    """
    import torch

    rows = model.get_input_embeddings().weight.shape[0]
    tied = is_tied(model)
    if before > rows:
        raise UserError(
            f"the checkpoint has {rows} embeddings and the tokenizer {before} tokens; give its own tokenizer"
        )
    scored = _widths(model)
    torch.manual_seed(0)  # new rows are drawn around the mean of the others
    try:
        model.resize_token_embeddings(max(rows, after), pad_to_multiple_of=multiple)
    except Exception as error:  # of a folder's code
        raise UserError(f"{type(model).__name__}.resize_token_embeddings: {_line(error)}; correct it") from None
    now = model.get_input_embeddings().weight.shape[0]
    check_rows(model, now, tied)
    # a bias may lie anywhere in a head: whether it followed is seen by running it
    if scored is not None and _widths(model) != {
        name: now if width == rows else width for name, width in scored.items()
    }:
        raise UserError(
            f"after resizing to {now} rows, {type(model).__name__} still scores another number of tokens; resize its "
            "head (such as a separate bias) in resize_token_embeddings; nothing was written"
        )
    return f"embeddings {rows} rows, now {now}" + (", tied to the output as before" if tied else "")


def _widths(model: Any) -> dict[str, int] | None:
    """How many scores each of the model's logits has; None where it needs other inputs than ids."""
    import torch

    ids = torch.zeros(1, 2, dtype=torch.long, device=model.get_input_embeddings().weight.device)
    try:
        with torch.no_grad():
            outputs = model(input_ids=ids, return_dict=True)
        return {name: value.shape[-1] for name, value in outputs.items() if "logits" in name}
    except Exception:  # of any model's code
        return None


def _check_embeddings(model: Any) -> None:
    try:
        model.get_input_embeddings().weight  # noqa: B018
    except (NotImplementedError, AttributeError):  # what transformers raises where it cannot guess them
        raise UserError(
            f"{type(model).__name__} has no get_input_embeddings; define it, and set_input_embeddings"
        ) from None


def is_tied(model: Any) -> bool:
    """Whether input and output embeddings are one tensor."""
    output = model.get_output_embeddings()
    return output is not None and output.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def check_rows(model: Any, rows: int, tied: bool) -> None:
    """Check that all parts of a model have followed its embeddings.

    Raises:
        UserError: embeddings, output, bias and configuration do not all have this many rows, or are not tied as
            before.
    """
    output = model.get_output_embeddings()
    row_counts = {
        "embeddings": model.get_input_embeddings().weight.shape[0],
        "config.vocab_size": model.config.get_text_config().vocab_size,
    }
    if output is not None:
        row_counts["output"] = output.weight.shape[0]
        if getattr(output, "bias", None) is not None:
            row_counts["output bias"] = output.bias.shape[0]
    if wrong := [f"{name} {value}" for name, value in row_counts.items() if value != rows]:
        raise UserError(
            f"after resizing to {rows} rows: {', '.join(wrong)}; the model must follow, nothing was written"
        )
    if is_tied(model) != tied:
        raise UserError("resizing untied input and output embeddings; the model must tie them, nothing was written")


def _line(error: Exception) -> str:
    return first_line(error)[:300]
