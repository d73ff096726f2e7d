"""What the tests of the sandbox run in it, and at which level."""

import shutil

import pytest
from fence.levels import EACH, LEVELS, START

from pinfold.fence import process as fence
from pinfold.fence import sandbox


@pytest.fixture(params=EACH)
def level(request, monkeypatch):
    """Each level that this machine allows, as if it were the strongest."""
    at = sandbox.Fence(*LEVELS[request.param])
    if at.program and not (shutil.which(at.program) and sandbox._works(at)):
        pytest.skip(f"this machine lacks {at.program} or refuses its namespaces, so {request.param} cannot be tried")
    monkeypatch.setattr(fence, "available", lambda: at)
    return at


@pytest.fixture
def run(tmp_path):
    """run(code, **request) -> what the code says with end(...); further arguments of the fence as options={...}."""
    work = tmp_path / "a place"
    (work / "staged").mkdir(parents=True)
    (work / "staged" / "file").touch()
    (work / "made").mkdir()

    def run(code, options=None, **request):
        (tmp_path / "code").mkdir(exist_ok=True)
        script = tmp_path / "code" / "script.py"
        script.write_text(START + code)
        more = {"visible": [work / "staged"], "writable": [work / "made"], **(options or {})}
        return fence.run_sandboxed(request, work, script=script, **more)

    run.work, run.outside = work, tmp_path
    return run
