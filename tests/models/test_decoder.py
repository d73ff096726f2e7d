"""decoder_model: what its numbers must be by the papers, and what a causal language model is used for."""

import inspect
import re
import subprocess
import sys
import types

import pytest
import torch
import torch.nn.functional as F
import transformers
from helpers.models.decoder import IDS, SIZES, build
from helpers.processes import ROOT, clean_environment

from decoder_model import modeling_decoder as decoder
from decoder_model.configuration_decoder import DecoderConfig
from pinfold.cli.main import main

FOLDER = ROOT / "decoder_model"
HEADS = ("ForCausalLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering")
VARIANTS = {
    "shared keys": {},
    "a key each": {"num_key_value_heads": None, "tie_word_embeddings": True},
    "one key, biases, wide heads": {
        "num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True, "head_dim": 12, "hidden_act": "gelu",
    },
    "both ways": {"use_bidirectional_attention": True, "rope_theta": 10000.0},
}  # fmt: skip


# --- the file that it is made from -----------------------------------------------------------------------------------


def test_the_committed_files_are_what_the_modular_file_gives(capsys):
    assert main(["convert", "--check", str(FOLDER / "modular_decoder.py")]) == 0
    assert "up to date" in capsys.readouterr().out
    for name in ("configuration", "modeling"):
        text = (FOLDER / f"{name}_decoder.py").read_text()
        assert text.startswith("# Made by pinfold from modular_decoder.py") and "transformers.models." in text
        assert not re.search(r"^\s*(from|import) transformers\.models", text, re.M)


def test_the_audit_finds_nothing(capsys):
    assert main(["check", str(FOLDER)]) == 0
    assert re.search(r"0 errors, 0 warnings; by its code it loads in 4\.48-5\.\d+$", capsys.readouterr().out.strip())


@pytest.mark.parametrize(
    ("version", "runs"), [("4.47.1", False), ("4.48.0.dev0", True), ("4.48.3", True), ("5.0.0rc1", True)]
)
def test_an_older_transformers_is_refused_in_one_line(version, runs, monkeypatch):
    guard = re.search(r"^import re\n.*?^    \)\n", (FOLDER / "configuration_decoder.py").read_text(), re.M | re.S)[0]
    monkeypatch.setattr(transformers, "__version__", version)
    if runs:
        exec(guard, {})
    else:
        with pytest.raises(ImportError, match=rf"needs transformers >= 4\.48, and this is {version}; run: pip"):
            exec(guard, {})


# --- numbers ---------------------------------------------------------------------------------------------------------


def by_the_papers(weights, config, ids):
    """Logits in float64, a head and a pair of dimensions at a time, as the papers write them.

    Norm: Zhang and Sennrich 2019, with Gemma's 1 + w. Positions: Su et al. 2021, pairs of dimensions as complex
    numbers, turned by position * theta^(-2i/d). Shared keys: Ainslie et al. 2023. Gate: Shazeer 2020.
    """
    w = {name: value.double() for name, value in weights.items()}
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"] or config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    act = {"silu": lambda x: x * torch.sigmoid(x), "gelu": lambda x: x * 0.5 * (1 + torch.erf(x / 2**0.5))}

    def norm(x, name):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * (1 + w[f"{name}.weight"])

    def linear(x, name):
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    def turned(x):  # (tokens, size); dimension i makes a pair with i + size / 2
        pairs = torch.complex(x[:, : size // 2], x[:, size // 2 :])
        speeds = config["rope_theta"] ** (-torch.arange(size // 2).double() * 2 / size)
        pairs = pairs * torch.exp(1j * torch.arange(len(x)).double()[:, None] * speeds)
        return torch.cat([pairs.real, pairs.imag], -1)

    def attention(x, name):
        q, k, v = (linear(x, f"{name}.{part}_proj").split(size, -1) for part in "qkv")
        mixed = []
        for head in range(heads):
            group = head * shared // heads
            scores = turned(q[head]) @ turned(k[group]).T / size**0.5
            if not config.get("use_bidirectional_attention"):
                scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)
            mixed.append(scores.softmax(-1) @ v[group])
        return linear(torch.cat(mixed, -1), f"{name}.o_proj")

    rows = []
    for row in ids:
        x = w["model.embed_tokens.weight"][row]
        for layer in (f"model.layers.{i}" for i in range(config["num_hidden_layers"])):
            x = x + attention(norm(x, f"{layer}.input_layernorm"), f"{layer}.self_attn")
            y = norm(x, f"{layer}.post_attention_layernorm")
            gate = act[config.get("hidden_act", "silu")](linear(y, f"{layer}.mlp.gate_proj"))
            x = x + linear(gate * linear(y, f"{layer}.mlp.up_proj"), f"{layer}.mlp.down_proj")
        x = norm(x, "model.norm")
        tied = config.get("tie_word_embeddings")
        rows.append(x @ w["model.embed_tokens.weight"].T if tied else linear(x, "lm_head"))
    return torch.stack(rows)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_loss_are_those_of_the_papers(variant, implementation):
    model = build(**VARIANTS[variant])
    model.set_attn_implementation(implementation)
    with torch.no_grad():
        found = model(IDS, labels=IDS)
    expected = by_the_papers(model.state_dict(), {**SIZES, **VARIANTS[variant]}, IDS)
    assert expected.std() > 1  # far from uniform: positions, heads and norms all show
    torch.testing.assert_close(found.logits.double(), expected, atol=2e-4, rtol=0)
    loss = F.cross_entropy(expected[:, :-1].flatten(0, 1), IDS[:, 1:].flatten())
    torch.testing.assert_close(found.loss.double(), loss, atol=2e-5, rtol=0)


ROTARY = {
    "default": {},
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "yarn": {"factor": 2.0, "original_max_position_embeddings": 16},
    "longrope": {
        "short_factor": [1.0, 1.5, 2.0, 3.0], "long_factor": [2.0, 3.0, 4.0, 6.0], "factor": 2.0,
        "original_max_position_embeddings": 16,
    },
    "llama3": {
        "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
    },
}  # fmt: skip


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", ROTARY)
def test_with_its_norms_scales_llama_gives_the_same_bytes(kind, implementation):
    """The stand-ins against what they stand for, in the transformers that is installed."""
    rope = {"rope_type": kind, "rope_theta": 5000.0, **ROTARY[kind]}
    ours = build(rope_parameters=rope, rope_theta=None)
    ours.set_attn_implementation(implementation)
    config = {**SIZES, "rope_parameters": rope, "attn_implementation": implementation}
    config.pop("rope_theta")
    llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(**config)).eval()
    scales = {n: p + ("norm" in n) for n, p in ours.state_dict().items()}
    llama.load_state_dict(scales)
    left = (torch.arange(13) >= torch.tensor([4, 0])[:, None]).long()
    places = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2, 0, 1, 2, 3, 4]] * 2)
    long = (torch.arange(80) * 5 % 90 + 3)[None]  # beyond max_position_embeddings
    for given in ({}, {"attention_mask": left}, {"attention_mask": left.flip(1)}, {"position_ids": places}):
        a, b = ours(IDS, labels=IDS, **given), llama(IDS, labels=IDS, **given)
        assert torch.equal(a.logits, b.logits) and torch.equal(a.loss, b.loss), given
        a.loss.backward()
        b.loss.backward()
    for (name, x), y in zip(ours.named_parameters(), llama.parameters(), strict=True):
        assert torch.equal(x.grad, y.grad), name
    with torch.no_grad():
        for ids in (long, IDS):  # and back: dynamic frequencies forget the longer text
            assert torch.equal(ours(ids).logits, llama(ids).logits)
        for more in ({}, {"num_beams": 3}, {"cache_implementation": "static", "disable_compile": True}):
            given = {"attention_mask": left, "max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, **more}
            assert torch.equal(ours.generate(IDS, **given), llama.generate(IDS, **given)), more


def test_norms_start_at_zero_and_are_added_to_one_in_float32():
    model = decoder.DecoderForCausalLM(DecoderConfig(**SIZES))
    norms = {n: p for n, p in model.named_parameters() if "norm" in n}
    assert len(norms) == 7 and all(p.eq(0).all() for p in norms.values())
    assert 0.015 < model.lm_head.weight.std() < 0.025
    x = torch.randn(5, 48)
    assert torch.allclose(model.model.norm(x).square().mean(-1), torch.ones(5), atol=1e-4)
    model.model.norm.weight.data.fill_(1.0)
    half = model.model.norm.bfloat16()(x.bfloat16())
    whole = x.bfloat16().float()
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half, (2 * whole / (whole.square().mean(-1, keepdim=True) + 1e-6).sqrt()).bfloat16())


def test_a_tied_head_is_one_tensor_also_after_loading_and_resizing(tmp_path):
    model = build(tie_word_embeddings=True)
    model.resize_token_embeddings(104)
    model.save_pretrained(tmp_path)
    again = decoder.DecoderForCausalLM.from_pretrained(tmp_path).eval()
    assert again.lm_head.weight is again.model.embed_tokens.weight and again.lm_head.weight.shape == (104, 48)
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    assert build().lm_head.weight is not build().model.embed_tokens.weight


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_head_that_a_load_takes_for_there_is_put_back_among_the_missing(tied):
    """What transformers 5.3 does to remote code, in the transformers that is installed."""
    with torch.device("meta"):
        model = decoder.DecoderForCausalLM(DecoderConfig(**SIZES, tie_word_embeddings=tied))
    info = types.SimpleNamespace(missing_keys=set())
    model.mark_tied_weights_as_initialized(info)
    assert info.missing_keys == ({"lm_head.weight"} if tied else set())


# --- sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"hidden_size": 50}, "hidden_size=50 is not a multiple of num_attention_heads=6; use 2 or 5 heads"),
        ({"num_key_value_heads": 4}, "num_attention_heads=6 is not a multiple of num_key_value_heads=4"),
        ({"head_dim": 7}, "head_dim=7 is odd"),
        ({"num_attention_heads": 0}, "num_attention_heads=0 must be 1 or more"),
        ({"rope_parameters": {"rope_type": "spiral"}}, "rope_type='spiral' is not known; use one of default, linear"),
        ({"rope_scaling": {"type": "linear"}}, "rope_type='linear' needs factor; add it to rope_parameters"),
        ({"initializer_range": 2.0}, "initializer_range=2.0 must be a number from 0.0 to 1.0"),
    ],
)
def test_sizes_of_no_model_are_refused_in_one_line(given, told):
    with pytest.raises(ValueError) as refused:
        DecoderConfig(**{**SIZES, **given})
    assert told in str(refused.value) and "\n" not in str(refused.value)


# --- where it runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["ForCausalLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"]
)
def test_saving_what_was_loaded_writes_the_same_bytes(name, tmp_path):
    build(name, num_labels=3).save_pretrained(tmp_path / "a")
    getattr(decoder, f"Decoder{name}").from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / part).iterdir()} for part in "ab")
    assert {"config.json", "model.safetensors", "modeling_decoder.py"} <= set(a) and a == b


@pytest.mark.slow
@pytest.mark.parametrize("masked", [False, True])
def test_one_graph_without_breaks_gives_the_same_numbers(masked):
    model = build()
    given = {"input_ids": IDS, "labels": IDS}
    if masked:
        given["attention_mask"] = (torch.arange(13) >= torch.tensor([4, 0])[:, None]).long()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        a, b = model(**given), compiled(**given)
    assert torch.equal(a.logits, b.logits) and torch.equal(a.loss, b.loss)


def test_the_parallel_plans_name_what_exists_in_the_order_in_which_it_runs():
    model = build()
    body = dict(model.model.named_modules())
    for pattern in model.config.base_model_tp_plan:
        assert pattern.replace("*", "1") in body, pattern
    plan, made = model.config.base_model_pp_plan, {"input_ids", "attention_mask"}
    assert list(plan) == [name for name in body if name in plan]
    for name, (given, returned) in plan.items():
        first = body[name][0] if isinstance(body[name], torch.nn.ModuleList) else body[name]
        assert set(given) <= made, name
        if type(first).__module__ == decoder.__name__ and name != "norm":
            assert set(given) <= set(inspect.signature(first.forward).parameters), name
        # the model hands the embeddings on under the layers' name for them
        made |= {"hidden_states" if part == "inputs_embeds" else part for part in returned}
    assert set(model._tp_plan) >= {"lm_head"} and set(model._pp_plan) >= {"lm_head"}


TENSOR_PARALLEL = """
import os, sys, torch
import torch.distributed as dist
from decoder_model.modeling_decoder import DecoderForCausalLM
dist.init_process_group("gloo")
ids = (torch.arange(26) * 7 % 90 + 3).view(2, 13)
one = DecoderForCausalLM.from_pretrained(sys.argv[1]).eval()
two = DecoderForCausalLM.from_pretrained(sys.argv[1], tp_plan="auto").eval()
a, b = one(ids, labels=ids), two(ids, labels=ids)
apart = [(a.logits - b.logits).abs().max(), (a.loss - b.loss).abs()]
for model, output in ((one, a), (two, b)):
    output.loss.backward()
for x, y in zip(one.parameters(), two.parameters(), strict=True):
    whole = y.grad.full_tensor() if hasattr(y.grad, "full_tensor") else y.grad
    apart.append((x.grad - whole).abs().max())
layer = two.model.layers[0]
parts = (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.o_proj, layer.mlp.down_proj, two.lm_head)
shapes = [list(getattr(p.weight, "to_local", lambda p=p: p.weight)().shape) for p in parts]
ids = one.generate(ids, max_new_tokens=6, do_sample=False), two.generate(ids, max_new_tokens=6, do_sample=False)
apart = max(x.item() for x in apart)
print(f"rank {dist.get_rank()} apart {apart:.9f} shapes {shapes} {torch.equal(*ids)}", flush=True)
dist.barrier()
dist.destroy_process_group()
os._exit(0)  # gloo's threads can abort an interpreter that shuts down
"""


@pytest.mark.slow
def test_two_ranks_split_the_heads_and_give_the_numbers_of_one(tmp_path):
    build(vocab_size=98).save_pretrained(tmp_path / "saved")
    (tmp_path / "script.py").write_text(TENSOR_PARALLEL)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, str(tmp_path / "script.py"), str(tmp_path / "saved")]
    environment = clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    found = re.findall(r"rank (\d) apart (\S+) shapes ([\d, \[\]]+) (True|False)", done.stdout)
    assert sorted(rank for rank, *_ in found) == ["0", "1"], done.stdout
    for _, apart, shapes, same in found:
        assert float(apart) < 2e-5 and same == "True"  # sums over two ranks are added in another order
        assert shapes == "[[24, 48], [8, 48], [48, 24], [48, 40], [49, 48]]"
