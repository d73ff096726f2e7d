"""The lists of repositories: searched, filtered, sorted and in pages."""

import re
from typing import Any

from starlette.responses import Response

from pinfold.hub import auth, card, info
from pinfold.hub.browse import ENTRIES_PER_PAGE, page
from pinfold.hub.store import Repository
from pinfold.hub.wire import Call, HubError, answer

SORTS = ("createdAt", "lastModified", "downloads", "likes", "trendingScore")
_NOTHING_RUNS = ("inference", "inference_provider", "apps")  # asked for, the honest answer is an empty list
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}


def repos(call: Call) -> Response:
    """GET /api/models and its like."""
    fields = call.request.query_params.getlist("expand")
    sort = call.query("sort") or "lastModified"
    if sort not in SORTS:
        raise HubError(400, f"sort {sort[:40]!r} is unknown; use {', '.join(SORTS)}")
    found = [(repo, each) for repo in _readable(call) if (each := _match(call, repo))]
    found.sort(key=lambda each: each[1]["id"])
    found.sort(key=lambda each: each[1].get(sort) or 0, reverse=call.query("direction") != "1")
    limit = min(call.number("limit", ENTRIES_PER_PAGE), ENTRIES_PER_PAGE)

    def shown(each: tuple[Repository, dict[str, Any]]) -> dict[str, Any]:
        repo, described = each
        if fields:
            return info.expanded(repo, described["sha"], fields)
        if call.flag("full"):
            return info.describe(repo, described["sha"], siblings=True, details=call.flag("config"))
        if call.flag("config"):
            described |= info.expanded(repo, described["sha"], ["config"]) if repo.kind == "models" else {}
        if not call.flag("cardData"):
            described.pop("cardData")
        return described

    return page(call, found, call.number("cursor", 0), max(limit, 1), shown)


def tags_by_type(call: Call) -> Response:
    """What the models or datasets that this user may read can be filtered by."""
    groups: dict[str, dict[str, dict[str, str]]] = {}
    for repo in _readable(call):
        described = info.describe(repo, repo.resolve("main"))
        for tag in described["tags"]:
            kind = tag.partition(":")[0] if ":" in tag else "other"
            kind = next((name for name in ("pipeline_tag", "library_name") if described.get(name) == tag), kind)
            name = kind.removesuffix("_name")
            groups.setdefault(name, {})[tag] = {"id": tag, "label": tag.rpartition(":")[2], "type": name}
    return answer({name: sorted(found.values(), key=lambda each: each["id"]) for name, found in groups.items()})


def _readable(call: Call) -> list[Repository]:
    return [repo for repo in call.hub.store.all(call.kind) if auth.may_read(repo, call.user)]


def _match(call: Call, repo: Repository) -> dict[str, Any] | None:
    """The description of a repository that is asked for, or None."""
    query = call.request.query_params
    name = repo.id.lower()
    if call.query("author") not in (None, repo.namespace) or call.flag("gated"):
        return None
    if any(each.lower() not in name for each in query.getlist("search")) or any(call.query(e) for e in _NOTHING_RUNS):
        return None
    wanted = {each for value in query.getlist("filter") for each in value.split(",") if each}
    if pipeline := call.query("pipeline_tag"):
        wanted.add(pipeline)
    described = info.describe(repo, repo.resolve("main"), siblings=False)
    if not wanted <= set(described["tags"]):
        return None
    for linked in ("models", "datasets") if repo.kind == "spaces" else ():
        asked = set(query.getlist(linked))
        if asked and not asked & set(card.texts(described.get(linked))):
            return None
    if call.flag("linked") and not (described.get("models") or described.get("datasets")):
        return None
    return described if _has_size(call, repo, described) else None


def _has_size(call: Call, repo: Repository, described: dict[str, Any]) -> bool:
    """num_parameters=min:6B,max:128B."""
    text = call.query("num_parameters")
    if text is None:
        return True
    limits = dict(re.findall(r"(min|max):([0-9.]+[KMBT]?)", text.upper().replace("MIN", "min").replace("MAX", "max")))
    if not limits:
        raise HubError(400, f"num_parameters {text[:40]!r} must be like min:6B,max:128B")
    counted = info.safetensors(repo, repo.files(described["sha"]))
    total = counted["total"] if counted else None
    low, high = _number(limits.get("min", "0")), _number(limits.get("max", "1e99"))
    return total is not None and low <= total <= high


def _number(text: str) -> float:
    unit = text[-1] if text[-1] in _UNITS else ""
    try:
        return float(text.removesuffix(unit)) * _UNITS[unit]
    except ValueError:
        raise HubError(400, "num_parameters must be like min:6B,max:128B") from None
