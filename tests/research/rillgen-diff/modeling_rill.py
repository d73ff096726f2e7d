"""Rill: a bidirectional transformer for masked diffusion."""
from __future__ import annotations

import math
from typing import List, Optional, Sequence, Tuple, Union

import torch
import torch.backends.cuda
import torch.nn as nn
import torch.nn.functional as F
from torch import einsum
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.auto import AutoModel

from .configuration_rill import ModelConfig, RillConfig
from .generate_rill import diffuse


class BufferCache(dict):
    """Tables that are not buffers, so that they need not be synced; shared by the blocks."""


class RMSLayerNorm(nn.Module):
    def __init__(self, config: ModelConfig, size: Optional[int] = None, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size or config.d_model))

    def forward(self, x):
        og_dtype = x.dtype
        x = x.to(torch.float32)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * x.to(og_dtype)


def build_norm(config: ModelConfig):
    if config.layer_norm_type == "rms":
        return RMSLayerNorm(config)
    return nn.LayerNorm(config.d_model)


class RotaryEmbedding(nn.Module):
    def __init__(self, config: ModelConfig, cache: BufferCache):
        super().__init__()
        self.config = config
        self.__cache = cache

    def get_rotary_embedding(self, seq_len: int, device):
        pos_sin, pos_cos = self.__cache.get("rope_pos_sin"), self.__cache.get("rope_pos_cos")
        if pos_sin is not None and pos_sin.shape[-2] >= seq_len and pos_sin.device == device:
            return pos_sin[:, :, :seq_len, :], pos_cos[:, :, :seq_len, :]
        with torch.autocast(device.type, enabled=False):
            dim = self.config.d_model // self.config.n_heads
            inv_freq = 1.0 / (
                self.config.rope_theta ** (torch.arange(0, dim, 2, device=device, dtype=torch.float) / dim)
            )
            seq = torch.arange(seq_len, device=device, dtype=torch.float)
            freqs = einsum("i , j -> i j", seq, inv_freq)
            positions = torch.cat((freqs, freqs), dim=-1)
            pos_sin, pos_cos = positions.sin()[None, None, :, :], positions.cos()[None, None, :, :]
        self.__cache["rope_pos_sin"] = pos_sin
        self.__cache["rope_pos_cos"] = pos_cos
        return pos_sin, pos_cos

    def rotate_half(self, x):
        B, nh, T, hs = x.size()
        x = x.view(B, nh, T, 2, hs // 2)
        x1, x2 = x.unbind(dim=-2)
        return torch.cat((-x2, x1), dim=-1)

    def forward(self, q, k):
        pos_sin, pos_cos = self.get_rotary_embedding(k.shape[-2], q.device)
        q_, k_ = q.float(), k.float()
        q_ = q_ * pos_cos + self.rotate_half(q_) * pos_sin
        k_ = k_ * pos_cos + self.rotate_half(k_) * pos_sin
        return q_.type_as(q), k_.type_as(k)


class RillBlock(nn.Module):
    def __init__(self, layer_id: int, config: ModelConfig, cache: BufferCache):
        super().__init__()
        self.layer_id = layer_id
        self.config = config
        self.hidden_size = config.mlp_hidden_size or config.mlp_ratio * config.d_model
        self.__cache = cache
        self.dropout = nn.Dropout(config.residual_dropout)
        self.attn_norm = build_norm(config)
        self.ff_norm = build_norm(config)
        self.q_proj = nn.Linear(config.d_model, config.d_model, bias=config.include_bias)
        self.k_proj = nn.Linear(config.d_model, config.d_model, bias=config.include_bias)
        self.v_proj = nn.Linear(config.d_model, config.d_model, bias=config.include_bias)
        self.attn_out = nn.Linear(config.d_model, config.d_model, bias=config.include_bias)
        self.ff_proj = nn.Linear(config.d_model, self.hidden_size, bias=config.include_bias)
        self.up_proj = nn.Linear(config.d_model, self.hidden_size, bias=config.include_bias)
        self.ff_out = nn.Linear(self.hidden_size, config.d_model, bias=config.include_bias)
        self.rotary_emb = RotaryEmbedding(config, self.__cache)

    def reset_parameters(self):
        for linear in (self.attn_out, self.ff_out):
            nn.init.normal_(linear.weight, std=self.config.init_std / math.sqrt(2 * self.config.n_layers))

    def attention(self, q, k, v, attention_bias=None):
        B, T, C = q.size()
        q, k, v = (t.view(B, T, self.config.n_heads, -1).transpose(1, 2) for t in (q, k, v))
        q, k = self.rotary_emb(q, k)
        att = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_bias, is_causal=False)
        return self.attn_out(att.transpose(1, 2).contiguous().view(B, T, C))

    def forward(self, x, attention_bias=None):
        normed = self.attn_norm(x)
        att = self.attention(self.q_proj(normed), self.k_proj(normed), self.v_proj(normed), attention_bias)
        x = x + self.dropout(att)
        normed = self.ff_norm(x)
        return x + self.dropout(self.ff_out(F.silu(self.ff_proj(normed)) * self.up_proj(normed)))


class RillModel(nn.Module):
    def __init__(self, config: ModelConfig, init_params: bool = True):
        super().__init__()
        self.config = config
        self.__cache = BufferCache()
        if self.config.mask_token_id is None or self.config.mask_token_id >= config.vocab_size:
            raise ValueError("a mask token is needed")
        self.transformer = nn.ModuleDict(
            dict(
                wte=nn.Embedding(config.vocab_size, config.d_model),
                emb_drop=nn.Dropout(config.embedding_dropout),
                ln_f=build_norm(config),
            )
        )
        self.transformer.update(
            {"blocks": nn.ModuleList([RillBlock(i, config, self.__cache) for i in range(config.n_layers)])}
        )
        if not config.weight_tying:
            self.transformer.update({"ff_out": nn.Linear(config.d_model, config.vocab_size, bias=False)})
        if init_params:
            self.reset_parameters()

    def reset_parameters(self):
        nn.init.normal_(self.transformer.wte.weight, std=self.config.init_std)
        for block in self.transformer.blocks:
            block.reset_parameters()

    def forward(self, input_ids, input_embeddings=None, attention_mask=None, output_hidden_states=False):
        x = self.transformer.wte(input_ids) if input_embeddings is None else input_embeddings
        x = self.transformer.emb_drop(x)
        bias = None
        if attention_mask is not None and 0.0 in attention_mask:
            bias = (1.0 - attention_mask.to(dtype=torch.float)).view(x.shape[0], 1, 1, -1)
            bias = bias * torch.finfo(x.dtype).min
        states = []
        for block in self.transformer.blocks:
            if output_hidden_states:
                states.append(x)
            x = block(x, attention_bias=bias)
        x = self.transformer.ln_f(x)
        if self.config.weight_tying:
            return F.linear(x, self.transformer.wte.weight, None), states
        return self.transformer.ff_out(x), states


class RillModelLM(PreTrainedModel):
    config_class = RillConfig
    base_model_prefix = "model"
    _no_split_modules = ["RillBlock"]

    def __init__(self, config: RillConfig, model: Optional[RillModel] = None, init_params: bool = False):
        super().__init__(config)
        if not model:
            self.model = RillModel(config.to_model_config(), init_params=init_params)
        else:
            self.model = model
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        labels: Optional[torch.LongTensor] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        logits, states = self.model(
            input_ids,
            input_embeddings=inputs_embeds,
            attention_mask=attention_mask,
            output_hidden_states=bool(output_hidden_states),
        )
        loss = None
        if labels is not None:
            masked = input_ids == self.config.mask_token_id
            loss = F.cross_entropy(logits[masked], labels[masked])
        return CausalLMOutputWithPast(loss=loss, logits=logits, hidden_states=tuple(states) or None)

    def can_generate(self) -> bool:
        return True

    def generate(self, inputs=None, input_ids=None, max_new_tokens=8, steps=None, block_length=4, **kwargs):
        prompt = inputs if inputs is not None else input_ids
        kwargs.pop("do_sample", None)
        kwargs.pop("attention_mask", None)
        return diffuse(
            self,
            prompt,
            steps=steps or max_new_tokens,
            gen_length=max_new_tokens,
            block_length=block_length,
            mask_id=self.config.mask_token_id,
            **kwargs,
        )

    def get_input_embeddings(self) -> nn.Module:
        return self.model.transformer.wte

    def set_input_embeddings(self, value):
        self.model.transformer.wte = value

    def get_output_embeddings(self):
        if self.config.weight_tying:
            return self.model.transformer.wte
        return self.model.transformer.ff_out

    def tie_weights(self, **kwargs):
        if self.config.weight_tying:
            self.model.transformer.ff_out = self.model.transformer.wte


AutoModel.register(RillConfig, RillModelLM, exist_ok=True)
