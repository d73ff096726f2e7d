"""The sandbox: what a script in it sees and can write to, and in which order its mounts are made."""

import ast
import json
import os
import shlex
import shutil
import socket
import tempfile
from pathlib import Path

import pytest

from pinfold.common.errors import UserError
from pinfold.fence import mounts
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
        answer = fence.run_sandboxed(
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
        said = fence.run_sandboxed(request, tmp_path / "work", script=tmp_path / "script.py", visible=[])
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
        fence.run_sandboxed({}, tmp_path / "work", script=tmp_path / "script.py", visible=[])


@needs_read_only
def test_what_it_is_given_to_read_stays_as_it_is_even_inside_the_working_directory(try_to_write):
    staged = try_to_write.work / "staged"
    said = try_to_write(staged / "file", staged / "new")
    assert set(said.values()) == {"Read-only file system"} and [p.name for p in staged.iterdir()] == ["file"]


def test_every_machine_says_how_far_it_fences():
    words = {fence.Fence(flags, ro).describe() for flags in ((), *fence.NAMESPACES) for ro in (False, True)}
    assert len(words) >= 5 and sum("disk read-only" in w for w in words) == 2
    assert json.dumps(sorted(words)).count("partly sandboxed") == 1


LISTING = """
import json, os, sys

request = json.load(open(sys.argv[1]))
inside = {each: os.listdir(os.path.join(request["package"], each)) for each in os.listdir(request["package"])}
json.dump({"failures": [], "inside": inside}, open(request["answer"], "w"))
"""


@needs_read_only
def test_of_pinfold_it_sees_the_folder_fenced_and_no_other(tmp_path, monkeypatch):
    package = fence.SCRIPT.parents[1]
    monkeypatch.setenv("PYTHONPATH", str(package.parent))  # as a developer has it; the checkout is visible then
    (tmp_path / "script.py").write_text(LISTING)
    (tmp_path / "work").mkdir()
    answer = fence.run_sandboxed(
        {"package": str(package)}, tmp_path / "work", script=tmp_path / "script.py", visible=[fence.SCRIPT.parent]
    )
    assert package.name == "pinfold" and list(answer["inside"]) == ["fenced"]
    assert set(answer["inside"]["fenced"]) == set(os.listdir(package / "fenced"))


@pytest.mark.parametrize("path", sorted(fence.SCRIPT.parent.rglob("*.py")), ids=lambda path: path.name)
def test_what_runs_in_the_sandbox_imports_nothing_of_pinfold(path):
    depth = len(path.relative_to(fence.SCRIPT.parent).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""] if not node.level else []
            assert node.level <= depth, f"line {node.lineno} leaves the folder"
        assert not [name for name in names if name.split(".")[0] == "pinfold"], f"line {node.lineno}"


def steps(mounts_made, *kinds):
    return [(mount.kind, str(mount.target)) for mount in mounts_made if not kinds or mount.kind in kinds]


@pytest.fixture
def disk(tmp_path):
    """A home with a package directory, and a work directory elsewhere."""
    for name in ("home/.cache", "home/env/lib/pinfold/fenced", "tmp/job/scratch", "data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "home" / "python").touch()
    return tmp_path


def planned(disk, needed=("home/env", "home/python", "home/env/lib/pinfold/fenced", "tmp/job", "data")):
    scratch = disk / "tmp" / "work" / "scratch"
    return mounts.plan(
        needed=[disk / name for name in needed],
        private=[disk / "home", disk / "tmp", disk / "home" / ".cache"],
        package=disk / "home" / "env" / "lib" / "pinfold",
        aside=scratch / "aside",
        writable=[scratch],
    )


def test_what_is_needed_is_held_aside_before_its_place_is_covered_and_put_back_after(disk):
    made = planned(disk)
    binds = [mount for mount in made if mount.kind == "bind"]
    covered = [
        made.index(mount) for mount in made if mount.kind == "tmpfs" and mount.target in (disk / "home", disk / "tmp")
    ]
    for name in ("home/env", "home/python", "tmp/job"):
        held, back = (next(m for m in binds if getattr(m, end) == disk / name) for end in ("source", "target"))
        assert held.target == back.source and made.index(held) < min(covered) and max(covered) < made.index(back)
    assert not [mount for mount in binds if disk / "data" in (mount.source, mount.target)]  # it was never hidden
    assert ("directory", str(disk / "home" / ".cache")) in steps(made)  # there, and empty
    assert ("file", str(disk / "home" / "python")) in steps(made)


def test_the_package_is_covered_after_what_contains_it_is_back_and_only_fenced_comes_back(disk):
    made, package = planned(disk), disk / "home" / "env" / "lib" / "pinfold"
    cover = made.index(next(mount for mount in made if mount.kind == "tmpfs" and mount.target == package))
    assert cover > made.index(next(m for m in made if m.kind == "bind" and m.target == disk / "home" / "env"))
    back = [mount.target for mount in made[cover:] if mount.kind == "bind" and mount.target != mount.source]
    assert back == [package / "fenced"]


def test_read_only_comes_last_and_leaves_the_writable_directories_alone(disk):
    made = planned(disk)
    scratch = disk / "tmp" / "work" / "scratch"
    assert made[-1] == mounts.Mount("read only", None, Path("/"), ("/proc", str(scratch)))
    own = made.index(mounts.Mount("bind", scratch, scratch, ("--bind",)))
    assert all(made.index(mount) < own for mount in made if mount.kind in ("tmpfs", "unmount", "file"))
    assert {mount.kind for mount in made[own + 1 :]} == {"bind if there", "read only"}
    assert [str(mount.target) for mount in made if mount.kind == "bind if there"] == list(mounts.KERNEL)


def test_every_held_path_is_let_go_again(disk):
    kinds = [(mount.kind, mount.target) for mount in planned(disk)]
    aside = disk / "tmp" / "work" / "scratch" / "aside"
    assert [target for kind, target in kinds if kind == "unmount"] == [mounts.HOLDER, aside]
    nothing_needed = mounts.hide({disk / "home"}, [disk / "data"], mounts.HOLDER)
    assert steps(nothing_needed) == [("tmpfs", str(disk / "home"))]


def test_names_with_spaces_and_quotes_are_one_word_of_the_shell():
    odd = Path("/a 'place'; rm -rf x")
    line = mounts.shell([mounts.Mount("bind", odd, odd, ("--bind",))]).splitlines()[-1]
    assert shlex.split(line) == ["mount", "--bind", str(odd), str(odd)]
