"""Nucleo: ModernBERT-like encoder at single nucleotide resolution.

A C G T = 0 1 2 3, PAD = 4, N = 5, MASK = 6, CLS = 7, SEP = 8
"""
from typing import Dict, Optional, Tuple, Union

import torch
from torch import nn
import torch.nn.functional as F
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, SequenceClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import is_flash_attn_2_available

from .configuration_nucleo import NucleoConfig

if is_flash_attn_2_available():
    from flash_attn.flash_attn_interface import flash_attn_varlen_qkvpacked_func
else:
    flash_attn_varlen_qkvpacked_func = None

COMPLEMENT = {0: 3, 1: 2, 2: 1, 3: 0}


class NucleoRotary(nn.Module):
    def __init__(self, dim, base):
        super().__init__()
        self.dim, self.base = dim, base
        self.register_buffer("inv_freq", self.compute(), persistent=False)

    def compute(self, device=None):
        return 1.0 / (self.base ** (torch.arange(0, self.dim, 2, dtype=torch.int64, device=device).float() / self.dim))

    @torch.no_grad()
    def forward(self, x):
        t = torch.arange(x.shape[1], device=x.device, dtype=torch.float32)
        f = torch.outer(t, self.inv_freq.float())
        f = torch.cat((f, f), -1)
        return f.cos().to(x.dtype), f.sin().to(x.dtype)


class WindowMask(nn.Module):
    """bool (max, max), true inside of the window"""

    def __init__(self, size, window):
        super().__init__()
        self.size, self.window = size, window
        self.register_buffer("inside", self.compute(), persistent=False)

    def compute(self, device=None):
        i = torch.arange(self.size, device=device)
        return (i[None] - i[:, None]).abs() <= self.window // 2

    def forward(self, n):
        return self.inside[None, None, :n, :n]


class ReverseComplement(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.vocab_size = vocab_size
        self.register_buffer("table", self.compute(), persistent=False)

    def compute(self, device=None):
        t = torch.arange(self.vocab_size, device=device)
        for a, b in COMPLEMENT.items():
            t[a] = b
        return t

    def forward(self, ids):
        return self.table[ids].flip(-1)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class NucleoAttention(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        self.h = config.num_attention_heads
        self.d = config.hidden_size // self.h
        self.is_global = (layer_id + 1) % config.global_every == 0
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.Wo = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.rotary = NucleoRotary(self.d, config.rope_theta_global if self.is_global else config.rope_theta_local)

    def forward(self, x, valid, window):
        b, n, c = x.shape
        q, k, v = self.Wqkv(x).view(b, n, 3, self.h, self.d).permute(2, 0, 3, 1, 4)
        cos, sin = self.rotary(x)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        mask = valid[:, None, None, :].bool()
        if not self.is_global:
            mask = mask & window
            # rows of padding keep themselves
        mask = mask | torch.eye(n, dtype=torch.bool, device=x.device)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.Wo(o.transpose(1, 2).reshape(b, n, c))


class NucleoLayer(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        self.attn_norm = nn.Identity() if layer_id == 0 else nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=False)
        self.attn = NucleoAttention(config, layer_id)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=False)
        self.Wi = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.Wo = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x, valid, window):
        x = x + self.attn(self.attn_norm(x), valid, window)
        a, g = self.Wi(self.mlp_norm(x)).chunk(2, -1)
        return x + self.Wo(F.gelu(a) * g)


class NucleoPreTrainedModel(PreTrainedModel):
    config_class = NucleoConfig
    base_model_prefix = "nucleo"
    supports_gradient_checkpointing = True
    _no_split_modules = ["NucleoLayer"]

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=self.config.initializer_range)
        # buffers that no checkpoint holds
        elif isinstance(module, NucleoRotary):
            module.inv_freq.copy_(module.compute(module.inv_freq.device))
        elif isinstance(module, WindowMask):
            module.inside.copy_(module.compute(module.inside.device))
        elif isinstance(module, ReverseComplement):
            module.table.copy_(module.compute(module.table.device))


class NucleoModel(NucleoPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=False)
        self.window = WindowMask(config.max_position_embeddings, config.local_attention)
        self.layers = nn.ModuleList([NucleoLayer(config, i) for i in range(config.num_hidden_layers)])
        self.final_norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=False)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.tok_embeddings

    def set_input_embeddings(self, value):
        self.tok_embeddings = value

    def forward(self, input_ids, attention_mask=None, return_dict=None):
        if attention_mask is None:
            attention_mask = (input_ids != self.config.pad_token_id).long()
        x = self.norm(self.tok_embeddings(input_ids))
        window = self.window(x.shape[1])
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(layer.__call__, x, attention_mask, window)
            else:
                x = layer(x, attention_mask, window)
        return BaseModelOutput(last_hidden_state=self.final_norm(x))


class NucleoForMaskedLM(NucleoPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.nucleo = NucleoModel(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.head_norm = nn.LayerNorm(config.hidden_size)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.rc = ReverseComplement(config.vocab_size) if config.strand_symmetric else None
        self.post_init()

    def _logits(self, ids, mask):
        return self.decoder(self.head_norm(F.gelu(self.dense(self.nucleo(ids, mask).last_hidden_state))))

    def forward(self, input_ids, attention_mask=None, labels=None, return_dict=None):
        logits = self._logits(input_ids, attention_mask)
        if self.rc is not None:
            other = self._logits(self.rc(input_ids), attention_mask.flip(-1) if attention_mask is not None else None)
            logits = 0.5 * (logits + other.flip(1)[..., self.rc.table])
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) if labels is not None else None
        return MaskedLMOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def variant_effect(self, input_ids, position: int, ref: int, alt: int) -> torch.Tensor:
        masked = input_ids.clone()
        masked[:, position] = 6
        logp = self(masked).logits[:, position].log_softmax(-1)
        return logp[:, alt] - logp[:, ref]


class NucleoForSequenceClassification(NucleoPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.nucleo = NucleoModel(config)
        self.drop = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None, return_dict=None):
        h = self.nucleo(input_ids, attention_mask).last_hidden_state
        m = (input_ids != self.config.pad_token_id)[..., None].to(h.dtype)
        logits = self.classifier(self.drop((h * m).sum(1) / m.sum(1).clamp(min=1)))
        loss = F.cross_entropy(logits, labels) if labels is not None else None
        return SequenceClassifierOutput(loss=loss, logits=logits)
