"""SentimentAnalyzer: padding that changes nothing, one set of labels, the same numbers exported, correct training."""

import copy
import json

import pytest
import torch
import torchinfo
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence as pack
from transformers import AutoModel, AutoModelForSequenceClassification, Trainer, TrainingArguments

from sentiment_model import modeling_sentiment
from sentiment_model.configuration_sentiment import POOLINGS, SentimentConfig
from sentiment_model.modeling_sentiment import SentimentAnalyzer, SentimentEncoder, SentimentModel

SMALL = {"vocab_size": 60, "embedding_dim": 12, "hidden_dim": 10, "num_layers": 2}
LENGTHS = [9, 4, 1, 6, 0]
ROUNDING = 1e-6  # a packed LSTM multiplies matrices of other sizes than an unpacked one: never the same bits


def made(**fields) -> SentimentAnalyzer:
    torch.manual_seed(0)
    return SentimentAnalyzer(SentimentConfig(**{**SMALL, **fields})).eval()


def rows(lengths=LENGTHS, tokens=9) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [torch.randint(1, 60, (n,), generator=draw) for n in lengths]


def padded(texts: list[torch.Tensor], side: str, tokens: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask; there is no padding id in them, so that only the mask tells."""
    ids = torch.full((len(texts), tokens), 7)
    mask = torch.zeros(len(texts), tokens, dtype=torch.long)
    for i, text in enumerate(texts):
        places = {
            "right": torch.arange(len(text)),
            "left": torch.arange(tokens - len(text), tokens),
            "holes": torch.randperm(tokens, generator=torch.Generator().manual_seed(i))[: len(text)].sort().values,
        }[side]
        ids[i, places], mask[i, places] = text, 1
    return ids, mask


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("side", ["right", "left", "holes"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_nothing(pooling, side, packed, monkeypatch):
    monkeypatch.setattr(modeling_sentiment, "is_packed", lambda *_: packed)
    model, texts = made(pooling=pooling), rows()
    ids, mask = padded(texts, side)
    with torch.no_grad():
        together = model(ids, attention_mask=mask, output_hidden_states=True)
        for i, text in enumerate(texts[:-1]):
            alone = model(text[None], attention_mask=torch.ones(1, len(text)), output_hidden_states=True)
            assert (alone.logits - together.logits[i]).abs().max() < ROUNDING
            for one, all_ in zip(alone.hidden_states, together.hidden_states, strict=True):
                assert (one[0] - all_[i][mask[i] == 1]).abs().max() < ROUNDING
                assert (all_[i][mask[i] == 0] == 0).all()
    assert torch.equal(together.logits[-1], model.classifier.bias)  # no token: pooled features of zero


def test_the_usual_way_is_another_function():
    """What the padding does to an LSTM that runs over it, and whose last step is taken: the test above can fail."""
    model, texts = made(), rows()
    ids, mask = padded(texts, "right")
    states = model.sentiment.embedding(ids)
    for layer in model.sentiment.encoder.layers:
        states = torch.cat([layer.forwards(states)[0], layer.backwards(states.flip(1))[0].flip(1)], dim=-1)
    naive = model.classifier(states[:, -1])
    assert (naive - model(ids, attention_mask=mask).logits)[:4].abs().max() > 1e-2


def test_one_layer_in_both_directions_by_the_definition():
    """Hochreiter's gates written out, a step at a time."""
    model, text = made(num_layers=1), rows([5])[0]
    layer, x = model.sentiment.encoder.layers[0], model.sentiment.embedding(text)

    def run(x: torch.Tensor, lstm: nn.LSTM) -> torch.Tensor:
        w, u, b, c = (getattr(lstm, f"{n}_l0") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        hidden = cell = torch.zeros(10)
        for step in x:
            into, forget, new, out = (w @ step + b + u @ hidden + c).chunk(4)
            cell = forget.sigmoid() * cell + into.sigmoid() * new.tanh()
            hidden = out.sigmoid() * cell.tanh()
        return hidden

    expected = torch.cat([run(x, layer.forwards), run(x.flip(0), layer.backwards)])
    torch.testing.assert_close(model.sentiment(text[None]).pooler_output[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["mean", "max", "attention"])
def test_poolings_by_their_definition(pooling):
    model, texts = made(pooling=pooling).sentiment, rows()
    ids, mask = padded(texts, "left")
    output = model(ids, attention_mask=mask)
    for states, real, found in zip(output.last_hidden_state, mask.bool(), output.pooler_output, strict=True):
        tokens = states[real]
        if not len(tokens):
            expected = torch.zeros(20)
        elif pooling == "mean":
            expected = tokens.mean(0)
        elif pooling == "max":
            expected = tokens.max(0).values
        else:
            expected = model.pooler.score(tokens).softmax(0).T @ tokens
        torch.testing.assert_close(found, expected.view(-1), rtol=0, atol=1e-6)


def test_without_a_mask_the_padding_id_is_padding_and_the_mask_wins():
    model, texts = made(), rows()
    ids, mask = padded(texts, "right")
    told = model(ids, attention_mask=mask).logits
    assert torch.equal(model(ids * mask).logits, told)  # 0 is pad_token_id
    all_real = model(ids * mask, attention_mask=torch.ones_like(mask)).logits
    assert not torch.allclose(all_real, told, atol=1e-3)
    none = made(pad_token_id=None)
    assert none.sentiment.embedding.padding_idx is None
    assert torch.equal(none(ids * mask).logits, none(ids * mask, attention_mask=torch.ones_like(mask)).logits)


def test_embeddings_can_be_given_and_positions_and_types_are_taken():
    model, (ids, mask) = made(), padded(rows(), "left")
    embedded = model.sentiment.embedding(ids)
    assert torch.equal(model(inputs_embeds=embedded, attention_mask=mask).logits, model(ids, mask).logits)
    assert torch.equal(model(ids, mask, token_type_ids=mask).logits, model(ids, mask).logits)
    output = model(ids, mask, return_dict=False)
    assert len(output) == 1 and torch.equal(output[0], model(ids, mask).logits)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_no_rows_and_no_tokens(shape):
    model = made()
    output = model(torch.ones(shape, dtype=torch.long), output_hidden_states=True)
    assert output.logits.shape == (shape[0], 3) and [h.shape[:2] for h in output.hidden_states] == [shape] * 3
    assert torch.equal(output.logits, model.classifier.bias.expand(shape[0], 3))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "give one of input_ids"),
        ({"input_ids": torch.tensor([[60]])}, "vocab_size=60 allows 0 to 59"),
        ({"input_ids": torch.tensor([[-1]])}, "values from -1 to -1"),
        ({"input_ids": torch.ones(3)}, "should be int64 (batch, tokens)"),
        ({"input_ids": torch.ones(2, 3, dtype=torch.uint8)}, "input_ids are torch.uint8"),
        ({"input_ids": torch.ones(2, 3).long(), "labels": torch.full((2, 3), 2.0)}, "several labels are 0 and 1 each"),
        ({"input_ids": torch.ones(2, 3).long(), "attention_mask": torch.ones(2, 4)}, "should be (2, 3)"),
        ({"inputs_embeds": torch.ones(2, 12)}, "should be (batch, tokens, 12)"),
        ({"inputs_embeds": torch.ones(2, 3, 13)}, "should be (batch, tokens, 12)"),
        ({"input_ids": torch.ones(2, 3).long(), "labels": torch.tensor([0, 3])}, "so use 0 to 2"),
        ({"input_ids": torch.ones(2, 3).long(), "labels": torch.tensor([0])}, "should be (2,)"),
    ],
)
def test_mistakes_are_one_line(arguments, told):
    with pytest.raises(ValueError) as error:
        made()(**arguments)
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"vocab_size": 0}, "vocab_size=0 must be an integer from 1"),
        ({"hidden_dim": 2.5}, "hidden_dim=2.5"),
        ({"num_layers": True}, "num_layers=True"),
        ({"dropout": 1}, "dropout=1 must be at least 0 and less than 1"),
        ({"pad_token_id": 60}, "must be from 0 to 59, or None"),
        ({"pooling": "cls"}, "use 'last' or 'mean' or 'max' or 'attention'"),
        ({"problem_type": "ranking"}, "problem_type='ranking'"),
        ({"num_classes": 2, "num_labels": 3}, "contradictory"),
        ({"num_classes": 0}, "num_classes=0 must be a positive integer"),
        ({"id2label": {}}, "id2label=0"),
        ({"id2label": ["x", "y"]}, "must be a dict"),
        ({"label2id": {"x": "0", "y": "1"}}, "must give each name an integer"),
        ({"id2label": {0: "a", 2: "b"}}, "ids 0 to 1"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, "contradicts"),
    ],
)
def test_fields_no_model_can_be_built_from_are_refused(fields, told):
    with pytest.raises(ValueError) as error:
        SentimentAnalyzer(SentimentConfig(**{**SMALL, **fields}))
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["num_classes", "num_labels"])
@pytest.mark.parametrize("count", [None, 1, 2, 3, 1000])
def test_labels_survive_saving(name, count, tmp_path):
    config = SentimentConfig(**({name: count} if count else {}))
    config.save_pretrained(tmp_path)
    loaded = SentimentConfig.from_pretrained(tmp_path)
    expected = ["negative", "neutral", "positive"] if count in (None, 3) else [f"LABEL_{i}" for i in range(count)]
    assert [*loaded.id2label.values()] == expected == [*loaded.label2id]
    assert loaded.num_classes == loaded.num_labels == len(expected)
    other = SentimentConfig.from_pretrained(tmp_path, **{name: 4})
    assert len(other.id2label) == other.num_labels == 4
    named = SentimentConfig.from_pretrained(tmp_path, id2label={"0": "bad", "1": "good"})
    assert named.num_classes == 2 and named.label2id == {"bad": 0, "good": 1}
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "sentiment_analyzer"


def test_a_classifier_becomes_a_regression(tmp_path):
    made(problem_type="single_label_classification").save_pretrained(tmp_path)
    fields = {"num_labels": 1, "problem_type": "regression", "ignore_mismatched_sizes": True}
    model = SentimentAnalyzer.from_pretrained(tmp_path, **fields)
    assert model.config.problem_type == "regression" and model.classifier.out_features == 1


def test_base_and_head_load_each_others_checkpoints(tmp_path):
    head = made()
    head.save_pretrained(tmp_path / "head")
    base, found = SentimentModel.from_pretrained(tmp_path / "head", output_loading_info=True)
    assert not found["missing_keys"]
    assert all(torch.equal(t, head.sentiment.state_dict()[n]) for n, t in base.state_dict().items())
    base.save_pretrained(tmp_path / "base")
    again, found = SentimentAnalyzer.from_pretrained(tmp_path / "base", output_loading_info=True)
    assert sorted(found["missing_keys"]) == ["classifier.bias", "classifier.weight"]
    assert again.classifier.weight.abs().max() <= 20**-0.5 and again.classifier.weight.std() > 0.05


def test_what_a_checkpoint_lacks_is_drawn_and_the_rest_is_left_alone(tmp_path):
    model = made(pooling="attention")
    with torch.no_grad():
        model.sentiment.embedding.weight[0] = 3.0  # of padding, and stored
    model.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    dropped = {"sentiment.encoder.layers.1.backwards.weight_hh_l0": 10, "sentiment.pooler.score.weight": 20}
    kept = {name: tensor for name, tensor in stored.items() if name not in dropped}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded, found = SentimentAnalyzer.from_pretrained(tmp_path, output_loading_info=True)
    state = loaded.state_dict()
    assert set(found["missing_keys"]) == dropped.keys()
    assert [name for name in kept if not torch.equal(state[name], kept[name])] == []
    for name, width in dropped.items():
        assert 0.5 * width**-0.5 < state[name].abs().max() <= width**-0.5, name
    fresh = made().sentiment.embedding.weight
    assert (fresh[0] == 0).all() and 0.9 < fresh[1:].std() * 12**0.5 < 1.1


def test_words_can_be_added(tmp_path):
    model, (ids, mask) = made(), padded(rows(), "right")
    before = model(ids, mask).logits
    model.resize_token_embeddings(70)
    assert torch.equal(model(ids, mask).logits, before) and model.config.vocab_size == 70
    model.save_pretrained(tmp_path)
    again = SentimentAnalyzer.from_pretrained(tmp_path).eval()
    for parameter in again.parameters():  # views of a file lie at any place, and MKL's last bits depend on it
        parameter.data = parameter.data.clone()
    assert torch.equal(again(ids, mask).logits, before) and again(ids.clamp(min=65), mask).logits.shape == (5, 3)


@pytest.mark.slow
@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_exported_graph_takes_other_rows_and_a_traced_one_other_lengths(pooling):
    model, (ids, mask) = made(pooling=pooling), padded(rows(), "left")
    with torch.no_grad():
        rows_ = {name: {0: torch.export.Dim("rows", min=2)} for name in ("input_ids", "attention_mask")}
        inputs = {"input_ids": torch.full_like(ids, 5), "attention_mask": torch.ones_like(mask)}
        exported = torch.export.export(model, (), inputs, dynamic_shapes=rows_, strict=False).module()
        for n in (5, 3):
            expected = model(ids[:n], mask[:n]).logits
            found = exported(input_ids=ids[:n], attention_mask=mask[:n]).logits
            assert (found - expected).abs().max() < ROUNDING
        traced = torch.jit.trace(model, example_kwarg_inputs=inputs, strict=False)
        longer, there = padded(rows([3, 14]), "right", 14)
        found = traced(input_ids=longer, attention_mask=there)["logits"]
        assert (found - model(longer, there).logits).abs().max() < ROUNDING


def test_packed_and_whole_rows_have_the_same_states_and_gradients(monkeypatch):
    encoder = SentimentEncoder(SentimentConfig(**SMALL, dropout=0.0))
    lengths, x = torch.tensor([9, 4, 1, 0]), torch.randn(4, 9, 12)
    keep = (torch.arange(9) < lengths[:, None])[..., None]
    found = []
    for packed in (False, True):
        monkeypatch.setattr(modeling_sentiment, "is_packed", lambda *_, p=packed: p)
        calls = []
        monkeypatch.setattr(
            modeling_sentiment, "pack_padded_sequence", lambda *a, c=calls, **k: c.append(1) or pack(*a, **k)
        )
        encoder.zero_grad()
        states = [state * keep for state in encoder(x, lengths)]
        sum(state.square().sum() for state in states).backward()
        assert len(calls) == (4 if packed else 0)
        found.append((states, {name: p.grad.clone() for name, p in encoder.named_parameters()}))
    for one, other in zip(*(states for states, _ in found), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=ROUNDING)
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient, rtol=1e-5, atol=1e-5, msg=name)


def test_padding_is_skipped_where_that_pays():
    lengths, x = torch.tensor([40, 1, 1, 1, 1]), torch.zeros(5, 40, 12)
    fuller = torch.tensor([40, 9, 9, 9, 9])
    with torch.no_grad():
        assert modeling_sentiment.is_packed(x, lengths) and not modeling_sentiment.is_packed(x, fuller)
        assert modeling_sentiment.is_packed(x.to("meta"), fuller)  # as on a GPU
    assert not modeling_sentiment.is_packed(x, lengths)  # in training


@pytest.mark.slow
def test_compiled_around_the_lstm_it_gives_the_same():
    model, (ids, mask) = made(), padded(rows(), "left")
    compiled = torch.compile(model, backend="aot_eager")
    with torch.no_grad():
        for n in (5, 3):
            assert torch.equal(compiled(ids[:n], mask[:n]).logits, model(ids[:n], mask[:n]).logits)


def test_bfloat16_stays_near():
    model, (ids, mask) = made(), padded(rows(), "left")
    half = copy.deepcopy(model).to(torch.bfloat16)
    output = half(ids, mask)
    assert output.logits.dtype == torch.bfloat16
    assert (output.logits.float() - model(ids, mask).logits).abs().max() < 0.02


@pytest.mark.parametrize(
    ("fields", "labels", "expected"),
    [
        ({}, torch.tensor([2, 0, -100]), lambda x, y: nn.functional.cross_entropy(x, y)),
        ({"num_classes": 1}, torch.tensor([2.0, 0.5, 1.0]), lambda x, y: ((x[:, 0] - y) ** 2).mean()),
        (
            {"num_classes": 2, "problem_type": "regression"},
            torch.rand(3, 2),
            lambda x, y: ((x - y) ** 2).mean(),
        ),
        (
            {"num_classes": 2},
            torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]),
            lambda x, y: nn.functional.binary_cross_entropy_with_logits(x, y),
        ),
    ],
)
def test_losses(fields, labels, expected):
    model = made(**fields)
    before = model.config.to_dict()
    ids, mask = padded(rows([9, 4, 1]), "left")
    output = model(ids, mask, labels=labels)
    torch.testing.assert_close(output.loss, expected(output.logits, labels))
    torch.testing.assert_close(
        model(ids, mask, labels=labels, num_items_in_batch=torch.tensor(12)).loss * 12,
        output.loss * (labels != -100).sum(),
    )
    assert model.config.to_dict() == before  # the kind of loss is not remembered from one batch to the next


def test_gradients_of_four_accumulated_steps_equal_those_of_one_batch(tmp_path):
    class Recorder(Trainer):
        def create_optimizer(self, *args, **kwargs):
            self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.0)
            original = self.optimizer.step

            def step(*args, **kwargs):
                self.seen = {name: p.grad.clone() for name, p in self.model.named_parameters()}
                return original(*args, **kwargs)

            self.optimizer.step = step
            return self.optimizer

    ids, mask = padded(rows([9, 4, 1, 6, 3, 8, 2, 5]), "left")
    data = [
        {"input_ids": i, "attention_mask": m, "labels": n % 3} for n, (i, m) in enumerate(zip(ids, mask, strict=True))
    ]
    start, seen = made(dropout=0.0), []
    for steps in (1, 4):
        options = {"per_device_train_batch_size": 8 // steps, "gradient_accumulation_steps": steps, "max_steps": 1}
        trainer = Recorder(
            model=copy.deepcopy(start),
            args=TrainingArguments(
                output_dir=str(tmp_path), max_grad_norm=0.0, use_cpu=True, save_strategy="no", report_to="none",
                disable_tqdm=True, **options,
            ),
            train_dataset=data,
        )  # fmt: skip
        trainer.train()
        seen.append(trainer.seen)
    for name, gradient in seen[0].items():
        # sums of other sizes, in float32
        torch.testing.assert_close(seen[1][name], gradient, rtol=1e-4, atol=1e-6, msg=name)


def test_registration_as_in_the_tutorial():
    from transformers import AutoConfig

    AutoConfig.register("sentiment_analyzer", SentimentConfig, exist_ok=True)
    AutoModel.register(SentimentConfig, SentimentModel, exist_ok=True)
    AutoModelForSequenceClassification.register(SentimentConfig, SentimentAnalyzer, exist_ok=True)
    assert type(AutoModelForSequenceClassification.from_config(SentimentConfig(**SMALL))) is SentimentAnalyzer


def test_torchinfo_tells_its_layers():
    model, (ids, _) = made(), padded(rows(), "right")
    told = torchinfo.summary(model, input_data={"input_ids": ids}, depth=5, verbose=0)
    assert told.total_params == model.num_parameters() and "LSTM" in str(told)
