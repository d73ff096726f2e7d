"""Automatic fixes of a local folder: shown as a diff, and written after a question (pinfold check --fix).

With --run the folder and a copy with the fixes are loaded first, in the sandbox: nothing is written where a release
would do worse.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pinfold.audit.fixes import files, fix
from pinfold.audit.second_audit import not_worse
from pinfold.common.errors import UserError, printable
from pinfold.folder.contents import check_files
from pinfold.folder.model_folder import read_modules
from pinfold.verify import matrix


def fix_folder(target: str, yes: bool, measure: Callable[[Path], list[matrix.Row]] | None = None) -> int:
    """Show automatic fixes, and write them after a question. Exit code 1 when nothing was written.

    Args:
        measure: loads a folder in several releases, where that was asked for.
    """
    directory = Path(target)
    if not directory.is_dir():
        raise UserError(f"--fix needs a local folder; {target} is not one. Download it first")
    check_files(directory)
    proposal = fix.propose(directory, read_modules(directory))
    fixes, left = not_worse(directory, proposal.changes)
    for line in [*proposal.reasons, *left]:
        print(printable(line))
    if not fixes:
        print("nothing to fix automatically")
        return 0
    print(printable(files.diff(fixes)))
    if measure is not None and (worse := measured_worse(directory, fixes, measure)):
        print("\n".join(printable(line) for line in worse))
        print("nothing was written: with these changes it would do worse")
        return 1
    codes = ", ".join(sorted({code for each in fixes for code in each.codes}))
    question = f"write these changes to {len(fixes)} file{'s' * (len(fixes) > 1)} ({codes})?"
    if not yes:
        if not sys.stdin.isatty():
            print(f"nothing was written; to write it: pinfold check {target} --fix --yes")
            return 1
        if input(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
            print("nothing was written")
            return 1
    files.apply(fixes)
    print(f"written: {', '.join(each.file for each in fixes)} ({codes})")
    return 0


def measured_worse(directory: Path, fixes: list[files.Fix], measure: Callable[[Path], list[matrix.Row]]) -> list[str]:
    """A line for each release that does worse with the changes; the folder and a copy with them are loaded."""
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        copy = Path(temporary) / (directory.resolve().name or "folder")
        shutil.copytree(directory, copy)
        for each in fixes:
            (copy / each.path.relative_to(directory)).write_text(each.after, encoding="utf-8", newline="")
        print("without the changes:", flush=True)
        before = measure(directory)
        print("with the changes:", flush=True)
        after = measure(copy)
    return worse_rows(before, after)


def worse_rows(before: list[matrix.Row], after: list[matrix.Row]) -> list[str]:
    """A line for each release in which a check passed before and fails after, or the numbers are other ones."""
    lines = []
    later = {row.version: row for row in after}
    for row in before:
        passed = [check for check, said in row.checks.items() if said == "ok"]
        now = later[row.version]
        lost = [check for check in passed if not now.checks.get(check, "").startswith(("ok", "skipped"))]
        if lost and now.failure:
            lines.append(f"transformers {row.version}: {now.failure}")
        elif not row.failure and now.hashes != row.hashes:
            lines.append(f"transformers {row.version}: other numbers than before")
    return lines
