"""Graph routines. There used to be a pyx file, plain torch is fast enough for molecules."""
import torch

UNREACHABLE = 510


def adjacency(edge_index: torch.Tensor, n: int) -> torch.Tensor:
    """edge_index: (B, 2, E) -> bool (B, n, n)"""
    b = edge_index.shape[0]
    a = torch.zeros(b, n, n, dtype=torch.bool, device=edge_index.device)
    batch = torch.arange(b, device=edge_index.device)[:, None].expand(-1, edge_index.shape[2])
    a[batch, edge_index[:, 0], edge_index[:, 1]] = True
    return a


def floyd_warshall(adj: torch.Tensor) -> torch.Tensor:
    b, n, _ = adj.shape
    dist = torch.full((b, n, n), UNREACHABLE, dtype=torch.long, device=adj.device)
    dist[adj] = 1
    idx = torch.arange(n, device=adj.device)
    dist[:, idx, idx] = 0
    for k in range(n):
        dist = torch.minimum(dist, dist[:, :, k : k + 1] + dist[:, k : k + 1, :])
    return dist.clamp(max=UNREACHABLE)
