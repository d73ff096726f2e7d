"""The lists of repositories: searched, filtered, sorted and in pages."""

import re
from typing import Any

from starlette.responses import Response

from pinfold.hub.api import card_tags, info
from pinfold.hub.api.browse import ENTRIES_PER_PAGE, answer_page
from pinfold.hub.server.call import ApiCall, answer
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.glance import Glance, glances, guarded, remembered

SORTS = ("createdAt", "lastModified", "downloads", "likes", "trendingScore")
REMEMBERED = 10_000
_NOTHING_RUNS = ("inference", "inference_provider", "apps")  # asked for, the honest answer is an empty list
_descriptions: dict = {}  # (path, commit, settings): what is said about it
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def repos(call: ApiCall) -> Response:
    """GET /api/models and its like."""
    fields = call.request.query_params.getlist("expand")
    sort = call.query("sort") or "lastModified"
    if sort not in SORTS:
        raise Refused(400, f"sort {sort[:40]!r} is unknown; use {', '.join(SORTS)}")
    matching = [row for row in _readable(call) if guarded(row, False, _is_asked_for, call, row)]
    matching.sort(key=lambda row: row.id)
    order = {"createdAt": lambda row: row.created, "lastModified": lambda row: row.time}.get(sort, lambda row: 0)
    matching.sort(key=order, reverse=call.query("direction") != "1")
    limit = min(call.number("limit", ENTRIES_PER_PAGE), ENTRIES_PER_PAGE)

    def shown(row: Glance) -> dict[str, Any]:
        described = _described(call, row)
        if not call.flag("cardData"):
            described = {name: value for name, value in described.items() if name != "cardData"}
        if not (fields or call.flag("full") or call.flag("config")):
            return described
        repo = call.hub.store.find(call.kind, row.id)
        if repo is None:  # deleted meanwhile
            return described
        if fields:
            return info.expanded_payload(repo, row.sha, fields)
        if call.flag("full"):
            return info.repo_payload(repo, row.sha, siblings=True, details=call.flag("config"))
        return described | (info.expanded_payload(repo, row.sha, ["config"]) if repo.kind == "models" else {})

    start = call.number("cursor", 0)
    return answer_page(call, matching, start, max(limit, 1), lambda row: guarded(row, None, shown, row))


def tags_by_type(call: ApiCall) -> Response:
    """What the models or datasets that this user may read can be filtered by."""
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for row in _readable(call):
        described = guarded(row, None, _described, call, row) or {"tags": []}
        for tag in described["tags"]:
            kind = tag.partition(":")[0] if ":" in tag else "other"
            kind = next((name for name in ("pipeline_tag", "library_name") if described.get(name) == tag), kind)
            name = kind.removesuffix("_name")
            groups.setdefault(name, {})[tag] = {"id": tag, "label": tag.rpartition(":")[2], "type": name}
    return answer({name: sorted(group.values(), key=lambda each: each["id"]) for name, group in groups.items()})


def _readable(call: ApiCall) -> list[Glance]:
    user = call.user.name if call.user else None
    rows = [row for row in glances(call.hub.store, call.kind) if not row.damaged]
    return [row for row in rows if not row.private or row.namespace == user]


def _described(call: ApiCall, row: Glance) -> dict[str, Any]:
    """What is said about a repository; made once for a commit and its settings."""

    def make() -> dict[str, Any]:
        repo = call.hub.store.find(call.kind, row.id)
        return (
            info.repo_payload(repo, row.sha) if repo else {"_id": row.id, "id": row.id, "tags": []}
        )  # deleted meanwhile

    return remembered(_descriptions, REMEMBERED, (str(row.path), row.sha, row.settings), make)


def _is_asked_for(call: ApiCall, row: Glance) -> bool:
    query = call.request.query_params
    name = row.id.lower()
    if call.query("author") not in (None, row.namespace) or call.flag("gated"):
        return False
    if any(each.lower() not in name for each in query.getlist("search")) or any(call.query(e) for e in _NOTHING_RUNS):
        return False
    wanted = {each for value in query.getlist("filter") for each in value.split(",") if each}
    if pipeline := call.query("pipeline_tag"):
        wanted.add(pipeline)
    if wanted and not wanted <= set(_described(call, row)["tags"]):
        return False
    for linked in ("models", "datasets") if call.kind == "spaces" else ():
        asked = set(query.getlist(linked))
        if asked and not asked & set(card_tags.texts(_described(call, row).get(linked))):
            return False
    if call.flag("linked") and not any(_described(call, row).get(name) for name in ("models", "datasets")):
        return False
    return _has_size(call, row)


def _has_size(call: ApiCall, row: Glance) -> bool:
    """num_parameters=min:6B,max:128B."""
    text = call.query("num_parameters")
    if text is None:
        return True
    limits = dict(re.findall(r"(min|max):([0-9.]+[KMBT]?)", text.upper().replace("MIN", "min").replace("MAX", "max")))
    if not limits:
        raise Refused(400, f"num_parameters {text[:40]!r} must be like min:6B,max:128B")
    repo = call.hub.store.find(call.kind, row.id)
    counted = info.safetensors(repo, repo.files(row.sha)) if repo else None
    total = counted["total"] if counted else None
    low, high = _number(limits.get("min", "0")), _number(limits.get("max", "1e99"))
    return total is not None and low <= total <= high


def _number(text: str) -> float:
    unit = text[-1] if text[-1] in _UNITS else ""
    try:
        return float(text.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        raise Refused(400, "num_parameters must be like min:6B,max:128B") from None
