"""Baselines the README compares with. Not needed for the model."""
import numpy as np
import torch
from torch import nn


class LogisticRegressionSGD(nn.Module):
    def __init__(self, n_num, cardinalities, n_out):
        super().__init__()
        self.num = nn.Linear(n_num, n_out)
        self.cats = nn.ModuleList([nn.Embedding(c + 1, n_out) for c in cardinalities])

    def forward(self, x_num, x_cat):
        return self.num(x_num) + sum(e(x_cat[:, i] + 1) for i, e in enumerate(self.cats))


class ResNetTab(nn.Module):
    def __init__(self, n_num, cardinalities, n_out, d=128, n_blocks=3, p=0.2):
        super().__init__()
        self.emb = nn.ModuleList([nn.Embedding(c + 1, min(16, c)) for c in cardinalities])
        self.first = nn.Linear(n_num + sum(min(16, c) for c in cardinalities), d)
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.BatchNorm1d(d), nn.Linear(d, 2 * d), nn.ReLU(), nn.Dropout(p), nn.Linear(2 * d, d), nn.Dropout(p)) for _ in range(n_blocks)]
        )
        self.head = nn.Sequential(nn.BatchNorm1d(d), nn.ReLU(), nn.Linear(d, n_out))

    def forward(self, x_num, x_cat):
        x = torch.cat([x_num] + [e(x_cat[:, i] + 1) for i, e in enumerate(self.emb)], 1)
        x = self.first(x)
        for b in self.blocks:
            x = x + b(x)
        return self.head(x)


def roc_auc(y, p):
    order = np.argsort(p, kind="mergesort")
    ranks = np.empty(len(p))
    ranks[order] = np.arange(1, len(p) + 1)
    pos = y == 1
    n1, n0 = pos.sum(), (~pos).sum()
    return (ranks[pos].sum() - n1 * (n1 + 1) / 2) / max(n1 * n0, 1)


def fit(model, loader, epochs=50, lr=1e-3, wd=1e-5, patience=8, valid=None):
    opt = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=wd)
    best, state, bad = -np.inf, None, 0
    for epoch in range(epochs):
        model.train()
        for x_num, x_cat, y in loader:
            loss = nn.functional.cross_entropy(model(x_num, x_cat), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
        if valid is None:
            continue
        model.eval()
        with torch.no_grad():
            p = model(valid[0], valid[1]).softmax(-1)[:, 1].numpy()
        score = roc_auc(valid[2].numpy(), p)
        if score > best:
            best, bad, state = score, 0, {k: v.clone() for k, v in model.state_dict().items()}
        else:
            bad += 1
            if bad > patience:
                break
    if state is not None:
        model.load_state_dict(state)
    return best
