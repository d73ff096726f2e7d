"""Show what code a repository would run on this machine, and whether it still works.

How it works:
- A folder or a repository is read for every known way in which remote code goes wrong, and for code that does more
  than compute. Nothing of it is imported or executed, and of weights only the headers are downloaded.
- With --run it is loaded in several transformers releases, in a sandbox, after its audit was shown.
- With --suite every model class gets the checks that transformers runs on its own models, sandboxed and made small.
- With --fix automatic fixes are shown as a diff, and written after a question; with --run too, only where no release
  does worse with them.
- Exit code 0: no error found. 1: errors found. 2: it cannot be checked.

Example: pinfold check some-org/some-model@main --run
"""

import argparse
import contextlib
import functools
import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pinfold.audit.examine import Report, examine
from pinfold.audit.finding import errors
from pinfold.cli import compat
from pinfold.cli.fix import fix_folder
from pinfold.common.errors import UserError, printable
from pinfold.common.files import check_output
from pinfold.fence import process as fence
from pinfold.fence.overlays import NEWEST
from pinfold.folder.model_folder import read_modules
from pinfold.folder.releases import lowest_version
from pinfold.remote.client import patience
from pinfold.remote.destination import EMBEDDED
from pinfold.remote.revision import open_revision
from pinfold.remote.snapshot import outline
from pinfold.staging.stage import stage
from pinfold.verify import matrix, verify
from pinfold.verify import suite as check_suite


@dataclass
class Outcome:
    """What reading a target has shown, and what running it has, as far as that was wanted."""

    report: Report
    rows: list[matrix.Row] = field(default_factory=list)
    suite: list[check_suite.Result] = field(default_factory=list)

    def summary(self) -> str:
        """One paragraph that a user can act on."""
        parts = [self.report.summary()]
        parts += [f"measured: {matrix.summary(self.rows)}"] if self.rows else []
        parts += [f"suite: {check_suite.summary(self.suite)}"] if self.suite else []
        return "; ".join(parts)

    def as_dict(self) -> dict:
        """Plain data, as --json writes it."""
        return {
            "name": self.report.name,
            "facts": self.report.facts,
            "findings": [asdict(finding) for finding in self.report.findings],
            "forecast": self.report.forecast,
            "rows": [asdict(row) for row in self.rows],
            "suite": [asdict(result) for result in self.suite],
            "runnable": self.report.runnable,
            "summary": self.summary(),
            "code": self.exit_code,
        }

    @property
    def exit_code(self) -> int:
        """1 where there is an error, where a check of the suite fails, or where releases fail or differ."""
        suite_failed = any(result.state == check_suite.FAILED for result in self.suite)
        releases_fail = bool(self.rows) and not matrix.agree(self.rows)
        return int(suite_failed or releases_fail or bool(errors(self.report.findings)))


def check(
    target: str,
    *,
    run: bool = False,
    suite: bool = False,
    versions: list[str] | None = None,
    checkpoint: Path | None = None,
    endpoint: str | None = None,
    show: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Check a directory or a repository.

    Args:
        target: a directory, or "owner/name@revision".
        run: also load it, in ``versions`` (default: the minimum matrix, as far as overlays were made).
        suite: also check every model class, in ``versions`` (default: the environment's own).
        checkpoint: weights for a model folder that holds none.

    Raises:
        UserError: it cannot be read, or not be run.
    """
    if not target.strip():  # a script's empty variable would otherwise check the current directory
        raise UserError("an empty name; give a directory, or a repository as owner/name[@revision]")
    if versions:
        matrix.choose(versions)  # a mistake is said before anything is downloaded
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary, contextlib.ExitStack() as stack:
        work = Path(temporary)
        local = Path(target).is_dir()
        if Path(target).is_file():
            raise UserError(f"{target} is a file; give its folder, {Path(target).parent}")
        if local:
            report = examine(code := Path(target), target)
        elif re.fullmatch(r"[\w.-]+/[\w.-]+(@[^@\s]+)?", target, re.ASCII):
            stack.enter_context(patience(progress=False))
            remote, sha = stack.enter_context(open_revision(target, endpoint))
            show(f"reading {remote.repo} at {sha} on {remote.destination.endpoint}")
            seen = outline(remote, sha, work / "outline")
            report = examine(code := seen.directory, f"{remote.repo}@{sha}", seen.sizes)
            report.facts += [f"too large to be read: {name}" for name in seen.unread]
        else:
            raise UserError(f"{target}: no such folder; give a directory, or a repository as owner/name[@revision]")
        for line in report.lines():
            show(printable(line).replace("\n", " "))
        outcome = Outcome(report)
        if suite:
            outcome.suite = _suite(report, target, code, versions, show)
        if run:
            source = Path(target) if local else None
            outcome.rows = _run(report, target, source, versions, checkpoint, endpoint, work, show)
        return outcome


def _suite(report, target, directory, versions, show) -> list[check_suite.Result]:
    """Check its classes, now that its audit was shown."""
    if not report.runnable:
        raise UserError(
            f"{target} has no code of its own to check; drop --suite, or name the repository with the code"
        )
    _may_run(report, target, show)
    folder = read_modules(directory)
    chosen, _ = matrix.choose(versions or [NEWEST], lowest_version(folder))
    return check_suite.run(folder, chosen, show)


def _may_run(report, target, show) -> None:
    """
    Raises:
        UserError: its code is dangerous, and this machine cannot sandbox it.
    """
    dangerous = (finding.code for finding in errors(report.findings) if finding.code.startswith("S"))
    show(f"  running its code, {fence.permit(target, next(dangerous, None)).describe()}")


def _run(report, target, source, versions, checkpoint, endpoint, work, show) -> list[matrix.Row]:
    """Load it, now that its audit was shown."""
    if not report.runnable and not report.foreign_code:
        raise UserError(f"{target} has no code to run; drop --run")
    _may_run(report, target, show)
    if source and not checkpoint and not (any(source.glob("*.safetensors")) or any(source.glob("*.bin"))):
        raise UserError(f"{target} holds no weights to run it with; name some with --checkpoint DIR")
    with contextlib.ExitStack() as stack:
        stack.enter_context(patience(progress=True))
        if source and checkpoint:
            (work / "staged").mkdir()
            staged = stage(read_modules(source), checkpoint, work / "staged")
            loaded = matrix.Target(target, staged, functools.partial(verify.staged_load, staged))
        else:
            loaded = stack.enter_context(compat.open_target(target, endpoint, work))
        lowest = lowest_version(loaded.staged.folder)
        chosen, _ = matrix.choose(versions, lowest) if versions else matrix.at_hand(lowest, show)
        return matrix.measure(loaded, chosen, work, show=lambda row: show(matrix.progress(row)))


def _rows_of(args: argparse.Namespace, directory: Path) -> list[matrix.Row]:
    """What a folder gives in the releases that were asked for."""
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        say = functools.partial(print, flush=True)
        report = examine(directory, str(directory))
        return _run(
            report, str(directory), directory, args.versions, args.checkpoint, args.endpoint, Path(temporary), say
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold check``."""
    add = parser.add_argument
    add("target", nargs="?", metavar="PATH|OWNER/NAME[@REVISION]", help="a folder, or a repository on a Hub")
    add("--run", action="store_true", help="also load it, sandboxed, in several transformers releases")
    add("--suite", action="store_true", help="also run transformers' common model checks on every class, sandboxed")
    add("--list", action="store_true", help="with --suite: list the checks and what they do not cover, then exit")
    add("--versions", nargs="+", metavar="VERSION", help="with --run or --suite: such as 4.48.3; or minimum, or all")
    add("--checkpoint", type=Path, metavar="DIR", help="with --run: weights for a folder that holds none")
    add("--fix", action="store_true", help="show automatic fixes as a diff and apply them after you confirm")
    add("--yes", action="store_true", help="with --fix: write without asking")
    add("--json", type=Path, metavar="FILE", help="also write the report as JSON")
    add("--endpoint", metavar="URL", help=f'a Hub, or "{EMBEDDED}" (the default for local/...)')


def main(args: argparse.Namespace) -> int:
    """Check, and say it. Exit code 0, 1 (errors found) or 2 (cannot be checked)."""
    options = (("versions", "run", "suite"), ("checkpoint", "run"), ("yes", "fix"), ("list", "suite"))
    for option, *needs in options:
        if getattr(args, option) and not any(getattr(args, need) for need in needs):
            listed = " or ".join(f"--{need}" for need in needs)
            raise UserError(f"--{option} needs {listed}; add {listed}, or drop --{option}")
    if args.list:
        print("\n".join(check_suite.listing()))
        return 0
    if args.json:
        check_output("--json", args.json)
    if args.target is None:
        raise UserError("name what to check: a folder, or a repository as owner/name[@revision]")
    if args.fix:
        measure = functools.partial(_rows_of, args) if args.run else None
        if fix_folder(args.target, args.yes, measure) and not args.yes:
            return 1
    say = functools.partial(print, flush=True)
    outcome = check(
        args.target,
        run=args.run,
        suite=args.suite,
        versions=args.versions,
        checkpoint=args.checkpoint,
        endpoint=args.endpoint,
        show=say,
    )
    if outcome.suite:
        say("\n".join(check_suite.lines(outcome.suite)))
    if outcome.rows:
        table = matrix.write_tables(outcome.report.name, outcome.rows)
        say("\n".join(["", *matrix.lines(outcome.rows), "", f"table: {table}"]))
    say(f"\n{printable(outcome.summary())}")
    if args.json:
        args.json.write_text(json.dumps(outcome.as_dict(), indent=2) + "\n", encoding="utf-8")
    return outcome.exit_code
