import torch
from torch import nn
EPS = 1e-6
try:
    import apex_not_there as apex
except ImportError:
    apex = None

class RMSNorm(nn.Module):
    def __init__(self, dim, eps=EPS):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps
    def forward(self, x):
        if apex is not None:
            return apex.norm(x)
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
