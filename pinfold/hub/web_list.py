"""The list of repositories. Thousands must list at once, so a repository is opened only when its page shows it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from starlette.responses import Response

from pinfold.hub import auth, web_facts
from pinfold.hub.store import Missing
from pinfold.hub.web_page import page, remembered
from pinfold.hub.wire import Call

PER_PAGE = 40
REMEMBERED = 50_000
_times: dict = {}  # (path, commit): when it was made


@dataclass(frozen=True)
class Row:
    """A repository in the list, before it is opened."""

    id: str
    path: Path
    private: bool
    sha: str
    time: int


@dataclass(frozen=True)
class Shown:
    """A repository as the list shows it."""

    row: Row
    address: str
    facts: web_facts.Facts


def listing(call: Call) -> Response:
    """One kind's repositories, the last changed first."""
    search = (call.query("search") or "").strip()
    rows = [row for row in _rows(call) if search.lower() in row.id.lower()]
    rows.sort(key=lambda row: (-row.time, row.id))
    current = max(call.number("page", 1), 1)
    shown = [_shown(call, row) for row in rows[(current - 1) * PER_PAGE : current * PER_PAGE]]
    return page(
        call,
        "list.html",
        kind=call.kind,
        total=len(rows),
        shown=[each for each in shown if each],
        current=current,
        pages=max(-(-len(rows) // PER_PAGE), 1),
    )


def _rows(call: Call) -> list[Row]:
    """Every repository that this user may read, from two small files each."""
    found = []
    for namespace in _directories(call.hub.store.root / call.kind):
        own = call.user is not None and call.user.name == namespace.name
        for path in _directories(namespace.path):
            if not path.name.endswith(".git"):
                continue
            try:
                private = json.loads(_read(f"{path.path}/hub.json"))["private"]
            except (OSError, ValueError, KeyError):  # deleted while we look
                continue
            if private and not own:
                continue
            repo_id = f"{namespace.name}/{path.name.removesuffix('.git')}"
            if row := _row(call, repo_id, path.path, private):
                found.append(row)
    return found


def _row(call: Call, repo_id: str, path: str, private: bool) -> Row | None:
    try:
        head = _read(f"{path}/refs/heads/main").strip().decode("ascii", "replace")
    except OSError:
        head = ""
    time = _times.get((path, head))
    if time is None:
        repo = call.hub.store.find(call.kind, repo_id)
        try:
            head = repo.resolve("main") if repo else ""
        except Missing:
            head = ""
        if not head:
            return None
        time = remembered(_times, REMEMBERED, (path, head), lambda: repo.commit(head).commit_time)
    return Row(repo_id, Path(path), private, head, time)


def _shown(call: Call, row: Row) -> Shown | None:
    repo = call.hub.store.find(call.kind, row.id)
    if repo is None or not auth.may_read(repo, call.user):
        return None
    return Shown(row, f"/{repo.url_path}", web_facts.of(repo, row.sha))


def _directories(path: str | Path) -> list[os.DirEntry]:
    try:
        with os.scandir(path) as entries:
            return [each for each in entries if each.is_dir()]
    except FileNotFoundError:
        return []


def _read(path: str) -> bytes:
    """A small file. Three calls of the system, where open() takes eight."""
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 65_536)
    finally:
        os.close(file)
