"""`pinfold hub` and `pinfold hub token`: what they print, how they are found, and the mistakes they explain."""

import functools
import hashlib
import hmac
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys

import pytest
from helpers.hub.hub_support import ROOT, Server
from helpers.processes import run_here

from pinfold.common.errors import UserError
from pinfold.hub.server.tokens import Tokens


def pinfold(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pinfold", "hub", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT)


def refused(*arguments: str, run=pinfold) -> str:
    """The one line that a mistake is answered with."""
    run = run(*arguments)
    assert run.returncode == 2, run
    assert run.stdout == "" and run.stderr.count("\n") == 1, run.stderr
    return run.stderr


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("hub") / "my data") as running:
        yield running


def test_it_prints_the_lines_to_paste(tmp_path):
    server = Server(tmp_path / "my data")
    server.process.terminate()  # at once, before its event loop has handlers of its own
    text = server.process.stdout.read()
    assert server.stop() == 0
    assert f"export HF_ENDPOINT={server.url} HF_HUB_DISABLE_IMPLICIT_TOKEN=1\n" in text
    push = f"export HF_ENDPOINT={server.url} HF_HUB_DISABLE_XET=1 HF_TOKEN=$(pinfold hub token NAME --role write"
    assert f"{push} --data '{tmp_path}/my data')\n" in text


def test_it_is_found_through_its_file_and_can_prove_who_it_is(server):
    path = server.data / "server.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    session = json.loads(path.read_text())
    assert (session["pid"], session["port"], session["user"]) == (server.process.pid, server.port, "local")
    challenge = os.urandom(16).hex()
    proof = server.http("GET", f"/.well-known/pinfold?challenge={challenge}").json["proof"]
    assert proof == hmac.new(session["nonce"].encode(), challenge.encode(), hashlib.sha256).hexdigest()
    for bad in ("", "?challenge=", "?challenge=xyz", f"?challenge={'a' * 500}", "?challenge=%0a0123456789abcdef"):
        assert server.http("GET", f"/.well-known/pinfold{bad}").status == 400
    who = server.http("GET", "/api/whoami-v2", token=session["token"]).json
    assert who["name"] == "local" and who["auth"]["accessToken"]["role"] == "write"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_cleanly_and_its_session_token_dies_with_it(tmp_path, how):
    server = Server(tmp_path)
    token = json.loads((tmp_path / "server.json").read_text())["token"]
    assert server.http("GET", "/api/whoami-v2", token=token).status == 200
    assert server.stop(how) == 0
    assert not (tmp_path / "server.json").exists()
    assert "Traceback" not in server.read_log()
    with Server(tmp_path) as server:
        assert server.http("GET", "/api/whoami-v2", token=token).status == 401
        assert token not in "".join(each.read_text() for each in tmp_path.glob("*.json") if each.name != "server.json")


def test_a_server_that_was_killed_can_be_started_again(tmp_path):
    server = Server(tmp_path)
    server.stop(signal.SIGKILL)
    assert (tmp_path / "server.json").exists()
    with Server(tmp_path, port=server.port) as server:
        assert json.loads((tmp_path / "server.json").read_text())["pid"] == server.process.pid


def test_a_token_is_printed_alone_and_works_at_once(server):
    before = pinfold("--data", str(server.data), "token", "ann", "--role", "write")
    after = pinfold("token", "ann", "--data", str(server.data))
    for run, role in ((before, "write"), (after, "read")):
        assert run.returncode == 0, run.stderr
        token = run.stdout.removesuffix("\n")
        assert token and not any(each.isspace() for each in token)
        who = server.http("GET", "/api/whoami-v2", token=token).json
        assert (who["name"], who["auth"]["accessToken"]["role"]) == ("ann", role)
        assert token not in (server.data / "tokens.json").read_text()
    assert stat.S_IMODE((server.data / "tokens.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((server.data / "secret").stat().st_mode) == 0o600
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


def test_tokens_made_at_the_same_time_are_all_kept(tmp_path):
    program = "import sys; from pathlib import Path; from pinfold.hub.server.tokens import Tokens\n"
    program += "for _ in range(20): print(Tokens(Path(sys.argv[1])).create('me', 'read'))"
    command = [sys.executable, "-c", program, str(tmp_path)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]
    made = [token for run in runs for token in run.communicate()[0].split()]
    tokens = Tokens(tmp_path)
    assert len(made) == 60 and all(tokens.user(f"Bearer {token}").name == "me" for token in made)


def test_mistakes_are_explained_in_one_line(server, tmp_path):
    assert f"served already at {server.url}" in refused("--data", str(server.data), "--port", "0")
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        line = refused("--data", str(tmp_path / "data"), "--port", port)
        assert f"--port {port}" in line and "choose another" in line
    assert "ports are 0 to 65535" in refused("--data", str(tmp_path / "data"), "--port", "70000")
    (tmp_path / "a file").touch()
    for path in (tmp_path / "a file", tmp_path / "a file" / "data", "/proc/data"):
        assert "choose a directory" in refused("--data", str(path))
    assert "cannot be a user name" in refused("token", "../x", "--data", str(tmp_path / "data"))
    for name in ("a b", "-x", "", "api", "x" * 97, "a\nb", "é"):
        with pytest.raises(UserError, match="cannot be a user name"):
            Tokens(tmp_path).create(name, "read")
    assert "--fault" in refused("--data", str(tmp_path / "data"), "--fault", "nonsense")


@pytest.mark.parametrize("package", ["dulwich", "uvicorn", "starlette", "yaml"])
def test_a_missing_package_is_named_with_the_line_that_installs_it(tmp_path, package):
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError('no', name='{package}')")
    run = subprocess.run(
        [sys.executable, "-m", "pinfold", "hub", "--data", str(tmp_path / "data")],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert run.stderr == f"pinfold hub: hub needs the package {package}; run: pip install 'pinfold[hub]'\n"


def test_the_hub_imports_neither_the_rest_of_the_project_nor_anything_heavy():
    program = (
        "import sys, pinfold.hub.app, pinfold.hub.serve\n"
        "print(*[each for each in sys.modules if each.startswith('pinfold') or each in "
        "('torch', 'transformers', 'huggingface_hub', 'numpy')])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    others = {each for each in run.stdout.split() if not each.startswith("pinfold.hub")}
    assert {each for each in others if not re.match(r"pinfold\.(common|folder)\b", each)} == {"pinfold"}


def test_a_directory_of_somebody_elses_is_refused_and_left_alone(tmp_path):
    home = tmp_path / "home"
    for precious in ("tmp/thesis.tex", "repos/novel/draft.txt", "notes.txt"):
        (home / precious).parent.mkdir(parents=True, exist_ok=True)
        (home / precious).write_text("precious")
    (tmp_path / "only").mkdir()
    (tmp_path / "only" / "notes.txt").write_text("precious")
    for data in (home, tmp_path / "only", home / "tmp", home / "repos"):
        for action in ((), ("token", "me"), ("tokens",), ("gc", "--older-than", "0"), ("verify",)):
            before = sorted(data.rglob("*"))
            here = functools.partial(run_here, "hub") if action else pinfold  # a server would not end here
            assert "is not a data directory of a Hub" in refused("--data", str(data), *action, run=here)
            assert sorted(data.rglob("*")) == before
    assert "empty" in refused("--data", "")
    assert "empty" in refused("tokens", "--data", "")
    assert (home / "tmp/thesis.tex").read_text() == "precious"


@pytest.mark.slow
@pytest.mark.parametrize(
    "left", ["nothing", "a push's files", "an action's directories", "an import's", "an older version's"]
)
def test_a_data_directory_without_a_mark_is_taken_over(tmp_path, left):
    data = tmp_path / "data"
    with Server(data) as server:
        me = server.token("me")
        server.create("me/model", me)
    (data / "pinfold-hub").unlink()
    kept = left in ("an older version's", "an import's")
    if left == "an import's":
        for name in ("secret", "lock", "tokens.json", "tokens.lock"):
            (data / name).unlink()
    if not kept:
        for each in data.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    if left == "a push's files":
        (data / "users.lock").touch()
        (data / "started-for-pushes").touch()
    if left == "an action's directories":
        (data / "tmp").mkdir()
        (data / "repos").mkdir()
    with Server(data) as server:
        assert server.http("GET", "/api/models/me/model").status == (200 if kept else 401)
    assert (data / "pinfold-hub").exists()


@pytest.mark.slow
def test_an_address_that_is_none_is_one_line(tmp_path):
    data = ("--data", str(tmp_path / "data"))
    assert pinfold(*data, "token", "me").returncode == 0
    for host in ("é..x", "a" * 70, "", "256.1.1.1", "::zz"):
        assert "--host" in refused(*data, "--host", host, "--port", "0")
