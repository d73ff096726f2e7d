"""What happens to folders of model code that are pushed as their authors would: one row for each.

    python benchmarks/published.py FOLDER[=CHECKPOINT] ... [--versions 4.48.3 newest] [--corrected DIR]

Each folder is copied and pushed to an embedded Hub of its own. Where a push prints a probe.json, that one is put
beside the card, and where DIR/NAME of --corrected DIR holds files, those that the folder's author has changed after
reading the refusal, they are copied over it once; and the push is tried again. Any other refusal ends the row with
its line. Then
the code of the card's example runs in fresh processes with empty caches, in the oldest release that the card claims
and in the newest.

The columns: how often it was pushed; whether it is published; whether it loads pinned; whether generate gives the same
tokens with and without a cache, in beams and behind padding ("-" where the model cannot generate); half precision; the
example of the card in the oldest release / in the newest.
"""

import argparse
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
    arguments = parser.parse_args()
    print("| folder | tries | published | loads pinned | generate equal | half | example, oldest / newest | why |")
    print("| --- | ---: | --- | --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory(prefix="published-") as work, destination.running(Path(work) / "hub") as server:
        for each in arguments.folders:
            folder, _, checkpoint = each.partition("=")
            corrected = arguments.corrected and arguments.corrected / Path(folder).name
            versions = arguments.versions
            print(_row(Path(folder), Path(checkpoint or folder), corrected, Path(work), server, versions), flush=True)
    return 0


def _row(folder: Path, checkpoint: Path, corrected: Path | None, work: Path, server: dict, versions: list[str]) -> str:
    row = Row(folder.name)
    copied = work / "folders" / folder.name
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("__pycache__"))
    same = checkpoint.resolve() == folder.resolve()
    out = ""
    while row.tries < TRIES:
        row.tries += 1
        out, why = _push(copied, copied if same else checkpoint.resolve(), work, server, versions)
        row.why = why
        offered = re.search(r"put probe\.json beside card\.md; forward takes this one: (\{.*\})", why)
        again = bool(corrected and corrected.is_dir())
        if not why or not (offered or again):
            break
        if offered:
            (copied / "probe.json").write_text(offered[1])
        if corrected and again:
            shutil.copytree(corrected, copied, dirs_exist_ok=True)
            corrected = None
    if row.why:
        return row.line()
    row.published = "yes"
    row.pinned = "yes" if "from an empty cache: tensors and outputs equal" in out else "no"
    row.generate = "yes" if "outputs and generated tokens equal" in out else "-"
    failing = re.findall(r"forward fails in (\w+)", out)
    row.half = f"said: fails in {', '.join(failing)}" if failing else "runs"
    row.example = _examples(folder.name, work, server)
    return row.line()


def _push(folder: Path, checkpoint: Path, work: Path, server: dict, versions: list[str]) -> tuple[str, str]:
    """The output, and what refused it, "" where it was published."""
    command = [sys.executable, "-m", "pinfold", "push", str(folder), "--checkpoint", str(checkpoint)]
    command += ["--repo", f"local/{folder.name}", "--endpoint", _url(server), "--versions", *versions]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_TOKEN": server["token"]}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    refusal = done.stderr[done.stderr.find("pinfold push: ") :].strip() or f"exit code {done.returncode}"
    return done.stdout, "" if done.returncode == 0 else refusal


def _url(server: dict) -> str:
    return f"http://127.0.0.1:{server['port']}"


def _examples(name: str, work: Path, server: dict) -> str:
    """Whether the card's Python runs in the two releases."""
    import huggingface_hub

    api = huggingface_hub.HfApi(endpoint=_url(server), token=server["token"])
    with tempfile.TemporaryDirectory(dir=work) as home:
        text = Path(api.hf_hub_download(f"local/{name}", "README.md", cache_dir=home)).read_text(encoding="utf-8")
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
