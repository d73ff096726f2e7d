import torch
from torch import nn


def symmetrize(x: torch.Tensor) -> torch.Tensor:
    return x + x.transpose(-1, -2)


def average_product_correct(x: torch.Tensor) -> torch.Tensor:
    rows, cols = x.sum(-1, keepdim=True), x.sum(-2, keepdim=True)
    return x - rows * cols / x.sum((-1, -2), keepdim=True)


class PeptilContactHead(nn.Module):
    """Logistic regression over all attention maps."""

    def __init__(self, n_maps: int, eos_token_id: int):
        super().__init__()
        self.eos_token_id = eos_token_id
        self.regression = nn.Linear(n_maps, 1)

    def forward(self, tokens: torch.Tensor, attentions: torch.Tensor) -> torch.Tensor:
        keep = tokens.ne(self.eos_token_id).to(attentions)
        attentions = attentions * (keep.unsqueeze(1) * keep.unsqueeze(2))[:, None, None]
        attentions = attentions[..., 1:-1, 1:-1]  # without cls and eos
        b, layers, heads, n, _ = attentions.shape
        maps = attentions.reshape(b, layers * heads, n, n).to(self.regression.weight)
        maps = average_product_correct(symmetrize(maps)).permute(0, 2, 3, 1)
        return self.regression(maps).squeeze(-1).sigmoid()
