"""What a user reads of a mistake, on a terminal and in a notebook."""

import subprocess
import sys

from pinfold.common.errors import UserError, printable


def test_a_notebook_shows_the_line_alone():
    """IPython asks an exception for this before it writes a traceback."""
    assert UserError("a.json: no such file")._render_traceback_() == ["UserError: a.json: no such file"]


def test_control_characters_do_not_reach_the_terminal():
    assert printable("a\x1b[2Jb\u202ec") == "a\\x1b[2Jb\\u202ec"


def ended(program: str, *options: str, answers: str = "") -> subprocess.CompletedProcess:
    """A script in a Python of its own, in which ``fails`` is a function of the API that a mistake leaves."""
    start = (
        "import sys\nfrom pinfold.common.errors import UserError, one_line_in_scripts\n"
        "@one_line_in_scripts\ndef fails():\n    raise UserError('a.json: no such file')\n"
    )
    return subprocess.run(
        [sys.executable, *options, "-c", start + program], input=answers, text=True, capture_output=True
    )


def test_a_script_ends_with_the_line_and_code_2():
    done = ended("fails()")
    assert (done.returncode, done.stderr, done.stdout) == (2, "pinfold: a.json: no such file\n", "")


def test_a_script_may_catch_the_mistake():
    done = ended("try:\n    fails()\nexcept UserError as error:\n    print('caught', error)")
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "caught a.json: no such file\n")


def test_other_exceptions_keep_their_traceback():
    done = ended("try:\n    fails()\nexcept UserError:\n    pass\n1 / 0")
    assert done.returncode == 1
    assert "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr


def test_a_hook_of_the_programs_own_stays():
    done = ended("sys.excepthook = lambda kind, error, trace: print('mine', error)\nfails()")
    assert (done.returncode, done.stderr, done.stdout) == (1, "", "mine a.json: no such file\n")


def test_a_prompt_stays_open():
    done = ended("fails()", "-i", "-q", answers="fails()\nprint('still here')\n")
    assert "Traceback" not in done.stderr and done.stderr.count("a.json: no such file") == 2
    assert done.stdout == "still here\n"
