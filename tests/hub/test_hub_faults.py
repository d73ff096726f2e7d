"""The embedded Hub when things break: lost connections, kills at every step, full disks, leftovers of a crash.

After each of them: no half-visible commit, nothing acknowledged is lost, and sending it again completes.
"""

import os
import resource
import subprocess
import sys
import threading
import urllib.request

import pytest
from helpers.hub.hub_support import EACH_GENERATION, Server, client, file, large

from pinfold.hub.server.tokens import Tokens
from pinfold.hub.storage import discussions
from pinfold.hub.storage.errors import Gone
from pinfold.hub.storage.gitrules import DEFAULT_ATTRIBUTES
from pinfold.hub.storage.repository import Repository
from pinfold.hub.storage.store import Store

PUSH = """
content = bytes(range(256)) * 12_000
try:
    result = api.create_commit("me/model", [add("w.bin", content), add("a.txt", b"a")], commit_message="ours",
                               commit_description="nonce 1", parent_commit={parent!r}).oid
except Exception as error:
    result = type(error).__name__
"""


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


def prepare(data) -> tuple[str, str]:
    """A repository me/model, made without a server: (the write token of me, the first commit)."""
    data.mkdir()
    store = Store(data)
    store.repair()
    repo = store.create("models", "me/model", False, {".gitattributes": DEFAULT_ATTRIBUTES.encode()}, "me")
    return Tokens(data).create("me", "write"), repo.resolve("main")


def leftovers(data) -> list:
    return [*(data / "tmp").iterdir(), *(data / "repos").rglob("*.lock")]


@pytest.mark.parametrize("generation", EACH_GENERATION)
def test_an_upload_whose_connection_drops_is_sent_again(data, tmp_path, generation):
    token, first = prepare(data)
    with Server(data, "--fault", "put-drop") as server:
        sha = client(server, token, tmp_path, PUSH.format(parent=first), generation)
        assert server.head("me/model") == sha
        assert server.history("me/model") == ["ours", "initial commit"]
        puts = [line.split()[2] for line in server.read_log().splitlines() if line.startswith("PUT")]
        assert puts == ["dropped", "200"]
        assert not leftovers(data)


def test_uploads_that_always_drop_leave_nothing_visible(data, tmp_path):
    token, first = prepare(data)
    with Server(data, "--fault", "put-drop-always") as server:
        content = os.urandom(100_000)
        url = server.upload_url("me/model", token, content)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                server.put(url, content)
        assert server.commit("me/model", token, large("w.bin", content)).status == 400
        assert server.head("me/model") == first
        assert not leftovers(data)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "committed"),
    [
        ("exit-inside-put", False),
        ("exit-before-commit", False),
        ("exit-inside-commit", False),
        ("exit-after-commit", True),
    ],
)
def test_a_server_killed_at_any_step_has_all_of_a_commit_or_none(data, tmp_path, fault, committed):
    token, first = prepare(data)
    content = os.urandom(50_000)

    def push(server: Server) -> str:
        objects = server.batch("me/model", token, content).json["objects"][0]
        if "actions" in objects:
            server.put(objects["actions"]["upload"]["href"], content)
        lines = [large("w.bin", content), file("a.txt", "a"), file("d/b.txt", "b")]
        reply = server.commit("me/model", token, *lines, parentCommit=first, description="nonce")
        return reply.json["commitOid"]

    server = Server(data, "--fault", fault)
    with pytest.raises(ConnectionError):
        push(server)
    assert server.process.wait(timeout=10) == 70
    with Server(data) as server:
        assert not leftovers(data)
        assert server.history("me/model") == (["test"] if committed else []) + ["initial commit"]
        tree = server.http("GET", "/api/models/me/model/tree/main?recursive=1").json
        assert len(tree) == (5 if committed else 1)
        sha = push(server)
        assert server.head("me/model") == sha, "the second try completes, or finds the first"
        assert server.history("me/model") == ["test", "initial commit"]
        assert server.http("GET", f"/me/model/resolve/{sha}/w.bin").content == content
    fsck = ["git", "-C", str(data / "repos/models/me/model.git"), "-c", "safe.directory=*", "fsck", "--strict"]
    subprocess.run(fsck, check=True, capture_output=True)


@pytest.mark.slow
def test_an_upload_url_outlives_a_restart(data):
    token, _ = prepare(data)
    with Server(data) as server:
        url, port = server.upload_url("me/model", token, b"content"), server.port
    with Server(data, port=port) as server:
        assert server.put(url, b"content").status == 200
        assert server.commit("me/model", token, large("w.bin", b"content")).status == 200


@pytest.mark.parametrize("generation", EACH_GENERATION)
def test_a_commit_whose_answer_is_lost_is_there_and_can_be_found(data, tmp_path, generation):
    token, first = prepare(data)
    with Server(data, "--fault", "lose-answer") as server:
        failed, commits = client(
            server,
            token,
            tmp_path,
            PUSH.format(parent=first)
            + "result = result, [(each.commit_id, each.message) for each in api.list_repo_commits('me/model')]",
            generation,
        )
        assert failed in ("RemoteProtocolError", "ConnectionError")
        found = [sha for sha, message in commits if message == "nonce 1"]
        assert found == [server.head("me/model")]
        # Somebody else commits, and only then the same request comes again: it is not taken for theirs.
        assert server.commit("me/model", token, file("theirs.txt", "x"), summary="theirs").status == 200
        again = server.commit("me/model", token, file("a.txt", "a"), parentCommit=first, summary="ours")
        assert again.status == 412
        assert server.history("me/model") == ["theirs", "ours", "initial commit"]


def test_readers_see_all_files_of_a_commit_or_none(data):
    token, _ = prepare(data)
    seen, stop = set(), threading.Event()
    with Server(data, "--quiet") as server:

        def read():
            while not stop.is_set():
                seen.add(len(server.http("GET", "/api/models/me/model/tree/main").json))

        reader = threading.Thread(target=read)
        reader.start()
        try:
            assert server.commit("me/model", token, *[file(f"{n}.txt", str(n)) for n in range(200)]).status == 200
        finally:
            stop.set()
            reader.join()
        assert seen | {201} == {1, 201}


def test_locks_and_temporary_files_of_a_crash_are_removed_at_start(data):
    token, _ = prepare(data)
    repo = data / "repos/models/me/model.git"
    (repo / "refs/heads/main.lock").touch()
    (repo / "packed-refs.lock").touch()
    (repo / "objects/ab").mkdir(exist_ok=True)
    (repo / "objects/ab/cdef.lock").touch()
    (data / "tmp/0123456789abcdef").write_bytes(b"x" * 1000)
    (data / "tmp/0123456789abcdef.git/refs").mkdir(parents=True)
    (data / "tmp/somebody's").mkdir()
    with Server(data) as server:
        assert leftovers(data) == [data / "tmp/somebody's"], "what this server did not make stays"
        assert server.commit("me/model", token, file("a", "1")).status == 200


@pytest.mark.slow
def test_a_full_disk_is_a_507_with_a_reason_and_changes_nothing(data):
    token, first = prepare(data)
    content = os.urandom(8 * 2**20)
    with Server(data) as server:
        url = server.upload_url("me/model", token, content)
        port = server.port
    limit = (4 * 2**20, 4 * 2**20)  # bytes a file may have: the kernel refuses more, as it does on a full disk
    with Server(data, port=port, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)) as server:
        for reply in (server.put(url, content), server.commit("me/model", token, file("a.txt", content))):
            assert reply.status == 507
            assert "disk is full" in reply.headers["X-Error-Message"]
        assert server.head("me/model") == first
        assert not leftovers(data)
        assert server.commit("me/model", token, file("small.txt", "x")).status == 200
    with Server(data, port=port) as server:
        assert server.put(url, content).status == 200
        assert server.commit("me/model", token, large("w.bin", content)).status == 200


def test_a_stored_file_that_was_damaged_is_an_error_and_not_a_download(data):
    token, _ = prepare(data)
    with Server(data) as server:
        server.upload("me/model", token, b"weights")
        server.commit("me/model", token, large("w.bin", b"weights"))
        (stored,) = (each for each in (data / "repos").rglob("lfs/objects/*/*/*") if each.is_file())
        stored.write_bytes(b"weight")
        reply = server.http("GET", "/me/model/resolve/main/w.bin")
        assert reply.status == 500 and "damaged" in reply.json["error"]


def test_repositories_deleted_in_the_middle_of_an_upload_stay_deleted(data):
    token, _ = prepare(data)
    with Server(data) as server:
        url = server.upload_url("me/model", token, b"content")
        assert server.http("DELETE", "/api/repos/delete", {"name": "model"}, token).status == 200
        assert server.put(url, b"content").status == 404
        assert not (data / "repos/models/me/model.git").exists()
        server.create("me/model", token)
        assert server.history("me/model") == ["initial commit"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_stopping_during_an_upload_leaves_nothing(data):
    token, _ = prepare(data)
    with Server(data) as server:
        url = server.upload_url("me/model", token, b"x" * 2_000_000)

        def endless():
            yield b"x" * 1_000_000
            server.process.terminate()
            server.process.wait(timeout=20)
            yield b"x" * 1_000_000

        request = urllib.request.Request(url, endless(), {"Content-Length": "2000000"}, method="PUT")
        with pytest.raises(OSError):
            urllib.request.urlopen(request, timeout=30)
        assert server.process.returncode == 0
        assert not leftovers(data) and not (data / "server.json").exists()


def test_a_full_disk_blocks_nothing_once_there_is_room(data):
    token, first = prepare(data)
    base = "/api/models/me/model"
    calls = [
        ("POST", f"{base}/branch/b", {}),
        ("POST", f"{base}/tag/main", {"tag": "plain"}),
        ("POST", f"{base}/tag/main", {"tag": "annotated", "message": "m"}),
        ("POST", f"{base}/discussions", {"title": "t", "description": "d"}),
        ("POST", f"{base}/discussions", {"title": "t", "description": "d", "pullRequest": True}),
        ("PUT", f"{base}/settings", {"private": True}),
        ("POST", f"{base}/duplicate", {"repository": "me/copy"}),
        ("POST", "/api/repos/create", {"name": "other"}),
        ("POST", "/api/repos/move", {"fromRepo": "me/model", "toRepo": "me/moved"}),
    ]
    with Server(data, "--quiet") as server:
        pid, unlimited = server.process.pid, resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE)
        for bytes_left in (0, 20):  # no file may be larger, as if the disk were full
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (bytes_left, unlimited[1]))
            for method, path, body in calls:
                if (path, bytes_left) != ("/api/repos/move", 20):  # its one small file fits
                    assert server.http(method, path, body, token).status == 507, (path, bytes_left)
            assert server.commit("me/model", token, file("a.txt", "a" * 100)).status == 507
            resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
            assert server.head("me/model") == first
            assert not leftovers(data) and not list(data.rglob("*.moved"))
        assert server.commit("me/model", token, file("a.txt", "a" * 100)).status == 200
        for method, path, body in calls[:6]:
            assert server.http(method, path, body, token).status == 200, path
        assert "Traceback" not in server.read_log()


def test_a_move_keeps_the_old_name_and_a_crash_before_it_changes_nothing(data):
    token, first = prepare(data)
    (data / "repos/models/me/model.moved").write_text("me/new")  # written, and then the server was killed
    with Server(data) as server:
        assert server.head("me/model") == first
        server.create("me/new", token)
        assert server.http("DELETE", "/api/repos/delete", {"name": "model"}, token).status == 200
        assert server.http("GET", "/api/models/me/model", token=token).status == 404, "not somebody's new repository"
        move = {"fromRepo": "me/new", "toRepo": "me/newer"}
        assert server.http("POST", "/api/repos/move", move, token).status == 200
        assert server.head("me/new") == server.head("me/newer")


def test_what_comes_late_never_brings_a_repository_back(data):
    """Each change is held back until its repository has gone: 404, no trace, and the name is free."""
    token, first = prepare(data)
    store = Store(data)

    def lost() -> Repository:
        repo = store.find("models", "me/model")
        store.delete(repo)
        return repo

    for late in (
        lambda repo, sha: repo.add_ref("refs/heads/late", sha),
        lambda repo, sha: repo.move_ref("refs/heads/main", sha, sha),
        lambda repo, sha: repo.delete_ref("refs/heads/main"),
        lambda repo, sha: repo.add_tag("refs/tags/late", sha, "", "me"),
        lambda repo, sha: repo.change(private=True),
        lambda repo, sha: discussions.save(repo, discussions.Discussion(1, "t", "me", 0)),
        lambda repo, sha: store.move(repo, "me/other"),
        lambda repo, sha: store.delete(repo),
    ):
        with pytest.raises(Gone):
            late(lost(), first)
        assert not list((data / "repos/models/me").iterdir())
        first = store.create("models", "me/model", False, {}, "me").resolve("main")
    # The ghost that an older version left, refs and nothing else, hides no name that leads on and takes none.
    store.delete(store.find("models", "me/model"))
    (data / "repos/models/me/model.git/refs/heads").mkdir(parents=True)
    (data / "repos/models/me/model.git/refs/heads/late").write_text(first)
    with Server(data) as server:
        server.create("me/new", token)
        (data / "repos/models/me/model.moved").write_text("me/new")
        assert server.head("me/model") == server.head("me/new")
        server.create("me/model", token)
        assert server.commit("me/model", token, file("a.txt", "a")).status == 200


@pytest.mark.slow
def test_changes_that_race_with_a_deletion_are_a_404(data):
    token, _ = prepare(data)
    statuses, stop = set(), threading.Event()
    with Server(data, "--quiet") as server:

        def write(number: int) -> None:
            while not stop.is_set():
                name = f"b{number}-{os.urandom(4).hex()}"
                statuses.add(server.http("POST", f"/api/models/me/model/branch/{name}", {}, token).status)
                body = {"title": "t", "description": "d"}
                statuses.add(server.http("POST", "/api/models/me/model/discussions", body, token).status)
                statuses.add(server.commit("me/model", token, file(f"{name}.txt", name)).status)
                statuses.add(server.http("GET", "/api/models/me/model/tree/main?expand=1", token=token).status)

        writers = [threading.Thread(target=write, args=(number,)) for number in range(3)]
        for writer in writers:
            writer.start()
        try:
            for _ in range(15):
                assert server.http("DELETE", "/api/repos/delete", {"name": "model"}, token).status == 200
                server.create("me/model", token)
        finally:
            stop.set()
            for writer in writers:
                writer.join()
        assert statuses <= {200, 404, 412}, statuses
        assert "Traceback" not in server.read_log()
