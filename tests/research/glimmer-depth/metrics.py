"""What is reported for depth: relative error, root of the mean square, shares within 1.25, 1.25^2, 1.25^3."""
import torch


def align(predicted, target, valid):
    """Scale and shift by least squares, for models that know depth up to these."""
    p, t = predicted[valid], target[valid]
    a = torch.stack([p, torch.ones_like(p)], dim=1)
    scale, shift = torch.linalg.lstsq(a, t[:, None]).solution.flatten()
    return predicted * scale + shift


def depth_metrics(predicted, target, low=1e-3, high=80.0, aligned=False):
    valid = (target > low) & (target < high)
    if aligned:
        predicted = align(predicted, target, valid)
    p, t = predicted[valid].clamp(low, high), target[valid]
    ratio = torch.maximum(p / t, t / p)
    return {
        "abs_rel": ((p - t).abs() / t).mean().item(),
        "sq_rel": ((p - t) ** 2 / t).mean().item(),
        "rmse": ((p - t) ** 2).mean().sqrt().item(),
        "log10": (p.log10() - t.log10()).abs().mean().item(),
        **{f"d{i}": (ratio < 1.25**i).float().mean().item() for i in (1, 2, 3)},
    }


def mean_of(rows):
    return {key: sum(r[key] for r in rows) / len(rows) for key in rows[0]}
