"""bert_model where it runs: parallel, offloaded, accumulated, compiled, exported, and on kernels of others."""

import inspect
import os
import re
import subprocess
import sys

import pytest
import torch
import transformers.modeling_flash_attention_utils as flash
from helpers.models.bert import NAMES, batch, build, labels
from helpers.processes import ROOT, clean_environment
from transformers import Trainer, TrainingArguments
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import bert_model.attention_bert as attention
import bert_model.modeling_bert as bert

KINDS = ["full", "local", "strided", "random"]
ALL_KINDS = {"num_hidden_layers": 4, "attention_type": KINDS, "attention_window": 3, "num_random_keys": 5}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def start(home, code, *arguments, launcher=(), **environment):
    """Run a script in a process of its own that knows bert_model and the helpers of the tests."""
    script = home / "script.py"
    script.write_text(code)
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return subprocess.Popen(
        [sys.executable, *launcher, str(script), *map(str, arguments)],
        env=clean_environment(home / "home", PYTHONPATH=path, OMP_NUM_THREADS="1", **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, err[-3000:]
    return out


TENSOR_PARALLEL = """
import sys, torch
import torch.distributed as dist
from helpers.models.bert import batch, labels
from bert_model.modeling_bert import BERTForMaskedLM
dist.init_process_group("gloo")
inputs = batch()
given = {**inputs, **labels("ForMaskedLM", inputs)}
one = BERTForMaskedLM.from_pretrained(sys.argv[1]).eval()
two = BERTForMaskedLM.from_pretrained(sys.argv[1], tp_plan="auto").eval()
found = {}
for unpad in (True, False):
    one.config.unpad_inputs = two.config.unpad_inputs = unpad
    a, b = one(**given), two(**given)
    found[f"logits {unpad}"] = (a.logits - b.logits).abs().max()
    found[f"loss {unpad}"] = (a.loss - b.loss).abs()
    for model, output in ((one, a), (two, b)):
        model.zero_grad()
        output.loss.backward()
    for x, y in zip(one.parameters(), two.parameters(), strict=True):
        whole = y.grad.full_tensor() if hasattr(y.grad, "full_tensor") else y.grad
        found["gradient"] = max(found.get("gradient", 0), (x.grad - whole).abs().max())
layer = two.bert.encoder.layer[0]
shapes = [
    list(getattr(p, "to_local", lambda p=p: p)().shape)
    for p in (layer.attention.self.query.weight, layer.attention.output.dense.weight,
              layer.intermediate.dense.weight, layer.output.dense.weight)
]
print(f"rank {dist.get_rank()} apart {max(x.item() for x in found.values()):.9f} shapes {shapes}", flush=True)
dist.destroy_process_group()
"""


@pytest.mark.sweep  # two ranks that share two cores: a minute
def test_two_ranks_split_the_heads_and_give_the_logits_and_gradients_of_one(tmp_path):
    build("ForMaskedLM", **ALL_KINDS, **STILL).save_pretrained(tmp_path / "saved")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    lines = told(start(tmp_path, TENSOR_PARALLEL, tmp_path / "saved", launcher=launcher))
    found = re.findall(r"rank (\d) apart (\S+) shapes (\[\[.*?\]\])", lines)  # two ranks may share a line
    assert sorted(rank for rank, _, _ in found) == ["0", "1"], lines
    for _, apart, shapes in found:
        assert float(apart) < 1e-6  # sums over two ranks are added in another order
        assert shapes == "[[16, 32], [32, 16], [32, 32], [32, 32]]"  # halves of 32x32, 32x32, 64x32 and 32x64


def test_the_parallel_plans_name_what_exists_in_the_order_in_which_it_runs():
    model = build()
    modules = dict(model.named_modules())
    for pattern in model.config.base_model_tp_plan:
        assert pattern.replace("*", "1") in modules, pattern
    plan = model.config.base_model_pp_plan
    assert list(plan) == [name for name, _ in model.named_modules() if name in plan]
    made = {"input_ids", "token_type_ids", "position_ids", "inputs_embeds", "bias", "mask"}  # by BERTModel.forward
    for name, (given, returned) in plan.items():
        first = modules[name][0] if isinstance(modules[name], torch.nn.ModuleList) else modules[name]
        assert set(given) <= set(inspect.signature(first.forward).parameters), name
        assert set(given) <= made, name
        made |= set(returned)
    assert "hidden_states" in made and "pooler_output" in made and build().pp_plan == plan
    # What the stages need beyond the plan's inputs has a default, so that a stage can be run from them alone.
    hidden = modules["embeddings"](batch()["input_ids"])
    for layer in modules["encoder.layer"]:
        hidden = layer(hidden, bias=None)[0]
    with torch.no_grad():
        whole = model(batch()["input_ids"])
    assert torch.equal(hidden, whole.last_hidden_state)
    assert torch.equal(modules["pooler"](hidden, mask=None), whole.pooler_output)


@pytest.mark.parametrize("device_map", ["auto", {"": "cpu"}, "disk"])
def test_a_device_map_changes_no_output_and_splits_no_layer(device_map, tmp_path):
    model, inputs = build("ForMaskedLM", **ALL_KINDS), batch()
    model.save_pretrained(tmp_path / "saved")
    more = {}
    if device_map == "disk":  # room for the embeddings and a layer or two; the rest is read when it is needed
        room = 4 * sum(
            p.numel() for p in [*model.bert.embeddings.parameters(), *model.bert.encoder.layer.parameters()]
        )
        more = {"max_memory": {"cpu": int(room * 0.7)}, "offload_folder": tmp_path / "off"}
    again = bert.BERTForMaskedLM.from_pretrained(
        tmp_path / "saved", device_map="auto" if more else device_map, **more
    ).eval()
    with torch.no_grad():
        expected, found = model(**inputs).logits, again(**inputs).logits
    assert torch.equal(found, expected)
    if device_map == "disk":
        places = again.hf_device_map
        assert {"cpu", "disk"} <= set(places.values())
        # no entry lies inside a module that must stay whole
        whole = {n for n, m in model.named_modules() if type(m).__name__ in model._no_split_modules}
        assert len(whole) == 6 and not any(key.startswith(f"{name}.") for key in places for name in whole)
        assert sum(key in whole for key in places) >= 2


def test_the_modules_that_are_not_to_be_split_exist():
    for model in (build(), build("ForMaskedLM")):
        assert set(type(model)._no_split_modules) <= {type(module).__name__ for module in model.modules()}


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", NAMES)
def test_saving_what_was_loaded_writes_the_same_bytes(name, tmp_path):
    build(name, **ALL_KINDS, hidden_act=["gelu", "relu", "silu", "gelu"], num_labels=3).save_pretrained(tmp_path / "a")
    getattr(bert, f"BERT{name}").from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    a, b = files(tmp_path / "a"), files(tmp_path / "b")
    assert {"config.json", "model.safetensors"} <= set(a) and a == b


@pytest.mark.parametrize("name", ["ForPreTraining", "ForMaskedLM"])
@pytest.mark.parametrize("words", [70, 120])
def test_a_resized_tied_head_survives_saving(name, words, tmp_path):
    model, ids = build(name), batch()["input_ids"] % 70
    torch.nn.init.normal_(model.cls.predictions.bias)
    old = model.cls.predictions.bias.detach().clone()
    model.resize_token_embeddings(words)
    model.save_pretrained(tmp_path)
    again = getattr(bert, f"BERT{name}").from_pretrained(tmp_path).eval()
    for one in (model, again):
        head = one.cls.predictions
        assert head.decoder.weight is one.get_input_embeddings().weight
        assert len(head.bias) == words == one.config.vocab_size == one.get_output_embeddings().out_features
        kept = min(words, 99)
        assert torch.equal(head.bias[:kept], old[:kept]) and head.bias[kept:].eq(0).all()
    with torch.no_grad():
        a, b = model(ids), again(ids)
    assert a[0].shape == (4, 20, words) and torch.equal(a[0], b[0])


def rows_of(name, kind=None):
    """Eight examples of unlike lengths, with unlike numbers of labels that count."""
    generator = torch.Generator().manual_seed(3)
    rows = []
    for length in (20, 3, 11, 7, 20, 5, 16, 9):
        ids = torch.randint(1, 99, (20,), generator=generator)
        mask = (torch.arange(20) < length).long()
        labels = {
            "ForMaskedLM": torch.where((mask == 1) & (torch.arange(20) % 3 == length % 3), ids, -100),
            "ForTokenClassification": torch.where(mask == 1, ids % 3, -100),
            "ForSequenceClassification": ids[0] % 3,
            "ForNextSentencePrediction": ids[0] % 2,
            "ForPreTraining": torch.where(mask == 1, ids, -100),
        }.get(name)
        if kind == "regression":
            labels = ids[0] / 99
        if kind == "multi_label_classification":
            labels = (ids[:3] % 2).float()
        rows.append({"input_ids": ids, "attention_mask": mask, "labels": labels})
    return rows


@pytest.mark.parametrize(
    "name, kind",
    [
        ("ForMaskedLM", None),
        ("ForTokenClassification", None),
        ("ForNextSentencePrediction", None),
        ("ForSequenceClassification", "single_label_classification"),
        ("ForSequenceClassification", "multi_label_classification"),
        ("ForSequenceClassification", "regression"),
    ],
)
@pytest.mark.slow
def test_trainer_accumulates_to_the_step_of_the_whole_batch(name, kind, tmp_path):
    rows, after, items = rows_of(name, kind), [], []
    for size in (8, 2):
        model = build(name, num_labels=1 if kind == "regression" else 3, problem_type=kind, **STILL)
        before = [p.detach().clone() for p in model.parameters()]
        forward = model.forward

        def watched(*args, forward=forward, **kwargs):
            items.append(kwargs.get("num_items_in_batch"))
            return forward(*args, **kwargs)

        watched.__signature__ = inspect.signature(forward)  # Trainer reads it
        model.forward = watched
        Trainer(
            model,
            TrainingArguments(
                str(tmp_path),
                per_device_train_batch_size=size,
                gradient_accumulation_steps=8 // size,
                max_steps=1,
                optim="sgd",
                learning_rate=0.5,
                lr_scheduler_type="constant",
                max_grad_norm=0.0,
                use_cpu=True,
                report_to=[],
                save_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=rows,
        ).train()
        after.append(list(model.parameters()))
    counted = sum(int(row["labels"].ne(-100).sum()) for row in rows)
    assert len(items) == 5 and all(int(item) == counted for item in items)
    moved = max((a - b).abs().max().item() for a, b in zip(before, after[0], strict=True))
    assert moved > 1e-3
    for a, b in zip(*after, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)  # the rows are added in another order


FLEX = """
import torch
from helpers.models.bert import batch, build
for kinds in (["full", "full"], ["local", "full"]):
    model = build(attention_type=kinds, attention_window=2)
    for side in ("right", "left"):
        inputs = batch(side=side)
        inputs["attention_mask"][3] = 0  # a row of nothing but padding
        real = inputs["attention_mask"].bool()
        with torch.no_grad():
            model.set_attn_implementation("sdpa")
            expected = model(**inputs).last_hidden_state
            model.set_attn_implementation("flex_attention")
            found = model(**inputs).last_hidden_state
        assert found.isfinite().all()
        print("apart", (found - expected)[real].abs().max().item(), flush=True)
    # masks of the caller's own, another one for each head
    mask = torch.rand(4, 4, 20, 20, generator=torch.Generator().manual_seed(5)) < 0.7
    mask = mask | torch.eye(20, dtype=torch.bool)
    found = {}
    for implementation in ("sdpa", "flex_attention"):
        model.set_attn_implementation(implementation)
        with torch.no_grad():
            found[implementation] = model(inputs["input_ids"], mask).last_hidden_state
    print("apart", (found["sdpa"] - found["flex_attention"]).abs().max().item(), flush=True)
"""


@pytest.mark.sweep  # compiles a kernel: a minute
def test_flex_attention_equals_sdpa_on_real_tokens(tmp_path):
    # in a process of its own: a kernel that is given what it cannot take may end the process
    found = [float(line.split()[1]) for line in told(start(tmp_path, FLEX)).splitlines() if line.startswith("apart")]
    assert len(found) == 6 and max(found) < 1e-5  # its kernel adds in another order


def test_flash_attention_without_its_package_gets_one_line():
    with pytest.raises(ImportError) as error:
        build().set_attn_implementation("flash_attention_2")
    assert "FlashAttention2" in str(error.value) and "installed" in str(error.value) and "\n" not in str(error.value)


def variable_length(query, key, value, ends, scale):
    """What flash attention computes: rows in one line, (tokens, heads, head_dim), from their ends."""
    parts = [
        torch.nn.functional.scaled_dot_product_attention(
            *(x[a:b].transpose(0, 1) for x in (query, key, value)), scale=scale
        ).transpose(0, 1)
        for a, b in zip(ends.tolist(), ends.tolist()[1:], strict=False)
    ]
    return torch.cat(parts)


@pytest.mark.parametrize("kernel", ["flash_attention_2", "kernels-community/flash-attn2"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", ["Model", "ForMaskedLM", "ForMultipleChoice"])
def test_a_variable_length_kernel_is_given_the_real_tokens_of_a_padded_batch(name, side, kernel, monkeypatch):
    seen = []

    def stand_in(module, query, key, value, attention_mask, scaling=None, **kwargs):
        seen.append({**kwargs, "mask": attention_mask, "tokens": query.shape[2], "rows": len(query)})
        ends = kwargs["cu_seq_lens_q"]
        mixed = variable_length(*(x[0].transpose(0, 1) for x in (query, key, value)), ends, scaling)
        return mixed[None], None  # (1, tokens, heads, head_dim)

    model, inputs = build(name), batch(name, side=side)
    real = inputs["attention_mask"].bool()
    with torch.no_grad():
        expected = model(**inputs)
        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, kernel, stand_in)
        model.config._attn_implementation_internal = kernel
        found = model(**inputs, my_flag=3)
    for key, value in expected.items():
        a, b = (value[real], found[key][real]) if value.shape[: real.dim()] == real.shape else (value, found[key])
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)  # one row at a time adds in another order
    lengths = inputs["attention_mask"].reshape(-1, 20).sum(1).sort().values
    assert len(seen) == 2
    for given in seen:
        ends = given["cu_seq_lens_q"]
        assert ends.dtype == torch.int32 and ends.tolist() == [0, *lengths.cumsum(0).tolist()]
        assert torch.equal(ends, given["cu_seq_lens_k"]) and given["my_flag"] == 3 and given["mask"] is None
        assert given["max_length_q"] == given["max_length_k"] == 20 and type(given["max_length_q"]) is int
        assert (given["rows"], given["tokens"]) == (1, int(real.sum()))
        assert given["position_ids"].tolist() == [[i for n in lengths.tolist() for i in range(n)]]


def test_a_mask_of_the_callers_own_is_never_left_out(monkeypatch):
    """Flash attention takes no mask of four dimensions: without one it would show what the caller hides."""
    model, ids = build(), batch()["input_ids"]
    mask = torch.ones(20, 20, dtype=torch.bool).tril()[None, None]
    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "flash_attention_2", None)
    with torch.no_grad():
        expected = model(ids, mask).last_hidden_state
        model.config._attn_implementation_internal = "flash_attention_2"
        assert torch.equal(model(ids, mask).last_hidden_state, expected)


def test_the_names_handed_to_flash_attention_are_those_that_transformers_reads(monkeypatch):
    calls = []

    def varlen(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, dropout_p, softmax_scale, causal):
        calls.append((cu_seqlens_q.tolist(), max_seqlen_q, causal))
        return variable_length(q, k, v, cu_seqlens_q, softmax_scale)

    def plain(q, k, v, dropout_p, softmax_scale, causal):
        calls.append((None, q.shape[1], causal))
        mixed = torch.nn.functional.scaled_dot_product_attention(
            *(x.transpose(1, 2) for x in (q, k, v)), scale=softmax_scale, is_causal=causal
        )
        return mixed.transpose(1, 2)

    # the package's two functions in plain torch; everything between the model and them is transformers' own
    for name in ("_loaded_implementation", "_flash_fn", "_flash_varlen_fn", "_process_flash_kwargs_fn"):
        monkeypatch.setattr(flash, name, getattr(flash, name))
    monkeypatch.setattr(flash, "_process_with_kvcache_kwargs_fn", dict)
    monkeypatch.setattr(
        flash, "_lazy_imports", lambda *a, **k: (plain, varlen, None, flash._pad_input, flash._unpad_input)
    )
    # without the rows' ends transformers would look for them in position_ids, which makes a GPU wait
    monkeypatch.setattr(flash, "_is_packed_sequence", lambda *a: False)
    model, inputs = build(), batch()
    real = inputs["attention_mask"].bool()
    for unpad, mask, expected_calls in (
        (True, inputs["attention_mask"], [([0, 3, 15, 27, 47], 20, False)] * 2),
        (False, inputs["attention_mask"], [([0, 20, 32, 35, 47], 20, False)] * 2),
        (True, None, [(None, 20, False)] * 2),
    ):
        model.config.unpad_inputs = unpad
        calls.clear()
        with torch.no_grad():
            model.config._attn_implementation_internal = "sdpa"
            expected = model(inputs["input_ids"], mask).last_hidden_state
            model.config._attn_implementation_internal = "flash_attention_2"
            found = model(inputs["input_ids"], mask).last_hidden_state
        keep = real if mask is not None else torch.ones_like(real)
        torch.testing.assert_close(found[keep], expected[keep], atol=1e-5, rtol=0)  # adds in another order
        assert calls == expected_calls


@pytest.mark.parametrize("name", NAMES)
def test_unknown_keywords_reach_an_attention_function_through_every_head(name, monkeypatch):
    seen = []

    def noting(module, query, key, value, attention_mask, scaling=None, **kwargs):
        seen.append((module.layer_idx, module.is_causal, kwargs))
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attention_mask, scale=scaling)
        return mixed.transpose(1, 2), None

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "noting", noting)
    model, inputs = build(name, unpad_inputs=False), batch(name)
    given = {**inputs, **(labels(name, inputs) if name != "Model" else {})}
    with torch.no_grad():
        expected = model(**given)
        model.set_attn_implementation("noting")
        found = model(**given, my_flag=3)
        model.gradient_checkpointing_enable()
    assert [(layer, causal, kwargs["my_flag"]) for layer, causal, kwargs in seen] == [(0, False, 3), (1, False, 3)]
    assert "labels" not in seen[0][2] and all(torch.equal(expected[key], found[key]) for key in expected)
    model.train()(**given, my_flag=4)[0].sum().backward()  # the checkpointed layers run twice
    assert [kwargs["my_flag"] for _, _, kwargs in seen[2:]] == [4] * 4 and seen[2][2]["dropout"] == 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["Model", "ForMaskedLM"])
@pytest.mark.slow
def test_an_exported_model_runs_at_other_sizes(name, dtype):
    model = build(name, unpad_inputs=False).to(dtype)
    sizes = {0: torch.export.Dim("rows", min=2, max=64), 1: torch.export.Dim("tokens", min=2, max=300)}
    shapes = {"input_ids": sizes, "attention_mask": sizes}
    with torch.no_grad():
        exported = torch.export.export(model, (), batch(), dynamic_shapes=shapes)
        for rows, tokens in ((4, 20), (2, 45)):
            inputs = batch(rows=rows, tokens=tokens)
            found, expected = exported.module()(**inputs), model(**inputs)
            assert found[next(iter(expected))].dtype == dtype
            for key, value in expected.items():
                assert torch.equal(found[key], value), key


@pytest.mark.sweep  # compiles the model: half a minute
def test_the_compiler_of_torch_gives_the_same_numbers_in_one_graph():
    model, inputs = build(num_hidden_layers=1, unpad_inputs=False), batch()
    with torch.no_grad():
        found = torch.compile(model, fullgraph=True, backend="inductor")(**inputs)
        for key, value in model(**inputs).items():
            torch.testing.assert_close(found[key], value, atol=1e-5, rtol=0)  # fused loops add in another order


@pytest.mark.parametrize("name", NAMES)
def test_every_head_is_finite_and_close_in_bfloat16(name):
    model, inputs = build(name, **ALL_KINDS), batch(name)
    given = {**inputs, **(labels(name, inputs) if name != "Model" else {})}
    with torch.no_grad():
        expected = model(**given)
        found = model.to(torch.bfloat16)(**given)
    for key, value in expected.items():
        assert found[key].dtype == torch.bfloat16 and found[key].isfinite().all(), key
        # 8 bits of mantissa, 2**-8 of the value in each sum, added up over 4 layers of values up to 4
        torch.testing.assert_close(found[key].float(), value, atol=3e-2, rtol=3e-2)


HASH = """
import hashlib, sys, torch
from helpers.models.bert import batch
from bert_model.modeling_bert import BERTModel
model = BERTModel.from_pretrained(sys.argv[1]).eval()
for unpad in (True, False):
    model.config.unpad_inputs = unpad
    with torch.no_grad():
        output = model(**batch(tokens=200))
    print("hash", hashlib.sha256(output.last_hidden_state.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_two_fresh_processes_give_the_same_bits(tmp_path):
    model = build(**ALL_KINDS)
    model.save_pretrained(tmp_path / "saved")
    running = []
    for seed in ("1", "2"):  # sets and hashes of strings differ from one process to the next
        home = tmp_path / seed
        home.mkdir()
        running.append(start(home, HASH, tmp_path / "saved", PYTHONHASHSEED=seed))
    found = [[line for line in told(process).splitlines() if line.startswith("hash")] for process in running]
    assert len(found[0]) == 2 and len(set(found[0])) == 2 and found[0] == found[1]


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_is_one_training_step_dropout_included(kind):
    inputs = batch(tokens=200)
    given = {**inputs, **labels("ForMaskedLM", inputs)}
    model = build("ForMaskedLM", attention_type=kind, attention_window=8, num_random_keys=9).train()
    losses, gradients = [], []
    for seed in (7, 7, 8):
        torch.manual_seed(seed)
        model.zero_grad()
        losses.append(model(**given).loss)
        losses[-1].backward()
        gradients.append(model.bert.encoder.layer[0].attention.self.query.weight.grad.clone())
    assert torch.equal(losses[0], losses[1]) and torch.equal(gradients[0], gradients[1])
    assert not torch.equal(losses[0], losses[2]) and not torch.equal(gradients[0], gradients[2])


REGISTERED = """
import sys, torch, transformers
import bert_model.modeling_bert as bert
from bert_model.configuration_bert import BERTConfig
from helpers.models.bert import HEADS, batch, config
from transformers import AutoConfig, AutoModel
AutoConfig.register("custom_bert", BERTConfig)
AutoModel.register(BERTConfig, bert.BERTModel)
for name in HEADS:
    getattr(transformers, f"AutoModel{name}").register(BERTConfig, getattr(bert, f"BERT{name}"))
for name in ("Model", *HEADS):
    auto = AutoModel if name == "Model" else getattr(transformers, f"AutoModel{name}")
    made = auto.from_config(config()).eval()
    made.save_pretrained(f"{sys.argv[1]}/{name}")
    assert type(AutoConfig.from_pretrained(f"{sys.argv[1]}/{name}")) is BERTConfig
    again = auto.from_pretrained(f"{sys.argv[1]}/{name}").eval()
    assert type(made) is type(again) is getattr(bert, f"BERT{name}"), (name, type(made), type(again))
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(made(**batch(name)).values(), again(**batch(name)).values()))
    print("equal", name)
"""


@pytest.mark.slow
def test_classes_registered_with_transformers_need_no_remote_code(tmp_path):
    # in a process of its own, as what is registered stays so
    assert told(start(tmp_path, REGISTERED, tmp_path)).split() == [w for name in NAMES for w in ("equal", name)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_implementation_can_be_switched_after_loading(kind, tmp_path):
    build("ForMaskedLM", attention_type=kind, attention_window=2, num_random_keys=2).save_pretrained(tmp_path)
    loaded = bert.BERTForMaskedLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    calls, eager = [], attention.BERTSelfAttention.eager
    inputs, logits, weights = batch(), {}, {}
    real = inputs["attention_mask"].bool()
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setattr(attention.BERTSelfAttention, "eager", lambda *a: calls.append(1) or eager(*a))
        for implementation in ("eager", "sdpa", "eager"):
            loaded.set_attn_implementation(implementation)
            assert loaded.config._attn_implementation == loaded.bert.config._attn_implementation == implementation
            calls.clear()
            logits[implementation] = loaded(**inputs).logits[real]
            # four rows of three lengths in two layers; the sparse kinds have no such choice
            assert len(calls) == (6 if kind == "full" and implementation == "eager" else 0)
            output = loaded(**inputs, output_attentions=True)
            weights[implementation] = output.attentions
            torch.testing.assert_close(output.logits[real], logits[implementation], atol=1e-6, rtol=0)
    # one kernel or several add in another order
    torch.testing.assert_close(logits["eager"], logits["sdpa"], atol=1e-6, rtol=0)
    for a, b in zip(*weights.values(), strict=True):
        assert torch.equal(a, b) and a.shape == (4, 4, 20, 20)
        torch.testing.assert_close(a.sum(-1), torch.ones(4, 4, 20), atol=1e-6, rtol=0)
        unseen = real[:, :, None] & ~real[:, None, :]  # padding, by a real token
        assert a.permute(0, 2, 3, 1)[unseen].eq(0).all()


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("tokens", [64, 65, 200, 333])
@pytest.mark.slow
def test_blocks_at_a_time_equal_all_at_once_and_the_mask(kind, rows, tokens, monkeypatch):
    parts, cls = [], attention.KINDS[kind]
    part = cls.part
    monkeypatch.setattr(cls, "part", lambda *a: parts.append(a[-2:]) or part(*a))
    for padded in (False, True):
        for first in (0, 3):
            more = {"attention_window": 9, "attention_stride": 7, "num_random_keys": 9, "num_global_tokens": first}
            model = build(attention_type=kind, max_position_embeddings=400, **more)
            keep = torch.ones(rows, tokens, dtype=torch.long)
            if padded:
                keep[0, tokens // 2 :] = 0
                keep[-1, : tokens // 5] = 0
            torch.manual_seed(2)
            embeds, real = torch.randn(rows, tokens, 32, requires_grad=True), keep.bool()
            states, gradients, sizes = {}, {}, {}
            for unpad in (False, True):
                model.config.unpad_inputs = unpad
                for chunk in (1, 10**9, "mask"):
                    if chunk != "mask":
                        monkeypatch.setattr(cls, "chunk", chunk)
                    parts.clear()
                    output = model(inputs_embeds=embeds, attention_mask=keep, output_attentions=chunk == "mask")
                    states[chunk], sizes[chunk] = output.last_hidden_state[real], {b - a for a, b in parts}
                    (gradients[chunk],) = torch.autograd.grad(states[chunk].sin().sum(), embeds)
                assert not sizes["mask"] and max(sizes[1], default=0) <= 1
                if not unpad and (kind == "local" or tokens > 65):  # short rows are computed from the mask
                    assert sizes[1] == {1} and max(sizes[10**9]) > 1
                for chunk, limit in ((10**9, 1e-6), ("mask", 1e-5)):  # products of other shapes; sums of other lengths
                    torch.testing.assert_close(states[1], states[chunk], atol=limit, rtol=0)
                    torch.testing.assert_close(gradients[1], gradients[chunk], atol=limit, rtol=0)
