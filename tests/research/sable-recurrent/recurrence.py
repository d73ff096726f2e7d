"""s_t = diag(w) s_{t-1} + k_t v_t; y_t = r_t (s_{t-1} + u k_t v_t)"""
import os

import torch

_kernel = None


def load_kernel(head_size):
    global _kernel
    if _kernel is not None or not torch.cuda.is_available():
        return _kernel
    from torch.utils.cpp_extension import load

    here = os.path.dirname(os.path.abspath(__file__))
    sources = [os.path.join(here, "cuda", name) for name in ("sable_op.cpp", "sable_kernel.cu")]
    if not all(os.path.exists(s) for s in sources):
        return None
    _kernel = load(name=f"sable_{head_size}", sources=sources, extra_cuda_cflags=["-O3", f"-DN={head_size}"])
    return _kernel


def linear_attention(r, k, v, w, u, state):
    # r, k, v: (b, t, h, n); w, u: (h, n); state: (b, h, n, n)
    out = torch.zeros_like(v)
    for t in range(r.shape[1]):
        kv = k[:, t].unsqueeze(-1) * v[:, t].unsqueeze(-2)
        out[:, t] = (r[:, t].unsqueeze(-2) @ (state + u.unsqueeze(-1) * kv)).squeeze(-2)
        state = kv + w.unsqueeze(-1) * state
    return out, state
