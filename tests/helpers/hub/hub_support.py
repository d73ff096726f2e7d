"""The embedded Hub as a subprocess, real clients of both generations as subprocesses, and bare HTTP for bad input."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pinfold.fence.overlays import make_overlay
from pinfold.hub import serve
from pinfold.hub.admin import data_directory
from pinfold.hub.options import Options
from pinfold.hub.server.tokens import Tokens
from pinfold.hub.storage.repository import FILE
from pinfold.hub.storage.store import Store

ROOT = Path(__file__).parents[3]
GENERATIONS = ["huggingface_hub 2.x", "huggingface_hub 0.x", "huggingface_hub 1.x"]
OVERLAYS = dict(zip(GENERATIONS[1:], ("4.57.6", "5.0.0"), strict=True))  # transformers that bring the others
# for a test: the newest client always, the oldest among the slow tests, the one between them in the sweep
MARKS = ((), pytest.mark.slow, pytest.mark.sweep)
EACH_GENERATION = [pytest.param(g, marks=m) for g, m in zip(GENERATIONS, MARKS, strict=True)]


class Server:
    """`pinfold hub` on a free port, as a user starts it."""

    def __init__(self, data: Path, *options: str, port: int = 0, wrap: tuple[str, ...] = (), **popen):
        self.data = data
        command = [sys.executable, "-m", "pinfold", "hub", "--data", str(data), "--port", str(port), *options]
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the server
        self.process = subprocess.Popen(
            [*wrap, *command], stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT, **popen
        )
        self.greeting = self.process.stdout.readline()
        assert "listening on http://" in self.greeting, self.read_log()
        self.url = self.greeting.split()[4].rstrip(",")
        self.port = int(self.url.rpartition(":")[2])

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *exc) -> None:
        self.stop()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.process.stdout.close()
        return self.process.wait(timeout=20)

    def cpu_seconds(self) -> float:
        """What the server has computed so far; the wall clock counts what else the machine does."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def read_log(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def token(self, name: str, role: str = "write") -> str:
        return Tokens(self.data).create(name, role)

    def http(self, method: str, path: str, body=None, token: str | None = None, **headers: str) -> "Reply":
        """One request as given: nothing is quoted, followed or retried. A dict is sent as JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        if isinstance(body, dict):
            body = json.dumps(body)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        try:
            connection.request(method, path, body, {name.replace("_", "-"): each for name, each in headers.items()})
            response = connection.getresponse()
            return Reply(response.status, response.headers, response.read())
        finally:
            connection.close()

    def create(self, repo: str, token: str, **fields) -> None:
        namespace, _, name = repo.partition("/")
        request = {"name": name, "organization": namespace, **fields}
        assert self.http("POST", "/api/repos/create", request, token).status == 200

    def commit(self, repo: str, token: str, *lines: dict, revision="main", query="", **header) -> "Reply":
        """Post a commit made of these operations; a file is {"file": path, "content": bytes}."""
        head = {"key": "header", "value": {"summary": "test", **header}}
        body = "\n".join(json.dumps(each) for each in (head, *lines))
        return self.http("POST", f"/api/models/{repo}/commit/{revision}{query}", body, token)

    def head(self, repo: str, token: str | None = None, revision: str = "main") -> str:
        return self.http("GET", f"/api/models/{repo}/revision/{revision}", token=token).json["sha"]

    def history(self, repo: str, token: str | None = None) -> list[str]:
        """Titles, newest first."""
        return [each["title"] for each in self.http("GET", f"/api/models/{repo}/commits/main", token=token).json]

    def batch(self, repo: str, token: str, content: bytes) -> "Reply":
        request = {"operation": "upload", "objects": [{"oid": sha256(content), "size": len(content)}]}
        return self.http("POST", f"/{repo}.git/info/lfs/objects/batch", request, token)

    def upload(self, repo: str, token: str, content: bytes) -> None:
        reply = self.put(self.upload_url(repo, token, content), content)
        assert reply.status == 200, reply

    def upload_url(self, repo: str, token: str, content: bytes) -> str:
        return self.batch(repo, token, content).json["objects"][0]["actions"]["upload"]["href"]

    def put(self, url: str, content: bytes) -> "Reply":
        parts = urlsplit(url)
        return self.http("PUT", f"{parts.path}?{parts.query}", content)


class ThreadServer(Server):
    """The same server in a thread of the tests' own process, for tests of neither signals nor crashes nor logs."""

    def __init__(self, data: Path, **options):
        self.data = data
        self.stack = contextlib.ExitStack()
        data_directory.prepare(data)
        self.stack.enter_context(data_directory.claimed(data))
        listener = self.stack.enter_context(serve.listening("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server, _ = serve.prepared_server(Options(data, quiet=True, **options), self.port)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.thread.start()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.server.should_exit = True
        self.thread.join(timeout=20)
        self.stack.close()
        return 0


def seed(data: Path, repo_id: str, files: dict[str, str | bytes], *titles: str) -> None:
    """Commits with these titles, all of these files, written as the server does but without waiting for the disk."""
    repo = Store(data).find("models", repo_id)
    first = tip = repo.resolve("main")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        contents = {path: each.encode() if isinstance(each, str) else each for path, each in files.items()}
        tree = repo.write_tree({path: (FILE, repo.write_blob(content)) for path, content in contents.items()})
        for title in titles:
            tip = repo.write_commit(tree, tip, repo.namespace, title)
        repo.move_ref("refs/heads/main", first, tip)


class Reply:
    def __init__(self, status: int, headers, content: bytes):
        self.status, self.headers, self.content = status, headers, content

    @property
    def json(self):
        return json.loads(self.content)

    @property
    def code(self) -> str | None:
        return self.headers["X-Error-Code"]

    def __repr__(self) -> str:
        return f"{self.status} {dict(self.headers)} {self.content[:300]!r}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file(path: str, content: bytes | str) -> dict:
    """A regular file as a line of a commit."""
    content = base64.b64encode(content.encode() if isinstance(content, str) else content).decode()
    return {"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}


def large(path: str, content: bytes) -> dict:
    """A large file as a line of a commit."""
    return {
        "key": "lfsFile",
        "value": {"path": path, "algo": "sha256", "oid": sha256(content), "size": len(content)},
    }


def environment(server: Server, token: str | None, home: Path, generation: str = GENERATIONS[0]) -> dict[str, str]:
    """What a user exports before calling a client, and nothing of the developer's own login."""
    foreign = ("HF_", "HUGGING", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    kept |= {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    kept |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    if token:
        kept["HF_TOKEN"] = token
    if version := OVERLAYS.get(generation):
        kept["PYTHONPATH"] = str(make_overlay(version, ROOT / "runs" / "overlays"))
    return kept


def user_of(generation: str) -> str:
    """A namespace of its own for each generation."""
    return {"2": "new", "0": "old", "1": "middle"}[generation.split()[1][0]]


def client(server: Server, token: str | None, home: Path, script: str, generation: str = GENERATIONS[0]):
    """Run a script in a fresh process with huggingface_hub imported; returns what it assigned to `result`."""
    program = f"""
import json, os, sys
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError, EntryNotFoundError
assert huggingface_hub.__version__.startswith({generation.split()[1].rstrip("x")!r})
api = HfApi()
def add(path, content): return CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)
{script}
print("RESULT" + json.dumps(result))
"""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(server, token, home, generation),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.rpartition("RESULT")[2])
