"""How plover-mini was trained. Kept for reference; not needed to use the model."""
import argparse
import math
import random

import torch

from transformers import AutoModelForCausalLM


def lr_at(step, peak, warmup, total):
    if step < warmup:
        return peak * step / warmup
    return 0.1 * peak + 0.45 * peak * (1 + math.cos(math.pi * (step - warmup) / (total - warmup)))


def batches(path, length, size, seed=0):
    data = torch.frombuffer(bytearray(open(path, "rb").read()), dtype=torch.int16).long()
    rng = random.Random(seed)
    while True:
        starts = [rng.randrange(0, len(data) - length) for _ in range(size)]
        yield torch.stack([data[s : s + length] for s in starts])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default="plover-out")
    parser.add_argument("--steps", type=int, default=40000)
    parser.add_argument("--peak", type=float, default=6e-4)
    args = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(".", trust_remote_code=True).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.peak, betas=(0.9, 0.95), weight_decay=0.1)
    for step, batch in enumerate(batches(args.data, model.config.context, 32)):
        if step >= args.steps:
            break
        for group in optimizer.param_groups:
            group["lr"] = lr_at(step, args.peak, 500, args.steps)
        loss = model(batch.cuda(), labels=batch.cuda()).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % 100 == 0:
            print(step, loss.item())
    model.save_pretrained(args.out)


if __name__ == "__main__":
    main()
