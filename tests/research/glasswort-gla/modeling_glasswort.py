from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.utils.checkpoint
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .cache import StateCache
from .configuration_glasswort import GlasswortConfig

logger = logging.get_logger(__name__)

try:
    from fla.ops.gla import chunk_gla, fused_recurrent_gla
    from fla.modules import FusedCrossEntropyLoss
except Exception:
    chunk_gla = fused_recurrent_gla = FusedCrossEntropyLoss = None


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)).to(x) * self.weight


class ShortConvolution(nn.Conv1d):
    def __init__(self, dim, kernel):
        super().__init__(dim, dim, kernel, groups=dim, bias=False, padding=0)

    def forward(self, x, cache=None):
        x = x.transpose(1, 2)
        k = self.kernel_size[0]
        prev = cache if cache is not None else x.new_zeros(x.shape[0], x.shape[1], k - 1)
        full = torch.cat([prev, x], -1)
        y = F.silu(F.conv1d(full, self.weight, groups=self.groups))
        return y.transpose(1, 2), full[..., -(k - 1):]


def naive_recurrent(q, k, v, g, beta, state):
    """q, k: B H T K,  v: B H T V,  g: log decay B H T K, beta: B H T or None"""
    outs = []
    for t in range(q.shape[2]):
        state = state * g[:, :, t].exp()[..., None]
        kt, vt = k[:, :, t], v[:, :, t]
        if beta is not None:
            old = torch.einsum("bhk,bhkv->bhv", kt, state)
            vt = (vt - old) * beta[:, :, t, None]
        state = state + kt[..., None] * vt[..., None, :]
        outs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], state))
    return torch.stack(outs, 2), state


class GatedLinearAttention(nn.Module):
    def __init__(self, config: GlasswortConfig, layer_idx: int):
        super().__init__()
        h = config.hidden_size
        self.layer_idx = layer_idx
        self.num_heads = config.num_heads
        self.key_dim, self.value_dim = int(h * config.expand_k), int(h * config.expand_v)
        self.use_short_conv = config.use_short_conv
        self.norm_factor = config.gate_logit_normalizer
        self.delta = config.delta_rule
        self.q_proj = nn.Linear(h, self.key_dim, bias=False)
        self.k_proj = nn.Linear(h, self.key_dim, bias=False)
        self.v_proj = nn.Linear(h, self.value_dim, bias=False)
        self.g_proj = nn.Linear(h, self.value_dim, bias=False)
        if self.use_short_conv:
            self.q_conv1d = ShortConvolution(self.key_dim, config.conv_size)
            self.k_conv1d = ShortConvolution(self.key_dim, config.conv_size)
            self.v_conv1d = ShortConvolution(self.value_dim, config.conv_size)
        if self.delta:
            self.b_proj = nn.Linear(h, self.num_heads, bias=False)
        self.gk_proj = nn.Sequential(nn.Linear(h, config.gate_low_rank_dim, bias=False),
                                     nn.Linear(config.gate_low_rank_dim, self.key_dim, bias=True))
        self.o_proj = nn.Linear(self.value_dim, h, bias=False)
        self.g_norm = RMSNorm(self.value_dim // self.num_heads, config.norm_eps)

    def heads(self, x):
        return x.view(*x.shape[:2], self.num_heads, -1).transpose(1, 2)

    def forward(self, x, past: Optional[StateCache] = None, use_cache=False):
        last = past[self.layer_idx] if past is not None and len(past) > self.layer_idx else None
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        conv = (None, None, None)
        if self.use_short_conv:
            c = last["conv_state"] if last is not None else conv
            q, cq = self.q_conv1d(q, c[0])
            k, ck = self.k_conv1d(k, c[1])
            v, cv = self.v_conv1d(v, c[2])
            conv = (cq, ck, cv)
        gk = F.logsigmoid(self.gk_proj(x)) / self.norm_factor
        q, k, v, gk = map(self.heads, (q, k, v, gk))
        beta = None
        if self.delta:
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
            beta = self.b_proj(x).sigmoid().transpose(1, 2)
        else:
            q = q * q.shape[-1] ** -0.5
        state = last["recurrent_state"] if last is not None else \
            x.new_zeros(x.shape[0], self.num_heads, q.shape[-1], v.shape[-1])
        o, state = naive_recurrent(q, k, v, gk, beta, state)
        if past is not None:
            past.update(recurrent_state=state, conv_state=conv, layer_idx=self.layer_idx, offset=x.shape[1])
        o = self.g_norm(o.transpose(1, 2)).flatten(2) * F.silu(self.g_proj(x))
        return self.o_proj(o), past


class GlasswortMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        inter = config.intermediate_size or config.hidden_size * config.hidden_ratio
        self.gate_proj = nn.Linear(config.hidden_size, inter * 2, bias=False)
        self.down_proj = nn.Linear(inter, config.hidden_size, bias=False)

    def forward(self, x):
        g, y = self.gate_proj(x).chunk(2, -1)
        return self.down_proj(F.silu(g) * y)


class GlasswortBlock(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.attn_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.attn = GatedLinearAttention(config, layer_idx)
        self.mlp_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = GlasswortMLP(config)

    def forward(self, x, past=None, use_cache=False):
        a, past = self.attn(self.attn_norm(x), past, use_cache)
        x = x + a
        return x + self.mlp(self.mlp_norm(x)), past


class GlasswortPreTrainedModel(PreTrainedModel):
    config_class = GlasswortConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["GlasswortBlock"]
    _supports_cache_class = True

    def _init_weights(self, module, rescale_prenorm_residual=True, num_residuals_per_layer=2):
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            nn.init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)


class GlasswortModel(GlasswortPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([GlasswortBlock(config, i) for i in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def set_input_embeddings(self, value):
        self.embeddings = value

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, past_key_values=None, use_cache=None,
                output_attentions=None, output_hidden_states=None, return_dict=None):
        if output_attentions:
            warnings.warn("`GlasswortModel` does not `output_attentions` now, setting it to `False`.")
        use_cache = use_cache if use_cache is not None else (self.config.use_cache if not self.training else False)
        x = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and not isinstance(past_key_values, StateCache):
            past_key_values = StateCache.from_legacy_cache(past_key_values)
        for layer in self.layers:
            x, past_key_values = layer(x, past_key_values if use_cache else None, use_cache)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x), past_key_values=past_key_values)


class GlasswortForCausalLM(GlasswortPreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        self.model = GlasswortModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.criterion = None
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def generate(self, *args, **kwargs):
        try:
            return super().generate(*args, **kwargs)
        except AttributeError as exception:
            if "past_key_values" in str(exception):
                raise AttributeError(
                    f"You tried to call `generate` with a decoding strategy that manipulates `past_key_values`, "
                    f"which is not supported for {self.__class__.__name__}.")
            else:
                raise exception

    def prepare_inputs_for_generation(self, input_ids=None, past_key_values=None, attention_mask=None,
                                      inputs_embeds=None, use_cache: bool = True, **kwargs):
        # only last token for `inputs_ids` if the `past_key_values` is not empty.
        if past_key_values is not None and len(past_key_values) > 0:
            input_ids = input_ids[:, -1:]
        if inputs_embeds is not None and len(past_key_values) == 0:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids.contiguous()}
        model_inputs.update({"past_key_values": past_key_values, "use_cache": use_cache,
                             "attention_mask": attention_mask})
        return model_inputs

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, past_key_values=None, labels=None,
                use_cache=None, output_attentions=None, output_hidden_states=None, return_dict=None, **kwargs):
        outputs = self.model(input_ids, attention_mask, inputs_embeds, past_key_values, use_cache)
        logits = self.lm_head(outputs[0])
        loss = None
        if labels is not None:
            if self.criterion is None:
                self.criterion = FusedCrossEntropyLoss(inplace_backward=True) if (
                    FusedCrossEntropyLoss is not None and self.config.fuse_cross_entropy) else nn.CrossEntropyLoss()
            labels = torch.cat((labels[..., 1:], torch.full_like(labels[:, :1], -100)), 1)
            loss = self.criterion(logits.view(labels.numel(), -1), labels.view(-1))
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values)
