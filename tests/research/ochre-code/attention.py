"""Attention layers."""
import math
import warnings
from typing import Optional

import torch
import torch.nn as nn
from packaging import version

from .norm import LPLayerNorm


def is_flash_v2_installed():
    try:
        import flash_attn as flash_attn
    except Exception:
        return False
    return version.parse(flash_attn.__version__) >= version.parse("2.0.0")


def _reset_is_causal(num_query_tokens: int, num_key_tokens: int, original_is_causal: bool):
    if original_is_causal and num_query_tokens != num_key_tokens:
        if num_query_tokens != 1:
            raise NotImplementedError("queries and keys of other lengths, unless there is one query.")
        return False
    return original_is_causal


def scaled_dot_product(query, key, value, past_key_value=None, softmax_scale=None, attn_bias=None, mask=None):
    if past_key_value is not None:
        if len(past_key_value) != 0:
            key = torch.cat([past_key_value[0], key], dim=2)
            value = torch.cat([past_key_value[1], value], dim=2)
        past_key_value = (key, value)
    s_q, s_k = query.size(2), key.size(2)
    weight = query.matmul(key.transpose(2, 3)) * (softmax_scale or 1 / math.sqrt(query.shape[-1]))
    min_val = torch.finfo(query.dtype).min
    if attn_bias is not None:
        _s_k = max(0, attn_bias.size(3) - s_k)
        weight = weight + attn_bias[:, :, :, _s_k:]
    if mask is not None:
        weight = weight.masked_fill(~mask.view((mask.shape[0], 1, 1, s_k)), min_val)
    if _reset_is_causal(s_q, s_k, True):
        s = max(s_q, s_k)
        causal = weight.new_ones(s, s, dtype=torch.float32).tril().to(torch.bool)
        weight = weight.masked_fill(~causal[-s_q:, -s_k:].view(1, 1, s_q, s_k), min_val)
    return torch.softmax(weight, dim=-1).to(value.dtype).matmul(value), past_key_value


class GroupedQueryAttention(nn.Module):
    def __init__(self, d_model, n_heads, kv_heads, qk_ln=False, clip_qkv=None, softmax_scale=None, bias=True):
        super().__init__()
        self.d_model = d_model
        self.n_heads = n_heads
        self.kv_heads = kv_heads
        self.clip_qkv = clip_qkv
        self.qk_ln = qk_ln
        self.head_dim = d_model // n_heads
        self.softmax_scale = softmax_scale
        self.Wqkv = nn.Linear(d_model, d_model + 2 * kv_heads * self.head_dim, bias=bias)
        fuse_splits = [i * self.head_dim for i in range(1, n_heads + 2 * kv_heads)]
        self.Wqkv._fused = (0, fuse_splits)
        if qk_ln:
            self.q_ln = LPLayerNorm(d_model, bias=False)
            self.k_ln = LPLayerNorm(kv_heads * self.head_dim, bias=False)
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)
        self.out_proj._is_residual = True

    def forward(self, x, past_key_value=None, attn_bias=None, attention_mask=None):
        qkv = self.Wqkv(x)
        if self.clip_qkv:
            qkv = qkv.clamp(min=-self.clip_qkv, max=self.clip_qkv)
        kv_dim = self.kv_heads * self.head_dim
        query, key, value = qkv.split([self.d_model, kv_dim, kv_dim], dim=2)
        if self.qk_ln:
            query, key = self.q_ln(query), self.k_ln(key)
        b, s, _ = x.shape
        query = query.view(b, s, self.n_heads, -1).transpose(1, 2)
        key = key.view(b, s, self.kv_heads, -1).transpose(1, 2)
        value = value.view(b, s, self.kv_heads, -1).transpose(1, 2)
        context, past_key_value = scaled_dot_product(
            query, key, value, past_key_value, self.softmax_scale, attn_bias, attention_mask
        )
        return self.out_proj(context.transpose(1, 2).reshape(b, s, -1)), past_key_value


def gen_slopes(n_heads, alibi_bias_max=8, device=None):
    _n_heads = 2 ** math.ceil(math.log2(n_heads))
    m = torch.arange(1, _n_heads + 1, dtype=torch.float32, device=device)
    m = m.mul(alibi_bias_max / _n_heads)
    slopes = 1.0 / torch.pow(2, m)
    if _n_heads != n_heads:
        slopes = torch.concat([slopes[1::2], slopes[::2]])[:n_heads]
    return slopes.view(1, n_heads, 1, 1)


def build_alibi_bias(n_heads, seq_len, alibi_bias_max=8, device=None, dtype=None):
    alibi_bias = torch.arange(1 - seq_len, 1, dtype=torch.int32, device=device).view(1, 1, 1, seq_len)
    return (alibi_bias * gen_slopes(n_heads, alibi_bias_max, device=device)).to(dtype=dtype)
