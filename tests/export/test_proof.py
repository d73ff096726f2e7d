"""What counts as equal between a graph and its model, and what an int8 graph loses."""

import numpy as np
import pytest

from pinfold.common.errors import UserError
from pinfold.export.export import check_left
from pinfold.export.formats import FORMATS
from pinfold.export.loss import measure
from pinfold.export.proof import Wrong, compare
from pinfold.fence.handed import Raw

KINDS = {"float32": "F32", "int64": "I64"}


def stored(array) -> Raw:
    array = np.ascontiguousarray(array)
    return Raw(KINDS[str(array.dtype)], array.shape, memoryview(array.tobytes()))


def files(outputs: dict, mask=None) -> tuple[dict, dict]:
    """What the model gave, and the same of a graph."""
    inputs = {} if mask is None else {"0/in/attention_mask": stored(np.array(mask))}
    return (
        {**inputs, **{f"0/out/{name}": stored(value) for name, value in outputs.items()}},
        {f"0/{name}": stored(value) for name, value in outputs.items()},
    )


LOGITS = np.linspace(-2, 2, 12, dtype="f4").reshape(2, 6)


def test_equal_outputs_are_proven():
    expected, actual = files({"logits": LOGITS})
    proof = compare(expected, actual, ["2 x 6"], {})
    assert proof.differences == {"logits": 0.0} and proof.bounds == {"logits": 2e-5}


@pytest.mark.parametrize(("distance", "rounding", "allowed"), [(3e-5, 0, True), (1e-4, 0, False), (1e-4, 1e-5, True)])
def test_numbers_may_be_apart_by_what_rounding_does_to_the_model(distance, rounding, allowed):
    """Distances count against the largest number, which is 2."""
    expected, actual = files({"logits": LOGITS})
    actual["0/logits"] = stored(LOGITS + np.float32(distance) * np.eye(2, 6, dtype="f4"))
    if allowed:
        proof = compare(expected, actual, ["2 x 6"], {"logits": rounding})
        assert proof.differences["logits"] == pytest.approx(distance / 2, rel=0.05)
        return
    with pytest.raises(Wrong, match="logits is 5e-05 of its largest number away at 2 x 6, where 2e-05 is allowed"):
        compare(expected, actual, ["2 x 6"], {"logits": rounding})


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        (LOGITS[:, :5], r"has shape \[2, 5\] instead of \[2, 6\]"),
        (np.full_like(LOGITS, np.nan), "of its largest number away"),
        (np.where(LOGITS == 2, np.float32(np.inf), LOGITS), "inf of its largest number away"),
    ],
)
def test_other_shapes_and_what_is_no_number_are_wrong(changed, why):
    expected, actual = files({"logits": LOGITS})
    with pytest.raises(Wrong, match=why):
        compare(expected, {**actual, "0/logits": stored(changed)}, ["2 x 6"], {})


def test_what_a_mask_fills_in_does_not_widen_the_bound():
    masked = np.array([[1, 2, -1e9], [3, -1, -1e9]], "f4")
    expected, _ = files({"logits": masked})
    with pytest.raises(Wrong):
        compare(expected, {"0/logits": stored(masked + np.array([8, 0, 0], "f4"))}, ["2 x 3"], {})


def test_a_link_beside_the_graph_is_refused(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"graph")
    check_left(tmp_path, FORMATS["onnx"])
    (tmp_path / "export_report.json").symlink_to(tmp_path.parent / "mine")
    with pytest.raises(UserError, match="which the format does not have"):
        check_left(tmp_path, FORMATS["onnx"])


def test_an_output_that_is_missing_is_wrong():
    expected, _ = files({"logits": LOGITS})
    with pytest.raises(Wrong, match="no output logits; it has linear_14"):
        compare(expected, {"0/linear_14": stored(LOGITS)}, ["2 x 6"], {})


def test_whole_numbers_have_to_be_equal():
    codes = np.arange(6).reshape(2, 3)
    expected, actual = files({"codes": codes})
    assert compare(expected, actual, ["2 x 3"], {}).differences == {"codes": 0.0}
    with pytest.raises(Wrong, match="codes holds other whole numbers"):
        compare(expected, {"0/codes": stored(codes + 1)}, ["2 x 3"], {})


def test_of_an_output_for_each_token_only_real_tokens_count_and_padding_is_named():
    states = np.arange(24, dtype="f4").reshape(2, 3, 4)
    expected, actual = files({"states": states}, mask=[[1, 1, 1], [1, 1, 0]])
    other = states.copy()
    other[1, 2] += 5
    proof = compare(expected, {"0/states": stored(other)}, ["2 x 3"], {})
    assert proof.differences == {"states": 0.0} and proof.padding_differs == ["states"]
    assert compare(expected, actual, ["2 x 3"], {}).padding_differs == []
    other[1, 1] += 5
    with pytest.raises(Wrong):
        compare(expected, {"0/states": stored(other)}, ["2 x 3"], {})


def test_what_int8_loses_is_the_smallest_cosine_and_top_classes_that_moved():
    expected, floats = files({"logits": LOGITS})
    inputs = {"0/in/input_ids": stored(np.zeros((2, 4), int)), **expected}
    assert measure(inputs, floats, floats, 1).cosines == {"logits": (pytest.approx(1), pytest.approx(1))}
    turned = LOGITS.copy()
    turned[1] = turned[1, ::-1]
    loss = measure(inputs, floats, {"0/logits": stored(turned)}, 1)
    assert loss.rows == 2 and loss.same == 0.5 and loss.cosines["logits"][0] < 0.9 < loss.cosines["logits"][1] + 0.2
    assert "under 0.99" in loss.too_large


def test_a_top_class_that_moves_needs_consent_whatever_the_cosine_is():
    near = np.array([[1, 0.999, 0], [0, 1, 0]], "f4")
    _, floats = files({"logits": near})
    moved = np.array([[0.999, 1, 0], [0, 1, 0]], "f4")
    inputs = {"0/in/input_ids": stored(np.zeros((2, 4), int))}
    loss = measure(inputs, floats, {"0/logits": stored(moved)}, 1)
    assert loss.cosines["logits"][0] > 0.999 and "50.0% of the rows have another top class" in loss.too_large
