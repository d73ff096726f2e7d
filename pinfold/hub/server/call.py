"""One request as handlers see it, and the JSON that answers it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response

from pinfold.hub.server.rate import Rate
from pinfold.hub.server.tokens import Tokens, User
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.store import Store


def answer(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response. ASCII only, so that lone surrogates in user text are escaped instead of failing."""
    return Response(json.dumps(content, allow_nan=False), status, headers, "application/json")


def refusal(error: Refused) -> Response:
    """A refusal as JSON. The clients read X-Error-Code first, X-Error-Message second and the body last."""
    return answer({"error": error.message, **error.extra}, error.status, refusal_headers(error))


def refusal_headers(error: Refused) -> dict[str, str]:
    headers = {"X-Error-Message": _header_text(error.message), **error.headers}
    if error.code:
        headers["X-Error-Code"] = error.code
    return headers


def _header_text(text: str) -> str:
    """Text as a header may carry it: one line of printable ASCII, so no file name can add a header."""
    return re.sub(r"[^ -~]", "?", text)[:500]


@dataclass(frozen=True)
class Hub:
    """The server's state, which every handler may use."""

    store: Store
    tokens: Tokens
    secret: bytes  # signs upload URLs; on disk, so that an upload survives a restart
    nonce: str  # proves to a client that this is the server that wrote DATA/server.json
    part_size: int  # larger files are sent in parts of this many bytes
    read_only: bool = False
    closed: bool = False  # anonymous requests are refused, reads of public repositories as well
    rate: Rate = field(default_factory=Rate)


@dataclass(frozen=True)
class ApiCall:
    """One request: who asks, for what."""

    hub: Hub
    request: Request
    user: User | None
    kind: str  # models, datasets or spaces, from the route
    params: dict[str, str] = field(default_factory=dict)  # of the path, unquoted
    body: bytes = b""

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
            raise Refused(400, f"{name} must be a number up to {highest}")
        return int(text)

    def flag(self, name: str) -> bool:
        return (self.query(name) or "").lower() in ("1", "true")

    def json(self) -> dict[str, Any]:
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            raise Refused(400, "the request body must be a JSON object")
        return value

    def form(self) -> dict[str, list[str]]:
        try:
            return parse_qs(self.body.decode(), keep_blank_values=True, max_num_fields=10_000)
        except ValueError as error:
            raise Refused(400, "the request body must be a URL-encoded form") from error

    @property
    def repo_id(self) -> str:
        return f"{self.params['namespace']}/{self.params['name']}"

    def next_page(self, cursor: int | str) -> dict[str, str]:
        """The header that leads a client to what follows."""
        query = self.request.url.include_query_params(cursor=cursor).query
        return {"Link": f'<{self.base_url}{self.request.scope["path"]}?{query}>; rel="next"'}
