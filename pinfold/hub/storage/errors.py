"""What goes wrong with a repository: what the disk says, and what a client is refused."""

from typing import Any


class Refused(Exception):
    """An answer other than success, with its HTTP status. server/call.py turns it into a response.

    Args:
        message: one line for a person: what was sent, what is allowed, what to do.
        code: the X-Error-Code that huggingface_hub maps to an exception of its own, such as EntryNotFound.
        extra: `headers` of the answer; anything else is a field of its JSON body.
    """

    def __init__(self, status: int, message: str, code: str | None = None, **extra: Any):
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers: dict[str, str] = extra.pop("headers", {})
        self.extra = extra


class Missing(LookupError):
    """The repository has no such revision."""


class Moved(Exception):
    """The ref is not where the caller thought, or exists already."""


class Gone(LookupError):
    """The repository was deleted or moved while a request worked on it."""


class Damaged(Exception):
    """What the disk holds of a repository cannot be used. `pinfold hub verify` says more."""
