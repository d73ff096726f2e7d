"""Reference mLSTM cell: parallel (quadratic) with stabiliser, and one step recurrent form"""
import math
import torch
import torch.nn.functional as F


def mlstm_parallel(q, k, v, i, f, eps=1e-6):
    """q, k: B H T Dk; v: B H T Dv; i, f: B H T preactivations.  returns B H T Dv and the last state"""
    B, H, T, Dk = q.shape
    logf = F.logsigmoid(f)
    cum = logf.cumsum(-1)
    D = cum[..., :, None] - cum[..., None, :] + i[..., None, :]
    mask = torch.ones(T, T, dtype=torch.bool, device=q.device).tril()
    D = D.masked_fill(~mask, -float("inf"))
    m = D.max(-1, keepdim=True)[0]
    W = (D - m).exp() * (q @ k.transpose(-1, -2)) / math.sqrt(Dk)
    n = torch.maximum(W.sum(-1, keepdim=True).abs(), (-m).exp()) + eps
    h = (W / n) @ v
    # closed form of the state after T steps
    m_last = D[..., -1, :].max(-1)[0]
    w = (D[..., -1, :] - m_last[..., None]).exp()
    C = torch.einsum("bht,bhtk,bhtv->bhkv", w, k, v)
    N = torch.einsum("bht,bhtk->bhk", w, k)
    return h, (C, N, m_last)


def mlstm_step(q, k, v, i, f, state, eps=1e-6):
    C, N, m = state
    q, k, v, i, f = q[:, :, 0], k[:, :, 0], v[:, :, 0], i[:, :, 0], f[:, :, 0]
    logf = F.logsigmoid(f)
    m_new = torch.maximum(logf + m, i)
    fg, ig = (logf + m - m_new).exp(), (i - m_new).exp()
    C = fg[..., None, None] * C + ig[..., None, None] * (k[..., :, None] * v[..., None, :])
    N = fg[..., None] * N + ig[..., None] * k
    q = q / math.sqrt(q.shape[-1])
    num = torch.einsum("bhk,bhkv->bhv", q, C)
    den = torch.maximum((q * N).sum(-1).abs(), (-m_new).exp()) + eps
    return (num / den[..., None])[:, :, None], (C, N, m_new)
