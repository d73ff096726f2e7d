"""``push(model, ...)``: publish a model in memory, with the steps of the command line."""

import re
import tempfile
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, one_line_in_scripts
from pinfold.flatten import NeedsConsent
from pinfold.push.flat import directory_of, folder_of
from pinfold.push.options import PushOptions
from pinfold.push.prepare import asked_of_flat
from pinfold.push.steps import Published, publish
from pinfold.staging.checkpoint import CodeFrom


@one_line_in_scripts
def push(
    model: Any,
    repo: str | None = None,
    *,
    tokenizer: Any = None,
    processor: Any = None,
    folder: str | Path | None = None,
    private: bool = False,
    branch: str = "main",
    tag: str | None = None,
    endpoint: str | None = None,
    token: str | None = None,
    message: str | None = None,
    max_shard_size: str = "5GB",
    code_from: str | None = None,
    versions: list[str] | None = None,
    yes: bool = False,
) -> Published:
    """Publish a model in memory, from a script or a notebook; the same steps as the command line.

    Args:
        model: a PreTrainedModel. Its class may lie in a model folder, a package, a script or a notebook.
        repo: "owner/name"; None publishes to the embedded Hub as local/<model_type>.
        tokenizer, processor: saved with it; anything with save_pretrained.
        folder: where the code is; found from the model's class by default. For a class in a package, a script or a
            notebook it is where a flat folder of its code is written, by default "<model_type>_model" here.
        endpoint: a Hub's URL, or "embedded"; beats HF_ENDPOINT.
        code_from: "owner/name@SHA" of a repository whose code these weights use; none is uploaded then.
        versions: transformers releases to verify with; those of the minimum matrix that are installed by default.
        yes: publish code that is taken from a script or a notebook without a question.

    Returns:
        Published, with the commit and the snippet that loads it.

    Raises:
        UserError: what to do, in one line, or in a line for each cause; nothing is visible on the Hub then, unless the
            line says so. A script that does not catch it ends with that line and exit code 2.
    """
    if not hasattr(model, "save_pretrained") or not hasattr(getattr(model, "config", None), "model_type"):
        raise UserError(f"{type(model).__name__} is not a PreTrainedModel; derive its class from PreTrainedModel")
    if ".transformers.models." in f".{type(model).__module__}":
        raise UserError(
            f"{type(model).__name__} is part of transformers; use model.push_to_hub, which needs no code on the Hub"
        )
    source, refused = Path(folder) if folder else None, None
    if code_from:  # its code is published already; what is needed is card.md
        source = source or directory_of(type(model))
    else:
        try:
            source = folder_of(model, source, [tokenizer, processor], yes)
        except NeedsConsent as error:
            refused = error
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        checkpoint = Path(temporary) / re.sub(r"\W+", "-", model.config.model_type)
        for part in (model, tokenizer, processor):
            if part is not None:
                part.save_pretrained(checkpoint)
        options = PushOptions(
            path=source,
            checkpoint=checkpoint,
            repo=repo,
            private=private,
            branch=branch,
            tag=tag,
            endpoint=endpoint,
            max_shard_size=max_shard_size,
            message=message,
            code_from=CodeFrom.parse(code_from) if code_from else None,
            versions=versions,
        )
        if refused:
            raise refused.and_also(asked_of_flat(options, refused, checkpoint))
        return publish(options, token=token, model=model)
