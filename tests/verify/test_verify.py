"""Verification: what it lets pass, what it stops and in which words, and what the folder's code gets to see.

Most jobs run in forks of a warm process (the fixture ``forked``); those that say "sandboxed" run as users run them.
"""

import dataclasses
import json
import os
import shutil
import sys
import threading
from importlib import metadata
from pathlib import Path

import pytest
import torch
from corpus.bad_models import BAD, without_digest
from corpus.good_models import save_model, write_model
from helpers import tiny
from helpers.versions import VERSIONS
from safetensors.torch import load_file, save_file

from pinfold.common.errors import UserError
from pinfold.fence import process as fence
from pinfold.folder.model_folder import read_folder
from pinfold.remote import snapshot as repository
from pinfold.staging.checkpoint import CodeFrom
from pinfold.staging.stage import stage
from pinfold.verify import verify
from pinfold.verify.results import Unverified

RELEASES = [None if version == "newest" else version for version in reversed(VERSIONS)]
ALL = {"D01", "D02", "D03", "D04", "D05", "D06", "D07", "loss", "bf16", "fp16"}
NO_TEXT = "skipped: the class does not generate"  # what D08 says of a classifier

SPY = """
import os, pathlib, pwd
_seen = {{
    "environment": sorted(k + "=" + v for k, v in os.environ.items()),
    "home": [str(p) for place in (pwd.getpwuid(os.getuid()).pw_dir, {home!r}) for p in pathlib.Path(place).glob("*")],
    "stored": os.path.exists({home!r} + "/.cache/huggingface/token"),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
}}
try:
    _seen["parent"] = "hf_planted" in pathlib.Path("/proc/%d/environ" % os.getppid()).read_text(errors="replace")
except OSError:
    _seen["parent"] = False
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), 2).close()
    _seen["network"] = True
except OSError:
    _seen["network"] = False
import json
pathlib.Path({out!r}, "report.json").write_text(json.dumps(_seen))
"""


@pytest.fixture
def found(overlay):
    """found("5.0.0") -> its directory; None stays None."""
    return lambda version: version and overlay(version)


def prepared(tmp_path, folder, checkpoint, name="staged"):
    directory = tmp_path / "work" / name
    directory.mkdir(parents=True)
    return stage(read_folder(folder), checkpoint, directory), tmp_path / "work"


def verified(tmp_path, folder, checkpoint):
    staged, work = prepared(tmp_path, folder, checkpoint)
    expected = verify.reference(staged, checkpoint, work)
    return expected, verify.staged_load(staged, expected, work)


# --- sandboxed, as users run it ---


def test_sandboxed_a_good_folder_passes_every_check_also_from_two_threads(tmp_path, tiny_folder, tiny_checkpoint):
    staged, work = prepared(tmp_path, tiny_folder, tiny_checkpoint)
    expected, answers = verify.reference(staged, tiny_checkpoint, work), []

    def load():
        answers.append(verify.staged_load(staged, expected, work))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer in answers:
        assert answer["hashes"] == expected.hashes and set(answer["checks"]) >= {*ALL, "D08"}
        assert answer["checks"].pop("D08") == NO_TEXT
        assert set(answer["checks"].values()) == {"ok"} and set(answer["hashes"]) == {
            "AutoModel",
            "AutoModelForSequenceClassification",
        }
    assert len(answers) == 2 and not list(work.glob("staged-*"))


@pytest.mark.slow
def test_sandboxed_a_repository_loads_with_the_code_of_another(tmp_path, tiny_folder, tiny_checkpoint):
    code, sha, code_sha = tmp_path / "code", "a" * 40, "b" * 40
    code.mkdir()
    stage(read_folder(tiny_folder), tiny_checkpoint, code)
    for name in ("model.safetensors", "config.json"):
        (code / name).unlink()
    staged = tmp_path / "work" / "staged"
    staged.mkdir(parents=True)
    staged = stage(read_folder(code), tiny_checkpoint, staged, code_from=CodeFrom("me/code", code_sha))
    home = tmp_path / "work" / "hub-home"
    for repo, revision, files in (("me--weights", sha, staged.directory), ("me--code", code_sha, code)):
        shutil.copytree(files, home / "hub" / f"models--{repo}" / "snapshots" / revision)
        (home / "hub" / f"models--{repo}" / "refs").mkdir()
        (home / "hub" / f"models--{repo}" / "refs" / "main").write_text(revision)
    work = tmp_path / "work"
    expected = verify.reference(staged, tiny_checkpoint, work)
    given = {"hub_home": home, "code_revision": code_sha}
    answer = verify.published_load(staged, expected, work, repo="me/weights", revision=sha, **given)
    assert answer["hashes"] == expected.hashes
    assert answer["checks"]["D07"].startswith("skipped: the modules of a repository on the Hub")
    assert {answer["checks"][name] for name in ALL - {"D06", "D07"}} == {"ok"}
    answer = verify.staged_load(staged, expected, work, **given)
    assert answer["checks"]["D06"] == "ok" and answer["checks"]["D07"].startswith("skipped")


@pytest.mark.slow
def test_sandboxed_a_folder_sees_neither_tokens_nor_home_nor_network(tmp_path, tiny_checkpoint, monkeypatch, hub):
    """A folder that reports all that it can reach, with a token planted in each place where one may lie."""
    home = tmp_path / "home"
    (home / ".cache" / "huggingface" / "modules").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(home / ".cache" / "huggingface" / "modules"))  # as transformers does
    (home / ".cache" / "huggingface" / "token").write_text("hf_planted_in_file")
    monkeypatch.setenv("HOME", str(home))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_API_KEY"):
        monkeypatch.setenv(name, f"hf_planted_in_{name}")
    (tmp_path / "work").mkdir()
    (tmp_path / "out").mkdir()
    spy = SPY.format(home=str(home), out=str(tmp_path / "out"), port=hub["port"])
    sandboxed = fence.sandboxed
    monkeypatch.setattr(
        fence,
        "sandboxed",
        lambda *a, writable=(), **k: sandboxed(*a, writable=[*writable, tmp_path / "out"], **k),
    )
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny=spy + tiny.MODELING)
    (tmp_path / "work" / "staged").mkdir()
    staged = stage(read_folder(folder), tiny_checkpoint, tmp_path / "work" / "staged")
    verify.staged_load(staged, verify.reference(staged, tiny_checkpoint, tmp_path / "work"), tmp_path / "work")
    seen = json.loads((tmp_path / "out" / "report.json").read_text())
    assert not [line for line in seen["environment"] if "planted" in line]
    assert not [n for n in seen["environment"] if n.startswith(("HF_TOKEN", "AWS_", "MY_API"))]
    if not fence.available().program:  # the rest cannot hold there, and the push's output says so
        pytest.skip("this machine allows no namespaces; the environment was checked")
    assert seen["network"] is False
    if fence.available().has_mounts:
        python = {str(p) for base in (sys.prefix, sys.base_prefix) for p in Path(base).resolve().parents}
        assert seen["stored"] is False and set(seen["home"]) <= python  # the interpreter may live in the home
    if fence.available().own_processes:
        assert seen["parent"] is False and seen["processes"] < 6


@pytest.mark.slow
def test_sandboxed_a_folder_that_never_ends_is_stopped(tmp_path, tiny_checkpoint, monkeypatch):
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny="import time\ntime.sleep(600)\n" + tiny.MODELING)
    staged, work = prepared(tmp_path, folder, tiny_checkpoint)
    monkeypatch.setattr(verify, "_limits", lambda staged: {"memory": 8 * fence.GIB, "seconds": 8})
    with pytest.raises(UserError, match="took longer than 8 s"):
        verify.reference(staged, tiny_checkpoint, work)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux limits private memory")
def test_sandboxed_a_folder_that_takes_too_much_memory_is_stopped(tmp_path, tiny_checkpoint, monkeypatch):
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny="hog = bytearray(6 << 30)\n" + tiny.MODELING)
    staged, work = prepared(tmp_path, folder, tiny_checkpoint)
    monkeypatch.setattr(verify, "_limits", lambda staged: {"memory": 4 * fence.GIB, "seconds": 120})
    with pytest.raises(UserError, match="MemoryError"):
        verify.reference(staged, tiny_checkpoint, work)


# --- the corpus ---

GOOD = {
    "masked language": ("bert", {}),
    "regression": ("bert", {"cls": "BertForSequenceClassification", "num_labels": 1, "problem_type": "regression"}),
    "base model alone": ("bert", {"cls": "BertModel"}),
    "questions": ("bert", {"cls": "BertForQuestionAnswering"}),
    "causal": ("causal", {}),
    "recurrent": ("lstm", {}),
    "convolutional": ("cnn", {}),
}


@pytest.mark.slow
@pytest.mark.versions
@pytest.mark.parametrize("case", GOOD)
def test_a_folder_that_follows_the_contract_passes_in_every_version(tmp_path, forked, found, case):
    name, saved = GOOD[case]
    folder = write_model(tmp_path / "folder", name)
    checkpoint = save_model(folder, name, tmp_path / "checkpoint", **saved)
    staged, work = prepared(tmp_path, folder, checkpoint, f"good-{'-'.join(case.split())}")
    expected = verify.reference(staged, checkpoint, work)
    assert expected.notes == [n for n in expected.notes if "refused" not in n]
    for version in RELEASES:
        answer = verify.staged_load(staged, expected, work, overlay=found(version))
        bad = {check: text for check, text in answer["checks"].items() if text != "ok"}
        assert bad.pop("D08", NO_TEXT) == NO_TEXT
        assert set(bad) <= ({"loss"} if case == "base model alone" else set()), (version, bad)
        assert answer["hashes"] == expected.hashes and answer["failures"] == []


@pytest.mark.slow
@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case.check} {case.name}")
def test_a_folder_that_breaks_it_is_refused_by_code_and_words(tmp_path, forked, found, case):
    folder = write_model(tmp_path / "folder", case.model, case.edits)
    source = folder if case.from_itself else write_model(tmp_path / "good", case.model)
    checkpoint = save_model(source, case.model, tmp_path / "checkpoint", **case.saved)
    staged, work = prepared(tmp_path, folder, checkpoint, f"bad-{BAD.index(case)}")
    if case.after:
        case.after(staged.directory)
        staged = repository.adopt(staged.directory)
        checkpoint = staged.directory
    with pytest.raises(verify.Unverified) as caught:
        expected = verify.reference(staged, checkpoint, work, overlay=found(case.built_in))
        verify.staged_load(staged, expected, work, overlay=found(case.version))
    lines = [
        f["line"] for f in caught.value.failures if (f["check"], f["part"]) == (case.check, case.part or case.check)
    ]
    words = case.words.replace("NEWEST", metadata.version("transformers"))
    assert any(words in line for line in lines), caught.value.failures
    assert caught.value.checks[case.part or case.check] == lines[0] and "\n" not in str(caught.value)
    assert str(caught.value).startswith(("D0", "P18"))


def test_each_check_has_three_folders_that_it_refuses():
    for check in ("D01", "D02", "D03", "D04", "D05", "D06", "D07"):
        assert sum(case.check == check for case in BAD) >= 3, check
    assert len({case.name for case in BAD}) == len(BAD)


@pytest.mark.slow
def test_somebody_elses_folder_may_have_two_copies_before_5_8(tmp_path, forked, found):
    folder = write_model(tmp_path / "folder", "cnn")
    checkpoint = save_model(folder, "cnn", tmp_path / "checkpoint")
    staged, work = prepared(tmp_path, folder, checkpoint, "copies")
    without_digest(staged.directory)
    staged = repository.adopt(staged.directory)
    expected = verify.reference(staged, staged.directory, work)
    assert verify.staged_load(staged, expected, work, overlay=found("5.0.0"))["checks"]["D07"] == "ok"


# --- what is compared ---


def test_one_bit_in_one_expected_output_is_seen(tmp_path, forked, tiny_folder, tiny_checkpoint):
    staged, work = prepared(tmp_path, tiny_folder, tiny_checkpoint, "bit")
    expected = verify.reference(staged, tiny_checkpoint, work)
    name = "AutoModelForSequenceClassification/triple/logits"
    numbers = bytearray(expected.outputs[name].data)
    numbers[0] ^= 1
    changed = dataclasses.replace(expected.outputs[name], data=memoryview(numbers))
    expected.outputs = {**expected.outputs, name: changed}
    with pytest.raises(verify.Unverified, match=r"D03 .*logits differs from the model in memory: max \|d\|") as caught:
        verify.staged_load(staged, expected, work)
    assert "(probe 'triple')" in caught.value.checks["D03"] and caught.value.checks["D05"] == "ok"
    assert set(caught.value.hashes) == set(expected.hashes)


def test_weights_that_do_not_fit_are_named_with_their_shapes(tmp_path, forked, tiny_folder, tiny_checkpoint):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))
    staged, work = prepared(tmp_path, tiny_folder, checkpoint)
    with pytest.raises(UserError) as caught:
        verify.reference(staged, checkpoint, work)
    assert "tiny.embedding.weight is (40, 8) in the file and (50, 8) in the model" in str(caught.value)


OFFERS = {
    "tones": ({"input_features": {"tones": 2, "seconds": 1}}, True),
    "a text and pictures": ({"input_ids": {"text": ["a"]}, "pixel_values": {"pictures": 1, "size": [8, 8]}}, True),
    "a shape that was found by trying": ({"points": {"shape": [2, 3], "values": "wave"}}, False),
    "nothing": ({}, False),
}


@pytest.mark.parametrize("offer, taken", OFFERS.values(), ids=OFFERS)
def test_what_the_folders_processor_makes_goes_in_where_forward_refuses_the_usual(monkeypatch, offer, taken):
    seen = []

    def computed(*arguments):
        probe = arguments[-2]
        seen.append(probe)
        if probe:
            return probe
        raise Unverified("refused", [], {}, ready=offer)

    monkeypatch.setattr(verify, "_computed", computed)
    if taken:
        assert verify.reference(None, None, None) == offer and seen == [None, offer]
    for more in ({"derive": True}, *([] if taken else [{}])):  # a table of releases asks for the offer itself
        with pytest.raises(Unverified):
            verify.reference(None, None, None, **more)


def test_missing_and_unexpected_weights_are_named(tmp_path, forked, tiny_folder, tiny_checkpoint):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    tensors = {k: v.clone() for k, v in load_file(checkpoint / "model.safetensors").items()}
    tensors["tiny.extra.weight"] = tensors.pop("classifier.weight")
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    staged, work = prepared(tmp_path, tiny_folder, checkpoint)
    with pytest.raises(UserError) as caught:
        verify.reference(staged, checkpoint, work)
    assert "missing keys classifier.weight; unexpected keys tiny.extra.weight" in str(caught.value)
    assert "classifier.weight (3, 8) is missing from the file" in str(caught.value)
    assert "tiny.extra.weight (3, 8) is in the file but not in the model" in str(caught.value)


def test_a_head_that_the_checkpoint_lacks_is_verified_with_weights_set_by_formula(tmp_path, forked, tiny_folder):
    checkpoint = tiny.save_checkpoint(tiny_folder, tmp_path / "base", cls="TinyModel")
    expected, answer = verified(tmp_path, tiny_folder, checkpoint)
    assert answer["formula"]["AutoModelForSequenceClassification"] == ["classifier.bias", "classifier.weight"]
    assert answer["hashes"] == expected.hashes


def test_heads_of_others_in_the_file_are_listed_for_the_card(tmp_path, forked, tiny_folder, tiny_checkpoint):
    _, answer = verified(tmp_path, tiny_folder, tiny_checkpoint)
    assert answer["unexpected"]["AutoModel"] == ["classifier.bias", "classifier.weight"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_checkpoints_are_compared_in_their_own(tmp_path, forked, tiny_folder, tiny_checkpoint, dtype):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    tensors = {k: v.to(dtype) for k, v in load_file(checkpoint / "model.safetensors").items()}
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    expected, answer = verified(tmp_path, tiny_folder, checkpoint)
    logits = expected.outputs["AutoModelForSequenceClassification/pair/logits"]
    assert logits.dtype == {torch.bfloat16: "BF16", torch.float16: "F16"}[dtype]
    assert answer["checks"].pop("D08") == NO_TEXT and set(answer["checks"].values()) == {"ok"}


def test_a_large_model_is_loaded_no_oftener_than_needed_and_the_answer_says_so(
    tmp_path, forked, tiny_folder, tiny_checkpoint, monkeypatch
):
    monkeypatch.setattr(verify, "MANY", 100)
    _, answer = verified(tmp_path, tiny_folder, tiny_checkpoint)
    skipped = {check for check, text in answer["checks"].items() if text.startswith("skipped: more than 100 ")}
    assert skipped == {"loss", "bf16", "fp16"} and answer["checks"]["D07"] == "ok"


def test_a_probe_that_the_model_refuses_is_left_out_and_said(tmp_path, forked, tiny_checkpoint):
    refusal = "        if len(input_ids) == 3:\n            raise ValueError('no batch of three')\n"
    mark = "    def forward(self, input_ids, attention_mask=None, labels=None):\n"
    source = tiny.MODELING.replace(mark, mark + refusal)
    expected, answer = verified(tmp_path, tiny.write_folder(tmp_path / "f", modeling_tiny=source), tiny_checkpoint)
    assert expected.request["probes"]["AutoModelForSequenceClassification"] == ["pair", "single"]
    assert any("probe 'triple' was refused: ValueError: no batch of three" in note for note in expected.notes)
    assert answer["checks"]["D03"] == "ok"


def test_a_model_that_does_not_run_in_half_precision_is_not_said_to(tmp_path, forked, tiny_checkpoint):
    source = tiny.MODELING.replace("logits = self.classifier((hidden", "logits = self.classifier((hidden.float()")
    assert source != tiny.MODELING
    _, answer = verified(tmp_path, tiny.write_folder(tmp_path / "f", modeling_tiny=source), tiny_checkpoint)
    for part in ("bf16", "fp16"):
        assert answer["checks"][part].startswith("skipped: its tensors are right, but forward fails in "), answer
    assert set(answer["fails_in"]) == {"bfloat16", "float16"} and "RuntimeError" in answer["fails_in"]["float16"]
    assert answer["checks"]["D05"] == "ok"


def test_a_buffer_drawn_at_random_is_left_out_and_said(tmp_path, forked, tiny_checkpoint):
    mark = "        self.mixer = Mixer(config.width)\n"
    source = tiny.MODELING.replace(
        mark, mark + '        self.register_buffer("noise", __import__("torch").randn(4), persistent=False)\n'
    )
    expected, answer = verified(tmp_path, tiny.write_folder(tmp_path / "f", modeling_tiny=source), tiny_checkpoint)
    assert "AutoModel: buffer noise is random, so it was not compared" in expected.notes
    assert answer["checks"]["D04"] == "ok"


def test_a_model_in_memory_is_compared_and_left_as_it_was(tmp_path, forked, tiny_folder, tiny_checkpoint):
    from transformers import AutoModelForSequenceClassification

    staged, work = prepared(tmp_path, tiny_folder, tiny_checkpoint, "in-memory")
    expected = verify.reference(staged, tiny_checkpoint, work)
    auto = "AutoModelForSequenceClassification"
    model = AutoModelForSequenceClassification.from_pretrained(staged.directory, trust_remote_code=True)
    model.train()
    verify.compare_in_memory(model, auto, expected)
    assert model.training and all(p.grad is None for p in model.parameters())
    with torch.no_grad():
        model.classifier.bias += 1
    with pytest.raises(verify.Unverified, match=r"D03 .*logits differs from the model in memory: max \|d\| = 1"):
        verify.compare_in_memory(model, auto, expected)


def test_a_model_in_memory_is_compared_with_its_own_attention(tmp_path, forked, monkeypatch):
    """eager and sdpa differ in the last bits; a load runs sdpa, whatever the model in memory runs."""
    from helpers.models.bert import build

    from bert_model.attention_bert import BERTSelfAttention

    model, folder = build("ForMaskedLM", attn_implementation="eager"), Path(__file__).parents[2] / "bert_model"
    model.save_pretrained(tmp_path / "bert")
    staged, work = prepared(tmp_path, folder, tmp_path / "bert")
    expected = verify.reference(staged, tmp_path / "bert", work, in_memory=model)
    assert verify.compare_in_memory(model, "AutoModelForMaskedLM", expected) is None
    assert verify.staged_load(staged, expected, work)["hashes"] == expected.hashes

    eager = BERTSelfAttention.eager
    with monkeypatch.context() as patched, pytest.raises(verify.Unverified, match=r"D03 .* differs from the model"):
        patched.setattr(BERTSelfAttention, "eager", lambda *a: (eager(*a)[0] * 1.0001, None))
        verify.compare_in_memory(model, "AutoModelForMaskedLM", expected)

    model.config._attn_implementation = "flash_attention_2"  # of GPUs
    expected = verify.reference(staged, tmp_path / "bert", work, in_memory=model)
    told = verify.compare_in_memory(model, "AutoModelForMaskedLM", expected)
    assert told == "compared with sdpa, as flash_attention_2 does not run on every machine"
    assert model.config._attn_implementation == "flash_attention_2"


# --- what a folder names: functions, pipelines, parts of transformers' own ---

CONFIGURED = """
from transformers import AutoConfig, PretrainedConfig, ViTConfig


class TinyConfig(PretrainedConfig):
    model_type = "around-vit"
    sub_configs = {"backbone_config": AutoConfig}

    def __init__(self, backbone_config=None, num_labels=3, **kwargs):
        if not isinstance(backbone_config, PretrainedConfig):
            sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
            backbone_config = ViTConfig(**{**sizes, "image_size": 16, "patch_size": 8, **(backbone_config or {})})
        self.backbone_config = backbone_config
        super().__init__(num_labels=num_labels, **kwargs)


TinyConfig.register_for_auto_class()
"""
AROUND = """
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutput

from .configuration_tiny import TinyConfig


class TinyForSequenceClassification(PreTrainedModel):
    config_class = TinyConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.backbone = AutoModel.from_config(config.backbone_config)
        self.classifier = nn.Linear(config.backbone_config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, pixel_values, labels=None):
        logits = self.classifier(self.backbone(pixel_values).last_hidden_state[:, 0])
        loss = nn.functional.cross_entropy(logits, labels) if labels is not None else None
        return ImageClassifierOutput(loss=loss, logits=logits)


TinyForSequenceClassification.register_for_auto_class("AutoModelForImageClassification")
"""


@pytest.mark.slow
@pytest.mark.parametrize("version", [None, "4.48.3"])
def test_a_part_of_transformers_own_may_be_saved_under_other_names(tmp_path, forked, found, version):
    """transformers 5 saves a ViT under the names of 4 and renames them at loading; the tensors are the same."""
    folder = tiny.write_folder(tmp_path / "f", configuration_tiny=CONFIGURED, modeling_tiny=AROUND)
    (folder / "probe.json").write_text('{"pixel_values": {"shape": [2, 3, 16, 16], "values": "wave"}}')
    checkpoint = tiny.save_checkpoint(folder, tmp_path / "checkpoint")
    staged, work = prepared(tmp_path, folder, checkpoint)
    expected = verify.reference(staged, checkpoint, work)
    answer = verify.staged_load(staged, expected, work, overlay=found(version))
    assert {answer["checks"][check] for check in ("D01", "D02", "D03", "D05", "D06", "loss")} == {"ok"}
    # one value of the file that is not what the model computes with is still seen
    tensors = load_file(staged.directory / "model.safetensors")
    name = next(name for name in tensors if name.endswith("query.weight") or name.endswith("q_proj.weight"))
    tensors[name][0, 0] += 1
    (staged.directory / "model.safetensors").unlink()
    save_file(tensors, staged.directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(verify.Unverified, match=r"D0[35]"):
        verify.staged_load(staged, expected, work, overlay=found(version))


GENERATES = """
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_tiny import TinyConfig


class TinyForSequenceClassification(PreTrainedModel, GenerationMixin):
    config_class = TinyConfig
    base_model_prefix = "model"
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.vocab_size)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        return CausalLMOutput(logits=self.words(input_ids).cumsum(1))


TinyForSequenceClassification.register_for_auto_class("AutoModelForCausalLM")
"""
OWN_GENERATE = """import torch


def generate(model, input_ids, left=3, **kwargs):
    for _ in range(left):
        with torch.no_grad():
            input_ids = torch.cat([input_ids, model(input_ids).logits[:, -1].WHICH(-1, keepdim=True)], -1)
    return input_ids
"""
SAYS_NO_CACHE = tiny.CONFIGURATION.replace("width=8,", "width=8, use_cache=False, num_hidden_layers=1,").replace(
    "        self.vocab_size",
    "        self.use_cache, self.num_hidden_layers = use_cache, num_hidden_layers\n        self.vocab_size",
)


def generating(tmp_path):
    files = {"configuration_tiny": SAYS_NO_CACHE, "modeling_tiny": GENERATES, "layers_tiny": None}
    folder = tiny.write_folder(tmp_path / "f", **files)
    return folder, tiny.save_checkpoint(folder, tmp_path / "checkpoint")


def test_generate_is_compared_in_a_load_and_a_lost_cache_refused(tmp_path, forked):
    folder, checkpoint = generating(tmp_path)
    _, answer = verified(tmp_path, folder, checkpoint)
    assert answer["checks"]["D08"] == "ok"
    configuration = folder / "configuration_tiny.py"
    configuration.write_text(configuration.read_text().replace("use_cache=False", "use_cache=True"))
    for name in ("config.json", "generation_config.json"):  # what the class would have saved
        path = checkpoint / name
        path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "use_cache"}))
    staged, work = prepared(tmp_path, folder, checkpoint, "lost")
    with pytest.raises(
        verify.Unverified,
        match=r"takes no cache of transformers \(past_key_values, cache, cache_params\): set use_cache=False",
    ) as caught:
        verify.staged_load(staged, verify.reference(staged, checkpoint, work), work)
    assert caught.value.failures[0]["check"] == "D08"


def test_custom_generate_writes_in_a_load_what_the_folders_function_writes(tmp_path, forked):
    folder, checkpoint = generating(tmp_path)
    (folder / "custom_generate").mkdir()
    function = folder / "custom_generate" / "generate.py"
    function.write_text(OWN_GENERATE.replace("WHICH", "argmax"))
    staged, work = prepared(tmp_path, folder, checkpoint)
    expected = verify.reference(staged, checkpoint, work)
    assert len(expected.custom_tokens[0]) == 15  # twelve of the prompt, and three
    assert verify.staged_load(staged, expected, work)["checks"]["D08"] == "ok"
    published = staged.directory / "custom_generate" / "generate.py"
    published.write_text(OWN_GENERATE.replace("WHICH", "argmin"))
    with pytest.raises(verify.Unverified, match="custom_generate writes other tokens than the folder's own function"):
        verify.staged_load(staged, expected, work)


def test_a_pipeline_that_config_json_brings_along_is_made(tmp_path, forked, tiny_folder, tiny_checkpoint):
    folder = shutil.copytree(tiny_folder, tmp_path / "f")
    (folder / "pipeline_tiny.py").write_text(
        "from transformers import Pipeline\n\n\nclass TinyPipeline(Pipeline):\n"
        "    def _sanitize_parameters(self, **kwargs):\n        return {}, {}, {}\n\n"
        "    def preprocess(self, x):\n        return x\n\n    def _forward(self, x):\n        return x\n\n"
        "    def postprocess(self, x):\n        return x\n"
    )
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    config["custom_pipelines"] = {"tiny-task": {"impl": "pipeline_tiny.TinyPipeline", "pt": ["AutoModel"]}}
    (checkpoint / "config.json").write_text(json.dumps(config))
    _, answer = verified(tmp_path, folder, checkpoint)
    assert answer["checks"]["D01"] == "ok"
    (folder / "pipeline_tiny.py").write_text(
        (folder / "pipeline_tiny.py").read_text() + "\n\nraise ValueError('no')\n"
    )
    staged, work = prepared(tmp_path, folder, checkpoint, "broken")
    with pytest.raises(verify.Unverified, match=r"pipeline\('tiny-task'\).*ValueError: no"):
        verify.staged_load(staged, verify.reference(staged, checkpoint, work), work)


@pytest.mark.slow
def test_sandboxed_a_checkpoint_of_links_into_a_cache_is_read(tmp_path, tiny_folder, tiny_checkpoint):
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "a b"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(tiny_checkpoint.iterdir())):
        shutil.copy(file, blobs / str(number))
        (snapshot / file.name).symlink_to(f"../../blobs/{number}")
    (tmp_path / "latest").symlink_to(snapshot)
    expected, answer = verified(tmp_path, tiny_folder, tmp_path / "latest")
    assert answer["hashes"] == expected.hashes
