"""What fixes make of the laboratory's faulty folders: the findings go, and no release does worse."""

import importlib
import subprocess
import sys

import pytest
from helpers.processes import ROOT
from packaging.version import Version

from pinfold.audit.examine import examine
from pinfold.audit.fixes import files, fix
from pinfold.folder.model_folder import read_modules

sys.path.insert(0, str(ROOT / "scripts" / "laboratory"))
cases = importlib.import_module("cases")
run = importlib.import_module("run")
fixed = importlib.import_module("fixed")
sys.path.pop(0)

# Cases whose rule has a fix, but for those in which it is not clear what the author means.
NO_FIX = ("P12.parameter_if", "P12.registered_in_forward", "P14.own_from_pretrained", "P14c.nested")
NO_FIX += ("P12.stock_rotary",)  # calling the base's _init_weights would draw other weights as well
NO_FIX += ("P15.no_default", "P15.raises_without_arguments", "P15.layers_never_set")
NO_FIX += ("P15.never_set:constructor", "P15.never_set:forward")
NO_FIX += ("P15.dataclass", "P15.dataclass_post_init", "P15.strict")  # another constructor is to be written
NO_FIX += ("P15.mutable_field", "P15.mutable_field_of_config")  # a line of the class's body is to be written anew
NO_FIX += ("P15.field_without_value", "P15.field_without_value_no_constructor")
NO_FIX += ("P15.rope_scaling_none", "P15.rope_scaling_llama3")  # the line is to be moved
NO_FIX += ("P15.constructor_of_base", "P15.part_without_layers")  # code is to be written
NO_FIX += ("P15.constructor_of_base_and_stored", "P15.part_with_layers_elsewhere")  # they do no harm
RULES = ("P12", "P13", "P14", "P15")
WITH_FIX = [name for name in fixed.EVERY if name.startswith(RULES) and name not in NO_FIX]


@pytest.mark.parametrize("name", WITH_FIX)
def test_the_finding_of_a_faulty_folder_goes_with_its_fix(name, tmp_path):
    paths = run.folders(name, tmp_path)
    run.write_sources(name, fixed.EVERY[name], paths)
    folder, rule = paths[run.FAULTY], name.split(".")[0]
    assert rule in {finding.code for finding in examine(folder, name).findings}
    found = fix.propose(folder, read_modules(folder))
    assert found.reasons == []
    files.apply(found.changes)
    assert rule not in {finding.code for finding in examine(folder, name).findings}


def test_two_fixed_folders_are_right_where_the_faulty_ones_fail(tmp_path):
    results = list(fixed.measure(["P12.buffer", "P13.data_normal"], ["5.0.0"], tmp_path, 1))
    assert [(r.codes, r.right, r.worse, r.harmed) for r in results] == [
        (("P12",), ("5.0.0",), {}, ("5.0.0",)),
        (("P13",), ("5.0.0",), {}, ("5.0.0",)),
    ]


def test_a_fixed_folder_that_fails_where_the_faulty_one_did_not_is_worse(tmp_path, monkeypatch):
    def no_fix(name, work):
        run.write_folders(name, cases.CASES[name], work)
        faulty = run.folders(name, work)[run.FAULTY]
        faulty.rename(faulty.with_name(fixed.stem(name)))
        return ("P13",)

    monkeypatch.setattr(fixed, "write_fixed", no_fix)
    monkeypatch.setattr(fixed.ranges, "read_table", lambda: {"cases": {"P13.data_normal": {}}})
    (result,) = fixed.measure(["P13.data_normal"], ["5.0.0"], tmp_path, 1)
    assert result.right == () and result.worse["5.0.0"].startswith("numbers: ") and "WORSE in 5.0" in str(result)


@pytest.mark.sweep
def test_no_fixed_folder_is_worse():
    releases = ["4.48.3", "4.57.6", "5.0.0", max(run.every_minor(), key=Version)]
    command = [sys.executable, ROOT / "scripts" / "laboratory" / "fixed.py", "--release", *releases]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
