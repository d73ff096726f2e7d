"""Self-distillation of the heads: only the heads get gradients, the base model gives the labels.

usage (one node):  torchrun train_heads.py --model . --data prompts.jsonl --steps 4000
"""
import argparse
import json
import math
import random
from pathlib import Path

import torch
import torch.nn.functional as F


def parse():
    p = argparse.ArgumentParser()
    p.add_argument("--model", default=".")
    p.add_argument("--data", type=Path)
    p.add_argument("--steps", type=int, default=4000)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--warmup", type=int, default=100)
    p.add_argument("--length", type=int, default=1024)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--seed", type=int, default=0)
    return p.parse_args()


def rows(path, tokenizer, length):
    buffer = []
    for line in path.open():
        buffer += tokenizer(json.loads(line)["text"]).input_ids + [tokenizer.eos_token_id]
        while len(buffer) >= length:
            yield torch.tensor(buffer[:length])
            buffer = buffer[length:]


def schedule(step, o):
    if step < o.warmup:
        return step / o.warmup
    return 0.5 * (1 + math.cos(math.pi * (step - o.warmup) / max(1, o.steps - o.warmup)))


def head_loss(medusa_logits, logits, decay=0.8):
    """KL to the base model's distribution i + 1 positions later"""
    total, parts = 0.0, []
    for i, lg in enumerate(medusa_logits):
        target = logits[:, i + 1:].detach().float().softmax(-1)
        lp = lg[:, : target.shape[1]].float().log_softmax(-1)
        li = F.kl_div(lp, target, reduction="none").sum(-1).mean()
        parts.append(float(li))
        total = total + decay ** i * li
    return total, parts


def main():
    from transformers import AutoModelForCausalLM, AutoTokenizer
    o = parse()
    random.seed(o.seed)
    torch.manual_seed(o.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(o.model)
    model = AutoModelForCausalLM.from_pretrained(o.model, trust_remote_code=True).to(device)
    for n, p in model.named_parameters():
        p.requires_grad_(n.startswith("medusa_head"))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=o.lr, betas=(0.9, 0.95))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: schedule(s, o))
    batch, step = [], 0
    for row in rows(o.data, tokenizer, o.length):
        batch.append(row)
        if len(batch) < o.batch:
            continue
        ids = torch.stack(batch).to(device)
        batch = []
        out = model(input_ids=ids, use_cache=False)
        loss, parts = head_loss(out.medusa_logits, out.logits)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 20 == 0:
            print(step, " ".join(f"{x:.3f}" for x in parts))
        step += 1
        if step >= o.steps:
            break
    model.save_pretrained("medusa-heads")


if __name__ == "__main__":
    main()
