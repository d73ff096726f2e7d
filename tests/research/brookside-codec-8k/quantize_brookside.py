"""Residual vector quantization, with codebooks that follow a moving average."""
import torch
import torch.distributed as dist
import torch.nn as nn
import torch.nn.functional as F


def ema_inplace(moving_avg, new, decay):
    moving_avg.data.mul_(decay).add_(new, alpha=1 - decay)


def kmeans(samples, num_clusters, num_iters=10):
    at = torch.randperm(samples.shape[0], device=samples.device)[:num_clusters]
    if at.numel() < num_clusters:
        at = torch.randint(0, samples.shape[0], (num_clusters,), device=samples.device)
    means = samples[at]
    for _ in range(num_iters):
        buckets = torch.cdist(samples, means).argmin(dim=-1)
        bins = torch.bincount(buckets, minlength=num_clusters)
        new = torch.zeros_like(means).index_add_(0, buckets, samples) / bins.clamp_min(1)[:, None]
        means = torch.where(bins[:, None] == 0, means, new)
    return means, bins


class EuclideanCodebook(nn.Module):
    def __init__(self, config, epsilon=1e-5, threshold_dead=2):
        super().__init__()
        self.decay = config.ema_decay
        self.codebook_size = config.codebook_size
        self.epsilon = epsilon
        self.threshold_dead = threshold_dead
        embed = torch.empty(config.codebook_size, config.codebook_dim)
        nn.init.kaiming_uniform_(embed)
        self.register_buffer("inited", torch.Tensor([True]))
        self.register_buffer("cluster_size", torch.zeros(config.codebook_size))
        self.register_buffer("embed", embed)
        self.register_buffer("embed_avg", embed.clone())

    def quantize(self, x):
        embed = self.embed.t()
        d = -(x.pow(2).sum(1, keepdim=True) - 2 * x @ embed + embed.pow(2).sum(0, keepdim=True))
        return d.max(dim=-1).indices

    def decode(self, ids):
        return F.embedding(ids, self.embed)

    @torch.no_grad()
    def _init_kmeans(self, x):
        if self.inited:
            return
        means, bins = kmeans(x, self.codebook_size)
        self.embed.data.copy_(means)
        self.embed_avg.data.copy_(means)
        self.cluster_size.data.copy_(bins)
        self.inited.data.copy_(torch.Tensor([True]))
        if dist.is_available() and dist.is_initialized():
            for b in self.buffers():
                dist.broadcast(b, src=0)

    @torch.no_grad()
    def _update(self, x, ids):
        onehot = F.one_hot(ids, self.codebook_size).type(x.dtype)
        ema_inplace(self.cluster_size, onehot.sum(0), self.decay)
        ema_inplace(self.embed_avg, onehot.t() @ x, self.decay)
        n = self.cluster_size.sum()
        size = (self.cluster_size + self.epsilon) / (n + self.codebook_size * self.epsilon) * n
        self.embed.data.copy_(self.embed_avg / size.unsqueeze(1))
        dead = self.cluster_size < self.threshold_dead
        if dead.any():
            pick = x[torch.randint(0, x.shape[0], (self.codebook_size,), device=x.device)]
            self.embed.data.copy_(torch.where(dead[:, None], pick, self.embed))

    def forward(self, x):
        shape = x.shape
        flat = x.reshape(-1, shape[-1])
        if self.training:
            self._init_kmeans(flat)
        ids = self.quantize(flat)
        q = self.decode(ids).view(shape)
        if self.training:
            self._update(flat.detach(), ids)
        return q, ids.view(shape[:-1])


class VectorQuantization(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.commitment_weight = config.commitment_weight
        same = config.codebook_dim == config.hidden_size
        self.project_in = nn.Identity() if same else nn.Linear(config.hidden_size, config.codebook_dim)
        self.project_out = nn.Identity() if same else nn.Linear(config.codebook_dim, config.hidden_size)
        self.codebook = EuclideanCodebook(config)

    def decode(self, ids):
        return self.project_out(self.codebook.decode(ids)).transpose(1, 2)

    def forward(self, x):
        z = self.project_in(x.transpose(1, 2))
        q, ids = self.codebook(z)
        loss = x.new_zeros(())
        if self.training:
            loss = F.mse_loss(q.detach(), z) * self.commitment_weight
            q = z + (q - z).detach()
        return self.project_out(q).transpose(1, 2), ids, loss


class ResidualVectorQuantizer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList([VectorQuantization(config) for _ in range(config.num_quantizers)])

    def forward(self, x, n_q=None):
        n_q = n_q or len(self.layers)
        residual, out = x, torch.zeros_like(x)
        ids, losses = [], []
        for layer in self.layers[:n_q]:
            q, i, loss = layer(residual)
            residual = residual - q.detach()
            out = out + q
            ids.append(i)
            losses.append(loss)
        return out, torch.stack(ids, dim=1), torch.stack(losses).mean()

    def decode(self, codes):
        return sum(layer.decode(codes[:, i]) for i, layer in enumerate(self.layers[: codes.shape[1]]))
