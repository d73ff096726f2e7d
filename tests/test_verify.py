"""Verification in fenced processes: what it lets pass, what it stops, and what the folder's code gets to see."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file

from pinfold.errors import UserError
from pinfold.publish import fence, verify
from pinfold.publish.folder import read_folder
from pinfold.publish.stage import stage

SPY = """
import os, pathlib, pwd
_seen = {{
    "environment": sorted(k + "=" + v for k, v in os.environ.items()),
    "home": [str(p) for p in pathlib.Path(pwd.getpwuid(os.getuid()).pw_dir).glob("*")] + os.listdir({home!r}),
    "stored": os.path.exists({home!r} + "/.cache/huggingface/token"),
    "processes": sum(name.isdigit() for name in os.listdir("/proc")),
    "parent": "hf_planted" in pathlib.Path("/proc/%d/environ" % os.getppid()).read_text(errors="replace")
    if os.path.exists("/proc/%d/environ" % os.getppid()) and os.getppid() else False,
}}
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), 2).close()
    _seen["network"] = True
except OSError:
    _seen["network"] = False
import json
pathlib.Path({report!r}).write_text(json.dumps(_seen))
"""


def prepared(tmp_path, folder, checkpoint):
    directory = tmp_path / "work" / "staged"
    directory.mkdir(parents=True)
    return stage(read_folder(folder), checkpoint, directory), tmp_path / "work"


def test_a_good_folder_passes_in_every_step(tmp_path, tiny_folder, tiny_checkpoint):
    staged, work = prepared(tmp_path, tiny_folder, tiny_checkpoint)
    expected = verify.reference(staged, tiny_checkpoint, work)
    answer = verify.staged_load(staged, expected, work)
    assert answer["hashes"] == expected.hashes and set(expected.hashes) == {
        "AutoModel",
        "AutoModelForSequenceClassification",
    }
    # and the comparison itself can fail: one bit in one expected output
    outputs = {k: v.clone() for k, v in load_file(expected.outputs).items()}
    name = next(n for n in outputs if n.endswith("logits"))
    outputs[name].view(torch.int32)[0, 0] ^= 1
    save_file(outputs, expected.outputs)
    with pytest.raises(UserError, match=r"D03 .*logits differs from the model in memory: max \|d\|"):
        verify.staged_load(staged, expected, work)


def test_weights_that_do_not_fit_are_named_with_their_shapes(tmp_path, tiny_folder, tiny_checkpoint):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"vocab_size": 50}))
    staged, work = prepared(tmp_path, tiny_folder, checkpoint)
    with pytest.raises(UserError) as caught:
        verify.reference(staged, checkpoint, work)
    assert "tiny.embedding.weight is (40, 8) in the file and (50, 8) in the model" in str(caught.value)


def test_missing_and_unexpected_weights_are_named(tmp_path, tiny_folder, tiny_checkpoint):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    tensors = {k: v.clone() for k, v in load_file(checkpoint / "model.safetensors").items()}
    tensors["tiny.extra.weight"] = tensors.pop("classifier.weight")
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    staged, work = prepared(tmp_path, tiny_folder, checkpoint)
    with pytest.raises(UserError) as caught:
        verify.reference(staged, checkpoint, work)
    assert "classifier.weight (3, 8) is missing in the file" in str(caught.value)
    assert "tiny.extra.weight (3, 8) has no place in the model" in str(caught.value)


HEAD = "        self.classifier = nn.Linear(config.width, config.num_labels)\n"
BROKEN = {
    "raises on import": ("from torch import nn\n", "from torch import nn\nraise OSError('not today')\n", "not today"),
    "forgets post_init": (f"{HEAD}        self.post_init()\n", HEAD, "D01"),
    "draws at random": (
        "logits = self.classifier(",
        "logits = __import__('time').time_ns() % 1000003 + self.classifier(",
        "D03",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_code_that_goes_wrong_is_stopped(tmp_path, tiny_checkpoint, case):
    old, new, words = BROKEN[case]
    assert old in tiny.MODELING
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny=tiny.MODELING.replace(old, new, 1))
    staged, work = prepared(tmp_path, folder, tiny_checkpoint)
    with pytest.raises(UserError, match=words) as caught:
        verify.staged_load(staged, verify.reference(staged, tiny_checkpoint, work), work)
    assert "\n" not in str(caught.value)


def test_a_head_that_the_checkpoint_lacks_is_verified_with_weights_set_by_formula(tmp_path, tiny_folder):
    checkpoint = tiny.save_checkpoint(tiny_folder, tmp_path / "base", cls="TinyModel")
    staged, work = prepared(tmp_path, tiny_folder, checkpoint)
    expected = verify.reference(staged, checkpoint, work)
    answer = verify.staged_load(staged, expected, work)
    assert answer["formula"]["AutoModelForSequenceClassification"] == ["classifier.bias", "classifier.weight"]
    assert answer["hashes"] == expected.hashes


def test_bfloat16_checkpoints_are_compared_in_bfloat16(tmp_path, tiny_folder, tiny_checkpoint):
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    tensors = {k: v.bfloat16() for k, v in load_file(checkpoint / "model.safetensors").items()}
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    staged, work = prepared(tmp_path, tiny_folder, checkpoint)
    assert json.loads((staged.directory / "config.json").read_text())["torch_dtype"] == "bfloat16"
    expected = verify.reference(staged, checkpoint, work)
    assert load_file(expected.outputs)["AutoModelForSequenceClassification/logits"].dtype == torch.bfloat16
    verify.staged_load(staged, expected, work)


def test_a_folder_sees_neither_tokens_nor_home_nor_network(tmp_path, tiny_checkpoint, monkeypatch, hub):
    """A folder that reports all that it can reach, with a token planted in each place where one may lie."""
    home = tmp_path / "home"
    (home / ".cache" / "huggingface" / "modules").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(home / ".cache" / "huggingface" / "modules"))  # as transformers does
    (home / ".cache" / "huggingface" / "token").write_text("hf_planted_in_file")
    monkeypatch.setenv("HOME", str(home))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_API_KEY"):
        monkeypatch.setenv(name, f"hf_planted_in_{name}")
    (tmp_path / "work").mkdir()
    report = tmp_path / "work" / "report.json"
    spy = SPY.format(home=str(home), report=str(report), port=hub["port"])
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny=spy + tiny.MODELING)
    (tmp_path / "work" / "staged").mkdir()
    staged = stage(read_folder(folder), tiny_checkpoint, tmp_path / "work" / "staged")
    verify.staged_load(staged, verify.reference(staged, tiny_checkpoint, tmp_path / "work"), tmp_path / "work")
    seen = json.loads(report.read_text())
    assert not [line for line in seen["environment"] if "planted" in line]
    assert not [n for n in seen["environment"] if n.startswith(("HF_TOKEN", "AWS_", "MY_API"))]
    if not fence.available().namespaces:  # the rest cannot hold there, and the push's output says so
        pytest.skip("this machine allows no namespaces; the environment was checked")
    assert seen["network"] is False
    if "--mount" in fence.available().namespaces:
        python = {str(p) for base in (sys.prefix, sys.base_prefix) for p in Path(base).resolve().parents}
        assert seen["stored"] is False and set(seen["home"]) <= python  # the interpreter may live in the home
    if "--mount-proc" in fence.available().namespaces:
        assert seen["parent"] is False and seen["processes"] < 6


def test_a_folder_that_never_ends_is_stopped(tmp_path, tiny_checkpoint, monkeypatch):
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny="import time\ntime.sleep(600)\n" + tiny.MODELING)
    staged, work = prepared(tmp_path, folder, tiny_checkpoint)
    monkeypatch.setattr(verify, "_limits", lambda staged: {"memory": 8 * fence.GIB, "seconds": 8})
    with pytest.raises(UserError, match="took longer than 8 s"):
        verify.reference(staged, tiny_checkpoint, work)


@pytest.mark.skipif(os.uname().sysname != "Linux", reason="only Linux limits private memory")
def test_a_folder_that_takes_too_much_memory_is_stopped(tmp_path, tiny_checkpoint, monkeypatch):
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny="hog = bytearray(6 << 30)\n" + tiny.MODELING)
    staged, work = prepared(tmp_path, folder, tiny_checkpoint)
    monkeypatch.setattr(verify, "_limits", lambda staged: {"memory": 4 * fence.GIB, "seconds": 120})
    with pytest.raises(UserError, match="MemoryError"):
        verify.reference(staged, tiny_checkpoint, work)
