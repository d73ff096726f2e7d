"""The table of transformers' names by release, and what is judged by it: P09, P04's types, a folder's floor."""

import gzip
import importlib
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import transformers
from helpers import tiny
from helpers.processes import ROOT, clean_environment

from pinfold.audit.rules.names import symbols
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_modules
from pinfold.folder.releases import (
    MINORS,
    RELEASES,
    TABLE,
    absent,
    exists,
    lowest_version,
    model_types,
    read_table,
    release_ranges,
    suggest,
)

NEWEST, OLDEST = MINORS[-1], MINORS[0]
# Modules whose names do not depend on which optional packages are installed.
MODULES = (  # noqa: SIM905
    "modeling_utils cache_utils masking_utils utils pytorch_utils modeling_attn_mask_utils modeling_rope_utils "
    "activations tokenization_utils tokenization_utils_base tokenization_utils_fast image_processing_utils "
    "processing_utils generation configuration_utils modeling_outputs modeling_layers initialization "
    "convert_slow_tokenizer pipelines models.auto models.auto.modeling_auto models.llama models.llama.modeling_llama "
    "models.bert models.bert.modeling_bert models.bert.tokenization_bert_fast models.t5 models.t5.modeling_t5"
).split()
REAL = """
import ast, importlib, json, logging, re, sys, warnings
warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
found = {}

def excused(loaded, name, error):
    # an optional package hides the name: it is bound in a condition, or a lazy module cannot load it
    if hasattr(loaded, "_class_to_module"):
        hidden = name.startswith(("TF", "Flax", "FLAX_")) or name.endswith("TokenizerFast")
        return hidden or not isinstance(error, ImportError) or isinstance(error, ModuleNotFoundError)
    if isinstance(error, ModuleNotFoundError) or not getattr(loaded, "__file__", None):
        return isinstance(error, ModuleNotFoundError)
    source = open(loaded.__file__, encoding="utf-8").read()
    bound = set()
    for node in ast.parse(source).body:
        bound.add(getattr(node, "name", ""))
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            bound |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return name not in bound and re.search(rf"\\b{name}\\b", source) is not None

for module, names in json.load(sys.stdin).items():
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError:
        found[module] = None
        continue
    found[module] = []
    for name in sorted({*names, *dir(loaded), *getattr(loaded, "__all__", ())}):
        if name.isidentifier() and not name.startswith("_"):
            try:
                exec(f"from {module} import {name}", {})
                found[module].append([name, True])
            except Exception as error:
                found[module].append([name, "hidden" if excused(loaded, name, error) else "gone"])
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES
print(json.dumps([transformers.__version__, found, sorted(CONFIG_MAPPING_NAMES)]))
"""


def listed(module: str) -> set[str]:
    """Every name that some release has in a module."""
    return {name for names in read_table()["names"].get(module, {}).values() for name in names.split()}


@pytest.mark.sweep
@pytest.mark.parametrize("version", ["4.48.3", "4.57.6", "5.0.0", "newest"])
def test_the_table_says_what_can_be_imported(version, overlay, tmp_path):
    modules = ["transformers", *(f"transformers.{module}" for module in MODULES)]
    path = "" if version == "newest" else str(overlay(version))
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REAL],
        input=json.dumps({module: sorted(listed(module)) for module in modules}),
        env=clean_environment(tmp_path / "home", PYTHONPATH=path, OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    release, found, types = json.loads(result.stdout.splitlines()[-1])
    if release not in RELEASES:  # came out after the table: there is nothing to compare with before it is made anew
        pytest.skip(f"transformers {release} is newer than the table; run scripts/releases.py")
    judged, present, wrong = 0, [], []
    for module, names in found.items():
        package, _, last = module.rpartition(".")
        if names is None:
            wrong += [module] if release in exists(package, last) and module in ("transformers.masking_utils",) else []
            continue
        present.append(module)
        for name, there in names:
            judged += 1
            if there is True and release not in exists(module, name):
                wrong.append(f"{module}.{name} is there")
            if there == "gone" and release in exists(module, name):
                wrong.append(f"{module}.{name} is not there")
    assert wrong == [] and judged > 5000 and len(present) > 20
    assert model_types(release) == set(types)


def test_names_that_came_and_went():
    assert release_ranges(exists("transformers.masking_utils", "create_causal_mask")).startswith("4.53-5.")
    assert release_ranges(absent("transformers", "PreTrainedConfig")) == "4.48-4.57"
    assert release_ranges(exists("transformers", "AutoModelForVision2Seq")) == "4.48-4.57"
    assert release_ranges(exists("transformers.pytorch_utils", "find_pruneable_heads_and_indices")) == "4.48-4.57"
    assert absent("transformers.masking_utils", "create_causal_mask", "4.53") == ()
    for name in ("PretrainedConfig", "PreTrainedModel", "GenerationMixin", "AutoModel", "DynamicCache", "StaticCache"):
        assert exists("transformers", name) == RELEASES
    assert exists("transformers", "__version__") == RELEASES
    assert exists("transformers.modeling_utils", "nn") == RELEASES  # names of other libraries count
    assert exists("transformers", "NoSuchName") == exists("transformers.ghost", "Name") == ()


def test_the_table_has_every_minor_once_in_order_and_is_light():
    numbers = [tuple(map(int, release.split("."))) for release in RELEASES]
    assert numbers == sorted(numbers) and len(set(MINORS)) == len(MINORS)
    assert {"4.48.3", "4.57.6", "5.0.0"} <= set(RELEASES) and OLDEST == "4.48"
    assert [minor for minor in MINORS if minor[0] == "4"] == [f"4.{n}" for n in range(48, 58)]
    assert [minor for minor in MINORS if minor[0] == "5"] == [f"5.{n}" for n in range(int(NEWEST[2:]) + 1)]
    assert TABLE.stat().st_size < 3_000_000
    start = time.perf_counter()
    json.loads(gzip.decompress(TABLE.read_bytes()))
    assert time.perf_counter() - start < 1  # 0.02 s on an idle machine


def test_built_in_model_types_of_any_release():
    every = model_types()
    assert {"bert", "resnet", "llama", "gpt-sw3"} <= every
    assert not {"custom_bert", "outside-tiny", "BertConfig"} & every
    assert model_types("4.48.3") < every and model_types(RELEASES[-1]) < every


def test_ranges_are_told_by_minor():
    assert release_ranges(RELEASES) == f"{OLDEST}-{NEWEST}"
    assert release_ranges(["4.48.3"]) == "4.48" and release_ranges([]) == ""
    assert release_ranges(["5.0.0", "4.48.3", "4.49.0"]) == "4.48-4.49, 5.0"
    assert release_ranges(["4.57.6", "5.0.0"]) == "4.57-5.0"


def test_what_is_suggested_works_in_every_release():
    assert suggest("transformers", "PreTrainedConfig") == "PretrainedConfig"
    assert suggest("transformers", "ViTFeatureExtractor") == "ViTImageProcessor"
    assert suggest("transformers", "NoSuchName") is None
    moved = [name for name in listed("transformers.file_utils") if absent("transformers.file_utils", name)]
    for name in moved:
        words = suggest("transformers.file_utils", name) or ""
        if words.startswith("from transformers"):
            assert absent(words.split()[1], words.split()[3]) == ()


HEAD = "from transformers import PreTrainedModel\n"
BAD = {
    "moved": ("from transformers.masking_utils import create_causal_mask", "create_causal_mask", "4.48-4.52"),
    "new": ("from transformers import PreTrainedConfig", "PreTrainedConfig", "4.48-4.57"),
    "gone": ("from transformers import AutoModelForVision2Seq as V", "AutoModelForVision2Seq", f"5.0-{NEWEST}"),
    "never": ("from transformers import NoSuchThing", "NoSuchThing", f"4.48-{NEWEST}"),
    "module": ("import transformers.masking_utils as masks", "transformers.masking_utils", "4.48-4.52"),
    "module by name": ("from transformers import masking_utils", "transformers.masking_utils", "4.48-4.52"),
    "star": ("from transformers.masking_utils import *", "transformers.masking_utils", "4.48-4.52"),
    "attribute": ("import transformers\nx = transformers.PreTrainedConfig", "PreTrainedConfig", "4.48-4.57"),
    "attribute of alias": (
        "import transformers.pytorch_utils as p\nx = p.find_pruneable_heads_and_indices",
        "find_pruneable_heads_and_indices",
        f"5.0-{NEWEST}",
    ),
    "deep attribute": (
        "import transformers\nx = transformers.pytorch_utils.find_pruneable_heads_and_indices",
        "find_pruneable_heads_and_indices",
        f"5.0-{NEWEST}",
    ),
    "availability is no guard": (
        "from transformers.utils import is_torch_available\nif is_torch_available():\n"
        "    from transformers import PreTrainedConfig",
        "PreTrainedConfig",
        "4.48-4.57",
    ),
    "wrong guard": (
        "try:\n    from transformers import PreTrainedConfig\nexcept ValueError:\n    pass",
        "PreTrainedConfig",
        "4.48-4.57",
    ),
    "fallback fails too": (
        "try:\n    from transformers import PreTrainedConfig\nexcept ImportError:\n"
        "    from transformers.masking_utils import create_causal_mask",
        "create_causal_mask",
        "4.48-4.52",
    ),
    "in a function": ("def f():\n    from transformers import PreTrainedConfig", "PreTrainedConfig", "4.48-4.57"),
    "member": (
        "class M(PreTrainedModel):\n    def forward(self, m):\n        return self.get_head_mask(m, 2)",
        "PreTrainedModel.get_head_mask",
        f"5.0-{NEWEST}",
    ),
    "cache": ("def f(past_key_values):\n    return past_key_values.to_legacy_cache()", "to_legacy_cache", "5.0-"),
}
GOOD = {
    "everywhere": "from transformers import GenerationMixin, PretrainedConfig\nfrom transformers.utils import logging",
    "guarded": "try:\n    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS as A\n"
    "    from transformers.masking_utils import create_causal_mask as f\nexcept ImportError:\n    f = None",
    "guarded by Exception": "try:\n    import transformers.masking_utils\nexcept Exception:\n    pass",
    "one of several": "try:\n    from transformers import PreTrainedConfig as C\nexcept (ValueError, ImportError):\n"
    "    C = None",
    "bare": "try:\n    from transformers import AdamW\nexcept:\n    AdamW = None",
    "guarded attribute": "import transformers\ntry:\n    C = transformers.PreTrainedConfig\nexcept AttributeError:\n"
    "    C = transformers.PretrainedConfig",
    "fallback": "try:\n    from transformers import PreTrainedConfig as C\nexcept ImportError:\n"
    "    from transformers.pytorch_utils import find_pruneable_heads_and_indices",
    "else": "try:\n    from transformers import PreTrainedConfig\nexcept ImportError:\n    NEW = False\nelse:\n"
    "    from transformers import initialization",
    "suppressed": "import contextlib\nwith contextlib.suppress(ImportError):\n    from transformers import AdamW",
    "type checking": "from typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from transformers import PreTrainedConfig",
    "version": "import transformers\nfrom packaging import version\n"
    'NEW = version.parse(transformers.__version__) >= version.parse("4.53")\nif NEW:\n'
    "    from transformers.masking_utils import create_causal_mask",
    "asked": 'import transformers\nif hasattr(transformers, "AdamW"):\n    A = transformers.AdamW',
    "dunder": "from transformers import __version__\nimport transformers\nv = transformers.__version__",
    "other names of a module": "from transformers.models.bert.modeling_bert import BertEmbeddings, nn, torch",
    "old names of tokenizers": "from transformers import BertTokenizerFast\n"
    "from transformers.models.bert import BertTokenizerFast as B",
    "private": "from transformers.utils.import_utils import _LazyModule",
    "other package": "import transformers_stream_generator\nfrom transformersx import PreTrainedConfig",
    "own member": "class M(PreTrainedModel):\n    def get_head_mask(self, m):\n        return m\n\n"
    "    def forward(self, m):\n        return self.get_head_mask(m)",
    "own attribute": "class M(PreTrainedModel):\n    _supports_sdpa = True\n\n    def __init__(self, config):\n"
    "        super().__init__(config)\n        self.seen_tokens = 0\n\n    def forward(self, cache):\n"
    "        return cache.seen_tokens, self._supports_sdpa, self.training, self.config",
    "generates": "from transformers import GenerationMixin\n\n\nclass M(PreTrainedModel, GenerationMixin):\n"
    "    def go(self, x):\n        return self.generate(x)",
    "probed cache": 'def f(cache):\n    return cache.key_cache if hasattr(cache, "key_cache") else None',
    "plain cache": "def f(cache):\n    cache.update(1)\n    return cache.get_seq_length(), cache.items(), cache.shape",
}


def found(tmp_path, source: str, minimum: str = "") -> list:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "modeling_x.py").write_text(HEAD + source + "\n")
    (path / "configuration_x.py").write_text(minimum + "\n")
    folder = read_modules(path)
    return list(symbols(folder, folder.modules.values(), lowest_version(folder)))


@pytest.mark.parametrize("case", BAD)
def test_a_name_that_is_missing_somewhere_is_named_with_its_releases(tmp_path, case):
    source, name, versions = BAD[case]
    findings = found(tmp_path, source)
    assert len(findings) == 1, findings
    finding = findings[0]
    line = finding.line
    assert finding.code == "P09" and finding.severity == "error" and finding.file == "modeling_x.py"
    assert finding.sentence.startswith(f"modeling_x.py:{line}: ")
    assert f"{name} does not exist in transformers {versions}" in finding.sentence
    assert name.rsplit(".", 1)[-1] in (HEAD + source).splitlines()[line - 1]
    assert release_ranges(finding.releases).startswith(versions)
    assert ". Use " in finding.sentence or finding.sentence.endswith("Guard the import with try/except ImportError.")


@pytest.mark.parametrize("case", GOOD)
def test_a_name_that_is_there_or_guarded_is_fine(tmp_path, case):
    assert found(tmp_path, GOOD[case]) == []


def test_exact_words(tmp_path):
    (finding,) = found(tmp_path, "from transformers import PreTrainedConfig")
    assert finding.sentence == (
        "modeling_x.py:2: PreTrainedConfig does not exist in transformers 4.48-4.57. Use PretrainedConfig."
    )


def test_names_are_judged_from_the_floor(tmp_path):
    source = "from transformers.masking_utils import create_causal_mask"
    for position, (minimum, count) in enumerate({"4.53": 0, "4.53.1": 0, "4.52": 1, "5.0.0": 0, "4.40": 1}.items()):
        path = tmp_path / str(position)
        path.mkdir()
        assert len(found(path, source, f'MIN_TRANSFORMERS: str = "{minimum}"')) == count, minimum
    path = tmp_path / "gone"
    path.mkdir()
    assert len(found(path, "from transformers import AutoModelForVision2Seq", 'MIN_TRANSFORMERS = "5.0"')) == 1


def test_the_floor_of_a_folder(tmp_path):
    folder = read_modules(tiny.write_folder(tmp_path / "none"))
    assert lowest_version(folder) == "4.48"
    text = tiny.CONFIGURATION.replace("class TinyConfig", 'MIN_TRANSFORMERS = "4.57"\n\n\nclass TinyConfig')
    assert lowest_version(read_modules(tiny.write_folder(tmp_path / "some", configuration_tiny=text))) == "4.57"
    assert (
        lowest_version(read_modules(tiny.write_folder(tmp_path / "old", configuration_tiny=text.replace("57", "9"))))
        == "4.48"
    )


@pytest.mark.parametrize(
    "value",
    ['"new"', "4.57", '"4"', '"5.0.0rc1"', '">=4.57"', '""', "None", "f()", '"4.57" + ""', '"4.' + "9" * 5000 + '"'],
)
def test_a_malformed_floor_is_refused_in_one_line(tmp_path, value):
    text = tiny.CONFIGURATION.replace("class TinyConfig", f"MIN_TRANSFORMERS = {value}\n\n\nclass TinyConfig")
    folder = read_modules(tiny.write_folder(tmp_path / "folder", configuration_tiny=text))
    with pytest.raises(UserError, match="MIN_TRANSFORMERS") as error:
        lowest_version(folder)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_transformers_own_files_of_this_release_take_nothing_that_it_lacks(tmp_path):
    """Absolute imports of models in the installed release, judged for that release alone."""
    if transformers.__version__ not in RELEASES:  # as above
        pytest.skip("newer than the table; run scripts/releases.py")
    models = Path(importlib.import_module("transformers.models").__file__).parent
    checked = 0
    for name in ("bert", "llama", "t5", "vit", "whisper", "mixtral", "clip", "gpt2", "resnet", "bart", "mamba", "esm"):
        path = tmp_path / name
        path.mkdir()
        text = (models / name / f"modeling_{name}.py").read_text()
        text = text.replace("from ...", "from transformers.").replace("transformers. import", "transformers import")
        (path / "modeling_x.py").write_text(text.replace("from ..auto", "from transformers.models.auto"))
        folder = read_modules(path)
        wrong = [f for f in symbols(folder, folder.modules.values(), NEWEST) if transformers.__version__ in f.releases]
        checked += 1
        assert wrong == [], wrong
    assert checked == 12


def test_the_maker_reads_lazy_packages_redirects_and_conditions():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        maker = importlib.import_module("releases")
    finally:
        sys.path.pop(0)
    texts = {
        "transformers/__init__.py": "import sys\nfrom .utils import _LazyModule\n"
        '_import_structure = {"a": ["A", "Gone"], "models": []}\n'
        '_import_structure["b"].append("B")\nif TYPE_CHECKING:\n    from .x import Never\nelse:\n'
        "    _LEGACY_MODULE_ALIASES = {'old': 'a'}\n"
        "    sys.modules[__name__] = _LazyModule(__name__, '', _import_structure)\n",
        "transformers/a.py": "import numpy as np\nclass A: ...\nif X:\n    C = 1\nelse:\n    D = E = 2\n"
        "try:\n    from torch import nn\nexcept ImportError:\n    F, (G, *H) = 1\n__all__ = ['A']\ndel C\n",
        "transformers/b.py": "from .a import *\nfrom .a import A as B\ndef _f(): ...\nx: int\ny: int = 1\n",
        "transformers/models/__init__.py": "",
        "transformers/models/m/__init__.py": "import sys\nfrom ...utils import _LazyModule\n"
        "sys.modules[__name__] = _LazyModule(__name__, '', define_import_structure(_file))\n",
        "transformers/models/m/modeling_m.py": "@requires(backends=('torch',))\nclass M: ...\n"
        "__all__ = ['N']\nN = 1\nK = 2\n",
        "transformers/models/m/convert_m.py": "class Z: ...\n",
    }
    table = maker.Release(texts, {}).table()
    assert table["transformers"] == {"A", "B", "a", "b", "models", "old"}
    assert table["transformers.a"] == table["transformers.old"] == {"np", "A", "D", "E", "nn", "F", "G", "H"}
    assert table["transformers.b"] == {"A", "B", "_f", "y"}
    assert table["transformers.models.m"] == {"M", "N", "modeling_m", "convert_m"}
    assert "transformers.models.m.convert_m" not in table
    assert maker.grouped([{"a"}, {"a", "b"}, {"b"}], ["4.48", "4.49", "5.0"]) == {"4.48-4.49": "a", "4.49-": "b"}
