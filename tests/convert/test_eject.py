"""A built-in model as a folder of its own: the same numbers, as a user types it, and what a mistake says."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pinfold.audit.run import audit
from pinfold.cli.main import main
from pinfold.common.errors import UserError
from pinfold.convert import convert, describe, eject
from pinfold.convert.read.model import kind_of
from pinfold.convert.write import couplings
from pinfold.convert.write.attributes import keep_attributes
from pinfold.convert.write.facts import Facts
from pinfold.convert.write.finish import requirements
from pinfold.convert.write.imports import absolute_imports, optional_imports
from pinfold.folder.model_folder import read_modules

TEXT = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
PICTURE = {"image_size": 16, "patch_size": 8, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
# model: configuration, class with a loss, its Auto class, sizes, inputs
CASES = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", "AutoModelForCausalLM", TEXT, "input_ids=ids, labels=ids"),
    "bert": ("BertConfig", "BertForMaskedLM", "AutoModelForMaskedLM", TEXT, "input_ids=ids, labels=ids"),
    "vit": (
        "ViTConfig", "ViTForImageClassification", "AutoModelForImageClassification", PICTURE | {"num_labels": 3},
        "pixel_values=torch.rand(2, 3, 16, 16), labels=torch.tensor([1, 2])",
    ),
    "t5": (
        "T5Config", "T5ForConditionalGeneration", "AutoModelForSeq2SeqLM",
        {"vocab_size": 99, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
         "decoder_start_token_id": 0}, "input_ids=ids, labels=ids",
    ),
    "speech_to_text": (  # its classes begin with Speech2Text, but for one
        "Speech2TextConfig", "Speech2TextForConditionalGeneration", "AutoModelForSpeechSeq2Seq",
        {"vocab_size": 99, "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
         "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48},
        "input_features=torch.rand(2, 24, 80), labels=ids",
    ),
    "clip": (
        "CLIPConfig", "CLIPModel", "AutoModel", {"text_config": TEXT, "vision_config": PICTURE, "projection_dim": 16},
        "input_ids=ids, pixel_values=torch.rand(2, 3, 16, 16), return_loss=True",
    ),
}  # fmt: skip
# run for each case in a namespace that has it: one process for all of them
SAME = """
from transformers import {config}, {cls}
from my_{name}.configuration_my_{name} import My{config}
from my_{name}.modeling_my_{name} import My{cls}
ids = torch.arange(3, 19).view(2, 8)
torch.manual_seed(0)
stock = {cls}({config}(**{sizes!r})).eval()
ours = My{cls}(My{config}(**{sizes!r}))
ours.load_state_dict(stock.state_dict())  # strict: every name is the original's
ours.save_pretrained("saved_{name}")
again, told = transformers.{auto}.from_pretrained("saved_{name}", trust_remote_code=True, output_loading_info=True)
again = again.eval()
assert type(again).__module__.startswith("transformers_modules") and type(again).__name__ == "My{cls}"
assert not told["missing_keys"] and not told["unexpected_keys"], told
assert again.config.model_type == "my_{name}"
given = dict({inputs})
a, b = stock(**given).to_tuple(), again(**given).to_tuple()
assert len(a) == len(b) and a[0].ndim == 0 and a[0] > 0  # the loss comes first
for x, y in zip(a, b):
    assert not isinstance(x, torch.Tensor) or torch.equal(x, y)
stock.save_pretrained("stock_{name}")
loaded, told = My{cls}.from_pretrained("stock_{name}", output_loading_info=True)  # a published checkpoint's names
assert not told["missing_keys"] and not told["unexpected_keys"], told
"""


def refused(folder: Path, monkeypatch, capsys, *more: str) -> str:
    """What `python main.py` says in this folder of a mistake: one line."""
    monkeypatch.chdir(folder)
    assert main(["convert", *more]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


@pytest.fixture(scope="module")
def ejected(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ejected")
    for name in CASES:
        eject.eject(name, folder / f"my_{name}")
    return folder


RUN_ALL = """
import json, sys, traceback
import torch, transformers
failed = {}
for name, code in json.load(sys.stdin).items():
    try:
        exec(code, {"torch": torch, "transformers": transformers})
    except Exception:
        failed[name] = traceback.format_exc()[-2000:]
print("FAILED", json.dumps(failed))
"""


@pytest.fixture(scope="module")
def failed(ejected):
    """Case -> how it failed, of those that did; run in one process, as importing takes longer than the cases."""
    fields = ("config", "cls", "auto", "sizes", "inputs")
    codes = {name: SAME.format(name=name, **dict(zip(fields, case, strict=True))) for name, case in CASES.items()}
    result = subprocess.run(
        [sys.executable, "-c", RUN_ALL], input=json.dumps(codes), cwd=ejected, capture_output=True, text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ejected), "HF_HUB_OFFLINE": "1", "HF_HOME": str(ejected / "home")},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    return json.loads(result.stdout.rpartition("FAILED ")[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", list(CASES))
def test_the_copy_gives_the_originals_numbers_and_loss_as_remote_code(name, failed):
    assert name not in failed, failed[name]


@pytest.mark.parametrize("name", ["llama", "vit", "t5", "clip"])
@pytest.mark.slow
def test_the_folder_passes_the_checker(name, ejected, capsys):
    main(["check", str(ejected / f"my_{name}")])
    assert "0 errors" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit", "t5"])
def test_a_folder_claims_only_releases_that_can_import_it(name, ejected):
    """Everything that they import is there from 5.2 on, but @strict refuses their configurations up to 5.3."""
    text = (ejected / f"my_{name}" / f"configuration_my_{name}.py").read_text()
    assert "@strict" in text and 'MIN_TRANSFORMERS = "5.4.0"' in text


@pytest.mark.slow
def test_the_test_that_is_written_passes(ejected):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "my_t5", "my_clip"]
    result = subprocess.run(
        command, cwd=ejected, capture_output=True, text=True, timeout=120,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(ejected / "home")},
    )  # fmt: skip
    assert result.returncode == 0 and "2 passed" in result.stdout, result.stdout[-2000:]


@pytest.mark.parametrize(
    ("typed", "stem"),
    [
        ("GPT 2", "gpt2"), ("gpt-2", "gpt2"), ("LLaMA", "llama"), ("gpt", "openai"), ("OpenAI-GPT", "openai"),
        ("deberta_v2", "deberta_v2"), ("DeBERTa-v2", "deberta_v2"), ("data2vec_audio", "data2vec_audio"),
        ("xlm-roberta", "xlm_roberta"), ("esmfold", "esmfold"), ("clip_text_model", "clip"),
    ],
)  # fmt: skip
def test_names_are_found_in_any_spelling(typed, stem):
    assert eject.find_base(typed).stem == stem


def test_an_unknown_name_gets_the_nearest_in_one_line(tmp_path, monkeypatch, capsys):
    assert "llama" in refused(tmp_path, monkeypatch, capsys, "--eject", "lama", "my_lama")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_there_is_left_alone(tmp_path, monkeypatch, capsys):
    (tmp_path / "my_bert").mkdir()
    (tmp_path / "my_bert/mine.txt").write_text("mine")
    assert "already exists" in refused(tmp_path, monkeypatch, capsys, "--eject", "bert", "my_bert")
    assert [p.name for p in tmp_path.rglob("*")] == ["my_bert", "mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise UserError("no")

    monkeypatch.setattr(convert, "finish", fail)
    with pytest.raises(UserError):
        eject.eject("bert", tmp_path / "my_bert")
    assert not list(tmp_path.iterdir())


KINDS = """
import json, numpy, torch, transformers
from my_bert.tokenization_my_bert import MyBertTokenizer
from my_clip.configuration_my_clip import MyCLIPConfig
from my_clip.image_processing_my_clip import MyCLIPImageProcessor
from my_clip.modeling_my_clip import MyCLIPModel
from my_clip.processing_my_clip import MyCLIPProcessor
from my_clip.tokenization_my_clip import MyCLIPTokenizer
from my_whisper.feature_extraction_my_whisper import MyWhisperFeatureExtractor
from my_whisper.processing_my_whisper import MyWhisperProcessor
from my_whisper.tokenization_my_whisper import MyWhisperTokenizer

def again(auto, folder):
    found = getattr(transformers, auto).from_pretrained(folder, trust_remote_code=True)
    assert type(found).__module__.startswith("transformers_modules"), type(found)
    return found

open("vocab.txt", "w").write("\\n".join("[PAD] [UNK] [CLS] [SEP] [MASK] hello world ##s".split()))
MyBertTokenizer("vocab.txt").save_pretrained("bert")
a, b = transformers.BertTokenizer("vocab.txt"), again("AutoTokenizer", "bert")
assert a("Hello worlds").input_ids == b("Hello worlds").input_ids == [2, 5, 6, 7, 3]

letters = [chr(c) for c in range(97, 123)]
words = ["<|startoftext|>", "<|endoftext|>", *letters, *(x + "</w>" for x in letters), "he"]
json.dump({w: i for i, w in enumerate(words)}, open("vocab.json", "w"))
open("merges.txt", "w").write("#version: 0.2\\nh e\\n")
text, small = ("vocab.json", "merges.txt"), {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
MyCLIPProcessor(MyCLIPImageProcessor(**small), MyCLIPTokenizer(*text)).save_pretrained("clip")
stock = transformers.CLIPProcessor(transformers.CLIPImageProcessor(**small), transformers.CLIPTokenizer(*text))
picture = (numpy.random.RandomState(0).rand(3, 20, 24) * 255).astype("uint8")
given = {"text": ["hello"], "images": [picture], "return_tensors": "pt"}
a, b = stock(**given), again("AutoProcessor", "clip")(**given)
assert a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
MyCLIPModel(MyCLIPConfig(text_config=dict(TEXT), vision_config=dict(PICTURE))).save_pretrained("clip")
parts = {"tokenizer": again("AutoTokenizer", "clip"), "image_processor": again("AutoImageProcessor", "clip")}
pipe = transformers.pipeline("zero-shot-image-classification", again("AutoModel", "clip"), **parts)
from PIL import Image
found = pipe(Image.fromarray(picture.transpose(1, 2, 0)), candidate_labels=["a", "he"])
assert type(pipe.model).__name__ == "MyCLIPModel" and abs(sum(x["score"] for x in found) - 1) < 1e-4

sound = MyWhisperFeatureExtractor(feature_size=16, chunk_length=1)
MyWhisperProcessor(sound, MyWhisperTokenizer(*text)).save_pretrained("whisper")
wave = numpy.sin(numpy.arange(16000) / 10).astype("float32")
stock = transformers.WhisperFeatureExtractor(feature_size=16, chunk_length=1)
for auto in ("AutoFeatureExtractor", "AutoProcessor"):
    a, b = (x(wave, sampling_rate=16000, return_tensors="pt") for x in (stock, again(auto, "whisper")))
    assert torch.equal(a.input_features, b.input_features)
"""


@pytest.mark.slow
def test_tokenizers_and_processors_come_along_and_are_found_by_auto_classes(tmp_path, capsys):
    wanted = {
        "bert": "tokenizer", "clip": "tokenizer,image-processor,processor",
        "whisper": "tokenizer,feature_extractor,processor",
    }  # fmt: skip
    for name, kinds in wanted.items():
        assert main(["convert", "--eject", name, str(tmp_path / f"my_{name}"), "--with", kinds]) == 0
    sizes = f"TEXT = {TEXT | {'max_position_embeddings': 77}}\nPICTURE = {PICTURE}\n"
    result = subprocess.run(
        [sys.executable, "-c", sizes + KINDS], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    assert main(["check", str(tmp_path / "my_clip")]) == 0 and "0 errors" in capsys.readouterr().out
    with pytest.raises(UserError, match="any of tokenizer"):
        eject.eject("bert", tmp_path / "other", kinds=("tokeniser",))


@pytest.mark.slow
def test_parts_of_other_files_and_other_models_come_along(tmp_path):
    """BLIP has two text embeddings, DPR takes BERT, MaskFormer reaches its Swin through AutoBackbone alone."""
    texts = {}
    for name in ("blip", "dpr", "maskformer"):
        eject.eject(name, tmp_path / f"my_{name}")
        texts[name] = (tmp_path / f"my_{name}/modeling_my_{name}.py").read_text()
        assert not re.search(r"^ *(import|from) transformers\.models\.", texts[name], re.MULTILINE)
    assert "\nclass MyBlipTextEmbeddings(" in texts["blip"] and "\nclass MyBlipTextEmbeddings2(" in texts["blip"]
    assert "self.bert_model = MyDPRBertModel(config" in texts["dpr"] and "\nclass MyDPRBertModel(" in texts["dpr"]
    assert "\nclass MyMaskFormerSwinBackbone(" in texts["maskformer"]
    autos = re.findall(r'^MyBlipForConditionalGeneration\.register_for_auto_class\("(\w+)"', texts["blip"], re.M)
    assert "AutoModelForImageTextToText" in autos
    assert "TextModel.register_for_auto_class" not in texts["blip"]  # a tower: config.json is the whole model's


@pytest.mark.slow
def test_describe_names_parameters_classes_and_what_is_overridden():
    lines = describe.describe("llama")
    text = "\n".join(lines)
    assert max(map(len, text.splitlines())) <= 100 and "hidden_size=4096" in text
    assert "LlamaMLP(nn.Module)" in text and "overridden" in text and "forward(x)" in text


# --- couplings -------------------------------------------------------------------------------------------------------


def test_an_optional_import_goes_into_a_try():
    text = (
        "import torch\n\n\ndef f():\n    if on():\n        import deepspeed\n    import os\n    return deepspeed, os\n"
    )
    new = optional_imports(text)
    assert "        try:" in new and "            import deepspeed\n        except ImportError:\n" in new
    assert "    import os\n" in new and optional_imports(new) == new
    compile(new, "text", "exec")


def test_a_guard_asks_for_the_name_of_the_class():
    text = "def f(x):\n    return isinstance(x, (dict, AConfig)) or isinstance(x, BConfig) or isinstance(x, int)\n"
    space: dict = {}
    exec(couplings.config_guards(text, frozenset({"AConfig", "BConfig"})), space)
    other = type("AConfig", (), {"y": None})
    assert space["f"](other()) and space["f"]({}) and space["f"](1)
    assert not space["f"](type("C", (), {"y": None})())


def test_a_renamed_class_keeps_its_loss():
    text = (
        "class XForObjectDetection(XPreTrainedModel):\n    def __init__(self, config):\n"
        "        super().__init__(config)\n        self.a = 1\n"
    )
    new = couplings.losses(text, {"XForObjectDetection": "RTDetrForObjectDetection"})
    assert '        super().__init__(config)\n        self.loss_type = "RTDetrForObjectDetection"\n' in new
    assert couplings.losses(text, {"XForObjectDetection": "DetrForObjectDetection"}) == text


def test_attributes_keep_their_names_and_model_types_do_not():
    known = Facts("my_bert", lows={"my_bert": "bert"})
    text = 'class C:\n    model_type = "my_bert"\n    base_model_prefix = "my_bert"\n    x = self.my_bert\n'
    new = keep_attributes(text, known)
    assert 'model_type = "my_bert"' in new and 'base_model_prefix = "bert"' in new and "self.bert" in new


def test_types_of_other_architectures_keep_their_name():
    known = Facts("my_vibevoice", lows={"my_vibevoice": "vibevoice"}, of_type={"my_vibevoice": "C"})
    text = 'x = Spec(model_type="my_vibevoice_asr")\ny = Spec(model_type="my_vibevoice")\n'
    new = keep_attributes(text, known)
    assert '"vibevoice_asr"' in new and '"my_vibevoice"' in new


def test_imports_inside_of_functions_are_absolute():
    text = (
        "def f():\n    from ..auto.modeling_auto import AutoModel\n    from ...utils import logging\n\n\n"
        "if TYPE_CHECKING:\n    from transformers.models.bert.modeling_bert import BertModel\n"
    )
    new = absolute_imports(text)
    assert "    from transformers import AutoModel\n    from transformers.utils import logging" in new
    assert "TYPE_CHECKING" not in new and "bert" not in new


OF_TYPES = {
    "alone": ("if TYPE_CHECKING:\n    from .modeling_lens import LensOutput\n", False),
    "two files": (
        "if TYPE_CHECKING:\n    from .modeling_lens import (\n        A,\n        B,\n    )\n    from .ops import C\n",
        False,
    ),
    "beside a library": ("if TYPE_CHECKING:\n    import torch\n    from .modeling_lens import LensOutput\n", True),
}


@pytest.mark.parametrize("imports", [*map("from typing import {}\n".format, ("TYPE_CHECKING", "Any, TYPE_CHECKING"))])
@pytest.mark.parametrize("block, stays", OF_TYPES.values(), ids=OF_TYPES)
def test_files_of_the_folder_that_only_type_checkers_read_are_not_imported(block, stays, imports):
    # the loader of transformers takes such an import for one that a load needs
    text = f"{imports}\n{block}\n\ndef f(x: 'LensOutput') -> 'Any':\n    return x\n"
    new = absolute_imports(text)
    assert "from ." not in new and ("TYPE_CHECKING" in new) == stays and ("import torch" in new) == stays
    assert ("Any" in new.split("def")[0]) == ("Any" in imports)
    scope: dict = {}
    exec(compile(new, "lens", "exec"), scope)
    assert scope["f"](1) == 1


@pytest.mark.parametrize(
    ("imports", "line"),
    [
        ("from torchvision.transforms.v2 import functional as tvF\n", "REQUIREMENTS = ('torchvision',)"),
        ("import einops\nfrom PIL import Image\nimport os.path\n", "REQUIREMENTS = ('einops', 'pillow')"),
        ("import torch\n\n\ndef f():\n    import timm\n    return timm\n", "REQUIREMENTS = ('timm',)"),
        ("import torch, math\nfrom transformers import PreTrainedModel\nfrom .configuration_x import XConfig\n", ""),
        ("try:\n    import flash_attn\nexcept ImportError:\n    flash_attn = None\n", ""),
    ],
)
def test_packages_that_the_loader_asks_for_are_declared(imports, line, tmp_path):
    written = "\n".join(requirements(imports, "5.4"))
    assert written.strip() == line
    imports += (
        "\nfrom transformers import PretrainedConfig\n\nclass XConfig(PretrainedConfig):\n    model_type = 'x'\n"
    )
    imports += "\n\nXConfig.register_for_auto_class()\n"
    (tmp_path / "modeling_x.py").write_text(imports + written)
    findings = audit(tmp_path, read_modules(tmp_path))
    assert "P08" not in {finding.code for finding in findings}
    (tmp_path / "modeling_x.py").write_text(imports)
    assert ("P08" in {finding.code for finding in audit(tmp_path, read_modules(tmp_path))}) == bool(line)


def test_ids_that_the_model_reads_are_fields():
    config = "class AConfig(PreTrainedConfig):\n    size: int = 3\n    pad_token_id: int | None = 0\n"
    model = (
        "class A(PreTrainedModel):\n    config: AConfig\n\n    def f(self):\n"
        "        return self.config.decoder_start_token_id, self.config.pad_token_id\n"
    )
    new = couplings.special_tokens(config, model)
    assert new == config.rstrip() + "\n    decoder_start_token_id: int | None = None\n"
    assert couplings.special_tokens(new, model) == new


def test_the_kinds_that_can_be_asked_for_have_an_auto_class():
    assert all(kind_of(x) in couplings.AUTO_OF_KIND for x in ("ATokenizer", "AProcessor", "AFeatureExtractor"))
