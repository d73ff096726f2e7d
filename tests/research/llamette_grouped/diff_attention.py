"""Differential attention on top of the Llama attention of transformers."""
import math
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.cache_utils import Cache
from transformers.models.llama.modeling_llama import LlamaRMSNorm, apply_rotary_pos_emb, repeat_kv


def lambda_at(config, layer_idx: int) -> float:
    if not config.lambda_per_layer:
        return config.lambda_init
    return config.lambda_init * (1.0 - 0.6 * math.exp(-0.3 * layer_idx))


class DiffAttention(nn.Module):
    def __init__(self, config, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.num_kv = config.num_key_value_heads
        self.head_dim = getattr(config, "head_dim", None) or config.hidden_size // self.num_heads
        self.groups = self.num_heads // self.num_kv
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, self.num_heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, self.num_kv * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, self.num_kv * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(self.num_heads * self.head_dim, config.hidden_size, bias=bias)
        self.lambda_q = nn.Parameter(torch.zeros(self.head_dim).normal_(mean=0, std=0.1))
        self.lambda_k = nn.Parameter(torch.zeros(self.head_dim).normal_(mean=0, std=0.1))
        self.lambda_start = lambda_at(config, layer_idx)
        self.sub_norm = LlamaRMSNorm(self.head_dim, eps=config.sub_norm_eps)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: Tuple[torch.Tensor, torch.Tensor],
        attention_mask: Optional[torch.Tensor] = None,
        past_key_value: Optional[Cache] = None,
        cache_position: Optional[torch.LongTensor] = None,
        **kwargs,
    ):
        batch, length, _ = hidden_states.shape
        q = self.q_proj(hidden_states).view(batch, length, self.num_heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(hidden_states).view(batch, length, self.num_kv, self.head_dim).transpose(1, 2)
        v = self.v_proj(hidden_states).view(batch, length, self.num_kv, self.head_dim).transpose(1, 2)
        cos, sin = position_embeddings
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        if past_key_value is not None:
            k, v = past_key_value.update(
                k, v, self.layer_idx, {"sin": sin, "cos": cos, "cache_position": cache_position}
            )
        k, v = repeat_kv(k, self.groups), repeat_kv(v, self.groups)
        scores = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(self.head_dim)
        if attention_mask is not None:
            scores = scores + attention_mask[:, :, :, : k.shape[-2]]
        elif length > 1:
            past = k.shape[-2] - length
            blocked = torch.ones(length, k.shape[-2], dtype=torch.bool, device=q.device).triu(past + 1)
            scores = scores.masked_fill(blocked, torch.finfo(scores.dtype).min)
        weights = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        lam = torch.sigmoid((self.lambda_q * self.lambda_k).sum()) * self.lambda_start
        # every head has its neighbour's map taken away
        weights = weights - lam * weights.roll(1, dims=1)
        out = self.sub_norm(torch.matmul(weights, v)) * (1 - self.lambda_start)
        out = out.transpose(1, 2).reshape(batch, length, -1)
        return self.o_proj(out), weights
