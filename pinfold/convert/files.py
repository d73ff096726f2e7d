"""A folder's generated files on the disk: how they were asked for, what differs, and writing all of them or none."""

import contextlib
import difflib
import os
import re
import stat
from pathlib import Path

from pinfold.common.errors import UserError

MARK = "# Made by pinfold from "
OPTIONS = "# Options: "
INLINE = "--inline-config"
TAKEN = re.compile(r"^#   (\S+) ([0-9a-f]{16})$", re.MULTILINE)
VERSIONS = re.compile(r"^# pinfold (\S+), transformers ([^\s:]*\w)", re.MULTILINE)
LONGEST = 24  # lines of a difference that are shown


SKIPPED = {".git", ".venv", "venv", "node_modules", "runs", "__pycache__", "site-packages"}


def find_modular(paths: list[Path]) -> list[Path]:
    """The modular files that a user names, or every one below the current folder.

    Raises:
        UserError: one is not a modular file.
    """
    for path in paths:
        if not path.is_file():
            raise UserError(f"{path} is not a file; give modular_x.py, or nothing for every one below this folder")
        if not path.name.startswith("modular_") or path.suffix != ".py":
            raise UserError(
                f"{path} is not called modular_<name>.py, which gives modeling_<name>.py its name; rename it"
            )
    return paths or sorted(p for p in Path().rglob("modular_*.py") if not SKIPPED & set(p.parts))


def is_made(path: Path, modular: str = "") -> bool:
    """Whether main.py wrote a file, from this modular file."""
    try:
        return path.is_file() and f"{MARK}{modular}" in path.read_text(encoding="utf-8", errors="replace")[:2000]
    except OSError:
        return False


def is_generated(folder: Path) -> bool:
    """Whether main.py made any of a folder's files."""
    return any(is_made(p) for p in folder.glob("*.py"))


def recorded(modular: Path) -> set[str]:
    """The options with which the files beside a modular file were made."""
    path = modular.with_name(f"modeling_{modular.stem.removeprefix('modular_')}.py")
    if not is_made(path, f"{modular.name}:"):
        return set()
    for line in path.read_text(encoding="utf-8", errors="replace")[:2000].splitlines():
        if line.startswith(OPTIONS):
            return set(line.removeprefix(OPTIONS).split())
    return set()


def left_over(files: dict[str, str], modular: Path) -> list[Path]:
    """Files that main.py once made from a modular file, and now would not."""
    return [
        p for p in sorted(modular.parent.glob("*.py"))
        if p.name not in files and p != modular and is_made(p, f"{modular.name}:")
    ]  # fmt: skip


def check_free(files: dict[str, str], folder: Path, overwrite: bool = False) -> None:
    """
    Raises:
        UserError: a file is there that this program did not make, or that is read-only.
    """
    for name in files:
        path = folder / name
        if path.exists() and not path.is_file():
            raise UserError(f"{path} is not a file, and cannot be replaced; move it away, nothing was changed")
        if path.exists() and not overwrite and not is_made(path):
            raise UserError(
                f"{path} already exists and was not made from a modular file; move it away, or add --overwrite"
            )
        # os.replace asks the folder only, and os.access says yes to root
        if path.exists() and not path.stat().st_mode & stat.S_IWUSR:
            raise UserError(f"{path} is read-only; chmod u+w lets it be replaced, nothing was changed")


def write(files: dict[str, str], folder: Path, overwrite: bool = False, old: list[Path] = ()) -> list[Path]:
    """Write all of them or none, whatever happens in between; Ctrl-C as well.

    Args:
        old: files that are left over, and go.

    Raises:
        UserError: a file is there that this program did not make, or it cannot be written.
    """
    check_free(files, folder, overwrite)
    temporary = []
    before = {}
    package = folder / "__init__.py"
    try:
        for name, text in files.items():
            beside = folder / f".{name}.{os.getpid()}"
            temporary.append(beside)
            beside.write_text(text, encoding="utf-8", newline="\n")
        for path in [*(folder / n for n in files), *old, package]:
            before[path] = path.read_bytes() if path.exists() else None
        try:
            if before[package] is None:
                package.touch()
            for name, beside in zip(files, temporary, strict=True):
                os.replace(beside, folder / name)
            for path in old:
                path.unlink()
        except BaseException:
            restore(before)
            raise
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error}); nothing was changed") from None
    finally:
        for beside in temporary:
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
    return [folder / name for name in files]


def restore(before: dict[Path, bytes | None]) -> None:
    for path, content in before.items():
        with contextlib.suppress(OSError):
            if content is None:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != content:
                path.write_bytes(content)


def drift(files: dict[str, str], folder: Path, old: list[Path] = ()) -> list[str]:
    """What differs between the files that are there and those that would be made, and what changed upstream."""
    lines = [f"{path} is left over from an earlier conversion; run pinfold convert to remove it" for path in old]
    for name, text in files.items():
        path = folder / name
        if not path.exists():
            lines.append(f"{path} is missing; run pinfold convert")
            continue
        written = path.read_text(encoding="utf-8", errors="replace")
        if without_versions(written) == without_versions(text):
            continue
        lines.append(f"{path} differs{upstream(written, text)}")
        both = (x.splitlines() for x in (written, text))
        shown = list(difflib.unified_diff(*both, "there", "would be", n=0, lineterm=""))[2:]
        lines += [f"    {line[:150]}" for line in shown[:LONGEST]]
        if len(shown) > LONGEST:
            lines.append(f"    and {len(shown) - LONGEST} lines more")
    return lines


def without_versions(text: str) -> str:
    """A new release that changed nothing of what was taken makes no difference."""
    return VERSIONS.sub("#", text, count=1)


def changed_upstream(files: dict[str, str], folder: Path) -> list[str]:
    """Symbols that were taken and are something else now."""
    changed = set()
    for name, text in files.items():
        path = folder / name
        before = dict(TAKEN.findall(path.read_text(encoding="utf-8", errors="replace"))) if path.exists() else {}
        now = dict(TAKEN.findall(text))
        changed |= {k for k in now if k in before and before[k] != now[k]}
    return sorted(changed)


def upstream(written: str, text: str) -> str:
    """What happened since to the symbols that were taken, by their hashes."""
    before = dict(TAKEN.findall(written))
    now = dict(TAKEN.findall(text))
    changes = {
        "changed upstream": [k for k in now if k in before and before[k] != now[k]],
        "no longer taken": [k for k in before if k not in now],
        "newly taken": [k for k in now if k not in before],
    }
    words = [f"{what}: {', '.join(sorted(names))}" for what, names in changes.items() if names]
    old = VERSIONS.search(written)
    new = VERSIONS.search(text)
    if words and old and new and old[2] != new[2]:
        words.append(f"made with transformers {old[2]}, and this is {new[2]}")
    return "".join(f"; {w}" for w in words)
