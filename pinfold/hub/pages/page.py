"""How a page is made: the template environment, the headers around it, where its links lead, and pages for errors."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from pinfold import __version__
from pinfold.common.errors import printable
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall, refusal, refusal_headers
from pinfold.hub.storage.discussions import PR_PREFIX
from pinfold.hub.storage.errors import Damaged, Refused
from pinfold.hub.storage.repository import Repository, author_name
from pinfold.hub.storage.store import KINDS
from pinfold.hub.storage.times import moment

TEMPLATES, STATIC = (Path(__file__).with_name(name) for name in ("templates", "static"))
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # A browser sends a typed-in token along with every request, other sites' included: those must not get at it.
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Vary": "Accept",
}
_STATIC = {"style.css": "text/css", "script.js": "text/javascript", "icon.svg": "image/svg+xml"}
_ADVICE = {
    401: "It may be private: log in with a token of its owner as the password.",
    404: "Look at the address, or search for the repository.",
}
Value = TypeVar("Value")


@dataclass(frozen=True)
class Change:
    """A commit as pages name it."""

    sha: str
    title: str
    author: str
    time: int
    body: str = ""
    parent: str | None = None

    @staticmethod
    def of(commit: Any) -> "Change":
        title, _, body = commit.message.decode("utf-8", "replace").partition("\n")
        parent = commit.parents[0].decode() if commit.parents else None
        sha = commit.id.decode()
        return Change(
            sha, title.strip() or "(no title)", author_name(commit), commit.commit_time, body.strip(), parent
        )


@dataclass(frozen=True)
class Place:
    """A repository at a revision, and the addresses of what is there."""

    repo: Repository
    revision: str
    sha: str

    @property
    def home(self) -> str:
        return f"/{self.repo.url_path}"

    @property
    def discussed(self) -> bool:
        return (self.repo.path / "discussions").exists() or bool(self.repo.refs(PR_PREFIX))

    def to(self, view: str, path: str = "", revision: str | None = None) -> str:
        """The address of tree, blob, commits or resolve. A revision is one segment, whatever is in it."""
        address = f"{self.home}/{view}/{quote(self.revision if revision is None else revision, safe='')}"
        return f"{address}/{quote(path)}" if path else address

    def compare(self, base: str, head: str) -> str:
        return f"{self.home}/compare/{quote(base, safe='')}..{quote(head, safe='')}"


def page(call: ApiCall, template: str, status: int = 200, **values: Any) -> Response:
    """Render a template for who asks."""
    return render(template, status, user=call.user, search=call.query("search") or "", **values)


def render(template: str, status: int = 200, headers: dict[str, str] | None = None, **values: Any) -> Response:
    text = _environment.get_template(template).render(version=__version__, kinds=list(KINDS.values()), **values)
    # User text may hold lone surrogates, from an escape in JSON or YAML.
    content = text.encode("utf-8", "replace")
    return Response(content, status, {**_HEADERS, **(headers or {})}, "text/html; charset=utf-8")


def failure(request: Request, error: Refused) -> Response:
    """A refusal: a page for who prefers one, JSON for everybody else."""
    if "text/html" not in request.headers.get("accept", ""):
        return refusal(error)
    headers = refusal_headers(error)
    values = {"number": error.status, "message": error.message, "advice": _ADVICE.get(error.status, "")}
    return render("error.html", error.status, headers=headers, user=None, search="", **values)


def static(call: ApiCall) -> Response:
    """The stylesheet, the script and the icon."""
    name = call.params["file"]
    if name not in _STATIC:
        raise Refused(404, f"Not Found: there is no file {name!r}")
    content = (STATIC / name).read_bytes()
    headers = {**_HEADERS, "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"', "Cache-Control": "no-cache"}
    if call.request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_STATIC[name])


def login(call: ApiCall) -> Response:
    """Make the browser ask for a token; it then sends it along by itself, so no cookie is needed."""
    if call.user is None:
        raise Refused(401, "Log in with your user name, and a token as the password")
    return Response(status_code=303, headers={**_HEADERS, "Location": "/"})


def may_open(call: ApiCall, repo_id: str, kind: str = "models") -> bool:
    """Whether a name in a user's text is a repository here that this user may see."""
    try:
        return auth.find_readable(call, kind, repo_id) is not None
    except Damaged:
        return False


def size(count: int) -> str:
    """Bytes for people: 1.2 MB."""
    for unit, scale in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= scale:
            return f"{count / scale:.3g} {unit}" if count < 999.5 * scale else f"{count / scale:,.0f} {unit}"
    return f"{count} B"


def count(number: int) -> str:
    """A number of parameters for people: 25.6 M."""
    for unit, scale in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}" if number < 999.5 * scale else f"{number / scale:,.0f} {unit}"
    return str(number)


def _time(seconds: int, form: str) -> str:
    return moment(seconds).strftime(form)


def _thousands(number: int) -> str:
    return f"{number:,}"


def _shown(value: Any) -> Any:
    """What turns the direction of text around would turn that of the page around it; it is shown as an escape."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else printable(value.replace("\r\n", "\n"))


_environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=_shown,
)
_environment.filters |= {
    "size": size,
    "count": count,
    "thousands": _thousands,
    "date": lambda seconds: _time(seconds, "%Y-%m-%d"),
    "minute": lambda seconds: _time(seconds, "%Y-%m-%d %H:%M UTC"),
    "machine": lambda seconds: _time(seconds, "%Y-%m-%dT%H:%M:%SZ"),
    "segment": lambda text: quote(text, safe=""),
}
