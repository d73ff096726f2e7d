"""Source code as highlighted lines: classes and no styles, in the languages that model repositories use."""

import re
from pathlib import PurePosixPath

from markupsafe import Markup, escape
from pygments import highlight as colour
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

from pinfold.common.errors import CONTROL, printable

MAX_COLOURED = 2**18  # characters; beyond it lines come plain
# Some lexers take quadratic time over a long line or a long gap: tens of seconds, where these two take a part of one.
_LINEAR = ("python", "json")
_MAX_OTHERS = 2**14
_LONG_LINE, _LONG_GAP = re.compile(r"[^\n]{1000}"), re.compile(r"\s{500}")
TOKEN_CLASSES = frozenset(STANDARD_TYPES.values()) - {""}
# A list, and not everything that pygments knows: its lexers of CSS, Java, Go and Markdown can be made to take minutes.
_SUFFIXES = {
    "bash": "sh bash zsh",
    "c": "c h",
    "cpp": "cc cpp cu cuh cxx hpp",
    "diff": "diff patch",
    "html": "html htm",
    "ini": "cfg ini",
    "javascript": "js mjs",
    "json": "json ipynb jsonl",
    "make": "mk",
    "python": "py pyi",
    "rust": "rs",
    "toml": "toml",
    "typescript": "ts",
    "xml": "svg xml",
    "yaml": "yaml yml",
}
_BY_SUFFIX = {suffix: name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_BY_NAME = (
    {name: name for name in _SUFFIXES}
    | _BY_SUFFIX
    | {"shell": "bash", "console": "bash", "python3": "python", "pycon": "python", "c++": "cpp"}
)
_FORMATTER = HtmlFormatter(nowrap=True)


def language_of(path: str) -> str | None:
    """The language of a file, from its name."""
    name = PurePosixPath(path).name
    if name in ("Makefile", "Dockerfile"):
        return {"Makefile": "make", "Dockerfile": "bash"}[name]
    return _BY_SUFFIX.get(name.rpartition(".")[2].lower())


def _is_slow(code: str, name: str) -> bool:
    if len(code) > MAX_COLOURED or _LONG_GAP.search(code):
        return True
    return name not in _LINEAR and (len(code) > _MAX_OTHERS or _LONG_LINE.search(code) is not None)


def highlighted_lines(code: str, name: str | None) -> list[Markup]:
    """Each line as HTML. `name` is a language as a file or the fence of a code block calls it.

    >>> highlighted_lines("x = 1\\n", "python")[0]
    Markup('<span class="n">x</span> <span class="o">=</span> <span class="mi">1</span>')
    """
    code = code.replace("\r\n", "\n").replace("\r", "\n")
    known = _BY_NAME.get((name or "").lower())
    if known is None or _is_slow(code, known):
        html_lines = [escape(line) for line in code.split("\n")]
    else:
        lexer = get_lexer_by_name(known, stripnl=False, ensurenl=False)
        # The formatter closes and reopens its spans at each line end.
        html_lines = [Markup(line) for line in colour(code, lexer, _FORMATTER).split("\n")]
    html_lines = [_marked(line) for line in html_lines]
    return html_lines[:-1] if len(html_lines) > 1 and not html_lines[-1] else html_lines


def _marked(line: Markup) -> Markup:
    """Characters that make a line read otherwise than it runs are shown as escapes. None of them is inside a tag."""
    return Markup(CONTROL.sub(lambda match: f"<mark>{printable(match[0])}</mark>", line))
