"""Corncrake MT.  Small many-to-one translation models for low resource languages.

We use torch's own transformer layers (nested tensors and fast path switched off, they gave different results
between torch 1.13 and 2.0 for us) and wrap them for generate().
"""
import math
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput

from .configuration_corncrake import CorncrakeConfig


def shift_tokens_right(input_ids: torch.Tensor, pad_token_id: int, decoder_start_token_id: int):
    shifted = input_ids.new_zeros(input_ids.shape)
    shifted[:, 1:] = input_ids[:, :-1].clone()
    shifted[:, 0] = decoder_start_token_id
    if pad_token_id is None:
        raise ValueError("config.pad_token_id has to be defined.")
    shifted.masked_fill_(shifted == -100, pad_token_id)
    return shifted


class SinusoidalPositions(nn.Embedding):
    """fixed sinusoids, kept as a (frozen) parameter so that they are saved with the model"""

    def __init__(self, n, dim):
        super().__init__(n, dim)
        pos = torch.arange(n).float()[:, None]
        div = torch.exp(torch.arange(0, dim, 2).float() * (-math.log(10000.0) / dim))
        table = torch.cat([torch.sin(pos * div), torch.cos(pos * div)], -1)
        with torch.no_grad():
            self.weight.copy_(table)
        self.weight.requires_grad_(False)

    def forward(self, length, offset=0):
        idx = torch.arange(offset, offset + length, device=self.weight.device)
        return super().forward(idx)


class CorncrakePreTrainedModel(PreTrainedModel):
    config_class = CorncrakeConfig
    base_model_prefix = "model"
    _no_split_modules = ["TransformerEncoderLayer", "TransformerDecoderLayer"]

    def _init_weights(self, module):
        std = self.config.init_std
        if isinstance(module, SinusoidalPositions):
            return
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, mean=0.0, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=std)


class CorncrakeEncoder(CorncrakePreTrainedModel):
    main_input_name = "input_ids"

    def __init__(self, config: CorncrakeConfig, shared=None):
        super().__init__(config)
        self.scale = math.sqrt(config.d_model) if config.scale_embedding else 1.0
        self.embed_positions = SinusoidalPositions(config.max_position_embeddings, config.d_model)
        self.layers = nn.ModuleList([
            nn.TransformerEncoderLayer(config.d_model, config.encoder_attention_heads, config.ffn_dim, config.dropout,
                                       activation="gelu", batch_first=True, norm_first=True)
            for _ in range(config.encoder_layers)])
        self.layer_norm = nn.LayerNorm(config.d_model)
        # not a submodule: the table belongs to the outer model
        self._table = [shared]
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, output_attentions=None,
                output_hidden_states=None, return_dict=None, **kwargs):
        if inputs_embeds is None:
            inputs_embeds = self._table[0](input_ids)
        x = inputs_embeds * self.scale + self.embed_positions(inputs_embeds.shape[1])
        pad = None
        if attention_mask is not None:
            pad = attention_mask.eq(0)
            if not pad.any():
                pad = None
        for layer in self.layers:
            # keep off the fused path
            x = x + layer._sa_block(layer.norm1(x), None, pad)
            x = x + layer._ff_block(layer.norm2(x))
        return BaseModelOutput(last_hidden_state=self.layer_norm(x))


class CorncrakeDecoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.scale = math.sqrt(config.d_model) if config.scale_embedding else 1.0
        self.embed_positions = SinusoidalPositions(config.max_position_embeddings, config.d_model)
        self.layers = nn.ModuleList([
            nn.TransformerDecoderLayer(config.d_model, config.decoder_attention_heads, config.ffn_dim, config.dropout,
                                       activation="gelu", batch_first=True, norm_first=True)
            for _ in range(config.decoder_layers)])
        self.layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, embeds, memory, memory_pad=None, tgt_pad=None):
        t = embeds.shape[1]
        x = embeds * self.scale + self.embed_positions(t)
        causal = torch.ones(t, t, dtype=torch.bool, device=x.device).triu(1)
        for layer in self.layers:
            x = layer(x, memory, tgt_mask=causal, memory_key_padding_mask=memory_pad, tgt_key_padding_mask=tgt_pad)
        return self.layer_norm(x)


class CorncrakeForConditionalGeneration(CorncrakePreTrainedModel, GenerationMixin):
    def __init__(self, config: CorncrakeConfig):
        super().__init__(config)
        self.table = nn.Embedding(config.vocab_size, config.d_model, padding_idx=config.pad_token_id)
        self.encoder = CorncrakeEncoder(config, self.table)
        self.decoder = CorncrakeDecoder(config)
        self.final_logits_bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.post_init()

    def get_encoder(self, *args, **kwargs):
        return self.encoder

    def get_decoder(self, *args, **kwargs):
        return self.decoder

    def get_input_embeddings(self):
        return self.table

    def set_input_embeddings(self, value):
        self.table = value
        self.encoder._table[0] = value

    def get_output_embeddings(self):
        return None

    def forward(self, input_ids=None, attention_mask=None, decoder_input_ids=None, decoder_attention_mask=None,
                encoder_outputs=None, labels=None, use_cache=None, output_attentions=None, output_hidden_states=None,
                return_dict=None, **kwargs) -> Union[Tuple, Seq2SeqLMOutput]:
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = shift_tokens_right(labels, self.config.pad_token_id,
                                                   self.config.decoder_start_token_id)
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_ids, attention_mask)
        memory = encoder_outputs[0]
        memory_pad = attention_mask.eq(0) if attention_mask is not None else None
        x = self.decoder(self.table(decoder_input_ids), memory, memory_pad)
        logits = F.linear(x, self.table.weight) + self.final_logits_bias
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100,
                                   label_smoothing=self.config.label_smoothing)
        return Seq2SeqLMOutput(loss=loss, logits=logits, encoder_last_hidden_state=memory)

    def prepare_inputs_for_generation(self, decoder_input_ids, attention_mask=None, encoder_outputs=None, **kwargs):
        return {"decoder_input_ids": decoder_input_ids, "encoder_outputs": encoder_outputs,
                "attention_mask": attention_mask, "use_cache": False}

    def prepare_decoder_input_ids_from_labels(self, labels):
        return shift_tokens_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)

    @torch.no_grad()
    def translate(self, tokenizer, sentences: List[str], num_beams=4, max_new_tokens=128):
        batch = tokenizer(sentences, return_tensors="pt", padding=True).to(self.device)
        out = self.generate(**batch, num_beams=num_beams, max_new_tokens=max_new_tokens)
        return tokenizer.batch_decode(out, skip_special_tokens=True)
