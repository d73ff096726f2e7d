"""Large files in parts: unmodified clients of both generations, lost connections, wrong parts, leftovers."""

import os
import socket
import time
from urllib.parse import urlsplit

import pytest
from helpers.hub.hub_support import EACH_GENERATION, Server, client, large, sha256

PART = 1_000_000
SIZE = 3_500_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("hub") / "data", "--part-size", str(PART)) as running:
        yield running


@pytest.fixture(scope="module")
def me(server):
    token = server.token("me")
    server.create("me/model", token)
    return token


def batch(server, token, content: bytes, transfers=("basic", "multipart")) -> dict:
    request = {
        "operation": "upload",
        "transfers": list(transfers),
        "objects": [{"oid": sha256(content), "size": len(content)}],
    }
    return server.http("POST", "/me/model.git/info/lfs/objects/batch", request, token).json


def parts_of(reply: dict) -> tuple[list[str], str]:
    upload = reply["objects"][0]["actions"]["upload"]
    header = upload["header"]
    assert header["chunk_size"] == str(PART)
    return [header[str(number)] for number in range(1, len(header))], upload["href"]


def finish(server, url: str, content: bytes, etags: list[str]):
    parts = [{"partNumber": number, "etag": etag} for number, etag in enumerate(etags, 1)]
    return server.http("POST", url.removeprefix(server.url), {"oid": sha256(content), "parts": parts})


def left(server) -> list:
    return [*(server.data / "parts").glob("*"), *(server.data / "tmp").iterdir()]


@pytest.mark.parametrize("generation", EACH_GENERATION)
@pytest.mark.parametrize("fault", [None, "put-drop:2"])
@pytest.mark.slow
def test_clients_send_a_large_file_in_parts(tmp_path, generation, fault):
    options = ["--part-size", str(PART), *(["--fault", fault] if fault else [])]
    with Server(tmp_path / "data", *options) as server:
        (tmp_path / "weights").write_bytes(os.urandom(SIZE))
        script = f"""
repo = api.create_repo("me/model").repo_id
api.create_commit(repo, [add("w.safetensors", {str(tmp_path / "weights")!r})],
                  commit_message="m")
import hashlib
result = hashlib.sha256(open(hf_hub_download(repo, "w.safetensors"), "rb").read()).hexdigest()
"""
        digest = client(server, server.token("me"), tmp_path / "home", script, generation)
        assert digest == sha256((tmp_path / "weights").read_bytes())
        puts = [line.split() for line in server.read_log().splitlines() if line.startswith("PUT")]
        sent = [(line[1].rpartition("/")[2], line[2]) for line in puts if "/parts/" in line[1]]
        whole = [("1", "200"), ("2", "200"), ("3", "200"), ("4", "200")]
        assert sent == (whole if fault is None else [whole[0], ("2", "dropped"), *whole[1:]]), "one part, not the file"
        assert len(puts) == len(sent)
        assert not left(server)


@pytest.mark.slow
def test_parts_already_here_are_kept_over_a_kill(tmp_path):
    content = os.urandom(SIZE)
    data, options = tmp_path / "data", ("--part-size", str(PART))
    with Server(data, *options) as server:
        me = server.token("me")
        server.create("me/model", me)
        urls, url = parts_of(batch(server, me, content))
        etags = [server.put(each, content[n * PART :][:PART]).headers["ETag"] for n, each in enumerate(urls[:3])]
    with Server(data, *options, port=server.port) as server:
        assert finish(server, url, content, etags).status == 400, "one is missing"
        etags.append(server.put(urls[3], content[3 * PART :]).headers["ETag"])
    with Server(data, *options, port=server.port) as server:
        assert batch(server, me, content)["objects"][0].get("actions") is None, "all parts are here: nothing to send"
        assert finish(server, url, content, etags).status == 200, "asked again after a lost answer"
        assert server.commit("me/model", me, large("w.bin", content)).status == 200
        assert server.http("GET", "/me/model/resolve/main/w.bin").content == content
        assert not left(server)


def test_only_clients_that_know_parts_get_them(server, me):
    content = os.urandom(SIZE)
    assert batch(server, me, content)["transfer"] == "multipart"
    assert batch(server, me, b"small")["transfer"] == "basic"
    plain = batch(server, me, content, ["basic"])
    assert plain["transfer"] == "basic" and "header" not in plain["objects"][0]["actions"]["upload"]


def test_wrong_parts_never_become_a_file(server, me):
    content = os.urandom(SIZE)
    urls, url = parts_of(batch(server, me, content))
    pieces = [content[n * PART :][:PART] for n in range(4)]
    assert server.put(urls[0], pieces[0][:-1]).status == 400
    assert server.put(urls[0], pieces[0] + b"x").status == 400
    assert server.put(urls[3], pieces[0]).status == 400, "the last one is shorter"
    assert server.put(urls[1].replace("/parts/2", "/parts/3"), pieces[2]).status == 403
    assert server.put(urls[1].replace(f"part={PART}", "part=5"), b"12345").status == 403
    assert server.put(urls[1].replace("/me/model", "/me/other"), pieces[1]).status == 403
    assert finish(server, urls[0].replace("/parts/1", "/parts"), content, []).status == 403
    etags = [server.put(each, piece).headers["ETag"] for each, piece in zip(urls, pieces, strict=True)]
    for wrong in ([], etags[:3], [*etags[:3], etags[0]], [*etags[:3], None]):
        assert finish(server, url, content, wrong).status == 400
    for body in (b"", b"[]", b'{"oid": "x", "parts": []}', b'{"parts": 5}'):
        assert server.http("POST", url.removeprefix(server.url), body).status == 400
    # A part of the right size with other bytes is found at the end, and all is sent anew.
    etags[1] = server.put(urls[1], os.urandom(PART)).headers["ETag"]
    reply = finish(server, url, content, etags)
    assert reply.status == 400 and "sha256" in reply.json["error"]
    assert server.commit("me/model", me, large("w.bin", content)).status == 400
    assert finish(server, url, content, etags).status == 400
    assert not left(server)


@pytest.mark.slow
def test_parts_that_nobody_finishes_go_with_time(tmp_path):
    content, data = os.urandom(SIZE), tmp_path / "data"
    with Server(data, "--part-size", str(PART)) as server:
        me = server.token("me")
        server.create("me/model", me)
        urls, _ = parts_of(batch(server, me, content))
        assert server.put(urls[0], content[:PART]).status == 200
    with Server(data) as server:
        assert len(left(server)) == 1, "they are young"
    then = time.time() - 8 * 24 * 3600
    for each in [*(data / "parts").rglob("*"), *(data / "parts").glob("*")]:
        os.utime(each, (then, then))
    with Server(data) as server:
        assert not left(server)


def test_an_open_part_never_writes_into_a_finished_file(tmp_path):
    content = os.urandom(SIZE)
    with Server(tmp_path / "data", "--part-size", str(PART)) as server:
        me = server.token("me")
        server.create("me/model", me)
        urls, url = parts_of(batch(server, me, content))
        etags = [server.put(each, content[n * PART :][:PART]).headers["ETag"] for n, each in enumerate(urls)]
        parts = urlsplit(urls[0])
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as late:
            head = f"PUT {parts.path}?{parts.query} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {PART}\r\n\r\n"
            late.sendall(head.encode() + b"x" * 1000)
            marks = tmp_path / "data" / "parts"
            deadline = time.monotonic() + 10
            while list(marks.glob("*/1-*")) and time.monotonic() < deadline:
                time.sleep(0.01)  # until the late part has begun
            (at,) = marks.iterdir()
            (at / f"1-{sha256(content[:PART])}").touch()  # as if an earlier request had come to its end meanwhile
            assert finish(server, url, content, etags).status == 200
            assert server.commit("me/model", me, large("w.bin", content)).status == 200
            request = {"repository": "me/copy"}
            assert server.http("POST", "/api/models/me/model/duplicate", request, me).status == 200
            late.sendall(b"x" * (PART - 1000))
            assert b" 409 " in late.recv(65536).splitlines()[0]
        for repo in ("model", "copy"):
            assert server.http("GET", f"/me/{repo}/resolve/main/w.bin").content == content
        assert not left(server) and "Traceback" not in server.read_log()
