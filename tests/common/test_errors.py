"""What a user reads of a mistake, on a terminal and in a notebook."""

from pinfold.common.errors import UserError, printable


def test_a_notebook_shows_the_line_alone():
    """IPython asks an exception for this before it writes a traceback."""
    assert UserError("a.json: no such file")._render_traceback_() == ["UserError: a.json: no such file"]


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b[2Jb\u202ec") == "a\\x1b[2Jb\\u202ec"
