"""The storm of tests/helpers/hub/hub_storm.py, in its short form; run that file for a thousand faults."""

import re
import subprocess
import sys

import pytest
from helpers.processes import ROOT

# faults (a race is several), and what they bring about at least: pushes, pushes run again, restarts, looks
STORMS = [
    pytest.param(15, (10, 3, 3, 10), id="short"),
    pytest.param(36, (30, 3, 5, 10), id="long", marks=pytest.mark.sweep),
]


@pytest.mark.slow
@pytest.mark.parametrize(("faults", "least"), STORMS)
def test_no_fault_loses_or_tears_a_commit(faults, least):
    storm = ROOT / "tests" / "helpers" / "hub" / "hub_storm.py"
    done = subprocess.run(
        [sys.executable, str(storm), "--faults", str(faults), "--seed", "3"],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"{faults} faults, seed 3: nothing broken" in done.stdout
    met = re.findall(r"(?:^|, )([\w -]+): (\d+)", done.stdout, re.MULTILINE)
    assert len(met) == 12 and all(int(count) > 0 for _, count in met), "each kind at least once"
    counts = map(int, re.search(
        r"(\d+) pushes, (\d+) of them run again; (\d+) restarts; (\d+) looks", done.stdout
    ).groups())  # fmt: skip
    assert all(count > minimum for count, minimum in zip(counts, least, strict=True))
