"""Run a card's example, and keep what it prints."""

import contextlib
import io

from ..values import describe

MOST = 4000  # characters of output; more is too long for a card


def run_first(programs: list[str]) -> dict:
    """Execute the first of some programs that works, each in a new namespace.

    Returns:
        "program" and "output", what it printed; "failed", why those before it do not work, by their number.
    """
    failed: dict = {}
    for number, program in enumerate(programs):
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(program, "<card>", "exec"), {"__name__": "__main__"})
        except (Exception, SystemExit) as error:  # a broken example must not stop a push
            failed[str(number)] = describe(error)
            continue
        if len(printed.getvalue()) <= MOST:
            return {"program": number, "output": printed.getvalue(), "failed": failed}
        failed[str(number)] = f"it prints {len(printed.getvalue())} characters"
    return {"failed": failed}
