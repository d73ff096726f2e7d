"""Which git objects belong together: what a commit reaches, what a client lacks, and the pack that carries it."""

import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator

from dulwich.object_store import BaseObjectStore
from dulwich.objects import Commit, Tag, Tree

_SUBMODULE = 0o160000  # names a commit of another repository


def ancestors(store: BaseObjectStore, tips: Iterable[bytes], edge: Iterable[bytes] = ()) -> set[bytes]:
    """These commits and all before them. Commits of `edge` count as having no parents."""
    edge, reached, pending = set(edge), set(), list(tips)
    while pending:
        sha = pending.pop()
        if sha not in reached:
            reached.add(sha)
            if sha not in edge:
                pending += store[sha].parents
    return reached


def peel(store: BaseObjectStore, sha: bytes) -> tuple[bytes, list[bytes]]:
    """The commit that a ref's value leads to, and the tag objects on the way. KeyError where there is none."""
    tags, target = [], store[sha]
    while isinstance(target, Tag):
        tags.append(sha)
        sha = target.object[1]
        target = store[sha]
    if not isinstance(target, Commit):
        raise KeyError(sha)
    return sha, tags


def add_files(store: BaseObjectStore, tree: bytes, seen: dict[bytes, None]) -> None:
    """Add a tree and what is in it to `seen`, skipping every directory that is there already."""
    pending = [tree]
    while pending:
        sha = pending.pop()
        if sha in seen:
            continue
        seen[sha] = None
        git_object = store[sha]
        if not isinstance(git_object, Tree):
            raise KeyError(sha)
        for item in git_object.items():
            if item.mode == 0o040000:
                pending.append(item.sha)
            elif item.mode != _SUBMODULE:
                seen[item.sha] = None


def missing(
    store: BaseObjectStore,
    wants: list[bytes],
    haves: set[bytes],
    client_edge: set[bytes],
    edge: set[bytes],
    tags: dict[bytes, bytes],
) -> list[bytes]:
    """The objects a client needs for `wants`.

    It has `haves` with their ancestors down to `client_edge`, its own shallow commits, and
    asked for history down to `edge`. `tags` are annotated tags (tag -> commit) it takes along.
    """
    commits, wanted_tags = set(), []
    for want in wants:
        commit, on_the_way = peel(store, want)
        commits.add(commit)
        wanted_tags += on_the_way
    owned = ancestors(store, haves, client_edge)
    needed = ancestors(store, commits, edge) - owned
    known: dict[bytes, None] = {}
    for sha in haves | {parent for each in needed for parent in store[each].parents if parent in owned}:
        add_files(store, store[sha].tree, known)
    old = len(known)
    for sha in sorted(needed):
        add_files(store, store[sha].tree, known)
    wanted_tags += [tag for tag, commit in tags.items() if commit in needed]
    return [*dict.fromkeys(wanted_tags), *sorted(needed), *list(known)[old:]]


def write_pack(write: Callable[[bytes], object], store: BaseObjectStore, shas: list[bytes]) -> None:
    """A pack of whole objects. Deltas would save bytes that never leave this machine, and cost seconds."""
    digest = hashlib.sha1(usedforsecurity=False)
    for chunk in _pack(store, shas):
        digest.update(chunk)
        write(chunk)
    write(digest.digest())


def _pack(store: BaseObjectStore, shas: list[bytes]) -> Iterator[bytes]:
    yield b"PACK" + (2).to_bytes(4, "big") + len(shas).to_bytes(4, "big")
    for sha in shas:
        kind, content = store.get_raw(sha)
        size = len(content)
        head = bytearray([kind << 4 | size & 15])
        size >>= 4
        while size:  # the size goes on in groups of seven bits
            head[-1] |= 128
            head.append(size & 127)
            size >>= 7
        yield bytes(head) + zlib.compress(content, 1)


def boundary(store: BaseObjectStore, tips: Iterable[bytes], depth: int) -> tuple[set[bytes], set[bytes]]:
    """(the commits at this depth, those above it): where a shallow clone ends. Depth 1 is the tip alone."""
    level, above = {peel(store, each)[0] for each in tips}, set()
    for _ in range(depth - 1):
        above |= level
        level = {parent for sha in level for parent in store[sha].parents} - above
        if not level:
            break
    first = {sha for sha in level if not store[sha].parents}
    return level - first, above | first
