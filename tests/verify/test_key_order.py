"""A model that goes by the order of a table's keys, which config.json does not keep; the cause, and both cures.

Everything is saved and loaded by transformers itself.
"""

import json
import subprocess
import sys

import pytest
from helpers import tiny
from helpers.processes import clean_environment

from pinfold.fenced.probe.key_order import sorted_tables
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage
from pinfold.verify import verify

SETS = "self.vocab_size, self.width = vocab_size, width\n"
BUILT = "        self.mixer = Mixer(config.width)\n"
MIXED = "self.mixer(self.embedding(input_ids))"
TABLE = 'self.parts = parts or {"wide": 5, "near": 3}'
PAIRS = 'self.parts = parts or [["wide", 5], ["near", 3]]'
OF_TABLE, OF_PAIRS, OF_SORTED = "config.parts.items()", "config.parts", "sorted(config.parts.items())"


def folder_of(path, sets=TABLE, reads=OF_TABLE):
    """The tiny folder with parts that are joined in the order of a setting."""
    configuration = tiny.CONFIGURATION.replace("width=8, ", "width=8, parts=None, ")
    modeling = tiny.MODELING.replace("from torch import nn", "import torch\nfrom torch import nn", 1)
    configuration = configuration.replace(SETS, f"{SETS}        {sets}\n")
    more = f"        self.parts = nn.ModuleDict({{n: nn.Linear(config.width, k) for n, k in {reads}}})\n"
    modeling = modeling.replace(BUILT, BUILT + more)
    joined = "self.mixer(torch.cat([part(self.embedding(input_ids)) for part in self.parts.values()], -1))"
    modeling = modeling.replace(MIXED, joined)
    assert sets in configuration and more in modeling and joined in modeling
    return tiny.write_folder(path, configuration_tiny=configuration, modeling_tiny=modeling)


SAVED_AND_LOADED = """
import sys
import torch
from folder.configuration_tiny import TinyConfig
from folder.modeling_tiny import TinyModel

torch.manual_seed(0)
model = TinyModel(TinyConfig()).eval()
model.save_pretrained("saved")
again = TinyModel.from_pretrained("saved").eval()
ids = torch.arange(6)[None]
with torch.no_grad():
    print((model(ids).last_hidden_state - again(ids).last_hidden_state).abs().max().item())
"""


@pytest.mark.parametrize("version", ["newest", "4.48.3"])
@pytest.mark.parametrize(
    ("sets", "reads", "kept"),
    [(TABLE, OF_TABLE, False), (PAIRS, OF_PAIRS, True), (TABLE, OF_SORTED, True)],
    ids=["table", "pairs", "sorted"],
)
def test_what_transformers_saves_and_loads(tmp_path, overlay, version, sets, reads, kept):
    folder_of(tmp_path / "folder", sets, reads)
    path = "" if version == "newest" else str(overlay(version))
    done = subprocess.run(
        [sys.executable, "-c", SAVED_AND_LOADED],
        cwd=tmp_path,
        env=clean_environment(tmp_path / "home", PYTHONPATH=f"{path}:{tmp_path}"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert (float(done.stdout) < 1e-6) is kept


def in_memory(tmp_path, folder, **settings):
    """A model that was never loaded, and what it was saved to."""
    import torch

    sys.path.insert(0, str(folder.parent))
    try:
        package = __import__(f"{folder.name}.modeling_tiny", fromlist=["TinyForSequenceClassification"])
    finally:
        sys.path.pop(0)
    cls = package.TinyForSequenceClassification
    torch.manual_seed(0)
    model = cls(cls.config_class(**settings)).eval()
    model.save_pretrained(tmp_path / "saved")
    return model


@pytest.mark.parametrize(
    ("name", "sets", "settings"),
    [
        ("by_default", TABLE, {}),
        ("by_argument", "self.parts = parts", {"parts": {"wide": 5, "near": 3}}),
        ("beside_another", TABLE, {"further": {"two": 2, "one": [{"d": 1, "c": 2}]}}),
    ],
)
def test_a_push_from_python_names_the_cause(tmp_path, forked, name, sets, settings):
    folder = folder_of(tmp_path / f"order_{name}", sets)
    model = in_memory(tmp_path, folder, **settings)
    work = tmp_path / "work"
    (work / "staged").mkdir(parents=True)
    staged = stage(read_folder(folder), tmp_path / "saved", work / "staged")
    expected = verify.reference(staged, tmp_path / "saved", work)
    words = (
        r"D03 .* than this model, as it goes by the order of the keys of config\.parts, which config\.json has sorted:"
    )
    with pytest.raises(verify.Unverified, match=words):
        verify.compare_in_memory(model, "AutoModelForSequenceClassification", expected)


def test_another_cause_is_not_taken_for_it(tmp_path):
    import torch

    folder = folder_of(tmp_path / "order_of_other_cause")
    model = in_memory(tmp_path, folder)
    assert list(json.loads((tmp_path / "saved" / "config.json").read_text())["parts"]) == ["near", "wide"]
    ids = torch.arange(6)[None]
    cls = type(model)

    def like(other):
        return lambda model: torch.equal(model(ids).logits, other(ids).logits)

    assert sorted_tables(model, like(cls.from_pretrained(tmp_path / "saved").eval())) == "config.parts"
    assert sorted_tables(model, like(cls(model.config).eval())) == ""  # other weights
    assert sorted_tables(model, lambda other: True) == ""
