"""Markdown from strangers as HTML that can do nothing.

How it works:
- markdown-it renders CommonMark with tables and strikethrough, raw HTML included.
- nh3 drops every tag and attribute that is not on the list below, and closes what is open.
- A second pass writes the result anew, tag by tag, from the same list: links and pictures lead into the
  repository, pictures from elsewhere become links, headings fit the page's outline and get anchors,
  tables and code get boxes to scroll in.
"""

import posixpath
import re
from html import escape
from html.parser import HTMLParser
from urllib.parse import quote, unquote, urlsplit

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

from pinfold.hub.pages.code import TOKEN_CLASSES, highlighted_lines
from pinfold.hub.pages.page import Place

MAX_MARKDOWN = 2**17  # characters
MAX_TAGS = 10_000  # nested, each costs the parser as much as all around it
_VOID = {"br", "hr", "img", "source"}
_PLAIN = """
b blockquote br caption center code dd del dl dt em hr i ins kbd li mark ol picture pre q s samp small span strong
sub summary sup table tbody tfoot thead tr u ul var
"""
_ATTRIBUTES = {
    **{tag: set() for tag in _PLAIN.split()},
    "a": {"href", "title"},
    "abbr": {"title"},
    "code": {"class"},
    "details": {"open"},
    "div": {"align"},
    **{f"h{level}": {"align"} for level in range(1, 7)},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "p": {"align"},
    "source": {"srcset", "media", "type"},
    "span": {"class"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan", "scope"},
}
_WITH_ID = {tag: attributes | {"id"} for tag, attributes in _ATTRIBUTES.items()}
# Anything else of this server's would not be a picture: /login, for one, makes a browser ask for a password.
_RESOLVE = re.compile(r"(/(datasets|spaces))?/[^/]+/[^/]+/resolve/[^/]+/.+")
_NUMBER = re.compile(r"\d{1,4}%?")
_SIMPLE = {
    "align": re.compile("left|right|center"),
    "colspan": _NUMBER,
    "rowspan": _NUMBER,
    "width": _NUMBER,
    "height": _NUMBER,
    "start": _NUMBER,
    "scope": re.compile("col|row"),
    "open": re.compile(""),
    "media": re.compile(r"\(prefers-color-scheme: ?(?:dark|light)\)"),
    "type": re.compile(r"image/[a-z+.-]+"),
}


def render_markdown(text: str, place: Place, directory: str = "", prefix: str = "h-") -> Markup:
    """The HTML of a Markdown text whose relative links start at a directory of a repository.

    ``prefix`` keeps the names of its sections apart from all others on the page.
    """
    if len(text) > MAX_MARKDOWN or text.count("<") > MAX_TAGS:
        limits = f"{MAX_MARKDOWN:,} characters or {MAX_TAGS:,} tags"
        return Markup("<p>{}</p>").format(f"This text has more than {limits} and is not rendered; see its source.")
    markdown = MarkdownIt("commonmark", {"html": True, "highlight": _highlight}).enable(["table", "strikethrough"])
    tokens = markdown.parse(text)
    for token in tokens:
        if style := token.attrs.pop("style", None):  # of a cell; styles are not allowed
            token.attrs["align"] = str(style).removeprefix("text-align:")
    html = nh3.clean(
        markdown.renderer.render(tokens, markdown.options, {}),
        tags=set(_WITH_ID),
        attributes=_WITH_ID,
        url_schemes={"http", "https", "mailto"},
        link_rel=None,
    )
    writer = _Writer(place, directory, prefix)
    writer.feed(html)
    writer.close()
    return Markup("".join(writer.out))


def slug(title: str) -> str:
    """The name of a section in an address.

    >>> slug("What runs, on your machine?")
    'what-runs-on-your-machine'
    """
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.strip().lower())).strip("-") or "section"


def _highlight(code: str, name: str, attributes: str) -> str:
    return "\n".join(highlighted_lines(code, name))


class _Writer(HTMLParser):
    """Writes clean HTML anew. What it takes for text is escaped, so that no misreading lets a tag through."""

    def __init__(self, place: Place, directory: str, prefix: str):
        super().__init__()
        self.place, self.directory, self.prefix = place, directory, prefix
        self.out: list[str] = []
        self.open: list[tuple[str, int, str]] = []  # (tag, where it starts in out, what ends it)
        self.anchors: dict[str, int] = {}  # names in use, and the last number given to each
        self.level, self.boxes = 1, 0  # the page's own title is level 1

    def handle_data(self, data: str) -> None:
        self.out.append(escape(data))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _ATTRIBUTES:
            return
        written = {name: value or "" for name, value in attrs}
        allowed = {name: value for name, value in written.items() if self._fits(tag, name, value)}
        if identity := slug(written.get("id", "")) if written.get("id") else "":
            allowed["id"] = self._anchor(identity)
        if tag == "img":
            self.out.append(self._picture(written, allowed))
        elif tag == "source":
            address = self._address(written.get("srcset", "").strip().partition(" ")[0], "resolve")
            if address and _is_file(address):
                self.out.append(_tag("source", {**allowed, "srcset": address}))
        elif tag in _VOID:
            self.out.append(_tag(tag, allowed))
        elif tag == "a":
            self._start(tag, *self._link(written, allowed))
        elif tag == "pre":
            self._start_code()
        elif tag == "table":
            self.boxes += 1
            box = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": f"Table {self.boxes}"}
            self._start(tag, _tag("div", box) + "<table>", "</table></div>")
        elif tag == "center":
            self._start(tag, '<div align="center">', "</div>")
        elif re.fullmatch("h[1-6]", tag):
            self.level = min(int(tag[1]) + 1, self.level + 1, 6)
            self._start(tag, _tag(f"h{self.level}", allowed), f"</h{self.level}>")
        else:
            if tag == "th" and any(name == "thead" for name, _, _ in self.open):
                allowed.setdefault("scope", "col")
            self._start(tag, _tag(tag, allowed), f"</{tag}>")

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID or not self.open or self.open[-1][0] != tag:
            return
        _, start, ending = self.open.pop()
        inside = "".join(self.out[start + 1 :]) if re.fullmatch("a|th|h[1-6]", tag) else "text"
        said = re.sub("<[^>]*>", "", inside)
        if tag[1:].isdigit():
            ending = self._end_heading(start, said, "<img" in inside, ending)
        elif not said.strip() and "<img" not in inside:
            if tag == "th":  # a header without a text becomes a plain cell
                self.out[start] = re.sub(' scope="[a-z]+"', "", self.out[start]).replace("<th", "<td", 1)
                ending = "</td>"
            elif tag == "a":
                self.out[start], ending = "", ""
        self.out.append(ending)

    def _start(self, tag: str, beginning: str, ending: str) -> None:
        self.open.append((tag, len(self.out), ending))
        self.out.append(beginning)

    def _start_code(self) -> None:
        self.boxes += 1
        box = {"tabindex": "0", "role": "group", "aria-label": f"Code {self.boxes}"}
        button = f'<button type="button" class="copy" aria-label="Copy code {self.boxes}">Copy</button>'
        self._start("pre", f'<div class="code">{button}{_tag("pre", box)}', "</pre></div>")

    def _end_heading(self, start: int, said: str, pictured: bool, ending: str) -> str:
        if not said.strip() and not pictured:
            self.out[start] = "<div>"
            return "</div>"
        if ' id="' in self.out[start]:
            return ending
        anchor = self._anchor(slug(said))
        self.out[start] = self.out[start].replace(">", f' id="{escape(anchor)}">', 1)
        # `said` is escaped already
        link = (
            f'<a class="anchor" href="#{escape(anchor)}" aria-label="Link to {said.strip() or "this section"}">#</a>'
        )
        return f"{link}{ending}" if "<a " not in "".join(self.out[start:]) else ending

    def _anchor(self, name: str) -> str:
        """A name that is not used yet: prefixed, so that it is not one of the page's."""
        unused = name
        while unused in self.anchors:
            self.anchors[name] += 1
            unused = f"{name}-{self.anchors[name]}"
        self.anchors[unused] = 1
        return f"{self.prefix}{unused}"

    def _fits(self, tag: str, name: str, value: str) -> bool:
        if name not in _ATTRIBUTES[tag]:
            return False
        if name == "class":
            return tag == "span" and value in TOKEN_CLASSES
        return name in ("title", "alt") or (name in _SIMPLE and bool(_SIMPLE[name].fullmatch(value)))

    def _link(self, written: dict[str, str], allowed: dict[str, str]) -> tuple[str, str]:
        address = self._address(written.get("href", ""), "blob")
        if address is None:
            return _tag("span", allowed), "</span>"
        if _is_remote(address):
            allowed["rel"] = "nofollow noopener noreferrer"
        return _tag("a", {**allowed, "href": address}), "</a>"

    def _picture(self, written: dict[str, str], allowed: dict[str, str]) -> str:
        address = self._address(written.get("src", ""), "resolve")
        linked = any(tag == "a" for tag, _, _ in self.open)
        name = posixpath.basename(urlsplit(address).path) if address else ""
        said = written.get("alt", "").strip() or ("" if "alt" in written and not linked else unquote(name))
        if address and _is_file(address):
            return _tag("img", {**allowed, "src": address, "alt": said, "loading": "lazy"})
        said = escape(said or "picture")
        if address is None or linked:
            return said
        return _tag("a", {"href": address, "rel": "nofollow noopener noreferrer"}) + f"{said}</a>"

    def _address(self, target: str, view: str) -> str | None:
        """Where a link of the text leads on this server, or the address elsewhere; None for what is not allowed."""
        target = re.sub(r"[\x00-\x1f\x7f]", "", target).strip()  # browsers, too, leave these out
        try:
            parts = urlsplit(target)
        except ValueError:
            return None
        if not target or (parts.scheme and parts.scheme not in ("http", "https", "mailto")):
            return None
        if parts.scheme or re.match(r"[/\\]{2}", target):
            return target
        fragment = f"#{self.prefix}{slug(unquote(parts.fragment))}" if parts.fragment else ""
        if re.fullmatch(r"L\d+", parts.fragment):
            fragment = f"#{parts.fragment}"
        if target.startswith("#"):
            return fragment or "#"
        if target.startswith("/"):
            return quote(target, safe="/%#?=&~+:@!$'()*,;")
        path = posixpath.normpath(posixpath.join("/", self.directory, unquote(parts.path))).strip("/")
        if not path:
            return self.place.to("tree")
        return self.place.to(view, path) + fragment


def _is_remote(address: str) -> bool:
    return bool(re.match(r"(?i)[a-z]+:|[/\\]{2}", address))


def _is_file(address: str) -> bool:
    """Whether an address is of a file of a repository here, however a browser goes through its parts."""
    path = re.split("[?#]", address, maxsplit=1)[0]
    is_straight = not {unquote(part) for part in path.split("/")} & {".", ".."}
    return is_straight and not _is_remote(address) and bool(_RESOLVE.fullmatch(path))


def _tag(name: str, attributes: dict[str, str]) -> str:
    return f"<{name}" + "".join(f' {key}="{escape(value)}"' for key, value in attributes.items()) + ">"
