"""Used by train.py only."""
import torch
import torch.nn.functional as F


def contrastive(queries, passages, scale):
    scores = scale * F.normalize(queries, dim=-1) @ F.normalize(passages, dim=-1).t()
    target = torch.arange(scores.shape[0], device=scores.device)
    return (F.cross_entropy(scores, target) + F.cross_entropy(scores[:, : scores.shape[0]].t(), target)) / 2


def nested(queries, passages, sizes, scale, weights=None):
    weights = weights or [1.0] * len(sizes)
    total = queries.new_zeros(())
    for size, weight in zip(sizes, weights):
        total = total + weight * contrastive(queries[:, :size], passages[:, :size], scale)
    return total / sum(weights)


def spread(x, t=2.0):
    """Uniformity on the sphere."""
    d = torch.pdist(F.normalize(x, dim=-1)).pow(2)
    return d.mul(-t).exp().mean().log()


def distill(student, teacher, sizes, temperature=0.05):
    """Row-wise similarities of the teacher, at every size."""
    with torch.no_grad():
        target = (F.normalize(teacher, dim=-1) @ F.normalize(teacher, dim=-1).t() / temperature).softmax(-1)
    total = 0.0
    for size in sizes:
        part = F.normalize(student[:, :size], dim=-1)
        total = total + F.kl_div((part @ part.t() / temperature).log_softmax(-1), target, reduction="batchmean")
    return total / len(sizes)
