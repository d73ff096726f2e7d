import torch


class RotaryEmbedding(torch.nn.Module):
    def __init__(self, dim: int, base=10000.0, device=None):
        super().__init__()
        self.dim = dim
        self._base = float(base)
        self.register_buffer("inv_freq", self._compute_inv_freq(device), persistent=False)
        self._seq_len_cached = 0
        self._cos_cached = None
        self._sin_cached = None

    @property
    def base(self):
        return self._base

    @base.setter
    def base(self, new_base):
        # a larger base at inference than in training
        if new_base <= 0:
            raise ValueError("Rotary base value must be positive")
        self._base = float(new_base)
        self.register_buffer("inv_freq", self._compute_inv_freq(self.inv_freq.device), persistent=False)
        self._seq_len_cached = 0

    def _compute_inv_freq(self, device=None):
        return 1.0 / (self._base ** (torch.arange(0, self.dim, 2, device=device, dtype=torch.float32) / self.dim))

    def _update_cos_sin_cache(self, seqlen, device=None, dtype=None):
        if (
            seqlen > self._seq_len_cached
            or self._cos_cached is None
            or self._cos_cached.device != device
            or self._cos_cached.dtype != dtype
        ):
            self._seq_len_cached = seqlen
            t = torch.arange(seqlen, device=device, dtype=torch.float32)
            freqs = torch.outer(t, self.inv_freq.to(device=t.device, dtype=torch.float32))
            emb = torch.cat([freqs, freqs], dim=-1)
            self._cos_cached = emb.cos().to(dtype)
            self._sin_cached = emb.sin().to(dtype)

    def forward(self, qkv):
        """qkv: [B, T, 3, H, D]; v is left as it is"""
        T = qkv.shape[1]
        self._update_cos_sin_cache(T, device=qkv.device, dtype=qkv.dtype)
        cos = self._cos_cached[None, :T, None, None]
        sin = self._sin_cached[None, :T, None, None]
        qk, v = qkv[:, :, :2], qkv[:, :, 2:]
        a, b = qk.chunk(2, dim=-1)
        return torch.cat([qk * cos + torch.cat([-b, a], dim=-1) * sin, v], dim=2)
