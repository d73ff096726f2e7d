"""What the embedded Hub refuses and how it says so, request by request; and the details clients rely on."""

import json
import os
import subprocess
import threading
import time
from urllib.parse import quote

import pytest
from dulwich.repo import Repo
from helpers.hub.hub_support import file, large, seed, sha256

from pinfold.common.errors import UserError
from pinfold.hub.api import card_tags
from pinfold.hub.storage import lfs
from pinfold.hub.storage.gitrules import Attributes
from pinfold.hub.storage.repository import Pointer

RESOLVE = "/me/model/resolve/main"


@pytest.fixture(scope="module")
def me(server):
    """The write token of me, who has a repository me/model with a small and a large file."""
    token = server.token("me")
    server.create("me/model", token)
    server.upload("me/model", token, WEIGHTS)
    assert server.commit("me/model", token, large("w.safetensors", WEIGHTS), file("d/a.txt", "hello")).status == 200
    return token


WEIGHTS = os.urandom(300_000)


# Who may do what ---------------------------------------------------------------------------------


def test_every_case_of_who_may_read(server, me):
    server.create("me/hidden", me, visibility="private")
    other = server.token("other")
    for path in ("/api/models/me/{}", "/me/{}/resolve/main/.gitattributes", "/api/models/me/{}/tree/main"):
        for token, missing, status in ((None, True, 401), (other, True, 404), (me, True, 404), (None, False, 401)):
            reply = server.http("GET", path.format("missing" if missing else "hidden"), token=token)
            assert (reply.status, reply.code) == (status, "RepoNotFound"), path
        hidden, missing = (server.http("GET", path.format(each), token=other) for each in ("hidden", "missing"))
        assert hidden.content == missing.content, "a private repository cannot be told from a missing one"
        assert server.http("GET", path.format("hidden"), token=me).status == 200
        assert server.http("GET", path.format("hidden"), token=server.token("me", "read")).status == 200
        assert server.http("GET", path.format("model")).status == 200


def test_every_case_of_who_may_write(server, me):
    head = server.head("me/model")
    reader, other = server.token("me", "read"), server.token("other")
    calls = [
        ("POST", "/api/models/me/model/commit/main", b'{"key":"header","value":{"summary":"x"}}'),
        ("POST", "/api/models/me/model/preupload/main", b'{"files": []}'),
        ("POST", "/me/model.git/info/lfs/objects/batch", b'{"operation": "upload", "objects": []}'),
        ("POST", "/me/model.git/info/lfs/objects/verify", b"{}"),
        ("POST", "/api/models/me/model/branch/b", b"{}"),
        ("POST", "/api/models/me/model/tag/main", b'{"tag": "t"}'),
        ("PUT", "/api/models/me/model/settings", b'{"private": true}'),
        ("DELETE", "/api/repos/delete", b'{"name": "model", "organization": "me"}'),
        ("POST", "/api/repos/create", b'{"name": "another", "organization": "me"}'),
        ("GET", "/api/models/me/model/auth-check/write", None),
    ]
    for method, path, body in calls:
        for token, status in ((None, 401), (reader, 403), (other, 403), ("pinfold_wrong", 401)):
            reply = server.http(method, path, body, token)
            assert reply.status == status, (path, reply)
            assert reply.code is None and reply.headers["X-Error-Message"], (path, reply)
    assert server.http("GET", "/api/models/me/model/auth-check/write", token=me).status == 200
    assert server.head("me/model") == head


def test_an_unknown_token_is_refused_even_for_public_files(server, me):
    reply = server.http("GET", f"{RESOLVE}/d/a.txt", token="hf_of_the_real_hub")
    assert reply.status == 401
    assert reply.headers["X-Error-Message"] == "Invalid credentials in Authorization header"
    assert "pinfold hub token" in reply.json["error"]
    assert server.http("GET", f"{RESOLVE}/d/a.txt", Authorization="Basic bWU6eA==").status == 401


def test_creating_a_repository_twice_answers_with_its_url(server, me):
    reply = server.http("POST", "/api/repos/create", {"name": "model"}, me)
    assert reply.status == 409
    assert reply.json["url"] == f"{server.url}/me/model"
    assert reply.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    "request_body",
    [
        {"name": "a/b"},
        {"name": ".."},
        {"name": "a..b"},
        {"name": "x.git"},
        {"name": "-x"},
        {"name": ""},
        {"name": 5},
        {"name": "a\nb"},
        {"name": "a" * 97},
        {"name": "é"},
        {"name": "x", "type": "kernel"},
        {"name": "x", "type": ["model"]},
        {"name": "x", "organization": "../me"},
        {"name": "x", "visibility": "secret"},
        {"name": "x", "private": "yes"},
        {"name": "x", "private": 1},
        {},
    ],
)
def test_a_repository_that_cannot_be_is_refused(server, me, request_body):
    reply = server.http("POST", "/api/repos/create", request_body, me)
    assert reply.status == 400, reply
    assert reply.json["error"]


# Uploads -----------------------------------------------------------------------------------------


def test_an_upload_counts_only_when_every_byte_is_right(server, me):
    content = os.urandom(200_000)
    url = server.upload_url("me/model", me, content)
    damaged = bytes([content[0] ^ 1]) + content[1:]
    for wrong, reason in ((damaged, "sha256"), (content[:-1], "bytes"), (content + b"x", "bytes"), (b"", "bytes")):
        reply = server.put(url, wrong)
        assert reply.status == 400 and reason in reply.json["error"], reply
    assert server.commit("me/model", me, large("new.bin", content)).status == 400, "nothing was received"
    assert not list((server.data / "tmp").iterdir())
    assert server.put(url, content).status == 200
    assert server.batch("me/model", me, content).json["objects"][0].get("actions") is None
    short = large("new.bin", content)
    short["value"]["size"] -= 1
    assert server.commit("me/model", me, short).status == 400
    assert server.commit("me/model", me, large("new.bin", content)).status == 200


def test_an_upload_url_is_good_for_one_object_of_one_repository_for_a_time(server, me):
    server.create("me/second", me)
    content = b"an object"
    url = server.upload_url("me/model", me, content)
    other_oid = url.replace(sha256(content), sha256(b"other"))
    for changed in (
        url.replace("/me/model.git", "/me/second.git"),
        other_oid,
        url.replace("size=9", "size=10"),
        url.replace("expires=", "expires=9"),
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.partition("?")[0],
    ):
        assert server.put(changed, content).status == 403, changed
    secret = (server.data / "secret").read_bytes()
    expired = lfs.sign_url(secret, "models/me/model", Pointer(sha256(content), 9), expires=int(time.time()) - 1)
    query = "&".join(f"{name}={value}" for name, value in expired.items())
    assert "expired" in server.put(f"{url.partition('?')[0]}?{query}", content).json["error"]
    assert server.put(url, content).status == 200


def test_naming_the_hash_of_a_private_file_does_not_give_its_bytes(server, me):
    secret = b"private weights" * 1000
    server.create("me/vault", me, private=True)
    server.upload("me/vault", me, secret)
    assert server.commit("me/vault", me, large("w.bin", secret)).status == 200
    thief = server.token("thief")
    server.create("thief/copy", thief)
    assert "actions" in server.batch("thief/copy", thief, secret).json["objects"][0], "not said to be here already"
    assert server.commit("thief/copy", thief, large("w.bin", secret)).status == 400
    pointer = Pointer(sha256(secret), len(secret)).text()
    assert server.commit("thief/copy", thief, file("w.bin", pointer)).status == 400
    assert server.http("GET", "/thief/copy/resolve/main/w.bin", token=thief).code == "EntryNotFound"


def test_a_batch_that_cannot_be_is_refused(server, me):
    path, good = "/me/model.git/info/lfs/objects/batch", {"oid": "0" * 64, "size": 1}
    for body, status in (
        ({"operation": "delete", "objects": [good]}, 400),
        ({"operation": "upload", "objects": good}, 400),
        ({"operation": "upload", "objects": [{"oid": "../../x", "size": 1}]}, 400),
        ({"operation": "upload", "objects": [{"oid": "0" * 64, "size": -1}]}, 413),
        ({"operation": "upload", "objects": [{"oid": "0" * 64, "size": 2**60}]}, 413),
        ({"operation": "upload", "objects": [{"oid": "0" * 64, "size": 2**37}] * 1}, 507),
        ({"operation": "upload", "objects": [good], "hash_algo": "md5"}, 400),
    ):
        assert server.http("POST", path, body, me).status == status, body


# Commits -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "a/",
        "./a",
        ".git/config",
        "a/.GIT/hooks/x",
        ".git./x",
        ".g\u200cit/x",
        "git~1/x",
        "a\\b",
        "a\nb",
        "a\0b",
        "a\x7fb",
        "\ud800",
        "x" * 256,
        "a/" * 600 + "a",
        None,
        7,
    ],
)
def test_a_path_that_no_clone_could_hold_is_refused_everywhere(server, me, path):
    head = server.head("me/model")
    line = {"key": "file", "value": {"path": path, "content": "eA==", "encoding": "base64"}}
    assert server.commit("me/model", me, line).status == 400
    line = {"key": "lfsFile", "value": {"path": path, "algo": "sha256", "oid": sha256(WEIGHTS)}}
    assert server.commit("me/model", me, line).status == 400
    asked = {"files": [{"path": path, "size": 1, "sample": "eA=="}]}
    assert server.http("POST", "/api/models/me/model/preupload/main", asked, me).status == 400
    assert server.head("me/model") == head


def test_names_that_are_unusual_but_legal_survive(server, me):
    server.create("me/names", me)
    names = ["a b.txt", "ü/é.txt", "#hash%20.txt", 'quote".txt', "…", "a;b&c=d?.txt", "日本語.txt", "-dash", "...dots"]
    assert server.commit("me/names", me, *[file(name, name) for name in names]).status == 200
    listed = [each["path"] for each in server.http("GET", "/api/models/me/names/tree/main?recursive=true").json]
    assert set(names) <= set(listed)
    for name in names:
        reply = server.http("GET", f"/me/names/resolve/main/{quote(name)}")
        assert (reply.status, reply.content.decode()) == (200, name)


def test_a_name_cannot_be_a_file_and_a_directory(server, me):
    server.create("me/clash", me)
    assert server.commit("me/clash", me, file("a", "1"), file("a/b", "2")).status == 400
    assert server.commit("me/clash", me, file("a/b", "1")).status == 200
    assert server.commit("me/clash", me, file("a", "2")).status == 400
    gone = {"key": "deletedFolder", "value": {"path": "a/"}}
    assert server.commit("me/clash", me, gone, file("a", "2")).status == 200, "unless the other one goes"
    assert server.http("GET", "/me/clash/resolve/main/a").content == b"2"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"key": "header"}',
        b'{"key": "header", "value": {"summary": ""}}',
        b'{"key": "header", "value": {"summary": 7}}',
        b'{"key": "header", "value": {"summary": "x\\u0000y"}}',
        b'{"key": "header", "value": {"summary": "x"}}\n{"key": "unknown", "value": {}}',
        b'{"key": "header", "value": {"summary": "x"}}\n{"key": "file", "value": {"path": "a"}}',
        b'{"key": "header", "value": {"summary": "x"}}\n'
        b'{"key": "file", "value": {"path": "a", "content": "!", "encoding": "base64"}}',
        b'{"key": "header", "value": {"summary": "x"}}\n{"key": "lfsFile", "value": {"path": "a", "oid": "zz"}}',
        b'{"key": "header", "value": {"summary": "x"}}\n{"key": "deletedFile", "value": {"path": ["a"]}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_commit_that_cannot_be_read_changes_nothing(server, me, body):
    head = server.head("me/model")
    reply = server.http("POST", "/api/models/me/model/commit/main", body, me)
    assert reply.status == 400, reply
    assert server.head("me/model") == head


def test_a_file_too_large_for_a_commit_is_refused_and_the_client_gets_to_read_why(server, me):
    reply = server.commit("me/model", me, file("big.txt", b"x" * (40 * 2**20)))
    assert reply.status == 413
    assert "LFS" in reply.headers["X-Error-Message"]


def test_a_commit_sent_again_is_recognised_only_when_it_is_the_same(server, me):
    server.create("me/replay", me)
    first = server.head("me/replay")
    change = file("a.txt", "1")
    done = server.commit("me/replay", me, change, parentCommit=first, description="nonce").json["commitOid"]
    again = server.commit("me/replay", me, change, parentCommit=first, description="nonce")
    assert (again.status, again.json["commitOid"]) == (200, done)
    assert server.commit("me/replay", me, change, parentCommit=first, description="other").status == 412
    assert server.commit("me/replay", me, file("a.txt", "2"), parentCommit=first, description="nonce").status == 412
    gone = {"key": "deletedFile", "value": {"path": "a.txt"}}
    assert server.commit("me/replay", me, gone, parentCommit=first, description="nonce").status == 412
    assert server.history("me/replay") == ["test", "initial commit"]
    assert server.commit("me/replay", me, file("b", "2"), parentCommit=done[:7]).status == 200, "7 digits are enough"
    assert server.commit("me/replay", me, change, parentCommit=first, description="nonce").status == 412
    assert server.commit("me/replay", me, change, parentCommit="main").status == 412


def test_commits_go_to_branches_only(server, me):
    for revision in (
        "nowhere",
        server.head("me/model"),
        quote("refs/tags/x", safe=""),
        quote("refs/heads/../x", safe=""),
    ):
        reply = server.commit("me/model", me, file("a", "1"), revision=revision)
        assert (reply.status, reply.code) == (404, "RevisionNotFound")


def test_large_files_that_no_rule_names_get_a_rule_so_that_git_clones_whole(server, me):
    server.create("me/rules", me)
    server.upload("me/rules", me, WEIGHTS)
    names = ["w.safetensors", "a b/[1]*.png", "#x.png"]
    assert server.commit("me/rules", me, *[large(name, WEIGHTS) for name in names]).status == 200
    text = server.http("GET", "/me/rules/resolve/main/.gitattributes").content
    assert text.decode().count("w.safetensors") == 0, "*.safetensors covers it"
    rules = Attributes(text)
    assert all(rules.large(name) for name in names)
    assert not rules.large("a b/1x.png") and not rules.large("sub/#x.png")
    repo = server.data / "repos/models/me/rules.git"
    (repo / "info").mkdir(exist_ok=True)
    (repo / "info" / "attributes").write_bytes(text)
    git = ["git", "-c", "safe.directory=*", "-C", str(repo), "check-attr", "filter", "--", *names, "sub/#x.png"]
    said = subprocess.run(git, check=True, capture_output=True, text=True).stdout.splitlines()
    assert [line.rpartition(": ")[2] for line in said] == ["lfs"] * 3 + ["unspecified"], "git reads them as we do"


def test_how_a_file_is_to_be_sent(server, me):
    server.create("me/modes", me)
    attributes = "*.safetensors filter=lfs\nkept/*.safetensors -filter\n*.txt text\n"
    server.commit("me/modes", me, file(".gitattributes", attributes), file(".gitignore", "*.log\n"), file("a", "1"))

    def modes(**extra):
        files = [
            {"path": "m.safetensors", "size": 5, "sample": "eA=="},
            {"path": "m2.safetensors", "size": 0, "sample": ""},
            {"path": "kept/m.safetensors", "size": 5, "sample": "eA=="},
            {"path": "huge.txt", "size": 11 * 2**20, "sample": "eA=="},
            {"path": "picture", "size": 5, "sample": "iVBORwA="},
            {"path": "cut.txt", "size": 600, "sample": "eMM="},
            {"path": "x.log", "size": 5, "sample": "eA=="},
            {"path": "a", "size": 1, "sample": "MQ=="},
        ]
        reply = server.http("POST", "/api/models/me/modes/preupload/main", {"files": files, **extra}, me)
        return {each.pop("path"): each for each in reply.json["files"]}

    found = modes()
    assert [each["uploadMode"] for each in found.values()] == ["lfs", *["regular"] * 2, "lfs", "lfs", *["regular"] * 3]
    assert [name for name, each in found.items() if each["shouldIgnore"]] == ["x.log"]
    assert found["a"]["oid"] == "56a6051ca2b02b04ef92d5150c9ef600403cb1de", "what git hash-object says"
    assert found["m.safetensors"]["oid"] is None
    assert [name for name, each in modes(gitIgnore="kept/").items() if each["shouldIgnore"]] == ["kept/m.safetensors"]


# Downloads ---------------------------------------------------------------------------------------


def test_what_a_download_says_about_the_file(server, me):
    head = server.head("me/model")
    small = server.http("HEAD", f"{RESOLVE}/d/a.txt")
    assert small.headers["X-Repo-Commit"] == head and small.content == b""
    assert small.headers["ETag"] == '"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"'
    assert small.headers["Content-Length"] == "5" and small.headers["X-Linked-Etag"] is None
    weights = server.http("HEAD", f"{RESOLVE}/w.safetensors")
    assert weights.headers["ETag"] == weights.headers["X-Linked-Etag"] == f'"{sha256(WEIGHTS)}"'
    assert weights.headers["Content-Length"] == weights.headers["X-Linked-Size"] == str(len(WEIGHTS))
    assert weights.headers["X-Xet-Hash"] is None, "it would send clients to a service that is not here"
    for reply in (small, weights):
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in reply.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("path", "content"), [("w.safetensors", WEIGHTS), ("d/a.txt", b"hello")], ids=["large file", "small file"]
)
def test_parts_of_a_file(server, me, path, content):
    size = len(content)
    for asked, start, end in (("0-0", 0, 1), ("2-", 2, size), ("-2", size - 2, size), (f"1-{size * 9}", 1, size)):
        reply = server.http("GET", f"{RESOLVE}/{path}", Range=f"bytes={asked}")
        assert (reply.status, reply.content) == (206, content[start:end])
        assert reply.headers["Content-Range"] == f"bytes {start}-{end - 1}/{size}"
    for asked in (f"{size}-", "3-2", "-0"):
        reply = server.http("GET", f"{RESOLVE}/{path}", Range=f"bytes={asked}")
        assert (reply.status, reply.headers["Content-Range"]) == (416, f"bytes */{size}")
    for asked in ("bytes=0-1,3-4", "lines=1-2", "bytes=-", "bytes=x-y"):
        assert server.http("GET", f"{RESOLVE}/{path}", Range=asked).content == content


def test_missing_files_and_revisions_are_told_apart(server, me):
    reply = server.http("HEAD", f"{RESOLVE}/nothing.txt")
    assert (reply.status, reply.code) == (404, "EntryNotFound")
    assert reply.headers["X-Repo-Commit"] == server.head("me/model"), "clients remember absence per commit"
    for path in ("d", "d/a.txt/b", "d/", "%00", "..%2f..%2fhub.json"):
        assert server.http("GET", f"{RESOLVE}/{path}").code == "EntryNotFound", path
    for revision in ("nowhere", "0" * 40, "refs%2Fheads", "..%2Fmain", "a%20b", "refs%2Fpr%2F9", "%FF", "HEAD%0A"):
        reply = server.http("GET", f"/me/model/resolve/{revision}/d/a.txt")
        assert (reply.status, reply.code) == (404, "RevisionNotFound"), revision
    blob = "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"
    assert server.http("GET", f"/me/model/resolve/{blob}/d/a.txt").code == "RevisionNotFound", "a blob is no commit"
    assert server.http("GET", "/api/models/me/model/tree/main/nothing").code == "EntryNotFound"


def test_revisions_with_slashes_are_one_segment(server, me):
    sha = server.commit("me/model", me, file("pr.txt", "x"), query="?create_pr=1").json["commitOid"]
    assert server.http("GET", "/me/model/resolve/refs%2Fpr%2F1/pr.txt").headers["X-Repo-Commit"] == sha
    assert server.head("me/model", revision="refs%2Fpr%2F1") == sha
    more = server.commit("me/model", me, file("pr.txt", "y"), revision="refs%2Fpr%2F1")
    assert more.status == 200, "a pull request takes further commits"
    tree = server.http("GET", "/api/models/me/model/tree/refs%2Fheads%2Fmain/d%2F").json
    assert [each["path"] for each in tree] == ["d/a.txt"]


def test_a_branch_name_that_git_cannot_hold_is_refused(server, me):
    server.create("me/branches", me)
    for name in ("a..b", "x.lock", "a%20b", "-x", "refs%2Fheads%2Fx", "0" * 40, "a%00", "a~1", "%C3%28", "x" * 300):
        assert server.http("POST", f"/api/models/me/branches/branch/{name}", {}, me).status == 400, name
    url = "/api/models/me/branches/branch"
    assert server.http("POST", f"{url}/a", {}, me).status == 200
    assert server.http("POST", f"{url}/a", {}, me).status == 409
    assert server.http("POST", f"{url}/a%2Fb", {}, me).status == 409, "git holds a or a/b"
    assert server.http("POST", f"{url}/b", {"startingPoint": "nowhere"}, me).code == "RevisionNotFound"
    assert server.http("DELETE", f"{url}/main", token=me).status == 403
    assert server.http("DELETE", f"{url}/a", token=me).status == 200
    assert server.http("DELETE", f"{url}/a", token=me).status == 404
    assert server.http("POST", f"{url}/a%2Fb", {}, me).status == 200
    assert server.http("DELETE", f"{url}/a%2Fb", token=me).status == 200
    assert server.http("POST", f"{url}/a", {}, me).status == 200


# The rest ----------------------------------------------------------------------------------------


def test_what_is_not_there_is_a_404_in_json_and_never_an_empty_success(server, me):
    for method, path in (
        ("GET", "/api/agent-harnesses"),
        ("GET", "/api/models/me/model/xet-write-token/main"),
        ("GET", "/api/kernels/me/model"),
        ("GET", "/anything"),
        ("GET", "/me/model/commit/main/"),
    ):
        reply = server.http(method, path, token=me)
        assert reply.status == 404 and reply.json["error"] and reply.code is None, path
    assert server.http("GET", "/api/repos/create").status == 405
    assert server.http("GET", "/bert-base-uncased/resolve/main/config.json").code == "RepoNotFound"
    assert server.http("GET", "/api/models/bert-base-uncased").code == "RepoNotFound"


def test_a_request_under_another_host_name_is_refused(server):
    assert server.http("GET", "/api/models", Host="evil.example").status == 400
    assert server.http("GET", "/api/models", Host=f"localhost:{server.port}").status == 200


def test_bodies_that_are_not_what_was_asked_for(server, me):
    for body in (b"", b"[]", b"{", b'"x"', b"\xff", b"[" * 100_000):
        assert server.http("POST", "/api/repos/create", body, me).status == 400
    assert server.http("POST", "/api/repos/create", b"x" * (17 * 2**20), me).status == 413
    assert server.http("POST", "/api/models/me/model/paths-info/main", b"paths=\xff", me).status == 400
    for query in ("cursor=x", "cursor=-1", "limit=9999999999"):
        assert server.http("GET", f"/api/models?{query}").status == 400


def test_long_lists_come_in_pages(server, me):
    server.create("me/pages", me)
    attributes = server.http("GET", "/me/pages/resolve/main/.gitattributes").content
    files = {".gitattributes": attributes} | {f"{n // 50:02}/{n:04}": str(n) for n in range(1100)}
    seed(server.data, "me/pages", files, "test", *(f"c{number}" for number in range(120)))

    def pages(path):
        while path:
            reply = server.http("GET", path)
            yield reply.json
            link = reply.headers["Link"]
            path = link and link.partition(">")[0].removeprefix(f"<{server.url}")

    tree = list(pages("/api/models/me/pages/tree/main?recursive=True&expand=False"))
    assert [len(page) for page in tree] == [1000, 123]
    paths = [each["path"] for page in tree for each in page]
    assert len(set(paths)) == 1123 and paths == sorted(paths)
    commits = list(pages("/api/models/me/pages/commits/main"))
    assert [len(page) for page in commits] == [100, 22]
    titles = [each["title"] for page in commits for each in page]
    assert titles == [f"c{n}" for n in reversed(range(120))] + ["test", "initial commit"]
    models = list(pages("/api/models?author=me&limit=2"))
    assert len(models) > 2 and all(len(page) <= 2 for page in models)


def test_text_of_a_user_breaks_neither_json_nor_headers(server, me):
    server.create("me/text", me)
    nasty = 'quote" \u2028 \ud83d\ude00 </script> \r\nX-Injected: yes'
    assert server.commit("me/text", me, summary=nasty, description="lone \ud800 surrogate").status == 200
    commit = server.http("GET", "/api/models/me/text/commits/main").json[0]
    assert "</script>" in commit["title"] and "X-Injected" in commit["message"]
    gone = {"key": "deletedFile", "value": {"path": "x…: y"}}
    reply = server.commit("me/text", me, gone)
    assert reply.code == "EntryNotFound"
    assert reply.headers["X-Error-Message"] == "A file with this name doesn't exist: x?: y"
    reply = server.http("GET", "/me/text/resolve/a%0d%0aX-Injected:%20yes/f")
    assert reply.status == 404 and reply.headers["X-Injected"] is None

    bad_cards = [
        "tags: [*x]",
        "a: &x [1,1]\nb: [*x, *x]",
        "a: .nan\nb: .inf",
        "1: 2\n[1, 2]: 3",
        "date: 2024-01-01\nbig: " + "9" * 5000,
        "[" * 5000,
        "- list",
        'a: "\\ud800"',
        "pipeline_tag: {a: b}\nlibrary_name: [x]",
        "a: !!python/object:os.system x",
    ]
    for front_matter in bad_cards:
        readme = f"---\n{front_matter}\n---\n"
        server.commit("me/text", me, file("README.md", readme))
        info = server.http("GET", "/api/models/me/text")
        assert info.status == 200 and info.json["id"] == "me/text", front_matter
        reply = server.http("POST", "/api/validate-yaml", {"content": readme, "repoType": "model"})
        assert reply.status in (200, 400) and isinstance(reply.json["warnings"], list), front_matter


def test_what_a_card_says():
    assert card_tags.metadata("# only a title") == {}
    assert card_tags.metadata("---\r\nlicense: mit\r\n---\r\nText") == {"license": "mit"}
    assert card_tags.metadata("---\n---\n") == {}
    assert card_tags.metadata("---\nd: 2024-05-06\n---") == {"d": "2024-05-06"}
    assert card_tags.problems("no metadata") == ([], ["empty or missing yaml metadata in repo card"])
    assert card_tags.problems("---\na: [\n---\n")[0][0].startswith("the metadata is not valid YAML")
    with pytest.raises(ValueError, match="aliases"):  # nine lines of them are gigabytes of JSON
        card_tags.metadata("---\na: &a [x]\nb: [*a, *a]\n---\n")
    assert card_tags.tags({"tags": ["x"], "library_name": "transformers", "license": "mit"}) == [
        "transformers",
        "x",
        "license:mit",
    ]


def test_lists_of_models_are_searched_and_filtered(server, me):
    server.create("me/findable-resnet", me)
    readme = "---\ntags: [vision]\npipeline_tag: image-classification\nlibrary_name: transformers\n---\n"
    server.commit("me/findable-resnet", me, file("README.md", readme))
    for query, found in (
        ("search=ABLE-res", True),
        ("author=me&filter=vision", True),
        ("pipeline_tag=image-classification&sort=lastModified", True),
        ("author=you", False),
        ("filter=vision&filter=audio", False),
    ):
        listed = [each["id"] for each in server.http("GET", f"/api/models?{query}").json]
        assert ("me/findable-resnet" in listed) is found, query


def test_no_secret_is_logged(server, me):
    url = server.upload_url("me/model", me, b"for the log")
    server.put(url, b"for the log")
    log = server.read_log()
    assert f"PUT /me/model.git/info/lfs/objects/{sha256(b'for the log')} 200" in log
    assert me not in log and "signature" not in log and "Traceback" not in log
    assert me not in json.dumps((server.data / "tokens.json").read_text())


def test_patterns_that_take_minutes_to_match_are_not_matched(server, me):
    """The rules of a repository's own owner may be slow too: every request shares this server."""
    path = f"{'a' * 250}/{'a' * 250}/{'a' * 250}.b"
    files = {"files": [{"path": f"{n}{path}", "size": 1, "sample": ""} for n in range(50)]}
    server.create("me/slow", me)
    slow = b"*a*a*a*a*a*a*ab filter=lfs\n*.bin filter=lfs\n"
    assert server.commit("me/slow", me, file(".gitattributes", slow)).status == 200
    started = time.monotonic()
    asked = {"files": [*files["files"], {"path": "w.bin", "size": 5, "sample": "YQ=="}]}
    reply = server.http("POST", "/api/models/me/slow/preupload/main", asked, me)
    modes = {each["path"]: each["uploadMode"] for each in reply.json["files"]}
    assert reply.status == 200 and modes.pop("w.bin") == "lfs" and set(modes.values()) == {"regular"}
    for pattern in ("*a*a*a*a*a*a*ab", "**/a*/**/a*/**/a*/**/a*b", "x" * 70_000, "!*a*a*a*b"):
        asked = {**files, "gitIgnore": f"# *a*a*a* is a remark\n*.log\n{pattern}\n"}
        reply = server.http("POST", "/api/models/me/slow/preupload/main", asked, me)
        assert reply.status == 400 and ".gitignore" in reply.json["error"]
    asked = {
        "gitIgnore": "*_*.tmp\n**/cache/**\n",
        "files": [{"path": p, "size": 1} for p in ("a_b.tmp", "x/cache/y")],
    }
    reply = server.http("POST", "/api/models/me/slow/preupload/main", asked, me)
    assert [each["shouldIgnore"] for each in reply.json["files"]] == [True, True]
    assert time.monotonic() - started < 5


def test_a_preupload_of_many_files_reads_their_directory_once(server, me):
    server.create("me/many", me)
    names = [f"{number}.txt" for number in range(2000)]
    assert server.commit("me/many", me, *[file(name, "same") for name in names]).status == 200
    asked = {"files": [{"path": name, "size": 4, "sample": "YQ=="} for name in names]}
    started = time.monotonic()
    reply = server.http("POST", "/api/models/me/many/preupload/main", asked, me)
    assert time.monotonic() - started < 4, "a directory of 2000 names, read for each of them, takes longer"
    assert len({each["oid"] for each in reply.json["files"]}) == 1 and reply.json["files"][0]["oid"]
    asked = {"files": [{"path": "a", "size": 1}] * 25_001}
    assert server.http("POST", "/api/models/me/many/preupload/main", asked, me).status == 413


def test_a_ref_that_leads_to_no_commit_hides_no_other(server, me):
    server.create("me/refs", me)
    repo = server.data / "repos/models/me/refs.git"
    git = ["git", "-C", str(repo), "-c", "safe.directory=*"]
    tree = subprocess.run(
        [*git, "rev-parse", "main^{tree}"], capture_output=True, text=True, check=True
    ).stdout.strip()
    (repo / "refs/tags/on-a-tree").write_text(tree + "\n")
    (repo / "refs/heads/dangling").write_text("1" * 40 + "\n")
    refs = server.http("GET", "/api/models/me/refs/refs")
    assert refs.status == 200
    assert [[each["name"] for each in refs.json[kind]] for kind in ("branches", "tags")] == [["main"], []]
    for name in ("on-a-tree", "dangling"):
        reply = server.http("GET", f"/api/models/me/refs/tree/{name}")
        assert (reply.status, reply.code) == (404, "RevisionNotFound")
    for page in ("", "/tree/main", "/refs", "/compare/main..main"):
        assert server.http("GET", f"/me/refs{page}").status == 200, page


def test_namespaces_that_differ_in_case_alone_are_one(server, me):
    assert "differs from me in case" in refused_token(server, "Me")
    (server.data / "tokens.json").with_suffix(".kept").write_bytes((server.data / "tokens.json").read_bytes())
    stored = json.loads((server.data / "tokens.json").read_text())
    stored[sha256(b"pinfold_big")] = {"user": "ME", "role": "write", "created": 0}  # of an older version
    (server.data / "tokens.json").write_text(json.dumps(stored))
    try:
        for method, path, body in (
            ("POST", "/api/repos/create", {"name": "x"}),
            ("POST", "/api/models/me/model/duplicate", {"repository": "ME/model"}),
        ):
            reply = server.http(method, path, body, "pinfold_big")
            assert reply.status == 400 and "ME differs from me in case alone" in reply.json["error"]
    finally:
        (server.data / "tokens.json").with_suffix(".kept").replace(server.data / "tokens.json")


def refused_token(server, name: str) -> str:
    with pytest.raises(UserError) as error:
        server.token(name)
    return str(error.value)


def test_a_stale_commit_onto_a_message_that_is_no_utf8_is_a_412(server, me):
    server.create("me/latin", me)
    first = server.head("me/latin")
    repo = Repo(str(server.data / "repos/models/me/latin.git"))
    commit = repo[first.encode()].copy()
    commit.message, commit.encoding, commit.parents = (
        "Gr\u00fc\u00dfe".encode("latin-1"),
        b"ISO-8859-1",
        [first.encode()],
    )
    repo.object_store.add_object(commit)
    repo.refs[b"refs/heads/main"] = commit.id
    assert server.commit("me/latin", me, file("a.txt", "a"), parentCommit=first).status == 412
    assert server.commit("me/latin", me, file("a.txt", "a")).status == 200


def test_names_that_windows_takes_for_something_else_are_refused(server, me):
    head = server.head("me/model")
    for path in (
        *(".git::$INDEX_ALLOCATION/config", ".GIT:x", "d/.git::$DATA", "a:b", "C:/x", "d/con.txt", "nul", "AUX"),
        *("com1.tar.gz", "lpt\u00b9", "con .txt", "a.", "a ", "d./x", "d /x", "/".join("x" * 65)),
    ):
        reply = server.commit("me/model", me, file(path, "x"))
        assert reply.status == 400 and "path" in reply.json["error"], path
        asked = {"files": [{"path": path, "size": 1}]}
        assert server.http("POST", "/api/models/me/model/preupload/main", asked, me).status == 400, path
    assert server.head("me/model") == head
    fine = ("console.txt", "nullable/x", "a.b.c", ".github/x", "com10", "/".join("x" * 64))
    assert server.commit("me/model", me, *[file(path, "x") for path in fine]).status == 200


def test_a_copy_made_during_commits_is_whole(server, me):
    """Objects come and their unfinished files go while it is made."""
    server.create("me/busy", me)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            assert (
                server.commit("me/busy", me, *[file(f"{number}/{n}.txt", f"{number}{n}") for n in range(20)]).status
                == 200
            )

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(8):
            reply = server.http("POST", "/api/models/me/busy/duplicate", {"repository": f"me/copy{number}"}, me)
            assert reply.status == 200
            assert server.http("GET", f"/api/models/me/copy{number}/tree/main?recursive=1").status == 200
    finally:
        stop.set()
        writer.join()
