from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_culvert import CulvertConfig
from .scaling_culvert import InstanceScaler, pinball_loss

logger = logging.get_logger(__name__)


@dataclass
class CulvertModelOutput(ModelOutput):
    last_hidden_state: torch.FloatTensor | None = None
    loc: torch.FloatTensor | None = None
    scale: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class CulvertForecastOutput(ModelOutput):
    loss: torch.FloatTensor | None = None
    mean_preds: torch.FloatTensor | None = None
    quantile_preds: torch.FloatTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None


class CulvertRMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


class CulvertResidualBlock(nn.Module):
    """Two-layer MLP beside a linear skip, used at both ends of the network."""

    def __init__(self, in_dim, hidden_dim, out_dim, act):
        super().__init__()
        self.input_layer = nn.Linear(in_dim, hidden_dim)
        self.act = ACT2FN[act]
        self.output_layer = nn.Linear(hidden_dim, out_dim)
        self.residual_layer = nn.Linear(in_dim, out_dim)

    def forward(self, x):
        return self.output_layer(self.act(self.input_layer(x))) + self.residual_layer(x)


class CulvertRotary(nn.Module):
    inv_freq: torch.Tensor

    def __init__(self, config: CulvertConfig):
        super().__init__()
        self.dim = config.hidden_size // config.num_attention_heads
        self.base = config.rope_base
        self.register_buffer("inv_freq", self.compute_inv_freq(), persistent=False)

    def compute_inv_freq(self, device=None) -> torch.Tensor:
        steps = torch.arange(0, self.dim, 2, dtype=torch.int64).to(device=device, dtype=torch.float)
        return 1.0 / (self.base ** (steps / self.dim))

    def forward(self, position_ids, dtype):
        freqs = position_ids[..., None].float() * self.inv_freq
        emb = torch.cat([freqs, freqs], dim=-1)
        return emb.cos().to(dtype)[:, None], emb.sin().to(dtype)[:, None]


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-b, a], dim=-1) * sin


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    probs = F.dropout(scores.float().softmax(dim=-1).to(query.dtype), p=dropout, training=module.training)
    return (probs @ value).transpose(1, 2).contiguous(), probs


class CulvertAttention(nn.Module):
    def __init__(self, config: CulvertConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.attention_dropout = config.attention_dropout
        self.is_causal = True
        # learned temperature per channel instead of 1/sqrt(d)
        self.query_scale = nn.Parameter(torch.zeros(self.head_dim))
        self.qkv_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x, attention_mask, cos, sin, **kwargs):
        b, n, _ = x.shape
        q, k, v = self.qkv_proj(x).view(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        q = q * (F.softplus(self.query_scale) * (1.442695041 / self.head_dim**0.5))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        out, weights = attention_interface(
            self, q, k, v, attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=1.0,
            **kwargs,
        )
        return self.o_proj(out.reshape(b, n, -1)), weights


class CulvertMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_up_proj = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x):
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)
        return self.down_proj(self.act_fn(gate) * up)


class CulvertLayer(GradientCheckpointingLayer):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.input_layernorm = CulvertRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = CulvertAttention(config, layer_idx)
        self.post_attention_layernorm = CulvertRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = CulvertMLP(config)

    def forward(self, hidden_states, attention_mask, cos, sin):
        attn, _ = self.self_attn(self.input_layernorm(hidden_states), attention_mask, cos, sin)
        hidden_states = hidden_states + attn
        return hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))


class CulvertPreTrainedModel(PreTrainedModel):
    config: CulvertConfig
    config_class = CulvertConfig
    base_model_prefix = "model"
    main_input_name = "past_values"
    input_modalities = ("time",)
    supports_gradient_checkpointing = True
    _no_split_modules = ["CulvertLayer"]
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, CulvertAttention):
            init.zeros_(module.query_scale)
        elif isinstance(module, CulvertRotary):
            init.copy_(module.inv_freq, module.compute_inv_freq(device=module.inv_freq.device))


class CulvertModel(CulvertPreTrainedModel):
    def __init__(self, config: CulvertConfig):
        super().__init__(config)
        self.scaler = InstanceScaler(config.scaling, config.tolerance)
        self.patch_embedding = CulvertResidualBlock(
            2 * config.patch_length, config.intermediate_size, config.hidden_size, config.hidden_act
        )
        self.freq_embedding = (
            nn.Embedding(config.num_frequencies, config.hidden_size) if config.use_frequency_token else None
        )
        self.layers = nn.ModuleList([CulvertLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = CulvertRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = CulvertRotary(config)
        self.post_init()

    def _patchify(self, values, observed):
        p = self.config.patch_length
        values, observed = values[:, -self.config.context_length :], observed[:, -self.config.context_length :]
        lack = -values.shape[-1] % p
        if lack:
            values, observed = F.pad(values, (lack, 0)), F.pad(observed, (lack, 0))
        return values, observed

    def _mask(self, patch_seen, dtype):
        n = patch_seen.shape[1]
        causal = torch.ones(n, n, dtype=torch.bool, device=patch_seen.device).tril()
        allowed = causal[None] & patch_seen[:, None, :]
        # a patch always sees itself, or its row would have no key
        allowed = allowed | torch.eye(n, dtype=torch.bool, device=patch_seen.device)
        mask = torch.zeros(allowed.shape, dtype=dtype, device=patch_seen.device)
        return mask.masked_fill(~allowed, torch.finfo(dtype).min).unsqueeze(1)

    def forward(
        self,
        past_values: torch.FloatTensor,
        past_observed_mask: torch.Tensor | None = None,
        freq: torch.LongTensor | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> CulvertModelOutput:
        if past_values.dim() == 1:
            past_values = past_values.unsqueeze(0)
        observed = torch.isfinite(past_values).to(past_values.dtype)
        if past_observed_mask is not None:
            observed = observed * past_observed_mask.to(observed.dtype)
        past_values = torch.nan_to_num(past_values, nan=0.0, posinf=0.0, neginf=0.0)
        values, observed = self._patchify(past_values, observed)
        values, loc, scale = self.scaler(values, observed)

        b, p = values.shape[0], self.config.patch_length
        patches = torch.cat([values.view(b, -1, p), observed.view(b, -1, p)], dim=-1)
        seen = observed.view(b, -1, p).any(dim=-1)
        hidden_states = self.patch_embedding(patches.to(self.patch_embedding.input_layer.weight.dtype))
        if self.freq_embedding is not None:
            if freq is None:
                freq = torch.zeros(b, dtype=torch.long, device=values.device)
            hidden_states = hidden_states + self.freq_embedding(freq.view(-1, 1))

        position_ids = (seen.long().cumsum(-1) - 1).clamp(min=0)
        cos, sin = self.rotary_emb(position_ids, hidden_states.dtype)
        mask = self._mask(seen, hidden_states.dtype)
        states = [hidden_states]
        for layer in self.layers:
            hidden_states = layer(hidden_states, mask, cos, sin)
            states.append(hidden_states)
        return CulvertModelOutput(
            last_hidden_state=self.norm(hidden_states),
            loc=loc,
            scale=scale,
            hidden_states=tuple(states) if output_hidden_states else None,
        )


class CulvertForForecasting(CulvertPreTrainedModel):
    def __init__(self, config: CulvertConfig):
        super().__init__(config)
        self.model = CulvertModel(config)
        self.horizon_head = CulvertResidualBlock(
            config.hidden_size,
            config.intermediate_size,
            config.horizon_length * (1 + config.num_quantiles),
            config.hidden_act,
        )
        self.post_init()

    def forward(
        self,
        past_values: torch.FloatTensor,
        past_observed_mask: torch.Tensor | None = None,
        future_values: torch.FloatTensor | None = None,
        freq: torch.LongTensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> tuple | CulvertForecastOutput:
        outputs = self.model(past_values, past_observed_mask, freq, output_hidden_states=output_hidden_states)
        last = outputs.last_hidden_state[:, -1]
        preds = self.horizon_head(last).view(last.shape[0], self.config.horizon_length, -1)
        preds = InstanceScaler.restore(preds, outputs.loc, outputs.scale)
        mean, quantiles = preds[..., 0], preds[..., 1:]

        loss = None
        if future_values is not None:
            future_values = future_values[:, : self.config.horizon_length]
            n = future_values.shape[1]
            loss = F.mse_loss(mean[:, :n], future_values) + pinball_loss(
                quantiles[:, :n], future_values, self.config.quantiles
            )
        if return_dict is False:
            return (loss, mean, quantiles) if loss is not None else (mean, quantiles)
        return CulvertForecastOutput(
            loss=loss,
            mean_preds=mean,
            quantile_preds=quantiles,
            last_hidden_state=outputs.last_hidden_state,
            hidden_states=outputs.hidden_states,
        )

    @torch.no_grad()
    def predict(self, past_values, prediction_length: int, freq=None, sort_quantiles: bool = True):
        """Roll the median forward until `prediction_length` values are there."""
        context, parts, done = past_values, [], 0
        median = min(range(self.config.num_quantiles), key=lambda i: abs(self.config.quantiles[i] - 0.5))
        while done < prediction_length:
            q = self(past_values=context, freq=freq).quantile_preds
            parts.append(q)
            done += q.shape[1]
            context = torch.cat([context, q[..., median]], dim=-1)
        out = torch.cat(parts, dim=1)[:, :prediction_length]
        return out.sort(dim=-1).values if sort_quantiles else out


__all__ = ["CulvertForForecasting", "CulvertModel", "CulvertPreTrainedModel"]
