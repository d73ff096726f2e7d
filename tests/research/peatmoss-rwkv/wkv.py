"""Reference (slow) wkv5.  The fused kernel lives in our training repo and is not needed for inference on short text."""
import torch

try:  # optional
    from fla.ops.rwkv6 import fused_recurrent_rwkv6  # noqa
except Exception:
    fused_recurrent_rwkv6 = None


def wkv5_cpu(hidden, H, S, T, receptance, key, value, time_decay, time_first, state):
    # receptance, key, value : (B, H, T, S)
    out = torch.zeros_like(key).reshape(key.shape[0], T, H, S)
    for t in range(T):
        rt = receptance[:, :, t:t + 1, :]
        kt = key[:, :, :, t:t + 1]
        vt = value[:, :, t:t + 1, :]
        at = kt @ vt
        out[:, t] = (rt @ (time_first * at + state)).squeeze(2)
        state = at + time_decay * state
    return out, state


# def wkv5_parallel(r, k, v, w, u):
#     B, H, T, S = r.shape
#     idx = torch.arange(T)
#     d = idx[:, None] - idx[None, :]
#     ...  numerically unstable for T > 64
