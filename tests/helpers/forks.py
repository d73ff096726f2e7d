"""Run many jobs of the sandbox in one warm process a transformers version, each in a fork.

The real script and the real request; what is left out is the sandbox, and five seconds of imports a job. For tests
whose subject is not the sandbox: the fixture ``forked`` of conftest.py puts it in the sandbox's place.
"""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from helpers.processes import clean_environment
from pinfold.fence import process as fence
from pinfold.fence.handed import Handed

SERVER = """
import importlib.util, json, os, sys

specification = importlib.util.spec_from_file_location("inside", sys.argv[1])
inside = importlib.util.module_from_spec(specification)
specification.loader.exec_module(inside)
inside.gather()
import torch
import transformers
from huggingface_hub import constants
from transformers import AutoConfig, AutoModel, AutoTokenizer, GenerationMixin, PreTrainedModel
import transformers.modeling_outputs, _inside.verify.load, _inside.verify.reference
torch.set_num_threads(1)


def use_cache(home):
    '''Every module has read its place from HF_HOME when it was imported.'''
    before, after = constants.HF_HUB_CACHE, os.path.join(home, "hub")
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("huggingface_hub", "transformers"):
            for key, value in list(vars(module).items()):
                if isinstance(value, str) and value == before:
                    setattr(module, key, after)


print("ready", flush=True)
for line in sys.stdin:
    request, hub_home = json.loads(line)
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if hub_home:
            use_cache(hub_home)
        inside.main(request)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""

READERS = """
import json, os, sys, traceback
import torch
import transformers
from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers.utils import HF_MODULES_CACHE
torch.set_num_threads(1)

for line in sys.stdin:
    code, arguments, home = json.loads(line)
    child = os.fork()
    if child == 0:
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{home}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        for name, module in list(sys.modules.items()):  # every module has read it when it was imported
            if name.startswith("transformers.") and vars(module).get("HF_MODULES_CACHE") == HF_MODULES_CACHE:
                module.HF_MODULES_CACHE = f"{home}/modules"
        sys.argv = ["-c", *arguments]
        try:
            exec(code, {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        sys.stdout.flush()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Readers:
    """`python -c CODE` of readers who load a directory, each in a fork of one process with transformers in it."""

    def __init__(self, home: Path):
        environment = clean_environment(home, HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", READERS], env=environment, cwd=home, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, code: str, home: Path, *arguments: object) -> subprocess.CompletedProcess:
        """What the code did; ``home`` is the reader's, and keeps the modules that were loaded."""
        home.mkdir(exist_ok=True)
        self.process.stdin.write(json.dumps([code, [str(a) for a in arguments], str(home)]) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return subprocess.CompletedProcess(arguments, code, (home / "out").read_text(), (home / "err").read_text())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


class Forks:
    """Stands in for fence.sandboxed; several threads may call it."""

    def __init__(self, home: Path):
        self.home = home
        self.servers: dict[Path | None, subprocess.Popen] = {}
        self.lock = threading.Lock()

    def _server(self, overlay: Path | None) -> subprocess.Popen:
        if overlay not in self.servers:
            home = Path(tempfile.mkdtemp(dir=self.home))
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_", "PYTHON"))}
            environment |= {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
            environment |= {"OMP_NUM_THREADS": "1"} | ({"PYTHONPATH": str(overlay)} if overlay else {})
            (home / "server.py").write_text(SERVER)
            script = Path(__file__).parents[2] / "pinfold" / "fenced" / "main.py"
            with open(home / "log", "w") as log:
                self.servers[overlay] = server = subprocess.Popen(
                    [sys.executable, str(home / "server.py"), str(script)],
                    env=environment, cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                )  # fmt: skip
            assert server.stdout.readline() == "ready\n", (home / "log").read_text()
        return self.servers[overlay]

    @contextlib.contextmanager
    def sandboxed(self, request, work, *, visible, writable=(), overlay=None, hub_home=None, **limits):
        """fence.sandboxed's arguments and outcome."""
        scratch = Path(tempfile.mkdtemp(dir=work))
        directory = scratch / "handed"
        directory.mkdir()
        request = {**request, "answer": str(directory / "answer.json"), "handed": str(directory)}
        (scratch / "request.json").write_text(json.dumps(request))
        with self.lock:
            server = self._server(overlay)
            server.stdin.write(json.dumps([str(scratch / "request.json"), hub_home and str(hub_home)]) + "\n")
            server.stdin.flush()
            code = server.stdout.readline().strip()
        assert code == "0", f"the job ended with {code}"
        with Handed(directory) as handed:
            handed.files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.glob("*.*")}
            yield fence.Outcome(json.loads((directory / "answer.json").read_text()), handed)

    def close(self) -> None:
        """End the processes."""
        for server in self.servers.values():
            server.kill()
            server.wait()


@contextlib.contextmanager
def in_forks(forks: Forks):
    """The fixture ``forked`` for a fixture of a whole file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fence, "sandboxed", forks.sandboxed)
        yield
