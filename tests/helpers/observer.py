"""See what a folder's code does when it is loaded and called once, each folder in a fork of one warm process.

What counts is what the interpreter reports (audit events below a frame of the folder), what changed in the process,
and what lies in the scratch directories afterwards. Home, tokens and the endpoint are planted; the port is closed.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SECRET = "planted-secret-0f3c"
SECRETS = (
    ".netrc",
    ".ssh/id_rsa",
    ".aws/credentials",
    ".cache/huggingface/token",
    ".git-credentials",
    ".bash_history",
)
ENDPOINT = "http://127.0.0.1:9"


def plant(home: Path) -> None:
    """A home with secrets that are none."""
    for name in SECRETS:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"machine example login me password {SECRET}\n" if name == ".netrc" else f"{SECRET}\n")
    (home / ".netrc").chmod(0o600)
    (home / "notes.txt").write_text("outside of every folder\n")


class Observer:
    """One warm process; ``see`` tells what a folder did."""

    def __init__(self, home: Path):
        self.home = home
        plant(home / "first")
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_", "HUGGING"))}
        environment |= {
            "HOME": str(home / "first"), "HF_ENDPOINT": ENDPOINT, "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "HF_TOKEN": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "HF_HUB_DISABLE_XET": "1", "PYTHONNOUSERSITE": "",
            "PYTHONHASHSEED": "0", "HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "*",
        }  # fmt: skip
        with open(home / "log", "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(Path(__file__).with_name("observed.py")), SECRET],
                env=environment, cwd=home,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        assert self.process.stdout.readline() == "ready\n", (home / "log").read_text()

    def see(
        self, folder: Path, loads: list[str] = (), seconds: int = 60, patches: bool = False
    ) -> tuple[set[str], str]:
        """(what it did, the traceback of a load that failed); files count as file:NAME, relative to home or work."""
        place = Path(tempfile.mkdtemp(dir=self.home))
        for name in ("home", "work"):
            (place / name).mkdir()
        plant(place / "home")
        inside = {path.relative_to(folder) for path in folder.rglob("*")}
        earlier = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
        job = {"folder": str(folder), "loads": list(loads), "home": str(place / "home"), "work": str(place / "work")}
        job |= {"answer": str(place / "answer.json"), "seconds": seconds, "patches": patches}
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        answer = {"seen": [], "error": ""}
        if (place / "answer.json").exists():
            answer = json.loads((place / "answer.json").read_text())
        else:
            answer["error"] = f"ended with {code}: " + (place / "answer.json.err").read_text()[-3000:]
        seen = set(answer["seen"])
        for name in ("home", "work"):
            for path in (place / name).rglob("*"):
                changed = path.is_file() and earlier.get(path) != path.read_bytes()
                if changed or (path.is_dir() and name == "work" and path.name != "saved"):
                    seen.add(f"file:{path.relative_to(place / name)}")
                    if changed and SECRET.encode() in path.read_bytes():
                        seen.add("secret")
            seen |= {f"removed:{path.name}" for path in earlier if not path.exists()}
        seen |= {
            f"own:{path.relative_to(folder)}" for path in folder.rglob("*") if path.relative_to(folder) not in inside
        }
        return seen, answer["error"]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


EVIDENCE = {
    "runs a program": ("program", "file:"),
    "runs text": ("file:", "program"),
    "network": ("connect",),
    "secret": ("secret", "read:*planted"),
    "reads a file": ("read:*outside", "list:*outside"),
    "writes a file": ("file:", "change:", "own:", "removed:"),
    "imports by name": ("program", "file:"),
    "pickle": ("program", "file:"),
    "patches": ("patched:", "table:", "hook:"),
    "environment": ("env:",),
    "settings": ("file:", "program"),
}


def shows(expect: dict, seen: set[str], folder: Path) -> set[str]:
    """What of the evidence stands for the expected act."""
    proof = set()
    for prefix in expect["seen"] or EVIDENCE[expect["what"]]:
        if prefix == "read:*planted":
            proof |= {each for each in seen if each.startswith("read:") and each.endswith(SECRETS)}
        elif prefix.endswith(":*outside"):
            start = prefix[: -len("*outside")]
            system = (str(folder), sys.prefix, sys.base_prefix, str(folder.parent))
            known = tuple(start + own for own in system)
            proof |= {each for each in seen if each.startswith(start + "/") and not each.startswith(known)}
        else:
            proof |= {each for each in seen if each.startswith(prefix)}
    return proof


# What a folder that only computes never does.
OBVIOUS = ("program", "connect", "file:", "own:", "removed:", "change:", "env:", "secret", "patched:", "table:")
