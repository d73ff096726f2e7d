"""What is said of a parameter that a load in half precision leaves in another type, and of outputs that it breaks."""

from types import SimpleNamespace

import pytest
import torch
from corpus.bad_models import LOGITS
from corpus.good_models import save_model, write_model
from safetensors.torch import save
from torch import nn

from pinfold.fence.handed import parse_load
from pinfold.fenced.verify.further_loads import _not_in_half
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage
from pinfold.verify import judge, verify


class Model(nn.Module):
    """Parameters by name, each with its type; ``kept`` is the class's declaration."""

    def __init__(self, types, kept=()):
        super().__init__()
        self._keep_in_fp32_modules = list(kept)
        for name, dtype in types.items():
            self.register_parameter(name, nn.Parameter(torch.zeros(2, dtype=dtype)))


HALF, FULL = torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("types", "kept", "words"),
    [
        ({"a": HALF, "b": HALF}, (), None),
        ({"a": HALF, "b": FULL}, ("b",), None),
        ({"a": HALF, "b": FULL}, (), "b is torch.float32; create it without a dtype of its own; where it has to be"),
        ({"a": HALF, "b": FULL}, (), '_keep_in_fp32_modules = ["b"] says so'),
        ({"a": FULL, "b": HALF}, (), 'create it after another parameter, and say so: _keep_in_fp32_modules = ["a"]'),
        ({"a": FULL, "b": FULL}, ("a",), "or create a so, after whose type this release loads all others"),
        ({"a": HALF, "b": torch.float64}, ("c",), "b is torch.float64"),
    ],
)
def test_a_parameter_of_another_type_is_named_with_what_to_do(types, kept, words):
    lines = _not_in_half(Model(types, kept), HALF)
    assert len(lines) == (words is not None)
    assert all(words in line for line in lines)


class Positions(nn.Module):
    def __init__(self, persistent):
        super().__init__()
        self.register_buffer("position_ids", torch.arange(4), persistent=persistent)
        self.words = nn.Embedding(4, 2, dtype=FULL)


@pytest.mark.parametrize(
    ("parts", "blames_buffer"),
    [
        (lambda: {"embeddings": Positions(True)}, True),
        (lambda: {"embeddings": Positions(False)}, False),
        (lambda: {"first": nn.Linear(2, 2, dtype=FULL), "embeddings": Positions(True)}, False),
        (lambda: {"norm": nn.BatchNorm1d(2), "embeddings": Positions(True)}, False),  # its weight comes first
        (lambda: {"flags": Positions(True), "embeddings": Positions(False)}, True),
    ],
)
def test_integers_at_the_beginning_of_the_state_are_named(parts, blames_buffer):
    model = nn.ModuleDict(parts())
    (line,) = _not_in_half(model, HALF)
    first = next(iter(model.state_dict()))
    assert (f"the state begins with {first} (torch.int64)" in line) == blames_buffer
    assert ("register position_ids with persistent=False" in line) == blames_buffer
    assert ("without a dtype of its own" in line) != blames_buffer


BAD = torch.tensor([1.0, float("nan")])
MAIN = "AutoModelForX"


def judged(stored, dtype, key, value):
    """The verdict on outputs in half precision, of a checkpoint that is stored in a type."""
    load = parse_load(save({f"output/{MAIN}/{key}": value}))
    parts = [part for part, name in judge.HALVES.items() if name == dtype]
    files = {f"{what}-{part}.safetensors": "x" for part in parts for what in ("half", "buffers")}
    nothing = parse_load(save({}))
    good = parse_load(save({f"{MAIN}/{key}": torch.ones(2)})).tensors
    request = {"dtype": stored, "models": {MAIN: "modeling_x.X"}, "architecture": "X"}
    verdict = judge.Verdict(skipped=dict.fromkeys(judge.HALVES, "not looked at"))
    expected = SimpleNamespace(outputs=good, buffers={}, drawn={MAIN: []}, version="")
    handed = SimpleNamespace(files=files, load=lambda name: load if name.startswith("half") else nothing)
    judge._judge_halves(verdict, request, expected, handed)
    return verdict


@pytest.mark.parametrize(
    ("stored", "dtype", "key", "words"),
    [
        (
            "float32",
            "float16",
            "pair/perplexity",
            "output perplexity of a batch of two is not finite, in float32 it is",
        ),
        ("float32", "bfloat16", "single/logits", "output logits of a batch of one is not finite, in float32 it is"),
        ("bfloat16", "float16", "own/hidden.0", "output hidden.0 is not finite, in bfloat16 it is"),
    ],
)
def test_an_output_that_is_not_finite_in_half_precision_is_said(stored, dtype, key, words):
    verdict = judged(stored, dtype, key, BAD)
    assert verdict.not_finite == {dtype: f"{words}. Compute it in {stored}, as its checkpoint is"}
    assert not verdict.failures
    part = {name: part for part, name in judge.HALVES.items()}[dtype]
    assert verdict.checks[part] == f"skipped: its tensors are right, but in {dtype} {words}"
    assert judged(stored, dtype, key, torch.ones(2)).not_finite == {}


@pytest.mark.parametrize("dtype", judge.HALVES.values())
def test_it_fails_in_the_type_that_the_checkpoint_has(dtype):
    verdict = judged(dtype, dtype, "triple/logits", BAD)
    (failure,) = verdict.failures
    assert failure["check"] == "D03" and not verdict.not_finite
    assert f"{MAIN} in {dtype}: output logits of a batch of three is not finite" in failure["line"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    [
        "logits = logits * 1e-9 / (logits * 0 + 1e-9)",  # too small a number
        "logits = logits + ((logits * 0 + 300) ** 2 - (logits * 0 + 300) ** 2)",  # too large a one
        "logits = logits - (logits.exp() * 0 + 1e-8).log() * 0",  # the logarithm of none
    ],
)
def test_numbers_that_float16_does_not_have_are_for_the_card(tmp_path, forked, line):
    folder = write_model(tmp_path / "folder", "causal", {LOGITS: f"{LOGITS}        {line}\n"})
    checkpoint = save_model(folder, "causal", tmp_path / "checkpoint")
    (tmp_path / "work" / "staged").mkdir(parents=True)
    staged = stage(read_folder(folder), checkpoint, tmp_path / "work" / "staged")
    expected = verify.reference(staged, checkpoint, tmp_path / "work")
    answer = verify.staged_load(staged, expected, tmp_path / "work")
    words = (
        "output logits of a batch of two is not finite, in float32 it is. Compute it in float32, as its checkpoint is"
    )
    assert answer["not_finite"] == {"float16": words}
    assert answer["checks"]["fp16"].startswith("skipped: its tensors are right, but in float16 output logits")
    assert answer["checks"]["bf16"] == "ok" and not answer["failures"]


HANN = torch.hann_window(16)
TABLE = 1.0 / 10000 ** (torch.arange(0, 8, 2).float() / 8)
ANGLES = torch.outer(torch.arange(5).float(), TABLE).sin()


def buffer_lines(value, wide, its_own):
    """D04 of a load in a half type: what it holds, the reference's in float32, and what its own constructor makes."""
    load = parse_load(save({"buffer/a": value, "fresh/a": its_own.clone()}))
    buffers = parse_load(save({f"{MAIN}/a": wide})).tensors
    expected = SimpleNamespace(buffers=buffers, drawn={MAIN: []}, version="")
    return judge._buffer_lines(expected, MAIN, load, "", same_type=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wide", [HANN, TABLE, ANGLES * 1e6, torch.tensor([1.0, float("nan"), float("-inf")])])
def test_a_buffer_may_be_the_one_in_float32_rounded_once(dtype, wide):
    crude = (wide * 1.02).to(dtype)  # what a constructor makes that computes in the half type
    assert buffer_lines(wide.to(dtype), wide, crude) == buffer_lines(crude, wide, crude) == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("wide", [HANN, TABLE, ANGLES])
def test_a_buffer_that_is_neither_is_named(dtype, wide):
    rounded = wide.to(dtype)
    for value in ((wide * 1.01).to(dtype), torch.full_like(rounded, 7), wide, rounded[:-1].clone()):
        (line,) = buffer_lines(value, wide, (wide * 1.02).to(dtype))
        assert "buffer a differs from a fresh constructor" in line
