"""What several test files share: embedded Hubs, overlays of older transformers, and the command line."""

import collections
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import demos, tiny
from helpers.forks import Forks
from helpers.processes import ROOT, clean_environment

from pinfold.fence import overlays
from pinfold.fence import process as fence
from pinfold.remote import destination
from pinfold.verify import verify

DURATIONS = ROOT / "tests" / "durations.json"


def pytest_addoption(parser):
    parser.addoption(
        "--save-durations", action="store_true", help="write the seconds of each file, to order the next run"
    )


def pytest_configure():
    """Each test's directory has a Hub of its own; the one of whoever runs the tests stays as it is.

    In the environment, so that every process that a test starts gets it too.
    """
    os.environ["PINFOLD_HUB"] = "runs/hub"


def pytest_collection_modifyitems(items):
    """The longest files first: a worker that gets one at the end keeps all waiting."""
    seconds = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    items.sort(key=lambda item: -seconds.get(item.path.relative_to(ROOT).as_posix(), 0))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    if not config.getoption("--save-durations"):
        return
    seconds = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    measured = collections.Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "nodeid"):
                measured[report.nodeid.split("::")[0]] += report.duration
    seconds |= {file: round(total) for file, total in measured.items() if total >= 1}
    DURATIONS.write_text(json.dumps(dict(sorted(seconds.items())), indent=1) + "\n")


@pytest.fixture(scope="module")
def browser():
    """Chromium for the tests of one file.

    Not for the session: while Playwright runs, its event loop counts as running, and whatever else in the process
    starts a loop fails, Playwright itself too.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium on the PATH")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch, tmp_path_factory):
    """Neither a token nor an endpoint of whoever runs the tests reaches them."""
    for name in [n for n in os.environ if n.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def quick(monkeypatch):
    """Skip the sandboxed processes."""
    hashes = {"AutoModel": "0", "AutoModelForSequenceClassification": "0"}
    answer = {"hashes": hashes, "formula": {}, "transformers": "5.0.0", "checks": {"D01": "ok"}}
    made = {"threads": 1}
    monkeypatch.setattr(verify, "reference", lambda *a, **k: verify.Reference({}, hashes, 410, a[1], made))
    monkeypatch.setattr(verify, "staged_load", lambda *a, **k: answer)
    monkeypatch.setattr(verify, "published_load", lambda *a, **k: answer)


@pytest.fixture(scope="session")
def forks(tmp_path_factory):
    """Warm processes that do the sandbox's jobs, one for each transformers version."""
    running = Forks(tmp_path_factory.mktemp("forks"))
    yield running
    running.close()


@pytest.fixture
def forked(forks, monkeypatch):
    """Jobs run in forks of a warm process instead of the sandbox: for tests whose subject is not the sandbox."""
    monkeypatch.setattr(fence, "sandboxed", forks.sandboxed)


@pytest.fixture(scope="session")
def overlay():
    """overlay("4.57.6") -> the directory with that transformers version, made when it is missing."""
    return lambda version: overlays.make_overlay(version, ROOT / "runs" / "overlays")


@pytest.fixture
def pinfold(tmp_path):
    """Run the command line in a directory of its own: pinfold("push", ...) -> CompletedProcess."""

    def run(*arguments, cwd=None, overlay=None, timeout=240, **environment):
        path = os.pathsep.join(str(p) for p in (overlay, ROOT) if p)
        return subprocess.run(
            [sys.executable, "-m", "pinfold", *map(str, arguments)],
            cwd=cwd or tmp_path,
            env=clean_environment(tmp_path / "home", PYTHONPATH=path, **environment),
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory) -> Path:
    """A model folder outside the repository."""
    return tiny.write_folder(tmp_path_factory.mktemp("outside") / "tiny_model")


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_folder, tmp_path_factory) -> Path:
    """A checkpoint of it, with three labels."""
    labels = {0: "no", 1: "perhaps", 2: "yes"}
    return tiny.save_checkpoint(tiny_folder, tmp_path_factory.mktemp("checkpoints") / "tiny-three", id2label=labels)


@pytest.fixture(scope="session")
def resnet_demo(tmp_path_factory) -> demos.Demo:
    """The demo of `make push`, made once for all workers; copy_to before anything is changed in it."""
    base = tmp_path_factory.getbasetemp()
    return demos.resnet_demo(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    """An embedded Hub that serves for the whole session: its server.json, with "url" and "data" added."""
    data = tmp_path_factory.mktemp("hub") / "data"
    with destination.running(data) as server:
        yield {**server, "url": f"http://127.0.0.1:{server['port']}", "data": data}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """`pinfold hub` as a user starts it, for one file of tests."""
    from helpers.hub.hub_support import Server

    with Server(tmp_path_factory.mktemp("hub") / "data") as running:
        yield running
