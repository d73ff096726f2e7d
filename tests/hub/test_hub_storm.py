"""The storm of tests/helpers/hub_storm.py, in its short form; run that file for a thousand faults."""

import re
import subprocess
import sys

from helpers.processes import ROOT

FAULTS = 36


def test_no_fault_loses_or_tears_a_commit():
    storm = ROOT / "tests" / "helpers" / "hub_storm.py"
    done = subprocess.run(
        [sys.executable, str(storm), "--faults", str(FAULTS), "--seed", "3"],
        capture_output=True, text=True, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"{FAULTS} faults, seed 3: nothing broken" in done.stdout
    met = re.findall(r"(?:^|, )([\w -]+): (\d+)", done.stdout, re.MULTILINE)
    assert len(met) == 12 and all(int(count) > 0 for _, count in met), "each kind at least once"
    pushes, again, restarts, looks = map(int, re.search(
        r"(\d+) pushes, (\d+) of them run again; (\d+) restarts; (\d+) looks", done.stdout
    ).groups())  # fmt: skip
    assert pushes > 30 and again > 3 and restarts > 5 and looks > 10
