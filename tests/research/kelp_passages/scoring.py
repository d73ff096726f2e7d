"""Late interaction: every word of a query looks for its best word in a passage."""
import torch


def normalise(vectors, kind):
    return torch.nn.functional.normalize(vectors, p=2, dim=-1) if kind == "cosine" else vectors


def pairwise(q, p, kind):
    # q: (nq, lq, d); p: (np, lp, d) -> (nq, np, lq, lp)
    if kind == "l2":
        return -(q[:, None, :, None] - p[None, :, None]).pow(2).sum(-1)
    return torch.einsum("qid,pjd->qpij", q, p)


def late_interaction(q, p, q_mask, p_mask, kind="cosine"):
    table = pairwise(q, p, kind)
    table = table.masked_fill(~p_mask[None, :, None, :].bool(), -1e4)
    best = table.max(dim=-1).values
    return (best * q_mask[:, None].to(best.dtype)).sum(-1)


def in_batch_loss(scores, temperature):
    gold = torch.arange(scores.shape[0], device=scores.device)
    stride = scores.shape[1] // scores.shape[0]
    return torch.nn.functional.cross_entropy(scores / temperature, gold * stride)
