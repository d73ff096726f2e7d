"""The page as a Space: started with gradio in an environment of its own, and used by the page's own browser tests.

torch and what else the Space asks for are taken from this environment, which has the same pinned releases.
"""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
import venv
from pathlib import Path

import pytest
import torch
from helpers.builder.page import needs_a_browser
from helpers.processes import ROOT, clean_environment, run_here

from pinfold.builder.server.space import GRADIO, requirements

needs_a_browser()
pytestmark = pytest.mark.sweep


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """Address of a running Space."""
    work = tmp_path_factory.mktemp("space")
    assert run_here("builder", "--space", str(work / "my_space")).returncode == 0
    venv.create(work / "venv", with_pip=True)
    python = work / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", f"gradio=={GRADIO}"], check=True)
    packages = next((work / "venv" / "lib").glob("python*/site-packages"))
    (packages / "others.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")  # behind what the Space has itself
    environment = clean_environment(work / "home", GRADIO_ANALYTICS_ENABLED="False", OMP_NUM_THREADS="1")
    environment.pop("PYTHONPATH", None)
    process = subprocess.Popen(
        [python, "app.py"], cwd=work / "my_space", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**environment, "GRADIO_SERVER_PORT": "7931"},
    )  # fmt: skip
    try:
        for line in process.stdout:
            if address := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        wait_for(f"{address[0]}/api/schema")
        yield address[0]
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(url, timeout=60).read()
            return
        except urllib.error.URLError:
            assert time.monotonic() < deadline
            time.sleep(1)


def test_the_pages_browser_tests_pass_in_a_space(space):
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--builder-url", space, "-m", "",
         str(ROOT / "tests/builder/test_builder_page.py")],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=900,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]


def test_a_space_opens_no_files_of_its_machine(space):
    request = urllib.request.Request(
        f"{space}/api/import", b'{"folder": "/etc"}', {"Content-Type": "application/json"}
    )  # fmt: skip
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 400 and b"opens no folders" in refused.value.read()


def test_everything_that_the_space_asks_for_is_pinned():
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in requirements())
