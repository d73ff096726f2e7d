"""git and git-lfs, unmodified, against the embedded Hub: clone, fetch, shallow, by branch, tag and sha, private."""

import base64
import gzip
import os
import shutil
import subprocess

import pytest
from helpers.hub.hub_support import file, large, sha256

WEIGHTS = os.urandom(400_000)


@pytest.fixture(scope="module")
def me(server):
    """The write token of me, whose me/model has three commits, a branch, two tags and a large file."""
    token = server.token("me")
    server.create("me/model", token)
    server.upload("me/model", token, WEIGHTS)
    server.commit("me/model", token, large("w.safetensors", WEIGHTS), file("d/a.txt", "one"), summary="first")
    server.http("POST", "/api/models/me/model/tag/main", {"tag": "light"}, token)
    server.http("POST", "/api/models/me/model/tag/main", {"tag": "v1", "message": "the first"}, token)
    server.http("POST", "/api/models/me/model/branch/side%2Fway", {}, token)
    server.commit("me/model", token, file("side.txt", "s"), revision="side%2Fway")
    server.commit("me/model", token, file("d/a.txt", "two"), summary="second")
    return token


def run(*command: str, cwd=None, check=True, lfs=True, **variables: str) -> subprocess.CompletedProcess:
    """A command of git's without anything of the developer's configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    kept |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0"}
    if lfs:
        if shutil.which("git-lfs") is None:
            pytest.skip("needs git-lfs")
        settings = {
            "filter.lfs.smudge": "git-lfs smudge -- %f",
            "filter.lfs.process": "git-lfs filter-process",
            "filter.lfs.required": "true",
        }
        kept["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (name, value) in enumerate(settings.items()):
            kept |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    done = subprocess.run(command, cwd=cwd, env={**kept, **variables}, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


def head(clone) -> str:
    return run("git", "rev-parse", "HEAD", cwd=clone).stdout.strip()


def test_a_clone_has_the_history_and_the_large_files(server, me, tmp_path):
    for name, url in (("bare name", "me/model"), ("with .git", "me/model.git")):
        clone = tmp_path / name
        run("git", "clone", f"{server.url}/{url}", str(clone))
        assert head(clone) == server.head("me/model")
        assert (clone / "w.safetensors").read_bytes() == WEIGHTS
        assert (clone / "d" / "a.txt").read_text() == "two"
        assert run("git", "log", "--format=%s", cwd=clone).stdout.split("\n")[:2] == ["second", "first"]
        assert run("git", "status", "--porcelain", cwd=clone).stdout == ""
        run("git", "fsck", "--strict", cwd=clone)
        assert run("git", "cat-file", "-t", "v1", cwd=clone).stdout == "tag\n"
        assert run("git", "cat-file", "-t", "light", cwd=clone).stdout == "commit\n"


def test_without_git_lfs_a_clone_holds_pointers(server, me, tmp_path):
    run("git", "clone", f"{server.url}/me/model", str(tmp_path / "clone"), lfs=False)
    text = (tmp_path / "clone" / "w.safetensors").read_text()
    assert text.startswith("version https://git-lfs") and f"oid sha256:{sha256(WEIGHTS)}\n" in text


def test_a_branch_a_tag_and_one_commit(server, me, tmp_path):
    for name, revision in (("side/way", "side%2Fway"), ("v1", "v1"), ("light", "light")):
        clone = tmp_path / revision
        run("git", "clone", "--depth", "1", "--branch", name, f"{server.url}/me/model", str(clone), lfs=False)
        assert head(clone) == server.head("me/model", revision=revision)
        assert run("git", "rev-list", "--count", "HEAD", cwd=clone).stdout == "1\n"


def test_a_pinned_commit_is_fetched_alone(server, me, tmp_path):
    pin = server.head("me/model", revision="v1")
    run("git", "init", "-q", str(tmp_path))
    run("git", "fetch", "--depth", "1", f"{server.url}/me/model", pin, cwd=tmp_path)
    run("git", "checkout", "-q", "FETCH_HEAD", cwd=tmp_path, lfs=False)
    assert head(tmp_path) == pin and (tmp_path / "d" / "a.txt").read_text() == "one"
    nowhere = run("git", "fetch", f"{server.url}/me/model", "1" * 40, cwd=tmp_path, check=False)
    assert nowhere.returncode != 0


def test_a_clone_follows_what_is_added(server, me, tmp_path):
    server.create("me/grows", me)
    deep, shallow = tmp_path / "deep", tmp_path / "shallow"
    for number in range(3):
        server.commit("me/grows", me, file("n.txt", str(number)), summary=f"c{number}")
    run("git", "clone", f"{server.url}/me/grows", str(deep))
    run("git", "clone", "--depth", "1", f"{server.url}/me/grows", str(shallow))
    for number in range(3, 45):  # more than the client says in its first round
        server.commit("me/grows", me, file("n.txt", str(number)), summary=f"c{number}")
    server.commit("me/grows", me, file("pr.txt", "p"), query="?create_pr=1")
    server.http("POST", "/api/models/me/grows/tag/main", {"tag": "late", "message": "m"}, me)
    for clone in (deep, shallow):
        start = len(server.read_log())
        run("git", "pull", "--ff-only", cwd=clone)
        assert "git-upload-pack 200" in server.read_log()[start:]
        assert head(clone) == server.head("me/grows")
        assert run("git", "tag", cwd=clone).stdout == "late\n"
        run("git", "fsck", "--strict", cwd=clone)
    assert run("git", "rev-list", "--count", "HEAD", cwd=deep).stdout == "46\n"
    assert run("git", "rev-list", "--count", "HEAD", cwd=shallow).stdout == "43\n"
    run("git", "fetch", "--deepen", "1", cwd=shallow)
    assert run("git", "rev-list", "--count", "HEAD", cwd=shallow).stdout == "44\n"
    run("git", "fetch", "--unshallow", cwd=shallow)
    assert run("git", "rev-list", "--count", "HEAD", cwd=shallow).stdout == "46\n"
    run("git", "fsck", "--strict", cwd=shallow)
    run("git", "fetch", "origin", "refs/pr/1:pr", cwd=deep)
    assert run("git", "show", "pr:pr.txt", cwd=deep).stdout == "p"
    run("git", "fetch", cwd=deep)


def test_a_diverged_clone_still_fetches(server, me, tmp_path):
    server.create("me/diverged", me)
    clone = tmp_path / "clone"
    run("git", "clone", f"{server.url}/me/diverged", str(clone))
    identity = ("-c", "user.name=x", "-c", "user.email=x@y")
    for number in range(40):  # commits that the server has never seen come first in the talk
        run("git", *identity, "commit", "-q", "--allow-empty", "-m", f"mine {number}", cwd=clone)
    server.commit("me/diverged", me, file("theirs.txt", "t"))
    run("git", "fetch", cwd=clone)
    assert run("git", "show", "origin/main:theirs.txt", cwd=clone).stdout == "t"


def test_private_repositories_and_datasets_take_a_token_as_password(server, me, tmp_path):
    for kind in ("model", "dataset"):
        server.create("me/hidden", me, private=True, type=kind)
    server.upload("me/hidden", me, WEIGHTS)
    server.commit("me/hidden", me, large("w.bin", WEIGHTS), file("a.txt", "a"))
    (tmp_path / "askpass").write_text('#!/bin/sh\ncase "$1" in User*) echo anyone;; *) echo "$PASSWORD";; esac\n')
    (tmp_path / "askpass").chmod(0o700)
    ask = {"GIT_ASKPASS": str(tmp_path / "askpass")}
    for number, at in enumerate(("me/hidden", "datasets/me/hidden")):
        clone = tmp_path / str(number)
        reader = server.token("me", "read")
        run("git", "clone", f"{server.url}/{at}", str(clone), **ask, PASSWORD=reader)
        assert (clone / ".gitattributes").exists()
        for password in (server.token("other"), "wrong"):
            refused = run(
                "git", "clone", f"{server.url}/{at}", "x", cwd=tmp_path, check=False, **ask, PASSWORD=password
            )
            assert refused.returncode != 0 and not (tmp_path / "x").exists()
        bare = server.http("GET", f"/{at}/info/refs?service=git-upload-pack")
        assert bare.status == 401 and bare.headers["WWW-Authenticate"].startswith("Basic ")
    assert (tmp_path / "0" / "w.bin").read_bytes() == WEIGHTS
    with_header = run(
        "git", "-c", f"http.extraHeader=Authorization: Bearer {reader}", "ls-remote", f"{server.url}/me/hidden"
    )
    assert server.head("me/hidden", me) in with_header.stdout
    assert reader not in server.read_log()


def basic(token: str) -> str:
    return "Basic " + base64.b64encode(f"me:{token}".encode()).decode()


def test_basic_credentials_never_change_anything(server, me):
    auth = {"Authorization": basic(me)}
    server.create("me/basic", me, private=True)
    assert server.http("GET", "/api/models/me/basic", **auth).status == 200
    assert server.http("HEAD", "/me/basic/resolve/main/.gitattributes", **auth).status == 200
    before = server.head("me/basic", me)
    for method, path, body in (
        ("POST", "/api/repos/create", b'{"name": "by-basic"}'),
        ("DELETE", "/api/repos/delete", b'{"name": "basic"}'),
        ("POST", "/api/models/me/basic/commit/main", b'{"key":"header","value":{"summary":"x"}}'),
        ("POST", "/api/models/me/basic/preupload/main", b'{"files": []}'),
        ("POST", "/api/models/me/basic/branch/b", b"{}"),
        ("DELETE", "/api/models/me/basic/branch/b", None),
        ("POST", "/api/models/me/basic/tag/main", b'{"tag": "t"}'),
        ("PUT", "/api/models/me/basic/settings", b'{"private": false}'),
        ("POST", "/me/basic.git/info/lfs/objects/batch", b'{"operation": "upload", "objects": []}'),
        ("POST", "/me/basic.git/info/lfs/objects/verify", b"{}"),
        ("POST", "/me/basic/git-receive-pack", b"0000"),
    ):
        reply = server.http(method, path, body, **auth)
        assert reply.status == 403 and reply.json["error"], (path, reply)
    assert server.head("me/basic", me) == before


def test_a_push_is_refused_with_a_reason(server, me, tmp_path):
    run("git", "clone", f"{server.url}/me/model", str(tmp_path / "c"), lfs=False)
    before = server.head("me/model")
    url = server.url.replace("http://", f"http://me:{me}@")
    refused = run("git", "push", f"{url}/me/model", "HEAD:refs/heads/new", cwd=tmp_path / "c", check=False, lfs=False)
    assert refused.returncode != 0 and "403" in refused.stderr
    reply = server.http("GET", "/me/model/info/refs?service=git-receive-pack", token=me)
    assert reply.status == 403 and "git push is not served" in reply.json["error"]
    assert server.http("GET", "/me/model/info/refs").status == 403
    assert server.head("me/model") == before


def test_large_files_are_served_to_those_only_who_may_read_the_repository(server, me):
    secret = os.urandom(1000)
    server.create("me/vault", me, private=True)
    server.upload("me/vault", me, secret)
    request = {"operation": "download", "objects": [{"oid": sha256(secret), "size": len(secret)}]}
    other = server.token("other")
    assert server.http("POST", "/me/vault.git/info/lfs/objects/batch", request).status == 401
    assert server.http("POST", "/me/vault.git/info/lfs/objects/batch", request, other).status == 404
    elsewhere = server.http("POST", "/me/model.git/info/lfs/objects/batch", request, other).json["objects"][0]
    assert elsewhere["error"]["code"] == 404 and "actions" not in elsewhere
    found = server.http("POST", "/me/vault.git/info/lfs/objects/batch", request, me).json["objects"][0]
    path = found["actions"]["download"]["href"].removeprefix(server.url)
    assert server.http("GET", path).content == secret
    assert server.http("GET", path, Range="bytes=990-").content == secret[990:]
    assert server.http("GET", path.replace("/vault", "/model")).status == 403
    assert server.http("GET", path[:-1] + ("0" if path[-1] != "0" else "1")).status == 403
    assert server.http("PUT", path, secret).status == 403, "a URL to fetch from is none to send to"
    assert server.http("GET", server.upload_url("me/vault", me, b"new").removeprefix(server.url)).status == 403


def test_requests_that_git_would_not_make(server, me):
    kind = {"Content-Type": "application/x-git-upload-pack-request"}
    tip = server.head("me/model").encode()
    caps = b" side-band-64k multi_ack_detailed"
    want = b"want " + tip + caps + b"\n"
    line = b"%04x" % (len(want) + 4) + want
    path = "/me/model/git-upload-pack"
    for body in (
        b"", b"0000", b"zzzz", b"0003", b"ffff", b"0008want", b"0009want x", b"0000" * 300_000,
        line + b"0032have " + b"z" * 40 + b"\n", b"000bhello\n\n", line.replace(tip, b"0" * 40) + b"00000009done\n",
        line + b"0012deepen 123456789012",
    ):  # fmt: skip
        reply = server.http("POST", path, body, **kind)
        assert 400 <= reply.status < 500 and reply.json["error"], (body[:50], reply)
    assert server.http("POST", path, line + b"00000009done\n").status == 415, "a form of a web page is no git"
    good = server.http("POST", path, gzip.compress(line + b"00000009done\n"), **kind, Content_Encoding="gzip")
    assert good.status == 200 and b"PACK" in good.content[:40]
    bomb = gzip.compress(b"\0" * (200 * 2**20))
    assert server.http("POST", path, bomb, **kind, Content_Encoding="gzip").status == 413
    for body in (b"no gzip", gzip.compress(line)[:-9]):
        assert server.http("POST", path, body, **kind, Content_Encoding="gzip").status == 400
    assert server.http("POST", path, line, **kind, Content_Encoding="br").status == 415
    commit = server.http("POST", "/api/models/me/model/commit/main", gzip.compress(b"{}"), me, Content_Encoding="gzip")
    assert commit.status == 415
    assert server.http("GET", "/api/models/me/model").status == 200
    assert not list((server.data / "tmp").iterdir())
