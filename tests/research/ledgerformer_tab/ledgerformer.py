# %% [markdown]
# LedgerFormer: tokens per column, a CLS token, pre-norm blocks with ReGLU.
# (exported from my notebook, cells kept as comments)
import math
import typing as ty

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

try:
    from sklearn.preprocessing import QuantileTransformer
except ImportError:
    QuantileTransformer = None

try:
    import rtdl_revisiting_models as rtdl  # noqa: F401
    _HAS_RTDL = True
except ImportError:
    _HAS_RTDL = False


# %%
class LedgerConfig(PretrainedConfig):
    model_type = "ledgerformer"

    def __init__(self, cardinalities: ty.Sequence[int] = (), n_num: int = 0, d_token: int = 192, n_blocks: int = 3, n_heads: int = 8,
                 ffn_factor: float = 4 / 3, attention_dropout: float = 0.2, ffn_dropout: float = 0.1, n_frequencies: int = 0,
                 n_quantiles: int = 11, context_rows: int = 0, column_names: ty.Optional[ty.List[str]] = None, **kw):
        super().__init__(**kw)
        self.cardinalities = list(cardinalities)
        self.n_num = n_num
        self.d_token = d_token
        self.n_blocks = n_blocks
        self.n_heads = n_heads
        self.ffn_factor = ffn_factor
        self.attention_dropout = attention_dropout
        self.ffn_dropout = ffn_dropout
        self.n_frequencies = n_frequencies
        self.n_quantiles = n_quantiles
        self.context_rows = context_rows
        self.column_names = column_names


# %%
class QuantileScaler(nn.Module):
    """Piecewise linear map of every column on [0, 1]; knots live in the checkpoint."""

    def __init__(self, n_features: int, n_quantiles: int):
        super().__init__()
        knots = torch.linspace(-1.0, 1.0, n_quantiles).repeat(n_features, 1)
        self.register_buffer("knots", knots)
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))

    def fit(self, x: Tensor) -> "QuantileScaler":
        q = torch.linspace(0, 1, self.knots.shape[1], device=x.device)
        self.knots.copy_(torch.nanquantile(x.float(), q, dim=0).t())
        self.fitted.fill_(True)
        return self

    def forward(self, x: Tensor) -> Tensor:
        k = self.knots
        idx = torch.searchsorted(k, x.t().contiguous()).clamp(1, k.shape[1] - 1)
        lo, hi = k.gather(1, idx - 1), k.gather(1, idx)
        frac = ((x.t() - lo) / (hi - lo).clamp(min=1e-8)).clamp(0, 1)
        return (((idx - 1) + frac) / (k.shape[1] - 1)).t()


class Periodic(nn.Module):
    def __init__(self, n_features: int, n_frequencies: int, sigma: float = 0.5):
        super().__init__()
        self.coefficients = nn.Parameter(torch.empty(n_features, n_frequencies))
        self.sigma = sigma
        self.reset_parameters()

    def reset_parameters(self):
        bound = self.sigma * 3
        nn.init.trunc_normal_(self.coefficients, 0.0, self.sigma, a=-bound, b=bound)

    def forward(self, x: Tensor) -> Tensor:
        x = 2 * math.pi * self.coefficients * x[..., None]
        return torch.cat([torch.cos(x), torch.sin(x)], -1)


class NLinear(nn.Module):
    """one linear map per feature"""

    def __init__(self, n: int, d_in: int, d_out: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n, d_in, d_out))
        self.bias = nn.Parameter(torch.empty(n, d_out))
        self.reset_parameters()

    def reset_parameters(self):
        bound = self.weight.shape[1] ** -0.5
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bni,nio->bno", x, self.weight) + self.bias


# %%
class Tokenizer(nn.Module):
    def __init__(self, c: LedgerConfig):
        super().__init__()
        self.scaler = QuantileScaler(c.n_num, c.n_quantiles) if c.n_num else None
        self.periodic = Periodic(c.n_num, c.n_frequencies) if c.n_num and c.n_frequencies else None
        d_in = 2 * c.n_frequencies if c.n_frequencies else 1
        self.numeric = NLinear(c.n_num, d_in, c.d_token) if c.n_num else None
        if c.cardinalities:
            # +1: unknown category, index 0 after the shift
            offsets = torch.tensor([0] + [k + 1 for k in c.cardinalities[:-1]]).cumsum(0)
            self.register_buffer("category_offsets", offsets)
            self.categories = nn.Embedding(sum(c.cardinalities) + len(c.cardinalities), c.d_token)
            self.category_bias = nn.Parameter(torch.zeros(len(c.cardinalities), c.d_token))
        else:
            self.category_offsets = None
        self.cls = nn.Parameter(torch.zeros(1, 1, c.d_token))

    def forward(self, x_num: ty.Optional[Tensor], x_cat: ty.Optional[Tensor]) -> Tensor:
        some = x_num if x_num is not None else x_cat
        tokens = [self.cls.expand(len(some), -1, -1)]
        if x_num is not None:
            missing = torch.isnan(x_num)
            x = self.scaler(torch.nan_to_num(x_num))
            x = self.periodic(x) if self.periodic is not None else x[..., None]
            t = self.numeric(x)
            tokens.append(torch.where(missing[..., None], self.numeric.bias, t))
        if x_cat is not None:
            tokens.append(self.categories(x_cat + 1 + self.category_offsets[None]) + self.category_bias)
        return torch.cat(tokens, dim=1)


class Block(nn.Module):
    def __init__(self, c: LedgerConfig, first: bool):
        super().__init__()
        self.norm0 = nn.Identity() if first else nn.LayerNorm(c.d_token)
        self.attn = nn.MultiheadAttention(c.d_token, c.n_heads, dropout=c.attention_dropout, batch_first=True)
        self.norm1 = nn.LayerNorm(c.d_token)
        hidden = int(c.d_token * c.ffn_factor)
        self.lin0 = nn.Linear(c.d_token, hidden * 2)
        self.lin1 = nn.Linear(hidden, c.d_token)
        self.drop = nn.Dropout(c.ffn_dropout)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm0(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        a, b = self.lin0(self.norm1(x)).chunk(2, -1)
        return x + self.lin1(self.drop(a * F.relu(b)))


class RowMixer(nn.Module):
    """Rows of a batch look at each other (SAINT-like), only through their CLS tokens."""

    def __init__(self, d: int):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.q, self.k, self.v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)
        self.gate = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, k: int) -> Tensor:
        y = self.norm(x)
        s = self.q(y) @ self.k(y).t() / math.sqrt(x.shape[-1])
        top = s.topk(min(k, len(x)), dim=-1)
        mask = torch.full_like(s, float("-inf")).scatter(1, top.indices, 0.0)
        return x + torch.tanh(self.gate) * ((s + mask).softmax(-1) @ self.v(y))


# %%
class LedgerFormer(PreTrainedModel):
    config_class = LedgerConfig
    base_model_prefix = "ledger"
    main_input_name = "x_num"

    def __init__(self, config: LedgerConfig):
        super().__init__(config)
        self.tokenizer = Tokenizer(config)
        self.blocks = nn.ModuleList(Block(config, i == 0) for i in range(config.n_blocks))
        self.mixer = RowMixer(config.d_token) if config.context_rows else None
        self.norm = nn.LayerNorm(config.d_token)
        self.head = nn.Linear(config.d_token, config.num_labels)
        self.post_init()

    def _init_weights(self, module):
        if hasattr(module, "reset_parameters") and isinstance(module, (Periodic, NLinear)):
            module.reset_parameters()

    def forward(self, x_num: ty.Optional[Tensor] = None, x_cat: ty.Optional[Tensor] = None) -> Tensor:
        x = self.tokenizer(x_num, x_cat)
        for b in self.blocks:
            x = b(x)
        x = x[:, 0]
        if self.mixer is not None:
            x = self.mixer(x, self.config.context_rows)
        return self.head(F.relu(self.norm(x)))

    # sklearn-ish -------------------------------------------------------------
    def fit_scaler(self, x_num: np.ndarray) -> "LedgerFormer":
        self.tokenizer.scaler.fit(torch.as_tensor(x_num))
        return self

    @torch.no_grad()
    def predict_proba(self, x_num: np.ndarray, x_cat: np.ndarray, batch_size: int = 1024) -> np.ndarray:
        self.eval()
        out = []
        for i in range(0, len(x_num), batch_size):
            a = torch.as_tensor(x_num[i : i + batch_size], dtype=torch.float32, device=self.device)
            b = torch.as_tensor(x_cat[i : i + batch_size], dtype=torch.long, device=self.device)
            out.append(self(a, b).softmax(-1).cpu().numpy())
        return np.concatenate(out)

    def predict(self, x_num, x_cat):
        return self.predict_proba(x_num, x_cat).argmax(1)

    def column_importance(self, x_num: Tensor, x_cat: Tensor) -> ty.Dict[str, float]:
        """how far does the output move when a column is shuffled"""
        base = self(x_num, x_cat)
        names = self.config.column_names or [f"col{i}" for i in range(self.config.n_num + len(self.config.cardinalities))]
        out = {}
        for i, name in enumerate(names):
            perm = torch.randperm(len(x_num))
            a, b = x_num.clone(), x_cat.clone()
            if i < self.config.n_num:
                a[:, i] = a[perm, i]
            else:
                b[:, i - self.config.n_num] = b[perm, i - self.config.n_num]
            out[name] = (self(a, b) - base).abs().mean().item()
        return out
