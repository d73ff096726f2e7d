"""What a README.md's front matter says: as JSON, as tags of the repository, and whether the Hub would take it."""

import math
from typing import Any

from pinfold.common.front_matter import MAX_NUMBER, FrontMatterError, read_front_matter, split_front_matter
from pinfold.common.values import in_list

MAX_DEPTH = 64
_NUMBERS = range(-(2**63), 2**64)  # what the clients' JSON readers take
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


def metadata(readme: str) -> dict[str, Any]:
    """The front matter as plain JSON values; ValueError says what is wrong with it. Empty when there is none.

    >>> metadata("---\\nlicense: mit\\n---\\n# Title")
    {'license': 'mit'}
    """
    try:
        return as_json(read_front_matter(readme))
    except FrontMatterError as error:
        raise ValueError(f"the metadata is {error}") from error


def body(readme: str) -> str:
    """The text below the front matter.

    >>> body("---\\nlicense: mit\\n---\\n# Title")
    '# Title'
    """
    return split_front_matter(readme)[1]


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
    names = [*in_list(content.get("tags"))]
    if kind == "models":
        names = [content.get("library_name"), content.get("pipeline_tag"), *names, *in_list(content.get("language"))]
    named = {
        "models": {"license": "license", "datasets": "dataset", "base_model": "base_model"},
        "datasets": {name: name for name in _DATASET_TAGS},
        "spaces": {"sdk": "sdk", "license": "license"},
    }
    names += [f"{tag}:{each}" for key, tag in named[kind].items() for each in texts(content.get(key))]
    return list(dict.fromkeys(each for each in names if isinstance(each, str)))


def texts(value: Any) -> list[str]:
    """A text or a list of texts as a list."""
    return [each for each in in_list(value) if isinstance(each, str)]


def as_json(value: Any, depth: int = 0) -> Any:
    """A value as JSON may carry it: YAML knows dates, sets, NaN and any key. ValueError when it is nested too deep.

    >>> as_json({1: [float("nan"), 2**70]})
    {'1': ['nan', '1180591620717411303424']}
    """
    if depth > MAX_DEPTH:
        raise ValueError(f"the metadata is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, dict):
        return {str(as_json(key, depth + 1)): as_json(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [as_json(each, depth + 1) for each in value]
    if isinstance(value, int) and value not in _NUMBERS:
        return str(value) if value.bit_length() <= 4 * MAX_NUMBER else hex(value)  # Python refuses to write long ones
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)
