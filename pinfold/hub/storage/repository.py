"""One repository, as a bare git directory. Everything that knows git's objects is here, and nothing that knows HTTP.

Blobs, trees and commits are written first and are invisible; the compare-and-swap of one ref is the moment a commit
exists.
"""

import contextlib
import errno
import json
import os
import re
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dulwich.errors import FileFormatException
from dulwich.file import FileLocked
from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, ShaFile, Tag, Tree
from dulwich.refs import check_ref_format
from dulwich.repo import Repo

from pinfold.common.files import lock, sync_directory, write_atomically
from pinfold.common.private import DIRECTORY, make_directory
from pinfold.common.private import FILE as PRIVATE_FILE
from pinfold.hub.storage.errors import Damaged, Gone, Missing, Moved
from pinfold.hub.storage.times import LAST_TIME

FILE = 0o100644
_DIRECTORY = 0o040000
_SUBMODULE = 0o160000
# What dulwich and zlib raise for files that are not what they should be.
_BROKEN = (ValueError, AssertionError, StopIteration, RuntimeError, FileFormatException, zlib.error)
_OCCUPIED = (FileExistsError, NotADirectoryError, IsADirectoryError)
_OF_THE_SYSTEM = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/v1\noid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n")


@dataclass(frozen=True)
class Pointer:
    """What git stores in place of a large file."""

    oid: str  # sha256 of the content
    size: int

    def text(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n".encode()

    @staticmethod
    def parse(content: bytes) -> "Pointer | None":
        match = _POINTER.fullmatch(content)
        return Pointer(match[1].decode(), int(match[2])) if match else None


@dataclass(frozen=True)
class Entry:
    """A file or a directory of a commit."""

    path: str
    oid: str  # sha1 of the git object
    content: bytes | None = None  # None for a directory; of a large file the pointer's text
    pointer: Pointer | None = None

    @property
    def size(self) -> int:
        return self.pointer.size if self.pointer else len(self.content or b"")


class Repository:
    """One repository. Opened anew for each request: that takes 0.2 ms, and dulwich's caches are not for threads."""

    def __init__(self, path: Path, kind: str, repo_id: str, lock: threading.RLock):
        self.path, self.kind, self.id, self.lock = path, kind, repo_id, lock
        self.namespace, self.name = repo_id.split("/")
        self.url_path = repo_id if kind == "models" else f"{kind}/{repo_id}"
        self.settings: dict[str, Any] = self._read_settings()
        self.git = self._open()
        self.private: bool = self.settings["private"]
        self.created: int = self.settings["created"]

    def _open(self) -> Repo:
        try:
            return Repo(str(self.path))
        except Exception as error:  # NotGitRepository, and whatever a broken config makes dulwich raise
            raise self._unusable(error, "the git directory") from error

    def _read_settings(self) -> dict[str, Any]:
        try:
            settings = json.loads((self.path / "hub.json").read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise self._unusable(error, "hub.json") from error
        if wrong := _wrong_in(settings):
            raise Damaged(f"{self.kind}/{self.id}: hub.json is damaged: {wrong}")
        return settings

    def _unusable(self, error: Exception, what: str) -> Exception:
        if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM:
            return error
        if not (self.path / "hub.json").exists():  # deleted while we looked
            return Gone(self.id)
        reason = str(error).replace(str(self.path), self.path.name)
        return Damaged(f"{self.kind}/{self.id}: {what} is damaged: {reason[:200]}")

    @contextlib.contextmanager
    def present(self) -> Iterator[None]:
        """Hold the lock of a repository that is still there: a late write would bring back what has gone."""
        with self.lock:
            if not (self.path / "hub.json").exists():
                raise Gone(self.id)
            yield

    def change(self, **settings: Any) -> None:
        """Change what hub.json says, and nothing that another process has changed meanwhile."""
        with self.present(), lock(self.path / "settings-lock", mode=PRIVATE_FILE):
            self.settings = {**self._read_settings(), **settings}
            write_atomically(self.path / "hub.json", json.dumps(self.settings).encode(), PRIVATE_FILE)
        self.private = self.settings["private"]

    # Refs ------------------------------------------------------------------------------------

    def refs(self, prefix: str) -> dict[str, str]:
        """Names under a prefix such as refs/heads/, with the commit each leads to."""
        shown = {}
        for name, sha in sorted(self._named(prefix).items()):
            with contextlib.suppress(KeyError):  # a tag on a tree, or a commit that is not there: verify reports it
                shown[name.decode("utf-8", "replace")] = self._peel(sha)
        return shown

    def _named(self, prefix: str) -> dict[bytes, bytes]:
        try:
            return self.git.refs.as_dict(prefix.rstrip("/").encode())
        except _BROKEN as error:  # packed-refs cannot be read
            raise self._unusable(error, "the list of refs") from error

    def ref(self, name: str) -> str | None:
        """The commit that a full ref name leads to."""
        encoded = name.encode("utf-8", "replace")
        if not valid_ref(name):
            return None
        sha = self._value(encoded)
        try:
            return self._peel(sha) if sha else None
        except KeyError:  # it does not lead to a commit
            return None

    def _value(self, name: bytes) -> bytes | None:
        """What a ref holds, be it a file or a line of packed-refs."""
        try:
            return self.git.refs.read_ref(name)
        except _BROKEN as error:
            raise self._unusable(error, "the list of refs") from error

    def branch(self, revision: str) -> tuple[str, str]:
        """The full name and the tip of what a commit can be added to: a branch, or a pull request's ref."""
        name = revision if revision.startswith("refs/") else f"refs/heads/{revision}"
        tip = self.ref(name) if name.startswith(("refs/heads/", "refs/pr/")) else None
        if tip is None:
            raise Missing(f"{revision!r} is not a branch of {self.id}")
        return name, tip

    def resolve(self, revision: str) -> str:
        """The commit behind a branch, a tag, a full ref name or 40 hex digits."""
        if re.fullmatch(r"[0-9a-f]{40}", revision):
            try:
                return self._peel(revision.encode())
            except KeyError:
                raise Missing(f"{revision} is not a commit of {self.id}") from None
        names = [revision] if revision.startswith("refs/") else [f"refs/heads/{revision}", f"refs/tags/{revision}"]
        for name in names:
            if sha := self.ref(name):
                return sha
        raise Missing(f"{revision!r} is not a branch, tag or commit of {self.id}")

    def add_ref(self, name: str, sha: str) -> None:
        self._swap(name, None, sha)

    def move_ref(self, name: str, old: str, new: str) -> None:
        """Compare and swap."""
        self._swap(name, old, new)

    def delete_ref(self, name: str) -> None:
        try:
            with self.present():
                self.git.refs.remove_if_equals(name.encode(), None)
                with contextlib.suppress(FileNotFoundError):  # dulwich may have written it anew
                    (self.path / "packed-refs").chmod(PRIVATE_FILE)
        except OSError:
            (self.path / "packed-refs.lock").unlink(missing_ok=True)  # dulwich leaves it where the disk is full
            raise
        except FileLocked as error:
            raise Moved(name) from error
        except _BROKEN as error:
            raise self._unusable(error, "the list of refs") from error

    def _swap(self, name: str, old: str | None, new: str) -> None:
        """Let a ref lead to `new` if it leads to `old` now. Other git programs are kept out by git's own lock file."""
        path = self.path / name
        claim = path.with_name(f"{path.name}.lock")
        with self.present():
            try:
                make_directory(path.parent)
                file = os.open(claim, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
            except _OCCUPIED as error:  # another git program holds it, or a/b was asked for where a is a branch
                raise Moved(name) from error
            try:
                with open(file, "wb") as opened:
                    now = self._value(name.encode())
                    if now != (old.encode() if old else None) or self._in_the_way(name):
                        raise Moved(name)
                    opened.write(new.encode() + b"\n")
                    opened.flush()
                    os.fsync(file)
                os.replace(claim, path)
            except BaseException as error:
                claim.unlink(missing_ok=True)
                if isinstance(error, _OCCUPIED):  # or a, where there is a/b
                    raise Moved(name) from error
                raise
        sync_directory(path.parent)

    def _in_the_way(self, name: str) -> bool:
        """Whether packed-refs holds a ref that this one would be a directory of, or that is one of this one's."""
        encoded = name.encode()
        try:
            packed = self.git.refs.get_packed_refs()
        except _BROKEN as error:
            raise self._unusable(error, "the list of refs") from error
        return any(each.startswith(encoded + b"/") or encoded.startswith(each + b"/") for each in packed)

    def add_tag(self, name: str, sha: str, message: str, author: str) -> None:
        """A tag, by its full ref name; with a message it is an annotated one."""
        if message:
            tag = Tag()
            tag.name, tag.message, tag.tagger = (
                name.removeprefix("refs/tags/").encode(),
                message.encode(),
                _identity(author),
            )
            tag.object, tag.tag_time, tag.tag_timezone = (Commit, sha.encode()), int(time.time()), 0
            sha = self.add_object(tag)
        self.add_ref(name, sha)

    def _peel(self, sha: bytes) -> str:
        try:
            git_object = self.git.object_store[sha]
            while isinstance(git_object, Tag):
                git_object = self.git.object_store[git_object.object[1]]
        except _BROKEN as error:
            raise self._unusable(error, f"the object {sha[:40].decode('ascii', 'replace')}") from error
        if not isinstance(git_object, Commit):
            raise KeyError(sha)
        return git_object.id.decode()

    # Reading ---------------------------------------------------------------------------------

    def commit(self, sha: str) -> Commit:
        return self._object(sha.encode())

    def _object(self, sha: bytes) -> Any:
        """An object that another one names, so that it has to be there."""
        try:
            return self.git.object_store[sha]
        except (KeyError, *_BROKEN) as error:
            reason = "it is not there" if isinstance(error, KeyError) else str(error)
            raise self._unusable(ValueError(reason), f"the object {sha[:40].decode('ascii', 'replace')}") from error

    def history(self, sha: str) -> Iterator[Commit]:
        """A commit and its ancestors. History here is a line: every commit has at most one parent."""
        while True:
            commit = self.commit(sha)
            yield commit
            if not commit.parents:
                return
            sha = commit.parents[0].decode()

    def files(self, sha: str) -> dict[str, tuple[int, str]]:
        """Every file of a commit: path -> (mode, sha1). Reads trees only."""
        return {path: (mode, oid) for path, mode, oid in self._walk(sha, "", True) if mode != _DIRECTORY}

    def paths(self, sha: str, directory: str = "", recursive: bool = False) -> list[tuple[str, int, str]]:
        """(path, mode, sha1) of what is in a directory, sorted; Missing when it is not a directory."""
        return sorted(self._walk(sha, directory, recursive))

    def entry(self, sha: str, path: str) -> Entry | None:
        """One file or directory of a commit."""
        return self.entries(sha, [path]).get(path)

    def entries(self, sha: str, paths: Iterable[str]) -> dict[str, Entry]:
        """Those of these paths that are there. Each directory is read once, however many of them are in it."""
        present: dict[str, tuple[int, str]] = {}
        asked = dict.fromkeys(paths)
        for directory in {path.rpartition("/")[0] for path in asked}:
            with contextlib.suppress(Missing):
                present |= {
                    path: (mode, oid) for path, mode, oid in self._walk(sha, directory, False) if path in asked
                }
        return {path: self.load(path, *present[path]) for path in asked if path in present}

    def load(self, path: str, mode: int, oid: str) -> Entry:
        """Read the object behind a path."""
        if mode == _DIRECTORY:
            return Entry(path, oid)
        content = self._object(oid.encode()).as_raw_string()
        return Entry(path, oid, content, Pointer.parse(content))

    def _walk(self, sha: str, directory: str, recursive: bool) -> Iterator[tuple[str, int, str]]:
        tree = self._object(self.commit(sha).tree)
        for name in directory.split("/") if directory else ():
            try:
                child = tree[name.encode("utf-8", "replace")]
            except KeyError:
                child = (_SUBMODULE, b"")
            tree = None if child[0] == _SUBMODULE else self._object(child[1])
            if not isinstance(tree, Tree):
                raise Missing(f"{directory!r} is not a directory")
        pending = [(f"{directory}/" if directory else "", tree)]
        while pending:
            prefix, tree = pending.pop()
            for item in tree.items():
                if item.mode == _SUBMODULE:  # of a mirrored history: its content is elsewhere
                    continue
                path = prefix + item.path.decode("utf-8", "replace")
                yield path, item.mode, item.sha.decode()
                if recursive and item.mode == _DIRECTORY:
                    pending.append((f"{path}/", self._object(item.sha)))

    # Writing ---------------------------------------------------------------------------------

    def write_blob(self, content: bytes) -> str:
        return self.add_object(Blob.from_string(content))

    def add_object(self, git_object: ShaFile) -> str:
        """A loose object. Not dulwich's way: its lock file stays where the disk is full, and blocks the next try."""
        sha = git_object.id.decode()
        path = self.path / "objects" / sha[:2] / sha[2:]
        try:
            os.utime(path)  # young again, for gc
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir(mode=DIRECTORY)  # without parents: a repository deleted meanwhile must not come back
            write_atomically(path, git_object.as_legacy_object(), mode=PRIVATE_FILE, sync=False)
        return sha

    def write_tree(self, files: dict[str, tuple[int, str]]) -> str:
        blobs = [(path.encode(), oid.encode(), mode) for path, (mode, oid) in files.items()]
        return commit_tree(self, blobs).decode()

    def write_commit(self, tree: str, parent: str | None, author: str, message: str) -> str:
        commit = Commit()
        commit.tree, commit.parents = tree.encode(), [parent.encode()] if parent else []
        commit.author = commit.committer = _identity(author)
        commit.author_time = commit.commit_time = int(time.time())
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding, commit.message = b"UTF-8", message.encode()
        return self.add_object(commit)


def _wrong_in(settings: object) -> str:
    """What of hub.json cannot be right, or nothing."""
    if not isinstance(settings, dict):
        return "it is not a JSON object"
    if not isinstance(settings.get("private"), bool):
        return "private is neither true nor false"
    created = settings.get("created")
    if type(created) is not int or not 0 <= created <= LAST_TIME:
        return "created is not a time"
    mirror = settings.get("mirror", {})
    complete = mirror.get("complete", []) if isinstance(mirror, dict) else None
    if not isinstance(complete, list) or not all(isinstance(each, str) for each in complete):
        return "mirror does not name an origin"
    return "" if isinstance(settings.get("space", {}), dict) else "space is not a JSON object"


def valid_ref(name: str) -> bool:
    return len(name) < 250 and check_ref_format(name.encode("utf-8", "replace")) and "\ufffd" not in name


def author_name(commit: Commit) -> str:
    return commit.author.decode("utf-8", "replace").partition(" <")[0]


def _identity(user: str) -> bytes:
    return f"{user} <{user}@localhost>".encode()
