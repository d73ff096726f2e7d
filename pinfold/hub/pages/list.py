"""The list of repositories. One is opened only when its page shows it."""

from dataclasses import dataclass

from starlette.responses import Response

from pinfold.hub.pages.facts import Facts, facts_of
from pinfold.hub.pages.page import page
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall
from pinfold.hub.storage.glance import Glance, glances, guarded

PER_PAGE = 40


@dataclass(frozen=True)
class Shown:
    """A repository as the list shows it."""

    row: Glance
    address: str
    facts: Facts | None  # None of a damaged one


def listing(call: ApiCall) -> Response:
    """One kind's repositories, the last changed first."""
    search = (call.query("search") or "").strip()
    rows = [row for row in _rows(call) if search.lower() in row.id.lower()]
    rows.sort(key=lambda row: (-row.time, row.id))
    current = max(call.number("page", 1), 1)
    shown = [
        guarded(row, _damaged(call, row), _shown, call, row)
        for row in rows[(current - 1) * PER_PAGE : current * PER_PAGE]
    ]
    return page(
        call,
        "list.html",
        kind=call.kind,
        total=len(rows),
        shown=[each for each in shown if each],
        current=current,
        pages=max(-(-len(rows) // PER_PAGE), 1),
    )


def _rows(call: ApiCall) -> list[Glance]:
    """Every repository that this user may read."""
    user = call.user.name if call.user else None
    return [row for row in glances(call.hub.store, call.kind) if not row.private or row.namespace == user]


def _damaged(call: ApiCall, row: Glance) -> Shown:
    return Shown(row, f"/{'' if call.kind == 'models' else f'{call.kind}/'}{row.id}", None)


def _shown(call: ApiCall, row: Glance) -> Shown | None:
    if row.damaged:
        return _damaged(call, row)
    repo = call.hub.store.find(call.kind, row.id)
    if repo is None or not auth.may_read(repo, call.user):
        return None
    return Shown(row, f"/{repo.url_path}", facts_of(repo, row.sha))
