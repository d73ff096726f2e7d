"""Verification of generated folders: what it lets pass, and every kind of damage that it finds."""

import importlib.util
import json
from pathlib import Path

import pytest
from helpers.processes import ROOT

from pinfold.cli.main import main
from pinfold.common.errors import UserError
from pinfold.convert import verify
from pinfold.fenced.tiny.config import shrink

MODULAR = '''
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM


class MyConfig(LlamaConfig):
    """Llama under another name."""


class MyForCausalLM(LlamaForCausalLM):
    pass
'''


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "my_model"
    folder.mkdir()
    (folder / "modular_my.py").write_text(MODULAR)
    assert main(["convert", str(folder / "modular_my.py")]) == 0
    return folder


# Kinds of damage, each to a copy of one model: what is replaced by what.
HIDES_A_KEY = """    def state_dict(self, *a, **k):
        state = super().state_dict(*a, **k)
        state.pop('model.norm.weight', None)
        return state

"""
FORWARD = "    def forward(\n        self,\n        input_ids"
DAMAGES = {
    "scaled": ("return self.weight * ", "return 1.001 * self.weight * "),
    "imported": (
        "import torch\n", "import torch\nfrom transformers.models.gemma.modeling_gemma import GemmaMLP\n",
    ),
    "uncached": ("if cache is not None:\n            key_states", "if False:\n            key_states"),
    "doubled": ("loss = self.loss_function(", "loss = 2 * self.loss_function("),
    "unbuilt": ("self.lm_head = nn.Linear(", "self.lm_head = nn.Linearr("),
    "keyless": (FORWARD, HIDES_A_KEY + FORWARD),
}  # fmt: skip


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> list[verify.Check]:
    """What one verification says of a folder with all damaged models, and one that is as it was generated."""
    folder = tmp_path_factory.mktemp("verify") / "damaged_model"
    folder.mkdir()
    paths = []
    for name in ("good", *DAMAGES):
        paths.append(folder / f"modular_{name}.py")
        paths[-1].write_text(MODULAR.replace("My", name.capitalize()))
    assert main(["convert", *map(str, paths)]) == 0
    for name, (old, new) in DAMAGES.items():
        path = folder / f"modeling_{name}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
    return verify.verify(folder, progress=False).failed


def of_model(failed: list[verify.Check], name: str) -> list[verify.Check]:
    return [c for c in failed if c.cls.startswith(name.capitalize())]


@pytest.mark.slow
def test_a_good_folder_passes_every_check(made):
    checks = verify.verify(made, progress=False).checks
    assert not [c for c in checks if c.why]
    names = {c.name for c in checks if c.cls == "MyForCausalLM"}
    assert {"builds and runs", "loss", "gradients", "save and load", "generate", "as upstream"} <= names


@pytest.mark.slow
def test_a_model_beside_damaged_ones_passes_every_check(failed):
    assert not of_model(failed, "good")


@pytest.mark.slow
def test_a_changed_output_is_found(failed):
    checks = of_model(failed, "scaled")
    assert any(c.name == "as upstream" and "outputs differ" in c.why for c in checks), failed


@pytest.mark.slow
def test_an_import_of_a_model_is_found(failed):
    assert any(c.name == "text" and "modeling_imported.py" in c.why and "gemma" in c.why for c in failed), failed
    assert any(c.name == "needs no model of transformers" for c in failed), failed


@pytest.mark.slow
def test_a_cache_that_is_left_aside_is_found(failed):
    checks = of_model(failed, "uncached")
    assert any(c.name == "generate without a cache" and "logits differ" in c.why for c in checks), failed


@pytest.mark.slow
def test_a_broken_loss_is_found(failed):
    assert any(c.name == "as upstream" and "loss is" in c.why for c in of_model(failed, "doubled")), failed


@pytest.mark.slow
def test_a_class_that_cannot_be_built_is_found(failed):
    checks = of_model(failed, "unbuilt")
    assert any(c.name == "builds and runs" and "Linearr" in c.why for c in checks), failed


@pytest.mark.slow
def test_a_missing_key_is_found(failed):
    assert of_model(failed, "keyless"), failed


FAILED = '{"cls": "A", "check": "loss", "why": "it is nan"}'
NAMES = '{"cls": "", "check": "classes", "names": ["A", "B"], "why": ""}'
FINE = '{"cls": "A", "check": "outputs", "why": ""}'
DEEP = "[" * 600 + "]" * 600


GARBAGE = ["{", DEEP, f'{{"check": "x", "names": {DEEP}}}', "5", "[]", '{"check": 5}', "\xff"]


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
def test_a_line_that_is_no_report_hides_no_other(tmp_path, garbage):
    path = tmp_path / "checks.jsonl"
    path.write_text("\n".join([NAMES, garbage, FAILED, ""]))
    assert verify.lines_of(path) == [json.loads(NAMES), json.loads(FAILED)]


REPORTS = {
    "nothing": ([], [("", "classes")]),
    "no classes": (['{"cls": "", "check": "imports", "why": ""}'], [("", "classes")]),
    "a class less": ([NAMES, FINE], [("B", "checks")]),
    "a class that only starts": ([NAMES, FINE, '{"cls": "B", "check": "starts", "why": ""}'], [("B", "checks")]),
    "all of it": ([NAMES, FINE, FINE.replace("A", "B")], []),
    "why it does not import": (['{"cls": "", "check": "imports", "why": "no"}'], [("", "imports")]),
}


@pytest.mark.parametrize("what", REPORTS)
def test_what_the_process_does_not_report_has_failed(tmp_path, monkeypatch, what):
    lines, failed = REPORTS[what]

    def run_sandboxed(request, work, **options):
        Path(request["results"]).write_text("".join(line + "\n" for line in lines))

    monkeypatch.setattr(verify.fence, "run_sandboxed", run_sandboxed)
    job = {"folder": str(tmp_path / "f"), "other": ""}
    checks = list(verify.reported_checks(job, tmp_path, 1, False))
    assert [(check.cls, check.name) for check in checks if check.why] == failed


def test_a_folder_without_generated_files_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="run pinfold convert"):
        verify.verify(tmp_path)


@pytest.mark.parametrize("name", ["llama", "gemma2", "t5", "clip", "whisper", "qwen2_moe", "detr", "wav2vec2"])
def test_a_tiny_configuration_keeps_its_class_and_its_divisors(name):
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[name]()
    small = shrink(config)
    assert type(small) is type(config)
    assert small.to_dict() != config.to_dict()
    heads, width = getattr(small, "num_attention_heads", None), getattr(small, "hidden_size", None)
    if isinstance(heads, int) and isinstance(width, int):
        assert width % heads == 0


def test_golden_finds_leftover_imports_and_changed_outputs():
    spec = importlib.util.spec_from_file_location("golden", ROOT / "benchmarks/golden.py")
    golden = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(golden)
    assert golden.leftovers("from transformers.models.llama.modeling_llama import LlamaMLP")
    assert not golden.leftovers("from transformers.models.auto import AutoModel")
    same = {"default": {"state": ["a"], "tree": []}, "outputs": {"x": "1"}, "state": [], "tree": [], "inputs": []}
    assert golden.class_differs(same, same) == ("", "")
    assert golden.class_differs(same | {"outputs": {"x": "2"}}, same)[0]
