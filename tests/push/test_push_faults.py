"""What goes wrong between a push and a Hub: the real client against the real server, which drops, dies or lies silent.

Never a wrong sha, never a half-visible commit, and the same command again completes.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from helpers import tiny
from helpers.processes import ROOT, clean_environment, listen_to_ctrl_c
from huggingface_hub import HfApi, constants

from pinfold.cli.main import main
from pinfold.fence import process as fence
from pinfold.remote import client as remote
from pinfold.remote import destination
from pinfold.remote.client import Remote

NAME = "local/faulty"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """The client sleeps for up to 23 s between its tries; their number stays the same."""
    real = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: real(min(seconds, 0.3)))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)


@pytest.fixture
def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture
def serve(tmp_path, port):
    """serve("exit-before-commit") starts a server that fails so once; it is started again whenever it has died."""
    data, stop, running = tmp_path / "hub", threading.Event(), []

    def start(*fault):
        command = [sys.executable, "-m", "pinfold", "hub", "--data", data, "--port", port, "--quiet"]
        command += ["--fault", *fault] if fault else []
        environment = clean_environment(tmp_path / "server", PYTHONPATH=str(ROOT))
        process = subprocess.Popen([str(c) for c in command], env=environment, stdout=subprocess.DEVNULL)
        running.append(process)
        wait_until(lambda: destination.find(data))

    def watch():
        while not stop.wait(0.05):
            if running and running[-1].poll() is not None:
                start()

    def begin(*fault):
        start(*fault)
        threading.Thread(target=watch, daemon=True).start()
        return data

    yield begin
    stop.set()
    time.sleep(0.1)
    for process in running:
        process.terminate()
        process.wait(10)


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "the server did not come up"
        time.sleep(0.02)
    return found


@pytest.fixture
def push(tiny_folder, tiny_checkpoint, tmp_path, port, capsys, monkeypatch):
    """push() -> (exit code, stdout, stderr); the token is the one of the server that runs at the time."""
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny_model")

    def run(checkpoint=tiny_checkpoint, folder=folder):
        monkeypatch.setenv("HF_TOKEN", token(tmp_path))
        arguments = [
            "push",
            folder,
            "--checkpoint",
            checkpoint,
            "--repo",
            NAME,
            "--endpoint",
            f"http://127.0.0.1:{port}",
        ]
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    return run


def token(tmp_path):
    """A token that outlives the server: the one in server.json is only good for one run of it."""
    path = tmp_path / "token"
    if not path.exists():
        command = [sys.executable, "-m", "pinfold", "hub", "--data", str(tmp_path / "hub"), "token", "local"]
        made = subprocess.run([*command, "--role", "write"], capture_output=True, text=True, cwd=ROOT, check=True)
        path.write_text(made.stdout.strip())
    return path.read_text()


def api(tmp_path, port):
    return HfApi(endpoint=f"http://127.0.0.1:{port}", token=token(tmp_path))


def titles(client):
    return [c.title for c in client.list_repo_commits(NAME)]


def publishing(client):
    return [c.commit_id for c in client.list_repo_commits(NAME) if c.title.startswith("Publish ")]


def pinned(out):
    return re.search(r'revision="([0-9a-f]{40})"', out)[1]


def whole(client):
    """Every commit of ours holds all files or none of them."""
    ours = {
        "config.json",
        "configuration_tiny.py",
        "layers_tiny.py",
        "model.safetensors",
        "modeling_tiny.py",
        "pinfold.json",
    }
    for commit in client.list_repo_commits(NAME):
        names = set(client.list_repo_files(NAME, revision=commit.commit_id))
        assert ours <= names or not ours & names, commit


@pytest.mark.parametrize("fault", ["put-drop", "exit-inside-put", "exit-after-commit", "lose-answer"])
def test_a_push_survives(quick, serve, push, tmp_path, port, fault):
    serve(fault)
    code, out, err = push()
    client = api(tmp_path, port)
    assert code == 0, err
    assert publishing(client) == [pinned(out)]
    assert "signature=" not in out + err
    whole(client)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["exit-before-commit", "exit-inside-commit", "put-drop-always"])
def test_a_push_that_fails_leaves_nothing_and_the_next_completes(quick, serve, push, tmp_path, port, fault):
    data = serve(fault)
    code, out, err = push()
    client = api(tmp_path, port)
    assert code == 2 and "run the same command again" in err and len(err.strip().splitlines()) == 1, err
    assert titles(client) == ["initial commit"]
    if fault == "put-drop-always":  # this one stays faulty until it is started anew
        faulty = destination.find(data)["pid"]
        os.kill(faulty, signal.SIGTERM)
        wait_until(lambda: (server := destination.find(data)) and server["pid"] != faulty)
    code, out, err = push()
    assert code == 0, err
    assert publishing(client) == [pinned(out)]
    whole(client)


@pytest.mark.slow
def test_after_a_lost_answer_and_somebody_elses_commit_the_sha_is_still_ours(
    quick, serve, push, tmp_path, port, monkeypatch
):
    """The push loses sight of its commit; another one lands on top; the same command again must not take that one."""
    serve("lose-answer")
    with monkeypatch.context() as blind:
        blind.setattr(Remote, "_find_nonce", lambda *a: None)
        code, _, err = push()
    client = api(tmp_path, port)
    assert code == 2 and "run the same command again" in err
    ours = publishing(client)
    client.upload_file(path_or_fileobj=b"theirs", path_in_repo="notes.txt", repo_id=NAME, commit_message="Theirs")
    code, out, err = push()
    assert code == 0, err
    assert [pinned(out)] == ours == publishing(client)
    assert titles(client)[1] == "Theirs" and "notes.txt" in client.list_repo_files(NAME)


def test_a_lost_answer_with_somebody_elses_commit_in_between_is_found_in_the_history(
    quick, serve, push, tmp_path, port, monkeypatch
):
    serve("lose-answer")
    client = api(tmp_path, port)
    search = Remote._find_nonce

    def late(self, *arguments):
        client.upload_file(path_or_fileobj=b"theirs", path_in_repo="notes.txt", repo_id=NAME, commit_message="Theirs")
        monkeypatch.setattr(Remote, "_find_nonce", search)
        return search(self, *arguments)

    monkeypatch.setattr(Remote, "_find_nonce", late)
    code, out, err = push()
    assert code == 0, err
    assert [pinned(out)] == publishing(client) and titles(client)[1] == "Theirs"


@pytest.mark.slow
def test_files_that_somebody_else_committed_first_are_not_reported_as_ours(
    quick, serve, push, tmp_path, port, monkeypatch
):
    """The client drops unchanged files and answers with the newest sha, whosever it is."""
    serve()
    client = api(tmp_path, port)
    real = HfApi.create_commit

    def first_theirs(self, repo, operations, **options):
        if options["commit_message"].startswith("Publish "):
            monkeypatch.setattr(HfApi, "create_commit", real)
            real(self, repo, operations, commit_message="Theirs", parent_commit=options["parent_commit"])
            client.upload_file(
                path_or_fileobj=b"x", path_in_repo="notes.txt", repo_id=repo, commit_message="Also theirs"
            )
            operations = [type(o)(o.path_in_repo, o.path_or_fileobj) for o in operations]
        return real(self, repo, operations, **options)

    monkeypatch.setattr(HfApi, "create_commit", first_theirs)
    code, _, err = push()
    assert code == 2 and ("someone else" in err), err
    code, out, err = push()
    assert code == 0 and "nothing changed" in out, err
    assert publishing(client) == []


def test_two_pushers_at_once(quick, serve, tmp_path, port, tiny_folder, tiny_checkpoint):
    """Both start from the same head. One wins; the other is told so, and its re-run goes on top."""
    serve()
    client = api(tmp_path, port)
    client.create_repo(NAME)
    place = destination.Destination(NAME, f"http://127.0.0.1:{port}", token(tmp_path))
    head = Remote(place).head()
    barrier, results, before = threading.Barrier(2), {}, constants.ENDPOINT

    def go(who):
        file = tmp_path / f"{who}.txt"
        file.write_text(who)
        barrier.wait()
        try:
            results[who] = Remote(place).commit(f"Publish {who}", head, {"who.txt": file})
        except Exception as error:
            results[who] = error

    threads = [threading.Thread(target=go, args=(who,)) for who in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == constants.ENDPOINT  # a setting of the whole process
    failed = [who for who, value in results.items() if not isinstance(value, str)]
    assert len(failed) == 1 and "someone else committed to local/faulty meanwhile" in str(results[failed[0]])
    assert len(publishing(client)) == 1
    again = Remote(place).commit(
        f"Publish {failed[0]}", Remote(place).head(), {"who.txt": tmp_path / f"{failed[0]}.txt"}
    )
    assert publishing(client)[0] == again and len(publishing(client)) == 2


def test_a_crash_between_the_two_commits_is_finished_by_the_next_push(quick, serve, push, tmp_path, port, monkeypatch):
    serve()
    with monkeypatch.context() as broken:
        broken.setattr("pinfold.push.steps.Push.pin", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, _ = push()
    client = api(tmp_path, port)
    assert code == 130 and "README.md" not in client.list_repo_files(NAME)
    ours = publishing(client)
    code, out, err = push()
    assert code == 0 and [pinned(out)] == ours == publishing(client), err
    assert "README.md" in client.list_repo_files(NAME)


STEPS = {
    "stage": "pinfold.push.prepare.stage",
    "audit": "pinfold.push.prepare.audit",
    "reference": "pinfold.verify.verify.reference",
    "load": "pinfold.verify.verify.staged_load",
    "create": "pinfold.remote.client.Remote.create",
    "upload": "huggingface_hub.HfApi.create_commit",
    "download": "pinfold.remote.client.Remote.snapshot",
    "load from the Hub": "pinfold.verify.verify.published_load",
}


# before the commit, while it is made, and after it; the steps between them in the slow tests
QUICK = ("stage", "upload", "download")


@pytest.mark.parametrize("where", [pytest.param(s, marks=() if s in QUICK else pytest.mark.slow) for s in STEPS])
def test_ctrl_c_leaves_nothing_half_written(quick, serve, push, tmp_path, port, monkeypatch, where):
    serve()
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with monkeypatch.context() as interrupted:
        interrupted.setattr(STEPS[where], lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
        code, _, err = push()
    assert code == 130 and "Traceback" not in err
    assert list(temporary.iterdir()) == []
    client = api(tmp_path, port)
    if client.repo_exists(NAME):
        whole(client)
    code, out, err = push()
    assert code == 0, err
    assert publishing(client) == [pinned(out)]


def test_a_real_ctrl_c_ends_the_server_and_the_fenced_process_too(tiny_folder, tiny_checkpoint, tmp_path):
    (tmp_path / "tmp").mkdir()
    environment = clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT), TMPDIR=str(tmp_path / "tmp"))
    command = [sys.executable, "-u", "-m", "pinfold", "push", str(tiny_folder), "--checkpoint", str(tiny_checkpoint)]
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=listen_to_ctrl_c,
    )  # fmt: skip
    seen = ""
    while "verify" not in seen:
        seen += process.stdout.read(1)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err and "Ctrl-C" in err
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not (tmp_path / "runs" / "hub" / "server.json").exists()
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path) not in left


def in_namespace(script, tmp_path, **environment):
    """A shell that may mount: how a machine with a full or read-only disk is made without being root."""
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
    return subprocess.run(
        command,
        env=clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT), **environment),
        capture_output=True,
        text=True,
    )


needs_mount = pytest.mark.skipif(not fence.available().has_mounts, reason="no mount namespace here")


@pytest.mark.slow
@needs_mount
@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("-o size=8k tmpfs {tmp}/full; export TMPDIR={tmp}/full", "No space left on device"),
        ("-o size=1m,ro tmpfs {tmp}/full; cd {tmp}/full", "Read-only file system"),
    ],
)
def test_a_disk_that_is_full_or_read_only_is_one_line(tiny_folder, tiny_checkpoint, tmp_path, mount, words):
    (tmp_path / "full").mkdir()
    (tmp_path / "cwd").mkdir()
    script = f"cd {tmp_path}/cwd; mount -t tmpfs {mount.format(tmp=tmp_path)}; "
    script += f"exec {sys.executable} -m pinfold push {tiny_folder} --checkpoint {tiny_checkpoint}"
    done = in_namespace(script, tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert words in done.stderr or "GB free" in done.stderr


def test_the_deadline_of_the_client_is_put_back(monkeypatch):
    from huggingface_hub.utils import get_session

    with contextlib.suppress(AttributeError):
        before = get_session().timeout
        with remote.patience():
            assert get_session().timeout.read == remote.DEADLINE
        assert get_session().timeout == before


@pytest.mark.slow
def test_a_tiny_change_is_a_new_commit(quick, serve, push, tmp_path, port):
    serve()
    first = pinned(push()[1])
    (tmp_path / "tiny_model" / "layers_tiny.py").write_text(tiny.LAYERS + "# a comment\n")
    second = pinned(push()[1])
    client = api(tmp_path, port)
    assert publishing(client) == [second, first] and first != second
