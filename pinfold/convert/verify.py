"""Verification of a generated folder: its classes run in a sandbox, and equal what they were made from.

How it works
- The process has no network and none of the user's secrets (fence/process.py), and the folder is imported in it as
  the loader of remote code does (fenced/generated.py).
- Each model class is built tiny, run, trained a step, saved and loaded again. Where the modular file changes neither
  the class nor anything that it uses, it is compared with the class upstream.
- Where it changes something, two independent ways of making the class are compared: the one in which the texts of
  methods are joined, and the one of merge/keep.py, in which Python itself says what a subclass and super() mean.
"""

import ast
import concurrent.futures
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError, printable, printable_all
from pinfold.common.files import remove_tree
from pinfold.convert import files
from pinfold.convert.convert import new_workspace
from pinfold.convert.read import modules
from pinfold.convert.read.model import Definition, Vendored, kind_of
from pinfold.convert.read.resolve import resolve
from pinfold.convert.read.workspace import Conversion, Generated, Workspace
from pinfold.convert.write.finish import require_ruff
from pinfold.fence import process as fence
from pinfold.fence.handed import read_regular

LARGEST_REPORT = 64 << 20  # bytes
OTHER = "keeps_inheritance"  # the folder in which subclasses stay subclasses


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `why` says what is wrong, and is empty where nothing is."""

    cls: str
    name: str
    why: str = ""


@dataclass(frozen=True)
class Verification:
    """The checks of a folder, and notes on modular files with which it could not be compared."""

    checks: list[Check]
    notes: list[str]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if check.why]


def verify(folder: Path, seconds: float = 60, progress: bool = True) -> Verification:
    """Check every model class of a generated folder.

    Args:
        seconds: how long one class may take.

    Raises:
        UserError: the folder holds no generated file, or this is Windows.
    """
    require_ruff()
    fence.available()
    workspace = new_workspace()
    generated = sorted(p for p in folder.glob("*.py") if files.is_made(p))
    if not generated:
        raise UserError(f"{folder} has no generated files to verify; run pinfold convert in it first")
    checks = [Check("", "text", why) for p in generated if (why := leftover(p))]
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        work = Path(temporary)
        known = sources(folder, workspace)
        changed = kept_apart(folder, known.paths, work / OTHER, workspace)
        upstream_classes, unchanged = origins(known.paths, workspace)
        job = {
            "folder": str(folder.resolve()),
            "stems": [p.stem for p in generated if p.stem.startswith(("configuration_", "modeling_"))],
            "origins": upstream_classes,
            "twins": unchanged,
            "other": str(work / OTHER) if changed else "",
            "changed": changed,
            "seconds": seconds,
        }
        checks += [*known.edited, *reported_checks(job, work, seconds, progress)]
    return Verification(checks, known.notes)


@dataclass(frozen=True)
class Sources:
    """Modular files with which a folder can be compared, why it cannot be with others, and files that were edited."""

    paths: list[Path]
    notes: list[str]
    edited: list[Check]


def sources(folder: Path, workspace: Workspace) -> Sources:
    """What a folder was made from, as far as upstream is still what it was then."""
    known = Sources([], [], [])
    for path in sorted(folder.glob("modular_*.py")):
        try:
            texts = as_recorded(path, workspace).texts
        except UserError as error:
            known.notes.append(f"not compared with what {path.name} was made from: {error}")
            continue
        if changed := files.changed_upstream(texts, folder):
            listed = f"{', '.join(changed[:3])}{' and more' if changed[3:] else ''}"
            known.notes.append(f"not compared with what {path.name} was made from: {listed} changed upstream since")
            continue
        known.paths.append(path)
        if files.drift(texts, folder, files.left_over(texts, path)):
            why = f"they differ from what {path.name} gives now; run pinfold convert {path}"
            known.edited.append(Check("", "files", why))
    return known


def as_recorded(path: Path, workspace: Workspace, keep: bool = False) -> Generated:
    """The conversion of a modular file with the options of the files that are there."""
    return workspace.convert(path, files.INLINE in files.recorded(path), keep)


def kept_apart(folder: Path, paths: list[Path], other: Path, workspace: Workspace) -> list[str]:
    """Write the folder once more, with subclasses that stay subclasses; the classes that are made otherwise there."""
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", ".*"))
    changed: set[str] = set()
    for path in paths:
        joined = as_recorded(path, workspace).conversion
        subclassed = as_recorded(path, workspace, keep=True)
        for name, text in subclassed.texts.items():
            (other / name).write_text(text, encoding="utf-8")
        definitions = subclassed.conversion.definitions
        different = {n for n, d in joined.definitions.items() if n in definitions and definitions[n].text != d.text}
        changed |= users_of(joined, different)
    return sorted(changed)


def users_of(conversion: Conversion, names: set[str]) -> set[str]:
    """Classes that use any of these, directly or by way of others, and these themselves."""
    users: set[str] = set()
    more = set(names)
    while more:
        users |= more
        more = {n for n, d in conversion.definitions.items() if d.uses & users} - users
    return {n for n in users if conversion.definitions[n].kind == "class"}


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


def origins(paths: list[Path], workspace: Workspace) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Upstream's class of each class, and those that the modular file leaves as they are, with all that they use.

    Returns:
        {class: (module, class there)}, and names of classes.
    """
    upstream: dict[str, tuple[str, str]] = {}
    unchanged = []
    for path in paths:
        conversion = as_recorded(path, workspace).conversion
        for definition in conversion.definitions.values():
            module, _, name = definition.origin.rpartition(".")
            if definition.kind == "class" and module.startswith(modules.TRANSFORMERS):
                upstream[definition.name] = module, name
                unchanged += [definition.name] if is_upstreams(conversion, definition, set()) else []
    return upstream, unchanged


def is_upstreams(conversion: Conversion, definition: Definition, seen: set[int]) -> bool:
    """Whether a definition, and all that it uses but configurations, is upstream's under another name."""
    context = definition.context
    if id(definition) in seen:
        return True
    seen.add(id(definition))
    if not definition.origin or context is None:
        return False
    upstream = context.rename(definition.origin.rpartition(".")[2])
    item = context.renamed.items.get(upstream)
    if item is None or meaning_of(definition.text, definition.name) != meaning_of(item.text, upstream):
        return False
    for used in definition.uses:
        other = resolve(conversion, used, context)
        if not isinstance(other, Definition) or kind_of(other.name) != "modeling":
            continue
        if other.origin not in upstream_meaning(context, used) or not is_upstreams(conversion, other, seen):
            return False
    return True


def upstream_meaning(context: Vendored, new: str) -> set[str]:
    """What upstream's file calls by the old form of a name: another architecture's class may have taken its place."""
    defined = {f"{context.module}.{n}" for n in context.original.items if context.rename(n) == new}
    imported = (i for n, i in context.original.imports.items() if new in (n, context.rename(n)))
    return defined | {f"{i.module}.{i.name}" for i in imported}


def meaning_of(text: str, name: str) -> str:
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


def reported_checks(job: dict, work: Path, seconds: float, progress: bool) -> Iterator[Check]:
    """The checks that the sandboxed process reports; a class in which it dies, or of which it says nothing, failed."""
    reports = work / "results"
    reports.mkdir()
    report = reports / "checks.jsonl"
    job |= {"results": str(report)}
    paths = [Path(job["folder"]), *([Path(job["other"])] if job["other"] else [])]
    limits = {"memory": 12 * fence.GIB, "seconds": 40 * seconds}
    died = ""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        request = {"module": "generated", **job}
        done = pool.submit(fence.run_sandboxed, request, work, visible=paths, writable=[reports], **limits)
        show_progress(done, report, progress)
        try:
            done.result()
        except UserError as error:
            died = str(error)
    reported = lines_of(report)
    remove_tree(reports)
    current = ""
    for line in reported:
        if line["check"] == "starts":
            current = line.get("cls", "")
        else:
            yield Check(line.get("cls", ""), line["check"], line.get("why", ""))
    if died:
        yield Check(current, "process", died)
    else:
        yield from unreported(reported)


def unreported(lines: list[dict]) -> Iterator[Check]:
    """What an honest process would have said more: code that it imports can end it early, or spoil its report."""
    names = dict.fromkeys(name for line in lines for name in line.get("names", []))
    checked = {line.get("cls", "") for line in lines if line["check"] != "starts"}
    if not names and not any(line.get("why") for line in lines):
        yield Check("", "classes", "the process in the sandbox reported none")
    for name in names:
        if name not in checked:
            yield Check(name, "checks", "the process in the sandbox reported none")


def lines_of(path: Path) -> list[dict]:
    """What the process has reported so far; a line without the form of a report takes no other along."""
    content = read_regular(path.name, None, path.parent, LARGEST_REPORT) or b""
    lines = []
    for text in content.decode("utf-8", "replace").split("\n")[:-1]:
        with contextlib.suppress(ValueError, RecursionError):
            lines.append(printable_all(json.loads(text)))
    return [line for line in lines if _is_report(line)]


def _is_report(line: object) -> bool:
    if not isinstance(line, dict) or not isinstance(line.get("check"), str):
        return False
    texts, names = [line.get(key, "") for key in ("cls", "why")], line.get("names", [])
    return isinstance(names, list) and all(isinstance(each, str) for each in [*texts, *names])


def show_progress(done: concurrent.futures.Future, path: Path, progress: bool) -> None:
    """One line a class, where all of it takes more than a few seconds."""
    started = time.monotonic()
    shown = ""
    while not done.done():
        concurrent.futures.wait([done], 0.3)
        if not progress or time.monotonic() - started < 5:
            continue
        lines = lines_of(path)
        names = next((x["names"] for x in lines if "names" in x), [])
        current = next((x.get("cls", "") for x in reversed(lines) if x["check"] == "starts"), "")
        if current in names and current != shown:
            shown = current
            print(f"  {printable(current)} ({names.index(current) + 1} of {len(names)})", file=sys.stderr, flush=True)


def table(verification: Verification) -> list[str]:
    """A line for each class with the checks that it passes, one for each check that fails, and the notes."""
    lines = []
    for cls in dict.fromkeys(c.cls for c in verification.checks):
        checks = [c for c in verification.checks if c.cls == cls]
        lines += [f"differs  {cls or 'folder':<36} {c.name}: {printable(c.why)}" for c in checks if c.why]
        if passed := ", ".join(c.name for c in checks if not c.why):
            lines.append(f"ok       {cls or 'folder':<36} {passed}")
    return [*lines, *(f"note     {printable(note)}" for note in verification.notes)]
