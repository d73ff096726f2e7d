# training script, kept here so that the run can be repeated
import argparse
import json
import random
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset


class Triples(Dataset):
    def __init__(self, path, queries, passages, nway=2):
        self.rows = [json.loads(line) for line in open(path)]
        self.queries, self.passages, self.nway = queries, passages, nway

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        qid, *rest = self.rows[i]
        pids = [p for p, _ in rest][: self.nway]
        scores = [s for _, s in rest][: self.nway]
        return self.queries[str(qid)], [self.passages[str(p)] for p in pids], scores


def collate(batch, tokenizer, q_len, d_len):
    q = tokenizer(["[Q] " + b[0] for b in batch], truncation=True, max_length=q_len, padding=True, return_tensors="pt")
    d = tokenizer(["[D] " + p for b in batch for p in b[1]], truncation=True, max_length=d_len, padding=True, return_tensors="pt")
    return q.input_ids, d.input_ids, torch.tensor([b[2] for b in batch])


def lr_at(step, warmup, total, peak):
    if step < warmup:
        return peak * step / max(warmup, 1)
    return peak * max(0.0, (total - step) / max(total - warmup, 1))


def train(model, tokenizer, data, steps=10000, batch_size=16, peak=1e-5, warmup=500, accumulate=1, amp=True, out="ckpt"):
    opt = torch.optim.AdamW(model.parameters(), lr=peak, eps=1e-8)
    loader = DataLoader(data, batch_size, shuffle=True, collate_fn=lambda b: collate(b, tokenizer, model.config.query_maxlen, model.config.doc_maxlen))
    model.train()
    step, running = 0, None
    while step < steps:
        for q, d, target in loader:
            with torch.autocast(model.device.type, enabled=amp):
                o = model(q.to(model.device), d.to(model.device))
                n = target.shape[1]
                # own passages of every query only
                own = torch.stack([o.scores[i, i * n : (i + 1) * n] for i in range(len(target))])
                loss = torch.nn.functional.kl_div(own.log_softmax(-1), target.to(own.device).log_softmax(-1), log_target=True, reduction="batchmean")
            (loss / accumulate).backward()
            if (step + 1) % accumulate == 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), 2.0)
                for g in opt.param_groups:
                    g["lr"] = lr_at(step, warmup, steps, peak)
                opt.step()
                opt.zero_grad(set_to_none=True)
            running = loss.item() if running is None else 0.99 * running + 0.01 * loss.item()
            step += 1
            if step % 1000 == 0:
                print(step, round(running, 4))
                model.save_pretrained(Path(out) / str(step))
            if step >= steps:
                break
    return running
