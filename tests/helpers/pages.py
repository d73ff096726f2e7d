"""The pages for users, README.md and docs/*.md, and the snippets in them."""

import re

from helpers.processes import ROOT

SHA = re.compile(r"\b[0-9a-f]{40}\b")
PAGES = {
    "README": (ROOT / "README.md").read_text(encoding="utf-8"),
    **{path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))},
}


def blocks(page: str, language: str) -> list[str]:
    """The fenced code blocks of a page in one language, in their order."""
    fenced = re.findall(r"^```(\w+)\n(.*?)^```$", PAGES[page], re.MULTILINE | re.DOTALL)
    return [text for kind, text in fenced if kind == language]


def block(page: str, language: str, words: str) -> str:
    """The one block of a language that contains these words."""
    fitting = [text for text in blocks(page, language) if words in text]
    assert len(fitting) == 1, f"{page}: {len(fitting)} {language} blocks with {words!r}"
    return fitting[0]


def until_newest(text: str) -> str:
    """Ranges of releases that reach the newest, whichever that is: "4.48-5.23" is "4.48-newest"."""
    return re.sub(r"(?<=loads in )4\.48-5\.\d+", "4.48-newest", text)
