"""A directory in which the pages' commands run as a reader would run them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import ROOT, clean_environment

from pinfold.remote import destination


@pytest.fixture(scope="session")
def place(tmp_path_factory, resnet_demo):
    """A directory like a checkout after `make push`, with two accounts, and the Hub serving.

    Yields the directory, a function that runs shell lines in it, what the push printed, and the environment variables
    of a reader and of an owner of an account.
    """
    cwd = tmp_path_factory.mktemp("pages")
    resnet_demo.copy_to(cwd)
    for name in (
        "resnet_model",
        "bert_model",
        "decoder_model",
        "sentiment_model",
        "push.py",
        "README.md",
        "config.json",
    ):
        (cwd / name).symlink_to(ROOT / name)
    (cwd / "path" / "to").mkdir(parents=True)
    (cwd / "path" / "to" / "my_model").symlink_to(ROOT / "resnet_model")
    scripts = Path(sys.executable).parent  # what an activated environment has in front of PATH
    environment = clean_environment(
        cwd / "home", PYTHONPATH=str(ROOT), PATH=f"{scripts}{os.pathsep}{os.environ['PATH']}"
    )

    def shell(text, check=True, **more):
        done = subprocess.run(
            ["bash", "-euc", text], cwd=cwd, env=environment | more, capture_output=True, text=True, timeout=400
        )
        assert done.returncode == 0 or not check, f"{text}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        return done

    shutil.copytree(cwd / "runs" / "resnet-digits", cwd / "path" / "to" / "checkpoint")
    token = shell("pinfold hub token me --role write").stdout.strip()
    with destination.running(cwd / "runs" / "hub") as server:
        address = {"HF_ENDPOINT": f"http://127.0.0.1:{server['port']}"}
        yield cwd, shell, resnet_demo.printed, address, address | {"HF_TOKEN": token}
