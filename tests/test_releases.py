"""The table of transformers' names by release, and the check that reads it."""

import importlib
import json
import subprocess
import sys
from importlib import metadata

import pytest
import tiny
from conftest import clean_environment
from packaging.version import Version

from pinfold.errors import UserError
from pinfold.publish import releases
from pinfold.publish.folder import read_folder

ATTENTION = "transformers.modeling_utils"
MODULES = [
    "transformers", "transformers.modeling_utils", "transformers.cache_utils", "transformers.utils",
    "transformers.utils.generic", "transformers.pytorch_utils", "transformers.modeling_outputs",
    "transformers.activations", "transformers.generation", "transformers.processing_utils",
    "transformers.image_processing_utils", "transformers.tokenization_utils_base", "transformers.configuration_utils",
    "transformers.modeling_attn_mask_utils", "transformers.models.llama.modeling_llama", "transformers.models.bert",
    "transformers.models.t5.modeling_t5", "transformers.models.gpt2.configuration_gpt2",
]  # fmt: skip


def findings(tmp_path, modeling=None, configuration=None):
    """P09 on the tiny folder, with a line put in front of its code."""
    changes = {}
    if modeling is not None:
        changes["modeling_tiny"] = modeling + "\n" + tiny.MODELING
    if configuration is not None:
        changes["configuration_tiny"] = configuration + "\n" + tiny.CONFIGURATION
    folder = read_folder(tiny.write_folder(tmp_path / "folder", **changes))
    return list(releases.symbols(folder, folder.modules.values(), releases.floor(folder)))


def test_every_minor_from_4_48_is_there_once_with_its_newest_patch():
    minors = [Version(release).release[:2] for release in releases.RELEASES]
    assert minors[0] == (4, 48) and minors == sorted(set(minors)) and len(minors) >= 34
    assert releases.RELEASES[0] == "4.48.3" and "4.57.6" in releases.RELEASES and "5.0.0" in releases.RELEASES


@pytest.mark.parametrize("module", MODULES)
def test_the_table_says_what_the_installed_release_has(module):
    own = metadata.version("transformers")
    if own not in releases.RELEASES:
        pytest.skip(f"transformers {own} is not in the table; run python -m pinfold.publish.releases_table")
    loaded = importlib.import_module(module)
    said = {name for name, there in releases._names("names", module).items() if own in there}
    real = {name for name in dir(loaded) if name.isidentifier() and not name.startswith("_")}
    ours = set()
    for name in real:
        try:
            origin = getattr(getattr(loaded, name), "__module__", "") or ""
        except Exception:  # a lazy name whose library is not installed
            continue
        if str(origin).startswith("transformers") and name != "NerPipeline":  # which is made at run time
            ours.add(name)
    assert len(said) > 1 and ours - said == set()


ONE_BY_ONE = """
import importlib, json, sys, warnings
warnings.simplefilter("ignore")
from transformers.utils import logging
logging.set_verbosity(50)
print(json.dumps([hasattr(importlib.import_module(m), n) for m, n in json.loads(sys.argv[1])]))
"""
NAMES = [
    (ATTENTION, "ALL_ATTENTION_FUNCTIONS"), ("transformers", "PreTrainedConfig"), ("transformers", "AdamW"),
    ("transformers", "HybridCache"), ("transformers", "AutoModelForVision2Seq"), ("transformers", "DynamicCache"),
    ("transformers.pytorch_utils", "find_pruneable_heads_and_indices"), ("transformers", "GenerationMixin"),
    ("transformers.utils", "can_return_tuple"), ("transformers.utils", "is_torch_fx_available"),
    ("transformers", "BeamScorer"), ("transformers.utils", "LossKwargs"), ("transformers", "OnnxConfig"),
    ("transformers.modeling_attn_mask_utils", "_prepare_4d_attention_mask"), ("transformers.activations", "ACT2FN"),
]  # fmt: skip


@pytest.mark.parametrize("version", ["4.48.3", "4.57.6", "5.0.0"])
def test_the_table_says_what_older_releases_have(overlay, version, tmp_path):
    environment = clean_environment(tmp_path / "home", PYTHONPATH=str(overlay(version)))
    command = [sys.executable, "-c", ONE_BY_ONE, json.dumps(NAMES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    real = dict(zip(NAMES, json.loads(done.stdout.strip().splitlines()[-1]), strict=True))
    assert {pair: version in releases.exists(*pair) for pair in NAMES} == real


BAD = {
    "later": ("from transformers.masking_utils import create_causal_mask", "4.48-4.52. Use mask code of your own."),
    "gone": ("from transformers import AdamW", "Use torch.optim.AdamW."),
    "renamed": ("from transformers import PreTrainedConfig", "PreTrainedConfig does not exist in transformers 4.48-"),
    "attribute": ("import transformers\nX = transformers.HybridCache", "Use DynamicCache."),
    "alias": ("import transformers.pytorch_utils as p\nX = p.find_pruneable_heads_and_indices", "a copy of it"),
    "feature extractor": ("from transformers import ViTFeatureExtractor", "Use ViTImageProcessor."),
    "module": ("import transformers.masking_utils", "masking_utils does not exist in transformers 4.48-4.52."),
    "only in a branch": (
        "from transformers.utils import is_torch_available\nif is_torch_available():\n"
        "    from transformers.pytorch_utils import find_pruneable_heads_and_indices",
        "find_pruneable_heads_and_indices does not exist in transformers 5.0-",
    ),
    "in a function": ("def f():\n    from transformers.utils import LossKwargs\n    return LossKwargs", "LossKwargs"),
    "another error is caught": (
        "try:\n    from transformers import AdamW\nexcept ValueError:\n    AdamW = None",
        "AdamW does not exist",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_name_that_is_missing_somewhere_is_reported_with_where_and_what_instead(tmp_path, case):
    source, words = BAD[case]
    found = findings(tmp_path, modeling=source)
    assert len(found) == 1 and found[0].code == "P09" and words in str(found[0]), found
    line = source.count("\n") + 1 - ("except" in source) * 2 - ("return" in source)
    assert str(found[0]).startswith(f"P09 modeling_tiny.py:{line}:") and found[0].releases


MEMBERS = {
    "head mask": ("self.embedding(input_ids)", "self.get_head_mask(None, 2)", "PreTrainedModel.get_head_mask"),
    "cache": ("hidden = self.tiny", "past_key_values.get_usable_length(3); hidden = self.tiny", "DynamicCache"),
    "legacy": ("hidden = self.tiny", "cache.to_legacy_cache(); hidden = self.tiny", "DynamicCache.to_legacy_cache"),
}


@pytest.mark.parametrize("case", MEMBERS)
def test_methods_that_are_gone_are_reported_too(tmp_path, case):
    old, new, words = MEMBERS[case]
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=tiny.MODELING.replace(old, new, 1))
    read = read_folder(folder)
    found = list(releases.symbols(read, read.modules.values()))
    assert len(found) == 1 and words in str(found[0]) and "does not exist in transformers" in str(found[0])


GOOD = {
    "everywhere": "from transformers import PretrainedConfig, DynamicCache, GenerationMixin",
    "guarded": "try:\n    from transformers import AdamW\nexcept ImportError:\n    AdamW = None",
    "guarded by more": "try:\n    from transformers import AdamW\nexcept (ImportError, KeyError):\n    AdamW = None",
    "guarded attribute": "import transformers\ntry:\n    X = transformers.AdamW\nexcept AttributeError:\n    X = None",
    "for type checkers": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from transformers import AdamW",
    "asked for": "import transformers\nX = transformers.AdamW if hasattr(transformers, 'AdamW') else None",
    "somebody else's": "from torch.optim import AdamW",
    "unknown module": "from transformers_modules.x import AdamW",
    "own attribute": "class Own:\n    def f(self, cache):\n        self.key_cache = cache.key_cache",
}


@pytest.mark.parametrize("case", GOOD)
def test_near_misses_are_not(tmp_path, case):
    assert findings(tmp_path, modeling=GOOD[case]) == []


def test_a_folder_is_judged_from_the_floor_that_it_declares(tmp_path):
    late = "from transformers.masking_utils import create_causal_mask"
    assert findings(tmp_path / "a", modeling=late, configuration='MIN_TRANSFORMERS = "4.53"') == []
    assert findings(tmp_path / "b", modeling=late, configuration='MIN_TRANSFORMERS: str = "4.53.0"') == []
    found = findings(tmp_path / "c", modeling=late, configuration='MIN_TRANSFORMERS = "4.52"')
    assert "does not exist in transformers 4.52." in str(found[0])
    gone = findings(
        tmp_path / "d", modeling="from transformers import AdamW", configuration='MIN_TRANSFORMERS = "5.0"'
    )
    assert "4.4" not in str(gone[0]) and "5.0-" in str(gone[0])
    low = read_folder(
        tiny.write_folder(tmp_path / "e", configuration_tiny='MIN_TRANSFORMERS = "4.1"\n' + tiny.CONFIGURATION)
    )
    assert releases.floor(low) == "4.48"


@pytest.mark.parametrize("value", ["5", "None", '"new"', "('4.48',)", 'f"{x}"'])
def test_a_floor_that_is_no_version_is_one_line(tmp_path, value):
    with pytest.raises(UserError, match=r'MIN_TRANSFORMERS must be a version in quotes, such as "5'):
        findings(tmp_path, configuration=f"x = 1\nMIN_TRANSFORMERS = {value}")


def test_built_in_model_types_are_those_of_any_release():
    every, own = releases.model_types(), releases.model_types(metadata.version("transformers"))
    assert {"bert", "resnet", "llama", "gpt2"} <= own < every and "custom_resnet" not in every
    assert own == {*own} & every and every - own  # some were dropped since


def test_replacements_exist_from_the_floor_on():
    for name, other in releases.REPLACEMENTS.items():
        if other.isidentifier() and name[0].isupper():
            assert releases.absent("transformers", other) == (), other


def test_ranges_are_said_by_minor():
    assert releases.describe(["4.48.3", "4.49.0", "5.0.0"]) == "4.48-4.49, 5.0"
    assert releases.describe(["4.57.6", "5.0.0", "5.1.0"]) == "4.57-5.1"
    assert releases.describe(releases.RELEASES[:1]) == "4.48"
