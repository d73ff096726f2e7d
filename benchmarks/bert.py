"""bert_model against transformers' BertModel, and sparse attention against its dense mask; ratios of one run.

Every pair alternates A and B; medians of at least 7. The claims are printed with what was measured, and whether it was
reached: python benchmarks/bert.py [--size minilm|base] [--pairs 7]
"""

import argparse
import math
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
import transformers
from transformers import BertConfig
from transformers import BertModel as Stock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bert_model.configuration_bert import BERTConfig
from bert_model.modeling_bert import BERTModel

SIZES = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
}
# lengths of the rows of a batch, in tokens
BATCHES = {
    "padded": ([16, 64, 150, 220, 280, 340, 400, 512, 512, 330], 1.4),
    "long tail": ([*[16 + 4 * i for i in range(15)], 512], 7.0),
    "full": ([256] * 4, 1.0),
}


def medians(one, other, pairs: int) -> tuple[float, float]:
    """Median seconds of two functions that take turns, after a round each to warm up."""
    times = ([], [])
    for turn in range(pairs + 1):
        for function, kept in zip((one, other), times, strict=True):
            started = time.perf_counter()
            function()
            if turn:
                kept.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def report(what: str, ratio: float, least: float) -> None:
    print(
        f"  {what:<58} {ratio:6.2f}x  wanted {least:g}x  {'reached' if ratio >= least else 'NOT REACHED'}", flush=True
    )


def against_transformers(size: str, pairs: int) -> None:
    sizes = {**SIZES[size], "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    ours = BERTModel(BERTConfig(**sizes, attn_implementation="sdpa"))
    theirs = Stock(BertConfig(**sizes, attn_implementation="sdpa"))
    theirs.load_state_dict(ours.state_dict())
    for name, (lengths, least) in BATCHES.items():
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
        ids = torch.randint(1, 30000, mask.shape)
        fill = mask.float().mean().item()

        def evaluate(model, ids=ids, mask=mask):
            with torch.no_grad():
                model.eval()(ids, attention_mask=mask)

        def train(model, ids=ids, mask=mask):
            model.train().zero_grad(set_to_none=True)
            model(ids, attention_mask=mask).last_hidden_state[mask.bool()].square().mean().backward()

        for kind, step in (("forward", evaluate), ("training step", train)):
            # the same work on both sides: a ratio near 1 needs more pairs to be told from noise
            turns = 3 * pairs if least == 1.0 else pairs
            mine, stock = medians(lambda s=step: s(ours), lambda s=step: s(theirs), turns)
            report(
                f"{size}, {name} (fill {fill:.2f}), {kind}: {stock * 1e3:.0f} -> {mine * 1e3:.0f} ms",
                stock / mine,
                least,
            )


def encoder(kind: str, **more) -> BERTModel:
    sizes = {**SIZES["minilm"], "num_hidden_layers": 1, "position_embedding_type": "sinusoidal"}
    return BERTModel(BERTConfig(**sizes, attention_type=kind, attn_implementation="sdpa", **more)).eval()


def attention(kind: str, tokens: int, dense: bool = False):
    """A layer's attention on one row, computed as it is or from its dense mask: a function of nothing."""
    model = encoder(kind)
    layer, x = model.encoder.layer[0].attention.self, torch.randn(1, tokens, 384)
    if dense:
        layer.attend = lambda q, k, v, bias, keep, **kwargs: layer.dense(q, k, v, bias, keep)

    def run():
        with torch.no_grad():
            layer(x)

    return run


def peak(kind: str, tokens: int, dense: bool) -> int:
    """Bytes that a layer's attention takes at most beyond its query, key and value, by torch's account of allocations.

    Those three are the same however it is computed. A dense mask is taken at its cheapest: booleans, and the additive
    mask that SDPA wants; eager attention would hold the scores of every head on top.
    """
    layer = encoder(kind).encoder.layer[0].attention.self
    query, key, value = torch.randn(3, 1, 12, tokens, 32)
    attend = layer.dense if dense else layer.attend
    with torch.no_grad():
        attend(query, key, value, None, None)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            attend(query, key, value, None, None)
    level = most = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            level += event.nbytes()
            most = max(most, level)
    return most


def sparse(pairs: int) -> None:
    tokens = 4096
    local = attention("local", tokens)
    mine, full = medians(local, attention("full", tokens), pairs)
    report(f"local, window 64, {tokens} tokens, against full SDPA", full / mine, 3.0)
    for kind, least in (("local", 5.0), ("strided", 1.0), ("random", 1.0)):
        mine, dense = medians(attention(kind, tokens), attention(kind, tokens, True), pairs)
        report(f"{kind}, {tokens} tokens, against its dense mask", dense / mine, least)
        mine, dense = peak(kind, tokens, False), peak(kind, tokens, True)
        report(
            f"{kind}, peak memory beyond q, k, v: {dense / 1e6:.0f} -> {mine / 1e6:.0f} MB",
            dense / mine,
            6.0 if kind == "local" else 1.0,
        )
    lengths, seconds = [1024, 2048, 4096, 8192, 16384, 32768], []
    for length in lengths:
        run = attention("local", length)
        seconds.append(medians(run, run, max(3, pairs // 2))[0])
    logs = [math.log(n) for n in lengths], [math.log(s) for s in seconds]
    slope = statistics.linear_regression(*logs).slope
    told = "reached" if slope <= 1.15 else "NOT REACHED"
    print(f"  local from 1k to 32k tokens: time grows with the power {slope:.2f}  wanted at most 1.15  {told}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, action="append", help="default: both")
    parser.add_argument("--pairs", type=int, default=7)
    args = parser.parse_args()
    torch.manual_seed(0)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, float32, torch {torch.__version__}, "
        f"transformers {transformers.__version__}, medians of {args.pairs} alternating pairs"
    )
    sparse(args.pairs)
    for size in args.size or SIZES:
        against_transformers(size, args.pairs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
