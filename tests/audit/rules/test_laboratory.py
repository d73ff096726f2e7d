"""The audit says of each folder of the laboratory what the laboratory measured (scripts/laboratory, ranges.json)."""

import importlib
import subprocess
import sys

import pytest
from helpers.processes import ROOT
from packaging.version import Version

from pinfold.audit import ranges
from pinfold.audit.examine import examine, harm_of
from pinfold.audit.finding import errors

sys.path.insert(0, str(ROOT / "scripts" / "laboratory"))
cases = importlib.import_module("cases")
run = importlib.import_module("run")
sys.path.pop(0)

MEASURED = ranges.read_table()
# A fault that a load from a folder does not meet and one from a Hub does: that asks for what each file imports.
OF_TENSORS = ("P20", "P33", "P48")  # what the file of the weights says
ON_A_HUB = ("P08.in_guarded_helper",)


def report(name, kind, tmp_path):
    case = cases.CASES[name]
    paths = run.folders(name, tmp_path)
    run.write_sources(name, case, paths)
    if name.startswith(OF_TENSORS):
        run.write_weights(name, case, paths)
    return examine(paths[kind], name)


def test_every_case_was_measured_in_every_minor_release():
    assert set(MEASURED["cases"]) == set(cases.CASES)
    minors = [Version(release).release[:2] for release in MEASURED["releases"]]
    assert minors == sorted(set(minors)) and minors[0] == (4, 48) and len(minors) >= 35


@pytest.mark.parametrize("name", cases.CASES)
def test_the_right_folder_has_no_error(name, tmp_path):
    assert errors(report(name, run.RIGHT, tmp_path).findings) == []


@pytest.mark.parametrize("name", cases.CASES)
def test_the_faulty_folder_is_said_to_fail_where_it_does(name, tmp_path):
    findings = report(name, run.FAULTY, tmp_path).findings
    said = harm_of(findings, MEASURED["releases"])
    measured = ranges.harm(name)
    if name.startswith("P08"):  # a package that is not there has no part in a forecast
        assert bool(errors(findings)) == (bool(measured) or name in ON_A_HUB)
    else:
        assert {release: said.get(release) for release in measured} == measured
        assert not set(said) - set(measured)


@pytest.mark.sweep
def test_what_the_laboratory_measures_is_what_the_table_says():
    releases = ["4.48.3", "4.57.6", "5.0.0", MEASURED["releases"][-1]]
    command = [sys.executable, ROOT / "scripts" / "laboratory" / "run.py", "--check", "--release", *releases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
