"""Save a tokenizer in the form that transformers 4 and 5 read, under its name only when a reload gave the same ids."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pinfold.common.errors import UserError
from pinfold.fence.overlays import find_overlay
from pinfold.folder.tokenizer_files import TOKENIZER, portable_tokenizer
from pinfold.verify.matrix import choose

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

SAMPLES = (
    "The quick brown fox, 1984.",
    "the [MASK] of a\tsentence [MASK].",
    "Caf\u00e9 \u2014 na\u00efve \u4f60\u597d \U0001f600\u200d\U0001f4bb",
    "def f(x):\n    return x  # two\n\n",
    "",
)
# runs in any transformers version; no code of the tokenizer's is executed
RELOAD = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=False)
texts = json.loads(sys.stdin.buffer.read())
print("ids:" + json.dumps([tokenizer(t)["input_ids"] for t in texts] + [dict(tokenizer(texts[0], texts[1]))]))
"""


def save(
    tokenizer: "PreTrainedTokenizerFast", output: Path, overwrite: bool = False, versions: Iterable[str] = ()
) -> list[str]:
    """Save a tokenizer in the form that transformers 4 and 5 read, after a reload gave the same ids.

    Args:
        versions: transformers releases to compare in as well; "newest" is this environment's, in a fresh process.

    Returns:
        The releases that were compared.

    Raises:
        UserError: something else is there, or a reload gave other ids; nothing is written then.
    """
    chosen = choose(list(versions))[0] if versions else []
    with new_directory(output, overwrite) as directory:
        write_portable(tokenizer, directory)
        check_reload(tokenizer, directory)
        for version in chosen:
            if reloaded(directory, version) != _sample_ids(tokenizer):
                raise UserError(f"transformers {version} gives other ids than this one; nothing was written")
    return chosen


@contextmanager
def new_directory(output: Path, overwrite: bool = False) -> Iterator[Path]:
    """A directory that gets the name ``output`` when the block ends, and disappears when it fails.

    Raises:
        UserError: the output exists.
    """
    check_output(output, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        directory = work / "new"
        directory.mkdir()
        yield directory
        check_output(output, overwrite)
        if output.exists():
            output.rename(work / "old")
        try:
            directory.rename(output)
        except OSError:
            if (work / "old").exists():
                (work / "old").rename(output)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_output(output: Path, overwrite: bool, replace: str = ", or replace it with --overwrite") -> None:
    """Refuse an output before any work is done.

    Raises:
        UserError: a file or below one, or a directory that holds something else or that we are in.
    """
    if output.is_symlink() and not output.exists():
        raise UserError(f"{output}: a link to nothing; choose another --output")
    if files := [path for path in output.parents if path.exists() and not path.is_dir()]:
        raise UserError(f"{output}: {files[0]} is a file, so nothing can be below it; choose another --output")
    if output.resolve() in (Path.cwd(), *Path.cwd().parents):  # a directory that is replaced leaves a shell in it lost
        raise UserError(f"{output}: the directory you are in, or one above it; name a new one")
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: a file; --output is a directory, choose a new one")
    names = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if names and (names - set(TOKENIZER) or "tokenizer.json" not in names):
        raise UserError(f"{output} contains other files; choose a new or empty directory")
    if names and not overwrite:
        raise UserError(f"{output} already holds a tokenizer; choose another --output{replace}")


def write_portable(tokenizer: "PreTrainedTokenizerFast", directory: Path) -> None:
    """save_pretrained, with the names that every release knows."""
    tokenizer.save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    config = portable_tokenizer(json.loads(path.read_text(encoding="utf-8")))
    config["model_input_names"] = list(tokenizer.model_input_names)  # defaults differ between releases and classes
    path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def check_reload(tokenizer: "PreTrainedTokenizerFast", directory: Path) -> None:
    """Compare what was written with what is in memory.

    Raises:
        UserError: AutoTokenizer gives other ids.
    """
    from transformers import AutoTokenizer

    if _sample_ids(AutoTokenizer.from_pretrained(directory, trust_remote_code=False)) != _sample_ids(tokenizer):
        raise UserError("the saved tokenizer gives other ids than the one in memory; nothing was written")


def _sample_ids(tokenizer: "PreTrainedTokenizerFast") -> list[Any]:
    return [*(tokenizer(text)["input_ids"] for text in SAMPLES), dict(tokenizer(SAMPLES[0], SAMPLES[1]))]


def reloaded(directory: Path, version: str) -> list[Any]:
    """The ids of the samples in another transformers version, in a fresh process without network or token.

    Raises:
        UserError: it cannot be loaded there.
    """
    overlay = find_overlay(version)
    with tempfile.TemporaryDirectory(prefix="pinfold-") as home:
        passed = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "SYSTEMROOT", "LD_LIBRARY_PATH")}
        environment = passed | {"HOME": home, "HF_HOME": home, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": str(overlay)} if overlay else {}
        done = subprocess.run(
            [sys.executable, "-c", RELOAD, str(directory.absolute())],
            input=json.dumps(SAMPLES).encode(), capture_output=True, env=environment, cwd=home,
        )  # fmt: skip
    answers = [line for line in done.stdout.decode().splitlines() if line.startswith("ids:")]
    if done.returncode or not answers:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"])[-1]
        raise UserError(f"loading in transformers {version} failed: {reason[:300]}; nothing was written")
    return json.loads(answers[-1].removeprefix("ids:"))
