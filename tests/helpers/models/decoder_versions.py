"""What a user's fresh process finds out about a pinned decoder, in any transformers version; prints JSON.

Arguments: the repository, its revision, and a directory to save to.
"""

import hashlib
import json
import sys
import warnings

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    StaticCache,
    pipeline,
)

warnings.simplefilter("ignore")
transformers.logging.set_verbosity_error()
WHERE, REVISION, SAVED = sys.argv[1:4]
PINNED = {"trust_remote_code": True, "revision": REVISION}
IDS = (torch.arange(33) * 7 % 90 + 3).view(3, 11)
LEFT = (torch.arange(11) >= torch.tensor([3, 0, 5])[:, None]).long()
RIGHT = LEFT.flip(1)
BATCHES = {
    "plain": {"input_ids": IDS},
    "left": {"input_ids": IDS, "attention_mask": LEFT},
    "right": {"input_ids": IDS, "attention_mask": RIGHT},
    "packed": {"input_ids": IDS[:1], "position_ids": torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3]])},
    "long": {"input_ids": (torch.arange(70) * 5 % 90 + 3)[None]},  # longer than max_position_embeddings
}


def sha256(tensors) -> str:
    return hashlib.sha256(b"".join(t.detach().contiguous().numpy().tobytes() for t in tensors)).hexdigest()[:16]


def load(cls=AutoModelForCausalLM, **more):
    return cls.from_pretrained(WHERE, **PINNED, **more).eval()


def numbers(model, kind) -> dict:
    """Hash of logits, loss and hidden states (and attentions) of each batch."""
    found = {}
    for name, batch in BATCHES.items():
        out = model(**batch, labels=batch["input_ids"], output_hidden_states=True, output_attentions=True)
        assert len(out.hidden_states) == 4 and len(out.attentions) == 3, name
        found[f"{kind} {name} with attentions"] = sha256([out.logits, out.loss, *out.hidden_states, *out.attentions])
        out = model(**batch, labels=batch["input_ids"], output_hidden_states=True)
        found[f"{kind} {name}"] = sha256([out.logits, out.loss, *out.hidden_states])
        plain = model(**batch, return_dict=False)
        assert isinstance(plain, tuple) and torch.equal(plain[0], out.logits)
    return found


def generated(model, kind) -> dict:
    found, base = {}, {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    for name, more in {
        "greedy": {},
        "sampled": {"do_sample": True, "top_k": 20},
        "beam": {"num_beams": 3},
        "no cache": {"use_cache": False},
        "static": {"cache_implementation": "static"},
        "static beam": {"cache_implementation": "static", "num_beams": 2},
    }.items():
        if "static" in name and transformers.__version__ >= "4.53":
            more["disable_compile"] = True
        for side, mask in (("left", LEFT), ("full", torch.ones_like(LEFT))):
            torch.manual_seed(0)
            ids = model.generate(IDS, attention_mask=mask, **{**base, **more})
            found[f"{kind} {name} {side}"] = sha256([ids])
            if name == "greedy":
                one = [model.generate(r[m.bool()][None], **base)[0, -12:] for r, m in zip(IDS, mask)]  # noqa: B905
                assert all(torch.equal(a, b[-12:]) for a, b in zip(one, ids)), (kind, side)  # noqa: B905
        if "cache" in name or "static" in name:
            side = found[f"{kind} {name} left"]
            wanted = found[f"{kind} beam left"] if "beam" in name and more["num_beams"] == 3 else None
            wanted = found[f"{kind} greedy left"] if "beam" not in name else wanted
            assert wanted is None or side == wanted, (kind, name)
    ids = model.generate(IDS[:1], assistant_model=model, **base)
    found[f"{kind} assisted"] = sha256([ids])
    assert torch.equal(ids, model.generate(IDS[:1], **base)), "assisted"
    return found


def by_hand(model) -> None:
    """A cache of either kind, filled in two steps, goes on where a whole forward is."""
    whole = model(IDS, attention_mask=LEFT).logits
    size = {"config": model.config, "max_cache_len": 16, "max_batch_size": 3}
    for cache in (None, StaticCache(**size)):
        first = model(IDS[:, :6], attention_mask=LEFT[:, :6], past_key_values=cache, use_cache=True)
        kept = first[1]
        then = model(IDS[:, 6:], attention_mask=LEFT, past_key_values=kept)
        real = LEFT[:, 6:].bool()
        off = (then.logits - whole[:, 6:])[real].abs().max()
        assert off < 1e-4, (type(cache), off)  # other shapes, other sums
    again = model(IDS[:, :6], attention_mask=LEFT[:, :6], use_cache=True)[1]
    named = model(IDS[:, 6:], attention_mask=LEFT, cache=again)  # the name from transformers 5.24 on
    assert (named.logits - whole[:, 6:])[LEFT[:, 6:].bool()].abs().max() < 1e-4


def training(kind) -> dict:
    """Gradients with and without checkpointing, which are the same."""
    found = {}
    for name, how in {"off": None, "reentrant": True, "not reentrant": False}.items():
        model = load(attn_implementation=kind).train()
        if how is not None:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": how})
        assert model.is_gradient_checkpointing == (how is not None)
        calls = []
        model.model.layers[1].mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        out = model(IDS, attention_mask=LEFT, labels=IDS)
        out.loss.backward()
        assert len(calls) == (1 if how is None else 2), (name, calls)
        found[f"{kind} gradients {name}"] = sha256([p.grad for p in model.parameters()])
    assert len(set(found.values())) == 1, found
    return found


def configuration() -> dict:
    model = load()
    config = model.config
    assert config.rope_theta == 5000.0 and config.rope_parameters["rope_theta"] == 5000.0
    assert config.num_key_value_heads == 2 and config.head_dim == 8 and config.pad_token_id == 0
    cls = type(config)
    old = cls(rope_theta=7.0, rope_scaling={"type": "linear", "factor": 2.0})
    assert old.rope_parameters == {"rope_type": "linear", "factor": 2.0, "rope_theta": 7.0}, old.rope_parameters
    assert old.rope_scaling["factor"] == 2.0 and cls().rope_scaling is None and cls().rope_theta == 10000.0
    assert cls.from_dict(old.to_dict()).rope_parameters == old.rope_parameters
    assert cls(num_labels=5).num_labels == 5 and len(cls(num_labels=5).id2label) == 5
    written = cls().to_dict()
    assert {k: written.get(k) for k in DEFAULTS} == DEFAULTS, written
    assert cls().keys_to_ignore_at_inference == ["past_key_values"]
    return {"vocabulary": config.vocab_size, "loaded": type(model).__name__}


DEFAULTS = {
    "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "silu", "max_position_embeddings": 2048,
    "initializer_range": 0.02, "rms_norm_eps": 1e-6, "use_cache": True, "pad_token_id": None, "bos_token_id": 1,
    "eos_token_id": 2, "pretraining_tp": 1, "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}, "attention_bias": False,
    "attention_dropout": 0.0, "mlp_bias": False, "head_dim": 128, "use_bidirectional_attention": False,
}  # fmt: skip


def both_ways() -> dict:
    """`use_bidirectional_attention=True`: a later token changes an earlier one's state, and padding changes none."""
    found = {}
    for kind in ("eager", "sdpa"):
        model = load(AutoModel, attn_implementation=kind, use_bidirectional_attention=True)
        other = IDS.clone()
        other[:, -1] = 5
        a, b = model(IDS)[0], model(other)[0]
        assert not torch.equal(a[:, 0], b[:, 0])
        padded = model(IDS, attention_mask=RIGHT)[0]
        alone = model(IDS[2:, :6])[0]
        assert (padded[2:, :6] - alone).abs().max() < 1e-5
        found[f"{kind} both ways"] = sha256([a, padded[RIGHT.bool()]])
        causal = load(AutoModel, attn_implementation=kind)
        assert torch.equal(causal(IDS)[0][:, 0], causal(other)[0][:, 0])
    return found


def heads() -> dict:
    """Outputs and losses of the other heads, whose weights are set by formula."""
    found, labels = {}, torch.tensor([2, 0, 1])
    for cls, given in {
        AutoModelForSequenceClassification: {"labels": labels},
        AutoModelForTokenClassification: {"labels": IDS % 3},
        AutoModelForQuestionAnswering: {"start_positions": labels, "end_positions": labels + 2},
    }.items():
        model = load(cls, num_labels=3)
        head = model.qa_outputs if hasattr(model, "qa_outputs") else model.score
        head.weight.copy_(torch.linspace(-1, 1, head.weight.numel()).view_as(head.weight))
        if head.bias is not None:
            head.bias.zero_()
        for side, mask in (("left", LEFT), ("right", RIGHT)):
            ids = IDS * mask
            out = model(ids, attention_mask=mask, **given)
            found[f"{cls.__name__} {side}"] = sha256([out.loss, out[1]])
            if "Sequence" in cls.__name__:
                alone = [model(row[m.bool()][None]).logits for row, m in zip(IDS, mask)]  # noqa: B905
                assert (torch.cat(alone) - out.logits).abs().max() < 1e-4
        assert model.get_input_embeddings().weight.shape == (288, 48)
        with torch.enable_grad():
            model.train()(IDS, attention_mask=LEFT, **given).loss.backward()
    return found


def switched() -> dict:
    model = load(attn_implementation="sdpa")
    if not hasattr(model, "set_attn_implementation"):
        return {}  # up to transformers 4.52 it is chosen at the load
    eager = load(attn_implementation="eager")(IDS).logits
    sdpa = model(IDS).logits
    model.set_attn_implementation("eager")
    assert torch.equal(model(IDS).logits, eager) and model.config._attn_implementation == "eager"
    model.set_attn_implementation("sdpa")
    assert torch.equal(model(IDS).logits, sdpa)
    return {}


def saved() -> dict:
    """Saved, loaded again, and left for other versions to load."""
    model = load()
    model.save_pretrained(SAVED)
    again = AutoModelForCausalLM.from_pretrained(SAVED, trust_remote_code=True).eval()
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    model.resize_token_embeddings(300)
    assert model(IDS).logits.shape[-1] == 300
    tied = AutoConfig.from_pretrained(WHERE, **PINNED)
    tied.tie_word_embeddings = True
    tied = type(model)(tied)
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    return {}


def written() -> dict:
    """What the text-generation pipeline makes of prompts; ids and text are those of generate() by hand."""
    tokenizer = AutoTokenizer.from_pretrained(WHERE, **PINNED)
    run = pipeline("text-generation", WHERE, **PINNED, device="cpu")
    texts = ["A quick brown fox", "Two lazy dogs, aged 3.5 years,"]
    found = [out[0]["generated_text"] for out in run(texts, max_new_tokens=9, do_sample=False, batch_size=2)]
    ids = tokenizer(texts, return_tensors="pt", padding=True)
    assert ids["attention_mask"][0, 0] == 0, "padding is on the left"
    by_hand = load().generate(**ids, max_new_tokens=9, do_sample=False)
    # those tokens of random weights need not be UTF-8: the pipeline decodes what generate gave
    assert found == tokenizer.batch_decode(by_hand, skip_special_tokens=True), (found, by_hand)
    return {"written": found, "ids": ids["input_ids"].tolist()}


with torch.no_grad():
    said = {"version": transformers.__version__, **configuration(), **both_ways(), **heads(), **switched(), **saved()}
    said |= written()
    for kind in ("eager", "sdpa"):
        model = load(attn_implementation=kind)
        said |= {**numbers(model, kind), **generated(model, kind)}
        by_hand(model)
for kind in ("eager", "sdpa"):
    said |= training(kind)
print("RESULT", json.dumps(said))
