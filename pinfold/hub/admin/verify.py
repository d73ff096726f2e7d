"""`pinfold hub verify`: whether every repository is whole: refs, commits, trees, files, large files, its JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dulwich.objects import Commit, ShaFile, Tree

from pinfold.common.errors import UserError, printable
from pinfold.common.files import sha256_of_file
from pinfold.hub.admin.maintenance import DAMAGE, pointer_in, reason, repositories
from pinfold.hub.server.tokens import Tokens
from pinfold.hub.storage import discussions, lfs, packs
from pinfold.hub.storage.repository import Pointer, Repository
from pinfold.hub.storage.times import LAST_TIME


@dataclass
class Verified:
    """How much was looked at."""

    repositories: int = 0
    objects: int = 0
    large: int = 0
    size: int = 0


def verify(data: Path, seen: Verified) -> Iterator[str]:
    """Read every object and every large file; one line for each fault."""
    try:
        Tokens(data).listed()
    except (UserError, OSError) as error:
        yield f"tokens.json: {error}"
    if (data / "server.json").exists() and (fault := _json_fault(data / "server.json")):
        yield f"server.json: {fault}"
    faults: list[str] = []
    for repo in repositories(data, faults):
        seen.repositories += 1
        for fault in _verify(repo, seen):
            if repo.path.exists():  # else deleted meanwhile
                yield printable(f"{repo.kind}/{repo.id}: {fault}")
    yield from faults


def _verify(repo: Repository, seen: Verified) -> Iterator[str]:
    for path in sorted((repo.path / "discussions").glob("*.json")):
        try:
            discussions.load(repo, int(path.stem))
        except (*DAMAGE, TypeError) as error:
            yield f"discussions/{path.name} is damaged: {reason(error)}"
    commits: set[bytes] = set()
    yield from _verify_refs(repo, commits)
    yield from _verify_history(repo, commits, seen)


def _verify_refs(repo: Repository, commits: set[bytes]) -> Iterator[str]:
    """Adds to `commits` what the refs lead to."""
    try:
        names = repo.git.refs.allkeys()
    except DAMAGE as error:
        yield f"the list of refs is damaged: {reason(error)}"
        return
    for name in sorted(names):
        try:
            commit, tags = packs.peel(repo.git.object_store, repo.git.refs[name])
            commits.add(commit)
            for tag in tags:
                _check_hash(repo, tag)
        except DAMAGE as error:
            yield f"{name.decode('utf-8', 'replace')} does not lead to a commit: {reason(error)}"
    for name, what in ((b"refs/heads/main", "branch main"), (b"HEAD", "HEAD")):
        if name not in names:
            yield f"there is no {what}"


def _verify_history(repo: Repository, pending: set[bytes], seen: Verified) -> Iterator[str]:
    """Objects one by one, so that one fault does not hide the next."""
    complete, left_out = _mirrored(repo)
    done: set[bytes] = set()
    pointers: dict[Pointer, bool] = {}
    # What needs its large files comes first: a file that it shares with a commit that does not is then one it needs.
    queue, later = [(sha, f"commit {sha.decode()}") for sha in (pending | complete) - left_out], []
    later += [(sha, f"commit {sha.decode()}") for sha in pending & left_out]
    while queue or later:
        needed = bool(queue)
        sha, what = (queue or later).pop()
        if sha in done:
            continue
        done.add(sha)
        seen.objects += 1
        try:
            for each, name in _inside(repo, sha, what):
                needs = each not in left_out if name.startswith("commit ") else needed
                (queue if needs else later).append((each, name))
            if wrong := _wrong_time(repo, sha):
                yield f"{what} has the time {wrong}, which is not a date"
            if pointer := pointer_in(repo, sha):
                pointers[pointer] = needed or pointers.get(pointer, False)
        except DAMAGE as error:
            yield f"{what} is missing or damaged: {reason(error)}"
    for pointer, needed in pointers.items():
        yield from _verify_large(repo, pointer, needed, seen)


def _inside(repo: Repository, sha: bytes, what: str) -> list[tuple[bytes, str]]:
    """(object, how to name it) of all that an object names, after a look at its hash."""
    _check_hash(repo, sha)
    git_object = repo.git.object_store[sha]
    if isinstance(git_object, Commit):
        parents = [(each, f"commit {each.decode()}") for each in git_object.parents]
        return [*parents, (git_object.tree, f"the tree of {what}")]
    if not isinstance(git_object, Tree):
        return []
    return [
        (item.sha, f"{item.path.decode('utf-8', 'replace')!r} ({item.sha.decode()})")
        for item in git_object.items()
        if item.mode != 0o160000
    ]


def _wrong_time(repo: Repository, sha: bytes) -> str:
    git_object = repo.git.object_store[sha]
    times = (git_object.commit_time, git_object.author_time) if isinstance(git_object, Commit) else ()
    return next((str(each)[:40] for each in times if not 0 <= each <= LAST_TIME), "")


def _mirrored(repo: Repository) -> tuple[set[bytes], set[bytes]]:
    """Commits of a mirror that have their large files, and those before them whose files stayed at the source."""
    mirror = repo.settings.get("mirror") or {}
    complete = {each.encode() for each in mirror.get("complete", [])}
    try:
        return complete, packs.ancestors(repo.git.object_store, complete) - complete
    except DAMAGE:
        return complete, set()


def _verify_large(repo: Repository, pointer: Pointer, needed: bool, seen: Verified) -> Iterator[str]:
    size = lfs.stored_size(repo, pointer.oid)
    if size is None:
        if needed:
            yield f"large file {pointer.oid} is missing"
        return
    seen.large += 1
    seen.size += size
    if size != pointer.size:
        yield f"large file {pointer.oid} has {size} bytes and should have {pointer.size}"
        return
    if sha256_of_file(lfs.object_path(repo, pointer.oid)) != pointer.oid:
        yield f"large file {pointer.oid} has another sha256: it is damaged"


def _check_hash(repo: Repository, sha: bytes) -> None:
    kind, content = repo.git.object_store.get_raw(sha)
    if ShaFile.from_raw_string(kind, content).id != sha:
        raise ValueError("its content has another hash")


def _json_fault(path: Path) -> str:
    try:
        json.loads(path.read_text())
        return ""
    except (OSError, ValueError) as error:
        return f"damaged: {reason(error)}"
