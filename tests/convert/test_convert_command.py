"""`python main.py` as a user runs it: several files, one file instead of two, bases of one's own, and a push."""

import ast
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.processes import ROOT, clean_environment, listen_to_ctrl_c

from pinfold.cli.main import main
from pinfold.common.errors import UserError
from pinfold.convert import files, verify
from pinfold.convert.convert import new_workspace
from pinfold.convert.merge import unroll

MY = '''
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaForCausalLM, LlamaMLP


class MyConfig(LlamaConfig):
    """A Llama whose feed-forward network counts for more."""

    scale: float = 2.0


class MyMLP(LlamaMLP):
    def forward(self, x):
        return super().forward(x) * self.config.scale


class MyAttention(LlamaAttention):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.scaling = 0.5 * self.scaling


class MyForCausalLM(LlamaForCausalLM):
    pass
'''
OTHER = """
from my_model.modular_my import MyConfig, MyForCausalLM, MyMLP


class OtherConfig(MyConfig):
    model_type = "other"


class OtherMLP(MyMLP):
    def forward(self, x):
        return super().forward(x) + x


class OtherForCausalLM(MyForCausalLM):
    pass
"""
BROKEN = "from transformers.models.llama.modeling_llama import LlamaMPL\n\n\nclass BadMLP(LlamaMPL):\n    pass\n"


def write(root: Path, name: str, text: str) -> Path:
    folder = root / f"{name}_model"
    folder.mkdir(exist_ok=True)
    path = folder / f"modular_{name}.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def convert(tmp_path, monkeypatch, capsys):
    """convert("--check") -> (exit code, stdout, stderr) of main.py in a directory of the test's own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> tuple[int, str, str]:
        code = main(["convert", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


@pytest.mark.slow
def test_files_take_from_each_other_in_any_order_and_import_nothing_of_each_other(forked, convert, tmp_path):
    write(tmp_path, "my", MY)
    other = write(tmp_path, "other", OTHER)
    code, _, err = convert(other)  # the other one's folder is not written yet
    assert code == 0, err
    assert names(tmp_path / "my_model") == ["modular_my.py"]
    first = (tmp_path / "other_model" / "modeling_other.py").read_text()
    assert convert()[0] == 0 and convert("--check")[0] == 0
    text = (tmp_path / "other_model" / "modeling_other.py").read_text()
    assert text == first and "my_model.modeling_my.MyMLP" in text
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    assert "my_model" not in code and not re.search(r"\b(My|Llama)[A-Z]", code)
    assert str(tmp_path) not in text
    checks = verify.verify(tmp_path / "other_model", progress=False).checks
    assert not [c for c in checks if c.why]
    assert {c.cls for c in checks if c.name == "as with inheritance"} == {"OtherForCausalLM", "OtherModel"}
    # a change of the first file is a change of the second
    write(tmp_path, "my", MY.replace("0.5 *", "0.25 *"))
    code, out, _ = convert("--check")
    assert code == 1 and "changed upstream: my_model.modeling_my.MyAttention" in out


def test_modular_files_in_a_circle_are_named_in_full(convert, tmp_path):
    write(
        tmp_path, "my", MY.replace("import LlamaConfig", "import LlamaConfig\nfrom other_model.modular_other import X")
    )
    write(tmp_path, "other", OTHER)
    code, _, err = convert()
    assert code == 2 and "modular files in a circle: " in err and err.count("modular_my.py") >= 2
    assert names(tmp_path / "my_model") == ["modular_my.py"]


@pytest.mark.slow
def test_a_model_folder_of_this_repository_is_a_base_with_its_helper_files(forked, convert, tmp_path):
    for name in ("bert_model", "decoder_model"):
        os.symlink(ROOT / name, tmp_path / name)
    write(tmp_path, "soft", """
from bert_model.configuration_bert import BERTConfig
from bert_model.modeling_bert import BERTForMaskedLM, BERTOutput


class SoftConfig(BERTConfig):
    model_type = "soft"


class SoftOutput(BERTOutput):
    def forward(self, *args):
        return super().forward(*args) * 0.5


class SoftForMaskedLM(BERTForMaskedLM):
    pass
""")  # fmt: skip
    code, _, err = convert("soft_model/modular_soft.py")
    assert code == 0, err
    checks = verify.verify(tmp_path / "soft_model", progress=False).checks
    assert not [c for c in checks if c.why]
    assert {"loss", "gradients", "as with inheritance"} <= {c.name for c in checks if c.cls == "SoftForMaskedLM"}


@pytest.mark.slow
def test_a_base_that_was_lowered_brings_its_stand_ins_along_once(convert, tmp_path):
    """decoder_model comes with the package, so that it is found from a folder outside of the repository."""
    write(tmp_path, "soft", """
from decoder_model.configuration_decoder import DecoderConfig
from decoder_model.modeling_decoder import DecoderForCausalLM

MIN_TRANSFORMERS = "4.48"


class SoftConfig(DecoderConfig):
    model_type = "soft"


class SoftForCausalLM(DecoderForCausalLM):
    pass
""")  # fmt: skip
    code, _, err = convert("soft_model/modular_soft.py")
    assert code == 0, err
    for path in (tmp_path / "soft_model").glob("*_soft.py"):
        tree = ast.parse(path.read_text())
        defined = [n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))]
        defined += [t.id for n in tree.body if isinstance(n, ast.Assign) for t in n.targets if isinstance(t, ast.Name)]
        assert len(defined) == len(set(defined)), path.name
    assert not [c for c in verify.verify(tmp_path / "soft_model", progress=False).checks if c.why]


def test_one_that_cannot_be_converted_leaves_all_as_they_were(convert, tmp_path):
    write(tmp_path, "my", MY)
    write(tmp_path, "bad", BROKEN)
    code, _, err = convert()
    assert code == 2 and len(err.strip().splitlines()) == 1
    assert "bad_model/modular_bad.py:1: " in err and "nearest: LlamaMLP" in err and "nothing was written" in err
    assert names(tmp_path / "my_model") == ["modular_my.py"]


def test_a_write_that_fails_half_way_puts_everything_back(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text(f"{files.MARK}modular_x.py: old\n")
    (tmp_path / "b.py").write_text(f"{files.MARK}modular_x.py: old too\n")
    real, before = os.replace, {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def fails_at_the_second(old, new):
        if Path(new).name == "b.py":
            raise OSError(28, "No space left on device")
        return real(old, new)

    monkeypatch.setattr(files.os, "replace", fails_at_the_second)
    with pytest.raises(UserError, match="No space left on device"):
        files.write({"a.py": "new", "b.py": "new"}, tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.sweep  # a minute; the golden files are converted in every run
def test_many_files_are_converted_side_by_side_into_the_same_bytes(convert, tmp_path):
    for number in range(8):
        write(tmp_path, f"m{number}", MY.replace("My", f"M{number}"))
    code, out, err = convert()
    assert code == 0, err
    assert out.splitlines()[0].startswith("m0_model/modular_m0.py -> ") and len(out.splitlines()) == 8
    alone = new_workspace().convert(tmp_path / "m5_model" / "modular_m5.py").texts
    assert (tmp_path / "m5_model" / "modeling_m5.py").read_text() == alone["modeling_m5.py"]


# processes that start, or import, or convert; what a moment is depends on the machine, and the sweep has more of them
MOMENTS = (2.5, 3.5, 4.5, 5.5)


@pytest.mark.sweep  # pushes and trainings are interrupted in every run
@pytest.mark.parametrize("seconds", MOMENTS)
def test_ctrl_c_is_one_line_and_nothing_is_written(tmp_path, seconds):
    for number in range(12):
        write(tmp_path, f"m{number}", MY.replace("My", f"M{number}"))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "main.py")], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, preexec_fn=listen_to_ctrl_c,
    )  # fmt: skip
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err and "stopped by Ctrl-C" in err
    assert all(len(names(folder)) == 1 for folder in tmp_path.iterdir())


def test_the_table_says_what_each_definition_was_made_from_and_how(convert, tmp_path):
    write(tmp_path, "my", MY)
    rows = {line.split()[0]: line for line in convert("--explain")[1].splitlines()}
    assert "added: scale" in rows["MyConfig"] and "configuration_llama.LlamaConfig" in rows["MyConfig"]
    assert "joined with the parent's: forward" in rows["MyMLP"] or "kept as _inherited_" in rows["MyMLP"]
    assert "joined with the parent's: __init__" in rows["MyAttention"]
    assert "LlamaForCausalLM under another name" in rows["MyForCausalLM"]
    assert "taken along, was LlamaRotaryEmbedding" in rows["MyRotaryEmbedding"]


@pytest.mark.slow
def test_a_merge_that_loses_a_line_is_found_by_the_other_way_of_making_the_class(forked, tmp_path, monkeypatch):
    path = write(tmp_path, "my", MY)
    paste = unroll.paste

    def forgetful(rows, at, theirs, node, parent):
        kept = [m for m in theirs if "self.num_key_value_groups" not in m.text]
        return [m for m in paste(rows, at, kept, node, parent) if "0.5" not in m.text]

    monkeypatch.setattr(unroll, "paste", forgetful)
    files.write({n: t for n, t in new_workspace().convert(path).texts.items()}, path.parent)
    failed = verify.verify(path.parent, progress=False).failed
    assert failed, "both ways agree, though one lost a line"


INLINE = """
import sys
from transformers import AutoConfig, AutoModelForCausalLM
repo, sha = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(repo, revision=sha, trust_remote_code=True)
assert type(model).__module__ == type(model.config).__module__ and "modeling_my" in type(model).__module__
assert type(model.config).__name__ == "MyConfig" and model.config.scale == 3.0
print(model.num_parameters())
"""


@pytest.mark.slow
def test_one_file_with_the_configuration_in_it_goes_to_the_hub_and_comes_back(
    forked, convert, tmp_path, hub, monkeypatch
):
    path = write(tmp_path, "my", MY)
    assert convert()[0] == 0
    code, out, err = convert("--inline-config")
    assert code == 0 and out == "my_model/modular_my.py -> modeling_my.py\n", err
    assert names(path.parent) == ["__init__.py", "modeling_my.py", "modular_my.py"]
    assert convert("--check")[0] == 0 and convert()[0] == 0  # what was chosen stays chosen
    assert names(path.parent) == ["__init__.py", "modeling_my.py", "modular_my.py"]
    text = (path.parent / "modeling_my.py").read_text()
    assert text.index("MIN_TRANSFORMERS") < text.index("from transformers.masking_utils")

    (path.parent / "card.md").write_text(
        "---\nlicense: apache-2.0\npipeline_tag: text-generation\n---\n\n## Limits\n\nRandom weights.\n"
    )
    sizes = (
        "vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, scale=3.0"
    )
    code = (
        f"import torch; from my_model.modeling_my import MyConfig, MyForCausalLM; torch.manual_seed(0); "
        f"MyForCausalLM(MyConfig({sizes})).save_pretrained('checkpoint')"
    )
    environment = clean_environment(tmp_path / "home", PYTHONPATH=str(tmp_path))
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=120)
    monkeypatch.setenv("HF_TOKEN", hub["token"])
    where = ["--repo", "local/inline", "--endpoint", hub["url"], "--versions", "newest"]
    assert main(["push", "my_model", "--checkpoint", "checkpoint", *where]) == 0
    from huggingface_hub import HfApi

    commits = HfApi(endpoint=hub["url"], token=hub["token"]).list_repo_commits("local/inline")
    environment |= {"HF_ENDPOINT": hub["url"], "HF_TOKEN": hub["token"], "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", INLINE, "local/inline", commits[1].commit_id],
        cwd=tmp_path / "home", env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_generated_folder_that_was_edited_by_hand_is_not_pushed(forked, convert, tmp_path, capsys):
    path = write(tmp_path, "my", MY)
    convert()
    modeling = path.parent / "modeling_my.py"
    modeling.write_text(modeling.read_text() + "\nX = 1\n")
    checks = verify.verify(path.parent, progress=False).checks
    assert [c.name for c in checks if c.why] == ["files"]


@pytest.mark.slow
def test_what_changed_upstream_since_is_said_and_not_compared(forked, convert, tmp_path):
    path = write(tmp_path, "my", MY)
    convert()
    for file in path.parent.glob("*_my.py"):
        file.write_text(re.sub(r"(modeling_llama\.LlamaMLP) [0-9a-f]{16}", r"\1 " + "0" * 16, file.read_text()))
    known = verify.sources(path.parent, new_workspace())
    assert not known.paths and "LlamaMLP changed upstream since" in known.notes[0]
    checks = verify.verify(path.parent, progress=False).checks
    assert not [c for c in checks if c.why] and "as with inheritance" not in {c.name for c in checks}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "import transformers\nclass MyForCausalLM(transformers.LlamaForCausalLM): pass",
            "2: transformers.LlamaForCausalLM is reached through a module, which would stay as it is; write: from "
            "transformers import LlamaForCausalLM",
        ),
        (
            "import transformers.models.llama.modeling_llama as llama\nclass MyMLP(llama.LlamaMLP): pass",
            "2: llama.LlamaMLP is reached through a module, which would stay as it is; write: from "
            "transformers.models.llama.modeling_llama import LlamaMLP",
        ),
        (
            "from transformers import LlamaForCausalLM\nX = LlamaForCausalLM\nclass MyForCausalLM(X): pass",
            "3: MyForCausalLM derives from X, which line 2 assigns; derive from LlamaForCausalLM itself",
        ),
        (
            "class MyModel(MyOther): pass\nclass MyOther(MyModel): pass",
            "1: MyModel derives from MyOther, which line 2 defines; a base must come before the "
            "classes that derive from it",
        ),
    ],
)
def test_bases_that_could_not_be_replaced_are_refused(tmp_path, capsys, text, line):
    path = tmp_path / "modular_my.py"
    path.write_text(f"{text}\n")
    assert main(["convert", str(path)]) == 2
    assert capsys.readouterr().err == f"pinfold convert: {path}:{line}\n"
    assert list(tmp_path.iterdir()) == [path]


def test_an_argument_by_a_name_that_callers_no_longer_use_is_refused(tmp_path, capsys, monkeypatch):
    """An attention that takes past_key_values where its callers pass cache would generate without a cache."""
    base = tmp_path / "base" / "modeling_base.py"
    base.parent.mkdir()
    base.write_text(
        "from torch import nn\nfrom transformers.utils.deprecation import deprecate_kwarg\n\n\n"
        "class BaseAttention(nn.Module):\n"
        '    @deprecate_kwarg("past_key_values", "9.0", new_name="cache")\n'
        '    @deprecate_kwarg("mask", "9.0", new_name="attention_mask")\n'
        "    def forward(self, x, attention_mask=None, cache=None, **kwargs):\n        return x\n"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    path = tmp_path / "my" / "modular_my.py"
    head = "from base.modeling_base import BaseAttention\n\n\nclass MyAttention(BaseAttention):\n"
    for method, line in (
        ("forward(self, x, past_key_values=None, **kwargs):\n        return x + 1", "takes past_key_values"),
        ("forward(self, x, past_key_value=None, **kwargs):\n        return x + 1", "takes past_key_value,"),
        ("forward(self, x, mask=None, **kwargs):\n        return x + 1", "callers pass as attention_mask"),
        (
            "forward(self, x, attention_mask=None, cache=None):\n"
            "        return super().forward(x, mask=attention_mask)",
            "write attention_mask=",
        ),
    ):
        path.write_text(f"{head}    def {method}\n")
        assert main(["convert", str(path)]) == 2, method
        assert line in capsys.readouterr().err
    path.write_text(f"{head}    def forward(self, x, attention_mask=None, cache=None):\n        return x + 1\n")
    assert main(["convert", str(path)]) == 0


def test_a_class_that_replaces_nothing_is_named(tmp_path, capsys):
    path = tmp_path / "modular_my.py"
    path.write_text(
        "from transformers.models.llama.modeling_llama import LlamaMLP, LlamaModel\n\n\n"
        "class MyModel(LlamaModel):\n    pass\n\n\n"
        "class MyMlp(LlamaMLP):\n    def forward(self, x):\n        return x\n"
    )
    assert main(["convert", str(path)]) == 0
    line = "line 8: MyMlp is never used, because LlamaMLP is still in its place; rename MyMlp to MyMLP to replace it"
    assert capsys.readouterr().err == f"{path}: {line}\n"
    (tmp_path / "right").mkdir()
    right = tmp_path / "right" / "modular_my.py"
    right.write_text(path.read_text().replace("MyMlp", "MyMLP"))
    assert main(["convert", str(right)]) == 0
    assert capsys.readouterr().err == ""


def test_a_lowest_version_above_this_one_is_refused(tmp_path, capsys):
    path = tmp_path / "modular_my.py"
    path.write_text(
        'MIN_TRANSFORMERS = "99.0"\nfrom transformers import LlamaModel\nclass MyModel(LlamaModel): pass\n'
    )
    assert main(["convert", str(path)]) == 2
    assert f"{path}:1: MIN_TRANSFORMERS is 99.0, and this is transformers " in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [path]
