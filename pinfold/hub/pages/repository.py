"""The pages about a repository: its card, history, refs and comparisons. Each handler is one page."""

import re
from itertools import islice
from urllib.parse import quote

from starlette.responses import Response

from pinfold.hub.api import card_tags
from pinfold.hub.api.browse import resolve_revision
from pinfold.hub.pages.diff import compare_commits
from pinfold.hub.pages.facts import Facts, facts_of, snippet
from pinfold.hub.pages.files import place_of
from pinfold.hub.pages.markdown import render_markdown
from pinfold.hub.pages.page import Change, Place, may_open, page
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall
from pinfold.hub.storage.discussions import PR_PREFIX
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.repository import Repository

PER_PAGE = 50
MAX_BETWEEN = 250  # commits listed by a comparison
_SHA = re.compile(r"[0-9a-f]{40}")


def repository(call: ApiCall) -> Response:
    """The card: what the README says, and what the files say."""
    here = place_of(call)
    facts = facts_of(here.repo, here.sha)
    entry = here.repo.entry(here.sha, "README.md")
    text = (entry.content or b"").decode("utf-8", "replace") if entry else ""
    return page(
        call,
        "card.html",
        place=here,
        facts=facts,
        snippet=snippet(here, facts),
        html=render_markdown(card_tags.body(text), here) if text.strip() else "",
        has_readme=entry is not None,
        last=Change.of(here.repo.commit(here.sha)),
        here=_is_here(call, facts),
        endpoint=call.base_url,
    )


def home(call: ApiCall) -> Response:
    """A repository's address with a slash at its end leads to the one without."""
    kind = "" if call.kind == "models" else f"/{call.kind}"
    names = "/".join(quote(call.params[each], safe="") for each in ("namespace", "name"))
    return Response(status_code=308, headers={"Location": f"{kind}/{names}"})


def _is_here(call: ApiCall, facts: Facts) -> dict[str, str]:
    """Which base models and datasets of the metadata have a page on this server, and its address."""
    addresses = {}
    for label, values in facts.rows:
        kind = {"Base model": "models", "Datasets": "datasets"}.get(label)
        for value in values if kind else ():
            if may_open(call, value, kind):
                addresses[value] = f"/{value}" if kind == "models" else f"/{kind}/{value}"
    return addresses


def commits(call: ApiCall) -> Response:
    """Newest first; a page begins at a commit, so that new commits shift nothing."""
    here = place_of(call)
    start = call.query("from") or here.sha
    if not _SHA.fullmatch(start):
        raise Refused(400, "from must be a commit of 40 hex digits")
    listed = list(islice(here.repo.history(resolve_revision(here.repo, start)), PER_PAGE + 1))
    changes = [Change.of(each) for each in listed]
    older = changes[PER_PAGE].sha if len(changes) > PER_PAGE else None
    return page(call, "commits.html", place=here, changes=changes[:PER_PAGE], older=older, newest=start == here.sha)


def commit(call: ApiCall) -> Response:
    """What one commit changed."""
    repo = auth.repository(call)
    sha = resolve_revision(repo, call.params["revision"])
    change = Change.of(repo.commit(sha))
    difference = compare_commits(repo, change.parent, sha)
    return page(call, "commit.html", place=Place(repo, sha, sha), change=change, difference=difference)


def refs(call: ApiCall) -> Response:
    """Branches, tags and pull requests, with the commit of each."""
    here = place_of(call)
    sections = {
        title: [(f"{prefix}{name}" if prefix == PR_PREFIX else name, _change(here.repo, sha)) for name, sha in listed]
        for title, prefix in (("Branches", "refs/heads/"), ("Tags", "refs/tags/"), ("Pull requests", PR_PREFIX))
        if (listed := list(here.repo.refs(prefix).items()))
    }
    return page(call, "refs.html", place=here, sections=sections)


def _change(repo: Repository, sha: str) -> Change:
    return Change.of(repo.commit(sha))


def compare(call: ApiCall) -> Response:
    """Two revisions side by side. A form that has only two fields is redirected to the address of the comparison."""
    here = place_of(call)
    if "range" not in call.params:
        base, head = call.query("base") or "main", call.query("head") or "main"
        return Response(status_code=303, headers={"Location": here.compare(base, head)})
    base, dots, head = call.params["range"].partition("..")
    if not (base and dots and head):
        raise Refused(400, "compare needs two revisions, written A..B")
    old, new = resolve_revision(here.repo, base), resolve_revision(here.repo, head)
    everything = call.query("files") == "all"
    names = [*here.repo.refs("refs/heads/"), *here.repo.refs("refs/tags/")]
    names += [f"{PR_PREFIX}{each}" for each in here.repo.refs(PR_PREFIX)]
    return page(
        call,
        "compare.html",
        place=here,
        at_head=Place(here.repo, head, new),
        base=base,
        head=head,
        old=_change(here.repo, old),
        new=_change(here.repo, new),
        between=_between(here.repo, old, new),
        names=list(dict.fromkeys([*names, base, head])),
        everything=everything,
        difference=compare_commits(here.repo, old, new, code_only=not everything),
        address=here.compare(base, head),
    )


def _between(repo: Repository, old: str, new: str) -> list[Change] | None:
    """The commits that lead from one to the other, or None when they do not, or are too many."""
    changes = []
    for each in islice(repo.history(new), MAX_BETWEEN + 1):
        if each.id.decode() == old:
            return changes
        changes.append(Change.of(each))
    return None
