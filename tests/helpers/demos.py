"""The demo of `make push`, trained and published once for all tests that need it."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from helpers.processes import ROOT, clean_environment


@dataclass(frozen=True)
class Demo:
    """What a push of the demo left: a directory with runs/resnet-digits and runs/hub, and what it printed."""

    directory: Path
    printed: str

    @property
    def sha(self) -> str:
        """The commit that the snippet pins."""
        return re.search(r"Published local/resnet-digits at ([0-9a-f]{40})", self.printed)[1]

    @property
    def evaluation(self) -> dict:
        """What the training measured."""
        return json.loads((self.directory / "runs" / "resnet-digits" / "eval_results.json").read_text())

    def copy_to(self, directory: Path) -> "Demo":
        """The same in a directory that a test may change."""
        shutil.copytree(self.directory / "runs", directory / "runs", ignore=shutil.ignore_patterns("server.json"))
        return Demo(directory, self.printed)


def resnet_demo(shared: Path) -> Demo:
    """Train and push as `make push` does, five epochs of its eight; who comes second in ``shared`` gets the same."""
    directory = shared / "resnet-demo"
    with FileLock(shared / "resnet-demo.lock"):
        if not (directory / "printed").exists():
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir()
            (directory / "resnet_model").symlink_to(ROOT / "resnet_model")
            environment = clean_environment(directory / "home", PYTHONPATH=str(ROOT))
            train = ["train", "resnet_model", "--data", "digits", "--output", "runs/resnet-digits", "--epochs", "5"]
            for arguments in (train, ["push"]):
                done = subprocess.run(
                    [sys.executable, "-m", "pinfold", *arguments],
                    cwd=directory, env=environment, capture_output=True, text=True,
                )  # fmt: skip
                assert done.returncode == 0, done.stderr[-3000:]
            (directory / "printed").write_text(done.stdout)
    return Demo(directory, (directory / "printed").read_text())
