"""Puffin: a small streaming recogniser with the encoder of Whisper."""
import math
from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.models.whisper.modeling_whisper import (
    WHISPER_ATTENTION_CLASSES,
    WhisperEncoder,
    WhisperPositionalEmbedding,
    WhisperPreTrainedModel,
    shift_tokens_right,
)
from transformers.utils import logging

from .audio_front import LogMel
from .configuration_puffin import PuffinConfig

logger = logging.get_logger(__name__)


class Adapter(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.down = nn.Linear(dim, inner)
        self.up = nn.Linear(inner, dim)

    def forward(self, x):
        return x + self.up(F.gelu(self.down(self.norm(x))))


class PuffinEncoder(WhisperEncoder):
    """Whisper's encoder that takes any length up to its table, with an adapter after each layer."""

    def __init__(self, config):
        super().__init__(config)
        self.adapters = nn.ModuleList([Adapter(config.d_model, config.adapter_dim) for _ in self.layers])

    def forward(self, input_features, attention_mask=None, output_hidden_states=False, return_dict=True, **kwargs):
        x = F.gelu(self.conv1(input_features))
        x = F.gelu(self.conv2(x)).permute(0, 2, 1)
        if x.shape[1] > self.embed_positions.weight.shape[0]:
            raise ValueError(f"at most {self.embed_positions.weight.shape[0] * 2} frames, got {input_features.shape[-1]}")
        x = x + self.embed_positions.weight[: x.shape[1]]
        every = ()
        for layer, adapter in zip(self.layers, self.adapters):
            if output_hidden_states:
                every += (x,)
            x = layer(x, None, layer_head_mask=None)[0]
            x = adapter(x)
        return BaseModelOutput(last_hidden_state=self.layer_norm(x), hidden_states=every or None)


class PuffinDecoderLayer(nn.Module):
    def __init__(self, config: PuffinConfig, layer_idx: int):
        super().__init__()
        attention = WHISPER_ATTENTION_CLASSES[config._attn_implementation]
        common = dict(
            embed_dim=config.d_model, num_heads=config.decoder_attention_heads, dropout=config.attention_dropout,
            is_decoder=True, layer_idx=layer_idx, config=config,
        )
        self.self_attn = attention(is_causal=True, **common)
        self.cross_attn = attention(**common)
        self.norm1 = nn.LayerNorm(config.d_model)
        self.norm2 = nn.LayerNorm(config.d_model)
        self.norm3 = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, config.d_model)

    def forward(self, x, memory, mask, past: Optional[EncoderDecoderCache], cache_position):
        x = x + self.self_attn(
            hidden_states=self.norm1(x), past_key_value=past, attention_mask=mask, cache_position=cache_position
        )[0]
        x = x + self.cross_attn(hidden_states=self.norm2(x), key_value_states=memory, past_key_value=past)[0]
        return x + self.fc2(F.gelu(self.fc1(self.norm3(x))))


class PuffinPreTrainedModel(WhisperPreTrainedModel):
    config_class = PuffinConfig
    _no_split_modules = ["WhisperEncoderLayer", "PuffinDecoderLayer"]

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, Adapter):
            nn.init.zeros_(module.up.weight)


class PuffinDecoder(PuffinPreTrainedModel):
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model, config.pad_token_id)
        self.embed_positions = WhisperPositionalEmbedding(config.max_target_positions, config.d_model)
        self.layers = nn.ModuleList([PuffinDecoderLayer(config, i) for i in range(config.decoder_layers)])
        self.norm = nn.LayerNorm(config.d_model)
        self.post_init()

    def forward(self, input_ids, memory, past_key_values=None, use_cache=True, cache_position=None):
        if use_cache and not isinstance(past_key_values, EncoderDecoderCache):
            if isinstance(past_key_values, Cache):
                past_key_values = EncoderDecoderCache(past_key_values, DynamicCache())
            else:
                past_key_values = EncoderDecoderCache.from_legacy_cache(past_key_values)
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        length = input_ids.shape[1]
        if cache_position is None:
            cache_position = torch.arange(past, past + length, device=input_ids.device)
        x = self.embed_tokens(input_ids) + self.embed_positions(input_ids, past_key_values_length=past)
        keys = torch.arange(past + length, device=x.device)
        mask = torch.zeros(length, past + length, device=x.device, dtype=x.dtype)
        mask = mask.masked_fill(keys[None] > cache_position[:, None], torch.finfo(x.dtype).min)[None, None]
        mask = mask.expand(x.shape[0], 1, -1, -1)
        for layer in self.layers:
            x = layer(x, memory, mask, past_key_values, cache_position)
        return self.norm(x), past_key_values


class PuffinForSpeech(PuffinPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["lm_head.weight"]
    base_model_prefix = ""

    def __init__(self, config: PuffinConfig):
        super().__init__(config)
        self.front = LogMel(config)
        self.encoder = PuffinEncoder(config)
        self.decoder = PuffinDecoder(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_encoder(self):
        return self.encoder

    def get_decoder(self):
        return self.decoder

    def get_input_embeddings(self):
        return self.decoder.embed_tokens

    def set_input_embeddings(self, value):
        self.decoder.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def freeze_encoder(self):
        for parameter in self.encoder.parameters():
            parameter.requires_grad_(False)

    def forward(
        self,
        input_features: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.LongTensor] = None,
        decoder_input_ids: Optional[torch.LongTensor] = None,
        decoder_attention_mask: Optional[torch.LongTensor] = None,
        encoder_outputs: Optional[Tuple] = None,
        past_key_values: Optional[Union[EncoderDecoderCache, Tuple]] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
        **kwargs,
    ):
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = shift_tokens_right(
                labels, self.config.pad_token_id, self.config.decoder_start_token_id
            )
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_features)
        hidden, past_key_values = self.decoder(
            decoder_input_ids, encoder_outputs[0], past_key_values, use_cache, cache_position
        )
        logits = self.lm_head(hidden)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits.view(-1, self.config.vocab_size), labels.reshape(-1))
        return Seq2SeqLMOutput(
            loss=loss, logits=logits, past_key_values=past_key_values if use_cache else None,
            encoder_last_hidden_state=encoder_outputs[0],
        )

    def prepare_inputs_for_generation(
        self, decoder_input_ids, past_key_values=None, use_cache=None, encoder_outputs=None, cache_position=None, **kwargs
    ):
        if past_key_values is not None:
            past = past_key_values.get_seq_length()
            decoder_input_ids = decoder_input_ids[:, past if decoder_input_ids.shape[1] > past else -1:]
        return {
            "encoder_outputs": encoder_outputs, "past_key_values": past_key_values, "use_cache": use_cache,
            "decoder_input_ids": decoder_input_ids.contiguous(),
        }

    def generate(self, input_features=None, waves=None, **kwargs):
        if input_features is None:
            input_features = self.front(waves)
        frames = 2 * self.config.max_source_positions
        if input_features.shape[-1] > frames:
            pieces = [self.generate(p, **kwargs) for p in input_features.split(frames, dim=-1)]
            width = max(p.shape[1] for p in pieces)
            return torch.cat([F.pad(p, (0, width - p.shape[1]), value=self.config.pad_token_id) for p in pieces], dim=1)
        return super().generate(input_features=input_features, **kwargs)

    @torch.no_grad()
    def transcribe(self, wave, tokenizer, seconds: Optional[float] = None):
        size = int((seconds or self.config.chunk_seconds) * self.config.sample_rate)
        texts = []
        for number in range(math.ceil(len(wave) / size)):
            piece = wave[number * size:(number + 1) * size]
            if len(piece) < self.config.n_fft:
                break
            ids = self.generate(self.front(piece[None].to(self.device)), max_new_tokens=self.config.max_target_positions - 4)
            texts.append(tokenizer.decode(ids[0], skip_special_tokens=True))
        return " ".join(texts)
