# coding=utf-8
""" PyTorch DnaSpan model. """
import math
import os

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss

from transformers.activations import ACT2FN
from transformers.file_utils import add_start_docstrings, add_start_docstrings_to_model_forward
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput
from transformers.modeling_utils import (
    PreTrainedModel,
    apply_chunking_to_forward,
    find_pruneable_heads_and_indices,
    prune_linear_layer,
)
from transformers.utils import logging

from .configuration_dnaspan import DnaSpanConfig

logger = logging.get_logger(__name__)

_CONFIG_FOR_DOC = "DnaSpanConfig"

DNASPAN_START_DOCSTRING = r"""
    Long DNA encoder.

    Parameters:
        config ([`DnaSpanConfig`]): Model configuration class.
"""
DNASPAN_INPUTS_DOCSTRING = r"""
    Args:
        input_ids (`torch.LongTensor` of shape `({0})`): k-mer ids
        attention_mask (`torch.FloatTensor` of shape `({0})`, *optional*): 0 for padding
"""


class DnaSpanEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids, token_type_ids=None, position_ids=None):
        if position_ids is None:
            position_ids = torch.arange(input_ids.size(1), device=input_ids.device).unsqueeze(0)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(input_ids)
        x = self.word_embeddings(input_ids) + self.position_embeddings(position_ids) + self.token_type_embeddings(token_type_ids)
        return self.dropout(self.LayerNorm(x))


class DnaSpanSelfAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_attention_heads = config.num_attention_heads
        self.attention_head_size = config.hidden_size // config.num_attention_heads
        self.all_head_size = self.num_attention_heads * self.attention_head_size
        self.query = nn.Linear(config.hidden_size, self.all_head_size)
        self.key = nn.Linear(config.hidden_size, self.all_head_size)
        self.value = nn.Linear(config.hidden_size, self.all_head_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)
        self.block_size = config.block_size
        self.num_global = config.num_global_tokens

    def transpose_for_scores(self, x):
        new_x_shape = x.size()[:-1] + (self.num_attention_heads, self.attention_head_size)
        return x.view(*new_x_shape).permute(0, 2, 1, 3)

    def _neighbours(self, x):
        # (b, h, n_blocks, w, d) -> (b, h, n_blocks, 3w, d): previous, own and next block
        pad = torch.zeros_like(x[:, :, :1])
        left = torch.cat([pad, x[:, :, :-1]], dim=2)
        right = torch.cat([x[:, :, 1:], pad], dim=2)
        return torch.cat([left, x, right], dim=3)

    def forward(self, hidden_states, valid):
        b, n, _ = hidden_states.shape
        w, g = self.block_size, self.num_global
        q = self.transpose_for_scores(self.query(hidden_states)) / math.sqrt(self.attention_head_size)
        k = self.transpose_for_scores(self.key(hidden_states))
        v = self.transpose_for_scores(self.value(hidden_states))
        h, d = self.num_attention_heads, self.attention_head_size
        m = n // w
        local_valid = valid.clone()
        local_valid[:, :g] = 0  # these come in over the global path
        qb, kb, vb = (t.reshape(b, h, m, w, d) for t in (q, k, v))
        scores = torch.matmul(qb, self._neighbours(kb).transpose(-1, -2))
        lv = local_valid.view(b, 1, m, w, 1)
        lv = self._neighbours(lv).squeeze(-1)[:, :, :, None, :]
        scores = scores.masked_fill(lv == 0, -10000.0)
        to_global = torch.einsum("bhmwd,bhgd->bhmwg", qb, k[:, :, :g])
        probs = torch.cat([to_global, scores], dim=-1).softmax(-1)
        probs = self.dropout(probs)
        context = torch.einsum("bhmwg,bhgd->bhmwd", probs[..., :g], v[:, :, :g])
        context = context + torch.matmul(probs[..., g:], self._neighbours(vb))
        context = context.reshape(b, h, n, d)
        # global rows
        full = torch.matmul(q[:, :, :g], k.transpose(-1, -2)).masked_fill(valid[:, None, None, :] == 0, -10000.0).softmax(-1)
        context = torch.cat([torch.matmul(self.dropout(full), v), context[:, :, g:]], dim=2)
        return context.permute(0, 2, 1, 3).reshape(b, n, self.all_head_size)


class DnaSpanAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.self = DnaSpanSelfAttention(config)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.pruned_heads = set()

    def prune_heads(self, heads):
        if len(heads) == 0:
            return
        heads, index = find_pruneable_heads_and_indices(
            heads, self.self.num_attention_heads, self.self.attention_head_size, self.pruned_heads
        )
        self.self.query = prune_linear_layer(self.self.query, index)
        self.self.key = prune_linear_layer(self.self.key, index)
        self.self.value = prune_linear_layer(self.self.value, index)
        self.dense = prune_linear_layer(self.dense, index, dim=1)
        self.self.num_attention_heads = self.self.num_attention_heads - len(heads)
        self.self.all_head_size = self.self.attention_head_size * self.self.num_attention_heads
        self.pruned_heads = self.pruned_heads.union(heads)

    def forward(self, hidden_states, valid):
        out = self.dropout(self.dense(self.self(hidden_states, valid)))
        return self.LayerNorm(out + hidden_states)


class DnaSpanLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.chunk_size_feed_forward = config.chunk_size_feed_forward
        self.seq_len_dim = 1
        self.attention = DnaSpanAttention(config)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.act = ACT2FN[config.hidden_act]
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states, valid):
        attention_output = self.attention(hidden_states, valid)
        return apply_chunking_to_forward(self.feed_forward_chunk, self.chunk_size_feed_forward, self.seq_len_dim, attention_output)

    def feed_forward_chunk(self, attention_output):
        return self.LayerNorm(self.output(self.act(self.intermediate(attention_output))) + attention_output)


class DnaSpanEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.layer = nn.ModuleList([DnaSpanLayer(config) for _ in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False

    def forward(self, hidden_states, valid, output_hidden_states=False):
        all_hidden_states = () if output_hidden_states else None
        for layer in self.layer:
            if output_hidden_states:
                all_hidden_states = all_hidden_states + (hidden_states,)
            hidden_states = layer(hidden_states, valid)
        return hidden_states, all_hidden_states


class DnaSpanPreTrainedModel(PreTrainedModel):
    config_class = DnaSpanConfig
    base_model_prefix = "dnaspan"
    supports_gradient_checkpointing = True
    _keys_to_ignore_on_load_missing = [r"position_ids"]

    def _init_weights(self, module):
        """Initialize the weights"""
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

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, DnaSpanEncoder):
            module.gradient_checkpointing = value


@add_start_docstrings("The bare DnaSpan encoder.", DNASPAN_START_DOCSTRING)
class DnaSpanModel(DnaSpanPreTrainedModel):
    def __init__(self, config, add_pooling_layer=True):
        super().__init__(config)
        self.config = config
        self.embeddings = DnaSpanEmbeddings(config)
        self.encoder = DnaSpanEncoder(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size) if add_pooling_layer else None
        self.init_weights()
        # TODO: post_init?
        if hasattr(self, "post_init"):
            self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def _prune_heads(self, heads_to_prune):
        for layer, heads in heads_to_prune.items():
            self.encoder.layer[layer].attention.prune_heads(heads)

    def _pad_to_block(self, input_ids, attention_mask):
        w = self.config.block_size
        extra = (w - input_ids.shape[1] % w) % w
        if extra:
            input_ids = nn.functional.pad(input_ids, (0, extra), value=self.config.pad_token_id)
            attention_mask = nn.functional.pad(attention_mask, (0, extra), value=0)
        return input_ids, attention_mask, extra

    @add_start_docstrings_to_model_forward(DNASPAN_INPUTS_DOCSTRING.format("batch_size, sequence_length"))
    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, position_ids=None,
                output_hidden_states=None, return_dict=None):
        output_hidden_states = output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        input_ids, attention_mask, extra = self._pad_to_block(input_ids, attention_mask)
        x = self.embeddings(input_ids, token_type_ids, position_ids)
        x, hiddens = self.encoder(x, attention_mask, output_hidden_states)
        if extra:
            x = x[:, :-extra]
        pooled = torch.tanh(self.pooler(x[:, 0])) if self.pooler is not None else None
        if not return_dict:
            return (x, pooled, hiddens)
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=pooled, hidden_states=hiddens)


@add_start_docstrings("DnaSpan with a language modeling head.", DNASPAN_START_DOCSTRING)
class DnaSpanForMaskedLM(DnaSpanPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.dnaspan = DnaSpanModel(config, add_pooling_layer=False)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, labels=None, return_dict=None):
        out = self.dnaspan(input_ids, attention_mask, token_type_ids, return_dict=True)
        x = self.layer_norm(nn.functional.gelu(self.dense(out.last_hidden_state)))
        logits = self.decoder(x)
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits.view(-1, self.config.vocab_size), labels.view(-1))
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)
