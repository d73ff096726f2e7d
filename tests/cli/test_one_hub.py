"""The embedded Hub of a user is one: what is pushed in one folder is found from another."""

import contextlib
import shlex
import shutil
import signal
import stat
import subprocess
import sys

import pytest
from helpers.processes import ROOT, clean_environment
from huggingface_hub import HfApi

from pinfold.cli.main import main
from pinfold.common.hub_data import hub_data
from pinfold.remote import destination


@pytest.fixture
def user(tmp_path, monkeypatch):
    """A user who has set nothing, with two folders to work in; in the first. Returns the Hub's default directory."""
    monkeypatch.delenv("PINFOLD_HUB")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home" / "share"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    return tmp_path / "home" / "share" / "pinfold" / "hub"


@pytest.fixture
def push(quick, tiny_folder, tiny_checkpoint, capsys):
    """push() -> (exit code, stdout, stderr) of a push to local/tiny."""

    def run(*arguments):
        where = ["--checkpoint", str(tiny_checkpoint), "--repo", "local/tiny"]
        code = main(["push", str(tiny_folder), *where, *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def check(capsys):
    """check("local/tiny") -> (exit code, stdout, stderr)."""

    def run(*arguments):
        code = main(["check", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@contextlib.contextmanager
def served(cwd, *arguments):
    """`pinfold hub` in a folder, with the environment of now: its first line, and when it has ended what it said."""
    command = [sys.executable, "-m", "pinfold", "hub", "--port", "0", *arguments]
    process = subprocess.Popen(
        command, cwd=cwd, env=clean_environment(cwd.parent / "home", PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = {}
    try:
        yield process.stdout.readline(), said
    finally:
        process.send_signal(signal.SIGTERM)
        said["err"] = process.communicate(timeout=30)[1]


def test_a_push_is_found_from_another_folder(user, push, check, tmp_path, monkeypatch):
    code, out, err = push()
    assert code == 0, err
    assert out.startswith(f"push to local/tiny on the embedded Hub in {user}\n")
    assert "hub --port 7870   # serves it" in out and "--data" not in out and "earlier version" not in out
    monkeypatch.chdir(tmp_path / "two")
    code, out, err = check("local/tiny")
    assert code == 0 and "reading local/tiny at" in out, err
    with destination.running(hub_data()) as server:
        api = HfApi(endpoint=f"http://127.0.0.1:{server['port']}", token=server["token"])
        assert [each.id for each in api.list_models()] == ["local/tiny"]
    assert push()[1].count("Unchanged: local/tiny at ") == 1
    assert list((tmp_path / "one").iterdir()) == list((tmp_path / "two").iterdir()) == []
    assert stat.S_IMODE(user.stat().st_mode) == 0o700


def test_a_hub_that_serves_in_one_folder_takes_the_push_of_another(user, push, tmp_path):
    with served(tmp_path / "two") as (greeting, said):
        assert f"data in {user};" in greeting
        url = greeting.split()[4].rstrip(",")
        code, out, err = push("--endpoint", url)  # its token comes from the data directory
        assert code == 0, err
        assert f"the embedded Hub in {user}\n" in out
        assert HfApi(endpoint=url, token=False).repo_exists("local/tiny")
    assert said["err"].strip().splitlines()[-1] == "Stopped." and "earlier version" not in said["err"]


@pytest.mark.slow
def test_a_relative_directory_in_the_variable_is_of_the_current_folder(user, push, check, tmp_path, monkeypatch):
    monkeypatch.setenv("PINFOLD_HUB", "data/hub")
    code, out, err = push()
    assert code == 0, err
    data = tmp_path / "one" / "data" / "hub"
    assert f"on the embedded Hub in {data}\n" in out and f"hub --data {data} --port 7870" in out
    assert check("local/tiny")[0] == 0 and not user.exists()
    monkeypatch.chdir(tmp_path / "two")
    code, _, err = check("local/tiny")
    assert code == 2 and f"no embedded Hub in {tmp_path}/two/data/hub" in err and len(err.splitlines()) == 1


def test_data_overrides_both(user, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PINFOLD_HUB", str(tmp_path / "variable"))
    for order in (["--data", "given", "token", "me"], ["token", "me", "--data", "given"]):
        assert main(["hub", *order]) == 0
    assert not user.exists() and not (tmp_path / "variable").exists()
    assert main(["hub", "token", "me"]) == 0
    assert (tmp_path / "variable" / "tokens.json").exists()
    capsys.readouterr()
    with served(tmp_path / "one", "--data", "given") as (greeting, _):
        assert f"data in {tmp_path}/one/given;" in greeting


@pytest.mark.parametrize("verb", ["hub", "push"])
def test_the_help_names_the_directory_in_full(user, verb, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "500")
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    assert str(user) in capsys.readouterr().out


@pytest.fixture
def old(user, push, tmp_path, monkeypatch):
    """The first folder has a Hub of its own with one repository, as an earlier version made it."""
    monkeypatch.setenv("PINFOLD_HUB", "runs/hub")
    code, _, err = push()
    assert code == 0, err
    monkeypatch.delenv("PINFOLD_HUB")
    return tmp_path / "one" / "runs" / "hub"


@pytest.mark.slow
def test_data_of_an_earlier_version_are_named_with_how_to_go_on(user, old, push, check, tmp_path, monkeypatch, capsys):
    note = f"to go on with it: pinfold hub --data runs/hub, or export PINFOLD_HUB={old}"
    code, _, err = check("local/tiny")
    assert code == 2 and f"no embedded Hub in {user}; " in err and note in err and len(err.splitlines()) == 1
    assert main(["hub", "verify"]) == 2
    err = capsys.readouterr().err
    assert f"--data {user}: the directory does not exist" in err and note in err and len(err.splitlines()) == 1
    with served(tmp_path / "one") as (greeting, said):
        assert f"data in {user};" in greeting
    assert [line for line in said["err"].splitlines() if note in line] == said["err"].splitlines()[:1]
    # it is there now, and empty
    code, _, err = check("local/tiny")
    assert code == 2 and f"local/tiny is not on the embedded Hub in {user}" in err and note in err
    code, out, err = push()
    assert code == 0 and out.count(note) == 1, err
    assert note not in push()[1], "it was said, and there is something to go on with"
    monkeypatch.chdir(tmp_path / "two")
    shutil.rmtree(user)
    assert note not in push()[1], "another folder has no such data"


@pytest.mark.slow
def test_the_two_ways_to_go_on_work(user, old, check, tmp_path, monkeypatch):
    _, _, err = check("local/tiny")
    serve, export = err.split("to go on with it: ")[1].strip().split(", or ")
    with served(tmp_path / "one", *shlex.split(serve)[2:]) as (greeting, said):
        assert f"data in {old};" in greeting
        assert HfApi(endpoint=greeting.split()[4].rstrip(","), token=False).repo_exists("local/tiny")
    assert "earlier version" not in said["err"]
    name, _, value = shlex.split(export)[1].partition("=")
    monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path / "two")
    assert check("local/tiny")[0] == 0 and not user.exists()


@pytest.mark.slow
def test_data_of_an_earlier_version_can_be_moved(user, old, check, tmp_path, monkeypatch):
    user.parent.mkdir(parents=True)
    shutil.move(old, user)
    monkeypatch.chdir(tmp_path / "two")
    assert check("local/tiny")[0] == 0


def test_a_directory_that_cannot_be_used_is_one_line_and_stays_as_it_is(user, push, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    for data, words in (("file", "File exists"), ("file/hub", "Not a directory"), ("full", "holds other files")):
        monkeypatch.setenv("PINFOLD_HUB", str(tmp_path / data))
        code, _, err = push()
        assert code == 2 and f"{tmp_path / data}" in err and words in err and "set PINFOLD_HUB to another" in err, err
        assert len(err.splitlines()) == 1
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]
