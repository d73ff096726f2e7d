"""What happens to an answer on its way out: 304 for what the client has already, and gzip where it asks for it.

Files go out as streams and are left alone: their own ETag is checked where they are read, and
a compressed part of a file would be no part of it.
"""

import gzip
import hashlib
import re

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

MIN_GZIP = 1000  # bytes; below that gzip saves nothing
_TEXT = re.compile(r"text/|application/(json|javascript)|image/svg")


def finish_reply(request: Request, response: Response) -> Response:
    """The answer to a GET or HEAD, with an ETag of its content unless it brings one."""
    if isinstance(response, StreamingResponse) or response.status_code != 200 or request.method not in ("GET", "HEAD"):
        return response
    if not _TEXT.match(response.headers.get("content-type", "")) or not response.body:
        return response
    if "etag" not in response.headers:
        response.headers["ETag"] = f'W/"{hashlib.sha256(response.body).hexdigest()[:32]}"'
    if matches(request.headers.get("if-none-match"), response.headers["etag"]):
        kept = ("etag", "link", "cache-control", "vary")
        return Response(None, 304, {name: value for name, value in response.headers.items() if name in kept})
    if request.method == "GET" and len(response.body) >= MIN_GZIP and "content-encoding" not in response.headers:
        before = response.headers.get("vary")
        response.headers["Vary"] = f"{before}, Accept-Encoding" if before else "Accept-Encoding"
        if _wants_gzip(request.headers.get("accept-encoding", "")):
            response.body = gzip.compress(response.body, 5, mtime=0)
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Content-Length"] = str(len(response.body))
    return response


def matches(header: str | None, etag: str) -> bool:
    """Whether If-None-Match names this ETag. Weak and strong ones compare alike here, as HTTP says.

    >>> matches('W/"a", "b"', '"a"'), matches('*', '"a"'), matches(None, '"a"')
    (True, True, False)
    """
    given = [each.strip().removeprefix("W/") for each in (header or "").split(",")]
    return "*" in given or etag.removeprefix("W/") in given


def _wants_gzip(header: str) -> bool:
    return bool(re.search(r"(^|[,\s])(gzip|\*)\s*($|,|;(?!\s*q=0(\.0*)?\s*($|,)))", header.lower()))
