"""modular_x.py -> a folder, as a user types it; test_golden.py compares with what transformers' own converter made."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers
from helpers.processes import ROOT

from pinfold.cli.main import main
from pinfold.convert.convert import convert
from pinfold.convert.lowest import docstrings
from pinfold.convert.merge.classes import merge_class
from pinfold.convert.merge.members import split_class
from pinfold.convert.read import names

MODELS = Path(transformers.__file__).parent / "models"
DECODER = '''
import torch
from torch import nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaRMSNorm


class MyConfig(LlamaConfig):
    """A Llama whose norms start at zero."""


class MyRMSNorm(LlamaRMSNorm):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__(hidden_size, eps)
        self.weight = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, hidden_states):
        x = hidden_states.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (x * (1.0 + self.weight.float())).type_as(hidden_states)


class MyForCausalLM(LlamaForCausalLM):
    pass
'''
SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}


def run(folder: Path, *more: str, seed: str = "random") -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "main.py"), *more]
    environment = os.environ | {"PYTHONHASHSEED": seed}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, env=environment)


@pytest.fixture
def here(monkeypatch, capsys):
    """here(folder, "--check") -> (exit code, stdout, stderr) of the same command in this process."""

    def command(folder: Path, *more: str) -> tuple[int, str, str]:
        monkeypatch.chdir(folder)
        return main(["convert", *more]), *capsys.readouterr()

    return command


def write(folder: Path, text: str, name: str = "my") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"modular_{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("decoder") / "my_model"
    write(folder, DECODER)
    result = run(folder.parent, seed="1")
    assert result.returncode == 0, result.stderr
    return folder


OUTPUTS = """
import sys, torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM, LlamaConfig
sizes = {sizes}
ids = torch.arange(20).view(2, 10)
torch.manual_seed(0)
stock = LlamaForCausalLM(LlamaConfig(**sizes)).eval()
from my_model.configuration_my import MyConfig
from my_model.modeling_my import MyForCausalLM
assert not [m for m in sys.modules if m.startswith("my_model") and "llama" in m]
ours = MyForCausalLM(MyConfig(**sizes)).eval()
weights = stock.state_dict()
for name in weights:
    if "norm" in name:
        weights[name] = weights[name] - 1  # the scale is 1 + weight here
ours.load_state_dict(weights)
a, b = stock(ids, labels=ids), ours(ids, labels=ids)
assert torch.equal(a.logits, b.logits) and torch.equal(a.loss, b.loss)
assert torch.equal(stock.generate(ids, max_new_tokens=4), ours.generate(ids, max_new_tokens=4))
ours.save_pretrained("saved")
again = AutoModelForCausalLM.from_pretrained("saved", trust_remote_code=True).eval()
assert type(again).__module__.startswith("transformers_modules") and torch.equal(again(ids).logits, b.logits)
assert again.config.model_type == "my"
"""


@pytest.mark.slow
def test_a_subclass_of_llama_gives_the_numbers_of_llama_alone_and_as_remote_code(converted):
    """With the norm's weights shifted by one both are the same function, so a difference is the converter's."""
    result = subprocess.run(
        [sys.executable, "-c", OUTPUTS.replace("{sizes}", repr(SIZES))],
        cwd=converted.parent, capture_output=True, text=True, timeout=300,
        env=os.environ | {"PYTHONPATH": str(converted.parent), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]


@pytest.mark.slow
def test_the_folder_passes_the_checker(converted, capsys):
    assert main(["check", str(converted)]) == 0
    assert "0 errors, 0 warnings" in capsys.readouterr().out


def test_the_header_names_what_was_taken_and_the_lowest_version_is_enforced(converted):
    modeling, configuration = ((converted / f"{x}_my.py").read_text() for x in ("modeling", "configuration"))
    assert "#   transformers.models.llama.modeling_llama.LlamaMLP " in modeling and "Apache License" in modeling
    assert "MIN_TRANSFORMERS" in configuration and "Copyright" in configuration
    assert modeling.rstrip().endswith('MyForCausalLM.register_for_auto_class("AutoModelForCausalLM")')


@pytest.mark.slow
def test_check_finds_an_edited_file_an_edited_source_and_a_changed_symbol(converted, tmp_path, here):
    folder = tmp_path / "my_model"
    path = write(folder, DECODER)
    for file in ("modeling_my.py", "configuration_my.py"):
        (folder / file).write_bytes((converted / file).read_bytes())
    assert run(tmp_path, "--check").returncode == 0  # in another process than the one that wrote it
    modeling = folder / "modeling_my.py"
    text = modeling.read_text()
    modeling.write_text(text + "\nX = 1\n")
    assert here(tmp_path, "--check")[0] == 1
    line = next(x for x in text.splitlines() if "LlamaMLP" in x)
    modeling.write_text(text.replace(line, line[:-16] + "0" * 16))
    code, out, _ = here(tmp_path, "--check")
    assert code == 1 and "changed upstream: transformers.models.llama.modeling_llama.LlamaMLP" in out
    modeling.write_text(text)
    path.write_text(DECODER.replace("1.0 +", "2.0 +"))
    assert here(tmp_path, "--check")[0] == 1


@pytest.mark.slow
def test_the_same_bytes_over_hash_seeds(converted, tmp_path):
    write(tmp_path, DECODER)
    assert run(tmp_path, seed="2").returncode == 0  # the other was made with 1
    assert (tmp_path / "modeling_my.py").read_bytes() == (converted / "modeling_my.py").read_bytes()


LLAMA = "from transformers.models.llama.modeling_llama "
BAD = {
    "from transformers.models.lama.modeling_lama import LamaMLP\nclass MyMLP(LamaMLP):\n    pass\n": "does not exist",
    LLAMA + "import LlamaMPL\nclass MyMLP(LlamaMPL):\n    pass\n": "has no LlamaMPL",
    LLAMA + "import LlamaMLP, LlamaAttention\nclass MyMLP(LlamaMLP, LlamaAttention):\n    pass\n": "two bases",
    "class MyMLP(:\n": "modular_my.py:1",
    LLAMA + "import *\n": "name the symbols",
    LLAMA + "import LlamaMLP\nclass list(LlamaMLP):\n    pass\n": "hides Python's",
}


@pytest.mark.parametrize("text", BAD, ids=BAD.values())
def test_a_mistake_is_one_line_and_nothing_is_written(text, tmp_path):
    path = write(tmp_path, text)
    result = run(tmp_path, str(path))
    assert result.returncode == 2 and BAD[text] in result.stderr and len(result.stderr.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["modular_my.py"]


def test_a_file_of_the_users_own_is_not_overwritten(here, tmp_path):
    write(tmp_path, DECODER)
    (tmp_path / "modeling_my.py").write_text("mine = 1\n")
    code, _, err = here(tmp_path)
    assert code == 2 and "--overwrite" in err
    assert (tmp_path / "modeling_my.py").read_text() == "mine = 1\n" and not (
        tmp_path / "configuration_my.py"
    ).exists()


def test_a_generated_file_that_is_read_only_is_not_replaced(here, tmp_path):
    path = write(tmp_path, DECODER)
    assert here(tmp_path)[0] == 0
    made = tmp_path / "modeling_my.py"
    before = made.read_bytes()
    made.chmod(0o444)
    path.write_text(path.read_text() + "\n\nLIMIT = 3\n")
    code, _, err = here(tmp_path)
    assert code == 2 and "modeling_my.py is read-only" in err
    assert made.read_bytes() == before and len(err.strip().splitlines()) == 1


def test_super_with_code_after_an_early_return_keeps_pythons_meaning():
    """The parent's body cannot be pasted there: it stays a method of its own."""
    parent = split_class("class A(B):\n    def f(self, x):\n        if x:\n            return 1\n        return 2")
    child = split_class("class C(A):\n    def f(self, x):\n        super().f(x)\n        return 3")
    space: dict = {"B": object}
    exec(merge_class(child, parent).text(), space)  # what the merge made of the two lines above
    assert space["C"]().f(1) == 3 and space["C"]().f(0) == 3


def test_super_that_is_assigned_keeps_pythons_meaning():
    parent = split_class("class A(B):\n    def f(self, x):\n        return x + 1")
    child = split_class("class C(A):\n    def f(self, x):\n        y = super().f(x)\n        return y * 10")
    space: dict = {"B": object}
    exec(merge_class(child, parent).text(), space)
    assert space["C"]().f(2) == 30


@pytest.mark.parametrize(
    ("word", "new"),
    [
        ("LlamaMLP", "MyMLP"), ("llama", "my"), ("LLAMA_X", "MY_X"), ("CodeLlama", "CodeLlama"), ("llamas", "llamas"),
        ("init_llama_weights", "init_my_weights"),
    ],
)  # fmt: skip
def test_names_change_by_whole_parts(word, new):
    assert names.Renaming("llama", "Llama", "my", "My").word(word) == new


def test_tensors_methods_keep_their_names():
    renaming = names.Renaming("clip", "CLIP", "my", "My")
    assert renaming.text("x = torch.clip(a, 0).clip(max=1) + self.clip(b) + CLIPModel") == (
        "x = torch.clip(a, 0).clip(max=1) + self.my(b) + MyModel"
    )
    assert torch.clip is not None


STATEMENTS = """
import collections.abc

from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm


def attention(module, query, key, value, mask, **kwargs):
    return value, None


ALL_ATTENTION_FUNCTIONS["mine"] = attention
for name in ("yours", "theirs"):
    ALL_ATTENTION_FUNCTIONS[name] = attention


# a comment is no decorator
class MyRMSNorm(LlamaRMSNorm):
    pass


class MyMLP(LlamaMLP):
    def several(self, x):
        return isinstance(x, collections.abc.Iterable)


if __name__ == "__main__":
    print(MyMLP)
"""


def test_what_binds_no_name_comes_along_and_what_a_class_is_marked_with_stays(tmp_path):
    made = convert(write(tmp_path, STATEMENTS)).files["modeling_my.py"]
    assert 'ALL_ATTENTION_FUNCTIONS["mine"] = attention' in made and 'for name in ("yours", "theirs"):' in made
    assert '@use_kernel_forward_from_hub("RMSNorm")\nclass MyRMSNorm(' in made
    assert "import collections.abc\n" in made and "__main__" not in made
    space: dict = {}
    exec(made, space)  # the file that was made above
    assert space["ALL_ATTENTION_FUNCTIONS"]["theirs"] is space["attention"]
    for name in ("mine", "yours", "theirs"):
        space["ALL_ATTENTION_FUNCTIONS"].pop(name)


def test_marks_that_only_rename_an_argument_stand_beside_the_parents():
    parent = split_class("class A(B):\n    @one\n    @deprecate_kwarg('x')\n    def f(self):\n        pass")
    child = split_class("class C(A):\n    @deprecate_kwarg('x')\n    def f(self):\n        return 1")
    assert "    @one\n    @deprecate_kwarg('x')\n    def f" in merge_class(child, parent).text()
    child = split_class("class C(A):\n    @two\n    def f(self):\n        return 1")
    assert "@one" not in merge_class(child, parent).text()


def test_a_static_methods_arguments_begin_with_its_first():
    parent = split_class("class A(B):\n    @staticmethod\n    def f(x, y=None):\n        return x if y is None else y")
    child = split_class("class C(A):\n    @staticmethod\n    def f(x, y=None):\n        return super().f(x, y)")
    space: dict = {"B": object}
    exec(merge_class(child, parent).text(), space)  # what the merge made of the two lines above
    assert space["C"].f(1) == 1 and space["C"].f(1, 2) == 2


def test_helpers_of_two_image_processors_stay_apart(tmp_path):
    """DETR's file for torch and its file for PIL each have a `masks_to_boxes`, of tensors and of arrays."""
    head = "from transformers.models.detr."
    made = convert(
        write(
            tmp_path,
            f"{head}image_processing_detr import DetrImageProcessor\n"
            f"{head}image_processing_pil_detr import DetrImageProcessorPil\n"
            "class MyImageProcessor(DetrImageProcessor):\n    pass\n"
            "class MyImageProcessorPil(DetrImageProcessorPil):\n    pass\n",
        )
    ).files
    assert "def masks_to_boxes(masks: torch.Tensor)" in made["image_processing_my.py"]
    assert "def masks_to_boxes(masks: np.ndarray)" in made["image_processing_pil_my.py"]
    assert made["image_processing_my.py"].count("def masks_to_boxes") == 1


DECORATED = '''class OddModel(OddPreTrainedModel):
    # what follows is a remark
    def __init__(self, config):
        super().__init__(config)


class OddForSequenceClassification(OddPreTrainedModel):
    """Its own words."""

    @auto_docstring(custom_intro="...")
    def forward(
        self, input_ids, labels=None, odd=None
    ) -> SequenceClassifierOutput:
        # a remark of the first line
        return input_ids
'''


def test_what_a_decorator_would_have_documented_is_written_out():
    text = docstrings.documented(DECORATED)  # nothing marks the first class: it stays as it is
    assert text.startswith(DECORATED.partition("    ) ->")[0])
    method = ast.parse(text).body[1].body[1]
    wanted = "Returns SequenceClassifierOutput.\n\nArgs:\n    input_ids: (batch, tokens), indices of tokens in the "
    wanted += "vocabulary.\n    labels: (batch,) class indices, or (batch, num_labels) values; gives a loss."
    assert ast.get_docstring(method) == wanted
    marked = docstrings.documented("@auto_docstring\n" + DECORATED)
    assert ast.get_docstring(ast.parse(marked).body[0]) == "The model without a head; gives hidden states."
    assert docstrings.documented(marked) == marked  # once is enough
