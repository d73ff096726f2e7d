"""The encoder without adapters."""
import math
from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_quillfern import QuillfernConfig
from .rotary import RotaryEmbedding

try:
    from flash_attn import flash_attn_varlen_qkvpacked_func
    from flash_attn.bert_padding import pad_input, unpad_input
except ImportError:
    flash_attn_varlen_qkvpacked_func = pad_input = unpad_input = None


def _linear(layer, x, task=None):
    """a layer with adapters takes the task, one without does not"""
    return layer(x, task_id=task) if hasattr(layer, "parametrizations") else layer(x)


class QuillfernEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)

    def forward(self, input_ids, token_type_ids=None, task=None):
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        return _linear(self.word_embeddings, input_ids, task) + _linear(self.token_type_embeddings, token_type_ids, task)


class MHA(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.use_flash_attn = config.use_flash_attn and flash_attn_varlen_qkvpacked_func is not None
        self.dropout_p = config.attention_probs_dropout_prob
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.rotary_emb = RotaryEmbedding(self.head_dim, base=config.rotary_emb_base)

    def _flash(self, qkv, mask):
        B, T = qkv.shape[:2]
        packed, indices, cu_seqlens, max_s, *_ = unpad_input(qkv.flatten(2), mask)
        packed = packed.view(-1, 3, self.num_heads, self.head_dim)
        out = flash_attn_varlen_qkvpacked_func(packed, cu_seqlens, max_s, self.dropout_p if self.training else 0.0)
        return pad_input(out.flatten(1), indices, B, T)

    def forward(self, x, mask=None, task=None):
        B, T, C = x.shape
        qkv = _linear(self.Wqkv, x, task).view(B, T, 3, self.num_heads, self.head_dim)
        qkv = self.rotary_emb(qkv)
        if self.use_flash_attn and x.is_cuda and x.dtype in (torch.float16, torch.bfloat16):
            ctx = self._flash(qkv, mask)
        else:
            q, k, v = qkv.unbind(2)
            scores = torch.einsum("bthd,bshd->bhts", q, k / math.sqrt(self.head_dim))
            if mask is not None:
                pad = torch.full((B, T), -10000.0, dtype=scores.dtype, device=scores.device)
                pad.masked_fill_(mask.bool(), 0.0)
                scores = scores + pad[:, None, None, :]
            probs = F.dropout(scores.softmax(-1, dtype=v.dtype), self.dropout_p, self.training)
            ctx = torch.einsum("bhts,bshd->bthd", probs, v).reshape(B, T, C)
        return _linear(self.out_proj, ctx, task)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.mixer = MHA(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act = ACT2FN[config.hidden_act]
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, mask=None, task=None):
        x = self.norm1(x + self.dropout(self.mixer(x, mask, task)))
        y = _linear(self.fc2, self.act(_linear(self.fc1, x, task)), task)
        return self.norm2(x + self.dropout(y))


class QuillfernPreTrainedModel(PreTrainedModel):
    config_class = QuillfernConfig
    base_model_prefix = "roberta"
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


class QuillfernModel(QuillfernPreTrainedModel):
    def __init__(self, config: QuillfernConfig, add_pooling_layer=False):
        super().__init__(config)
        self.embeddings = QuillfernEmbeddings(config)
        self.emb_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.emb_drop = nn.Dropout(config.hidden_dropout_prob)
        self.layers = nn.ModuleList([Block(config) for _ in range(config.num_hidden_layers)])
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    @property
    def rotary_emb_base(self):
        return self.layers[0].mixer.rotary_emb.base

    @rotary_emb_base.setter
    def rotary_emb_base(self, base):
        for layer in self.layers:
            layer.mixer.rotary_emb.base = base

    def forward(
        self, input_ids, attention_mask=None, token_type_ids=None, task: Optional[int] = None, return_dict=None, **kwargs
    ):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if attention_mask is None:
            attention_mask = (input_ids != self.config.pad_token_id).long()
        x = self.emb_drop(self.emb_ln(self.embeddings(input_ids, token_type_ids, task)))
        for layer in self.layers:
            x = layer(x, attention_mask, task)
        pooled = torch.tanh(self.pooler(x[:, 0])) if self.pooler is not None else None
        if not return_dict:
            return (x, pooled)
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=pooled)
