"""Cobble, a language of proteins."""
import math
from typing import Optional

import torch
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions, MaskedLMOutput
from transformers.modeling_utils import PreTrainedModel, find_pruneable_heads_and_indices, prune_linear_layer
from transformers.utils import logging

from .configuration_cobble import CobbleConfig

logger = logging.get_logger(__name__)


def symmetric(x):
    return x + x.transpose(-1, -2)


def corrected(x):
    """Average product correction."""
    rows, columns = x.sum(-1, keepdims=True), x.sum(-2, keepdims=True)
    return x - rows * columns / x.sum((-1, -2), keepdims=True)


class Rotary(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        inv_freq = 1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim))
        self.register_buffer("inv_freq", inv_freq)
        self._length, self._cos, self._sin = None, None, None

    def _tables(self, x):
        if self._length != x.shape[-2] or self._cos.device != x.device:
            self._length = x.shape[-2]
            angles = torch.outer(torch.arange(self._length, device=x.device).type_as(self.inv_freq), self.inv_freq)
            angles = torch.cat((angles, angles), dim=-1)
            self._cos, self._sin = angles.cos()[None, None], angles.sin()[None, None]
        return self._cos, self._sin

    def forward(self, q, k):
        cos, sin = self._tables(k)

        def turned(x):
            a, b = x.chunk(2, dim=-1)
            return x * cos + torch.cat((-b, a), dim=-1) * sin

        return turned(q), turned(k)


class CobbleEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.layer_norm = nn.LayerNorm(config.hidden_size) if config.emb_layer_norm_before else None
        self.register_buffer("position_ids", torch.arange(config.max_position_embeddings).expand((1, -1)))
        self.token_dropout = config.token_dropout
        self.mask_token_id = config.mask_token_id

    def forward(self, input_ids, attention_mask):
        x = self.word_embeddings(input_ids)
        if self.token_dropout:
            x = x.masked_fill((input_ids == self.mask_token_id).unsqueeze(-1), 0.0)
            trained = 0.15 * 0.8
            seen = (input_ids == self.mask_token_id).sum(-1).float() / attention_mask.sum(-1)
            x = (x * (1 - trained) / (1 - seen)[:, None, None]).to(x.dtype)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return x * attention_mask.unsqueeze(-1).to(x.dtype)


class CobbleAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.rotary = Rotary(self.head_dim)
        self.pruned_heads = set()

    def prune_heads(self, heads):
        if not heads:
            return
        heads, index = find_pruneable_heads_and_indices(heads, self.heads, self.head_dim, self.pruned_heads)
        for name in ("query", "key", "value"):
            setattr(self, name, prune_linear_layer(getattr(self, name), index))
        self.out = prune_linear_layer(self.out, index, dim=1)
        self.heads -= len(heads)
        self.pruned_heads |= heads

    def forward(self, x, mask, head_mask=None):
        y = self.norm(x)
        q, k, v = [
            p(y).view(y.shape[0], y.shape[1], self.heads, self.head_dim).transpose(1, 2)
            for p in (self.query, self.key, self.value)
        ]
        q, k = self.rotary(q * self.head_dim ** -0.5, k)
        weights = torch.softmax(q @ k.transpose(-1, -2) + mask, dim=-1)
        if head_mask is not None:
            weights = weights * head_mask
        return x + self.out((weights @ v).transpose(1, 2).flatten(2)), weights


class CobbleLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = CobbleAttention(config)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x, mask, head_mask=None):
        x, weights = self.attention(x, mask, head_mask)
        h = self.intermediate(self.norm(x))
        h = h * 0.5 * (1.0 + torch.erf(h / math.sqrt(2.0)))
        return x + self.output(h), weights


class CobblePreTrainedModel(PreTrainedModel):
    config_class = CobbleConfig
    base_model_prefix = "cobble"
    _no_split_modules = ["CobbleLayer"]

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)


class CobbleModel(CobblePreTrainedModel):
    _keys_to_ignore_on_load_missing = [r"position_ids"]

    def __init__(self, config):
        super().__init__(config)
        self.config = config
        self.embeddings = CobbleEmbeddings(config)
        self.layer = nn.ModuleList([CobbleLayer(config) for _ in range(config.num_hidden_layers)])
        self.emb_layer_norm_after = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.contact_regression = nn.Linear(config.num_hidden_layers * config.num_attention_heads, 1)
        self.init_weights()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def _prune_heads(self, heads_to_prune):
        for layer, heads in heads_to_prune.items():
            self.layer[layer].attention.prune_heads(heads)

    def forward(self, input_ids=None, attention_mask=None, head_mask=None, output_attentions=None,
                output_hidden_states=None, return_dict=None):
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if attention_mask is None:
            attention_mask = torch.ones(input_ids.shape, device=input_ids.device)
        extended = self.get_extended_attention_mask(attention_mask, input_ids.shape)
        head_mask = self.get_head_mask(head_mask, self.config.num_hidden_layers)
        x = self.embeddings(input_ids, attention_mask)
        every, maps = (x,), ()
        for i, layer in enumerate(self.layer):
            x, weights = layer(x, extended, head_mask[i])
            every += (x,)
            maps += (weights,)
        x = self.emb_layer_norm_after(x)
        if not return_dict:
            return (x, every, maps)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=x, hidden_states=every if output_hidden_states else None,
            attentions=maps if output_attentions else None,
        )

    def predict_contacts(self, tokens, attention_mask):
        maps = torch.stack(self(tokens, attention_mask, output_attentions=True, return_dict=True).attentions, dim=1)
        keep = attention_mask.to(maps)
        maps = (maps * keep[:, None, None, None] * keep[:, None, None, :, None])[..., 1:-1, 1:-1].flatten(1, 2)
        return torch.sigmoid(self.contact_regression(corrected(symmetric(maps)).permute(0, 2, 3, 1)).squeeze(-1))


class CobbleHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, x):
        return self.decoder(self.layer_norm(nn.functional.gelu(self.dense(x)))) + self.bias


class CobbleForMaskedLM(CobblePreTrainedModel):
    _keys_to_ignore_on_load_missing = [r"position_ids", r"lm_head.decoder.weight"]
    _keys_to_ignore_on_load_unexpected = [r"pooler"]

    def __init__(self, config):
        super().__init__(config)
        self.cobble = CobbleModel(config)
        self.lm_head = CobbleHead(config)
        self.init_weights()

    def get_output_embeddings(self):
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings):
        self.lm_head.decoder = new_embeddings

    def forward(self, input_ids=None, attention_mask=None, labels=None, return_dict=None, **kwargs):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.cobble(input_ids, attention_mask=attention_mask, return_dict=return_dict, **kwargs)
        scores = self.lm_head(outputs[0])
        loss: Optional[torch.Tensor] = None
        if labels is not None:
            loss = CrossEntropyLoss()(scores.view(-1, self.config.vocab_size), labels.view(-1))
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (scores,) + outputs[1:]
        return MaskedLMOutput(loss=loss, logits=scores, hidden_states=outputs.hidden_states, attentions=outputs.attentions)

    def predict_contacts(self, tokens, attention_mask):
        return self.cobble.predict_contacts(tokens, attention_mask=attention_mask)
