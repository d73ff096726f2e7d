import math
from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqLMOutput,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_curlew import CurlewConfig

logger = logging.get_logger(__name__)


def sinusoids(length: int, channels: int, max_timescale: float = 10000) -> torch.Tensor:
    if channels % 2:
        raise ValueError("channels must be even")
    step = math.log(max_timescale) / (channels // 2 - 1)
    inverse = torch.exp(-step * torch.arange(channels // 2))
    time = torch.arange(length).view(-1, 1) * inverse.view(1, -1)
    return torch.cat([time.sin(), time.cos()], dim=1)


def shift_tokens_right(labels: torch.Tensor, pad_token_id: int, start: int):
    shifted = labels.roll(1, -1)
    shifted[:, 0] = start
    return shifted.masked_fill(shifted == -100, pad_token_id)


def spec_mask(features, prob, length, generator=None):
    b, _, t = features.shape
    number = max(1, int(prob * t / length))
    starts = torch.randint(0, max(1, t - length), (b, number), generator=generator, device=features.device)
    where = torch.arange(t, device=features.device)
    hidden = ((where >= starts[..., None]) & (where < starts[..., None] + length)).any(1)
    return features.masked_fill(hidden[:, None], 0.0)


class CurlewAttention(nn.Module):
    def __init__(self, d, heads, dropout=0.0, is_decoder=False, layer_idx=None):
        super().__init__()
        self.heads, self.head_dim = heads, d // heads
        self.dropout = dropout
        self.is_decoder = is_decoder
        self.layer_idx = layer_idx
        self.k_proj = nn.Linear(d, d, bias=False)
        self.v_proj = nn.Linear(d, d)
        self.q_proj = nn.Linear(d, d)
        self.out_proj = nn.Linear(d, d)

    def split(self, x):
        return x.view(x.shape[0], -1, self.heads, self.head_dim).transpose(1, 2)

    def forward(self, x, memory=None, past_key_value: Optional[EncoderDecoderCache] = None, mask=None,
                cache_position=None):
        q = self.split(self.q_proj(x))
        cross = memory is not None
        if past_key_value is not None and cross and past_key_value.is_updated.get(self.layer_idx):
            k = past_key_value.cross_attention_cache.key_cache[self.layer_idx]
            v = past_key_value.cross_attention_cache.value_cache[self.layer_idx]
        else:
            source = memory if cross else x
            k, v = self.split(self.k_proj(source)), self.split(self.v_proj(source))
            if past_key_value is not None:
                cache = past_key_value.cross_attention_cache if cross else past_key_value.self_attention_cache
                k, v = cache.update(k, v, self.layer_idx, {"cache_position": None if cross else cache_position})
                if cross:
                    past_key_value.is_updated[self.layer_idx] = True
        if mask is not None:
            mask = mask[..., : k.shape[-2]]
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0
        )
        return self.out_proj(y.transpose(1, 2).reshape(x.shape))


class CurlewEncoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.d_model
        self.self_attn = CurlewAttention(d, config.encoder_attention_heads, config.dropout)
        self.self_attn_layer_norm = nn.LayerNorm(d)
        self.fc1 = nn.Linear(d, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, d)
        self.final_layer_norm = nn.LayerNorm(d)

    def forward(self, x):
        x = x + self.self_attn(self.self_attn_layer_norm(x))
        x = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        if x.dtype == torch.float16:
            limit = torch.finfo(x.dtype).max - 1000
            x = x.clamp(-limit, limit)
        return x


class CurlewDecoderLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        d, heads = config.d_model, config.decoder_attention_heads
        self.self_attn = CurlewAttention(d, heads, config.dropout, True, layer_idx)
        self.self_attn_layer_norm = nn.LayerNorm(d)
        self.encoder_attn = CurlewAttention(d, heads, config.dropout, True, layer_idx)
        self.encoder_attn_layer_norm = nn.LayerNorm(d)
        self.fc1 = nn.Linear(d, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, d)
        self.final_layer_norm = nn.LayerNorm(d)

    def forward(self, x, memory, past_key_value=None, mask=None, cache_position=None):
        x = x + self.self_attn(
            self.self_attn_layer_norm(x), past_key_value=past_key_value, mask=mask, cache_position=cache_position
        )
        x = x + self.encoder_attn(self.encoder_attn_layer_norm(x), memory=memory, past_key_value=past_key_value)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class CurlewPreTrainedModel(PreTrainedModel):
    config_class = CurlewConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True
    _no_split_modules = ["CurlewEncoderLayer", "CurlewDecoderLayer"]
    _supports_cache_class = True
    _supports_static_cache = False

    def _init_weights(self, module):
        std = self.config.init_std
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()
        elif isinstance(module, CurlewEncoder):
            with torch.no_grad():
                module.embed_positions.weight.copy_(sinusoids(*module.embed_positions.weight.shape))


class CurlewEncoder(CurlewPreTrainedModel):
    def __init__(self, config: CurlewConfig):
        super().__init__(config)
        d = config.d_model
        self.conv1 = nn.Conv1d(config.num_mel_bins, d, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(d, d, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, d)
        self.embed_positions.requires_grad_(False)
        self.layers = nn.ModuleList([CurlewEncoderLayer(config) for _ in range(config.encoder_layers)])
        self.layer_norm = nn.LayerNorm(d)
        self.post_init()

    def forward(self, input_features, attention_mask=None, return_dict=True, **kwargs):
        if self.training and self.config.mask_time_prob > 0:
            input_features = spec_mask(input_features, self.config.mask_time_prob, self.config.mask_time_length)
        expected = self.config.max_source_positions * 2
        if input_features.shape[-1] != expected:
            raise ValueError(f"features must have {expected} frames, pad them to 30 s")
        x = F.gelu(self.conv2(F.gelu(self.conv1(input_features)))).permute(0, 2, 1)
        x = x + self.embed_positions.weight
        for layer in self.layers:
            x = layer(x)
        return BaseModelOutput(last_hidden_state=self.layer_norm(x))


class CurlewDecoder(CurlewPreTrainedModel):
    main_input_name = "input_ids"

    def __init__(self, config: CurlewConfig):
        super().__init__(config)
        d = config.d_model
        self.scale = math.sqrt(d) if config.scale_embedding else 1.0
        self.embed_tokens = nn.Embedding(config.vocab_size, d, config.pad_token_id)
        self.embed_positions = nn.Embedding(config.max_target_positions, d)
        self.layers = nn.ModuleList([CurlewDecoderLayer(config, i) for i in range(config.decoder_layers)])
        self.layer_norm = nn.LayerNorm(d)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def forward(
        self, input_ids=None, attention_mask=None, encoder_hidden_states=None, past_key_values=None,
        use_cache=None, cache_position=None,
    ):
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if use_cache and past_key_values is None:
            past_key_values = EncoderDecoderCache(DynamicCache(), DynamicCache())
        elif use_cache and not isinstance(past_key_values, EncoderDecoderCache):
            past_key_values = EncoderDecoderCache.from_legacy_cache(past_key_values)
        length = input_ids.shape[1]
        start = past_key_values.get_seq_length() if past_key_values is not None else 0
        if cache_position is None:
            cache_position = torch.arange(start, start + length, device=input_ids.device)
        x = self.embed_tokens(input_ids) * self.scale + self.embed_positions(cache_position)
        total = int(cache_position[-1]) + 1
        allowed = torch.arange(total, device=x.device)[None] <= cache_position[:, None]
        mask = torch.zeros(length, total, dtype=x.dtype, device=x.device)
        mask = mask.masked_fill(~allowed, torch.finfo(x.dtype).min)[None, None]
        if attention_mask is not None:
            padded = attention_mask[:, None, None, :total] == 0
            mask = mask.masked_fill(padded, torch.finfo(x.dtype).min)
        for layer in self.layers:
            x = layer(x, encoder_hidden_states, past_key_values if use_cache else None, mask, cache_position)
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=self.layer_norm(x), past_key_values=past_key_values if use_cache else None
        )


class CurlewModel(CurlewPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.encoder = CurlewEncoder(config)
        self.decoder = CurlewDecoder(config)
        self.post_init()

    def get_input_embeddings(self):
        return self.decoder.embed_tokens

    def set_input_embeddings(self, value):
        self.decoder.embed_tokens = value

    def get_encoder(self):
        return self.encoder

    def get_decoder(self):
        return self.decoder


class CurlewForConditionalGeneration(CurlewPreTrainedModel, GenerationMixin):
    base_model_prefix = "model"
    _tied_weights_keys = ["proj_out.weight"]

    def __init__(self, config: CurlewConfig):
        super().__init__(config)
        self.model = CurlewModel(config)
        self.proj_out = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.ctc_head = nn.Linear(config.d_model, config.vocab_size)
        self.max_target_positions = config.max_target_positions
        self.post_init()

    def get_encoder(self):
        return self.model.get_encoder()

    def get_decoder(self):
        return self.model.get_decoder()

    def get_output_embeddings(self):
        return self.proj_out

    def set_output_embeddings(self, new_embeddings):
        self.proj_out = new_embeddings

    def prepare_decoder_input_ids_from_labels(self, labels):
        return shift_tokens_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)

    def prepare_inputs_for_generation(
        self, decoder_input_ids, past_key_values=None, use_cache=None, encoder_outputs=None,
        decoder_attention_mask=None, cache_position=None, **kwargs,
    ):
        past_length = past_key_values.get_seq_length() if past_key_values is not None else 0
        return {
            "encoder_outputs": encoder_outputs,
            "past_key_values": past_key_values,
            "decoder_input_ids": decoder_input_ids[:, past_length:],
            "use_cache": use_cache,
            "decoder_attention_mask": decoder_attention_mask,
            "cache_position": cache_position,
        }

    def forward(
        self,
        input_features: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.LongTensor] = None,
        decoder_input_ids: Optional[torch.LongTensor] = None,
        decoder_attention_mask: Optional[torch.LongTensor] = None,
        encoder_outputs: Optional[Tuple] = None,
        past_key_values: Optional[Union[EncoderDecoderCache, Cache]] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
    ) -> Seq2SeqLMOutput:
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        if encoder_outputs is None:
            encoder_outputs = self.model.encoder(input_features)
        memory = encoder_outputs[0]
        out = self.model.decoder(
            decoder_input_ids, decoder_attention_mask, memory, past_key_values, use_cache, cache_position
        )
        logits = self.proj_out(out.last_hidden_state)
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits.flatten(0, 1), labels.flatten())
            if self.config.ctc_weight:
                logp = self.ctc_head(memory).float().log_softmax(-1).transpose(0, 1)
                lengths = (labels > 0).sum(-1)
                ctc = F.ctc_loss(
                    logp, labels.clamp(min=0), torch.full_like(lengths, memory.shape[1]), lengths, zero_infinity=True
                )
                loss = (1 - self.config.ctc_weight) * loss + self.config.ctc_weight * ctc
        return Seq2SeqLMOutput(
            loss=loss, logits=logits, past_key_values=out.past_key_values, encoder_last_hidden_state=memory
        )
