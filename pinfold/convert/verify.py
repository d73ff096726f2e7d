"""Verification of a generated folder: its classes run in a fresh process, and equal upstream's where nothing changed.

How it works
- The process has no network, and the folder is imported in it as the loader of remote code does.
- Each model class is built tiny, run, trained a step, saved, loaded again, and compared with the class that it was
  made from, where the modular file beside it changes neither that class nor anything that it uses.
"""

import ast
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError, printable
from . import build
from .finish import MARK


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `why` is empty where it is as it should be."""

    cls: str
    name: str
    why: str = ""


def verify(folder: Path, seconds: float = 60, progress: bool = True) -> list[Check]:
    """Check every model class of a generated folder.

    Raises:
        UserError: the folder holds no generated file.
    """
    files = sorted(p for p in folder.glob("*.py") if MARK in p.read_text(encoding="utf-8", errors="replace")[:2000])
    if not files:
        raise UserError(f"{folder} holds no file that main.py made; run main.py there first")
    found = [Check("", "text", leftover(p)) for p in files if leftover(p)]
    job = {
        "folder": str(folder.resolve()),
        "stems": [p.stem for p in files if p.stem.startswith(("configuration_", "modeling_"))],
        "twins": twins(folder),
        "seconds": seconds,
    }
    return found + list(run(job, seconds, progress))


def leftover(path: Path) -> str:
    """An import of one architecture's module, which an upgrade of transformers could change."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        return f"{path.name}:{error.lineno}: {error.msg}"
    for node in ast.walk(tree):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            if name.startswith("transformers.models.") and name.split(".")[2] != "auto":
                return f"{path.name}:{node.lineno} imports {name}"
    return ""


def twins(folder: Path) -> dict[str, tuple[str, str]]:
    """Classes of which the modular file changes nothing, nor anything that they use: {class: (module, upstream's)}."""
    found: dict[str, tuple[str, str]] = {}
    for path in sorted(folder.glob("modular_*.py")):
        try:
            conversion = build.convert(path)
        except UserError:
            continue
        for made in conversion.definitions.values():
            if made.kind == "class" and made.origin and same(conversion, made, set()):
                module, _, name = made.origin.rpartition(".")
                found[made.name] = module, name
    return found


def same(conversion: build.Conversion, made: build.Definition, seen: set[int]) -> bool:
    """Whether a definition, and all that it uses but configurations, is upstream's under another name."""
    if id(made) in seen:
        return True
    seen.add(id(made))
    if not made.origin or made.context is None:
        return False
    upstream = made.context.rename(made.origin.rpartition(".")[2])
    item = made.context.renamed.items.get(upstream)
    if item is None or plain(made.text, made.name) != plain(item.text, upstream):
        return False
    for used in made.uses:
        other = build.resolve(conversion, used, made.context)
        models = isinstance(other, build.Definition) and build.kind_of(other.name) == "modeling"
        if models and not same(conversion, other, seen):
            return False
    return True


def plain(text: str, name: str) -> str:
    """A definition's meaning: without comments, docstrings and its own name."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and len(node.body) > 1 and ast.get_docstring(node, False):
            node.body = node.body[1:]
        if isinstance(node, ast.Name) and node.id == name:
            node.id = "_"
        elif isinstance(node, ast.ClassDef) and node.name == name:
            node.name = "_"
    return ast.dump(tree)


def run(job: dict, seconds: float, progress: bool):
    """The checks that the fresh process reports; a class in which it dies is one that failed."""
    root = str(Path(__file__).resolve().parents[2])
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    environment = {k: os.environ[k] for k in kept if k in os.environ}
    environment |= {
        "PYTHONPATH": os.pathsep.join(x for x in (root, os.environ.get("PYTHONPATH")) if x),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "pinfold.convert.inside"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
    )  # fmt: skip
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    current, started, names = "", time.monotonic(), []
    for line in process.stdout:
        if not line.startswith("\x1e"):
            continue  # what the folder's own code prints
        told = json.loads(line[1:])
        names = told.get("names", names)
        if told["check"] == "starts":
            current = told["cls"]
            if progress and time.monotonic() - started > 5:
                print(f"  {current} ({names.index(current) + 1} of {len(names)})", file=sys.stderr, flush=True)
            continue
        yield Check(told["cls"], told["check"], told["why"])
    if process.wait():
        yield Check(current, "process", f"it ended with code {process.returncode}")


def table(checks: list[Check]) -> list[str]:
    """A line for each class that is as it should be, and one for each check that is not."""
    lines = []
    for cls in dict.fromkeys(c.cls for c in checks):
        mine = [c for c in checks if c.cls == cls]
        good = ", ".join(c.name for c in mine if not c.why)
        lines += [f"differs  {cls or 'folder':<36} {c.name}: {printable(c.why)}" for c in mine if c.why]
        if good:
            lines.append(f"ok       {cls or 'folder':<36} {good}")
    return lines


def main(folder: Path) -> int:
    """Print the table; 1 when something differs."""
    checks = verify(folder)
    print("\n".join(table(checks)))
    return 1 if any(c.why for c in checks) else 0
