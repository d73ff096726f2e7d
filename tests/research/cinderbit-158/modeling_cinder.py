import math
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import transformers
from packaging import version
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import logging

from .configuration_cinder import CinderConfig
from .utils_quant import BitLinear

logger = logging.get_logger(__name__)
_V5 = version.parse(transformers.__version__).major >= 5


def _tied(target, source):
    # transformers 5 wants a mapping, 4 a list
    return {target: source} if _V5 else [target]


class CinderRMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * y.to(x.dtype)


class CinderRotary(nn.Module):
    """No buffers: the table is cheap and depends on positions only"""

    def __init__(self, dim, base=10000.0):
        super().__init__()
        self.dim, self.base = dim, base

    @torch.no_grad()
    def forward(self, x, position_ids):
        inv_freq = 1.0 / (self.base ** (torch.arange(0, self.dim, 2, device=x.device).float() / self.dim))
        freqs = position_ids[:, :, None].float() * inv_freq[None, None, :]
        emb = torch.cat((freqs, freqs), dim=-1)
        return emb.cos().to(x.dtype), emb.sin().to(x.dtype)


def rotate_half(x):
    x1, x2 = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2:]
    return torch.cat((-x2, x1), dim=-1)


def rope(q, k, cos, sin):
    cos, sin = cos[:, None], sin[:, None]
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


def repeat_kv(x, n):
    if n == 1:
        return x
    b, h, s, d = x.shape
    return x[:, :, None].expand(b, h, n, s, d).reshape(b, h * n, s, d)


def squared_relu(x):
    return F.relu(x) ** 2


class CinderMLP(nn.Module):
    def __init__(self, config: CinderConfig):
        super().__init__()
        kw = dict(bias=False, weight_bits=config.weight_bits, input_bits=config.input_bits)
        self.gate_proj = BitLinear(config.hidden_size, config.intermediate_size, **kw)
        self.up_proj = BitLinear(config.hidden_size, config.intermediate_size, **kw)
        self.down_proj = BitLinear(config.intermediate_size, config.hidden_size, **kw)
        self.act = squared_relu if config.act == "squared_relu" else F.silu
        self.ffn_norm = CinderRMSNorm(config.intermediate_size, config.rms_norm_eps)

    def forward(self, x):
        return self.down_proj(self.ffn_norm(self.act(self.gate_proj(x)) * self.up_proj(x)))


class CinderAttention(nn.Module):
    def __init__(self, config: CinderConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.h = config.num_attention_heads
        self.kv = config.num_key_value_heads
        self.d = config.hidden_size // self.h
        kw = dict(bias=False, weight_bits=config.weight_bits, input_bits=config.input_bits)
        self.q_proj = BitLinear(config.hidden_size, self.h * self.d, **kw)
        self.k_proj = BitLinear(config.hidden_size, self.kv * self.d, **kw)
        self.v_proj = BitLinear(config.hidden_size, self.kv * self.d, **kw)
        self.o_proj = BitLinear(self.h * self.d, config.hidden_size, **kw)
        self.attn_sub_norm = CinderRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, mask, cos, sin, past: Optional[Cache] = None):
        b, s, _ = x.shape
        q = self.q_proj(x).view(b, s, self.h, self.d).transpose(1, 2)
        k = self.k_proj(x).view(b, s, self.kv, self.d).transpose(1, 2)
        v = self.v_proj(x).view(b, s, self.kv, self.d).transpose(1, 2)
        q, k = rope(q, k, cos, sin)
        if past is not None:
            k, v = past.update(k, v, self.layer_idx)
        k, v = repeat_kv(k, self.h // self.kv), repeat_kv(v, self.h // self.kv)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(self.attn_sub_norm(o.transpose(1, 2).reshape(b, s, -1)))


class CinderLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.self_attn = CinderAttention(config, layer_idx)
        self.mlp = CinderMLP(config)
        self.input_layernorm = CinderRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = CinderRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, mask, cos, sin, past=None):
        x = x + self.self_attn(self.input_layernorm(x), mask, cos, sin, past)
        return x + self.mlp(self.post_attention_layernorm(x))


class CinderPreTrainedModel(PreTrainedModel):
    config_class = CinderConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["CinderLayer"]
    _supports_sdpa = True
    _supports_cache_class = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, 0.0, std)


class CinderModel(CinderPreTrainedModel):
    def __init__(self, config: CinderConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([CinderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = CinderRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary = CinderRotary(config.hidden_size // config.num_attention_heads, config.rope_base)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    @staticmethod
    def build_mask(attention_mask, b, s, past, device):
        total = past + s
        keep = torch.ones(s, total, dtype=torch.bool, device=device).tril(past)[None, None]
        if attention_mask is not None:
            pad = attention_mask[:, None, None, :total].bool()
            keep = keep & pad
            # fully masked rows give nan in sdpa
            keep = keep | ~keep.any(-1, keepdim=True)
        return keep.expand(b, 1, s, total)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, use_cache=None, output_hidden_states=None, **kwargs):
        use_cache = self.config.use_cache if use_cache is None else use_cache
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        b, s = x.shape[:2]
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        elif isinstance(past_key_values, (tuple, list)):
            if hasattr(DynamicCache, "from_legacy_cache"):
                past_key_values = DynamicCache.from_legacy_cache(past_key_values)
            else:
                raise ValueError("tuples are not supported any more")
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = torch.arange(past, past + s, device=x.device)[None].expand(b, -1)
        cos, sin = self.rotary(x, position_ids)
        mask = self.build_mask(attention_mask, b, s, past, x.device)
        hs = ()
        for layer in self.layers:
            if output_hidden_states:
                hs += (x,)
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(layer.__call__, x, mask, cos, sin, None)
            else:
                x = layer(x, mask, cos, sin, past_key_values)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x), past_key_values=past_key_values,
                                       hidden_states=hs or None)


class CinderForCausalLM(CinderPreTrainedModel, GenerationMixin):
    _tied_weights_keys = _tied("lm_head.weight", "model.embed_tokens.weight")

    def __init__(self, config):
        super().__init__(config)
        self.model = CinderModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, output_attentions=None, output_hidden_states=None,
                return_dict=None, logits_to_keep: Union[int, torch.Tensor] = 0, **kwargs):
        if past_key_values is None:
            past_key_values = kwargs.pop("cache", None)  # renamed in recent releases
        out = self.model(input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache,
                         output_hidden_states)
        idx = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, idx, :])
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, self.vocab_size).float(), labels[:, 1:].reshape(-1))
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=out.past_key_values,
                                      hidden_states=out.hidden_states)
