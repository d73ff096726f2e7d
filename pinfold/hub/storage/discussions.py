"""Discussions and pull requests as files: REPOSITORY.git/discussions/NUMBER.json, replaced whole.

A pull request is first of all a ref, refs/pr/NUMBER; its file adds title, status and comments.
Without a file it is described from its commit, so a crash between the two loses nothing.
"""

import json
import secrets
import time
from dataclasses import asdict, dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from pinfold.common.files import write_atomically
from pinfold.common.private import DIRECTORY, FILE
from pinfold.hub.storage.errors import Damaged, Refused
from pinfold.hub.storage.repository import Repository, author_name
from pinfold.hub.storage.times import date

PR_PREFIX = "refs/pr/"
OPEN = ("open", "draft")
MAX_TITLE = 300
MAX_COMMENT = 65_536
MAX_EVENTS = 1000  # after so many no comment is taken; its end can still be written
MAX_OF_ONE_USER = 200  # in a discussion of another user's repository
MAX_DISCUSSIONS = 10_000
MAX_EDITS = 50  # older versions of a comment are forgotten


@dataclass
class Discussion:
    """One discussion or pull request."""

    num: int
    title: str
    author: str
    created: int
    status: str = "open"  # open, closed, draft or merged
    pull: bool = False
    target: str = "refs/heads/main"  # of a pull request: the branch it is for
    base: str = ""  # and the commit of that branch it started from
    merged: str = ""  # and the commit it became
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def ref(self) -> str:
        return f"{PR_PREFIX}{self.num}"


def load(repo: Repository, number: int) -> Discussion | None:
    """A discussion by its number, or None."""
    try:
        return Discussion(**json.loads(_path(repo, number).read_text()))
    except FileNotFoundError:
        return _of_ref(repo, number)
    except (ValueError, TypeError, RecursionError) as error:
        raise Damaged(f"{repo.kind}/{repo.id}: discussions/{number}.json is damaged: {error}") from error


def check_room(repo: Repository, discussion: Discussion, user: str, is_comment: bool) -> None:
    """Refuse what would fill a discussion. Its owner can settle it even when others have filled it."""
    if is_comment and len(discussion.events) >= MAX_EVENTS:
        raise Refused(413, f"discussion {discussion.num} is full, with {MAX_EVENTS} events; open another")
    if user != repo.namespace and sum(each["author"]["name"] == user for each in discussion.events) >= MAX_OF_ONE_USER:
        raise Refused(413, f"{user} has {MAX_OF_ONE_USER} events in discussion {discussion.num}, which is the limit")


def save(repo: Repository, discussion: Discussion) -> None:
    path = _path(repo, discussion.num)
    with repo.present():
        path.parent.mkdir(mode=DIRECTORY, exist_ok=True)
        write_atomically(path, json.dumps(asdict(discussion)).encode(), FILE)


def all_of(repo: Repository) -> list[Discussion]:
    """Newest first."""
    return [discussion for number in sorted(_numbers(repo), reverse=True) if (discussion := load(repo, number))]


def next_number(repo: Repository, user: str) -> int:
    """Discussions and pull requests share their numbers, and no number is given twice.

    Others may take half of them, so that the owner can always open a pull request.
    """
    numbers = _numbers(repo)
    most = MAX_DISCUSSIONS if user == repo.namespace else MAX_DISCUSSIONS // 2
    if len(numbers) >= most:
        raise Refused(413, f"{repo.id} has {len(numbers)} discussions, and {user} may open one up to {most}")
    return 1 + max(numbers, default=0)


def open_number(repo: Repository, ref: str) -> None:
    """Refuse a commit to a pull request that is merged or closed."""
    number = ref.removeprefix(PR_PREFIX)
    discussion = load(repo, int(number)) if ref.startswith(PR_PREFIX) and number.isdigit() else None
    if discussion and discussion.status not in OPEN:
        raise Refused(403, f"pull request {number} is {discussion.status}; open a new one")


def _numbers(repo: Repository) -> set[int]:
    files = {path.stem for path in (repo.path / "discussions").glob("*.json")}
    return {int(each) for each in files | repo.refs(PR_PREFIX).keys() if each.isascii() and each.isdigit()}


def _path(repo: Repository, number: int) -> Path:
    return repo.path / "discussions" / f"{number}.json"


def _of_ref(repo: Repository, number: int) -> Discussion | None:
    tip = repo.ref(f"{PR_PREFIX}{number}")
    if tip is None:
        return None
    commit = repo.commit(tip)
    title = commit.message.decode("utf-8", "replace").partition("\n")[0]
    base = commit.parents[0].decode() if commit.parents else ""
    return Discussion(number, title[:MAX_TITLE], author_name(commit), commit.commit_time, pull=True, base=base)


# Events ---------------------------------------------------------------------------------------


def event(kind: str, author: str, data: dict[str, Any]) -> dict[str, Any]:
    """Something that happened just now, as the clients read it."""
    now = date(time.time())
    return {"id": secrets.token_hex(12), "type": kind, "createdAt": now, "author": person(author), "data": data}


def comment(author: str, text: str) -> dict[str, Any]:
    data = {"edited": False, "hidden": False, "latest": _version(author, text), "history": []}
    return event("comment", author, {**data, "numEdits": 0})


def edit(posted: dict[str, Any], author: str, text: str) -> None:
    data = posted["data"]
    data["history"] = [*data["history"], data["latest"]][-MAX_EDITS:]
    data["latest"], data["edited"], data["numEdits"] = _version(author, text), True, data["numEdits"] + 1


def hide(posted: dict[str, Any], author: str) -> None:
    """For good: the text is gone from the file too."""
    data = posted["data"]
    data["latest"], data["history"] = _version(author, "This comment has been hidden"), []
    data["hidden"], data["hiddenBy"], data["hiddenReason"] = True, author, ""


def _version(author: str, text: str) -> dict[str, Any]:
    html = f"<p>{escape(text)}</p>"  # the API renders nothing: text of one user is never another's markup
    return {"raw": text, "html": html, "updatedAt": date(time.time()), "author": person(author)}


def person(name: str) -> dict[str, Any]:
    return {"name": name, "fullname": name, "type": "user", "isPro": False, "avatarUrl": ""}
