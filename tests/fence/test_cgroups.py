"""Control groups of the kernel: one for a run, with each limit that can be had."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pinfold.fence import cgroups


def test_a_group_of_the_kernel_ends_what_takes_too_much_at_once():
    code = "import os, time\nx = [os.fork() for _ in range(3)]\ny = b'x' * (200 << 20)\ntime.sleep(5)"
    with cgroups.group(300 << 20, 50) as group:
        if "memory" not in group.limited:
            pytest.skip("this machine allows no control group that limits memory")
        process = subprocess.run([sys.executable, "-c", code], preexec_fn=group.enter, capture_output=True, timeout=60)
        assert group.ran_out_of_memory, process
    assert not any(directory.exists() for directory in group.directories)


@pytest.fixture
def second(tmp_path, monkeypatch):
    """A directory that looks like one of version 2: files of a group come and go with its directory."""
    real = Path.mkdir

    def mkdir(directory, *arguments, **more):
        real(directory, *arguments, **more)
        (directory / "cgroup.procs").touch()

    (tmp_path / "cgroup.controllers").write_text("memory pids\n")
    monkeypatch.setattr(cgroups, "_parents", lambda: dict.fromkeys(("memory", "pids"), tmp_path))
    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)
    return tmp_path


@pytest.mark.parametrize("refused", [None, "memory.max", "pids.max"])
def test_of_version_2_each_limit_that_can_be_set_holds(second, monkeypatch, refused):
    real = Path.write_text

    def write_text(path, *arguments, **more):
        if path.name == refused:
            raise OSError("this controller is not handed on")
        return real(path, *arguments, **more)

    monkeypatch.setattr(Path, "write_text", write_text)
    with cgroups.group(1 << 30, 40) as group:
        (directory,) = group.directories
        limits = {name: (directory / name).exists() for name in ("memory.max", "pids.max")}
        assert limits == {name: name != refused for name in limits}
        assert {f"{controller}.max" for controller in group.limited} == {name for name in limits if limits[name]}
        group.enter()
        assert (directory / "cgroup.procs").read_text() == str(os.getpid())
        real(directory / "cgroup.procs", "")
    assert not directory.exists()
