"""The builder's page as a browser gets it: the stylesheet inside, so that the first paint needs two files."""

import base64
import functools
import hashlib
from pathlib import Path

STATIC = Path(__file__).with_name("static")
LINK = '<link rel="stylesheet" href="builder.css">'
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


@functools.cache
def page() -> tuple[bytes, str]:
    """The page, and the policy under which a browser shows it: scripts are this server's, styles the one that is inside."""
    style = (STATIC / "builder.css").read_text(encoding="utf-8")
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    assert html.count(LINK) == 1
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'sha256-{digest}'; connect-src 'self'; "
        "img-src 'self' data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    return html.replace(LINK, f"<style>{style}</style>").encode(), policy


def static(name: str) -> tuple[bytes, str] | None:
    """A file of the page and its media type; None where there is no such file."""
    names = {path.name: path for path in STATIC.iterdir() if path.suffix in TYPES}
    path = names.get(name)
    return (path.read_bytes(), TYPES[path.suffix]) if path else None
