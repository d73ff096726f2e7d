"""Verification of a generated folder: its classes run behind a fence, and equal what they were made from.

How it works
- The process has no network and none of the user's secrets (publish/fence.py), and the folder is imported in it as the
  loader of remote code does.
- Each model class is built tiny, run, trained a step, saved and loaded again. Where the modular file changes neither
  the class nor anything that it uses, it is compared with the class upstream.
- Where it changes something, two independent ways of making the class are compared: the one in which the texts of
  methods are joined, and the one of keep.py, in which Python itself says what a subclass and super() mean.
"""

import ast
import concurrent.futures
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError, printable
from pinfold.convert import build, files, finish, nearby, source
from pinfold.fence import process as fence

OTHER = "keeps_inheritance"  # the folder that keep.py makes


@dataclass(frozen=True)
class Check:
    """One thing that was looked at; `why` is empty where it is as it should be."""

    cls: str
    name: str
    why: str = ""


def verify(folder: Path, seconds: float = 60, progress: bool = True) -> list[Check]:
    """Check every model class of a generated folder.

    Args:
        seconds: how long one class may take.

    Raises:
        UserError: the folder holds no generated file.
    """
    finish.require_ruff()
    nearby.forget()
    made = sorted(p for p in folder.glob("*.py") if files.is_made(p))
    if not made:
        raise UserError(f"{folder} holds no file that main.py made; run main.py there first")
    found = [Check("", "text", why) for p in made if (why := leftover(p))]
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        work = Path(temporary)
        known = sources(folder)
        changed = kept_apart(folder, known.paths, work / OTHER)
        made_from, unchanged = origins(known.paths)
        job = {
            "folder": str(folder.resolve()),
            "stems": [p.stem for p in made if p.stem.startswith(("configuration_", "modeling_"))],
            "origins": made_from,
            "twins": unchanged,
            "other": str(work / OTHER) if changed else "",
            "changed": changed,
            "seconds": seconds,
        }
        return found + known.edited + list(run(job, work, seconds, progress))


@dataclass(frozen=True)
class Sources:
    """Modular files with which a folder can be compared, why it cannot be with others, and files that were edited."""

    paths: list[Path]
    notes: list[str]
    edited: list[Check]


def sources(folder: Path) -> Sources:
    """What a folder was made from, as far as upstream is still what it was then."""
    found = Sources([], [], [])
    for path in sorted(folder.glob("modular_*.py")):
        try:
            texts = nearby.converted(path, files.INLINE in files.recorded(path)).texts
        except UserError as error:
            found.notes.append(f"not compared with what {path.name} was made from: {error}")
            continue
        if changed := files.changed_upstream(texts, folder):
            told = f"{', '.join(changed[:3])}{' and more' if changed[3:] else ''} changed upstream since"
            found.notes.append(f"not compared with what {path.name} was made from: {told}")
            continue
        found.paths.append(path)
        if files.drift(texts, folder, files.left_over(texts, path)):
            found.edited.append(Check("", "files", f"they are not what {path.name} gives now; run main.py"))
    return found


def kept_apart(folder: Path, paths: list[Path], other: Path) -> list[str]:
    """Write the folder once more, with subclasses that stay subclasses; the classes that are made otherwise there."""
    shutil.copytree(folder, other, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", ".*"))
    changed: set[str] = set()
    for path in paths:
        inline = files.INLINE in files.recorded(path)
        joined, kept = nearby.converted(path, inline), nearby.converted(path, inline, keep=True)
        for name, text in kept.texts.items():
            (other / name).write_text(text, encoding="utf-8")
        mine, theirs = joined.conversion.definitions, kept.conversion.definitions
        changed |= users_of(joined.conversion, {n for n in mine if n in theirs and theirs[n].text != mine[n].text})
    return sorted(changed)


def users_of(conversion: build.Conversion, names: set[str]) -> set[str]:
    """Classes that use any of these, directly or by way of others, and these themselves."""
    found, more = set(), set(names)
    while more:
        found |= more
        more = {n for n, d in conversion.definitions.items() if d.uses & found} - found
    return {n for n in found if conversion.definitions[n].kind == "class"}


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


def origins(paths: list[Path]) -> tuple[dict[str, tuple[str, str]], list[str]]:
    """Upstream's class of each class, and those that the modular file leaves as they are, with all that they use.

    Returns:
        {class: (module, class there)}, and names of classes.
    """
    found: dict[str, tuple[str, str]] = {}
    unchanged = []
    for path in paths:
        conversion = nearby.converted(path, files.INLINE in files.recorded(path)).conversion
        for made in conversion.definitions.values():
            module, _, name = made.origin.rpartition(".")
            if made.kind == "class" and module.startswith(source.TRANSFORMERS):
                found[made.name] = module, name
                unchanged += [made.name] if same(conversion, made, set()) else []
    return found, unchanged


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
        if models and not (other.origin in meant(made.context, used) and same(conversion, other, seen)):
            return False
    return True


def meant(context: build.Vendored, new: str) -> set[str]:
    """What upstream's file calls by the old form of a name: another architecture's class may have taken its place."""
    own = {f"{context.module}.{n}" for n in context.original.items if context.rename(n) == new}
    taken = (i for n, i in context.original.imports.items() if new in (n, context.rename(n)))
    return own | {f"{i.module}.{i.name}" for i in taken}


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


def run(job: dict, work: Path, seconds: float, progress: bool) -> Iterator[Check]:
    """The checks that the fenced process reports; a class in which it dies is one that failed."""
    told = work / "told"
    told.mkdir()
    job |= {"told": str(told / "checks.jsonl")}
    paths = [Path(job["folder"]), *([Path(job["other"])] if job["other"] else [])]
    limits = {"memory": 12 * fence.GIB, "seconds": 40 * seconds}
    died = ""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        request = {"module": "generated", **job}
        done = pool.submit(fence.run_sandboxed, request, work, visible=paths, writable=[told], **limits)
        show_progress(done, Path(job["told"]), progress)
        try:
            done.result()
        except UserError as error:
            died = str(error)
    current = ""
    for line in lines_of(Path(job["told"])):
        if line["check"] == "starts":
            current = line["cls"]
        else:
            yield Check(line["cls"], line["check"], line["why"])
    if died:
        yield Check(current, "process", died)


def lines_of(path: Path) -> list[dict]:
    """What the process has reported so far, as far as it has the form of a report."""
    try:
        lines = [json.loads(x) for x in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]]
    except (OSError, ValueError):
        return []
    texts = ("cls", "check", "why")
    return [x for x in lines if isinstance(x, dict) and all(isinstance(x.get(k, ""), str) for k in texts)]


def show_progress(done: concurrent.futures.Future, path: Path, progress: bool) -> None:
    """One line a class, where all of it takes more than a few seconds."""
    started, shown = time.monotonic(), ""
    while not done.done():
        concurrent.futures.wait([done], 0.3)
        if not progress or time.monotonic() - started < 5:
            continue
        lines = lines_of(path)
        names = next((x["names"] for x in lines if "names" in x), [])
        current = next((x["cls"] for x in reversed(lines) if x["check"] == "starts"), "")
        if current in names and current != shown:
            shown = current
            print(f"  {printable(current)} ({names.index(current) + 1} of {len(names)})", file=sys.stderr, flush=True)


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
    print("\n".join([*table(checks), *(f"note     {printable(note)}" for note in sources(folder).notes)]))
    return 1 if any(c.why for c in checks) else 0
