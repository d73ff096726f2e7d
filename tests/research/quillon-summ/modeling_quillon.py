"""Quillon: a summariser that can copy words of its source."""
import math
import random
from typing import Optional, Tuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPastAndCrossAttentions
from transformers.modeling_outputs import Seq2SeqLMOutput, Seq2SeqModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_quillon import QuillonConfig

logger = logging.get_logger(__name__)


def shift_right(labels, pad, start):
    out = labels.new_zeros(labels.shape)
    out[:, 1:] = labels[:, :-1].clone()
    out[:, 0] = start
    return out.masked_fill_(out == -100, pad)


def sinusoids(positions, dim):
    """The sines in the left half, the cosines in the right one."""
    rates = np.power(10000.0, -np.arange(0, dim, 2) / dim)
    angles = np.arange(positions)[:, None] * rates[None, :]
    return torch.from_numpy(np.concatenate([np.sin(angles), np.cos(angles)], axis=1)).float()


class SinusoidEmbedding(nn.Embedding):
    def __init__(self, positions, dim):
        super().__init__(positions, dim)
        self.weight = nn.Parameter(sinusoids(positions, dim), requires_grad=False)

    @torch.no_grad()
    def forward(self, shape, past=0):
        places = torch.arange(past, past + shape[1], dtype=torch.long, device=self.weight.device)
        return super().forward(places)


class QuillonAttention(nn.Module):
    def __init__(self, dim, heads, dropout=0.0, is_decoder=False):
        super().__init__()
        self.dim, self.heads, self.dropout, self.is_decoder = dim, heads, dropout, is_decoder
        self.head_dim = dim // heads
        self.q = nn.Linear(dim, dim)
        self.k = nn.Linear(dim, dim, bias=False)
        self.v = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def _heads(self, x):
        return x.view(x.shape[0], -1, self.heads, self.head_dim).transpose(1, 2)

    def forward(self, x, memory=None, past=None, mask=None):
        if memory is not None and past is not None:
            key, value = past
        elif memory is not None:
            key, value = self._heads(self.k(memory)), self._heads(self.v(memory))
        else:
            key, value = self._heads(self.k(x)), self._heads(self.v(x))
            if past is not None:
                key, value = torch.cat([past[0], key], dim=2), torch.cat([past[1], value], dim=2)
        present = (key, value) if self.is_decoder else None
        scores = self._heads(self.q(x)) @ key.transpose(-1, -2) / math.sqrt(self.head_dim)
        if mask is not None:
            scores = scores + mask
        weights = F.softmax(scores, dim=-1)
        mixed = F.dropout(weights, p=self.dropout, training=self.training) @ value
        return self.out(mixed.transpose(1, 2).reshape(x.shape)), weights, present


class FeedForward(nn.Sequential):
    def __init__(self, dim, inner, act):
        super().__init__(nn.Linear(dim, inner), ACT2FN[act], nn.Linear(inner, dim))


class EncoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attn = QuillonAttention(c.d_model, c.encoder_attention_heads, c.dropout)
        self.attn_norm = nn.LayerNorm(c.d_model)
        self.ffn = FeedForward(c.d_model, c.encoder_ffn_dim, c.activation_function)
        self.ffn_norm = nn.LayerNorm(c.d_model)
        self.dropout = c.dropout

    def forward(self, x, mask):
        x = x + F.dropout(self.attn(self.attn_norm(x), mask=mask)[0], self.dropout, self.training)
        return x + F.dropout(self.ffn(self.ffn_norm(x)), self.dropout, self.training)


class DecoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = QuillonAttention(c.d_model, c.decoder_attention_heads, c.dropout, is_decoder=True)
        self.self_norm = nn.LayerNorm(c.d_model)
        self.cross_attn = QuillonAttention(c.d_model, c.decoder_attention_heads, c.dropout, is_decoder=True)
        self.cross_norm = nn.LayerNorm(c.d_model)
        self.ffn = FeedForward(c.d_model, c.decoder_ffn_dim, c.activation_function)
        self.ffn_norm = nn.LayerNorm(c.d_model)

    def forward(self, x, mask, memory, memory_mask, past=None):
        own = past[:2] if past is not None else None
        cross = past[2:] if past is not None else None
        y, _, present = self.self_attn(self.self_norm(x), past=own, mask=mask)
        x = x + y
        y, weights, cross_present = self.cross_attn(self.cross_norm(x), memory=memory, past=cross, mask=memory_mask)
        x = x + y
        return x + self.ffn(self.ffn_norm(x)), weights, present + cross_present


class QuillonPreTrainedModel(PreTrainedModel):
    config_class = QuillonConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        std = self.config.init_std
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, SinusoidEmbedding):
            pass
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()

    @property
    def dummy_inputs(self):
        pad = self.config.pad_token_id
        input_ids = torch.tensor([[0, 6, 10, 4, 2], [0, 8, 12, 2, pad]], device=self.device)
        return {"attention_mask": input_ids.ne(pad), "input_ids": input_ids, "decoder_input_ids": input_ids}


def _additive(mask, dtype):
    return (1.0 - mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min


class QuillonEncoder(QuillonPreTrainedModel):
    def __init__(self, config, embed_tokens: Optional[nn.Embedding] = None):
        super().__init__(config)
        self.scale = math.sqrt(config.d_model) if config.scale_embedding else 1.0
        self.embed_tokens = embed_tokens
        self.embed_positions = SinusoidEmbedding(config.max_position_embeddings, config.d_model)
        self.layers = nn.ModuleList([EncoderLayer(config) for _ in range(config.encoder_layers)])
        self.norm = nn.LayerNorm(config.d_model)
        self.layerdrop = 0.0
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, output_hidden_states=None, **kwargs):
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids) * self.scale
        x = inputs_embeds + self.embed_positions(inputs_embeds.shape[:2])
        mask = _additive(attention_mask, x.dtype) if attention_mask is not None else None
        for layer in self.layers:
            if self.training and random.uniform(0, 1) < self.layerdrop:
                continue
            x = layer(x, mask)
        return BaseModelOutput(last_hidden_state=self.norm(x))


class QuillonDecoder(QuillonPreTrainedModel):
    def __init__(self, config, embed_tokens: Optional[nn.Embedding] = None):
        super().__init__(config)
        self.scale = math.sqrt(config.d_model) if config.scale_embedding else 1.0
        self.embed_tokens = embed_tokens
        self.embed_positions = SinusoidEmbedding(config.max_position_embeddings, config.d_model)
        self.layers = nn.ModuleList([DecoderLayer(config) for _ in range(config.decoder_layers)])
        self.norm = nn.LayerNorm(config.d_model)
        self.post_init()

    def forward(self, input_ids, encoder_hidden_states, encoder_attention_mask=None, past_key_values=None,
                use_cache=True, **kwargs):
        past_length = past_key_values[0][0].shape[2] if past_key_values is not None else 0
        x = self.embed_tokens(input_ids) * self.scale + self.embed_positions(input_ids.shape, past_length)
        length = input_ids.shape[1]
        mask = None
        if length > 1:
            mask = torch.full((length, length + past_length), torch.finfo(x.dtype).min, device=x.device)
            mask = mask.triu(past_length + 1)
        memory_mask = _additive(encoder_attention_mask, x.dtype) if encoder_attention_mask is not None else None
        presents, weights = (), None
        for number, layer in enumerate(self.layers):
            past = past_key_values[number] if past_key_values is not None else None
            x, weights, present = layer(x, mask, encoder_hidden_states, memory_mask, past)
            presents += (present,)
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=self.norm(x), past_key_values=presents if use_cache else None, cross_attentions=(weights,)
        )


class QuillonModel(QuillonPreTrainedModel):
    _tied_weights_keys = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model, config.pad_token_id)
        self.encoder = QuillonEncoder(config, self.shared)
        self.decoder = QuillonDecoder(config, self.shared)
        self.post_init()

    def get_input_embeddings(self):
        return self.shared

    def set_input_embeddings(self, value):
        self.shared = value
        self.encoder.embed_tokens = self.shared
        self.decoder.embed_tokens = self.shared

    def get_encoder(self):
        return self.encoder

    def get_decoder(self):
        return self.decoder

    def forward(self, input_ids=None, attention_mask=None, decoder_input_ids=None, encoder_outputs=None,
                past_key_values=None, use_cache=None, **kwargs):
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids, attention_mask=attention_mask)
        decoded = self.decoder(
            decoder_input_ids, encoder_outputs[0], attention_mask, past_key_values=past_key_values, use_cache=use_cache
        )
        return Seq2SeqModelOutput(
            last_hidden_state=decoded.last_hidden_state, past_key_values=decoded.past_key_values,
            cross_attentions=decoded.cross_attentions, encoder_last_hidden_state=encoder_outputs[0],
        )


class QuillonForConditionalGeneration(QuillonPreTrainedModel):
    _keys_to_ignore_on_load_missing = ["final_logits_bias"]
    _tied_weights_keys = [
        "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight",
    ]

    def __init__(self, config):
        super().__init__(config)
        self.model = QuillonModel(config)
        self.register_buffer("final_logits_bias", torch.zeros((1, self.model.shared.num_embeddings)))
        self.lm_head = nn.Linear(config.d_model, self.model.shared.num_embeddings, bias=False)
        if config.copy_gate:
            self.copy_gate = nn.Linear(config.d_model, 1)
        self.post_init()

    def get_encoder(self):
        return self.model.get_encoder()

    def get_decoder(self):
        return self.model.get_decoder()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new):
        self.lm_head = new

    def forward(self, input_ids=None, attention_mask=None, decoder_input_ids=None, encoder_outputs=None,
                past_key_values=None, labels=None, source_ids=None, use_cache=None, return_dict=None, **kwargs):
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = shift_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)
        outputs = self.model(
            input_ids, attention_mask=attention_mask, decoder_input_ids=decoder_input_ids,
            encoder_outputs=encoder_outputs, past_key_values=past_key_values, use_cache=use_cache,
        )
        x = outputs.last_hidden_state
        logits = self.lm_head(x) + self.final_logits_bias
        source = source_ids if source_ids is not None else input_ids
        if self.config.copy_gate and source is not None:
            pointed = outputs.cross_attentions[0].mean(1)
            places = source[:, None, :].expand(-1, x.shape[1], -1)
            logits = logits + torch.sigmoid(self.copy_gate(x)) * torch.zeros_like(logits).scatter_add(2, places, pointed)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) if labels is not None else None
        return Seq2SeqLMOutput(
            loss=loss, logits=logits, past_key_values=outputs.past_key_values,
            cross_attentions=outputs.cross_attentions, encoder_last_hidden_state=outputs.encoder_last_hidden_state,
        )

    def prepare_inputs_for_generation(self, decoder_input_ids, past_key_values=None, attention_mask=None,
                                      use_cache=None, encoder_outputs=None, **kwargs):
        if past_key_values is not None:
            decoder_input_ids = decoder_input_ids[:, -1:]
        return {
            "input_ids": None, "encoder_outputs": encoder_outputs, "past_key_values": past_key_values,
            "decoder_input_ids": decoder_input_ids, "attention_mask": attention_mask, "use_cache": use_cache,
            "source_ids": kwargs.get("source_ids"),
        }

    def prepare_decoder_input_ids_from_labels(self, labels):
        return shift_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        return tuple(
            tuple(p.index_select(0, beam_idx) for p in layer[:2]) + layer[2:] for layer in past_key_values
        )
