"""The fence: what a script behind it can write to."""

import json

import pytest

from pinfold.publish import fence

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
json.dump(said, open(request["answer"], "w"))
"""

needs_read_only = pytest.mark.skipif(not fence.available().read_only, reason="no mount namespace on this machine")


@pytest.fixture
def try_to_write(tmp_path):
    """try_to_write(paths) -> path -> "written" or the reason why not. One directory has a space in its name."""
    work = tmp_path / "a place"
    (work / "staged").mkdir(parents=True)
    (work / "staged" / "file").touch()
    (tmp_path / "script.py").write_text(SCRIPT)

    def run(*paths):
        request = {"paths": [str(p) for p in paths]}
        return fence.run(tmp_path / "script.py", request, work, visible=[work / "staged"])

    run.work, run.outside = work, tmp_path
    return run


@needs_read_only
def test_only_the_working_directory_can_be_written_to(try_to_write):
    work, outside = try_to_write.work, try_to_write.outside
    said = try_to_write(work / "free", outside / "x", "/tmp/x", "/dev/shm/x", "/x", "/dev/null")
    assert {path for path, word in said.items() if word == "written"} == {str(work / "free"), "/dev/null"}
    assert (work / "free").exists() and not (outside / "x").exists()


@needs_read_only
def test_what_it_is_given_to_read_stays_as_it_is_even_inside_the_working_directory(try_to_write):
    staged = try_to_write.work / "staged"
    said = try_to_write(staged / "file", staged / "new")
    assert set(said.values()) == {"Read-only file system"} and [p.name for p in staged.iterdir()] == ["file"]


def test_every_machine_says_how_far_it_fences():
    words = {fence.Fence(flags, ro).describe() for flags in ((), *fence.NAMESPACES) for ro in (False, True)}
    assert len(words) >= 5 and sum("disk read-only" in w for w in words) == 2
    assert json.dumps(sorted(words)).count("half fenced") == 1
