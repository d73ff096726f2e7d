"""The scan: CUDA kernels where they are, and what they do in plain torch."""
import torch
import torch.nn.functional as F

try:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
    from mamba_ssm.ops.triton.selective_state_update import selective_state_update
except ImportError:
    selective_scan_fn, selective_state_update = None, None

try:
    from causal_conv1d import causal_conv1d_fn, causal_conv1d_update
except ImportError:
    causal_conv1d_fn, causal_conv1d_update = None, None

FAST = all((selective_scan_fn, selective_state_update, causal_conv1d_fn, causal_conv1d_update))


def scan(u, delta, A, B, C, D, state=None):
    """u, delta: (b, d, l); A: (d, n); B, C: (b, n, l); state: (b, d, n). Returns y and the last state."""
    batch, inner, length = u.shape
    decay = torch.exp(delta.unsqueeze(-1) * A[None, :, None, :])
    drive = (delta * u).unsqueeze(-1) * B.transpose(1, 2).unsqueeze(1)
    if state is None:
        state = u.new_zeros(batch, inner, A.shape[1])
    ys = []
    for step in range(length):
        state = decay[:, :, step] * state + drive[:, :, step]
        ys.append(torch.einsum("bdn,bn->bd", state, C[:, :, step]))
    y = torch.stack(ys, dim=2)
    return y + D[None, :, None] * u, state


def short_conv(x, weight, bias, tail=None):
    """x: (b, d, l), weight: (d, k). Returns the output and the inputs that the next call needs."""
    width = weight.shape[-1]
    if tail is None:
        tail = x.new_zeros(x.shape[0], x.shape[1], width - 1)
    joined = torch.cat([tail, x], dim=-1)
    out = F.conv1d(joined, weight.unsqueeze(1), bias, groups=weight.shape[0])
    return F.silu(out), joined[..., -(width - 1):]
