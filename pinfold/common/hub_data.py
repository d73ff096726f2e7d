"""Where this user's data are, such as those of the embedded Hub: for this user alone, the same from every folder."""

import os
import shlex
import sys
from pathlib import Path

from pinfold.common.errors import UserError, printable
from pinfold.common.files import write_atomically
from pinfold.common.private import DIRECTORY, FILE, close_to_others, is_open

VARIABLE = "PINFOLD_HUB"
MARK = "pinfold-hub"  # a file that says whose directory this is, and which of its rules hold in it
RULES = 1  # 1: nobody but its owner may read what is in it
OLD = Path("runs/hub")  # an earlier version kept a Hub in each folder that a user worked in
# What a push, or a token made without a server, leaves there before it has a mark.
BEFORE_THE_MARK = {"users.lock", "started-for-pushes", "tokens.json", "tokens.lock"}


def hub_data() -> Path:
    """The data directory, as a full path: that of PINFOLD_HUB, or the place for such data on this system.

    Raises:
        UserError: the variable is not set, and this user has no home directory.
    """
    if (named := os.environ.get(VARIABLE, "")).strip():
        return full(os.path.expanduser(named))
    if (default := _default()) is None:
        raise UserError(f"this user has no home directory; set {VARIABLE} to a directory for the embedded Hub's data")
    return default


def full(directory: Path | str) -> Path:
    """The path that means the same directory from every folder. Links stay as they are."""
    return Path(directory).absolute()


def _default() -> Path | None:
    """The place without PINFOLD_HUB; None where even the home directory is unknown."""
    return user_data("hub")


def user_data(name: str) -> Path | None:
    """A directory of this user's for data of one kind; None where even the home directory is unknown."""
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    elif sys.platform == "darwin":
        base = os.path.join(home, "Library", "Application Support")
    else:
        base = os.environ.get("XDG_DATA_HOME", "")
        if not os.path.isabs(base):  # its specification says to ignore such a value
            base = os.path.join(home, ".local", "share")
    return Path(base, "pinfold", name) if os.path.isabs(base) else None


def data_option(directory: Path) -> str:
    """What a command line for this directory needs where PINFOLD_HUB is not set; nothing for the default."""
    return "" if full(directory) == _default() else f" --data {shlex.quote(str(full(directory)))}"


def in_help() -> str:
    """The directory as a help text names it; argparse reads a percent sign as a placeholder."""
    try:
        return str(hub_data()).replace("%", "%%")
    except UserError:
        return f"the directory in {VARIABLE}"


def may_hold_data(directory: Path) -> bool:
    """Whether a Hub may use an existing directory: an empty one, or one that a Hub made, with or without a mark."""
    names = {each.name for each in directory.iterdir()}
    if MARK in names or names <= BEFORE_THE_MARK:
        return True
    repos = directory / "repos"
    if not repos.is_dir():
        return False
    was_empty = names - BEFORE_THE_MARK == {"repos", "tmp"} and not any(repos.iterdir())
    return was_empty or bool(names & {"secret", "tokens.json", "lock"}) or any(repos.glob("*/*/*.git/hub.json"))


def open_data(directory: Path, called: str, cure: str) -> None:
    """Make a data directory where it is missing, refuse any other, and close it to others, which it prints.

    Args:
        called: the directory as the user named it.
        cure: what to do instead of using one that holds other files.

    Raises:
        UserError: it holds other files.
        OSError: it cannot be made or read.
    """
    directory.mkdir(mode=DIRECTORY, parents=True, exist_ok=True)
    check_data(directory, called, cure)
    if closed := keep_private(directory):
        print(f"pinfold hub: {printable(closed)}", file=sys.stderr, flush=True)


def check_data(directory: Path, called: str, cure: str) -> None:
    """Refuse an existing directory that holds something else, before a file is written to it.

    Args:
        called: the directory as the user named it.
        cure: what to do instead.

    Raises:
        UserError: it is such a one.
    """
    if not may_hold_data(directory):
        raise UserError(f"{called} holds other files and is not a data directory of a Hub; {cure}")


def keep_private(directory: Path) -> str:
    """Close a data directory to everybody else on this machine, and mark it as one.

    All of it is looked at once, and again where what is on top has been opened, by a copy or by hand. What a Hub
    makes later is made so.

    Returns:
        What was done, where there was something to do, as one line.
    """
    mark = directory / MARK
    tops = (directory, mark, directory / "repos", directory / "tmp")
    if _rules(mark) >= RULES and not any(is_open(each) for each in tops):
        return ""
    closed = close_to_others(directory)
    write_atomically(mark, f"{RULES}\n".encode(), mode=FILE)
    if not any(closed):
        return ""
    left = f"; {closed.left:,} of another user's stay as they are" if closed.left else ""
    count = f"{sum(closed):,} file{'s' * (sum(closed) > 1)} or folder{'s' * (sum(closed) > 1)}"
    return f"others on this machine could read {count} of {directory}; now only you{left}"


def _rules(mark: Path) -> int:
    """The number in a mark; an earlier version left it empty."""
    try:
        text = mark.read_text()[:20].strip()
    except (OSError, ValueError):
        return 0
    return int(text) if text.isascii() and text.isdigit() else 0


def old_data(directory: Path) -> str:
    """How to go on with the Hub of the current folder, where this user's own is still empty; else nothing.

    Who has set PINFOLD_HUB has chosen already.
    """
    if full(directory) != _default() or _has_repositories(directory) or not _has_repositories(OLD):
        return ""
    here = shlex.quote(str(full(OLD)))
    return (
        f"this folder has a Hub of its own, of an earlier version, in {OLD}; "
        f"to go on with it: pinfold hub --data {OLD}, or export {VARIABLE}={here}"
    )


def _has_repositories(directory: Path) -> bool:
    return any((directory / "repos").glob("*/*/*.git/hub.json"))
