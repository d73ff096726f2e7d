from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel, GenerationMixin
from transformers.modeling_outputs import ModelOutput

from .configuration_haremoor import HaremoorConfig

try:
    from timm.layers import DropPath
except Exception:
    class DropPath(nn.Module):
        def __init__(self, drop_prob=0.0):
            super().__init__()
            self.drop_prob = drop_prob

        def forward(self, x):
            if self.drop_prob == 0.0 or not self.training:
                return x
            keep = 1 - self.drop_prob
            mask = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(keep)
            return x * mask / keep

try:
    from apex.normalization import FusedLayerNorm as LayerNorm  # noqa
except ModuleNotFoundError:
    from torch.nn import LayerNorm


def split_heads(tensors, bsz, seqlen, num_heads):
    assert isinstance(tensors, (tuple, list))
    return [x.view(bsz, seqlen, num_heads, -1).transpose(1, 2) for x in tensors]


def rotate_every_two(x):
    x1 = x[:, :, :, ::2]
    x2 = x[:, :, :, 1::2]
    x = torch.stack((-x2, x1), dim=-1)
    return x.flatten(-2)


def theta_shift(x, sin, cos):
    return (x * cos) + (rotate_every_two(x) * sin)


def get_activation_fn(activation):
    if activation == "swish":
        return F.silu
    if activation == "gelu":
        return F.gelu
    raise NotImplementedError


class RMSNorm(nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6, elementwise_affine=True):
        super().__init__()
        self.normalized_shape = dim
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if self.elementwise_affine:
            self.weight = nn.Parameter(torch.ones(dim))
        else:
            self.register_parameter("weight", None)

    def forward(self, x):
        output = (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)).type_as(x)
        return output if self.weight is None else output * self.weight


class HaremoorRelPos(nn.Module):
    def __init__(self, config: HaremoorConfig):
        super().__init__()
        self.config = config
        num_heads = config.decoder_retention_heads
        angle = 1.0 / (10000 ** torch.linspace(0, 1, config.decoder_embed_dim // num_heads // 2))
        angle = angle.unsqueeze(-1).repeat(1, 2).flatten()
        if config.use_lm_decay:
            s = torch.log(torch.tensor(1 / 32))
            e = torch.log(torch.tensor(1 / 512))
            decay = torch.log(1 - torch.exp(torch.linspace(s, e, num_heads)))
        else:
            decay = torch.log(1 - 2 ** (-5 - torch.arange(num_heads, dtype=torch.float)))
        self.register_buffer("angle", angle, persistent=False)
        self.register_buffer("decay", decay, persistent=False)
        self.recurrent_chunk_size = config.recurrent_chunk_size

    def forward(self, slen, forward_impl="parallel", retention_mask=None, get_decay_scale=True):
        if forward_impl == "recurrent":
            sin = torch.sin(self.angle * (slen - 1))
            cos = torch.cos(self.angle * (slen - 1))
            return ((sin, cos), self.decay.view(1, -1, 1, 1).exp())
        index = torch.arange(slen).to(self.decay)
        sin = torch.sin(index[:, None] * self.angle[None, :])
        cos = torch.cos(index[:, None] * self.angle[None, :])
        mask = torch.tril(torch.ones(slen, slen)).to(self.decay)
        mask = torch.masked_fill(index[:, None] - index[None, :], ~mask.bool(), float("inf"))
        mask = torch.exp(mask * self.decay[:, None, None])
        mask = torch.nan_to_num(mask)
        mask = mask.unsqueeze(0)
        if retention_mask is not None:
            mask = mask * retention_mask.float().view(-1, 1, 1, slen).to(mask)
        # scaling
        mask = mask / mask.sum(dim=-1, keepdim=True).sqrt()
        mask = torch.nan_to_num(mask, nan=0.0)
        return ((sin, cos), mask)


class MultiScaleRetention(nn.Module):
    def __init__(self, config: HaremoorConfig, gate_fn="swish", use_bias=False):
        super().__init__()
        self.config = config
        self.embed_dim = config.decoder_embed_dim
        self.value_dim = config.decoder_value_embed_dim
        self.num_heads = config.decoder_retention_heads
        self.head_dim = self.value_dim // self.num_heads
        self.key_dim = self.embed_dim // self.num_heads
        self.scaling = self.key_dim ** -0.5
        self.gate_fn = get_activation_fn(activation=str(gate_fn))
        self.q_proj = nn.Linear(self.embed_dim, self.embed_dim, bias=use_bias)
        self.k_proj = nn.Linear(self.embed_dim, self.embed_dim, bias=use_bias)
        self.v_proj = nn.Linear(self.embed_dim, self.value_dim, bias=use_bias)
        self.g_proj = nn.Linear(self.embed_dim, self.value_dim, bias=use_bias)
        self.out_proj = nn.Linear(self.value_dim, self.embed_dim, bias=use_bias)
        self.group_norm = RMSNorm(self.head_dim, eps=config.layernorm_eps, elementwise_affine=False)
        self.reset_parameters()

    def reset_parameters(self):
        for proj in (self.q_proj, self.k_proj, self.v_proj, self.g_proj):
            nn.init.xavier_uniform_(proj.weight, gain=2 ** -2.5)
        nn.init.xavier_uniform_(self.out_proj.weight, gain=2 ** -1)

    def parallel_retention(self, q, k, v, decay_mask):
        retention = q @ k.transpose(-1, -2)
        retention = retention * decay_mask
        output = retention @ v
        return output, retention

    def recurrent_retention(self, q, k, v, decay, past_key_value=None):
        if past_key_value is not None:
            prev_kv, prev_scale = past_key_value
        else:
            prev_kv, prev_scale = 0, torch.zeros_like(decay)
        scale = prev_scale * decay + 1
        kv = prev_kv * (prev_scale * decay / scale).sqrt() + (k.transpose(-1, -2) @ v) / scale.sqrt()
        return q @ kv, (kv, scale)

    def forward(self, hidden_states, rel_pos, past_key_value=None, forward_impl="parallel"):
        B, T, H = hidden_states.size()
        (sin, cos), decay_mask = rel_pos
        q = self.q_proj(hidden_states)
        k = self.k_proj(hidden_states) * self.scaling
        v = self.v_proj(hidden_states)
        g = self.g_proj(hidden_states)
        q, k, v = split_heads((q, k, v), B, T, self.num_heads)
        q = theta_shift(q, sin, cos)
        k = theta_shift(k, sin, cos)
        if forward_impl == "parallel":
            out, _ = self.parallel_retention(q, k, v, decay_mask)
            present = None
        else:
            out, present = self.recurrent_retention(q, k, v, decay_mask, past_key_value)
        normed = self.group_norm(out).transpose(1, 2).contiguous().view(B, T, self.value_dim)
        return self.out_proj(self.gate_fn(g) * normed), present


class HaremoorGLU(nn.Module):
    def __init__(self, embed_dim, ffn_dim, activation_fn, dropout, activation_dropout):
        super().__init__()
        self.activation_fn = get_activation_fn(activation=str(activation_fn))
        self.dropout_module = torch.nn.Dropout(dropout)
        self.activation_dropout_module = torch.nn.Dropout(activation_dropout)
        self.fc1 = nn.Linear(embed_dim, ffn_dim, bias=False)
        self.gate = nn.Linear(embed_dim, ffn_dim, bias=False)
        self.fc2 = nn.Linear(ffn_dim, embed_dim, bias=False)

    def forward(self, x):
        x_shape = x.shape
        x = x.reshape(-1, x.size(-1))
        g = self.gate(x)
        x = self.activation_dropout_module(self.activation_fn(self.fc1(x).float()).type_as(x)) * g
        return self.dropout_module(self.fc2(x).view(x_shape))


class HaremoorDecoderLayer(nn.Module):
    def __init__(self, config: HaremoorConfig, depth: int):
        super().__init__()
        rate = np.linspace(0, config.drop_path_rate, config.decoder_layers)[depth]
        self.drop_path = DropPath(float(rate)) if config.drop_path_rate > 0 else None
        self.retention = MultiScaleRetention(config)
        self.retention_layer_norm = RMSNorm(config.decoder_embed_dim, eps=config.layernorm_eps)
        self.ffn = HaremoorGLU(config.decoder_embed_dim, config.decoder_ffn_embed_dim, config.activation_fn,
                               config.dropout, config.activation_dropout)
        self.final_layer_norm = RMSNorm(config.decoder_embed_dim, eps=config.layernorm_eps)

    def forward(self, x, rel_pos, past_key_value=None, forward_impl="parallel"):
        h, present = self.retention(self.retention_layer_norm(x), rel_pos, past_key_value, forward_impl)
        if self.drop_path is not None:
            h = self.drop_path(h)
        x = x + h
        return x + self.ffn(self.final_layer_norm(x)), present


class HaremoorPreTrainedModel(PreTrainedModel):
    config_class = HaremoorConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["HaremoorDecoderLayer"]

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()


@dataclass
class HaremoorOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    last_hidden_state: torch.FloatTensor = None
    past_states: Optional[List[Tuple[torch.FloatTensor]]] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


class HaremoorModel(HaremoorPreTrainedModel):
    def __init__(self, config: HaremoorConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.decoder_embed_dim, config.pad_token_id)
        self.layers = nn.ModuleList([HaremoorDecoderLayer(config, i) for i in range(config.decoder_layers)])
        self.layer_norm = RMSNorm(config.decoder_embed_dim, eps=config.layernorm_eps)
        self.rel_pos = HaremoorRelPos(config)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def forward(self, input_ids, retention_mask=None, past_states=None, forward_impl=None, output_hidden_states=False):
        forward_impl = forward_impl or self.config.forward_impl
        x = self.embed_tokens(input_ids)
        slen = input_ids.shape[1]
        all_hidden = ()
        if forward_impl == "parallel":
            rel_pos = self.rel_pos(slen, "parallel", retention_mask)
            for layer in self.layers:
                all_hidden += (x,)
                x, _ = layer(x, rel_pos)
            return self.layer_norm(x), None, all_hidden
        # token by token
        past_states = past_states or [None] * len(self.layers)
        outs = []
        for t in range(slen):
            h = x[:, t:t + 1]
            rel_pos = self.rel_pos(t + 1, "recurrent")
            for i, layer in enumerate(self.layers):
                h, past_states[i] = layer(h, rel_pos, past_states[i], "recurrent")
            outs.append(h)
        return self.layer_norm(torch.cat(outs, 1)), past_states, all_hidden


class HaremoorForCausalLM(HaremoorPreTrainedModel, GenerationMixin):
    def __init__(self, config: HaremoorConfig):
        super().__init__(config)
        self.model = HaremoorModel(config)
        self.lm_head = nn.Linear(config.decoder_embed_dim, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def forward(self, input_ids=None, retention_mask=None, attention_mask=None, labels=None, use_cache=None,
                forward_impl=None, output_hidden_states=None, return_dict=None, **kwargs):
        if retention_mask is None and attention_mask is not None:
            retention_mask = attention_mask
        hidden, past_states, all_hidden = self.model(input_ids, retention_mask, None, forward_impl)
        logits = self.lm_head(hidden)
        loss = None
        if labels is not None:
            shift = logits[..., :-1, :].contiguous().float()
            loss = F.cross_entropy(shift.view(-1, shift.size(-1)), labels[..., 1:].reshape(-1))
            if self.config.z_loss_coeff > 0:
                loss = loss + self.config.z_loss_coeff * torch.logsumexp(shift, -1).square().mean()
        return HaremoorOutput(loss=loss, logits=logits, last_hidden_state=hidden, past_states=past_states,
                              hidden_states=all_hidden if output_hidden_states else None)

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        # recurrent decode is slower than recompute at our sizes, always feed the whole sequence
        return {"input_ids": input_ids, "attention_mask": attention_mask, "use_cache": False}
