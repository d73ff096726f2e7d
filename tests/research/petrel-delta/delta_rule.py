"""Gated delta rule in torch. All of it in float32."""

import torch

try:
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule, fused_recurrent_gated_delta_rule
except ImportError:
    chunk_gated_delta_rule = fused_recurrent_gated_delta_rule = None


def recurrent(q, k, v, decay, beta, state):
    """q, k, v: (b, h, t, d); decay (log) and beta: (b, h, t); state: (b, h, d, d)."""
    outputs = []
    for i in range(q.shape[2]):
        state = state * decay[:, :, i, None, None].exp()
        predicted = torch.einsum("bhk,bhkv->bhv", k[:, :, i], state)
        error = beta[:, :, i, None] * (v[:, :, i] - predicted)
        state = state + torch.einsum("bhk,bhv->bhkv", k[:, :, i], error)
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, i], state))
    return torch.stack(outputs, 2), state


def chunked(q, k, v, decay, beta, state, size):
    """The same by chunks, with a triangular solve inside of each."""
    outputs = []
    for start in range(0, q.shape[2], size):
        part = slice(start, start + size)
        qc, kc, vc, bc = q[:, :, part], k[:, :, part], v[:, :, part], beta[:, :, part]
        g = decay[:, :, part].cumsum(-1)
        n = g.shape[-1]
        lower = torch.ones(n, n, dtype=torch.bool, device=q.device).tril()
        ratio = (g[..., :, None] - g[..., None, :]).masked_fill(~lower, float("-inf")).exp()
        gram = (kc @ kc.transpose(-1, -2)) * ratio * bc[..., None]
        system = gram.tril(-1) + torch.eye(n, device=q.device)
        start_error = vc - torch.einsum("bhtk,bhkv->bhtv", kc * g.exp()[..., None], state)
        errors = torch.linalg.solve_triangular(system, bc[..., None] * start_error, upper=False)
        inside = ((qc @ kc.transpose(-1, -2)) * ratio) @ errors
        outputs.append(inside + torch.einsum("bhtk,bhkv->bhtv", qc * g.exp()[..., None], state))
        last = (g[..., -1:] - g).exp()
        state = state * g[..., -1, None, None].exp() + torch.einsum("bhtk,bhtv->bhkv", kc * last[..., None], errors)
    return torch.cat(outputs, 2), state
