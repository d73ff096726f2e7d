"""Nobody but its owner may read what an embedded Hub keeps, however and whenever it was made, under every umask."""

import contextlib
import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest
from helpers.hub.hub_support import Server, ThreadServer, file, large, sha256
from helpers.processes import run_here

from pinfold.common.hub_data import MARK, keep_private
from pinfold.common.private import close_to_others
from pinfold.hub.server.tokens import Tokens
from pinfold.hub.storage.store import Store
from pinfold.remote import destination

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows keeps such rights elsewhere")
PART = 100_000
UMASKS = [0o022, 0o000, 0o077]


def wrong_modes(data: Path) -> dict[str, str]:
    """What is not 0700 for a directory and 0600 for a file."""
    modes = {path: path.lstat().st_mode for path in (data, *data.rglob("*"))}
    assert len(modes) > 3 and not any(map(stat.S_ISLNK, modes.values()))
    right = {path: 0o700 if stat.S_ISDIR(mode) else 0o600 for path, mode in modes.items()}
    return {str(path): oct(mode) for path, mode in modes.items() if stat.S_IMODE(mode) != right[path]}


@contextlib.contextmanager
def umask(value: int):
    """This process' umask, which must be the same afterwards: nothing that runs in it may change it for good."""
    before = os.umask(value)
    try:
        yield
    finally:
        assert os.umask(before) == value


def hub(data: Path, mask: int, *arguments: str) -> str:
    """`pinfold hub ACTION`, in this process; its umask has to be back afterwards."""
    with umask(mask):
        run = run_here("hub", "--data", str(data), *arguments)
    assert run.returncode == 0, run
    return run.stderr


def fill(server, token: str) -> None:
    """Make at least one of everything that a request can make."""
    server.create("me/model", token)
    weights = os.urandom(PART * 2 + 7)
    in_parts(server, token, weights)
    server.upload("me/model", token, b"small weights")
    lines = [large("w.safetensors", weights), large("v.bin", b"small weights"), file("a/b/c.txt", "c")]
    assert server.commit("me/model", token, *lines).status == 200
    assert server.commit("me/model", token, file("d.txt", "d"), query="?create_pr=1").status == 200
    model = "/api/models/me/model"
    for method, path, body in (
        ("POST", f"{model}/branch/a%2Fb", {}),
        ("POST", f"{model}/tag/main", {"tag": "v1", "message": "annotated"}),
        ("POST", f"{model}/branch/gone", {}),
        ("DELETE", f"{model}/branch/gone", None),
        ("POST", f"{model}/discussions", {"title": "t", "description": "d"}),
        ("POST", f"{model}/discussions/1/merge", {}),
        ("PUT", f"{model}/settings", {"private": True}),
        ("POST", f"{model}/duplicate", {"repository": "me/copy"}),
        ("POST", "/api/repos/create", {"name": "space", "type": "space", "sdk": "static"}),
        ("POST", "/api/repos/create", {"name": "goes"}),
        ("POST", "/api/repos/move", {"fromRepo": "me/goes", "toRepo": "me/went"}),
        ("POST", "/api/repos/create", {"name": "deleted"}),
        ("DELETE", "/api/repos/delete", {"name": "deleted"}),
    ):
        reply = server.http(method, path, body, token)
        assert reply.status == 200, (path, reply)
    started = server.upload_url("me/copy", token, b"x" * 500).removeprefix(server.url)
    assert server.http("PUT", started, b"x").status == 400
    assert server.http("GET", "/me/model/info/refs?service=git-upload-pack", token=token).status == 200


def in_parts(server, token: str, content: bytes) -> None:
    """An upload in parts; another one stays unfinished."""
    for bytes_, finishes in ((content, True), (content[::-1], False)):
        asked = {"oid": sha256(bytes_), "size": len(bytes_)}
        request = {"operation": "upload", "transfers": ["multipart"], "objects": [asked]}
        reply = server.http("POST", "/me/model.git/info/lfs/objects/batch", request, token)
        upload = reply.json["objects"][0]["actions"]["upload"]
        urls = [upload["header"][str(number)] for number in range(1, len(upload["header"]))]
        parts = [bytes_[at : at + PART] for at in range(0, len(bytes_), PART)]
        sent = [server.put(url, part).headers["ETag"] for url, part in zip(urls, parts, strict=True)]
        if finishes:
            etags = [{"partNumber": number, "etag": etag} for number, etag in enumerate(sent, 1)]
            body = {"oid": asked["oid"], "parts": etags}
            assert server.http("POST", upload["href"].removeprefix(server.url), body).status == 200


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_what_a_server_makes(tmp_path, mask):
    """One that a user starts, and git that works in its directory by hand."""
    data = tmp_path / "data"
    with Server(data, "--part-size", str(PART), umask=mask) as server:
        fill(server, server.token("me"))
        assert wrong_modes(data) == {}
        Tokens(data).create("you", "read")
    repo = data / "repos/models/me/model.git"
    subprocess.run(["git", "-c", "safe.directory=*", "-C", repo, "repack", "-adq"], check=True, umask=mask)
    opened = {path: mode for path, mode in wrong_modes(data).items() if int(mode, 8) & 0o077}
    assert opened == {}, "also what git makes here"


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_what_a_server_inside_another_process_makes(tmp_path, mask):
    """Its umask is for its own files and stays as it is."""
    data = tmp_path / "data"
    with umask(mask), ThreadServer(data, part_size=PART) as server:
        fill(server, server.token("me"))
        (tmp_path / "mine").touch()
        assert wrong_modes(data) == {}
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_what_the_actions_make(tmp_path, mask):
    """token, import of a folder, import of a Hub with its history and once more, gc, revoke, verify."""
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o777)
    (folder / "w.safetensors").write_bytes(os.urandom(200_000))
    (folder / "README.md").write_text("# A model")
    with ThreadServer(tmp_path / "source") as source:
        token = source.token("org")
        source.create("org/model", token)
        source.upload("org/model", token, b"weights" * 100)
        first = source.commit("org/model", token, large("w.bin", b"weights" * 100)).json["commitOid"]
        source.commit("org/model", token, file("b.txt", "b"))
        data, named = tmp_path / "deep" / "data", ["org/model", "org/model", "--from", source.url]
        hub(data, mask, "token", "me")
        hub(data, mask, "import", str(folder), "me/model", "--private")
        hub(data, mask, "import", *named, "--revision", first)
        hub(data, mask, "import", *named)
        assert list(data.rglob("*.pack")), "history comes in packs, which dulwich opens to all"
        hub(data, mask, "gc", "--older-than", "0")
        hub(data, mask, "verify")
    assert wrong_modes(data) == {}


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_what_a_push_makes_that_starts_the_hub(tmp_path, mask):
    """The Hub is a process of its own then, and the push's own files in its directory are closed too."""
    data = tmp_path / "data"
    with umask(mask):
        with destination.running(data) as started:
            port = started["port"]
            server = Server.__new__(Server)
            server.port, server.data, server.url = port, data, f"http://127.0.0.1:{port}"
            server.create("local/model", started["token"])
            assert server.commit("local/model", started["token"], file("a.txt", "a")).status == 200
            assert (data / "started-for-pushes").exists() and wrong_modes(data) == {}
        (tmp_path / "mine").touch()
    assert wrong_modes(data) == {} and stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o666 & ~mask


def opened(data: Path) -> int:
    """Make a data directory what an earlier version left under umask 022. Returns how much others can read."""
    paths = [data, *data.rglob("*")]
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o444 if "objects" in path.parts else 0o644)
    (data / MARK).write_bytes(b"")
    return len(paths)


@pytest.fixture
def filled(tmp_path):
    """A data directory with a repository in it."""
    data = tmp_path / "data"
    with ThreadServer(data) as server:
        token = server.token("me")
        server.create("me/model", token, private=True)
        assert server.commit("me/model", token, file("a/b.txt", "secret")).status == 200
    return data


def test_an_earlier_directory_is_closed_when_it_is_next_used_and_it_is_said_once(filled):
    count = opened(filled)
    line = f"pinfold hub: others on this machine could read {count} files or folders of {filled}; now only you\n"
    with Server(filled, "--quiet") as server:
        assert server.read_log() == line
        assert wrong_modes(filled) == {}
    assert (
        hub(filled, 0o022, "token", "me") == "A read token for me; only its hash is kept, so it is shown this once.\n"
    )
    count = opened(filled)
    assert hub(filled, 0o022, "tokens").startswith("pinfold hub: others on this machine could read"), count
    assert wrong_modes(filled) == {}


def test_a_push_closes_an_earlier_directory_and_says_so(filled, capsys):
    opened(filled)
    for said in ("others on this machine could read", ""):
        with destination.running(filled):
            assert wrong_modes(filled) == {}
        assert capsys.readouterr().err.count("\n") == bool(said)


def test_a_copy_that_others_may_read_is_closed_although_it_has_the_mark(filled, tmp_path):
    copy = tmp_path / "copy"
    with umask(0o022):
        shutil.copytree(filled, copy, copy_function=shutil.copyfile)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    assert (copy / MARK).read_text() == "1\n" and "could read" in keep_private(copy)
    assert wrong_modes(copy) == {} and keep_private(copy) == ""


def test_a_data_directory_behind_a_link_is_closed(filled, tmp_path):
    opened(filled)
    link = tmp_path / "link"
    link.symlink_to(filled)
    assert "could read" in keep_private(link) and wrong_modes(filled) == {}
    assert keep_private(link) == ""


def test_links_lead_to_nothing_that_is_changed(filled, tmp_path):
    """As another user could have put them there while the directory was open."""
    opened(filled)
    outside, folder = tmp_path / "outside.txt", tmp_path / "folder"
    folder.mkdir()
    for path in (outside, folder / "inside.txt"):
        path.touch()
        path.chmod(0o644)
    (filled / "repos" / "link").symlink_to(outside)
    (filled / "repos" / "models" / "folder").symlink_to(folder)
    os.mkfifo(filled / "tmp" / "pipe", 0o644)
    assert keep_private(filled)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (outside, folder / "inside.txt")] == [0o644, 0o644]
    assert stat.S_IMODE((filled / "tmp" / "pipe").stat().st_mode) == 0o600


def test_a_directory_of_something_else_is_not_changed(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "notes.txt").write_text("mine")
    (folder / "notes.txt").chmod(0o644)
    run = run_here("hub", "--data", str(folder), "tokens")
    assert run.returncode == 2 and "is not a data directory of a Hub" in run.stderr
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "notes.txt")] == [0o755, 0o644]


def test_marks_that_are_none_and_files_that_go_meanwhile(filled, monkeypatch):
    for content in (b"", b"x", b"\xff\xfe", b"-1", b"\xd9\xa1", b"9" * 5000):
        (filled / MARK).write_bytes(content)
        assert keep_private(filled) == "", "nothing was open"
    assert (filled / MARK).read_bytes() == b"9" * 5000, "of a later version, which has kept rule 1 too"
    listed = os.fwalk(filled)
    monkeypatch.setattr(os, "fwalk", lambda path: ((*each[:2], [*each[2], "gone"], each[3]) for each in listed))
    assert close_to_others(filled) == (0, 0)


def test_it_is_looked_at_once_and_that_is_quick(filled):
    """5,000 objects under an earlier version's rights, as after a thousand commits."""
    objects = filled / "repos/models/me/model.git/objects"
    for number in range(5_000):
        directory = objects / f"{number % 256:02x}"
        directory.mkdir(exist_ok=True)
        (directory / f"{number:038x}").touch()
    count = opened(filled)
    started = time.process_time()
    assert f"{count:,} files" in keep_private(filled)
    first = time.process_time() - started
    started = time.process_time()
    assert keep_private(filled) == ""
    assert first < 3 and time.process_time() - started < 0.05


def test_the_command_line_of_git_can_read_what_is_kept(filled):
    """The setting that keeps git's own files closed is one that it knows."""
    repo = Store(filled).find("models", "me/model").path
    asked = ["git", "-c", "safe.directory=*", "-C", repo, "config", "core.sharedRepository"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "0600\n"
