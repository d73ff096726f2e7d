"""The pages about discussions and pull requests: what is said, and what would change."""

from itertools import islice
from typing import Any

from markupsafe import Markup
from starlette.responses import Response

from pinfold.hub.pages.diff import compare_commits
from pinfold.hub.pages.files import place_of
from pinfold.hub.pages.markdown import render_markdown
from pinfold.hub.pages.page import Change, Place, page
from pinfold.hub.server.call import ApiCall
from pinfold.hub.storage import discussions
from pinfold.hub.storage.discussions import Discussion
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.repository import Repository

MAX_SEARCHED = 2000  # commits looked through for where a pull request began
PER_PAGE = 50


def listing(call: ApiCall) -> Response:
    """All of a repository's, newest first."""
    here, current = place_of(call), max(call.number("page", 1), 1)
    listed = discussions.all_of(here.repo)
    return page(
        call,
        "discussions.html",
        place=here,
        shown=listed[(current - 1) * PER_PAGE : current * PER_PAGE],
        current=current,
        pages=max(-(-len(listed) // PER_PAGE), 1),
    )


def discussion(call: ApiCall) -> Response:
    """One of them."""
    here, number = place_of(call), call.params["number"]
    short = number.isascii() and number.isdigit() and len(number) < 8
    thread = discussions.load(here.repo, int(number)) if short else None
    if thread is None:
        raise Refused(404, f"{here.repo.id} has no discussion {number[:20]!r}")
    tip = here.repo.ref(thread.ref) if thread.pull else None
    base = _base(here.repo, thread, tip) if tip else None
    return page(
        call,
        "discussion.html",
        place=here,
        thread=thread,
        said=[_event(here, at, each) for at, each in enumerate(thread.events)],
        tip=tip,
        commits=_commits(here.repo, base, tip) if tip else [],
        at_tip=Place(here.repo, thread.ref, tip) if tip else None,
        difference=compare_commits(here.repo, base, tip) if tip else None,
    )


def _event(here: Place, at: int, event: dict[str, Any]) -> dict[str, Any]:
    """Comments are Markdown, as cards are, and by strangers, as cards are."""
    data, kind = event["data"], event["type"]
    html = Markup()
    if kind == "comment" and not data["hidden"]:
        html = render_markdown(data["latest"]["raw"], here, prefix=f"c{at}-")
    texts = {
        "comment": "hid this comment" if kind == "comment" and data["hidden"] else "",
        "status-change": f"changed the status to {data.get('status')}",
        "title-change": f"changed the title from \u201c{data.get('from')}\u201d",
    }
    return {"author": event["author"]["name"], "time": event["createdAt"], "html": html, "text": texts.get(kind, kind)}


def _base(repo: Repository, thread: Discussion, tip: str) -> str | None:
    """The newest commit that a pull request shares with its branch; what is merged as it was knows where it began."""
    target = repo.ref(thread.target)
    shared = {each.id for each in islice(repo.history(target), MAX_SEARCHED)} if target else set()
    first = next((each.id.decode() for each in islice(repo.history(tip), MAX_SEARCHED) if each.id in shared), None)
    return thread.base or None if first in (tip, None) and thread.base else first


def _commits(repo: Repository, base: str | None, tip: str) -> list[Change]:
    """A pull request's own commits, newest first."""
    changes = []
    for commit in islice(repo.history(tip), MAX_SEARCHED):
        if commit.id.decode() == base:
            break
        changes.append(Change.of(commit))
    return changes
