"""What a user reads when something cannot be done: one line, exit code 2."""

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

# Control characters of both sets, and those that turn the direction of text around.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Text of untrusted files, with its control characters escaped, so that it cannot steer a terminal.

    >>> printable("a\x1b[31m")
    'a\\\\x1b[31m'
    """
    return CONTROL.sub(lambda character: character[0].encode("unicode_escape").decode(), text)


def plain_line(text: object, most: int = 2000) -> str:
    """Text of untrusted code as one line that steers nothing and has an end."""
    line = printable(" ".join(str(text)[: 4 * most].split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def printable_all(value: Any) -> Any:
    """Plain data, as JSON holds it, with every text in it ``printable``."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [printable_all(each) for each in value]
    if isinstance(value, dict):
        return {printable(key): printable_all(each) for key, each in value.items()}
    return value


@contextlib.contextmanager
def untrusted(what: str) -> Iterator[None]:
    """Reading plain data that a stranger's code may have written: another form of it is not our fault.

    Raises:
        UserError: in place of what Python raises for a value of another type, or one that is not there.
    """
    kinds = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError, StopIteration)
    try:
        yield
    except kinds as error:
        why = plain_line(f"{type(error).__name__}: {error}", 200)
        raise UserError(f"{what} cannot be read ({why}): the folder's code tampered with it") from None


def one_line(error: BaseException) -> str:
    """All that an exception says, on one line: where the cause may be on any of its own."""
    return " ".join(str(error).split())


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its class: of one that goes on with advice or with a log."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class UserError(Exception):
    """A mistake or a limit that the user can act on.

    The message is one line, or one for each cause: what was given, what is allowed, what to do. The
    command line prints it without a traceback and exits with code 2; a notebook shows it without one too.
    """

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows in place of a traceback: its hook for exceptions that say all themselves."""
        return [f"{type(self).__name__}: {self}"]


def one_line_in_scripts(function: Callable) -> Callable:
    """Let a mistake that leaves a function of the Python API end a script as it ends a command: one line, exit code 2.

    It stays an exception that can be caught. Where the program, or what runs it, shows exceptions in a way of its
    own (``sys.excepthook`` is set), that is what shows this one too; IPython asks the exception itself.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except UserError:
            if sys.excepthook is sys.__excepthook__:
                sys.excepthook = _show
            raise

    return wrapped


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own hook, but for what says all in its line."""
    if not isinstance(error, UserError):
        sys.__excepthook__(kind, error, trace)
        return
    print(f"pinfold: {printable(str(error))}", file=sys.stderr)
    if not (hasattr(sys, "ps1") or sys.flags.inspect):  # at a prompt one goes on
        raise SystemExit(2)


def missing_extra(verb: str, extra: str, error: ImportError) -> UserError:
    """Name the pip line for a verb whose optional packages are not installed."""
    return UserError(f"{verb} needs the package {error.name}; run: pip install 'pinfold[{extra}]'")
