"""What a push was asked for, and the files that it starts from."""

import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pinfold.common.errors import UserError
from pinfold.common.files import read_json
from pinfold.folder.contents import describes_model, has_tokenizer
from pinfold.folder.filenames import INDEX, WEIGHTS
from pinfold.folder.human_half import read_human_half
from pinfold.folder.model_folder import ModelFolder, read_folder, read_modules
from pinfold.remote.commits import CommitOptions
from pinfold.remote.destination import EMBEDDED, check_endpoint, check_name
from pinfold.staging.checkpoint import CodeFrom, find_weights, parse_size, read_config
from pinfold.verify import matrix

DEMO = (Path("resnet_model"), Path("runs/resnet-digits"))


@dataclass(frozen=True)
class PushOptions(CommitOptions):
    """Everything that can be said of a push.

    Args:
        path: the model folder or a tokenizer's directory; with ``code_from`` the directory of card.md; None: the demo.
        checkpoint: what save_pretrained wrote; None: ``path``, or its one in runs/.
        repo: "owner/name"; None publishes to the embedded Hub under the checkpoint's name.
        dry_run: show the differences to the Hub, and upload nothing.
        endpoint: a Hub's URL, or "embedded"; overrides HF_ENDPOINT.
        code_from: the repository whose code these weights use; none is uploaded then.
        versions: transformers releases to verify with; None: those of the minimum matrix that are installed.
        flatten: "my.package.module:Class" or "script.py:Class"; ``path`` is where its flat folder is written.
        yes: publish what was taken from a script or a notebook without a question.
    """

    path: Path | None = None
    checkpoint: Path | None = None
    repo: str | None = None
    branch: str = "main"
    dry_run: bool = False
    endpoint: str | None = None
    max_shard_size: str = "5GB"
    code_from: CodeFrom | None = None
    versions: list[str] | None = None
    flatten: str | None = None
    yes: bool = False


@dataclass(frozen=True)
class Inputs:
    """The files that a push starts from.

    Args:
        path: holds card.md. kind: "weights" alone use the code of another repository.
        folder: the code; None where it is downloaded first.
    """

    path: Path
    checkpoint: Path
    kind: Literal["model", "tokenizer", "weights"]
    folder: ModelFolder | None


def resolve_inputs(options: PushOptions) -> Inputs:
    """Look at the disk: which folder, which checkpoint, and of which kind they are.

    Raises:
        UserError: options that contradict each other, or files that are missing.
    """
    check_options(options)
    if options.code_from:
        return _weights_alone(options)
    if options.path is None:
        return _demo(options.checkpoint)
    _check_converted(options.path, options.checkpoint or options.path)
    if options.checkpoint:
        return _folder_and_checkpoint(options.path, options.checkpoint)
    if (options.path / WEIGHTS).exists() or (options.path / INDEX).exists():
        return _inputs(options.path, options.path)
    if is_tokenizer(options.path):
        return _inputs(options.path, options.path)
    return _folder_with_checkpoint_in_runs(options.path)


def check_options(options: PushOptions) -> None:
    """Refuse what no files could make right.

    Raises:
        UserError: naming the option.
    """
    if options.create_pr and (options.pin or options.tag):
        raise UserError("--create-pr cannot be combined with --pin or --tag; tag and pin after the merge")
    if options.flatten and (options.code_from or options.pin):
        raise UserError("--flatten publishes new code, so it cannot be combined with --code-from or --pin; drop one")
    if options.pin and not re.fullmatch(r"[0-9a-f]{40}", options.pin):
        raise UserError(f"--pin={options.pin} is not a commit; give its full hash of 40 hex digits")
    for option, name in (("branch", options.branch), ("tag", options.tag)):
        if name is not None and not _is_ref_name(name):
            raise UserError(f"--{option}={name!r} is not a valid name for git; use letters, digits, '.', '-' and '_'")
    parse_size(options.max_shard_size)
    if options.versions:
        matrix.choose(options.versions)
    if options.endpoint not in (None, EMBEDDED):
        check_endpoint(options.endpoint)
    if options.repo is not None:
        check_name(options.repo)
    if options.code_from:
        check_name(options.code_from.repo, "--code-from")


def _is_ref_name(name: str) -> bool:
    return bool(re.fullmatch(r"\w[\w./-]{0,200}", name, re.ASCII)) and not re.search(r"\.\.|//|[./]$|\.lock", name)


def _check_converted(path: Path, checkpoint: Path) -> None:
    """Refuse a folder of a modular file from which nothing was written yet, unless it is what a load takes.

    Raises:
        UserError: the command that writes the files; with what card.md lacks.
    """
    modular = sorted(path.glob("modular_*.py"))
    beside = {each.stem for each in path.glob("*.py")} - {each.stem for each in modular}
    if not modular or any(name.endswith(each.stem.removeprefix("modular")) for each in modular for name in beside):
        return
    with contextlib.suppress(UserError, UnicodeDecodeError, AttributeError):
        declared = json.dumps(read_json(checkpoint / "config.json", "save_pretrained writes one").get("auto_map"))
        texts = [each.read_text(encoding="utf-8") for each in modular]
        if modular[0].stem in declared or any("register_for_auto_class" in text for text in texts):
            return
    lines = [
        f"{path} has {modular[0].name}, and not the files that a load takes; write them: "
        f"pinfold convert {modular[0]}, and save the checkpoint with the classes that they hold"
    ]
    try:
        read_human_half(path)
    except UserError as error:
        lines.append(str(error))
    raise UserError("\n  ".join(lines))


def _weights_alone(options: PushOptions) -> Inputs:
    path = options.path or options.checkpoint
    if path is None or not path.is_dir():
        raise UserError(
            "--code-from needs weights; run pinfold push DIR --code-from OWNER/NAME@SHA, with card.md in DIR as well"
        )
    checkpoint = options.checkpoint or path
    find_weights(checkpoint)  # first: DIR may be that of card.md alone
    read_config(checkpoint)
    return Inputs(path, checkpoint, "weights", None)


def _demo(checkpoint: Path | None) -> Inputs:
    path, trained = DEMO
    if not checkpoint and not trained.exists():
        raise UserError(f"{trained} not found; train it: pinfold train {path} --data digits --output {trained}")
    return _inputs(path, checkpoint or trained)


def _folder_and_checkpoint(path: Path, checkpoint: Path) -> Inputs:
    folder = read_folder(path)
    if not checkpoint.is_dir():
        raise UserError(f"--checkpoint={checkpoint} is not a directory; pass the one save_pretrained wrote")
    return _inputs(path, checkpoint, folder)


def _folder_with_checkpoint_in_runs(path: Path) -> Inputs:
    folder = read_folder(path)  # a folder that is not there is the first thing to say
    fitting = [config.parent for config in sorted(Path("runs").glob("*/config.json")) if _same_type(config, path)]
    if len(fitting) != 1:
        candidates = f"found {', '.join(map(str, fitting))}" if fitting else "none found in runs/"
        raise UserError(f"{path} holds no weights; give a checkpoint with --checkpoint DIR ({candidates})")
    return _inputs(path, fitting[0], folder)


def _inputs(path: Path, checkpoint: Path, folder: ModelFolder | None = None) -> Inputs:
    if path == checkpoint and is_tokenizer(path):
        return Inputs(path, checkpoint, "tokenizer", read_modules(path))
    folder = folder or read_folder(path)
    read_config(checkpoint)  # before a Hub is asked, or started
    return Inputs(path, checkpoint, "model", folder)


def is_tokenizer(path: Path) -> bool:
    """Whether a directory holds a tokenizer and nothing of a model."""
    if not path.is_dir() or not has_tokenizer(path) or describes_model(path):
        return False
    return not any(p.suffix == ".safetensors" or p.name.startswith("modeling") for p in path.iterdir())


def _same_type(config: Path, folder: Path) -> bool:
    """Whether a checkpoint's model_type is one that the folder's code declares."""
    try:
        model_type = json.loads(config.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        return False
    return model_type is not None and any(
        repr(model_type) in _declared_types(file.read_text(encoding="utf-8")) for file in folder.glob("*.py")
    )


def _declared_types(source: str) -> set[str]:
    types = re.findall(r"^\s+model_type\s*(?::\s*\w+\s*)?=\s*[\"'](.+?)[\"']", source, re.MULTILINE)
    return {f"'{name}'" for name in types}
