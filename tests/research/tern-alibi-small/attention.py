"""Attention layers."""
import math
import warnings
from typing import Any, List, Optional, Tuple

import torch
import torch.nn as nn
from packaging import version
from torch import nn

from .norm import LPLayerNorm


def _reset_is_causal(num_query_tokens: int, num_key_tokens: int, original_is_causal: bool) -> bool:
    if original_is_causal and num_query_tokens != num_key_tokens:
        if num_query_tokens != 1:
            raise NotImplementedError('query and key tokens differ, only q=1 is supported.')
        else:
            return False
    return original_is_causal


def scaled_multihead_dot_product_attention(query, key, value, n_heads, past_key_value=None, softmax_scale=None,
                                           attn_bias=None, key_padding_mask=None, is_causal=False, dropout_p=0.0,
                                           training=False, needs_weights=False, multiquery=False):
    kv_n_heads = 1 if multiquery else n_heads
    # was einops.rearrange, removed the dependency
    q = query.view(*query.shape[:2], n_heads, -1).permute(0, 2, 1, 3)
    k = key.view(*key.shape[:2], kv_n_heads, -1).permute(0, 2, 3, 1)
    v = value.view(*value.shape[:2], kv_n_heads, -1).permute(0, 2, 1, 3)
    if past_key_value is not None:
        if len(past_key_value) != 0:
            k = torch.cat([past_key_value[0], k], dim=3)
            v = torch.cat([past_key_value[1], v], dim=2)
        past_key_value = (k, v)
    (b, _, s_q, d) = q.shape
    s_k = k.size(-1)
    if softmax_scale is None:
        softmax_scale = 1 / math.sqrt(d)
    attn_weight = q.matmul(k) * softmax_scale
    if attn_bias is not None:
        _s_q = max(0, attn_bias.size(2) - s_q)
        _s_k = max(0, attn_bias.size(3) - s_k)
        attn_bias = attn_bias[:, :, _s_q:, _s_k:]
        attn_weight = attn_weight + attn_bias
    min_val = torch.finfo(q.dtype).min
    if key_padding_mask is not None:
        attn_weight = attn_weight.masked_fill(~key_padding_mask.view((b, 1, 1, s_k)), min_val)
    if is_causal and (not q.size(2) == 1):
        s = max(s_q, s_k)
        causal_mask = attn_weight.new_ones(s, s, dtype=torch.float32)
        causal_mask = causal_mask.tril().to(torch.bool)
        causal_mask = ~causal_mask
        causal_mask = causal_mask[-s_q:, -s_k:]
        attn_weight = attn_weight.masked_fill(causal_mask.view(1, 1, s_q, s_k), min_val)
    attn_weight = torch.softmax(attn_weight, dim=-1)
    if dropout_p:
        attn_weight = torch.nn.functional.dropout(attn_weight, p=dropout_p, training=training, inplace=True)
    out = attn_weight.to(v.dtype).matmul(v)
    out = out.transpose(1, 2).flatten(2)
    if needs_weights:
        return (out, attn_weight, past_key_value)
    return (out, None, past_key_value)


class MultiQueryAttention(nn.Module):
    def __init__(self, d_model: int, n_heads: int, attn_impl: str = 'torch', clip_qkv: Optional[float] = None,
                 qk_ln: bool = False, softmax_scale: Optional[float] = None, attn_pdrop: float = 0.0,
                 device: Optional[str] = None, multiquery: bool = True):
        super().__init__()
        self.attn_impl = attn_impl
        self.clip_qkv = clip_qkv
        self.qk_ln = qk_ln
        self.d_model = d_model
        self.n_heads = n_heads
        self.head_dim = d_model // n_heads
        self.multiquery = multiquery
        self.kv_dim = self.head_dim if multiquery else d_model
        self.softmax_scale = softmax_scale
        if self.softmax_scale is None:
            self.softmax_scale = 1 / math.sqrt(self.head_dim)
        self.attn_dropout_p = attn_pdrop
        self.Wqkv = nn.Linear(d_model, d_model + 2 * self.kv_dim, device=device)
        fuse_splits = (d_model, d_model + self.kv_dim)
        self.Wqkv._fused = (0, fuse_splits)
        if self.qk_ln:
            self.q_ln = LPLayerNorm(d_model, device=device)
            self.k_ln = LPLayerNorm(self.kv_dim, device=device)
        if self.attn_impl == 'torch':
            self.attn_fn = scaled_multihead_dot_product_attention
        else:
            raise ValueError(f'attn_impl={attn_impl!r} is an invalid setting.')
        self.out_proj = nn.Linear(self.d_model, self.d_model, device=device)
        self.out_proj._is_residual = True

    def forward(self, x, past_key_value=None, attn_bias=None, attention_mask=None, is_causal=True, needs_weights=False):
        qkv = self.Wqkv(x)
        if self.clip_qkv:
            qkv = qkv.clamp(min=-self.clip_qkv, max=self.clip_qkv)
        (query, key, value) = qkv.split([self.d_model, self.kv_dim, self.kv_dim], dim=2)
        key_padding_mask = attention_mask
        if self.qk_ln:
            dtype = query.dtype
            query = self.q_ln(query).to(dtype)
            key = self.k_ln(key).to(dtype)
        (context, attn_weights, past_key_value) = self.attn_fn(
            query, key, value, self.n_heads, past_key_value=past_key_value, softmax_scale=self.softmax_scale,
            attn_bias=attn_bias, key_padding_mask=key_padding_mask, is_causal=is_causal,
            dropout_p=self.attn_dropout_p, training=self.training, needs_weights=needs_weights,
            multiquery=self.multiquery)
        return (self.out_proj(context), attn_weights, past_key_value)


def gen_slopes(n_heads: int, alibi_bias_max: int = 8, device: Optional[torch.device] = None) -> torch.Tensor:
    _n_heads = 2 ** math.ceil(math.log2(n_heads))
    m = torch.arange(1, _n_heads + 1, dtype=torch.float32, device=device)
    m = m.mul(alibi_bias_max / _n_heads)
    slopes = 1.0 / torch.pow(2, m)
    if _n_heads != n_heads:
        slopes = torch.concat([slopes[1::2], slopes[::2]])[:n_heads]
    return slopes.view(1, n_heads, 1, 1)


def build_alibi_bias(n_heads, seq_len, full=False, alibi_bias_max=8, device=None, dtype=None):
    alibi_bias = torch.arange(1 - seq_len, 1, dtype=torch.int32, device=device).view(1, 1, 1, seq_len)
    if full:
        alibi_bias = alibi_bias - torch.arange(1 - seq_len, 1, dtype=torch.int32, device=device).view(1, 1, seq_len, 1)
        alibi_bias = alibi_bias.abs().mul(-1)
    slopes = gen_slopes(n_heads, alibi_bias_max, device=device)
    alibi_bias = alibi_bias * slopes
    return alibi_bias.to(dtype=dtype)
