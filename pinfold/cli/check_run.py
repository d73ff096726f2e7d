"""What ``pinfold check`` runs: a folder in several releases (--run), and transformers' common checks (--suite).

Also automatic fixes of a local folder (--fix): shown as a diff, and written after a question. With --run the folder
and a copy with the fixes are loaded first, in the sandbox: nothing is written where a release would do worse.
"""

import argparse
import contextlib
import functools
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pinfold.audit.examine import Report, examine
from pinfold.audit.finding import errors
from pinfold.audit.fixes import files, fix
from pinfold.audit.second_audit import not_worse
from pinfold.cli import compat
from pinfold.common.errors import UserError, printable
from pinfold.fence import process as fence
from pinfold.fence.overlays import NEWEST
from pinfold.folder.contents import check_files
from pinfold.folder.model_folder import read_modules
from pinfold.folder.releases import lowest_version
from pinfold.remote.client import patience
from pinfold.staging.stage import stage
from pinfold.verify import matrix, pickled, verify
from pinfold.verify import suite as check_suite


def run_suite(
    report: Report, target: str, directory: Path, versions: list[str] | None, show: Callable[[str], None]
) -> list[check_suite.Result]:
    """Check its classes, now that its audit was shown."""
    if not report.runnable:
        raise UserError(
            f"{target} has no code of its own to check; drop --suite, or name the repository with the code"
        )
    _may_run(report, target, show)
    folder = read_modules(directory)
    chosen, _ = matrix.choose(versions or [NEWEST], lowest_version(folder))
    return check_suite.run(folder, chosen, show)


def suite_failed(results: list[check_suite.Result]) -> bool:
    """Whether a check has failed."""
    return any(result.state == check_suite.FAILED for result in results)


def _may_run(report, target, show) -> None:
    """
    Raises:
        UserError: its code is dangerous, and this machine cannot sandbox it.
    """
    dangerous = (finding.code for finding in errors(report.findings) if finding.code.startswith("S"))
    show(f"  running its code, {fence.permit(target, next(dangerous, None)).describe()}")


def run_releases(
    report: Report,
    target: str,
    source: Path | None,
    versions: list[str] | None,
    checkpoint: Path | None,
    endpoint: str | None,
    work: Path,
    show: Callable[[str], None],
) -> list[matrix.Row]:
    """Load it, now that its audit was shown."""
    if not report.runnable and not report.foreign_code:
        raise UserError(f"{target} has no code to run; drop --run")
    _may_run(report, target, show)
    if source and not checkpoint and not (any(source.glob("*.safetensors")) or any(source.glob("*.bin"))):
        raise UserError(f"{target} holds no weights to run it with; name some with --checkpoint DIR")
    if source and pickled.pickles(checkpoint or source):
        show("  its weights are a pickle; it is read as tensors alone, through a copy that holds safetensors")

    def releases(lowest: str) -> list[str]:
        return (matrix.choose(versions, lowest) if versions else matrix.at_hand(lowest, show))[0]

    with contextlib.ExitStack() as stack:
        stack.enter_context(patience(progress=True))
        try:
            if source and checkpoint:
                (work / "staged").mkdir()
                staged = stage(read_modules(source), pickled.readable(checkpoint, work), work / "staged")
                loaded = matrix.Target(target, staged, functools.partial(verify.staged_load, staged))
            else:
                loaded = stack.enter_context(compat.open_target(target, endpoint, work))
        except pickled.Unreadable as error:  # transformers reads it in the same way, and fails in every release
            return matrix.failing(releases(lowest_version(read_modules(error.directory))), error, show)
        chosen = releases(lowest_version(loaded.staged.folder))
        return matrix.measure(loaded, chosen, work, show=lambda row: show(matrix.progress(row)))


def rows_of(args: argparse.Namespace, directory: Path) -> list[matrix.Row]:
    """What a folder gives in the releases that were asked for."""
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        say = functools.partial(print, flush=True)
        report = examine(directory, str(directory))
        return run_releases(
            report, str(directory), directory, args.versions, args.checkpoint, args.endpoint, Path(temporary), say
        )


def table(rows: list[matrix.Row]) -> list[str]:
    """What the releases gave, and the notes to it."""
    return ["", *matrix.lines(rows), *map(printable, matrix.notes(rows)), ""]


def kept_table(name: str, rows: list[matrix.Row]) -> str:
    """Where the table was written. It was shown already: a directory that cannot be written to is said, no more."""
    try:
        return str(matrix.write_tables(name, rows))
    except OSError as error:
        return f"not kept, as {matrix.TABLES} cannot be written here ({error.strerror})"


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
