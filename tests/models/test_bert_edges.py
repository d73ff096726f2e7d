"""bert_model at its edges: odd masks and shapes, batches without rows or words, sizes and labels that are slips."""

import pytest
import torch
import transformers.models.bert.modeling_bert as stock
from helpers.models.bert import SIZES, batch, build, config
from helpers.models.stock_bert import edit, saved
from helpers.models.stock_bert import stock as tiny
from transformers import BertConfig

from bert_model.convert_bert import main

IDS = torch.randint(1, 99, (4, 20), generator=torch.Generator().manual_seed(1))
GAPS = torch.tensor([[1] * 20, [1, 0, 1, 1, 0] * 4, [0] * 5 + [1] * 15, [1] * 9 + [0] * 11])


def pair(implementation):
    torch.manual_seed(0)
    theirs = stock.BertModel(BertConfig(**SIZES, attn_implementation=implementation)).eval()
    ours = build(attn_implementation=implementation, unpad_inputs=False)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_masks_of_any_type_with_gaps_equal_transformers(implementation):
    theirs, ours = pair(implementation)
    places = torch.randint(0, 300, (4, 20), generator=torch.Generator().manual_seed(2))
    causal = torch.zeros(4, 1, 20, 20).masked_fill(torch.ones(20, 20).triu(1).bool(), torch.finfo(torch.float32).min)
    with torch.no_grad():
        masks = [GAPS, GAPS.bool(), GAPS.float(), GAPS.int(), GAPS.to(torch.uint8), GAPS * 2, causal]
        for given in [{"attention_mask": mask} for mask in masks] + [{"position_ids": places, "attention_mask": GAPS}]:
            assert torch.equal(theirs(IDS, **given).last_hidden_state, ours(IDS, **given).last_hidden_state)
        packed = build(attn_implementation=implementation)
        packed.load_state_dict(theirs.state_dict())
        found, real = packed(IDS, GAPS).last_hidden_state, GAPS.bool()
        # sums of other lengths round otherwise
        torch.testing.assert_close(found[real], ours(IDS, GAPS).last_hidden_state[real], atol=1e-5, rtol=0)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_dtypes_and_autocast_equal_transformers(implementation, dtype):
    theirs, ours = pair(implementation)
    with torch.no_grad():
        if dtype != torch.float64:
            with torch.autocast("cpu", dtype=dtype):
                assert torch.equal(theirs(IDS, GAPS).last_hidden_state, ours(IDS, GAPS).last_hidden_state)
        theirs, ours = theirs.to(dtype), ours.to(dtype)
        assert torch.equal(theirs(IDS, GAPS).last_hidden_state, ours(IDS, GAPS).last_hidden_state)


@pytest.mark.parametrize("kind", ["full", "local", "strided", "random"])
def test_nothing_but_padding_comes_back_as_zeros(kind):
    with torch.no_grad():
        output = build(attention_type=kind)(IDS, torch.zeros_like(IDS), output_hidden_states=True)
    assert all(state.eq(0).all() for state in (output.last_hidden_state, *output.hidden_states))
    assert output.pooler_output.isfinite().all()


@pytest.mark.parametrize("kind", ["full", "local", "strided", "random"])
def test_a_batch_without_rows_has_outputs_without_rows(kind):
    for mask in (None, GAPS[:0]):
        output = build(attention_type=kind)(IDS[:0], mask)
        assert output.last_hidden_state.shape == (0, 20, 32) and output.pooler_output.shape == (0, 32)


@pytest.mark.parametrize("kind", ["local", "strided", "random"])
@pytest.mark.parametrize("tokens", [1, 63, 66, 150])
def test_more_global_tokens_than_tokens_is_full_attention(kind, tokens):
    small = {"attention_window": 3, "attention_stride": 2, "num_random_keys": 3}
    sparse, full = build(attention_type=kind, num_global_tokens=400, **small), build()
    ids = torch.arange(3 * tokens).view(3, tokens) % 99
    mask = torch.ones_like(ids)
    mask[1, tokens // 2 + 1 :] = 0
    with torch.no_grad():
        found, expected = sparse(ids, mask).last_hidden_state, full(ids, mask).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)  # sums in another order


def test_integer_labels_of_any_width_give_the_same_loss():
    inputs = batch()
    words, answers = build("ForMaskedLM"), build("ForQuestionAnswering")
    for dtype in (torch.int32, torch.int16):
        assert torch.equal(words(**inputs, labels=IDS).loss, words(**inputs, labels=IDS.to(dtype)).loss)
        at = torch.tensor([1, 2, 3, 4])
        long, short = (answers(**inputs, start_positions=x, end_positions=x).loss for x in (at, at.to(dtype)))
        assert torch.equal(long, short)


BAD_CONFIGURATIONS = {
    "num_labels=0 must be": {"num_labels": 0},
    "num_labels='x' must be": {"num_labels": "x"},
    "num_hidden_layers=1000000000 is more than 10000": {"num_hidden_layers": 10**9},
    "hidden_size=2147483648 is more than": {"hidden_size": 2**31},
    "initializer_range=inf": {"initializer_range": float("inf")},
    "layer_norm_eps=nan": {"layer_norm_eps": float("nan")},
    "attention_type=['full', 'local'] is not known": {"attention_type": [["full", "local"], "full"]},
    "vocab_size=True": {"vocab_size": True},
    "vocab_size='12'": {"vocab_size": "12"},
    "unpad_inputs=1 must be True or False": {"unpad_inputs": 1},
    "id2label={} names no class": {"id2label": {}},
    "hidden_size=2147483646 is not a multiple": {
        "hidden_size": 2**31 - 2,
        "num_attention_heads": 46340,
    },  # found without trying two billion numbers
}


@pytest.mark.parametrize("line", BAD_CONFIGURATIONS)
def test_a_slip_in_a_configuration_is_one_line_at_once(line):
    with pytest.raises(ValueError) as error:
        build("ForSequenceClassification", **BAD_CONFIGURATIONS[line])
    if line.startswith("attention_type"):
        line = line.split("=")[0]
    assert line in str(error.value) and "\n" not in str(error.value)


def test_an_unknown_problem_type_is_refused_and_not_taken_for_several_labels():
    with pytest.raises(ValueError, match=r"problem_type='rank' is not known|problem_type was not understood"):
        settings = config(num_labels=2)
        settings.problem_type = "rank"
        build_from = __import__("bert_model.modeling_bert", fromlist=["x"]).BERTForSequenceClassification
        build_from(settings)


def test_inputs_of_a_wrong_shape_get_one_line():
    model, several = build(), build("ForSequenceClassification", num_labels=3)
    square = torch.ones(4, 1, 20, 10, dtype=torch.bool)
    cases = [
        (lambda: model(IDS[0]), "input_ids has shape (20,), should be (batch, tokens)"),
        (lambda: model(IDS[None]), "input_ids has shape (1, 4, 20)"),
        (lambda: model(IDS.float()), "input_ids are torch.float32"),
        (lambda: model(IDS[:, :0]), "0 tokens"),
        (lambda: model(inputs_embeds=torch.ones(4, 20, 7)), "inputs_embeds has shape (4, 20, 7)"),
        (lambda: model(inputs_embeds=torch.ones(20, 32)), "inputs_embeds has shape (20, 32)"),
        (lambda: model(IDS, token_type_ids=IDS[:, :3]), "token_type_ids has shape (4, 3), should be (4, 20)"),
        (lambda: model(IDS, position_ids=IDS[:, :3]), "position_ids has shape (4, 3), should be (4, 20)"),
        (lambda: model(IDS, position_ids=IDS - 99), "allows 0 to 299; count from 0"),
        (lambda: model(IDS, square), "attention_mask has shape (4, 1, 20, 10), should be (4, 4, 20, 20)"),
        (lambda: model(IDS, square[:3, 0]), "attention_mask has shape (3, 1, 20, 10)"),
        (lambda: model(IDS, GAPS[0]), "attention_mask has 1 dimensions"),
        (lambda: several(IDS, labels=torch.ones(3, 4)), "labels has shape (3, 4), should be (4, 3)"),
        (lambda: several(IDS, labels=torch.ones(12)), "labels has shape (12,), should be (4, 3)"),
    ]
    for call, line in cases:
        with pytest.raises(ValueError) as error:
            call()
        assert line in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json: cannot be read"),
        (lambda f: edit(f, architectures={"a": 1}), "is not a list of class names"),
        (lambda f: edit(f, architectures=[["x"]]), "is not a list of class names"),
        (lambda f: (f / "vocab.txt").write_text(""), "its tokenizer fails"),
        (lambda f: edit(f, num_hidden_layers=10**9), "num_hidden_layers=1000000000 is more than 10000"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:999]), "be read"),
    ],
)
def test_a_strange_checkpoint_is_one_line_and_leaves_nothing(make, told, tmp_path, capsys):
    make(saved(tiny(), tmp_path / "in"))
    capsys.readouterr()  # saving shows a progress bar
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("convert_bert: ") and told in error
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
