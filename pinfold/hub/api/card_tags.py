"""The YAML front matter of a README.md: read without trusting it, and checked as the Hub checks it."""

import math
import re
from typing import Any

import yaml

MAX_FRONT_MATTER = 2**18
MAX_NUMBER = 1000  # characters; a longer one, and worse 1:1:1:..., takes quadratic time to read
MAX_DEPTH = 64
_NUMBERS = range(-(2**63), 2**64)  # what the clients' JSON readers take
_FRONT_MATTER = re.compile(r"\ufeff?\s*---[ \t]*\r?\n(.*?)(?:^|\n)---[ \t]*(?:\r?\n|$)", re.DOTALL)
_DATASET_TAGS = ("license", "language", "task_categories", "task_ids", "size_categories", "multilinguality")
_TYPES = {  # field: (types the Hub accepts, their name)
    "tags": (list, "an array"),
    "license_name": (str, "a string"),
    "library_name": (str, "a string"),
    "pipeline_tag": (str, "a string"),
    "license": ((str, list), "a string or an array"),
    "language": ((str, list), "a string or an array"),
    "datasets": ((str, list), "a string or an array"),
    "base_model": ((str, list), "a string or an array"),
}


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


def metadata(readme: str) -> dict[str, Any]:
    """The front matter as plain JSON values; ValueError says what is wrong with it. Empty when there is none.

    >>> metadata("---\\nlicense: mit\\n---\\n# Title")
    {'license': 'mit'}
    """
    match = _FRONT_MATTER.match(readme)
    if match is None:
        return {}
    if len(match[1]) > MAX_FRONT_MATTER:
        raise ValueError(f"the metadata is longer than {MAX_FRONT_MATTER} characters")
    try:
        content = yaml.load(match[1], Loader=_Loader)
    except Exception as error:  # a value that its tag does not fit ends in any of Python's errors
        raise ValueError(f"the metadata is not valid YAML: {' '.join(str(error).split())[:500]}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError("the metadata must be a mapping of names to values")
    return plain(content)


def body(readme: str) -> str:
    """The text below the front matter.

    >>> body("---\\nlicense: mit\\n---\\n# Title")
    '# Title'
    """
    match = _FRONT_MATTER.match(readme)
    return readme[match.end() :] if match else readme


def problems(readme: str) -> tuple[list[str], list[str]]:
    """(errors, warnings) about a README.md."""
    try:
        content = metadata(readme)
    except ValueError as error:
        return [str(error)], []
    errors = [
        f'"{name}" must be {description}'
        for name, (types, description) in _TYPES.items()
        if name in content and not isinstance(content[name], types)
    ]
    return errors, [] if content else ["empty or missing yaml metadata in repo card"]


def tags(content: dict[str, Any], kind: str = "models") -> list[str]:
    """What a repository can be searched by, named as on the real Hub."""
    names = [*_list(content.get("tags"))]
    if kind == "models":
        names = [content.get("library_name"), content.get("pipeline_tag"), *names, *_list(content.get("language"))]
    named = {
        "models": {"license": "license", "datasets": "dataset", "base_model": "base_model"},
        "datasets": {name: name for name in _DATASET_TAGS},
        "spaces": {"sdk": "sdk", "license": "license"},
    }
    names += [f"{tag}:{each}" for key, tag in named[kind].items() for each in texts(content.get(key))]
    return list(dict.fromkeys(each for each in names if isinstance(each, str)))


def texts(value: Any) -> list[str]:
    """A text or a list of texts as a list."""
    return [each for each in _list(value) if isinstance(each, str)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON may carry it: YAML knows dates, sets, NaN and any key. ValueError when it is nested too deep.

    >>> plain({1: [float("nan"), 2**70]})
    {'1': ['nan', '1180591620717411303424']}
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"the metadata is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {str(plain(key, depth + 1)): plain(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(each, depth + 1) for each in value]
    if isinstance(value, int) and value not in _NUMBERS:
        return str(value) if value.bit_length() <= 4 * MAX_NUMBER else hex(value)  # Python refuses to write long ones
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
