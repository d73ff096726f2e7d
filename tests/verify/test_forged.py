"""A folder that computes something else once it is loaded, and tries to have its verification say that it does not."""

import pytest
from helpers import tiny

from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage
from pinfold.verify import verify

# The fault itself: other logits as soon as the code runs from the loader's cache.
FAULT = """
LOADED = __name__.startswith("transformers_modules")
"""
FORGERIES = {
    "nothing": ("", "logits differs from the model in memory"),
    "complaints are swallowed": (
        """
if LOADED:
    import sys

    answers = sys.modules["_inside.verify.answer"].Answer
    answers.check = lambda self, check, lines, part=None: self.looked.add(part or check)
""",
        "logits differs from the model in memory",
    ),
    "the answer is written, and the process ends": (
        """
if LOADED:
    import glob, json, os

    good = {"failures": [], "looked": [], "skipped": {}, "notes": [], "transformers": "5.24.0", "formula": {}}
    (directory,) = glob.glob(os.environ["TMPDIR"] + "/handed")
    json.dump({**good, "unexpected": {}}, open(directory + "/answer.json", "w"))
    os._exit(0)
""",
        "the folder's code ended the process before the job was done",
    ),
    "no file is handed over": (
        """
if LOADED:
    import sys

    sys.modules["_inside.handover"].hand_over = lambda *a, **k: None
""",
        "its load ended without a result",
    ),
    "other tensors are saved": (
        """
if LOADED:
    import safetensors.torch
    import torch

    save = safetensors.torch.save_file
    zeros = lambda tensors: {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    safetensors.torch.save_file = lambda tensors, *a, **k: save(zeros(tensors), *a, **k)
""",
        "differs from the model in memory",
    ),
    "comparisons always agree": (
        """
if LOADED:
    import torch

    torch.equal = torch.allclose = lambda *a, **k: True
""",
        "logits differs from the model in memory",
    ),
    "a load's file is no such file": (
        """
if LOADED:
    import sys

    def hand_over(directory, name, tensors, facts=None):
        with open(f"{directory}/{name}.safetensors", "wb") as file:
            file.write(b"\\xff" * 64)
        sys.modules["_inside.handover"].close(f"{name}.safetensors")

    sys.modules["_inside.handover"].hand_over = hand_over
""",
        "cannot be read",
    ),
    "facts are missing": (
        """
if LOADED:
    import sys

    inside = sys.modules["_inside.handover"]
    real = inside.hand_over
    inside.hand_over = lambda directory, name, tensors, facts=None: real(directory, name, tensors, {})
""",
        "cannot be read .*tampered",
    ),
}


@pytest.mark.parametrize("how", FORGERIES)
def test_a_forged_verification_does_not_pass(request, tmp_path, tiny_checkpoint, how):
    if how != "the answer is written, and the process ends":  # which the sandbox's first process sees
        request.getfixturevalue("forked")
    forgery, words = FORGERIES[how]
    mark = "logits = self.classifier("
    source = tiny.MODELING.replace(mark, "logits = 1.0 * LOADED + self.classifier(") + FAULT + forgery
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny=source)
    (tmp_path / "work" / f"staged-{len(how)}").mkdir(parents=True)
    staged = stage(read_folder(folder), tiny_checkpoint, tmp_path / "work" / f"staged-{len(how)}")
    expected = verify.reference(staged, tiny_checkpoint, tmp_path / "work")
    with pytest.raises(UserError, match=words):
        verify.staged_load(staged, expected, tmp_path / "work")


READS = """
import glob, os
from safetensors.torch import load_file

LOADED = __name__.startswith("transformers_modules")
PLACE = os.environ.get("TMPDIR", "") + "/../**/*.safetensors"


def right(logits):
    if not LOADED:
        return logits
    for path in glob.glob(PLACE, recursive=True):
        tensors = load_file(path)
        for name, value in tensors.items():
            if name.endswith("/logits") and value.shape == logits.shape and (value - logits).abs().max() < 1e-3:
                return value
    return logits + 1
"""


def test_where_the_disk_is_reachable_what_is_expected_does_not_lie_on_it(tmp_path, tiny_checkpoint, monkeypatch):
    """The code computes something else, unless it comes upon a file of what it would have to compute."""
    monkeypatch.setattr(verify.fence, "available", lambda: verify.fence.Fence())
    mark = "        loss = F.cross_entropy"
    source = tiny.MODELING.replace(mark, "        logits = right(logits)\n" + mark) + READS
    folder = tiny.write_folder(tmp_path / "f", modeling_tiny=source)
    (tmp_path / "work" / "staged").mkdir(parents=True)
    staged = stage(read_folder(folder), tiny_checkpoint, tmp_path / "work" / "staged")
    expected = verify.reference(staged, tiny_checkpoint, tmp_path / "work")
    with pytest.raises(UserError, match="logits differs from the model in memory"):
        verify.staged_load(staged, expected, tmp_path / "work")


def test_a_load_is_not_shown_what_it_is_compared_with(tmp_path, forked, tiny_folder, tiny_checkpoint, monkeypatch):
    (tmp_path / "work" / "staged").mkdir(parents=True)
    staged = stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path / "work" / "staged")
    expected = verify.reference(staged, tiny_checkpoint, tmp_path / "work")
    asked = {}
    sandboxed = verify.fence.sandboxed

    def seen(request, work, **options):
        asked.update(request=request, **options)
        places = [*options["visible"], *options["writable"], *work.glob("reference-*")]
        paths = [path for place in places for path in (place, *place.rglob("*")) if path.is_file()]
        asked["files"] = [path.read_bytes() for path in paths]
        return sandboxed(request, work, **options)

    monkeypatch.setattr(verify.fence, "sandboxed", seen)
    verify.staged_load(staged, expected, tmp_path / "work")
    # of nothing that a level without mounts would let it read
    for tensor in (*expected.outputs.values(), *expected.buffers.values()):
        assert asked["files"] and not any(bytes(tensor.data) in content for content in asked["files"])
    text = str(asked["request"])
    hashes = [expected.hashes["AutoModel"], expected.losses["AutoModelForSequenceClassification"]["loss"]]
    assert not any(str(each) in text for each in hashes)
