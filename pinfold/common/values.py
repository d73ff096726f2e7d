"""Values of files that anybody may have written: what is not of the kind that is wanted is taken for an empty one."""

from typing import Any


def as_dict(value: Any) -> dict[str, Any]:
    """The table; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def in_list(value: Any) -> list[Any]:
    """The list; a list of one for a single value, as card metadata writes either.

    >>> in_list("en"), in_list(["en", "de"]), in_list(None)
    (['en'], ['en', 'de'], [])
    """
    return value if isinstance(value, list) else [] if value is None else [value]
