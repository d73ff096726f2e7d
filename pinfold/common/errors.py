"""What a user reads when something cannot be done: one line, exit code 2."""

import re

# Control characters of both sets, and those that turn the direction of text around.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Text of untrusted files, with its control characters escaped, so that it cannot steer a terminal.

    >>> printable("a\x1b[31m")
    'a\\\\x1b[31m'
    """
    return CONTROL.sub(lambda character: character[0].encode("unicode_escape").decode(), text)


def one_line(error: BaseException) -> str:
    """All that an exception says, on one line: where the cause may be on any of its own."""
    return " ".join(str(error).split())


def first_line(error: BaseException) -> str:
    """The first line of what an exception says, or its class: of one that goes on with advice or with a log."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class UserError(Exception):
    """A mistake or a limit that the user can act on.

    The message is one line: what was given, what is allowed, what to do. The
    command line prints it without a traceback and exits with code 2; a notebook shows it without one too.
    """

    def _render_traceback_(self) -> list[str]:
        """The lines that IPython shows in place of a traceback: its hook for exceptions that say all themselves."""
        return [f"{type(self).__name__}: {self}"]


def missing_extra(verb: str, extra: str, error: ImportError) -> UserError:
    """Name the pip line for a verb whose optional packages are not installed."""
    return UserError(f"{verb} needs the package {error.name}; run: pip install 'pinfold[{extra}]'")
