"""Planned failures for the tests: a point in the program is named, and reaching it fails on purpose.

Nothing happens unless `pinfold hub --fault NAME[:N]` armed one: the N-th time (the first by
default) its point is reached, the connection is dropped without an answer or the process
ends as if killed. `-always` fails every time.
"""

import os

from pinfold.common.errors import UserError


class Dropped(BaseException):
    """The connection is to be closed without an answer. Not an Exception: nothing may turn it into a 500."""


def _drop() -> None:
    raise Dropped


def _exit() -> None:
    os._exit(70)


FAULTS = {  # name: (point, what happens there, every time?)
    "put-drop": ("put-middle", _drop, False),
    "put-drop-always": ("put-middle", _drop, True),
    "exit-inside-put": ("put-middle", _exit, False),
    "exit-before-commit": ("commit-start", _exit, False),
    "exit-inside-commit": ("commit-written", _exit, False),
    "exit-after-commit": ("commit-answer", _exit, False),
    "exit-inside-merge": ("pull-merged", _exit, False),
    "lose-answer": ("commit-answer", _drop, False),
}
_armed: dict[str, tuple] = {}  # point: (act, the visit it fires at or None for all)
_visits: dict[str, int] = {}


def arm(fault: str) -> None:
    """Plan one fault, written NAME or NAME:N."""
    name, _, number = fault.partition(":")
    if name not in FAULTS or not (number or "1").isdigit():
        raise UserError(f"--fault {fault} is unknown; use one of {', '.join(FAULTS)}, with :N for the N-th time")
    point, act, always = FAULTS[name]
    _armed[point] = (act, None if always else int(number or 1))


def reach(point: str) -> None:
    """Say that the program is at this point."""
    if point in _armed:
        act, visit = _armed[point]
        _visits[point] = _visits.get(point, 0) + 1
        if visit in (None, _visits[point]):
            act()
