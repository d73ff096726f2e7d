"""Who may do what: two roles, and private repositories that look like missing ones.

A user is a name and the namespace of the same name; there are no passwords and no organisations. Whoever can reach
the server reads what is public.
"""

from pinfold.hub.server.call import ApiCall, Hub
from pinfold.hub.server.tokens import BASIC_READS, CHALLENGE, User
from pinfold.hub.storage.errors import Damaged, Refused
from pinfold.hub.storage.repository import Repository


def may_read(repo: Repository, user: User | None) -> bool:
    return not repo.private or (user is not None and user.name == repo.namespace)


def repository(call: ApiCall, write: bool = False) -> Repository:
    """The repository in the path, if this user may read it, or write to it."""
    if write:
        refuse_read_only(call.hub)
    try:
        repo = call.hub.store.find(call.kind, call.repo_id)
    except Damaged:
        if call.user is None or call.user.name != call.params["namespace"]:
            repo = None  # whether it was private is not known any more
        else:
            raise
    if repo is None or not may_read(repo, call.user):
        error = no_repository(call.user)
        if call.asks_password and error.status == 401:
            error.headers |= CHALLENGE
        raise error
    if write:
        require_write(call.user, repo.namespace)
    return repo


def refuse_read_only(hub: Hub) -> None:
    if hub.read_only:
        raise Refused(403, "this server is read-only; it was started with --read-only")


def refuse_basic(call: ApiCall) -> None:
    """For a call that changes something in some cases only."""
    if (call.request.headers.get("authorization") or "").lower().startswith("basic"):
        raise Refused(403, BASIC_READS)


def no_repository(user: User | None) -> Refused:
    """The one answer for a missing repository and for another user's private one."""
    if user is None:
        headers = {"WWW-Authenticate": 'Bearer realm="pinfold"'}
        return Refused(401, "Repository not found, or private and no token given", "RepoNotFound", headers=headers)
    return Refused(404, "Repository not found", "RepoNotFound")


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
