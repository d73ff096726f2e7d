"""All repositories: found, made, moved and deleted.

DATA/repos/models/NAMESPACE/NAME.git holds a bare repository, hub.json (private or not, when it was made, ...),
lfs/objects and discussions. NAME.moved beside it holds the new name of what was here.
"""

import json
import os
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dulwich.repo import Repo

from pinfold.common.errors import printable
from pinfold.common.files import sync_directory, write_atomically
from pinfold.common.private import FILE as PRIVATE_FILE
from pinfold.common.private import close_to_others, make_directory
from pinfold.hub.storage.errors import Damaged, Gone, Moved
from pinfold.hub.storage.repository import FILE, Repository

KINDS = {"model": "models", "dataset": "datasets", "space": "spaces"}  # as a request says it: as a URL says it
SEGMENT = r"(?!.*(?:--|\.\.))(?!.*\.git$)[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"  # the real Hub's rule
RESERVED = {"api", "models", "datasets", "spaces", "kernels", "resolve", "static", "login", "settings", "docs"}
MOVED = ".moved"
MAX_MOVES = 20
# What this server makes in DATA/tmp: uploads, packs, repositories being built or deleted, probes for room.
_TEMPORARY = re.compile(r"[0-9a-f]{16}(\.git)?|probe-[0-9a-f]{8}|tmp[a-z0-9_]{8}")


class Store:
    """All repositories under DATA/repos."""

    def __init__(self, data: Path):
        self.root, self.temporary, self.parts = data / "repos", data / "tmp", data / "parts"
        self._locks: dict[Path, threading.RLock] = {}
        self._public: dict[Path, tuple[tuple[int, ...], bool]] = {}  # hub.json: (which one was read, what it says)

    def repair(self) -> None:
        """Remove what a killed server left: unfinished uploads, and git's lock files, which would block writes."""
        make_directory(self.temporary)
        for path in self.leftovers():
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        for repo in self.root.glob("*/*/*.git"):
            for directory, subdirectories, names in os.walk(repo):
                if directory == str(repo):
                    subdirectories[:] = [name for name in subdirectories if name != "lfs"]
                for name in names:
                    if name.endswith(".lock"):
                        os.unlink(os.path.join(directory, name))

    def leftovers(self) -> list[Path]:
        """What is in DATA/tmp and was made by this server; anything else there is left alone."""
        return [each for each in self.temporary.glob("*") if _TEMPORARY.fullmatch(each.name) and not each.is_symlink()]

    def find(self, kind: str, repo_id: str) -> "Repository | None":
        """A repository by its name, or by one that it had and that is still free."""
        for _ in range(MAX_MOVES):
            path = self.path(kind, repo_id)
            try:
                if (path / "hub.json").exists():
                    return Repository(path, kind, repo_id, self.lock(path))
                repo_id = path.with_suffix(MOVED).read_text()
            except (FileNotFoundError, NotADirectoryError, Gone):  # also: deleted while we looked
                return None
        return None

    def is_public(self, kind: str, repo_id: str) -> bool:
        """Whether everybody may read what has this name, or had it. False of what is missing or damaged.

        A private repository costs what a missing one does: both of two files are looked for in any case.
        """
        for _ in range(MAX_MOVES):
            path = self.path(kind, repo_id)
            here, elsewhere = self._says_public(path / "hub.json"), _text(path.with_suffix(MOVED))
            if here is not None or elsewhere is None:
                return bool(here)
            repo_id = elsewhere
        return False

    def _says_public(self, hub_json: Path) -> bool | None:
        """What a hub.json says, read once as long as it stays; None where there is none."""
        try:
            status = os.stat(hub_json)
        except OSError:
            self._public.pop(hub_json, None)
            return None
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        known = self._public.get(hub_json)
        if known is None or known[0] != stamp:
            try:
                says = json.loads(hub_json.read_text())["private"] is False
            except (OSError, ValueError, LookupError, TypeError, RecursionError):
                says = False
            known = self._public[hub_json] = (stamp, says)
        return known[1]

    def all(self, kind: str, namespace: str = "*") -> "Iterator[Repository]":
        for repo_id in self.names(kind, namespace):
            try:
                repo = self.find(kind, repo_id)
            except Damaged as error:  # the others are shown all the same
                print(printable(str(error)), file=sys.stderr, flush=True)
                continue
            if repo is not None:  # deleted while we walk
                yield repo

    def names(self, kind: str, namespace: str = "*") -> list[str]:
        """NAMESPACE/NAME of everything of a kind, of one namespace or of all."""
        paths = sorted((self.root / kind).glob(f"{namespace}/*.git"))
        return [f"{path.parent.name}/{path.name.removesuffix('.git')}" for path in paths]

    def twin(self, namespace: str) -> str | None:
        """A namespace that differs from this new one in case alone, which is one name on Windows and macOS."""
        names = {path.name for path in self.root.glob("*/*") if any(path.glob("*.git"))}
        return (
            None if namespace in names else next((each for each in names if each.lower() == namespace.lower()), None)
        )

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
        make_directory(directory)
        git = Repo.init_bare(str(directory))
        git.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")
        config = git.get_config()
        config.set((b"core",), b"fsyncObjectFiles", True)
        config.set((b"core",), b"sharedRepository", b"0600")  # for git itself, whatever the umask of who runs it here
        config.write_to_path()
        (directory / "lfs" / "objects").mkdir(parents=True)
        hub_json = json.dumps({**settings, "created": int(time.time())}).encode()
        write_atomically(directory / "hub.json", hub_json, PRIVATE_FILE)
        close_to_others(directory)  # what dulwich has made
        return Repository(directory, kind, repo_id, threading.RLock())

    def place(self, repo: "Repository") -> "Repository":
        """Let a repository that was built elsewhere appear under its name, whole and closed to others here."""
        close_to_others(repo.path)
        return self._rename(repo.path, repo.kind, repo.id)

    def move(self, repo: "Repository", to: str) -> "Repository":
        """Give it another name. The old one leads to it, so that pinned snippets keep loading."""
        left = repo.path.with_suffix(MOVED)
        with repo.present():
            # First: a crash or a full disk must not lose the old name.
            write_atomically(left, to.encode(), PRIVATE_FILE)
            try:
                return self._rename(repo.path, repo.kind, to)
            except BaseException:
                left.unlink(missing_ok=True)
                raise

    def _rename(self, source: Path, kind: str, repo_id: str) -> "Repository":
        path = self.path(kind, repo_id)
        make_directory(path.parent)
        with self.lock(path):
            self._bury_ghost(path)
            if path.exists() or path.name.lower() in {each.name.lower() for each in path.parent.glob("*.git")}:
                raise Moved(repo_id)
            os.rename(source, path)
        path.with_suffix(MOVED).unlink(missing_ok=True)
        sync_directory(path.parent)
        return Repository(path, kind, repo_id, self.lock(path))

    def _bury_ghost(self, path: Path) -> None:
        """Refs that were written after their repository had gone, by an older version, take no name."""
        if path.is_dir() and not (path / "hub.json").exists() and not (path / "objects").exists():
            grave = self.temporary / f"{secrets.token_hex(8)}.git"
            os.rename(path, grave)
            shutil.rmtree(grave, ignore_errors=True)

    def delete(self, repo: "Repository") -> None:
        """Gone in one rename; the files follow."""
        grave = self.temporary / f"{secrets.token_hex(8)}.git"
        with repo.present():
            os.rename(repo.path, grave)
            repo.path.with_suffix(MOVED).unlink(missing_ok=True)  # of a move that a crash stopped
        shutil.rmtree(grave, ignore_errors=True)

    def path(self, kind: str, repo_id: str) -> Path:
        namespace, _, name = repo_id.partition("/")
        if not (re.fullmatch(SEGMENT, namespace) and re.fullmatch(SEGMENT, name)):
            return self.root / kind / "invalid"  # what cannot be created cannot be found
        return self.root / kind / namespace / f"{name}.git"

    def lock(self, path: Path) -> threading.RLock:
        return self._locks.setdefault(path, threading.RLock())


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return None
