import torch
from torch import nn


class InstanceScaler(nn.Module):
    """Scale each series by statistics of its observed values; `restore` undoes it."""

    def __init__(self, kind: str = "std", tolerance: float = 1e-5):
        super().__init__()
        if kind not in ("std", "absmean", "none"):
            raise ValueError(f"unknown scaling {kind}")
        self.kind = kind
        self.tolerance = tolerance

    def stats(self, values: torch.Tensor, observed: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        n = observed.sum(dim=-1, keepdim=True).clamp(min=1.0)
        if self.kind == "none":
            return torch.zeros_like(n), torch.ones_like(n)
        if self.kind == "absmean":
            scale = (values.abs() * observed).sum(dim=-1, keepdim=True) / n
            return torch.zeros_like(n), scale.clamp(min=self.tolerance)
        loc = (values * observed).sum(dim=-1, keepdim=True) / n
        var = (((values - loc) * observed) ** 2).sum(dim=-1, keepdim=True) / n
        return loc, (var + self.tolerance).sqrt()

    def forward(self, values, observed):
        loc, scale = self.stats(values, observed)
        return (values - loc) / scale * observed, loc, scale

    @staticmethod
    def restore(x: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        while loc.dim() < x.dim():
            loc, scale = loc.unsqueeze(-1), scale.unsqueeze(-1)
        return x * scale + loc


def pinball_loss(pred: torch.Tensor, target: torch.Tensor, quantiles: list[float], mask=None) -> torch.Tensor:
    # pred [..., time, q], target [..., time]
    q = torch.tensor(quantiles, device=pred.device, dtype=pred.dtype)
    err = target.unsqueeze(-1) - pred
    loss = torch.maximum(q * err, (q - 1) * err).mean(dim=-1)
    if mask is None:
        return loss.mean()
    return (loss * mask).sum() / mask.sum().clamp(min=1.0)
