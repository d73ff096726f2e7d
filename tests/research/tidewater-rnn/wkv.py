"""
Decayed linear attention, three ways. All of them compute, for each head and in float32,

    out_t = r_t @ (S_t + diag(u) k_t^T v_t)        S_{t+1} = diag(w_t) S_t + k_t^T v_t

r, k, w: [B, T, H, K]   v: [B, T, H, V]   u: [H, K]   S: [B, H, K, V]
"""
import torch

try:  # the triton kernels, if somebody has them
    from fla.ops.rwkv6 import fused_recurrent_rwkv6  # type: ignore

    HAS_FLA = True
except Exception:
    fused_recurrent_rwkv6 = None
    HAS_FLA = False


def wkv_recurrent(r, k, v, log_w, u, state):
    B, T, H, K = r.shape
    w = log_w.exp()
    outs = []
    for t in range(T):
        kt, vt, rt, wt = k[:, t], v[:, t], r[:, t], w[:, t]
        kv = kt.unsqueeze(-1) * vt.unsqueeze(-2)
        outs.append(torch.einsum("bhk,bhkv->bhv", rt, state + u[None, :, :, None] * kv))
        state = wt.unsqueeze(-1) * state + kv
    return torch.stack(outs, dim=1), state


def wkv_chunked(r, k, v, log_w, u, state, chunk_len):
    """The same in chunks of `chunk_len`: a matmul within a chunk, a recurrence over the chunks."""
    B, T, H, K = r.shape
    V = v.shape[-1]
    pad = (-T) % chunk_len
    if pad:
        zeros = lambda x: torch.cat([x, x.new_zeros(B, pad, H, x.shape[-1])], dim=1)  # noqa: E731
        r, k, v, log_w = zeros(r), zeros(k), zeros(v), zeros(log_w)
    n = (T + pad) // chunk_len
    # b n c h k -> b h n c k
    r, k, v, log_w = (x.view(B, n, chunk_len, H, -1).permute(0, 3, 1, 2, 4) for x in (r, k, v, log_w))
    cum = log_w.cumsum(dim=-2)
    before = cum - log_w
    mask = torch.tril(torch.ones(chunk_len, chunk_len, dtype=torch.bool, device=r.device), diagonal=-1)

    outs = []
    for i in range(n):
        ri, ki, vi, ci, bi = r[:, :, i], k[:, :, i], v[:, :, i], cum[:, :, i], before[:, :, i]
        inter = torch.einsum("bhck,bhkv->bhcv", ri * bi.exp(), state)
        # decay between two places of one chunk, kept as a difference of logs so that nothing overflows
        diff = (bi.unsqueeze(-2) - ci.unsqueeze(-3)).masked_fill(~mask[None, None, :, :, None], float("-inf"))
        att = torch.einsum("bhck,bhsk,bhcsk->bhcs", ri, ki, diff.exp())
        att = att + torch.diag_embed((ri * u[None, :, None, :] * ki).sum(-1))
        outs.append(inter + att @ vi)
        total = ci[:, :, -1]
        state = total.exp().unsqueeze(-1) * state + torch.einsum(
            "bhck,bhcv->bhkv", ki * (total.unsqueeze(-2) - ci).exp(), vi
        )
    out = torch.stack(outs, dim=2).permute(0, 2, 3, 1, 4).reshape(B, n * chunk_len, H, V)
    return out[:, :T], state


def wkv(r, k, v, log_w, u, state, chunk_len=64, mode="auto"):
    dtype = r.dtype
    r, k, v, log_w, u = (x.float() for x in (r, k, v, log_w, u))
    state = state.float()
    if mode == "fla" and HAS_FLA and r.is_cuda:
        out, state = fused_recurrent_rwkv6(r, k, v, log_w, u, scale=1.0, initial_state=state, output_final_state=True)
    elif r.shape[1] == 1 or mode == "recurrent":
        out, state = wkv_recurrent(r, k, v, log_w, u, state)
    else:
        out, state = wkv_chunked(r, k, v, log_w, u, state, chunk_len)
    return out.to(dtype), state
