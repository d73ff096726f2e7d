"""What a user reads when something cannot be done: one line, exit code 2."""


class UserError(Exception):
    """A mistake or a limit that the user can act on.

    The message is one line: what was given, what is allowed, what to do. The
    command line prints it without a traceback and exits with code 2.
    """


def missing_extra(verb: str, extra: str, error: ImportError) -> UserError:
    """Name the pip line for a verb whose optional packages are not installed."""
    return UserError(f"{verb} needs the package {error.name}; run: pip install 'pinfold[{extra}]'")
