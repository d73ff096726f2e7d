"""Who may do what: two roles, and private repositories that look like missing ones.

A user is a name and the namespace of the same name; there are no passwords and no organisations. Whoever can reach
the server reads what is public.
"""

from pinfold.hub.server.call import ApiCall, Hub
from pinfold.hub.server.tokens import BASIC_READS, User
from pinfold.hub.storage.errors import Damaged, Refused
from pinfold.hub.storage.repository import Repository


def may_read(repo: Repository, user: User | None) -> bool:
    return not repo.private or (user is not None and user.name == repo.namespace)


class Hidden(Refused):
    """A refusal that must not tell by its time whether there is what it speaks of; app.py sends it at a fixed one."""


def repository(call: ApiCall, write: bool = False) -> Repository:
    """The repository in the path, if this user may read it, or write to it."""
    if write:
        refuse_read_only(call.hub)
    repo = find_readable(call, call.kind, call.repo_id)
    if repo is None:
        raise no_repository(call.user)
    call.request.state.public = not repo.private  # whether the answer may be kept
    if write:
        require_write(call.user, repo.namespace)
    return repo


def find_readable(call: ApiCall, kind: str, repo_id: str) -> Repository | None:
    """A repository by its name, or None where it is missing, or where this user may not read it.

    What a stranger may not read is not opened. A damaged one is missing to strangers, as whether it was private is not
    known any more; to its owner it is `Damaged`.
    """
    store = call.hub.store
    if call.user is not None and call.user.name == repo_id.partition("/")[0]:
        return store.find(kind, repo_id)
    if not store.is_public(kind, repo_id):
        return None
    try:
        repo = store.find(kind, repo_id)
    except Damaged:
        return None
    return repo if repo is not None and may_read(repo, call.user) else None


def refuse_read_only(hub: Hub) -> None:
    if hub.read_only:
        raise Refused(403, "this server is read-only; it was started with --read-only")


def refuse_basic(call: ApiCall) -> None:
    """For a call that changes something in some cases only."""
    if (call.request.headers.get("authorization") or "").lower().startswith("basic"):
        raise Refused(403, BASIC_READS)


def no_repository(user: User | None) -> Hidden:
    """The one answer for a missing repository and for another user's private one."""
    if user is None:
        return Hidden(401, "Repository not found, or private and no token given", "RepoNotFound")
    return Hidden(404, "Repository not found", "RepoNotFound")


def require_user(user: User | None) -> User:
    if user is None:
        raise Refused(401, "This needs a token; make one with: pinfold hub token NAME --role write")
    return user


def require_write(user: User | None, namespace: str) -> User:
    user = require_user(user)
    if user.name != namespace:
        raise Refused(403, f"{user.name} may not write to {namespace}/; use a token of {namespace}")
    if user.role != "write":
        raise Refused(
            403, f"this token of {user.name} may only read; make one with: pinfold hub token {namespace} --role write"
        )
    return user
