"""Verification of generated folders: what it lets pass, and every kind of damage that it finds."""

import importlib.util
from pathlib import Path

import pytest

from pinfold.cli.main import main
from pinfold.common.errors import UserError
from pinfold.convert import verify
from pinfold.fenced.tiny.config import shrink

ROOT = Path(__file__).resolve().parents[2]
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


def damaged(made: Path, place: Path, old: str, new: str, name: str = "modeling_my.py") -> list[verify.Check]:
    folder = place / "my_model"
    folder.mkdir()
    for path in made.glob("*.py"):
        (folder / path.name).write_text(path.read_text())
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))
    return verify.verify(folder, progress=False).failed


def test_a_good_folder_passes_every_check(made):
    checks = verify.verify(made, progress=False).checks
    assert not [c for c in checks if c.why]
    names = {c.name for c in checks if c.cls == "MyForCausalLM"}
    assert {"builds and runs", "loss", "gradients", "save and load", "generate", "as upstream"} <= names


def test_a_changed_output_is_found(made, tmp_path):
    found = damaged(made, tmp_path, "return self.weight * ", "return 1.001 * self.weight * ")
    assert any(c.name == "as upstream" and "outputs differ" in c.why for c in found), found


def test_an_import_of_a_model_is_found(made, tmp_path):
    line = "import torch\n"
    found = damaged(made, tmp_path, line, line + "from transformers.models.gemma.modeling_gemma import GemmaMLP\n")
    assert any(c.name == "text" and "gemma" in c.why for c in found), found
    assert any(c.name == "needs no model of transformers" for c in found), found


def test_a_cache_that_is_left_aside_is_found(made, tmp_path):
    found = damaged(
        made, tmp_path, "if cache is not None:\n            key_states", "if False:\n            key_states"
    )
    assert any(c.name == "generate without a cache" and "logits differ" in c.why for c in found), found


def test_a_broken_loss_is_found(made, tmp_path):
    found = damaged(made, tmp_path, "loss = self.loss_function(", "loss = 2 * self.loss_function(")
    assert any(c.name == "as upstream" and "loss is" in c.why for c in found), found


def test_a_class_that_cannot_be_built_is_found(made, tmp_path):
    found = damaged(made, tmp_path, "self.lm_head = nn.Linear(", "self.lm_head = nn.Linearr(")
    assert any(c.name == "builds and runs" and "Linearr" in c.why for c in found), found


def test_a_missing_key_is_found(made, tmp_path):
    change = (
        "state = super().state_dict(*a, **k)\n        state.pop('model.norm.weight', None)\n        return state\n"
    )
    head = "    def state_dict(self, *a, **k):\n        " + change
    found = damaged(
        made,
        tmp_path,
        "    def forward(\n        self,\n        input_ids",
        head + "\n    def forward(\n        self,\n        input_ids",
    )
    assert any(c.why for c in found), found


def test_a_folder_without_generated_files_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match=r"run main\.py"):
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
