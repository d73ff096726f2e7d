"""Load a published model in several transformers versions and compare the numbers.

How it works:
- ``pinfold compat make 4.48.3 5.0.0`` installs each version as an overlay: a directory that is put in front
  of this environment with PYTHONPATH. "minimum" and "all" (every minor's newest patch) stand for lists.
- ``pinfold compat run ORG/NAME@SHA`` loads the repository at that commit in each version, in a fresh fenced
  process with an empty HF_HOME, and prints one row a version: every check, a hash of every output, the seconds.
- The table is also written to runs/compat, as Markdown and as JSON.

Example: pinfold compat run local/resnet-digits@main --versions 4.48.3 4.57.6 5.0.0 newest
"""

import argparse
import concurrent.futures
import contextlib
import functools
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from packaging.version import Version

from pinfold.audit.finding import Finding
from pinfold.audit.run import audit
from pinfold.common.errors import UserError, printable
from pinfold.fence import process as fence
from pinfold.fence.overlays import MINIMUM_MATRIX, OVERLAYS, check_version, find_overlay, make_overlay
from pinfold.folder import releases
from pinfold.folder.contents import check_files, code_elsewhere
from pinfold.folder.model_folder import DIGEST_LINE, read_folder, read_modules
from pinfold.folder.releases import lowest_version
from pinfold.remote.client import Remote, patience
from pinfold.remote.destination import EMBEDDED, HUB_DATA, opened
from pinfold.remote.snapshot import adopt, real_files
from pinfold.staging.stage import Staged
from pinfold.verify import matrix, verify

TABLES = Path("runs/compat")


@dataclass(frozen=True)
class Target:
    """Something that can be loaded, and how.

    Args:
        name: as tables quote it: a directory, or owner/name@sha.
        loading: verify's function for it, with everything but the version filled in.
    """

    name: str
    staged: Staged
    loading: Callable[..., dict]


@contextlib.contextmanager
def found(target: str, endpoint: str | None, work: Path) -> Iterator[Target]:
    """A directory, or a repository at a commit, downloaded whole.

    Raises:
        UserError: there is no such thing, or it holds no code or no safetensors.
    """
    if Path(target).is_dir():
        check_files(Path(target))
        staged = adopt(Path(target).resolve())
        yield Target(target, staged, functools.partial(_local_load, staged))
        return
    with repository(target, endpoint) as (remote, sha):
        hub_home, pins = work / "hub-home", {"repo": remote.repo, "revision": sha}
        files = real_files(remote.snapshot(sha, hub_home), work / "files" / remote.repo.split("/")[1])
        folder, others = read_modules(files), code_elsewhere(files)
        if not folder.modules and len(others) == 1:
            other = Remote(replace(remote.destination, repo=next(iter(others))), "main")
            pins["code_revision"] = other.head()
            if pins["code_revision"] is None:
                raise UserError(f"{target} uses code of {other.repo}, which is not on {remote.destination.endpoint}")
            folder = read_folder(real_files(other.snapshot(pins["code_revision"], hub_home), work / "code"))
        staged = adopt(files, folder if folder.modules else None)
        loading = functools.partial(verify.published_load, staged, hub_home=hub_home, resave=True, **pins)
        yield Target(f"{remote.repo}@{sha}", staged, loading)


def _local_load(staged: Staged, **rest) -> dict:
    """Load a directory. Two copies of one name are the author's matter only where staging has put a digest in."""
    try:
        return verify.staged_load(staged, **rest)
    except verify.Unverified as error:
        digest = any(DIGEST_LINE.search(module.source) for module in staged.folder.modules.values())
        if digest or {failure["check"] for failure in error.failures} != {"D07"}:
            raise
        word = "skipped: no CODE_DIGEST, so two local copies of one name share their code; a push writes one"
        return {"hashes": error.hashes, "checks": error.checks | {"D07": word}}


@contextlib.contextmanager
def repository(target: str, endpoint: str | None) -> Iterator[tuple[Remote, str]]:
    """A repository to read, and the commit that ``owner/name@revision`` names.

    Raises:
        UserError: no such repository or revision.
    """
    name, _, revision = target.partition("@")
    local = endpoint == EMBEDDED or (endpoint is None and name.startswith("local/"))
    if local and not HUB_DATA.exists():
        raise UserError(f"{target}: no embedded Hub in {HUB_DATA}; name another with --endpoint, or push to it first")
    with opened(name, name, EMBEDDED if local else endpoint, reading=True) as destination:
        remote = Remote(destination, revision or "main")
        sha = remote.head()
        if sha is None:
            raise UserError(
                f"{target} is not on {destination.endpoint}, or needs a token; give a directory or owner/name@revision"
            )
        yield remote, sha


def measure(
    target: Target, versions: list[str], work: Path, show: Callable[[matrix.Row], None] = lambda row: None
) -> list[matrix.Row]:
    """One row a version.

    The expected outputs are computed from the code and the tensors alone, with the newest of the versions that can;
    a row without failure has every tensor equal to the file and every output equal to those, bit for bit.

    Raises:
        UserError: the weights do not fit the code, or no version can build the model.
    """
    problem: UserError | None = None
    for version in sorted(versions, key=Version, reverse=True):
        try:
            expected = verify.reference(target.staged, target.staged.directory, work, overlay=find_overlay(version))
            break
        except UserError as error:
            problem = problem or error
    else:
        raise problem
    loading = functools.partial(target.loading, expected=expected, work=work)
    size = sum(path.stat().st_size for path in target.staged.weights)
    return matrix.run_matrix(versions, loading, size, expected.request["threads"], show)


def run(
    target: str, versions: list[str], endpoint: str | None = None, show: Callable[[str], None] = lambda line: None
) -> tuple[str, list[matrix.Row]]:
    """Load a repository at a commit, or a local checkpoint with its code, in several transformers versions.

    Args:
        target: "owner/name@revision", or a directory with config.json, safetensors and code.
        versions: such as "4.48.3"; "newest" is this environment's own; "minimum" and "all".
        show: called with each line of news.

    Returns:
        What was loaded, with its commit, and the rows.
    """
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary, patience():
        work = Path(temporary)
        with found(target, endpoint, work) as it:
            chosen, below = matrix.choose(versions, lowest_version(it.staged.folder))
            show(it.name)
            if below:
                lowest = lowest_version(it.staged.folder)
                show(f"not run: {', '.join(below)}; the folder declares {lowest} as its lowest")
            findings: list[Finding] = audit(it.staged.directory, it.staged.folder)
            for finding in findings:
                show(printable(f"audit: {finding}"))
            show(f"running its code, {fence.available().describe()}")
            return it.name, measure(it, chosen, work, show=lambda row: show(progress(row)))


def progress(row: matrix.Row) -> str:
    """The line that a version gets when it is done."""
    shown = printable(row.failure) or "  ".join(f"{auto} {value[:12]}" for auto, value in sorted(row.hashes.items()))
    return f"  transformers {row.version:<8} {shown}  [{row.seconds:.1f} s]"


def write_tables(name: str, rows: list[matrix.Row], directory: Path = TABLES) -> Path:
    """Keep the table as Markdown, and as JSON beside it; returns the path of the Markdown."""
    directory.mkdir(parents=True, exist_ok=True)
    stem = re.sub(r"[^\w.]+", "-", name.split("@")[0]).strip("-.") or "model"
    (directory / f"{stem}.json").write_text(matrix.as_json(name, rows), encoding="utf-8")
    path = directory / f"{stem}.md"
    path.write_text(matrix.markdown(name, rows), encoding="utf-8")
    return path


def make(versions: list[str]) -> None:
    """Install overlays, two at a time: pip waits for the network half of the time."""
    wanted: list[str] = []
    for version in versions:
        wanted += {"minimum": MINIMUM_MATRIX, "all": releases.every_minor()}.get(version, (version,))
    for version in wanted:
        if version != "newest":
            check_version(version)

    def one(version: str) -> None:
        started = time.monotonic()
        make_overlay(version)
        print(f"transformers {version}: {OVERLAYS / version} ({time.monotonic() - started:.0f} s)", flush=True)

    own = releases.every_minor()[-1]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(one, [v for v in dict.fromkeys(wanted) if v not in ("newest", own)]))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold compat``."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    make_ = actions.add_parser("make", help="install transformers versions as overlays in runs/overlays")
    make_.add_argument("versions", nargs="+", metavar="VERSION", help="such as 4.48.3; or minimum, or all")
    run_ = actions.add_parser("run", help="load a repository or checkpoint in each version and compare")
    run_.add_argument("target", metavar="OWNER/NAME@REVISION", help="or a directory with config, weights and code")
    run_.add_argument(
        "--versions", nargs="+", default=["minimum"], metavar="VERSION", help="such as 4.48.3; default: minimum"
    )
    run_.add_argument("--endpoint", metavar="URL", help=f'a Hub, or "{EMBEDDED}" (the default for local/...)')


def main(args: argparse.Namespace) -> int:
    """Make overlays, or run the matrix. Exit code 1 when a version fails or differs."""
    if args.action == "make":
        make(args.versions)
        return 0
    name, rows = run(args.target, args.versions, args.endpoint, show=functools.partial(print, flush=True))
    print("\n".join(["", *matrix.lines(rows), ""]))
    good = [row for row in rows if not row.failure]
    same = ", all with the same numbers" if len(good) > 1 and matrix.agree(rows) else ""
    print(f"{len(good)} of {len(rows)} versions load it{same}; {write_tables(name, rows)}")
    return 0 if matrix.agree(rows) else 1
