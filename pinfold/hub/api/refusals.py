"""Calls of the real Hub that this one answers with a reason: what would break pins, and what needs a service."""

from collections.abc import Callable

from starlette.responses import Response

from pinfold.hub.server.call import ApiCall
from pinfold.hub.storage.errors import Refused

_HISTORY = (403, "history is never rewritten here: a pinned commit must load next year; delete the repository instead")
_SPACES = (501, "Spaces are kept here as files and nothing of them runs, so there is nothing to set or to see")
_LIKES = (501, "likes are not kept here")
_ACCESS = (501, "access requests are not served here; keep the repository private and give out tokens")
_UPLOADS = (501, "attachments are not kept here; commit the file to the repository and link to it")

# (method, path below a repository's /api/KIND/NAMESPACE/NAME, answer)
OF_A_REPOSITORY = [
    ("POST", "/super-squash/{revision}", _HISTORY),
    ("POST", "/lfs-files/batch", _HISTORY),
    (
        "POST",
        "/lfs-files/duplicate",
        (501, "large files are not copied between repositories; download them and upload"),
    ),
    ("POST", "/like", _LIKES),
    ("DELETE", "/like", _LIKES),
    ("GET", "/user-access-request/{what}", _ACCESS),
    ("POST", "/user-access-request/{what}", _ACCESS),
    ("GET", "/leaderboard", (501, "leaderboards are not kept here; results are in the model cards")),
]
OF_A_SPACE = [
    *(("GET", f"/{each}", _SPACES) for each in ("runtime", "secrets", "variables", "logs/{what}")),
    *(("POST", f"/{each}", _SPACES) for each in ("secrets", "variables", "hardware", "sleeptime", "storage")),
    *(("POST", f"/{each}", _SPACES) for each in ("pause", "restart", "dev-mode", "volumes")),
    *(("PUT", f"/{each}", _SPACES) for each in ("volumes",)),
    *(("DELETE", f"/{each}", _SPACES) for each in ("secrets", "variables", "volumes", "storage")),
]
OF_THE_SERVER = [
    ("GET", "/api/users/{user}/likes", _LIKES),
    ("GET", "/api/spaces/hardware", _SPACES),
    ("GET", "/api/spaces/templates", _SPACES),
    (
        "GET",
        "/api/spaces/semantic-search",
        (501, "search by meaning is not served; use list_spaces(search=...)"),
    ),
    ("POST", "/uploads", _UPLOADS),
]


def of_a(kind: str) -> list[tuple[str, str, tuple[int, str]]]:
    """The refused calls about one repository of a kind."""
    return OF_A_REPOSITORY + (OF_A_SPACE if kind == "spaces" else [])


def refusing_handler(status: int, reason: str) -> Callable[[ApiCall], Response]:
    """A handler that says why not."""

    def handler(call: ApiCall) -> Response:
        raise Refused(status, reason)

    return handler
