"""Load a published model in several transformers releases and compare the numbers.

How it works:
- ``pinfold compat make 4.48.3 5.0.0`` installs each release as an overlay: a directory that is put in front
  of this environment with PYTHONPATH. "minimum" and "all" (every minor's newest patch) are lists. They are kept with
  this user's data, or in runs/overlays where the current folder has that.
- ``pinfold compat run ORG/NAME@SHA`` loads the repository at that commit in each release, in a fresh sandboxed
  process with an empty HF_HOME, and prints one row per release: every check, a hash of every output, the seconds.
- The table is also written to runs/compat, as Markdown and as JSON.

Example: pinfold compat run local/resnet-digits@main --versions 4.48.3 4.57.6 5.0.0 newest
"""

import argparse
import concurrent.futures
import contextlib
import functools
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pinfold.audit.finding import Finding, errors
from pinfold.audit.run import audit
from pinfold.cli.parser import add_action
from pinfold.common.errors import UserError, printable
from pinfold.fence import process as fence
from pinfold.fence.overlays import NEWEST, check_version, make_overlay
from pinfold.folder.contents import check_files, code_elsewhere
from pinfold.folder.model_folder import read_folder, read_modules
from pinfold.folder.releases import every_minor, lowest_version
from pinfold.remote.client import Remote, patience
from pinfold.remote.destination import EMBEDDED
from pinfold.remote.revision import open_revision
from pinfold.remote.snapshot import adopt, real_files
from pinfold.verify import matrix, verify
from pinfold.verify.pickled import readable


@contextlib.contextmanager
def open_target(target: str, endpoint: str | None, work: Path) -> Iterator[matrix.Target]:
    """A directory, or a repository at a commit, downloaded completely.

    Raises:
        UserError: it does not exist, or has no code or no safetensors.
    """
    if Path(target).is_dir():
        check_files(Path(target))
        directory = Path(target).resolve()
        files = readable(directory, work)
        staged = adopt(files, None if files == directory else read_folder(directory))
        yield matrix.Target(target, staged, functools.partial(verify.staged_load, staged))
        return
    with open_revision(target, endpoint) as (remote, sha):
        hub_home = work / "hub-home"
        pins = {"repo": remote.repo, "revision": sha}
        snapshot = remote.snapshot(sha, hub_home)
        if not any(snapshot.glob("*.safetensors")):
            snapshot = remote.snapshot(sha, hub_home, pickles=True)
        files = real_files(snapshot, work / "files" / remote.repo.split("/")[1])
        files = readable(files, work)
        folder, others = read_modules(files), code_elsewhere(files)
        if not folder.modules and len(others) == 1:
            other = Remote(replace(remote.destination, repo=next(iter(others))), "main")
            pins["code_revision"] = other.head()
            if pins["code_revision"] is None:
                raise UserError(f"{target} uses code of {other.repo}, which is not on {remote.destination.endpoint}")
            folder = read_folder(real_files(other.snapshot(pins["code_revision"], hub_home), work / "code"))
        staged = adopt(files, folder if folder.modules else None)
        loading = functools.partial(verify.published_load, staged, hub_home=hub_home, resave=True, **pins)
        yield matrix.Target(f"{remote.repo}@{sha}", staged, loading)


def load_in_versions(
    target: str, versions: list[str], endpoint: str | None = None, show: Callable[[str], None] = lambda line: None
) -> tuple[str, list[matrix.Row]]:
    """Load a repository at a commit, or a local checkpoint with its code, in several transformers releases.

    Args:
        target: "owner/name@revision", or a directory with config.json, safetensors and code.
        versions: releases such as "4.48.3"; "newest" is this environment's own; "minimum" and "all".
        show: called with each line of progress.

    Returns:
        What was loaded, with its commit, and the rows.
    """
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary, patience():
        work = Path(temporary)
        with open_target(target, endpoint, work) as loaded:
            chosen, below = matrix.choose(versions, lowest_version(loaded.staged.folder))
            show(loaded.name)
            if below:
                lowest = lowest_version(loaded.staged.folder)
                show(f"not run: {', '.join(below)}; the folder declares {lowest} as its lowest")
            findings: list[Finding] = audit(loaded.staged.directory, loaded.staged.folder)
            for finding in findings:
                show(printable(f"audit: {finding}"))
            dangerous = (finding.code for finding in errors(findings) if finding.code.startswith("S"))
            show(f"running its code, {fence.permit(loaded.name, next(dangerous, None)).describe()}")
            return loaded.name, matrix.measure(loaded, chosen, work, show=lambda row: show(matrix.progress(row)))


def make(versions: list[str]) -> None:
    """Install overlays, two at a time: pip waits for the network half of the time."""
    named = matrix.expand(versions)
    for version in named:
        if version != NEWEST:
            check_version(version)

    def one(version: str) -> None:
        started = time.monotonic()
        directory = make_overlay(version)
        print(f"transformers {version}: {directory} ({time.monotonic() - started:.0f} s)", flush=True)

    own = every_minor()[-1]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(one, [v for v in dict.fromkeys(named) if v not in (NEWEST, own)]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold compat``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    summary = "install transformers releases as overlays, once for every folder"
    make_ = add_action(actions, "make", summary, "compat make 4.48.3 5.0.0")
    make_.add_argument("versions", nargs="+", metavar="VERSION", help="such as 4.48.3; or minimum, or all")
    summary = "load a repository or checkpoint in each release and compare"
    run_ = add_action(actions, "run", summary, "compat run local/resnet-digits@main --versions 4.48.3 newest")
    run_.add_argument("target", metavar="OWNER/NAME@REVISION", help="or a directory with config, weights and code")
    run_.add_argument(
        "--versions", nargs="+", default=["minimum"], metavar="VERSION", help="such as 4.48.3; default: minimum"
    )
    run_.add_argument("--endpoint", metavar="URL", help=f'a Hub, or "{EMBEDDED}" (the default for local/...)')


def main(args: argparse.Namespace) -> int:
    """Make overlays, or run the matrix. Exit code 1 when a release fails or differs."""
    if args.action == "make":
        make(args.versions)
        return 0
    name, rows = load_in_versions(args.target, args.versions, args.endpoint, show=functools.partial(print, flush=True))
    print("\n".join(["", *matrix.lines(rows), ""]))
    good = [row for row in rows if not row.failure]
    same = ", all with the same numbers" if len(good) > 1 and matrix.agree(rows) else ""
    print(f"{len(good)} of {len(rows)} releases load it{same}; {matrix.write_tables(name, rows)}")
    return 0 if matrix.agree(rows) else 1
