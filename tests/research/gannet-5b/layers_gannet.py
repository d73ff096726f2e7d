"""Parts of the Gannet decoder."""

from collections.abc import Callable

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.integrations import use_kernel_forward_from_hub
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs

from .configuration_gannet import GannetConfig


@use_kernel_forward_from_hub("RMSNorm")
class GannetRMSNorm(nn.Module):
    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.variance_epsilon = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.float()
        return self.weight * (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.variance_epsilon)).to(x.dtype)


class GannetRotaryEmbedding(nn.Module):
    def __init__(self, config: GannetConfig):
        super().__init__()
        self.max_seq_len_cached = config.max_position_embeddings
        self.original_max_seq_len = config.max_position_embeddings
        self.config = config
        self.rope_type = config.rope_parameters["rope_type"]
        make: Callable = self.compute_default_rope_parameters
        if self.rope_type != "default":
            make = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = make(config)
        self.inv_freq = nn.Buffer(inv_freq, persistent=False)
        self.original_inv_freq = nn.Buffer(inv_freq.clone(), persistent=False)

    @staticmethod
    def compute_default_rope_parameters(config: GannetConfig, **kwargs) -> tuple[torch.Tensor, float]:
        steps = torch.arange(0, config.head_dim, 2, dtype=torch.float) / config.head_dim
        return config.rope_parameters["rope_theta"] ** -steps, 1.0

    @dynamic_rope_update
    def forward(self, x, position_ids):
        angles = position_ids[..., None].float() * self.inv_freq.to(device=x.device, dtype=torch.float)
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(x.dtype), sin.to(x.dtype)


def apply_rotary(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return x * cos[:, None] + torch.cat((-b, a), dim=-1) * sin[:, None]


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    groups = module.num_key_value_groups
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    weights = query @ key.mT * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class GannetAttention(nn.Module):
    def __init__(self, config: GannetConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        self.is_causal = True
        self.wq = nn.Linear(config.hidden_size, config.num_attention_heads * self.head_dim, bias=False)
        self.wk = nn.Linear(config.hidden_size, config.num_key_value_heads * self.head_dim, bias=False)
        self.wv = nn.Linear(config.hidden_size, config.num_key_value_heads * self.head_dim, bias=False)
        self.wo = nn.Linear(config.num_attention_heads * self.head_dim, config.hidden_size, bias=False)
        self.mix = nn.Parameter(torch.full((1,), config.value_residual)) if layer_idx else None

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        first_value: torch.Tensor | None = None,
        cache: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        q = apply_rotary(self.wq(hidden_states).view(shape).transpose(1, 2), *position_embeddings)
        k = apply_rotary(self.wk(hidden_states).view(shape).transpose(1, 2), *position_embeddings)
        v = self.wv(hidden_states).view(shape).transpose(1, 2)
        if first_value is None:
            first_value = v
        else:
            v = torch.lerp(v, first_value, self.mix)
        if cache is not None:
            k, v = cache.update(k, v, self.layer_idx)
        attention = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        out, weights = attention(
            self,
            q,
            k,
            v,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.wo(out.flatten(2)), weights, first_value


class GannetMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.gate = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, x):
        return self.down(self.act(self.gate(x)) * self.up(x))


class GannetDecoderLayer(GradientCheckpointingLayer):
    def __init__(self, config: GannetConfig, layer_idx: int):
        super().__init__()
        self.attn = GannetAttention(config, layer_idx)
        self.mlp = GannetMLP(config)
        self.norm_in = GannetRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.norm_mid = GannetRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, hidden_states, first_value=None, **kwargs: Unpack[TransformersKwargs]):
        attended, _, first_value = self.attn(self.norm_in(hidden_states), first_value=first_value, **kwargs)
        hidden_states = hidden_states + attended
        return hidden_states + self.mlp(self.norm_mid(hidden_states)), first_value
