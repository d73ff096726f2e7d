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
from pinfold.common.errors import UserError, printable
from pinfold.common.files import check_output
from pinfold.remote.destination import EMBEDDED


@dataclass
class Outcome:
    """What reading a target has shown, and what running it has, as far as that was wanted."""

    report: Report
    rows: list = field(default_factory=list)  # of verify.matrix.Row
    suite: list = field(default_factory=list)  # of verify.suite.Result

    def summary(self) -> str:
        """One paragraph that a user can act on."""
        parts = [self.report.summary()]
        if self.rows:
            parts.append(f"measured: {_of_runs().matrix.summary(self.rows)}")
        if self.suite:
            parts.append(f"suite: {_of_runs().check_suite.summary(self.suite)}")
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
        suite_failed = bool(self.suite) and _of_runs().suite_failed(self.suite)
        releases_fail = bool(self.rows) and not _of_runs().matrix.agree(self.rows)
        return int(suite_failed or releases_fail or bool(errors(self.report.findings)))


def _of_runs():
    """The module that runs code: importing it takes longer than reading a folder, which needs none of it."""
    from pinfold.cli import check_run

    return check_run


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
        _of_runs().matrix.choose(versions)  # a mistake is said before anything is downloaded
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary, contextlib.ExitStack() as stack:
        work = Path(temporary)
        local = Path(target).is_dir()
        if Path(target).is_file():
            raise UserError(f"{target} is a file; give its folder, {Path(target).parent}")
        if local:
            report = examine(code := Path(target), target)
        elif re.fullmatch(r"[\w.-]+/[\w.-]+(@[^@\s]+)?", target, re.ASCII):
            from pinfold.remote.client import patience  # a folder of this machine is read without a client
            from pinfold.remote.revision import open_revision
            from pinfold.remote.snapshot import outline

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
            outcome.suite = _of_runs().run_suite(report, target, code, versions, show)
        if run:
            source = Path(target) if local else None
            run_releases = _of_runs().run_releases
            outcome.rows = run_releases(report, target, source, versions, checkpoint, endpoint, work, show)
        return outcome


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
        print("\n".join(_of_runs().check_suite.listing()))
        return 0
    if args.json:
        check_output("--json", args.json)
    if args.target is None:
        raise UserError("name what to check: a folder, or a repository as owner/name[@revision]")
    if args.fix:
        measure = functools.partial(_of_runs().rows_of, args) if args.run else None
        if _of_runs().fix_folder(args.target, args.yes, measure) and not args.yes:
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
        say("\n".join(_of_runs().check_suite.lines(outcome.suite)))
    if outcome.rows:
        say("\n".join(_of_runs().table(outcome.rows)))
    if args.json:
        args.json.write_text(json.dumps(outcome.as_dict(), indent=2) + "\n", encoding="utf-8")
    if outcome.rows:
        say(f"table: {_of_runs().kept_table(outcome.report.name, outcome.rows)}")
    say(f"\n{printable(outcome.summary())}")
    return outcome.exit_code
