import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn


def ema_inplace(moving_avg, new, decay):
    moving_avg.data.mul_(decay).add_(new, alpha=(1 - decay))


def laplace_smoothing(x, n, eps=1e-5):
    return (x + eps) / (x.sum() + n * eps)


class EMACodebook(nn.Module):
    """Codebook updated by moving averages, never by the optimizer.

    Everything lives in buffers. `initted` becomes true with the first training batch (k-means would be better).
    """

    def __init__(self, size, dim, decay=0.99, eps=1e-5, threshold_dead=1.0):
        super().__init__()
        self.size, self.dim, self.decay, self.eps = size, dim, decay, eps
        self.threshold_dead = threshold_dead
        embed = torch.randn(size, dim)
        self.register_buffer("initted", torch.tensor([False]))
        self.register_buffer("cluster_size", torch.zeros(size))
        self.register_buffer("embed", embed)
        self.register_buffer("embed_avg", embed.clone())

    @torch.no_grad()
    def init_from(self, flat):
        if bool(self.initted):
            return
        idx = torch.randint(0, flat.shape[0], (self.size,), device=flat.device)
        self.embed.data.copy_(flat[idx])
        self.embed_avg.data.copy_(self.embed)
        self.cluster_size.data.fill_(1.0)
        self.initted.data.fill_(True)

    @torch.no_grad()
    def expire(self, flat):
        dead = self.cluster_size < self.threshold_dead
        if not dead.any():
            return
        idx = torch.randint(0, flat.shape[0], (int(dead.sum()),), device=flat.device)
        self.embed.data[dead] = flat[idx]

    def quantize(self, flat):
        d = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ self.embed.t() + self.embed.pow(2).sum(1)
        return d.argmin(-1)

    def lookup(self, ids):
        return F.embedding(ids, self.embed)

    def forward(self, x):
        flat = x.reshape(-1, self.dim).float()
        if self.training:
            self.init_from(flat)
        ids = self.quantize(flat)
        if self.training:
            onehot = F.one_hot(ids, self.size).type(flat.dtype)
            n, s = onehot.sum(0), onehot.t() @ flat
            if dist.is_available() and dist.is_initialized():
                dist.all_reduce(n)
                dist.all_reduce(s)
            self.expire(flat)
            ema_inplace(self.cluster_size, n, self.decay)
            ema_inplace(self.embed_avg, s, self.decay)
            size = laplace_smoothing(self.cluster_size, self.size, self.eps) * self.cluster_size.sum()
            self.embed.data.copy_(self.embed_avg / size.unsqueeze(1))
        ids = ids.view(x.shape[:-1])
        return self.lookup(ids).to(x.dtype), ids


class ResidualVQ(nn.Module):
    def __init__(self, n, size, dim, decay, beta):
        super().__init__()
        self.beta = beta
        self.layers = nn.ModuleList([EMACodebook(size, dim, decay) for _ in range(n)])

    def forward(self, x):
        total, residual, ids, loss = torch.zeros_like(x), x, [], 0.0
        for layer in self.layers:
            q, i = layer(residual)
            loss = loss + self.beta * F.mse_loss(residual, q.detach())
            residual = residual - q.detach()
            total = total + q
            ids.append(i)
        total = x + (total - x).detach()  # straight through
        return total, torch.stack(ids, -1), loss

    def decode(self, ids):
        return sum(layer.lookup(i) for layer, i in zip(self.layers, ids.unbind(-1)))
