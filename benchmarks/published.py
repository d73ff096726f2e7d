"""What happens to folders of model code that are pushed as their authors would: one row for each.

    python benchmarks/published.py FOLDER[=CHECKPOINT] ... [--versions 4.48.3 newest] [--corrected DIR] [--keep DIR]

Each folder is copied and pushed to an embedded Hub of its own; a script is copied into a folder and run, and pushes by
itself. Where a push prints a probe.json, that one is put beside the card, and where DIR/NAME of --corrected DIR holds
files, those that the folder's author has changed after reading the refusal, they are copied over it once (and
DIR/NAME.checkpoint takes the checkpoint's place, where it was saved anew); and the push is tried again. Any other
refusal ends the row with its line. Then the code of the card's example runs in fresh processes with empty caches, in
the oldest release that the card claims and in the newest. --keep DIR keeps the copies, what each push printed
(DIR/logs/NAME.1, NAME.2), and the Hub: what was published can be used after it.

The columns: how often it was pushed; whether it is published; whether it loads pinned; whether generate gives the same
tokens with and without a cache, in beams and behind padding ("-" where the model cannot generate); half precision; the
example of the card in the oldest release / in the newest.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pinfold.common.hub_data import VARIABLE  # noqa: E402
from pinfold.fence.overlays import find_overlay, is_made  # noqa: E402
from pinfold.remote import destination  # noqa: E402

TRIES = 3
DEFAULT = ["resnet_model=runs/resnet-digits", "sentiment_model=runs/sentiment-demo"]
DEFAULT += ["decoder_model=runs/decoder-demo", "bert_model=runs/bert-demo"]


@dataclass
class Row:
    """One folder's line of the table."""

    folder: str
    tries: int = 0
    published: str = "no"
    pinned: str = "no"
    generate: str = "-"
    half: str = "-"
    example: str = "-"
    why: str = ""

    def line(self) -> str:
        """The line in Markdown."""
        cells = [self.folder, str(self.tries), self.published, self.pinned, self.generate, self.half, self.example]
        return f"| {' | '.join([*cells, ' '.join(self.why.split()).replace('|', '/')[:200]])} |"


def main() -> int:
    """Print the table, a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", default=DEFAULT, metavar="FOLDER[=CHECKPOINT]")
    parser.add_argument("--versions", nargs="+", default=["4.48.3", "newest"])
    parser.add_argument("--corrected", type=Path, metavar="DIR")
    parser.add_argument("--keep", type=Path, metavar="DIR")
    arguments = parser.parse_args()
    print("| folder | tries | published | loads pinned | generate equal | half | example, oldest / newest | why |")
    print("| --- | ---: | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="published-") as unkept, contextlib.ExitStack() as stack:
        work = (arguments.keep or Path(unkept)).resolve()
        server = stack.enter_context(destination.running(work / "hub"))
        for each in arguments.folders:
            folder, _, checkpoint = each.partition("=")
            corrected = arguments.corrected and arguments.corrected / Path(folder).stem
            versions = arguments.versions
            print(_row(Path(folder), Path(checkpoint or folder), corrected, work, server, versions), flush=True)
    return 0


def _row(folder: Path, checkpoint: Path, corrected: Path | None, work: Path, server: dict, versions: list[str]) -> str:
    row = Row(folder.stem)
    copied = work / "folders" / folder.stem
    shutil.rmtree(copied, ignore_errors=True)
    if folder.is_file():
        copied.mkdir(parents=True)
        shutil.copy(folder, copied)
    else:
        shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("__pycache__"))
    pushed = copied / folder.name if folder.is_file() else copied
    weights = pushed if checkpoint.resolve() == folder.resolve() else checkpoint.resolve()
    out = ""
    while row.tries < TRIES:
        row.tries += 1
        done = _push(pushed, weights, work, server, versions)
        (work / "logs").mkdir(exist_ok=True)
        (work / "logs" / f"{row.folder}.{row.tries}").write_text(done.stdout + done.stderr, encoding="utf-8")
        out, why = done.stdout, _refusal(done)
        row.why = why
        offered = re.search(r"put probe\.json beside card\.md; forward takes this one:\s*(\{.*)", why, re.DOTALL)
        again = bool(corrected and corrected.is_dir())
        if not why or not (offered or again):
            break
        if corrected and again:
            shutil.copytree(corrected, copied, dirs_exist_ok=True)
            if (anew := corrected.with_name(f"{corrected.name}.checkpoint")).is_dir():
                weights = anew.resolve()
            corrected = None
        if offered:
            beside = next((card.parent for card in copied.rglob("card.md")), copied)
            probe, _ = json.JSONDecoder().raw_decode(offered[1])
            (beside / "probe.json").write_text(json.dumps(probe))
    if row.why:
        return row.line()
    row.published = "yes"
    row.pinned = "yes" if "from an empty cache: tensors and outputs equal" in out else "no"
    row.generate = "yes" if "outputs and generated tokens equal" in out else "-"
    failing = re.findall(r"forward fails in (\w+)", out)
    row.half = f"said: fails in {', '.join(failing)}" if failing else "runs"
    at = re.search(r"^Published (\S+) at", out, re.MULTILINE)
    row.example = _examples(at[1], work, server) if at else "-"
    return row.line()


def _push(
    folder: Path, checkpoint: Path, work: Path, server: dict, versions: list[str]
) -> subprocess.CompletedProcess:
    """The push that has ended; a script's ends with what the script does after it."""
    command = [sys.executable, "-m", "pinfold", "push", str(folder), "--checkpoint", str(checkpoint)]
    command += ["--repo", f"local/{folder.name}", "--endpoint", _url(server), "--versions", *versions]
    if folder.is_file():
        command = [sys.executable, str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_TOKEN": server["token"], VARIABLE: str(work / "hub")}
    cwd = folder.parent if folder.is_file() else ROOT
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)


def _refusal(done: subprocess.CompletedProcess) -> str:
    """The line that ended a push, with those below it; "" where it was published."""
    if done.returncode == 0:
        return ""
    at = [match.start() for match in re.finditer(r"^pinfold[\w ]*: ", done.stderr, re.MULTILINE)]
    return done.stderr[at[-1] :].strip() if at else f"exit code {done.returncode}"


def _url(server: dict) -> str:
    return f"http://127.0.0.1:{server['port']}"


def _examples(repo: str, work: Path, server: dict) -> str:
    """Whether the card's Python runs in the two releases."""
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint=_url(server), token=server["token"])
    with tempfile.TemporaryDirectory(dir=work) as home:
        text = Path(api.hf_hub_download(repo, "README.md", cache_dir=home)).read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    claimed = re.search(r"transformers ([\d., ]+) \|", text)
    oldest = claimed[1].split(",")[0].strip() if claimed else "newest"
    overlays = [find_overlay(oldest)] if oldest == "newest" or is_made(oldest) else []
    return " / ".join(_run("\n".join(programs[:1]), overlay, work, server) for overlay in [*overlays, None])


def _run(program: str, overlay: Path | None, work: Path, server: dict) -> str:
    with tempfile.TemporaryDirectory(dir=work) as home:
        environment = os.environ | {
            "HF_HOME": home, "HF_ENDPOINT": _url(server), "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
            "PYTHONPATH": str(overlay or ""), "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        environment.pop("HF_TOKEN", None)
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=home, env=environment, capture_output=True, text=True
        )
    if done.returncode == 0:
        return "runs"
    return (done.stderr.strip().splitlines() or ["ended"])[-1][:80]


if __name__ == "__main__":
    sys.exit(main())
