"""`pinfold hub gc`, `verify`, `tokens` and `revoke`: what goes, what stays, what is found, and what they print."""

import json
import os
import subprocess
import sys
import time
import zlib

import pytest
from dulwich.repo import Repo
from helpers.hub.hub_support import ROOT, Server, file, large, sha256
from helpers.processes import run_here


def pinfold(data, *arguments: str, code: int = 0, fresh: bool = False) -> subprocess.CompletedProcess:
    """`pinfold hub`, in this process; fresh: in one of its own, as a user runs it."""
    given = ["hub", "--data", str(data), *arguments]
    if fresh:
        command = [sys.executable, "-m", "pinfold", *given]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)
    else:
        run = run_here(*given)
    assert run.returncode == code and "Traceback" not in run.stderr, run
    return run


def age(path, days: float) -> None:
    """Let everything below a directory look as old as that."""
    then = time.time() - days * 24 * 3600
    for each in [path, *path.rglob("*")]:
        if not each.is_symlink():
            os.utime(each, (then, then))


def content_of(repo) -> dict:
    return {
        str(path.relative_to(repo)): path.read_bytes()
        for path in [*(repo / "objects").rglob("*"), *(repo / "lfs").rglob("*")]
        if path.is_file()
    }


@pytest.fixture
def data(tmp_path):
    """A stopped server's data: me/model with a large file on main, a tag, a pull request and a deleted branch."""
    data = tmp_path / "data"
    with Server(data) as server:
        me = server.token("me")
        server.create("me/model", me)
        for name in ("main", "tag", "pull", "branch", "never"):
            server.upload("me/model", me, name.encode() * 100)
        base = "/api/models/me/model"
        for name in ("tag", "branch"):
            server.http("POST", f"{base}/branch/{name}", {}, me)
            sha = server.commit("me/model", me, large("w.bin", name.encode() * 100), revision=name).json["commitOid"]
            if name == "tag":
                server.http("POST", f"{base}/tag/{sha}", {"tag": "v1", "message": "kept"}, me)
            server.http("DELETE", f"{base}/branch/{name}", token=me)
        assert server.commit("me/model", me, large("w.bin", b"pull" * 100), query="?create_pr=1").status == 200
        assert server.commit("me/model", me, large("w.bin", b"main" * 100), file("a.txt", "a")).status == 200
        server.http("POST", f"{base}/discussions", {"title": "t", "description": "d"}, me)
    return data


def has(repo, content: bytes) -> bool:
    oid = sha256(content)
    return (repo / "lfs/objects" / oid[:2] / oid[2:4] / oid).exists()


def test_gc_removes_what_nothing_reaches_and_only_when_old(data):
    repo = data / "repos/models/me/model.git"
    everything = content_of(repo)
    (data / "tmp" / "0123456789abcdef").write_bytes(b"x" * 10)
    (repo / ".hub.json.0123").write_text("{}")
    assert "removed 0 bytes in all" in pinfold(data, "gc").stdout, "nothing is old enough"
    age(data, 20)
    listed = pinfold(data, "gc", "--dry-run").stdout
    assert "would remove models/me/model: " in listed and "2 large files" in listed and "1 temporary" in listed
    assert content_of(repo) == everything and (data / "tmp" / "0123456789abcdef").exists()
    assert "removed 0 bytes" in pinfold(data, "gc", "--older-than", "30").stdout
    done = pinfold(data, "gc", fresh=True).stdout
    assert done == listed.replace("would remove", "removed")
    assert not (data / "tmp" / "0123456789abcdef").exists() and not (repo / ".hub.json.0123").exists()
    left = content_of(repo)
    assert left.items() < everything.items(), "what stays is unchanged"
    for name, stays in (("main", True), ("tag", True), ("pull", True), ("branch", False), ("never", False)):
        assert has(repo, name.encode() * 100) is stays, name
    assert "removed 0 bytes" in pinfold(data, "gc", "--older-than", "0").stdout, "nothing more to remove"
    assert "no fault" in pinfold(data, "verify").stderr
    fsck = ["git", "-C", str(repo), "-c", "safe.directory=*", "fsck", "--strict", "--no-dangling"]
    subprocess.run(fsck, check=True, capture_output=True)
    with Server(data) as server:
        for revision, name in (("main", "main"), ("v1", "tag"), ("refs%2Fpr%2F1", "pull")):
            assert server.http("GET", f"/me/model/resolve/{revision}/w.bin").content == name.encode() * 100


@pytest.mark.slow
def test_a_young_commit_keeps_all_it_needs_however_old(data):
    repo = data / "repos/models/me/model.git"
    age(data, 20)
    with Server(data) as server:
        me = server.token("me")
        server.http("POST", "/api/models/me/model/branch/b", {"startingPoint": "v1"}, me)
        sha = server.commit("me/model", me, file("new.txt", "n"), revision="b").json["commitOid"]
        server.http("DELETE", "/api/models/me/model/branch/b", token=me)
        server.http("DELETE", "/api/models/me/model/tag/v1", token=me)
    pinfold(data, "gc", "--older-than", "10")
    assert has(repo, b"tag" * 100) and not has(repo, b"branch" * 100)
    with Server(data) as server:
        assert server.http("GET", f"/me/model/resolve/{sha}/w.bin").content == b"tag" * 100


def test_gc_refuses_beside_a_server_and_leaves_a_damaged_repository_alone(data):
    repo = data / "repos/models/me/model.git"
    age(data, 20)
    with Server(data) as server:
        run = pinfold(data, "gc", code=2, fresh=True)
        assert f"served already at {server.url}" in run.stderr and run.stderr.count("\n") == 1
        assert "no fault" in pinfold(data, "verify").stderr, "verify only reads"
    main = (repo / "refs/heads/main").read_text().strip()
    (repo / "objects" / main[:2] / main[2:]).unlink()
    before = content_of(repo)
    run = pinfold(data, "gc", code=1)
    assert "left as it is" in run.stderr and content_of(repo) == before
    for wrong in ("x", "-1", "1e9", "nan"):
        assert pinfold(data, "gc", f"--older-than={wrong}", code=2).stderr.count("\n") == 1


def test_verify_names_every_kind_of_damage(data):
    repo = data / "repos/models/me/model.git"
    assert pinfold(data, "verify", fresh=True).stdout == ""
    git = ["git", "-C", str(repo), "-c", "safe.directory=*", "rev-parse"]
    blob, tree = subprocess.run([*git, "main:a.txt", "v1^{tree}"], capture_output=True, text=True).stdout.split()

    def faults() -> str:
        return pinfold(data, "verify", code=1).stdout

    def damaged(path, content: bytes | None):
        before, mode = path.read_bytes(), path.stat().st_mode
        path.chmod(0o600)
        path.unlink() if content is None else path.write_bytes(content)
        lines = faults()
        path.write_bytes(before)
        path.chmod(mode)
        return lines

    oid = sha256(b"pull" * 100)
    stored = repo / "lfs/objects" / oid[:2] / oid[2:4] / oid
    for content, reason in ((None, "missing"), (b"pull" * 99, "396 bytes"), (b"PULL" * 100, "sha256")):
        lines = damaged(stored, content)
        assert lines.startswith("models/me/model: large file " + oid) and reason in lines and lines.count("\n") == 1
    object_at = repo / "objects" / blob[:2] / blob[2:]
    assert blob in damaged(object_at, None) and "a.txt" in damaged(object_at, b"nonsense")
    assert "another hash" in damaged(object_at, zlib.compress(b"blob 1\0b"))
    assert tree in damaged(repo / "objects" / tree[:2] / tree[2:], None)
    assert "refs/heads/main does not lead to a commit" in damaged(repo / "refs/heads/main", b"1" * 40 + b"\n")
    assert "no branch main" in damaged(repo / "refs/heads/main", None)
    assert "hub.json" in damaged(repo / "hub.json", b"{")
    assert "hub.json" in damaged(repo / "hub.json", None)
    assert "discussions/2.json" in damaged(repo / "discussions/2.json", b'{"num": 2}')
    assert "tokens.json" in damaged(data / "tokens.json", b"[")
    assert "no fault" in pinfold(data, "verify").stderr, "put back as it was"


def test_tokens_are_listed_by_id_and_can_be_revoked(tmp_path):
    data = tmp_path / "data"
    with Server(data) as server:
        reader, writer = pinfold(data, "token", "ann").stdout.strip(), server.token("bob", "write")
        listed = pinfold(data, "tokens").stdout
        rows = [line.split() for line in listed.splitlines()]
        assert [(row[1], row[-1]) for row in rows] == [("read", "ann"), ("write", "bob")]
        assert rows[0][2] == time.strftime("%Y-%m-%d") and len(rows[0][0]) == 12
        assert reader not in listed and writer not in listed
        assert server.http("GET", "/api/whoami-v2", token=reader).status == 200
        assert "Revoked" in pinfold(data, "revoke", rows[0][0]).stdout
        assert server.http("GET", "/api/whoami-v2", token=reader).status == 401, "at once, while it runs"
        assert server.http("GET", "/api/whoami-v2", token=writer).status == 200
        for wrong in ("", rows[1][0][:5], "zzzzzzzzzzzz", rows[0][0]):
            run = pinfold(data, "revoke", wrong, code=2)
            assert "no token" in run.stderr and run.stderr.count("\n") == 1
        assert len(json.loads((data / "tokens.json").read_text())) == 1
    (tmp_path / "other").mkdir()
    assert "No tokens" in pinfold(tmp_path / "other", "tokens").stderr


def test_every_action_has_help_with_an_example():
    top = pinfold("x", "--help").stdout
    for action in ("token", "tokens", "revoke", "gc", "verify", "import"):
        assert f"    {action}" in top
        text = pinfold("x", action, "--help").stdout
        assert f"Example:\n  pinfold hub {action}" in text


def rewritten(repo, **fields) -> str:
    """A copy of main's commit with other fields, as main."""
    git = Repo(str(repo))
    commit = git[git.refs[b"refs/heads/main"]].copy()
    for name, value in fields.items():
        setattr(commit, name, value)
    git.object_store.add_object(commit)
    git.refs[b"refs/heads/main"] = commit.id
    return commit.id.decode()


def test_damage_of_one_repository_is_a_reason_and_never_a_traceback(data):
    """A clean answer while it is damaged, a line of verify, and everything as before once it is put back."""
    repo = data / "repos/models/me/model.git"
    told = json.loads((repo / "hub.json").read_text())
    wrongs = [
        ("hub.json", b"[]"),
        ("hub.json", b"{"),
        ("hub.json", b""),
        ("hub.json", b"[" * 100_000),
        ("hub.json", json.dumps({**told, "created": "yesterday"}).encode()),
        ("hub.json", json.dumps({**told, "created": 1e30}).encode()),
        ("hub.json", json.dumps({**told, "private": "no"}).encode()),
        ("hub.json", json.dumps({**told, "mirror": []}).encode()),
        ("config", b"[core\nnonsense"),
        ("HEAD", None),
        ("packed-refs", b"nonsense\n"),
        ("packed-refs", b""),
        ("refs/heads/main", b"nonsense\n"),
    ]
    with Server(data) as server:
        me = server.token("me")
        server.create("me/whole", me)
        for name, content in wrongs:
            before = (repo / name).read_bytes() if (repo / name).exists() else None
            (repo / name).unlink() if content is None else (repo / name).write_bytes(content)
            lines = pinfold(data, "verify", code=1).stdout
            assert "models/me/model: " in lines, (name, content)
            if (name, content) != ("HEAD", None):
                for call in ("/revision/main", "/tree/main", "/refs"):
                    reply = server.http("GET", f"/api/models/me/model{call}")
                    assert reply.status in (200, 401, 500) and (
                        reply.status != 500 or "verify" in reply.json["error"]
                    ), name
                reply = server.commit("me/model", me, file("x.txt", "x"))
                assert reply.status == 500 and "verify" in reply.json["error"], (name, content, reply)
            assert server.http("GET", "/api/users/me/overview").status == 200
            assert server.http("GET", "/api/models/me/whole/tree/main").status == 200
            (repo / name).unlink() if before is None else (repo / name).write_bytes(before)
        assert server.commit("me/model", me, file("x.txt", "x")).status == 200
        assert "Traceback" not in server.read_log()
    assert "no fault" in pinfold(data, "verify").stderr


def test_verify_names_a_commit_whose_time_is_no_date(data):
    sha = rewritten(data / "repos/models/me/model.git", commit_time=10**13)
    lines = pinfold(data, "verify", code=1).stdout
    assert lines == f"models/me/model: commit {sha} has the time 10000000000000, which is not a date\n"


def test_a_damaged_list_of_tokens_is_one_line_and_a_503(data):
    with Server(data) as server:
        me = server.token("me")
        good = (data / "tokens.json").read_bytes()
        for content in (b"[", b"[]", b'{"a": 1}', b'{"a": {"user": "me", "role": "king"}}', b"\xff", b"[" * 100_000):
            (data / "tokens.json").write_bytes(content)
            for action in (("tokens",), ("token", "ann"), ("revoke", "0" * 12)):
                run = pinfold(data, *action, code=2)
                assert "tokens.json is damaged" in run.stderr and run.stderr.count("\n") == 1
            assert (data / "tokens.json").read_bytes() == content
            assert "tokens.json" in pinfold(data, "verify", code=1).stdout
            reply = server.http("GET", "/api/whoami-v2", token=me)
            assert reply.status == 503 and "damaged" in reply.json["error"]
            assert server.http("GET", "/api/models/me/model").status == 200, "nobody's token is needed"
        (data / "tokens.json").write_bytes(good)
        assert server.http("GET", "/api/whoami-v2", token=me).status == 200
        assert "Traceback" not in server.read_log()


def test_an_age_that_is_none_is_explained(data):
    for given in (("--older-than", "-1"), ("--older-than=-1",), ("--older-than", "soon")):
        line = pinfold(data, "gc", *given, code=2).stderr
        assert "give from 0 to 99999" in line and line.count("\n") == 1


@pytest.mark.parametrize("action", [["tokens"], ["revoke", "0"], ["gc"], ["verify"]])
def test_a_directory_that_is_not_there_is_one_line_and_is_not_made(tmp_path, action):
    done = subprocess.run(
        [sys.executable, "-m", "pinfold", "hub", *action, "--data", str(tmp_path / "none")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2 and "the directory does not exist" in done.stderr and done.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()
