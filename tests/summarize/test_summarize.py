"""pinfold summarize: FLOPs against closed forms, memory against what is kept, and the verb from the command line."""

import argparse
import json
import math
import sys
from pathlib import Path

import pytest
import torch
from helpers.processes import ROOT
from huggingface_hub import CommitOperationAdd, HfApi
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence

from pinfold.cli import summarize as command
from pinfold.cli.main import main
from pinfold.fence import process as fence
from pinfold.fenced.cost import flops, observe, sizes, summary
from pinfold.summarize import rows as summary_rows
from pinfold.summarize import text as summary_text
from pinfold.summarize.run import Options, summarize
from pinfold.summarize.source import local_source
from pinfold.train.classes import import_classes

SMALL = {
    "bert_model": {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64},
    "decoder_model": {
        "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "intermediate_size": 48, "vocab_size": 90,
    },
    "resnet_model": {"layers": [1, 1, 1, 1], "base_width": 8},
    "sentiment_model": {"vocab_size": 50, "embedding_dim": 12, "hidden_dim": 16},
}  # fmt: skip
SMALL["bert_model"] |= {"vocab_size": 90, "max_position_embeddings": 40}
AUTOS = [(folder, auto) for folder in SMALL for auto in local_source(ROOT / folder, None).models()]


def request(folder: Path, **given) -> dict:
    """What the fenced process is asked for; it is answered here in this process."""
    source = local_source(folder, None)
    auto, place = source.chosen(given.pop("auto", None))
    return {
        "code": str(folder), "place": place, "auto": auto, "stored": source.stored, "fields": {}, "weights": None,
        "probe": {}, "batch": None, "length": None, "image_size": None, "dtype": None, "optimizer": "adamw",
        "meta": False, "memory": 1 << 40, "threads": 1, **given,
    }  # fmt: skip


def answered(folder, **given) -> dict:
    for name in [n for n in sys.modules if n.split(".")[0] == "_folder"]:
        del sys.modules[name]
    threads = torch.get_num_threads()
    found = summary.answer(request(Path(folder), **given))
    torch.set_num_threads(threads)
    assert not found["failures"], found["failures"]
    return found


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(list(map(str, arguments)))


def small(name: str, **given) -> dict:
    fields = SMALL[name] | given.pop("fields", {})
    size = {"image_size": 32} if name == "resnet_model" else {"length": 20}
    return answered(ROOT / name, **{"fields": fields, **size, **given})


class Calls(nn.Module):
    """Gives a function of tensors the form of a model."""

    def __init__(self, function, **modules):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, **inputs):
        return self.function(self, **inputs)


def test_a_linear_stack_costs_two_flops_a_weight_and_row():
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3, bias=False))
    found = flops.count(model, {"input": torch.ones(4, 6, 5)})
    assert found == {"": 2 * 24 * (35 + 21), "0": 2 * 24 * 35, "1": 0, "2": 2 * 24 * 21}


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (1, 2, 2), (3, 0, 2)])
def test_a_convolution_costs_its_kernel_for_each_output(groups, stride, padding, dilation):
    layer = nn.Conv2d(4, 6, (3, 5), stride, padding, dilation, groups)
    height, width = (
        (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for size, kernel in ((17, 3), (19, 5))
    )
    expected = 2 * 2 * 6 * height * width * (4 // groups) * 15
    assert flops.count(layer, {"input": torch.ones(2, 4, 17, 19)})[""] == expected


def test_a_transposed_convolution_costs_its_kernel_for_each_input():
    layer = nn.ConvTranspose1d(4, 6, 3, stride=2, groups=2)
    assert flops.count(layer, {"input": torch.ones(2, 4, 9)})[""] == 2 * 2 * 4 * 9 * 3 * 3


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("how", [{}, {"is_causal": True}, {"attn_mask": "mask"}, {"dropout_p": 0.5}])
@pytest.mark.parametrize("key_heads", [6, 2])
def test_attention_costs_its_full_score_matrix(device, how, key_heads):
    mask = torch.ones(5, 9, dtype=torch.bool, device=device)
    how = {key: mask if value == "mask" else value for key, value in how.items()}
    model = Calls(lambda self, q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=key_heads != 6, **how))
    q, k, v = torch.ones(2, 6, 5, 4), torch.ones(2, key_heads, 9, 4), torch.ones(2, key_heads, 9, 4)
    inputs = {name: tensor.to(device) for name, tensor in (("q", q), ("k", k), ("v", v))}
    assert flops.count(model, inputs)[""] == 2 * 2 * 6 * 5 * 9 * (4 + 4)


def test_attention_with_values_of_another_width():
    model = Calls(lambda self, q, k, v: F.scaled_dot_product_attention(q, k, v))
    inputs = {"q": torch.ones(2, 3, 5, 4), "k": torch.ones(2, 3, 9, 4), "v": torch.ones(2, 3, 9, 8)}
    assert flops.count(model, inputs)[""] == 2 * 2 * 3 * 5 * 9 * (4 + 8)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("training", [False, True])
def test_an_lstm_costs_its_gates_in_both_directions_and_every_layer(device, training):
    lstm = nn.LSTM(8, 6, num_layers=3, bidirectional=True, batch_first=True).to(device).requires_grad_(training)
    expected = 2 * 4 * 5 * 2 * 24 * ((8 + 6) + 2 * (12 + 6))
    assert flops.count(lstm, {"input": torch.ones(4, 5, 8, device=device)})[""] == expected
    gru = nn.GRU(8, 6, batch_first=True).to(device)
    assert flops.count(gru, {"input": torch.ones(4, 5, 8, device=device)})[""] == 2 * 4 * 5 * 18 * (8 + 6)


@pytest.mark.parametrize("lengths", [[5, 2, 1], [5, 5, 5]])
def test_a_packed_lstm_costs_its_real_steps(lengths):
    def packed(self, x):
        return self.lstm(pack_padded_sequence(x, torch.tensor(lengths), batch_first=True))

    model = Calls(packed, lstm=nn.LSTM(8, 6, num_layers=2, bidirectional=True))
    assert flops.count(model, {"x": torch.ones(3, 5, 8)})["lstm"] == 2 * sum(lengths) * 2 * 24 * (8 + 6 + 12 + 6)


def test_embeddings_cost_nothing_and_products_with_vectors_do():
    assert flops.count(nn.Embedding(9, 4), {"input": torch.tensor([[1, 2]])})[""] == 0
    model = Calls(lambda self, x: x @ torch.ones(4) + torch.einsum("ij,ij->i", x, x).dot(torch.ones(3)))
    assert flops.count(model, {"x": torch.ones(3, 4)})[""] == 2 * 12 + 2 * 12 + 2 * 3
    inputs = {"input1": torch.ones(5, 4), "input2": torch.ones(5, 6)}
    assert flops.count(nn.Bilinear(4, 6, 3), inputs)[""] == 2 * 5 * (3 * 4 * 6 + 3 * 6)


def test_torchs_own_transformer_layer_is_not_one_operator_that_shows_nothing():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    expected = 2 * 10 * (8 * 24 + 8 * 8 + 2 * 8 * 16) + 2 * 2 * 2 * 5 * 5 * (4 + 4)
    assert flops.count(layer, {"src": torch.ones(2, 5, 8)})[""] == expected
    with torch.inference_mode():
        assert flops.count(nn.Linear(3, 4), {"input": torch.ones(2, 3)})[""] == 48


def test_a_module_that_runs_three_times_counts_three_times_under_its_first_name():
    shared = nn.Linear(4, 4)
    model = Calls(lambda self, x: self.b(self.a(self.a(x))), a=shared, b=shared)
    assert flops.count(model, {"x": torch.ones(2, 4)}) == {"": 3 * 64, "a": 3 * 64}
    seen = observe.passing(model, {"x": torch.ones(2, 4)})
    assert seen["calls"] == {"a": 3, "": 1}


def test_what_has_no_formula_is_named():
    seen = observe.passing(Calls(lambda self, x: torch.fft.fft(x).real), {"x": torch.ones(4)})
    assert seen["unknown"] and all(name.startswith("aten::_fft") for name in seen["unknown"])


def test_bert_base_is_its_closed_form():
    found = answered(ROOT / "bert_model", meta=True, batch=3, length=100)
    rows, tokens, width = 3, 100, 768
    layer = 2 * rows * tokens * (4 * width**2 + 2 * width * 3072) + 4 * rows * tokens * tokens * width
    assert found["modules"][0]["flops"] == 12 * layer + 2 * rows * width**2
    assert found["modules"][0]["parameters"] == 109_482_240 and found["meta"]


def test_a_resnet_is_the_sum_of_its_convolutions():
    timm = pytest.importorskip("timm")
    with torch.device("meta"):
        model, plain = (timm.create_model(name).eval() for name in ("resnet50d", "resnet50"))
    places, expected = {}, 0
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(lambda m, a, out, name=name: places.update({name: out.shape}))
    found = flops.count(model, {"x": torch.ones(1, 3, 224, 224, device="meta")})
    for name, shape in places.items():
        weight = model.get_submodule(name).weight
        expected += 2 * shape.numel() * math.prod(weight.shape[1:])
    assert found[""] == expected
    macs = flops.count(plain, {"x": torch.ones(1, 3, 224, 224, device="meta")})[""] / 2e9
    assert round(macs, 2) == 4.09  # in thousands of millions, the number that is quoted everywhere
    assert answered(ROOT / "resnet_model", meta=True, batch=1)["inputs"]["pixel_values"][1] == [1, 3, 224, 224]


def test_a_decoder_with_grouped_heads_is_its_closed_form():
    fields = {"num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 32, "intermediate_size": 48}
    found = small("decoder_model", auto="AutoModelForCausalLM", fields=fields)
    rows, tokens, width, keys = 2, 20, 32, 16
    layer = 2 * rows * tokens * (2 * width**2 + 2 * width * keys + 3 * width * 48) + 4 * rows * tokens**2 * width
    assert found["modules"][0]["flops"] == 2 * layer + 2 * rows * tokens * width * 90


@pytest.mark.parametrize(("folder", "auto"), AUTOS)
def test_every_auto_class_of_every_folder(folder, auto):
    found = small(folder, auto=auto)
    head = found["modules"][0]
    assert head["parameters"] == sum(math.prod(p["shape"]) for p in found["parameters"].values())
    assert head["parameters"] == sum(m["own"] for m in found["modules"] if "own" in m)
    assert head["calls"] == 1 and head["flops"] > 0 and head["saved"] > 0 and head["shape"]
    assert head["optimizer"] == 2 * head["gradients"] == 8 * head["trainable"]
    assert found["loss"] is not None and set(found["gradients"]) == set(found["parameters"])
    heads = auto not in ("AutoModel", "AutoModelForPreTraining")  # no labels are known for two heads at once
    assert found["loss_from"].startswith("its own" if heads else "the outputs")
    lines = list(summary_text.summary_lines(found, folder, None, "AdamW"))
    assert max(map(len, lines)) <= 120 and lines[0].startswith(found["class"])
    if folder == "sentiment_model":
        return
    blank = small(folder, auto=auto, meta=True)
    for one, other in zip(found["modules"], blank["modules"], strict=True):
        for key in ("name", "flops", "parameters", "shape", "calls", "weights"):
            assert one.get(key) == other.get(key), (one["name"], key)
    assert blank["meta"] and not blank["signals"] and blank["loss"] is None


def test_on_meta_a_decoder_keeps_the_same_memory_for_backward():
    real, blank = (small("decoder_model", auto="AutoModelForCausalLM", meta=meta) for meta in (False, True))
    assert [m["saved"] for m in real["modules"]] == [m["saved"] for m in blank["modules"]]


def test_saved_for_backward_is_each_memory_once_without_parameters():
    model = Calls(lambda self, x: self.b(self.act(self.a(x))), a=nn.Linear(3, 5), act=nn.ReLU(), b=nn.Linear(5, 2))
    step = observe.stepping(model, {"x": torch.ones(4, 3)}, {}, backward=True)
    # the first layer keeps its inputs; ReLU keeps its outputs, which are the second layer's inputs
    wave = 4 * 2 * 4  # what the outputs are weighted by
    assert step["saved"] == {"": 4 * (12 + 20) + wave, "a": 4 * 12, "act": 4 * 20, "b": 0}


def test_training_memory_is_about_what_a_step_takes():
    """Against the largest number of bytes alive at once in the second step, when the optimiser has its states."""
    fields = SMALL["bert_model"] | {"hidden_size": 128, "intermediate_size": 512}
    found = small("bert_model", auto="AutoModelForMaskedLM", batch=8, fields=fields)
    estimate = summary_text.memory(found, summary_rows.tree(found["modules"]))["training"]
    cls = import_classes(ROOT / "bert_model")["AutoModelForMaskedLM"]
    model = cls(cls.config_class(**fields)).train()
    optimizer, living = torch.optim.AdamW(model.parameters(), foreach=False), observe.Living(observe.held(model))

    def see(operator, arguments, given, result):
        for tensor in observe.tensors(result):
            living.add(tensor)

    inputs = sizes.sized_inputs(model, {}, 8, 20, None)
    with flops.watching(see):
        for _ in range(2):
            model(**inputs, labels=inputs["input_ids"]).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    weights = sum(p.numel() * 4 for p in (*model.parameters(), *model.buffers()))
    assert 0.75 * estimate < weights + living.peak < 1.1 * estimate


def test_inference_memory_is_the_peak_of_what_is_alive():
    model = Calls(lambda self, x: self.b(self.a(x)), a=nn.Linear(10, 1000, bias=False), b=nn.Linear(1000, 1))
    inputs = {"x": torch.ones(2, 10)}
    assert observe.passing(model, inputs)["peak"] == 4 * (2 * 10 + 2 * 1000 + 2)
    blank = observe.passing(model.to("meta"), {"x": inputs["x"].to("meta")})
    assert blank["peak"] == 4 * (2 * 10 + 2 * 1000 + 2)


def test_dead_and_constant_units_are_counted_on_the_axis_of_the_layer_before():
    linear = nn.Linear(3, 8)
    convolution = nn.Conv2d(3, 6, 1)
    with torch.no_grad():
        linear.weight[:3], linear.bias[:2], linear.bias[2] = 0, -1, 5
        convolution.weight[0], convolution.bias[0] = 0, -1
        linear.weight[3:], linear.bias[3:] = torch.eye(5, 3).abs() + 0.1, 1
        convolution.weight[1:], convolution.bias[1:] = 1, 1
    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    model = Calls(lambda self, x: (F.relu(self.c(x)), F.gelu(F.relu(self.l(x.mean((2, 3)))))), c=convolution, l=linear)
    signals, rectified = observe.signals(model, {"x": x})
    assert [(u["function"], u["units"], u["zero"], u["constant"]) for u in rectified] == [
        ("relu", 6, 1, 0),
        ("relu", 8, 2, 1),
        ("gelu", 8, 2, 1),
    ]
    assert signals["c"]["nonfinite"] == 0 and signals["l"]["max"] >= 5


def test_moments_of_several_calls_are_those_of_all_values():
    shared = nn.Identity()
    model = Calls(lambda self, x: self.a(x) + self.a(3 * x + 1), a=shared)
    x = torch.arange(12.0).reshape(3, 4)
    values = torch.cat([x, 3 * x + 1]).double()
    found = observe.signals(model, {"x": x})[0]["a"]
    assert found["mean"] == pytest.approx(float(values.mean())) and found["max"] == 34
    assert found["std"] == pytest.approx(float(values.std(correction=0))) and found["zeros"] == 1 / 24


def test_not_a_number_is_traced_to_the_module_where_it_comes_up():
    bad = nn.Linear(3, 3)
    nn.init.constant_(bad.bias, float("nan"))
    model = Calls(lambda self, x: self.c(self.b(self.a(x))), a=nn.Linear(3, 3), b=bad, c=nn.Linear(3, 2))
    found, _ = observe.signals(model, {"x": torch.ones(2, 3)})
    assert next(name for name, values in found.items() if values["nonfinite"]) == "b"
    assert found["a"]["nonfinite"] == 0 and found["b"] == {
        "mean": None, "std": None, "max": None, "zeros": 0, "nonfinite": 6,
    }  # fmt: skip


def test_a_step_leaves_the_model_as_it_was():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5))
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    observe.stepping(model, {"input": torch.rand(2, 3, 8, 8)}, {}, backward=True)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training and not model[1].training and all(p.grad is None for p in model.parameters())


STOCK = {
    "t5": {"d_model": 16, "d_kv": 4, "d_ff": 32, "num_layers": 2, "num_heads": 4, "vocab_size": 90},
    "albert": {"embedding_size": 8, "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 4},
    "whisper": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "max_source_positions": 20},
    "vit": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 32},
    "mixtral": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2},
}
STOCK["albert"] |= {"intermediate_size": 32, "vocab_size": 90}
STOCK["mixtral"] |= {"intermediate_size": 24, "vocab_size": 90, "num_local_experts": 4, "num_experts_per_tok": 2}
STOCK["whisper"] |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "vocab_size": 90, "pad_token_id": 0}
STOCK["whisper"] |= {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "bos_token_id": 1, "eos_token_id": 2}


def stock(kind, **given) -> dict:
    asked = request(ROOT / "bert_model", **given) | {"code": None, "auto": None}
    found = summary.answer(asked | {"stored": {"model_type": kind, **STOCK[kind]}})
    assert not found["failures"], found["failures"]
    return found


@pytest.mark.parametrize("kind", STOCK)
def test_architectures_of_transformers_own(kind):
    found = stock(kind)
    assert found["loss"] is not None and max(map(len, summary_text.summary_lines(found, kind, 9, "AdamW"))) <= 120
    if kind != "mixtral":  # its product of grouped rows is refused on meta
        assert stock(kind, meta=True)["modules"][0]["flops"] == found["modules"][0]["flops"]
    if kind == "albert":
        layer = next(m for m in found["modules"] if m["name"].endswith("albert_layers.0"))
        assert layer["calls"] == 3 and "3 calls" in "\n".join(summary_text.summary_lines(found, kind, 9, "AdamW"))
    if kind == "mixtral":
        tokens, width = 2 * 128, 16
        attention = 2 * tokens * (2 * width**2 + 2 * width * 8) + 4 * 2 * 128**2 * width
        experts = 2 * tokens * (4 * width + 2 * 3 * width * 24)  # the router, and two experts for each token
        assert found["modules"][0]["flops"] == attention + experts


def test_frozen_weights_are_no_weights_without_gradient(tiny_folder, tmp_path):
    for path in tiny_folder.glob("*.py"):
        line = "self.mixer = Mixer(config.width)"
        text = path.read_text().replace(line, f"{line}\n        self.mixer.requires_grad_(False)")
        (tmp_path / path.name).write_text(text)
    found = answered(tmp_path)
    text = "\n".join(summary_text.summary_lines(found, "it", None, "AdamW"))
    assert "392; 320 trainable, 72 frozen" in text and "no gradient" not in text
    assert found["modules"][0]["optimizer"] == 8 * 320


def test_unused_and_shared_weights_are_named():
    found = small("bert_model", auto="AutoModelForMaskedLM")
    assert found["tied"] == [["bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"]]
    text = "\n".join(summary_text.summary_lines(found, "bert_model", 3, "AdamW"))
    assert "shared =" in text and "layer.0-1" in text and "never called" in text
    resnet = "\n".join(summary_text.summary_lines(small("resnet_model"), "resnet_model", None, "AdamW"))
    assert "no gradient   model.fc.weight, model.fc.bias; no step changes them" in " ".join(resnet.split("\n"))


@pytest.mark.parametrize(("folder", "auto"), [*((f, None) for f in SMALL), ("bert_model", "AutoModelForMaskedLM")])
def test_torchinfo_works_and_has_the_same_totals(folder, auto):
    torchinfo = pytest.importorskip("torchinfo")
    found = small(folder, auto=auto)
    cls = import_classes(ROOT / folder)[found["auto"]]
    model = cls(cls.config_class(**SMALL[folder])).eval()
    inputs = sizes.sized_inputs(model, {}, 2, None if folder == "resnet_model" else 20, None)
    reference = torchinfo.summary(model, input_data=inputs, verbose=0)
    # torchinfo adds a shared weight once for each module that has it
    again = sum(math.prod(found["parameters"][names[0]]["shape"]) * (len(names) - 1) for names in found["tied"])
    assert reference.total_params == found["modules"][0]["parameters"] + again


def test_one_row_is_taken_where_two_are_refused():
    found = small("decoder_model", auto="AutoModelForSequenceClassification")
    assert found["inputs"]["input_ids"][1] == [1, 20] and any("set pad_token_id" in note for note in found["notes"])
    fields = {"pad_token_id": 0}
    found = small("decoder_model", auto="AutoModelForSequenceClassification", fields=fields)
    assert found["inputs"]["input_ids"][1] == [2, 20]


def test_what_does_not_fit_into_memory_is_summarized_without_numbers():
    found = small("bert_model", memory=10_000)
    assert found["meta"] and "weights and gradients take" in found["notes"][0] and not found["signals"]
    text = "\n".join(summary_text.summary_lines(found, "bert_model", None, "AdamW"))
    assert "on the meta device, without numbers" in text and "gradient" in text and "loss" not in text


def test_a_model_that_reads_numbers_is_refused_on_meta_in_one_line():
    found = summary.answer(request(ROOT / "sentiment_model", meta=True))
    assert len(found["failures"]) == 1 and "leave out --meta" in found["failures"][0]["line"]


def test_a_probe_of_the_folders_own_is_used_with_another_number_of_rows(tiny_folder):
    probe = {"input_ids": {"shape": [2, 7], "values": "ramp", "modulo": 40}}
    assert answered(tiny_folder, probe=probe, batch=5)["inputs"] == {"input_ids": ["int64", [5, 7]]}
    found = summary.answer(request(tiny_folder, probe=probe, length=3))
    assert "probe.json says what goes in" in found["failures"][0]["line"]


def test_mixed_types_and_devices_are_warned_of():
    found = small("bert_model")
    found["tensors"].append(found["tensors"][0] | {"dtype": "float16", "device": "cuda:0"})
    text = "\n".join(summary_text.summary_lines(found, "it", 0, "AdamW"))
    assert "mixed types, float16 and float32" in text and "mixed devices, cpu and cuda:0" in text
    found["modules"][0].pop("flops")  # as no honest answer has it
    with pytest.raises(KeyError):
        list(summary_text.summary_lines(found, "it", 0, "AdamW"))


def test_columns_hold_and_neighbours_that_are_equal_are_one_row():
    assert summary_text.number_text(22_350_000_000) == "22.4 G" and summary_text.size_text(1536) == "1.50 KiB"
    assert [summary_text.number_text(n) for n in (999, 1000, 999_499, 999_999)] == ["999", "1.00 k", "999 k", "1.00 M"]
    found = small("bert_model", fields={"num_hidden_layers": 12})
    rows = summary_rows.visible_rows(summary_rows.tree(found["modules"]), 2)
    layers = next(row for _, row in rows if row.label == "layer.0-11")
    each = next(m for m in found["modules"] if m["name"] == "encoder.layer.3")
    assert len(layers.names) == 12 and layers.sums["parameters"] == 12 * each["parameters"]
    table = list(summary_text.table(["module", "a", "b"], [[("x" * 200, " Class", " 2 calls"), "1", "2"]]))
    assert all(len(line) <= 120 for line in table) and " 2 calls" in table[-1]


@pytest.mark.slow
def test_from_the_command_line_with_json_and_picture(pinfold, tiny_folder, tiny_checkpoint, tmp_path):
    from PIL import Image

    done = pinfold("summarize", tiny_folder, "--set", "width=16", "--json", "it.json", "--picture", "it.png")
    assert done.returncode == 0, done.stderr
    assert "TinyModel of" in done.stdout and "sandboxed" in done.stdout and "weights are drawn" in done.stdout
    found = json.loads((tmp_path / "it.json").read_text())
    assert found["modules"][0]["parameters"] == 40 * 16 + 16 * 17 and found["memory"]["training"] > 0
    with Image.open(tmp_path / "it.png") as picture:
        assert picture.format == "PNG" and picture.width == 1440 and len(picture.getcolors(1 << 20)) > 4
    done = pinfold("summarize", tiny_checkpoint, "--depth", "0", "--batch", "3")
    assert (
        done.returncode == 0 and "drawn" not in done.stdout and "(AutoModelForSequenceClassification)" in done.stdout
    )


@pytest.mark.slow
def test_a_stock_checkpoint_in_an_old_transformers(overlay, tmp_path):
    import transformers

    config = transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=60, n_positions=32)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    source = local_source(tmp_path / "gpt", None)
    found = summarize(source, Options(length=32), {}, tmp_path, overlay=overlay("4.48.3"))
    assert found["transformers"] == "4.48.3" and found["class"] == "GPT2LMHeadModel" and not found["notes"]
    layer = 2 * 64 * (4 + 8) * 16**2 + 4 * 2 * 32**2 * 16
    assert found["modules"][0]["flops"] == 2 * layer + 2 * 64 * 16 * 60


def test_the_checkouts_own_configuration_goes_with_the_folder_that_it_names(forked, capsys):
    assert command.main(parsed(ROOT / "resnet_model", "--config", ROOT / "config.json", "--image-size", "32")) == 0
    assert "ResnetModelForImageClassification of" in capsys.readouterr().out  # which its architectures name


def test_help_shows_an_example(pinfold):
    assert "pinfold summarize bert_model" in pinfold("summarize", "--help").stdout


def test_a_repository_is_run_only_when_asked_and_after_its_audit(forked, hub, tiny_checkpoint, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    api = HfApi(endpoint=hub["url"], token=hub["token"])
    api.create_repo("local/summarized")
    files = [CommitOperationAdd(p.name, p) for p in sorted(tiny_checkpoint.iterdir()) if p.is_file()]
    api.create_commit("local/summarized", files, commit_message="it")
    where = ["summarize", "local/summarized@main", "--endpoint", hub["url"]]
    assert main(where) == 2 and "add --run" in capsys.readouterr().err
    assert main([*where, "--run", "--depth", "1"]) == 0
    said = capsys.readouterr().out
    assert said.index("What an audit cannot see") < said.index("running it") < said.index("TinyForSequence")


def test_a_repository_without_its_weights_and_one_whose_code_is_elsewhere(hub, tiny_checkpoint, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(fence, "run_sandboxed", lambda request, work, **rest: _here(request))
    api = HfApi(endpoint=hub["url"], token=hub["token"])
    files = {p.name: p.read_bytes() for p in sorted(tiny_checkpoint.iterdir()) if p.is_file()}
    config = json.loads(files["config.json"])
    config["auto_map"] = {a: f"local/with-code--{place}" for a, place in config["auto_map"].items()}
    pointing = {"config.json": json.dumps(config).encode(), "model.safetensors": files["model.safetensors"]}
    for repo, content in (("local/with-code", files), ("local/points-there", pointing)):
        api.create_repo(repo)
        operations = [CommitOperationAdd(name, data) for name, data in content.items()]
        api.create_commit(repo, operations, commit_message="it")
    for repo, option, expected in (("with-code", "--meta", "on meta"), ("points-there", "--depth=1", "on cpu")):
        assert main(["summarize", f"local/{repo}", "--run", "--endpoint", hub["url"], option]) == 0
        said = capsys.readouterr().out
        assert expected in said and "TinyForSequenceClassification of" in said and "drawn" not in said


MISTAKES = {
    "nowhere": "no such folder",
    "owner/name": "add --run",
    "{bert} --set foo": "KEY=VALUE is expected",
    "{bert} --set foo=1": "BERTConfig has no such field",
    "{bert} --set num_hidden_layer=1": "it has num_hidden_layers",
    "{bert} --set hidden_size=10": "not a multiple",
    "{bert} --auto AutoModelForCausalLM": "use one of AutoModel, AutoModelForMaskedLM",
    "{bert} --length 513": "--length 513 is more than max_position_embeddings=512",
    "{bert} --image-size 8": "takes no pictures",
    "{bert} --config nothing.json": "no such file",
    "{bert} --picture no/where/x.png": "the directory no/where does not exist",
    "{bert} --picture x.jpg": "ends in .png",
    "{bert} --json no/where/x.json": "the directory no/where does not exist",
    "{resnet} --length 8": "takes no sequences",
    "{damaged}": "not a configuration",
    "{empty}": "no file here defines a PreTrainedModel",
    "{raises}": "ValueError: it does not like this",
    "{odd}": "whose shape is unknown",
    "{alien}": "model_type 'alien' is not one of transformers",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mistake_is_one_line(words, tmp_path, capsys, monkeypatch, tiny_folder):
    monkeypatch.setattr(fence, "run_sandboxed", lambda request, work, **rest: _here(request))
    monkeypatch.chdir(tmp_path)
    places = {name: tmp_path / name for name in ("damaged", "empty", "raises", "odd", "alien")}
    for place in places.values():
        place.mkdir()
    (places["damaged"] / "config.json").write_text('{"model_type": ')
    (places["alien"] / "config.json").write_text('{"model_type": "alien"}')
    for path in tiny_folder.glob("*.py"):
        text = path.read_text()
        (places["raises"] / path.name).write_text(
            text.replace("return BaseModelOutput(", 'raise ValueError("it does not like this")\n        return dict(')
        )
        text = text.replace("input_ids", "thing").replace("vocab_size", "number").replace("width", "wide")
        (places["odd"] / path.name).write_text(text)
    given = words.format(bert=ROOT / "bert_model", resnet=ROOT / "resnet_model", **places).split(" ")
    assert main(["summarize", *given]) == 2
    said = capsys.readouterr().err
    assert MISTAKES[words] in said and said.count("\n") == 1 and "Traceback" not in said, said


@pytest.mark.parametrize("option", ["--batch 0", "--batch x", "--depth -1", "--length 0", "--dtype int8"])
def test_a_wrong_number_is_said_by_the_command_line(option, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["summarize", "bert_model", *option.split()])
    assert stopped.value.code == 2 and capsys.readouterr().err.count("\n") == 1


def _here(request: dict) -> dict:
    for name in [n for n in sys.modules if n.split(".")[0] == "_folder"]:
        del sys.modules[name]
    return summary.answer(request)
