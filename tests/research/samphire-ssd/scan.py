"""Scalar-decay scan: chunked for prompts, one step for decoding."""
import torch
import torch.nn.functional as F

try:
    from mamba_ssm.ops.triton.ssd_combined import mamba_chunk_scan_combined
except ImportError:
    mamba_chunk_scan_combined = None


def chunk_scan(x, log_decay, B, C, chunk, state=None):
    """x (b, t, h, p), log_decay (b, t, h), B and C (b, t, n) -> y (b, t, h, p), state (b, h, p, n)."""
    b, t, h, p = x.shape
    n = B.shape[-1]
    pad = -t % chunk
    if pad:
        x = F.pad(x, (0, 0, 0, 0, 0, pad))
        log_decay = F.pad(log_decay, (0, 0, 0, pad))
        B, C = F.pad(B, (0, 0, 0, pad)), F.pad(C, (0, 0, 0, pad))
    if state is None:
        state = x.new_zeros(b, h, p, n)
    lower = torch.ones(chunk, chunk, dtype=torch.bool, device=x.device).tril()
    ys = []
    for s in range(0, t + pad, chunk):
        xs, ds = x[:, s:s + chunk], log_decay[:, s:s + chunk].cumsum(1)
        bs, cs = B[:, s:s + chunk], C[:, s:s + chunk]
        gap = (ds[:, :, None] - ds[:, None, :]).masked_fill(~lower[None, :, :, None], float("-inf"))
        inside = torch.einsum("bin,bjn,bijh,bjhp->bihp", cs, bs, gap.exp(), xs)
        before = torch.einsum("bin,bhpn,bih->bihp", cs, state, ds.exp())
        ys.append(inside + before)
        left = (ds[:, -1:] - ds).exp()
        state = state * ds[:, -1].exp()[:, :, None, None] + torch.einsum("bjn,bjh,bjhp->bhpn", bs, left, xs)
    return torch.cat(ys, 1)[:, :t], state


def one_step(x, log_decay, B, C, state):
    state = state * log_decay.exp()[:, :, None, None] + torch.einsum("bn,bhp->bhpn", B, x)
    return torch.einsum("bn,bhpn->bhp", C, state), state
