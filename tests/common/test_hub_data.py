"""Which directory holds the data of a user's embedded Hub, from the environment alone."""

import sys
from pathlib import Path

import pytest

from pinfold.common import hub_data
from pinfold.common.errors import UserError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user who has set nothing, in the directory tmp_path / "here"."""
    for name in ("PINFOLD_HUB", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("platform", "place"),
    [
        ("linux", ".local/share/pinfold/hub"),
        ("freebsd14", ".local/share/pinfold/hub"),
        ("darwin", "Library/Application Support/pinfold/hub"),
        ("win32", "AppData/Local/pinfold/hub"),
    ],
)
def test_the_place_is_that_of_the_system(platform, place, home, monkeypatch):
    monkeypatch.setattr(sys, "platform", platform)
    assert hub_data.hub_data() == home / place


def test_on_windows_the_system_says_where_such_data_belong(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert hub_data.hub_data() == tmp_path / "local" / "pinfold" / "hub"


def test_xdg_data_home_counts_where_it_is_a_full_path(tmp_path, home, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    assert hub_data.hub_data() == tmp_path / "share" / "pinfold" / "hub"
    for useless in ("", "share"):
        monkeypatch.setenv("XDG_DATA_HOME", useless)
        assert hub_data.hub_data() == home / ".local/share/pinfold/hub"


def test_the_variable_comes_first_and_is_read_each_time(tmp_path, home, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("PINFOLD_HUB", str(tmp_path / "mine"))
    assert hub_data.hub_data() == tmp_path / "mine"
    monkeypatch.setenv("PINFOLD_HUB", "runs/hub")
    assert hub_data.hub_data() == tmp_path / "here" / "runs" / "hub"
    monkeypatch.chdir(tmp_path)
    assert hub_data.hub_data() == tmp_path / "runs" / "hub"
    monkeypatch.setenv("PINFOLD_HUB", "~/hub")  # a shell leaves it so in quotes
    assert hub_data.hub_data() == home / "hub"
    monkeypatch.setenv("PINFOLD_HUB", " ")
    assert hub_data.hub_data() == tmp_path / "share" / "pinfold" / "hub"


def test_without_a_home_the_variable_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # what it does where it finds no home
    with pytest.raises(UserError, match="set PINFOLD_HUB to a directory"):
        hub_data.hub_data()
    assert "PINFOLD_HUB" in hub_data.in_help() and hub_data.data_option(Path("x")) == f" --data {tmp_path}/here/x"
    monkeypatch.setenv("PINFOLD_HUB", str(tmp_path / "mine"))
    assert hub_data.hub_data() == tmp_path / "mine"


def test_a_command_line_names_any_directory_but_the_default(tmp_path, monkeypatch):
    assert hub_data.data_option(hub_data.hub_data()) == ""
    assert hub_data.data_option(Path("my data")) == f" --data '{tmp_path}/here/my data'"
    monkeypatch.setenv("PINFOLD_HUB", "runs/hub")  # another shell may not have it
    assert hub_data.data_option(hub_data.hub_data()) == f" --data {tmp_path}/here/runs/hub"
    monkeypatch.setenv("PINFOLD_HUB", "100%")
    assert hub_data.in_help() == f"{tmp_path}/here/100%%"


def test_a_directory_with_other_files_is_not_one_for_data(tmp_path):
    assert hub_data.may_hold_data(tmp_path / "here")
    (tmp_path / "here" / "users.lock").touch()
    assert hub_data.may_hold_data(tmp_path / "here")
    (tmp_path / "here" / "notes.txt").touch()
    assert not hub_data.may_hold_data(tmp_path / "here")
    (tmp_path / "here" / hub_data.MARK).touch()
    assert hub_data.may_hold_data(tmp_path / "here")
