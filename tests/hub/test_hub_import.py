"""`pinfold hub import`: from a folder, and from another Hub such that a pin of it loads here."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers.hub.hub_support import ROOT, Server, client, file, large, sha256
from helpers.processes import run_here

from pinfold.common.files import lock
from pinfold.hub.storage.repository import Pointer
from pinfold.hub.storage.store import Store

WEIGHTS = os.urandom(3_000_000)


def pinfold(data, *arguments: str, code: int = 0, fresh: bool = False, **variables: str):
    """`pinfold hub import`, in this process; fresh: in one of its own, as a user runs it."""
    given = ["hub", "import", *arguments, "--data", str(data)]
    if fresh:
        command = [sys.executable, "-m", "pinfold", *given]
        environment = {**os.environ, **variables}
        run = subprocess.run(command, capture_output=True, text=True, timeout=90, cwd=ROOT, env=environment)
    else:
        run = run_here(*given, **variables)
    assert run.returncode == code and "Traceback" not in run.stderr, run
    assert code == 0 or run.stderr.splitlines()[-1].startswith("pinfold hub: "), run
    return run


def verified(data) -> None:
    run = run_here("hub", "--data", str(data), "verify")
    assert run.returncode == 0, run.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A Hub with org/model: a pinned commit with a large file and a tag, an older and a newer one."""
    with Server(tmp_path_factory.mktemp("source") / "data") as server:
        token = server.token("org")
        server.create("org/model", token)
        server.org = token
        for content in (b"old" * 1000, WEIGHTS, b"new" * 1000):
            server.upload("org/model", token, content)
        server.old = server.commit("org/model", token, large("w.safetensors", b"old" * 1000)).json["commitOid"]
        code = "from transformers import PretrainedConfig as P\nclass XConfig(P):\n    model_type = 'x_custom'\n"
        config = {"model_type": "x_custom", "auto_map": {"AutoConfig": "configuration_x.XConfig"}, "size": 7}
        lines = [file("configuration_x.py", code), file("config.json", json.dumps(config)), file("d/e.txt", "e")]
        server.pin = server.commit("org/model", token, large("w.safetensors", WEIGHTS), *lines).json["commitOid"]
        server.http("POST", f"/api/models/org/model/tag/{server.pin}", {"tag": "v1", "message": "m"}, token)
        server.new = server.commit("org/model", token, large("w.safetensors", b"new" * 1000)).json["commitOid"]
        yield server


@pytest.mark.slow
def test_a_mirror_has_the_same_sha_and_its_pin_loads(source, tmp_path):
    data = tmp_path / "data"
    with Server(data) as here:  # a running server shows the mirror as soon as it is whole
        args = ("org/model", "lab/copy", "--from", source.url, "--revision", source.pin)
        assert f"lab/copy is at {source.pin}" in pinfold(data, *args, fresh=True).stdout
        assert here.head("lab/copy") == source.pin
        assert here.history("lab/copy") == ["test", "test", "initial commit"]
        assert here.head("lab/copy", revision="v1") == source.pin
        script = f"""
from transformers import AutoConfig
config = AutoConfig.from_pretrained("lab/copy", revision={source.pin!r}, trust_remote_code=True)
path = hf_hub_download("lab/copy", "w.safetensors", revision={source.pin!r})
import hashlib
result = config.size, hashlib.sha256(open(path, "rb").read()).hexdigest()
"""
        assert client(here, None, tmp_path / "home", script) == [7, sha256(WEIGHTS)]
        gone = here.http("GET", f"/lab/copy/resolve/{source.old}/w.safetensors")
        assert (gone.status, gone.code) == (404, "EntryNotFound") and "pinfold hub import" in gone.json["error"]
        verified(data)
        # An older and a newer revision are added to the same mirror.
        pinfold(data, "org/model", "lab/copy", "--from", source.url, "--revision", source.old)
        assert here.http("GET", f"/lab/copy/resolve/{source.old}/w.safetensors").content == b"old" * 1000
        assert here.head("lab/copy") == source.pin, "main does not go back"
        assert f"at {source.new}" in pinfold(data, "org/model", "lab/copy", "--from", source.url).stdout
        assert here.head("lab/copy") == source.new
        verified(data)
        assert not list((data / "imports").glob("*.git"))
        # It is a repository like any other.
        lab = here.token("lab")
        assert here.commit("lab/copy", lab, file("mine.txt", "m")).status == 200
        clone = tmp_path / "clone"
        subprocess.run(["git", "clone", "-q", f"{here.url}/lab/copy", str(clone)], check=True, capture_output=True)
    assert "lab/copy already exists" in pinfold(data, str(tmp_path / "clone"), "lab/copy", code=2, fresh=True).stderr


def test_a_private_repository_needs_its_token_and_stays_private(source, tmp_path):
    source.create("org/hidden", source.org, private=True)
    source.upload("org/hidden", source.org, b"secret weights")
    sha = source.commit("org/hidden", source.org, large("w.bin", b"secret weights")).json["commitOid"]
    data, args = tmp_path / "data", ("org/hidden", "lab/hidden", "--from", source.url)
    assert "--token-from-env" in pinfold(data, *args, code=2).stderr
    assert "not set" in pinfold(data, *args, "--token-from-env", "NOT_THERE", code=2).stderr
    run = pinfold(data, *args, "--token-from-env", "SOURCE_TOKEN", SOURCE_TOKEN=source.org, fresh=True)
    assert sha in run.stdout and source.org not in run.stdout + run.stderr
    with Server(data) as here:
        assert here.http("GET", "/api/models/lab/hidden").status == 401
        assert here.head("lab/hidden", here.token("lab")) == sha
    assert not [path for path in data.rglob("*") if path.is_file() and source.org.encode() in path.read_bytes()]


def test_a_dataset_is_mirrored_too(source, tmp_path):
    source.create("org/rows", source.org, type="dataset")
    data = tmp_path / "data"
    pinfold(data, "org/rows", "org/rows", "--from", source.url, "--type", "dataset")
    assert (data / "repos/datasets/org/rows.git/hub.json").exists()


class Relay(BaseHTTPRequestHandler):
    """Between mirror and source: breaks, damages or leaves out what a test wants."""

    def do_GET(self):
        self.relay()

    def do_POST(self):
        self.relay()

    def relay(self):
        server = self.server
        server.seen.append((self.path, self.headers.get("Range")))
        if not server.git and ("info/refs" in self.path or "git-upload-pack" in self.path):
            return self.send_error(404)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = http.client.HTTPConnection("127.0.0.1", server.source.port)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        upstream.request(self.command, self.path, body, headers)
        reply = upstream.getresponse()
        content = reply.read()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.path.endswith("w.safetensors"):
            content = server.spoil(content)
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def relay(source):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    server.source, server.seen, server.git, server.spoil = source, [], True, lambda content: content
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_an_import_that_breaks_off_goes_on_where_it_was(relay, source, tmp_path):
    data, args = tmp_path / "data", ("org/model", "lab/x", "--from", relay.url, "--revision", source.pin)
    relay.spoil = lambda content: content[: len(content) // 3]
    pinfold(data, *args, "--private", code=2)
    assert not (data / "repos/models/lab").exists(), "nothing is seen of it"
    have = sum(path.stat().st_size for path in (data / "imports").rglob(f"incomplete/{sha256(WEIGHTS)}"))
    assert have > len(WEIGHTS) // 3
    relay.spoil, relay.seen = lambda content: content, []
    pinfold(data, *args)
    ranges = [asked for path, asked in relay.seen if path.endswith("w.safetensors")]
    assert ranges == [f"bytes={have}-"] and not any("git-upload-pack" in path for path, _ in relay.seen[1:])
    verified(data)
    assert json.loads((data / "repos/models/lab/x.git/hub.json").read_text())["private"] is False, (
        "as the last run says"
    )


def test_bytes_that_are_not_the_announced_ones_are_refused(relay, source, tmp_path):
    data, args = tmp_path / "data", ("org/model", "lab/x", "--from", relay.url, "--revision", source.pin)
    relay.spoil = lambda content: b"x" + content[1:]
    assert "another sha256" in pinfold(data, *args, code=2).stderr
    assert not (data / "repos/models/lab").exists()
    relay.spoil = lambda content: content
    pinfold(data, *args)
    verified(data)


def test_a_source_without_git_gives_its_files_and_names_its_commit(relay, source, tmp_path):
    data = tmp_path / "data"
    relay.git = False
    run = pinfold(data, "org/model", "lab/files", "--from", relay.url, "--revision", "v1")
    assert "no git" in run.stderr
    with Server(data) as here:
        commit = here.http("GET", "/api/models/lab/files/commits/main").json[0]
        assert f"upstream commit: {source.pin}" in commit["message"] and commit["id"] != source.pin
        for path in ("w.safetensors", "config.json", "d/e.txt"):
            theirs = source.http("GET", f"/org/model/resolve/{source.pin}/{path}").content
            assert here.http("GET", f"/lab/files/resolve/main/{path}").content == theirs
    verified(data)


def test_a_folder_becomes_a_repository(tmp_path):
    folder, data = tmp_path / "my model", tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("[core]")
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "w.safetensors").write_bytes(WEIGHTS)
    (folder / "odd name é.dat").write_bytes(b"\0binary")
    with Server(data) as here:
        assert "me/model is at " in pinfold(data, str(folder), "me/model").stdout
        tree = here.http("GET", "/api/models/me/model/tree/main?recursive=1").json
        sizes = {each["path"]: (each["size"], "lfs" in each) for each in tree if each["type"] == "file"}
        assert sizes.pop(".gitattributes")[1] is False
        assert sizes == {
            "config.json": (2, False),
            "odd name é.dat": (7, True),
            "sub/w.safetensors": (len(WEIGHTS), True),
        }
        assert here.http("GET", "/me/model/resolve/main/sub/w.safetensors").content == WEIGHTS
    verified(data)
    (tmp_path / "secret").write_text("s")
    (folder / "link.txt").symlink_to(tmp_path / "secret")
    assert "link.txt leads out" in pinfold(data, str(folder), "me/other", code=2).stderr
    assert not (data / "repos/models/me/other.git").exists()


def test_mistakes_are_explained_in_one_line(source, tmp_path):
    data = tmp_path / "data"
    (tmp_path / "empty").mkdir()
    for arguments, reason in (
        ((str(tmp_path / "nothing"), "me/x"), "not a folder"),
        ((str(tmp_path / "empty"), "me/x"), "no files"),
        ((str(tmp_path / "empty"), "../x"), "not a repository name"),
        ((str(tmp_path / "empty"), "me/x/y"), "not a repository name"),
        ((str(tmp_path / "empty"), "me/x", "--revision", "main"), "only apply with --from URL"),
        (("org/model", "me/x", "--from", "ftp://x"), "--from"),
        (("org/model", "me/x", "--from", "http://me:pw@x"), "--from"),
        (("org/model", "me/x", "--from", "http://127.0.0.1:1"), "check --from"),
        (("org/nothing", "me/x", "--from", source.url), "check --type"),
        (("org/model", "me/x", "--from", source.url, "--revision", "1" * 40), "--revision"),
    ):
        run = pinfold(data, *arguments, code=2)
        assert reason in run.stderr and run.stderr.count("\n") == 1, run.stderr


class Hostile(BaseHTTPRequestHandler):
    """A source that describes a repository as the test wants, and serves anything as a file."""

    def do_GET(self):
        content = self.server.told if "/api/" in self.path else b"owned"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content) + self.server.lie))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def hostile():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.lie = 0
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_what_a_source_calls_a_hash_never_becomes_a_path(hostile, tmp_path):
    data, victim = tmp_path / "data", tmp_path / "victim"
    victim.write_text("mine")
    for wrong in (
        {"rfilename": "w.bin", "size": 5, "lfs": {"sha256": str(victim)}},
        {"rfilename": "w.bin", "size": 5, "lfs": {"sha256": "../../../../../victim"}},
        {"rfilename": "w.bin", "size": 5, "lfs": {"sha256": 7}},
        {"rfilename": "w.bin", "size": 5, "lfs": "x"},
        {"rfilename": "w.bin", "size": 5, "blobId": "../x"},
        {"rfilename": "w.bin", "size": "x"},
        {"rfilename": "w.bin", "size": -1},
        {"rfilename": "w.bin", "size": 1e9},
        {"rfilename": 5, "size": 5},
        {"rfilename": "../w.bin", "size": 5},
        {},
    ):
        hostile.told = json.dumps({"sha": "1" * 40, "siblings": [wrong]}).encode()
        run = pinfold(data, "org/model", "lab/x", "--from", hostile.url, code=2)
        assert run.stderr.count("\n") == 1, run.stderr
        assert victim.read_text() == "mine" and not (data / "repos/models/lab").exists()
    hostile.told = b"[" * 100_000
    assert pinfold(data, "org/model", "lab/x", "--from", hostile.url, code=2).stderr.count("\n") == 1


def test_a_source_that_speaks_no_http_or_breaks_off_is_one_line(hostile, tmp_path):
    hostile.told, hostile.lie = b"{}", 50
    assert "check --from" in pinfold(tmp_path / "data", "a/b", "a/b", "--from", hostile.url, code=2).stderr
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def nonsense():
            connection = listener.accept()[0]
            connection.recv(1000)
            connection.sendall(b"220 mail.example ESMTP\r\n\r\n")
            connection.close()

        threading.Thread(target=nonsense, daemon=True).start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert "check --from" in pinfold(tmp_path / "data", "a/b", "a/b", "--from", url, code=2).stderr
    for url in ("http://a b", "http://[::1", "http://x\n", "http://x:99999", "http://x:y", "http://é.example"):
        assert "--from" in pinfold(tmp_path / "data", "a/b", "a/b", "--from", url, code=2).stderr


def test_a_token_with_a_line_end_inside_is_never_printed(tmp_path):
    run = pinfold(
        tmp_path / "data",
        *("a/b", "a/b", "--from", "http://127.0.0.1:1", "--token-from-env", "T"),
        code=2,
        T="hf_secret\nvalue",
    )
    assert "T: the variable does not hold a token" in run.stderr and "secret" not in run.stderr + run.stdout


def test_a_mirror_becomes_private_with_its_source_or_when_asked(tmp_path):
    with Server(tmp_path / "source") as source, Server(tmp_path / "data") as here:
        org = source.token("org")
        for name in ("one", "two"):
            source.create(f"org/{name}", org)
            pinfold(here.data, f"org/{name}", f"lab/{name}", "--from", source.url)
            assert here.http("GET", f"/api/models/lab/{name}").status == 200
        source.http("PUT", "/api/models/org/one/settings", {"private": True}, org)
        sha = source.commit("org/one", org, file("secret.txt", "s")).json["commitOid"]
        args = ("org/one", "lab/one", "--from", source.url, "--token-from-env", "T")
        assert "lab/one is private from now on, as its source is" in pinfold(here.data, *args, T=org).stderr
        run = pinfold(here.data, "org/two", "lab/two", "--from", source.url, "--private")
        assert "lab/two is private from now on" in run.stderr
        lab = here.token("lab")
        for name in ("one", "two"):
            assert here.http("GET", f"/api/models/lab/{name}").status == 401
            assert here.http("GET", f"/api/models/lab/{name}", token=lab).status == 200
        assert here.head("lab/one", lab) == sha
        # Nobody's old copy of the settings makes it public again: an import changes what it says and no more.
        store = Store(here.data)
        old = store.find("models", "lab/one")
        here.http("PUT", "/api/models/lab/one/settings", {"private": False}, lab)
        old.change(space={})
        assert old.private is False and here.http("GET", "/api/models/lab/one").status == 200


@pytest.mark.parametrize("wrong", ["linked directory", "pointer", "twins", "unreadable"])
def test_a_folder_is_imported_whole_or_not_at_all(tmp_path, wrong):
    folder, data = tmp_path / "model", tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "a.txt").write_text("a")
    if wrong == "linked directory":
        (folder / "weights").symlink_to(folder / "sub")
        reason = "weights is a link to a directory"
    elif wrong == "pointer":
        (folder / "w.safetensors").write_bytes(Pointer("0" * 64, 5).text())
        reason = "w.safetensors is a git-lfs pointer"
    elif wrong == "twins":
        (folder / "Config.json").write_text("{}")
        reason = "one name on Windows"
    else:
        if os.geteuid() == 0:
            pytest.skip("root reads everything")
        (folder / "sub").chmod(0)
        reason = "whole or not at all"
    try:
        run = pinfold(data, str(folder), "me/model", code=2)
    finally:
        (folder / "sub").chmod(0o700)
    assert reason in run.stderr and run.stderr.count("\n") == 1
    assert not (data / "repos/models/me").exists()


def test_gc_leaves_alone_what_an_import_is_busy_with(source, tmp_path):
    data = tmp_path / "data"
    pinfold(data, "org/model", "lab/x", "--from", source.url)
    repo = data / "repos/models/lab/x.git"
    (repo / "lfs/incomplete").mkdir(exist_ok=True)
    part, staged = repo / "lfs/incomplete" / ("0" * 64), data / "imports/models--lab--y.git"
    part.write_text("half of it")
    staged.mkdir()
    (staged / "hub.json").write_text("{}")

    def gc():
        command = [sys.executable, "-m", "pinfold", "hub", "--data", str(data), "gc", "--older-than", "0"]
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)

    with lock(data / "imports/models--lab--x.lock"), lock(data / "imports/models--lab--y.lock"):
        gc()
        assert part.exists() and staged.exists()
        busy = pinfold(data, "org/model", "lab/x", "--from", source.url, code=2, fresh=True)
        assert "being imported" in busy.stderr
    gc()
    assert not part.exists() and not staged.exists()
