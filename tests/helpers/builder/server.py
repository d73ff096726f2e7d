"""A builder's server in a process of its own, and its addresses."""

import contextlib
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

from helpers.processes import ROOT, clean_environment


class Server:
    """A running `pinfold builder`."""

    def __init__(self, process: subprocess.Popen, address: str, output: Path) -> None:
        self.process, self.address, self.output = process, address, output

    def send(self, path: str, value: object = None, headers: dict | None = None, raw: bytes | None = None):
        """(status, text) of one request; GET where nothing is sent."""
        data = raw if raw is not None else None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(
            self.address + path, data, {"Content-Type": "application/json", **(headers or {})}
        )
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ask(self, path: str, value: object = None) -> dict:
        status, text = self.send(path, value)
        assert status == 200, text
        return json.loads(text)

    def events(self, path: str, value: object) -> list[dict]:
        """All lines of a stream."""
        status, text = self.send(path, value)
        assert status == 200, text
        return [json.loads(line) for line in text.splitlines()]


@contextlib.contextmanager
def serving(output: Path, *arguments: str):
    """Start one at a free port, and end it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pinfold", "builder", "--port", "0", "--output", str(output), *arguments],
        cwd=output.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=clean_environment(output.parent / "home", PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"),
    )  # fmt: skip
    try:
        for line in process.stdout:
            if address := re.search(r"http://[\w.:\[\]]+", line):
                break
        else:
            raise AssertionError(process.stderr.read())
        yield Server(process, address[0], output)
    finally:
        process.terminate()
        process.communicate(timeout=30)
