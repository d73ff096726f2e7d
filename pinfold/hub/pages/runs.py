"""The files of a commit, for the question which code loading it runs."""

from pinfold.folder.loaded_code import Unreadable
from pinfold.hub.storage import lfs
from pinfold.hub.storage.repository import Repository


class CommitFiles:
    """The files of a commit, and which of them could not be read."""

    def __init__(self, repo: Repository, listed: dict[str, tuple[int, str]]):
        self.repo, self.listed = repo, listed
        self.unread: dict[str, str] = {}
        self.complete = True  # no large file was missing: of a mirror, some may come later

    @property
    def paths(self) -> list[str]:
        return list(self.listed)

    def __contains__(self, path: str) -> bool:
        return path in self.listed

    def size(self, path: str) -> int:
        return self.repo.load(path, *self.listed[path]).size

    def read(self, path: str, limit: int, room: int) -> bytes:
        """The whole content, wherever it is kept."""
        entry = self.repo.load(path, *self.listed[path])
        if entry.size > limit:
            raise Unreadable(f"longer than {limit} bytes")
        if entry.size > room:
            raise Unreadable("more than is read of one repository")
        if entry.pointer and not lfs.owns(self.repo, entry.pointer):
            self.complete = False
            raise Unreadable("missing on the server's disk")
        with lfs.open_entry(self.repo, entry) as file:
            return file.read()
