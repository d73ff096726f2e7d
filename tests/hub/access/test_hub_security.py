"""Who is let in from where, and bad input of every kind: a clean 4xx, the server alive, nothing written."""

import base64
import gzip
import json
import os
import socket
import subprocess
import sys
import time

import pytest
from helpers.hub.hub_support import ROOT, Server, file, large, sha256


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("hub") / "data", "--idle-timeout", "1.5") as running:
        yield running


@pytest.fixture(scope="module")
def me(server):
    token = server.token("me")
    server.create("me/model", token)
    return token


@pytest.fixture
def unchanged(server, me):
    """What must be so after a test: the same commit, nothing unfinished, a server that answers."""
    head = server.head("me/model")
    yield
    assert server.head("me/model") == head
    assert not list((server.data / "tmp").iterdir())
    assert server.process.poll() is None and "Traceback" not in server.read_log()


def raw(server, *pieces: bytes, pause: float = 0, wait: float = 10) -> bytes:
    """What the server answers to these bytes, sent with pauses, until it closes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(pause)
            answer = b""
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionError:
            return b"reset"
        return answer


def commit(server, me, body: bytes):
    return server.http("POST", "/api/models/me/model/commit/main", body, me)


HEADER = b'{"key": "header", "value": {"summary": "x"}}\n'


def test_bodies_of_a_commit_that_are_none(server, me, unchanged):
    for body in (
        b"",
        b"\0\0\0",
        b"{}\n{}",
        HEADER + b"not json",
        HEADER + b'{"key": "file"}',
        HEADER + b'{"key": "file", "value": []}',
        HEADER + b'{"key": "file", "value": {"path": "a", "content": "%%%", "encoding": "base64"}}',
        HEADER + b'{"key": "file", "value": {"path": "a", "content": "a", "encoding": "rot13"}}',
        HEADER + b'{"key": "rename", "value": {"path": "a"}}',
        HEADER + b'{"key": "lfsFile", "value": {"path": "a", "oid": "short", "algo": "sha256"}}',
        HEADER + json.dumps(large("a", b"never sent")).encode(),
        HEADER + b"[" * 200_000,
        b'{"key": "file", "value": {"path": "a", "content": "YQ==", "encoding": "base64"}}',
    ):
        reply = commit(server, me, body)
        assert 400 <= reply.status < 500 and reply.json["error"], (body[:80], reply)
        assert reply.headers["X-Error-Message"]


@pytest.mark.parametrize(
    "path",
    ["..", "../x", "a/../b", "./a", "/a", "a//b", "a/", "", ".git/config", ".GIT/hooks/x", "a/.Git", ".git ",
     ".g\u200cit", "GIT~1/x", "a\\b", "a\nb", "a\0b", "\x1b[31m", "\x7f", "x" * 300, "/".join(["d"] * 600), "\ud800"],
)  # fmt: skip
def test_paths_that_no_clone_should_hold(server, me, unchanged, path):
    line = {"key": "file", "value": {"path": path, "content": "YQ==", "encoding": "base64"}}
    reply = commit(server, me, HEADER + json.dumps(line).encode())
    assert reply.status == 400 and "path" in reply.json["error"]


def test_names_that_differ_in_case_alone_are_refused(server, me, unchanged):
    reply = server.commit("me/model", me, file("Readme.txt", "a"), file("README.txt", "b"))
    assert reply.status == 400 and "README.txt" in reply.json["error"] and "Readme.txt" in reply.json["error"]
    assert server.commit("me/model", me, file("dir/a", "a"), file("Dir/b", "b")).status == 400
    assert server.commit("me/model", me, file("n\u0303", "a"), file("\u00f1", "b")).status == 400, "one name on macOS"
    assert server.http("POST", "/api/repos/create", {"name": "MODEL"}, me).status == 409


@pytest.mark.slow
def test_ten_thousand_files_in_one_commit(server, me):
    server.create("me/many", me)
    started = time.monotonic()
    lines = [file(f"{number % 100:02}/{number}.txt", "same") for number in range(10_000)]
    assert server.commit("me/many", me, *lines).status == 200
    assert time.monotonic() - started < 60
    tree = server.http("GET", "/api/models/me/many/tree/main").json
    assert len(tree) == 101
    too_many = [file("a.txt", "a")] * 25_001
    reply = server.commit("me/many", me, *too_many)
    assert reply.status == 413 and "25000" in reply.json["error"]


def test_bombs_and_other_encodings(server, me, unchanged):
    bomb = gzip.compress(b'{"name": "' + b"a" * (300 * 2**20) + b'"}')
    assert len(bomb) < 2**20
    assert server.http("POST", "/api/repos/create", bomb, me, Content_Encoding="gzip").status == 413
    for path in ("/api/models/me/model/commit/main", f"/me/model.git/info/lfs/objects/{'0' * 64}"):
        method = "POST" if "commit" in path else "PUT"
        assert server.http(method, path, bomb, me, Content_Encoding="gzip").status == 415
    assert server.http("POST", "/api/repos/create", b"{}", me, Content_Encoding="deflate, gzip").status == 415
    small = gzip.compress(b'{"content": "---\\na: 1\\n---\\n"}')
    assert server.http("POST", "/api/validate-yaml", small, Content_Encoding="gzip").status == 200


def test_headers_that_are_too_long_or_none(server, unchanged):
    start = b"GET /api/models HTTP/1.1\r\nHost: localhost\r\nX-Long: "
    assert raw(server, start, b"x" * 2**20, b"\r\n\r\n").startswith((b"HTTP/1.1 400", b"HTTP/1.1 431", b"reset"))
    assert raw(server, b"\x16\x03\x01 not http\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert raw(server, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400"), "without a Host"
    two = b"POST /api/repos/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"
    assert raw(server, two).startswith(b"HTTP/1.1 400")


@pytest.mark.slow
def test_clients_that_fall_silent_are_dropped(server, me, unchanged):
    started = time.monotonic()
    assert raw(server) == b""
    assert raw(server, b"GET /api/models HTT") == b""
    head = "POST /api/repos/create HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n"
    head += f"Authorization: Bearer {me}\r\n\r\n"
    assert raw(server, head.encode() + b"{").startswith(b"HTTP/1.1 408")
    url = server.upload_url("me/model", me, b"x" * 5000).removeprefix(server.url)
    put = f"PUT {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n"
    assert raw(server, put.encode() + b"x" * 10).startswith(b"HTTP/1.1 408")
    # Bytes of a header now and then do not keep a connection either.
    assert raw(server, *[b"G"] * 8, pause=0.5) in (b"", b"reset")
    assert time.monotonic() - started < 20


def test_a_slow_but_steady_upload_arrives(server, me):
    content = os.urandom(60)
    url = server.upload_url("me/model", me, content).removeprefix(server.url)
    put = f"PUT {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 60\r\n\r\n"
    pieces = [content[at : at + 10] for at in range(0, 60, 10)]
    assert raw(server, put.encode(), *pieces, pause=0.4).startswith(b"HTTP/1.1 200"), "never 1.5 s silent"


def test_too_many_connections_are_told_to_come_back(server, unchanged):
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(260)]
    try:
        assert server.http("GET", "/api/models").status == 503
    finally:
        for each in idle:
            each.close()
    for _ in range(50):
        if server.http("GET", "/api/models").status == 200:
            return
        time.sleep(0.1)
    raise AssertionError("it never recovered")


def test_every_answer_is_inert(server, me, unchanged):
    for method, path in (("GET", "/api/models"), ("GET", "/api/nothing"), ("POST", "/api/repos/create"), ("GET", "/")):
        reply = server.http(method, path)
        assert reply.headers["X-Content-Type-Options"] == "nosniff", path
        assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"] or path == "/", path
    refused = server.http("GET", "/api/models", Host="evil.example")
    assert refused.status == 400 and refused.headers["X-Content-Type-Options"] == "nosniff"


def test_no_secret_reaches_the_log(server, me):
    basic = base64.b64encode(f"secret-user:{me}".encode()).decode()
    server.http("GET", f"/api/models/me/model?token={me}", Authorization=f"Basic {basic}")
    server.http("GET", "/api/models?access_token=hunter2", token="pinfold_wrong_one")
    log = server.read_log()
    for secret in (me, basic, "secret-user", "hunter2", "pinfold_wrong_one"):
        assert secret not in log
    assert "GET /api/models/me/model 200" in log


# Other addresses --------------------------------------------------------------------------------


def refused(data, *options: str) -> str:
    command = [sys.executable, "-m", "pinfold", "hub", "--data", str(data), "--port", "0", *options]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert run.returncode == 2 and run.stderr.count("\n") == 1, run
    return run.stderr


def open_server(data, *options: str) -> Server:
    """A server on every address; the test still reaches it through this machine's own."""

    class Anywhere(Server):
        def __init__(self):
            import tempfile

            self.data, self.log = data, tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the server
            command = [sys.executable, "-m", "pinfold", "hub", "--data", str(data), "--port", "0", *options]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT)
            self.greeting = self.process.stdout.readline()
            self.port = int(self.greeting.split()[4].rstrip(",").rpartition(":")[2])
            self.url = f"http://127.0.0.1:{self.port}"

    return Anywhere()


@pytest.mark.slow
def test_other_machines_are_let_in_only_with_tokens(tmp_path):
    data = tmp_path / "data"
    assert "no token exists" in refused(data, "--host", "0.0.0.0")
    with Server(data) as server:
        token = server.token("me")
        server.create("me/model", token)
        assert server.commit("me/model", token, file("a.txt", "hello")).status == 200
    assert "not an address of this machine" in refused(data, "--host", "203.0.113.1")
    assert "--idle-timeout" in refused(data, "--idle-timeout", "0")
    with open_server(data, "--host", "0.0.0.0") as server:
        for path in ("/api/models", "/me/model/resolve/main/a.txt", "/", "/api/models/me/nothing", "/anything"):
            anonymous = server.http("GET", path)
            challenge = "Bearer" if "api" in path or "resolve" in path else "Basic"  # a page asks, its parts do not
            assert anonymous.status == 401 and anonymous.headers["WWW-Authenticate"].startswith(challenge), path
            assert server.http("GET", path, token="wrong").status == 401
        assert server.http("GET", "/me/model/resolve/main/a.txt", token=token).content == b"hello"
        challenge = os.urandom(16).hex()
        assert server.http("GET", f"/.well-known/pinfold?challenge={challenge}").status == 200
        content = b"large"
        assert server.put(server.upload_url("me/model", token, content), content).status == 200, "the URL is signed"
        assert server.http("PUT", f"/me/model.git/info/lfs/objects/{sha256(content)}", content).status == 403
        clone = f"http://x:{token}@127.0.0.1:{server.port}/me/model"
        subprocess.run(["git", "clone", "-q", clone, str(tmp_path / "clone")], check=True, capture_output=True)
        for host, status in (
            ("192.168.1.7:80", 401),
            ("[::1]", 401),
            ("evil.example", 400),
            (socket.gethostname(), 401),
        ):
            assert server.http("GET", "/api/models", Host=host).status == status, host
    with open_server(data, "--host", "0.0.0.0", "--public-read", "--allowed-host", "hub.lab") as server:
        assert server.http("GET", "/me/model/resolve/main/a.txt").content == b"hello"
        assert server.http("GET", "/api/models", Host=f"hub.lab:{server.port}").status == 200
        assert server.http("GET", "/api/models", Host="evil.example").status == 400
        assert server.http("POST", "/api/repos/create", {"name": "x"}).status == 401


def test_a_read_only_server_changes_nothing(tmp_path):
    data = tmp_path / "data"
    with Server(data) as server:
        token = server.token("me")
        server.create("me/model", token)
        url = server.upload_url("me/model", token, b"content")
    with Server(data, "--read-only", port=server.port) as server:
        head = server.head("me/model")
        for method, path, body in (
            ("POST", "/api/repos/create", b'{"name": "x"}'),
            ("DELETE", "/api/repos/delete", b'{"name": "model"}'),
            ("POST", "/api/repos/move", b'{"fromRepo": "me/model", "toRepo": "me/y"}'),
            ("POST", "/api/models/me/model/commit/main", HEADER),
            ("POST", "/api/models/me/model/preupload/main", b'{"files": []}'),
            ("POST", "/api/models/me/model/branch/b", b"{}"),
            ("POST", "/api/models/me/model/tag/main", b'{"tag": "t"}'),
            ("PUT", "/api/models/me/model/settings", b'{"private": true}'),
            ("POST", "/api/models/me/model/discussions", b'{"title": "t", "description": "d"}'),
            ("POST", "/me/model.git/info/lfs/objects/batch", b'{"operation": "upload", "objects": []}'),
            ("GET", "/api/models/me/model/auth-check/write", None),
        ):
            reply = server.http(method, path, body, token)
            assert reply.status == 403 and "read-only" in reply.json["error"], (path, reply)
        assert server.put(url, b"content").status == 403
        assert server.http("POST", "/api/models/me/model/paths-info/main", b"paths=.gitattributes").status == 200
        assert server.http("POST", "/api/validate-yaml", {"content": ""}).status == 200
        assert server.http("GET", "/me/model/info/refs?service=git-upload-pack").status == 200
        assert server.head("me/model") == head
