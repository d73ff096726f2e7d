"""The fence: what a script behind it can write to."""

import json
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from pinfold.common.errors import UserError
from pinfold.fence import process as fence

SCRIPT = """
import json, os, sys

request, said = json.load(open(sys.argv[1])), {}
os.system("mount -o remount,rw / 2>/dev/null; mount -o remount,bind,rw / 2>/dev/null; umount / 2>/dev/null")
for path in request["paths"]:
    try:
        open(path, "w").close()
        said[path] = "written"
    except OSError as error:
        said[path] = error.strerror
said["failures"] = []
json.dump(said, open(request["answer"], "w"))
"""

needs_read_only = pytest.mark.skipif(not fence.available().read_only, reason="no mount namespace on this machine")


@pytest.fixture
def try_to_write(tmp_path):
    """try_to_write(paths) -> path -> "written" or the reason why not. One directory has a space in its name."""
    work = tmp_path / "a place"
    (work / "staged").mkdir(parents=True)
    (work / "staged" / "file").touch()
    (work / "made").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)

    def run(*paths):
        request = {"paths": [str(p) for p in paths]}
        answer = fence.run(
            request, work, script=tmp_path / "script.py", visible=[work / "staged"], writable=[work / "made"]
        )
        return {path: word for path, word in answer.items() if path != "failures"}

    run.work, run.outside = work, tmp_path
    return run


@needs_read_only
def test_only_the_working_directory_can_be_written_to(try_to_write):
    work, outside = try_to_write.work, try_to_write.outside
    free, kernel = work / "made" / "free", "/proc/sys/kernel/core_pattern"
    before = Path(kernel).read_text()
    said = try_to_write(free, work / "x", outside / "x", "/tmp/x", "/dev/shm/x", "/run/x", "/x", "/dev/null", kernel)
    assert {path for path, word in said.items() if word == "written"} == {str(free), "/dev/null"}
    assert free.exists() and not (outside / "x").exists() and Path(kernel).read_text() == before


SOCKET = """
import json, os, socket, sys

request = json.load(open(sys.argv[1]))
client = socket.socket(socket.AF_UNIX)
try:
    client.connect(request["socket"])
    said = "connected"
except OSError as error:
    said = error.strerror
listed = sorted(os.listdir("/tmp"))
json.dump({"failures": [], "said": said, "listed": listed}, open(request["answer"], "w"))
"""


@needs_read_only
def test_sockets_and_files_of_other_programs_are_out_of_reach(tmp_path):
    place = Path(tempfile.mkdtemp(prefix="agent-", dir="/tmp"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place / "agent.sock"))
        server.listen()
        (tmp_path / "script.py").write_text(SOCKET)
        (tmp_path / "work").mkdir()
        request = {"socket": str(place / "agent.sock")}
        said = fence.run(request, tmp_path / "work", script=tmp_path / "script.py", visible=[])
    shutil.rmtree(place)
    assert said["said"] == "No such file or directory" and place.name not in said["listed"]


@pytest.mark.parametrize(
    "written",
    ["'{not json'", "'[]'", "'[' * 200000", "'{}'", "'{\"failures\": 5}'", "'{\"failures\": [5]}'", None],
)
def test_an_answer_that_the_folders_code_forged_is_one_line(tmp_path, written):
    place = 'os.path.join(os.environ["TMPDIR"], "answer.json")'
    body = f"open({place}, 'w').write({written})" if written else f"os.symlink('/dev/zero', {place})"
    (tmp_path / "script.py").write_text(f"import os\n{body}\nprint('\\x1b[31mred')\n")
    (tmp_path / "work").mkdir()
    with pytest.raises(UserError, match=r"gave no answer: \\x1b\[31mred"):
        fence.run({}, tmp_path / "work", script=tmp_path / "script.py", visible=[])


@needs_read_only
def test_what_it_is_given_to_read_stays_as_it_is_even_inside_the_working_directory(try_to_write):
    staged = try_to_write.work / "staged"
    said = try_to_write(staged / "file", staged / "new")
    assert set(said.values()) == {"Read-only file system"} and [p.name for p in staged.iterdir()] == ["file"]


def test_every_machine_says_how_far_it_fences():
    words = {fence.Fence(flags, ro).describe() for flags in ((), *fence.NAMESPACES) for ro in (False, True)}
    assert len(words) >= 5 and sum("disk read-only" in w for w in words) == 2
    assert json.dumps(sorted(words)).count("half fenced") == 1
