"""benchmarks/golden.py on samples of transformers' own modular files; (c), the behaviour, on eight of them."""

import importlib.util

import pytest
from helpers.processes import ROOT

# Of every kind, for (c): decoders, an encoder, experts, detection, speech, towers, an encoder-decoder.
BEHAVIOUR = "camembert canary llava_next_video mistral mixtral olmo2 rt_detr_v2 sew".split()  # noqa: SIM905
FURTHER = {"mistral", "olmo2", "sew"}  # decoders beside mixtral, an encoder of speech beside canary's


@pytest.fixture(scope="module")
def golden():
    spec = importlib.util.spec_from_file_location("golden", ROOT / "benchmarks/golden.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.preload()
    return module


@pytest.mark.slow
@pytest.mark.parametrize("count", [12, pytest.param(40, marks=pytest.mark.sweep)])
def test_of_a_sample_nearly_all_is_as_in_transformers(golden, count):
    rows = [golden.judge(path, 20, text_only=True) for path in golden.chosen(count, 0)]
    failed = {key: {r["name"]: r[key] for r in rows if r[key]} for key in "abd"}
    texts = [why for r in rows for why in r["texts"].values()]
    assert not failed["a"] and len(failed["b"]) <= 1 and len(failed["d"]) <= 0.3 * count, failed
    assert sum(not t for t in texts) >= 0.8 * len(texts), failed["d"]


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.sweep if n in FURTHER else ()) for n in BEHAVIOUR])
def test_classes_behave_as_those_of_transformers(golden, name):
    row = golden.judge(next(golden.MODELS.glob(f"*/modular_{name}.py")), 30, text_only=False)
    assert not row["b"] and not row["c"] and not row["skipped"], row
    assert len(row["classes"]) >= 2


def test_a_generated_file_is_out_of_reach_while_it_is_made(golden):
    path = golden.MODELS / "gemma2" / "modular_gemma2.py"
    with golden.out_of_reach(path):
        for open_it in (
            (path.parent / "modeling_gemma2.py").read_text,
            lambda: golden.modules.find("transformers.models.gemma2.modeling_gemma2"),
        ):
            with pytest.raises(PermissionError, match="is generated from"):
                open_it()
        assert path.read_text()


def test_a_difference_is_found(golden):
    """What the comparison says of one weight's shape, one output's bits, and a class that is not made."""
    one = {
        "default": {"state": ["w (2,)"], "tree": [" A"]},
        "state": [],
        "tree": [],
        "inputs": [],
        "outputs": {"x": "1"},
    }
    same = one | {"outputs": {"x": "1"}, "inside": {}, "initial": {}}
    other = same | {"default": {"state": ["w (3,)"], "tree": [" A"]}}
    assert golden.class_differs(same, same) == ("", "")
    assert golden.class_differs(other, same)[0].startswith("default state")
    assert golden.class_differs(same | {"outputs": {"x": "2"}}, same)[0].startswith("outputs differ")
    assert golden.behaviour({}, {"A": same})["classes"] == {"A": "not made"}
