"""Forecasts for the folders of tests/research, held against what loads did in ten releases (truth.json)."""

import hashlib
import importlib
import json
import sys

from helpers.processes import ROOT

from pinfold.audit.examine import examine

FOLDERS = ROOT / "tests" / "research"
TRUTH = json.loads((FOLDERS / "truth.json").read_text())
ASIDE = {n: d for f in FOLDERS.glob("put_aside*.json") for n, d in json.loads(f.read_text()).items()}
sys.path.insert(0, str(ROOT / "benchmarks"))
forecast = importlib.import_module("forecast")
sys.path.pop(0)

# question -> least precision and recall
LEAST = {"fails or wrong numbers": (1.0, 0.98), "generate": (0.92, 1.0), "save": (1.0, 1.0)}


def digest(folder):
    total = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        total.update(f"{file.relative_to(folder).as_posix()}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return total.hexdigest()


def test_folders_that_were_put_aside_are_as_they_were():
    for name, expected in ASIDE.items():
        assert digest(FOLDERS / name) == expected["sha256"], name


def test_forecasts_say_what_loads_did(capsys):
    truth = {name: seen for name, seen in TRUTH.items() if name not in ASIDE}
    scores = forecast.compare({name: examine(FOLDERS / name, name) for name in truth}, truth)
    for question, (precision, recall) in LEAST.items():
        counts, wrong = scores[question].counts, "\n".join(scores[question].wrong)
        hit, missed, false = counts[(True, True)], counts[(True, False)], counts[(False, True)]
        assert hit >= precision * (hit + false) and hit >= recall * (hit + missed), f"{question}: {wrong}"
