"""bert_model: equal to transformers' BERT, sparse attention equal to its mask, padding left out without a trace."""

import copy

import pytest
import torch
import transformers.models.bert.modeling_bert as stock
from helpers.models.bert import NAMES, SIZES, batch, build, config, labels
from transformers import BertConfig

import bert_model.modeling_bert as bert
from bert_model.attention_bert import attention_mask


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("name", NAMES)
def test_every_head_equals_transformers_bit_for_bit_loss_and_gradients_too(name, implementation):
    torch.manual_seed(0)
    theirs = getattr(stock, f"Bert{name}")(BertConfig(**SIZES, attn_implementation=implementation)).eval()
    ours = build(name, attn_implementation=implementation, unpad_inputs=False)
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not missing and set(unexpected) <= {"cls.predictions.decoder.bias"}
    ours.tie_weights()
    inputs = batch(name)
    given = {**inputs, **(labels(name, inputs) if name != "Model" else {})}
    expected, found = theirs(**given, output_hidden_states=True), ours(**given, output_hidden_states=True)
    assert set(found) == set(expected)
    for key, value in expected.items():
        pairs = zip(value, found[key], strict=True) if isinstance(value, tuple) else [(value, found[key])]
        assert all(torch.equal(a, b) for a, b in pairs), key
    for output in (expected, found):
        (output.loss if name != "Model" else output.last_hidden_state.sin().sum()).backward()
    gradients = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        wanted = gradients[key].grad
        assert (wanted is None) == (parameter.grad is None), key
        assert wanted is None or torch.equal(wanted, parameter.grad), key


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", NAMES)
def test_unpadding_changes_nothing_but_padding(name, side):
    ours = build(name)
    inputs = batch(name, side=side)
    given = {**inputs, **(labels(name, inputs) if name not in ("Model", "ForQuestionAnswering") else {})}
    with torch.no_grad():
        packed = ours(**given)
        ours.config.unpad_inputs = False
        padded = ours(**given)
    real = inputs["attention_mask"].bool()
    for key, value in padded.items():
        by_token = value.shape[: real.dim()] == real.shape
        a, b = (value[real], packed[key][real]) if by_token else (value, packed[key])
        # other shapes are other sums: kernels add in another order
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    if name == "Model":
        assert packed.last_hidden_state[~real].abs().max() == 0


@pytest.mark.parametrize("kind", ["local", "strided", "random"])
@pytest.mark.parametrize("first", [0, 3])
@pytest.mark.parametrize("window", [3, 40])
@pytest.mark.parametrize("tokens", [1, 5, 63, 64, 65, 130, 257])
def test_sparse_attention_equals_its_mask_forward_gradients_and_padding(kind, first, window, tokens):
    more = {"attention_window": window, "attention_stride": 7, "num_random_keys": 9, "num_global_tokens": first}
    model = build(attention_type=kind, **more)
    keep = torch.ones(4, tokens, dtype=torch.long)
    if tokens > 2:
        keep[1, tokens // 2 :] = 0
        keep[2, : tokens // 3] = 0
    keep[3] = 0  # a row of nothing but padding
    torch.manual_seed(2)
    embeds, real = torch.randn(4, tokens, 32, requires_grad=True), keep.bool()
    states, gradients = {}, {}
    for way in ("packed", "padded", "mask"):
        model.config.unpad_inputs = way == "packed"
        # asking for the weights computes them from the dense mask
        output = model(inputs_embeds=embeds, attention_mask=keep, output_attentions=way == "mask")
        states[way] = output.last_hidden_state
        (gradients[way],) = torch.autograd.grad(states[way][real].sin().sum(), embeds)
    assert states["packed"].isfinite().all() and states["packed"][~real].abs().max() == 0 if (~real).any() else True
    for way in ("packed", "padded"):  # sums of other lengths round otherwise
        torch.testing.assert_close(states[way][real], states["mask"][real], atol=1e-5, rtol=0)
        torch.testing.assert_close(gradients[way], gradients["mask"], atol=1e-5, rtol=0)


def test_the_masks_are_what_they_are_called():
    def mask(kind, length=40, **more):
        return attention_mask(config(attention_type=kind, **more), 0, length)[0]

    assert mask("local", attention_window=2).sum(1).tolist() == [3, 4, *[5] * 36, 4, 3]
    strided = mask("strided", attention_stride=8)
    assert strided[:, ::8].all() and strided.diagonal().all() and strided.sum() == 40 * 5 + 35
    random = mask("random", length=640, num_random_keys=4)
    assert random.diagonal().all() and all(random[i].sum() <= 5 for i in range(640))
    assert not torch.equal(random, mask("random", length=640, num_random_keys=4, attention_seed=1))
    glob = mask("local", attention_window=1, num_global_tokens=2)
    assert glob[:2].all() and glob[:, :2].all()
    assert attention_mask(config(attention_type=["full", "local"]), 0, 5).all()


def test_random_keys_are_the_same_in_every_process():
    # a drawn set written down: a change of the hash would change what published weights compute
    found = attention_mask(config(attention_type="random", num_random_keys=3, attention_seed=5), 1, 128)[0]
    assert [found[0].nonzero().flatten().tolist(), found[127].nonzero().flatten().tolist()] == RANDOM_KEYS


RANDOM_KEYS = [[0, 79, 96, 109], [1, 28, 45, 127]]


def test_masks_of_four_dimensions_and_of_booleans_equal_the_plain_one():
    model, inputs = build(unpad_inputs=False), batch()
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with torch.no_grad():
        expected = model(ids, mask).last_hidden_state
        keep = mask[:, None, None, :].bool().expand(-1, 1, 20, -1)
        bias = torch.zeros(4, 1, 20, 20).masked_fill(~keep, torch.finfo(torch.float32).min)
        for given in (keep, bias, mask.bool()):
            assert torch.equal(model(ids, given).last_hidden_state, expected)


def test_the_pooler_reads_the_first_real_token_or_the_mean_of_the_real_ones():
    inputs = batch(side="left")
    for pooling in ("cls", "mean"):
        model = build(pooling=pooling, unpad_inputs=False)
        output = model(**inputs)
        state, real = output.last_hidden_state, inputs["attention_mask"].bool()
        rows = [row[keep][0] if pooling == "cls" else row[keep].mean(0) for row, keep in zip(state, real, strict=True)]
        expected = torch.tanh(model.pooler.dense(torch.stack(rows)))
        torch.testing.assert_close(output.pooler_output, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["ForMaskedLM", "ForSequenceClassification"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_gradient_checkpointing_changes_no_gradient(name, reentrant):
    inputs = batch(name)
    plain = build(name, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train()
    saving = copy.deepcopy(plain)
    saving.gradient_checkpointing_enable({"use_reentrant": reentrant})
    for model in (plain, saving):
        model(**inputs, **labels(name, inputs)).loss.backward()
    pairs = zip(plain.parameters(), saving.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.grad is not None)


def test_resizing_the_vocabulary_resizes_the_bias_and_keeps_the_tie(tmp_path):
    model = build("ForMaskedLM")
    model.resize_token_embeddings(106, pad_to_multiple_of=8)
    model.save_pretrained(tmp_path)
    again = bert.BERTForMaskedLM.from_pretrained(tmp_path)
    for one in (model, again):
        head = one.cls.predictions
        assert len(head.bias) == len(head.decoder.weight) == one.config.vocab_size == 112
        assert head.decoder.weight.data_ptr() == one.get_input_embeddings().weight.data_ptr()
    assert torch.equal(again.cls.predictions.bias, model.cls.predictions.bias)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.slow
def test_torch_compile_has_no_graph_break(name):
    model, inputs = build(name), batch(name)
    with torch.no_grad():
        model.config.unpad_inputs = False
        expected = model(**inputs)
        model.config.unpad_inputs = True
        found = torch.compile(model, fullgraph=True, backend="aot_eager")(**inputs)
    assert all(torch.equal(value, found[key]) for key, value in expected.items())


@pytest.mark.parametrize("kind", ["full", "local", "strided", "random"])
def test_torch_export_gives_the_same_numbers(kind):
    model = build(attention_type=kind, unpad_inputs=False, attention_window=4, num_random_keys=3)
    inputs = batch(tokens=90)
    with torch.no_grad():
        exported = torch.export.export(model, (), inputs).module()
        torch.testing.assert_close(
            exported(**inputs)["last_hidden_state"], model(**inputs).last_hidden_state, atol=1e-6, rtol=0
        )


def test_an_attention_function_registered_with_transformers_is_used():
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    seen = []

    def counting(module, query, key, value, attention_mask, scaling=None, dropout=0.0, **kwargs):
        seen.append((query.shape[2], kwargs.get("note")))
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
        return mixed.transpose(1, 2), None

    ALL_ATTENTION_FUNCTIONS.register("counting", counting)
    model, inputs = build(), batch()
    with torch.no_grad():
        model.config.unpad_inputs = False
        expected = model(**inputs).last_hidden_state
        model.set_attn_implementation("counting")
        found = model(**inputs, note="passed down").last_hidden_state
    assert seen == [(20, "passed down")] * 2 and torch.equal(found, expected)
    model.set_attn_implementation("eager")
    model(**inputs)
    assert len(seen) == 2


def test_bfloat16_accumulation_and_two_runs():
    model = build("ForMaskedLM")
    inputs = batch()
    given = {**inputs, **labels("ForMaskedLM", inputs)}
    whole = model(**given, num_items_in_batch=10).loss
    assert torch.equal(whole, model(**given, num_items_in_batch=20).loss * 2)
    assert torch.equal(model(**inputs).logits, model(**inputs).logits)
    assert model.to(torch.bfloat16)(**inputs).logits.isfinite().all()


BAD = {
    "hidden_size=32 is not a multiple": {"num_attention_heads": 5},
    "attention_window=0": {"attention_window": 0},
    "attention_type lists 3 values": {"attention_type": ["full"] * 3},
    "attention_type='sparse' is not known": {"attention_type": "sparse"},
    "hidden_act='swash' is not known": {"hidden_act": "swash"},
    "relative_key": {"position_embedding_type": "relative_key"},
    "pad_token_id=99": {"pad_token_id": 99},
    "is_decoder=True": {"is_decoder": True},
    'attn_implementation="flash_attention_2"': {"use_flash_attention_2": True},
    "hidden_dropout_prob=1.5": {"hidden_dropout_prob": 1.5},
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_configuration_gets_one_line(line):
    with pytest.raises(ValueError) as error:
        config(**BAD[line])
    assert line in str(error.value) and "\n" not in str(error.value)


def test_bad_inputs_get_one_line():
    model, word = build("ForMaskedLM"), torch.ones(2, 4, dtype=torch.long)
    text = build("ForSequenceClassification", num_labels=3)
    cases = [
        (lambda: model(torch.ones(1, 301, dtype=torch.long)), "max_position_embeddings=300; tokenize with truncation"),
        (lambda: model(word * 99), "vocab_size=99 allows 0 to 98"),
        (lambda: model(word, labels=word * 99), "the model has 99 classes"),
        (lambda: model(word, labels=word[:, :3]), "labels has shape (2, 3), should be (2, 4)"),
        (lambda: model(word, attention_mask=word[:1]), "attention_mask has shape (1, 4), should be (2, 4)"),
        (lambda: model(), "either input_ids or inputs_embeds"),
        (lambda: text(word, labels=torch.tensor([0, 3])), "the model has 3 classes"),
        (lambda: build("ForMultipleChoice")(word), "(batch, choices, tokens)"),
        (lambda: bert.BERTModel.from_pretrained("x", use_flash_attention_2=True), "attn_implementation="),
        (lambda: bert.BERTModel._from_config(config(), use_flash_attention_2=True), "attn_implementation="),
    ]
    for call, line in cases:
        with pytest.raises(ValueError) as error:
            call()
        assert line in str(error.value) and "\n" not in str(error.value)
