"""Run many jobs of verification in one warm process a transformers version, each in a fork of its own.

The real script and the real request; what is left out is the fence and five seconds of imports a job.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

SERVER = """
import importlib.util, json, os, sys

specification = importlib.util.spec_from_file_location("inside", sys.argv[1])
inside = importlib.util.module_from_spec(specification)
specification.loader.exec_module(inside)
inside.gather()
import torch
import transformers
from transformers import AutoConfig, AutoModel, GenerationMixin, PreTrainedModel
import transformers.modeling_outputs, _inside.verify.load
torch.set_num_threads(1)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        inside.main(json.loads(line))
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""


class Forks:
    """Stands in for fence.run."""

    def __init__(self, home: Path):
        self.home, self.servers = home, {}

    def _server(self, overlay):
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

    def run(self, request, work, *, visible, writable=(), overlay=None, **limits) -> dict:
        """fence.run's arguments and answer."""
        server, scratch = self._server(overlay), Path(tempfile.mkdtemp(dir=work))
        (scratch / "request.json").write_text(json.dumps({**request, "answer": str(scratch / "answer.json")}))
        server.stdin.write(json.dumps(str(scratch / "request.json")) + "\n")
        server.stdin.flush()
        code = server.stdout.readline().strip()
        assert code == "0", f"the job ended with {code}"
        return json.loads((scratch / "answer.json").read_text())

    def close(self) -> None:
        """End the processes."""
        for server in self.servers.values():
            server.kill()
            server.wait()
