"""Repositories as bare git directories. Everything that knows git's objects is here, and nothing that knows HTTP.

DATA/repos/models/NAMESPACE/NAME.git holds a bare repository, hub.json (private or not, when
it was made, ...), lfs/objects and discussions. NAME.moved beside it holds the new name of what
was here. Blobs, trees and commits are written first and are invisible;
the compare-and-swap of one ref is the moment a commit exists.
"""

import json
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dulwich.errors import NotGitRepository
from dulwich.file import FileLocked
from dulwich.index import commit_tree
from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.refs import check_ref_format
from dulwich.repo import Repo

from pinfold.hub.files import sync_directory, write_file

KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}  # as a request says it: as a URL says it
SEGMENT = r"(?!.*(?:--|\.\.))(?!.*\.git$)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"  # the real Hub's rule
RESERVED = {"api", "models", "datasets", "spaces", "kernels", "resolve", "static", "login", "settings", "docs"}
FILE = 0o100644
_DIRECTORY = 0o040000
_SUBMODULE = 0o160000
MOVED = ".moved"
MAX_MOVES = 20
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


class Missing(LookupError):
    """There is no such revision."""


class Moved(Exception):
    """The ref is not where the caller thought, or exists already."""


class Store:
    """All repositories under DATA/repos."""

    def __init__(self, data: Path):
        self.root, self.temporary, self.parts = data / "repos", data / "tmp", data / "parts"
        self._locks: dict[Path, threading.RLock] = {}

    def repair(self) -> None:
        """Remove what a killed server left: unfinished uploads, and git's lock files, which would block writes."""
        shutil.rmtree(self.temporary, ignore_errors=True)
        self.temporary.mkdir(parents=True)
        for repo in self.root.glob("*/*/*.git"):
            for directory, subdirectories, names in os.walk(repo):
                if directory == str(repo):
                    subdirectories[:] = [name for name in subdirectories if name != "lfs"]
                for name in names:
                    if name.endswith(".lock"):
                        os.unlink(os.path.join(directory, name))

    def find(self, kind: str, repo_id: str) -> "Repository | None":
        """A repository by its name, or by one that it had and that nobody has taken since."""
        for _ in range(MAX_MOVES):
            path = self.path(kind, repo_id)
            try:
                if path.exists():
                    return Repository(path, kind, repo_id, self.lock(path))
                repo_id = path.with_suffix(MOVED).read_text()
            except (FileNotFoundError, NotGitRepository):  # also: deleted while we looked
                return None
        return None

    def all(self, kind: str, namespace: str = "*") -> "Iterator[Repository]":
        for path in sorted((self.root / kind).glob(f"{namespace}/*.git")):
            repo = self.find(kind, f"{path.parent.name}/{path.name.removesuffix('.git')}")
            if repo is not None:  # deleted while we walk
                yield repo

    def create(
        self, kind: str, repo_id: str, private: bool, files: dict[str, bytes], author: str, **settings: Any
    ) -> "Repository":
        """A new repository with one commit on main. It appears whole, or Moved says that one is there."""
        build = self.temporary / f"{secrets.token_hex(8)}.git"
        try:
            repo = self.build(build, kind, repo_id, private=private, **settings)
            tree = repo.write_tree({name: (FILE, repo.write_blob(content)) for name, content in files.items()})
            repo.add_ref("refs/heads/main", repo.write_commit(tree, None, author, "initial commit"))
            return self.place(repo)
        except BaseException:
            shutil.rmtree(build, ignore_errors=True)
            raise

    def build(self, directory: Path, kind: str, repo_id: str, **settings: Any) -> "Repository":
        """An empty repository at a directory of the caller's, not yet among the others."""
        directory.mkdir(parents=True)
        git = Repo.init_bare(str(directory))
        git.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
        config = git.get_config()
        config.set((b"core",), b"fsyncObjectFiles", True)
        config.write_to_path()
        (directory / "lfs" / "objects").mkdir(parents=True)
        write_file(directory / "hub.json", json.dumps({**settings, "created": int(time.time())}).encode())
        return Repository(directory, kind, repo_id, threading.RLock())

    def place(self, repo: "Repository") -> "Repository":
        """Let a repository that was built elsewhere appear under its name, whole."""
        return self._rename(repo.path, repo.kind, repo.id)

    def move(self, repo: "Repository", to: str) -> "Repository":
        """Give it another name. The old one leads to it, so that pinned snippets keep loading."""
        with repo.lock:
            moved = self._rename(repo.path, repo.kind, to)
            write_file(repo.path.with_suffix(MOVED), to.encode())
        return moved

    def _rename(self, source: Path, kind: str, repo_id: str) -> "Repository":
        path = self.path(kind, repo_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock(path):
            if path.exists() or path.name.lower() in {each.name.lower() for each in path.parent.glob("*.git")}:
                raise Moved(repo_id)
            os.rename(source, path)
        path.with_suffix(MOVED).unlink(missing_ok=True)
        sync_directory(path.parent)
        return Repository(path, kind, repo_id, self.lock(path))

    def delete(self, repo: "Repository") -> None:
        """Gone in one rename; the files follow."""
        grave = self.temporary / f"{secrets.token_hex(8)}.git"
        with repo.lock:
            os.rename(repo.path, grave)
        shutil.rmtree(grave, ignore_errors=True)

    def path(self, kind: str, repo_id: str) -> Path:
        namespace, _, name = repo_id.partition("/")
        if not (re.fullmatch(SEGMENT, namespace) and re.fullmatch(SEGMENT, name)):
            return self.root / kind / "invalid"  # a name nobody can create is a name nobody can find
        return self.root / kind / namespace / f"{name}.git"

    def lock(self, path: Path) -> threading.RLock:
        return self._locks.setdefault(path, threading.RLock())


class Repository:
    """One repository. Opened anew for each request: that takes 0.2 ms, and dulwich's caches are not for threads."""

    def __init__(self, path: Path, kind: str, repo_id: str, lock: threading.RLock):
        self.path, self.kind, self.id, self.lock = path, kind, repo_id, lock
        self.namespace, self.name = repo_id.split("/")
        self.url_path = repo_id if kind == "models" else f"{kind}/{repo_id}"
        self.git = Repo(str(path))
        self.settings: dict[str, Any] = json.loads((path / "hub.json").read_text())
        self.private: bool = self.settings["private"]
        self.created: int = self.settings["created"]

    def change(self, **settings: Any) -> None:
        """Change what hub.json says. Call with the lock."""
        self.settings = {**self.settings, **settings}
        write_file(self.path / "hub.json", json.dumps(self.settings).encode())
        self.private = self.settings["private"]

    # Refs ------------------------------------------------------------------------------------

    def refs(self, prefix: str) -> dict[str, str]:
        """Names under a prefix such as refs/heads/, with the commit each leads to."""
        found = self.git.refs.as_dict(prefix.rstrip("/").encode())
        return {name.decode("utf-8", "replace"): self._peel(sha) for name, sha in sorted(found.items())}

    def ref(self, name: str) -> str | None:
        """The commit that a full ref name leads to."""
        encoded = name.encode("utf-8", "replace")
        if not valid_ref(name):
            return None
        sha = self.git.refs.read_ref(encoded)
        return self._peel(sha) if sha else None

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
        self._swap(name, lambda: self.git.refs.add_if_new(name.encode(), sha.encode()))
        sync_directory((self.path / name).parent)

    def move_ref(self, name: str, old: str, new: str) -> None:
        """Compare and swap."""
        self._swap(name, lambda: self.git.refs.set_if_equals(name.encode(), old.encode(), new.encode()))
        sync_directory((self.path / name).parent)

    def delete_ref(self, name: str) -> None:
        self._swap(name, lambda: self.git.refs.remove_if_equals(name.encode(), None))

    def _swap(self, name: str, change: Callable[[], bool]) -> None:
        try:
            if not change():
                raise Moved(name)
        except (FileLocked, FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            # Somebody else's git holds the ref, or refs/heads/a is there and refs/heads/a/b was asked for.
            raise Moved(name) from error

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
            self.git.object_store.add_object(tag)
            sha = tag.id.decode()
        self.add_ref(name, sha)

    def _peel(self, sha: bytes) -> str:
        found = self.git.object_store[sha]
        while isinstance(found, Tag):
            found = self.git.object_store[found.object[1]]
        if not isinstance(found, Commit):
            raise KeyError(sha)
        return found.id.decode()

    # Reading ---------------------------------------------------------------------------------

    def commit(self, sha: str) -> Commit:
        return self.git.object_store[sha.encode()]

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
        parent = path.rpartition("/")[0]
        try:
            found = {each: (mode, oid) for each, mode, oid in self._walk(sha, parent, False)}
        except Missing:
            return None
        return self.load(path, *found[path]) if path in found else None

    def load(self, path: str, mode: int, oid: str) -> Entry:
        """Read the object behind a path."""
        if mode == _DIRECTORY:
            return Entry(path, oid)
        content = self.git.object_store[oid.encode()].as_raw_string()
        return Entry(path, oid, content, Pointer.parse(content))

    def _walk(self, sha: str, directory: str, recursive: bool) -> Iterator[tuple[str, int, str]]:
        tree = self.git.object_store[self.commit(sha).tree]
        for name in directory.split("/") if directory else ():
            try:
                tree = self.git.object_store[tree[name.encode("utf-8", "replace")][1]]
            except KeyError:
                tree = None
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
                    pending.append((f"{path}/", self.git.object_store[item.sha]))

    # Writing ---------------------------------------------------------------------------------

    def write_blob(self, content: bytes) -> str:
        blob = Blob.from_string(content)
        self.git.object_store.add_object(blob)
        return blob.id.decode()

    def write_tree(self, files: dict[str, tuple[int, str]]) -> str:
        blobs = [(path.encode(), oid.encode(), mode) for path, (mode, oid) in files.items()]
        return commit_tree(self.git.object_store, blobs).decode()

    def write_commit(self, tree: str, parent: str | None, author: str, message: str) -> str:
        commit = Commit()
        commit.tree, commit.parents = tree.encode(), [parent.encode()] if parent else []
        commit.author = commit.committer = _identity(author)
        commit.author_time = commit.commit_time = int(time.time())
        commit.author_timezone = commit.commit_timezone = 0
        commit.encoding, commit.message = b"UTF-8", message.encode()
        self.git.object_store.add_object(commit)
        return commit.id.decode()


def valid_ref(name: str) -> bool:
    return len(name) < 250 and check_ref_format(name.encode("utf-8", "replace")) and "\ufffd" not in name


def author_name(commit: Commit) -> str:
    return commit.author.decode("utf-8", "replace").partition(" <")[0]


def _identity(user: str) -> bytes:
    return f"{user} <{user}@localhost>".encode()
