"""Thistle encoder with task adapters"""
import math
import warnings
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_thistle import ThistleConfig
from .modeling_thistle_lora import LoRAParametrization

try:
    from tqdm.autonotebook import trange
except ImportError:
    trange = None


class ThistleEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids, token_type_ids=None):
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        return self.dropout(self.LayerNorm(self.word_embeddings(input_ids) + self.token_type_embeddings(token_type_ids)))


class ThistleSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.h = config.num_attention_heads
        self.d = config.hidden_size // self.h
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, x, bias):
        b, s, _ = x.shape
        q, k, v = self.Wqkv(x).view(b, s, 3, self.h, self.d).permute(2, 0, 3, 1, 4)
        w = q @ k.transpose(-1, -2) / math.sqrt(self.d) + bias
        o = (w.softmax(-1) @ v).transpose(1, 2).reshape(b, s, -1)
        return self.LayerNorm(self.dropout(self.out(o)) + x)


class ThistleGLU(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gated_layers = nn.Linear(config.hidden_size, config.intermediate_size * 2, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x):
        a, b = self.gated_layers(x).chunk(2, -1)
        return self.layernorm(self.wo(F.gelu(a) * b) + x)


class ThistleLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = ThistleSelfAttention(config)
        self.mlp = ThistleGLU(config)

    def forward(self, x, bias):
        return self.mlp(self.attention(x, bias))


class ThistlePreTrainedModel(PreTrainedModel):
    config_class = ThistleConfig
    base_model_prefix = "bert"
    _no_split_modules = ["ThistleLayer"]

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            if parametrized(module):
                return
            nn.init.normal_(module.weight, mean=0.0, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding) and not parametrized(module):
            nn.init.normal_(module.weight, mean=0.0, std=std)
        elif isinstance(module, nn.LayerNorm):
            nn.init.zeros_(module.bias)
            nn.init.ones_(module.weight)


def parametrized(module):
    return hasattr(module, "parametrizations")


def get_alibi_slopes(n):
    def power_of_2(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start ** i for i in range(n)]
    if math.log2(n).is_integer():
        return power_of_2(n)
    c = 2 ** math.floor(math.log2(n))
    return power_of_2(c) + get_alibi_slopes(2 * c)[0::2][: n - c]


class ThistleModel(ThistlePreTrainedModel):
    def __init__(self, config: ThistleConfig, add_pooling_layer=True):
        super().__init__(config)
        self.embeddings = ThistleEmbeddings(config)
        self.layer = nn.ModuleList([ThistleLayer(config) for _ in range(config.num_hidden_layers)])
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self._alibi_size = 0
        self._alibi = None
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def alibi(self, size, device):
        if self._alibi is None or self._alibi_size < size or self._alibi.device != device:
            pos = torch.arange(size, device=device)
            rel = (pos[None] - pos[:, None]).abs()[None].float()
            slopes = torch.tensor(get_alibi_slopes(self.config.num_attention_heads), device=device)
            self._alibi = (-slopes[:, None, None] * rel)[None]
            self._alibi_size = size
        return self._alibi[..., :size, :size]

    def forward(self, input_ids, attention_mask=None, token_type_ids=None):
        x = self.embeddings(input_ids, token_type_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -10000.0
        if self.config.alibi:
            bias = bias + self.alibi(input_ids.shape[1], x.device).to(x.dtype)
        for l in self.layer:
            x = l(x, bias)
        pooled = torch.tanh(self.pooler(x[:, 0])) if self.pooler is not None else None
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=pooled)


class ThistleLoraModel(ThistlePreTrainedModel):
    def __init__(self, config: ThistleConfig, bert: Optional[ThistleModel] = None):
        super().__init__(config)
        self.bert = ThistleModel(config, add_pooling_layer=False) if bert is None else bert
        self._adaptation_map = {name: idx for idx, name in enumerate(config.lora_adaptations)}
        self._num_adaptations = len(self._adaptation_map)
        self._register_lora()
        self.main_params_trainable = config.lora_main_params_trainable
        self._task_idx = None
        self.post_init()

    def _register_lora(self):
        c = self.config
        for m in list(self.bert.modules()):
            if isinstance(m, (nn.Linear, nn.Embedding)):
                LoRAParametrization.add_to_layer(m, self._num_adaptations, c.lora_rank, c.lora_dropout_p, c.lora_alpha)

    @property
    def main_params_trainable(self):
        return self._main_params_trainable

    @main_params_trainable.setter
    def main_params_trainable(self, val: bool):
        self._main_params_trainable = val
        for name, p in self.named_parameters():
            if "lora" not in name:
                p.requires_grad_(val)

    @property
    def current_task(self):
        return self._task_idx

    @current_task.setter
    def current_task(self, idx: Optional[int]):
        assert idx is None or 0 <= idx < self._num_adaptations
        if self._task_idx != idx:
            self._task_idx = idx
            for m in self.bert.modules():
                LoRAParametrization.select_task_for_layer(m, idx)

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, task_id: Optional[int] = None, **kwargs):
        self.current_task = task_id
        return self.bert(input_ids, attention_mask, token_type_ids)

    @torch.inference_mode()
    def encode(self, sentences: List[str], tokenizer, task: str = "query", batch_size: int = 16, **kw):
        if task not in self._adaptation_map:
            warnings.warn(f"unknown task {task}, adapters are off")
        outs = []
        for i in range(0, len(sentences), batch_size):
            enc = tokenizer(sentences[i:i + batch_size], padding=True, truncation=True, return_tensors="pt", **kw)
            enc = enc.to(self.device)
            h = self(**enc, task_id=self._adaptation_map.get(task)).last_hidden_state
            m = enc["attention_mask"].unsqueeze(-1).float()
            outs.append(F.normalize((h * m).sum(1) / m.sum(1), dim=-1).cpu())
        return torch.cat(outs)
