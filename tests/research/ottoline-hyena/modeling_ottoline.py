# -*- coding: utf-8 -*-
"""Ottoline: implicit long convolutions for nucleotide sequences (single nucleotide tokens)."""
import math
from functools import partial
from typing import Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithNoAttention, CausalLMOutput, SequenceClassifierOutput
from transformers.utils import logging

from .configuration_ottoline import OttolineConfig

logger = logging.get_logger(__name__)

try:
    from flashfftconv import FlashFFTConv  # noqa: F401
    HAS_FLASHFFT = True
except ImportError:
    HAS_FLASHFFT = False


def fftconv(u, k, D):
    """u: (B, C, L), k: (C, L).  Zero padded to 2L so that the circular convolution is a causal one."""
    seqlen = u.shape[-1]
    fft_size = 2 * seqlen
    k_f = torch.fft.rfft(k, n=fft_size) / fft_size
    u_f = torch.fft.rfft(u.to(dtype=k.dtype), n=fft_size)
    if len(u.shape) > 3:
        k_f = k_f.unsqueeze(1)
    y = torch.fft.irfft(u_f * k_f, n=fft_size, norm="forward")[..., :seqlen]
    out = y + u * D.unsqueeze(-1)
    return out.to(dtype=u.dtype)


@torch.jit.script
def mul_sum(q, y):
    return (q * y).sum(dim=1)


class OttolineSin(nn.Module):
    """The Sin activation of the filter network"""

    def __init__(self, config):
        super().__init__()
        self.freq = (
            nn.Parameter(config.activation_freq * torch.ones(1, config.filter_order))
            if config.train_freq
            else config.activation_freq * torch.ones(1, config.filter_order)
        )

    def forward(self, x):
        return torch.sin(self.freq * x)


class OttolinePositionalEmbedding(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.seq_len = config.max_seq_len
        # The time embedding fed to the filters is normalized so that t_f = 1
        t = torch.linspace(0, 1, self.seq_len)[None, :, None]  # 1, L, 1
        bands = 0
        if config.emb_dim > 1:
            bands = (config.emb_dim - 1) // 2
        # To compute the right embeddings we use the "proper" linspace
        t_rescaled = torch.linspace(0, self.seq_len - 1, self.seq_len)[None, :, None]
        w = 2 * math.pi * t_rescaled / self.seq_len
        f = torch.linspace(1e-4, bands - 1, bands)[None, None]
        z = torch.cat([t, torch.cos(-f * w), torch.sin(-f * w)], dim=-1)
        # z learned with its own lr in training
        self.z = nn.Parameter(z, requires_grad=True)
        self.register_buffer("t", t)

    def forward(self, L):
        return self.z[:, :L], self.t[:, :L]


class OttolineExponentialModulation(nn.Module):
    """The window function applied to the output of the filter"""

    def __init__(self, d_model, fast_decay_pct=0.3, slow_decay_pct=1.5, target=1e-2, modulate=True, shift=0.05):
        super().__init__()
        self.modulate = modulate
        self.shift = shift
        max_decay = math.log(target) / fast_decay_pct
        min_decay = math.log(target) / slow_decay_pct
        deltas = torch.linspace(min_decay, max_decay, d_model)[None, None]
        self.register_buffer("deltas", deltas)

    def forward(self, t, x):
        if self.modulate:
            decay = torch.exp(-t * self.deltas.abs())
            x = x * (decay + self.shift)
        return x


class OttolineFilter(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.d_model = config.d_model * (config.hyena_order - 1)
        self.use_bias = config.use_bias
        self.bias = nn.Parameter(torch.randn(self.d_model))
        self.dropout = nn.Dropout(config.hyena_filter_dropout)
        self.emb_dim = config.emb_dim
        assert self.emb_dim % 2 != 0 and self.emb_dim >= 3, "emb_dim must be odd and >= 3 (time, sine and cosine)"
        self.seq_len = config.max_seq_len
        self.pos_emb = OttolinePositionalEmbedding(config)
        # uses a variable number of inner linear layers, every activation has its own frequencies
        self.implicit_filter = nn.Sequential(nn.Linear(self.emb_dim, config.filter_order), OttolineSin(config))
        for _ in range(config.num_inner_mlps):
            self.implicit_filter.append(nn.Linear(config.filter_order, config.filter_order))
            self.implicit_filter.append(OttolineSin(config))
        self.implicit_filter.append(nn.Linear(config.filter_order, config.d_model, bias=False))
        self.modulation = OttolineExponentialModulation(config.d_model)
        self.normalized = False

    def filter(self, L):
        z, t = self.pos_emb(L)
        h = self.implicit_filter(z.to(dtype=self.implicit_filter[0].weight.dtype))
        h = self.modulation(t, h)
        if self.normalized:
            h = h / torch.norm(h, dim=-1, p=1, keepdim=True)
        return h

    def forward(self, x, L, k=None, bias=None):
        if k is None:
            k = self.filter(L)
        k = k[0] if type(k) is tuple else k
        return fftconv(x, k, bias)


class OttolineOperator(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.d_model = config.d_model
        self.l_max = config.max_seq_len
        self.order = config.hyena_order
        inner_width = config.d_model * (self.order + 1)
        self.dropout = nn.Dropout(config.hyena_dropout)
        self.in_proj = nn.Linear(self.d_model, inner_width)
        self.out_proj = nn.Linear(self.d_model, self.d_model)
        self.short_filter = nn.Conv1d(inner_width, inner_width, config.short_filter_order,
                                      padding=config.short_filter_order - 1, groups=inner_width)
        self.filter_fn = OttolineFilter(config)

    def forward(self, u):
        l = u.size(-2)
        l_filter = min(l, self.l_max)
        u = self.in_proj(u).transpose(1, 2)
        uc = self.short_filter(u)[..., :l_filter]
        *x, v = uc.split(self.d_model, dim=1)
        k = self.filter_fn.filter(l_filter)[0].transpose(0, 1).reshape(self.order - 1, self.d_model, l_filter)
        bias = self.filter_fn.bias.reshape(self.order - 1, self.d_model)
        for o, x_i in enumerate(reversed(x[1:])):
            v = self.dropout(v * x_i)
            v = self.filter_fn(v, l_filter, k=k[o], bias=bias[o])
        y = (v * x[0]).transpose(1, 2)
        return self.out_proj(y)


class OttolineMlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc1 = nn.Linear(config.d_model, config.d_inner)
        self.fc2 = nn.Linear(config.d_inner, config.d_model)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class OttolineBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.mixer = OttolineOperator(config)
        self.norm1 = nn.LayerNorm(config.d_model)
        self.mlp = OttolineMlp(config)
        self.norm2 = nn.LayerNorm(config.d_model)

    def forward(self, hidden_states):
        residual = hidden_states
        hidden_states = self.mixer(self.norm1(hidden_states).to(dtype=self.norm1.weight.dtype)) + residual
        return self.mlp(self.norm2(hidden_states)) + hidden_states


class OttolinePreTrainedModel(PreTrainedModel):
    config_class = OttolineConfig
    base_model_prefix = "hyena"
    supports_gradient_checkpointing = True
    _no_split_modules = ["OttolineBlock"]
    _keys_to_ignore_on_load_missing = [r"freq"]

    def _init_weights(self, module, initializer_range=0.02):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=initializer_range)
        # rescaling as in GPT-2
        for name, p in self.named_parameters():
            if name in ["out_proj.weight", "fc2.weight"]:
                nn.init.normal_(p, mean=0.0, std=initializer_range / math.sqrt(2 * self.config.n_layer))


class OttolineModel(OttolinePreTrainedModel):
    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        vocab_size = config.vocab_size
        if vocab_size % config.pad_vocab_size_multiple != 0:
            vocab_size += config.pad_vocab_size_multiple - (vocab_size % config.pad_vocab_size_multiple)
        self.word_embeddings = nn.Embedding(vocab_size, config.d_model)
        self.drop = nn.Dropout(config.embed_dropout)
        self.layers = nn.ModuleList([OttolineBlock(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def set_input_embeddings(self, value):
        self.word_embeddings = value

    def forward(self, input_ids=None, inputs_embeds=None, output_hidden_states=None, return_dict=None):
        return_dict = return_dict if return_dict is not None else self.config.return_dict
        hidden_states = inputs_embeds if inputs_embeds is not None else self.word_embeddings(input_ids)
        hidden_states = self.drop(hidden_states)
        all_hidden_states = []
        for layer in self.layers:
            if output_hidden_states:
                all_hidden_states.append(hidden_states)
            hidden_states = layer(hidden_states)
        hidden_states = self.ln_f(hidden_states)
        if not return_dict:
            return hidden_states, all_hidden_states
        return BaseModelOutputWithNoAttention(last_hidden_state=hidden_states,
                                              hidden_states=all_hidden_states or None)


class OttolineForCausalLM(OttolinePreTrainedModel):
    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.hyena = OttolineModel(config)
        self.vocab_size = self.hyena.word_embeddings.num_embeddings
        self.lm_head = nn.Linear(config.d_model, self.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids=None, inputs_embeds=None, labels=None, output_hidden_states=None, return_dict=None):
        outputs = self.hyena(input_ids=input_ids, inputs_embeds=inputs_embeds,
                             output_hidden_states=output_hidden_states, return_dict=True)
        logits = self.lm_head(outputs[0]).float()
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[..., :-1, :].reshape(-1, self.vocab_size), labels[..., 1:].reshape(-1))
        return CausalLMOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


class OttolineForSequenceClassification(OttolinePreTrainedModel):
    def __init__(self, config, **kwargs):
        super().__init__(config, **kwargs)
        self.num_labels = kwargs.get("num_labels", config.num_labels)
        self.hyena = OttolineModel(config)
        self.score = nn.Linear(config.d_model, self.num_labels, bias=False)
        self.post_init()

    def forward(self, input_ids=None, labels=None, return_dict=None):
        hidden = self.hyena(input_ids, return_dict=True)[0]
        if self.config.pad_token_id is None:
            lengths = -1
        else:
            lengths = torch.eq(input_ids, self.config.pad_token_id).long().argmax(-1) - 1
        pooled = self.score(hidden)[torch.arange(input_ids.shape[0], device=hidden.device), lengths]
        loss = F.cross_entropy(pooled, labels) if labels is not None else None
        return SequenceClassifierOutput(loss=loss, logits=pooled)
