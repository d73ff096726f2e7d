"""What travels: the error every refusal becomes, JSON that no text can break, and one request as handlers see it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from pinfold.hub.server.auth import Tokens, User
    from pinfold.hub.storage.store import Store

LAST_SECOND = 253_402_300_799  # of the year 9999


class HubError(Exception):
    """A refusal. The clients read X-Error-Code first, X-Error-Message second and the JSON body last."""

    def __init__(self, status: int, message: str, code: str | None = None, **extra: Any):
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers: dict[str, str] = extra.pop("headers", {})
        self.extra = extra  # more fields of the JSON body

    def answer(self) -> Response:
        headers = {"X-Error-Message": header_text(self.message), **self.headers}
        if self.code:
            headers["X-Error-Code"] = self.code
        return answer({"error": self.message, **self.extra}, self.status, headers)


def header_text(text: str) -> str:
    """Text as a header may carry it: one line of printable ASCII, so nobody's file name adds a header."""
    return re.sub(r"[^ -~]", "?", text)[:500]


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response. ASCII only, so that lone surrogates in user text are escaped instead of failing."""
    return Response(json.dumps(content, allow_nan=False), status, headers, "application/json")


def moment(seconds: float) -> datetime:
    """A time of somebody's git history, which may be any number."""
    return datetime.fromtimestamp(min(max(seconds, 0), LAST_SECOND), timezone.utc)


def date(seconds: float) -> str:
    """A time as the clients parse it."""
    return moment(seconds).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@dataclass(frozen=True)
class Hub:
    """Everything a handler may touch."""

    store: "Store"
    tokens: "Tokens"
    secret: bytes  # signs upload URLs; on disk, so that an upload survives a restart
    nonce: str  # proves to a client that this is the server that wrote DATA/server.json
    part_size: int  # larger files are sent in parts of this many bytes
    read_only: bool = False
    closed: bool = False  # anonymous requests are refused, reads of public repositories as well


@dataclass(frozen=True)
class Call:
    """One request: who asks, for what."""

    hub: Hub
    request: Request
    user: "User | None"
    kind: str  # models or datasets, from the route
    params: dict[str, str] = field(default_factory=dict)  # of the path, unquoted
    body: bytes = b""
    asks_password: bool = False  # git and git-lfs want a challenge before they look for a password

    @property
    def base_url(self) -> str:
        """The server as this client names it: through a forwarded port the client's port differs from ours."""
        return f"{self.request.url.scheme}://{self.request.headers['host']}"

    def query(self, name: str) -> str | None:
        return self.request.query_params.get(name)

    def number(self, name: str, default: int, highest: int = 10**9 - 1) -> int:
        text = self.query(name)
        if text is None:
            return default
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) > highest:
            raise HubError(400, f"{name} must be a number up to {highest}")
        return int(text)

    def flag(self, name: str) -> bool:
        return (self.query(name) or "").lower() in ("1", "true")

    def json(self) -> dict[str, Any]:
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise HubError(400, "the request body must be a JSON object")
        return value

    def form(self) -> dict[str, list[str]]:
        try:
            return parse_qs(self.body.decode(), keep_blank_values=True, max_num_fields=10_000)
        except ValueError as error:
            raise HubError(400, "the request body must be a URL-encoded form") from error

    @property
    def repo_id(self) -> str:
        return f"{self.params['namespace']}/{self.params['name']}"

    def next_page(self, cursor: int | str) -> dict[str, str]:
        """The header that leads a client to what follows."""
        query = self.request.url.include_query_params(cursor=cursor).query
        return {"Link": f'<{self.base_url}{self.request.scope["path"]}?{query}>; rel="next"'}
