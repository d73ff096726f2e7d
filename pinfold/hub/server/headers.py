"""What every answer carries: whether it may be kept and for whom, and whether a password is asked for."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

Headers = list[tuple[bytes, bytes]]
_ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"referrer-policy": b"no-referrer",
}
_BASIC, _BEARER = b'Basic realm="pinfold", charset="UTF-8"', b'Bearer realm="pinfold"'
# What pages embed, and what programs call. A browser that is asked there would show a box for a password in the middle
# of a page, at the wish of whoever wrote the page's text.
_EMBEDDED = re.compile(r"/(api|static|\.well-known)(/.*)?|(/(models|datasets|spaces))?/[^/]+/[^/]+/resolve/.*")
_FILES_OF_PAGES = "/static/"  # the same for everybody


def finished(scope: Mapping[str, Any], status: int, headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers of an answer, with those that every answer carries."""
    own = dict(headers)
    more = [(name, value) for name, value in headers if name.lower() not in (b"cache-control", b"vary")]
    names = {name.lower() for name in own}
    if status != 304:  # which brings none: a browser would put them in the place of those of the page that it kept
        more += [each for each in _ALWAYS.items() if each[0] not in names]
    if status == 401:
        more = [each for each in more if each[0].lower() != b"www-authenticate"]
        more.append((b"www-authenticate", _BASIC if asks_password(scope) else _BEARER))
    return more + _keeping(scope, status, own)


def asks_password(scope: Mapping[str, Any]) -> bool:
    """Whether a 401 asks for Basic credentials: git does not look for a password before, nor does a browser.

    A browser says what it fetches an answer for; where it is a part of a page, nobody is asked.
    """
    purpose = next((value for name, value in scope["headers"] if name == b"sec-fetch-dest"), b"document")
    return purpose == b"document" and not _EMBEDDED.fullmatch(scope["path"])


def _keeping(scope: Mapping[str, Any], status: int, own: Mapping[bytes, bytes]) -> Headers:
    """Cache-Control and Vary. Only what everybody may read is ever kept, and asked for again each time."""
    lowered = {name.lower(): value for name, value in own.items()}
    if scope["path"].startswith(_FILES_OF_PAGES) and status < 400:
        return [each for each in lowered.items() if each[0] in (b"cache-control", b"vary")]
    has_credentials = any(name == b"authorization" for name, _ in scope["headers"])
    of_everybody = scope["state"].get("public", not has_credentials)
    if status >= 400 or not of_everybody or b"no-store" in lowered.get(b"cache-control", b""):
        keeping = b"private, no-store"
    else:  # what is public may become private: each use is asked for
        keeping = b"private, no-cache" if has_credentials else b"no-cache"
    varies = [each for each in (lowered.get(b"vary"), b"Authorization, Cookie") if each]
    return [(b"cache-control", keeping), (b"vary", b", ".join(varies))]
