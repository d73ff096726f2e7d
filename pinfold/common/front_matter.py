"""The YAML front matter of a Markdown file, read without trusting it."""

import re
from typing import Any

import yaml

MAX_LENGTH = 2**18  # characters
MAX_NUMBER = 1000  # characters; a longer one, and worse 1:1:1:..., takes quadratic time to read
# What the Hub takes for front matter (huggingface_hub's REGEX_YAML_BLOCK: white space may come before it), and beyond
# that a byte order mark, spaces behind the first line, and a block that is empty.
_BLOCK = re.compile(
    r"\ufeff?\s*---[ \t]*(?:\r\n|\r|\n)(?:(.*?)(?:\r\n|\r|\n))??---[ \t]*(?:\r\n|\n|\Z)",
    re.DOTALL,
)


class FrontMatterError(ValueError):
    """Why a front matter cannot be used, in words that follow "the metadata is"."""


class _Loader(yaml.SafeLoader):
    """Without aliases: a few lines of them describe gigabytes. And without endless numbers."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not supported")
        return super().compose_node(parent, index)

    def construct_number(self, node):
        if len(node.value) > MAX_NUMBER:
            return self.construct_scalar(node)
        return self.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)


def split_front_matter(text: str) -> tuple[str, str]:
    """The YAML between the lines of dashes, and the text below; the YAML is empty where there is none.

    >>> split_front_matter("\\n---\\nlicense: mit\\n---\\n# Title")
    ('license: mit', '# Title')
    """
    match = _BLOCK.match(text)
    return (match[1] or "", text[match.end() :]) if match else ("", text)


def read_front_matter(text: str) -> dict[Any, Any]:
    """The metadata of a Markdown file; empty where there is none.

    >>> read_front_matter("---\\nlicense: mit\\n---\\n# Title")
    {'license': 'mit'}

    Raises:
        FrontMatterError: it is too long, not YAML, or not a mapping.
    """
    block, _ = split_front_matter(text)
    if len(block) > MAX_LENGTH:
        raise FrontMatterError(f"longer than {MAX_LENGTH} characters")
    try:
        content = yaml.load(block, Loader=_Loader)
    except Exception as error:  # a value that its tag does not fit ends in any of Python's errors
        raise FrontMatterError(f"not valid YAML: {' '.join(str(error).split())[:500]}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise FrontMatterError(f"a {type(content).__name__}, not a mapping of names to values")
    return content
