import math
from typing import Optional, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache, EncoderDecoderCache
from transformers.generation import GenerationMixin
from transformers.modeling_attn_mask_utils import _prepare_4d_attention_mask, _prepare_4d_causal_attention_mask
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_gleaner import GleanerConfig

logger = logging.get_logger(__name__)


def shift_tokens_right(input_ids: torch.Tensor, pad_token_id: int, decoder_start_token_id: int):
    shifted = input_ids.new_zeros(input_ids.shape)
    shifted[:, 1:] = input_ids[:, :-1].clone()
    shifted[:, 0] = decoder_start_token_id
    return shifted.masked_fill(shifted == -100, pad_token_id)


class GleanerPositions(nn.Embedding):
    """Learned positions; two rows are lost to an old offset."""

    def __init__(self, num_embeddings: int, embedding_dim: int):
        self.offset = 2
        super().__init__(num_embeddings + self.offset, embedding_dim)

    def forward(self, length: int, past: int = 0):
        idx = torch.arange(past, past + length, dtype=torch.long, device=self.weight.device)
        return super().forward(idx + self.offset)


class GleanerAttention(nn.Module):
    def __init__(self, embed_dim, num_heads, dropout=0.0, layer_idx: Optional[int] = None):
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.scaling = self.head_dim**-0.5
        self.dropout = dropout
        self.layer_idx = layer_idx
        self.k_proj = nn.Linear(embed_dim, embed_dim)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def _shape(self, x):
        return x.view(x.shape[0], -1, self.num_heads, self.head_dim).transpose(1, 2)

    def forward(
        self,
        hidden_states: torch.Tensor,
        key_value_states: Optional[torch.Tensor] = None,
        past_key_values: Optional[EncoderDecoderCache] = None,
        attention_mask: Optional[torch.Tensor] = None,
        cache_position: Optional[torch.Tensor] = None,
    ):
        is_cross = key_value_states is not None
        b, t, c = hidden_states.shape
        q = self._shape(self.q_proj(hidden_states) * self.scaling)
        cache = None
        if past_key_values is not None:
            cache = past_key_values.cross_attention_cache if is_cross else past_key_values.self_attention_cache
        if is_cross and past_key_values is not None and past_key_values.is_updated.get(self.layer_idx):
            k = cache.layers[self.layer_idx].keys
            v = cache.layers[self.layer_idx].values
        else:
            source = key_value_states if is_cross else hidden_states
            k, v = self._shape(self.k_proj(source)), self._shape(self.v_proj(source))
            if cache is not None:
                k, v = cache.update(k, v, self.layer_idx, {"cache_position": None if is_cross else cache_position})
                if is_cross:
                    past_key_values.is_updated[self.layer_idx] = True
        w = torch.matmul(q, k.transpose(-1, -2))
        if attention_mask is not None:
            w = w + attention_mask
        w = F.softmax(w, dim=-1)
        out = torch.matmul(F.dropout(w, p=self.dropout, training=self.training), v)
        return self.out_proj(out.transpose(1, 2).reshape(b, t, c)), w


class GleanerEncoderLayer(nn.Module):
    def __init__(self, config: GleanerConfig):
        super().__init__()
        self.self_attn = GleanerAttention(config.d_model, config.encoder_attention_heads, config.attention_dropout)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)
        self.activation_fn = ACT2FN[config.activation_function]
        self.dropout = config.dropout

    def forward(self, hidden_states, attention_mask):
        attn, w = self.self_attn(self.self_attn_layer_norm(hidden_states), attention_mask=attention_mask)
        hidden_states = hidden_states + F.dropout(attn, p=self.dropout, training=self.training)
        x = self.fc2(self.activation_fn(self.fc1(self.final_layer_norm(hidden_states))))
        hidden_states = hidden_states + F.dropout(x, p=self.dropout, training=self.training)
        if hidden_states.dtype == torch.float16 and not torch.isfinite(hidden_states).all():
            limit = torch.finfo(hidden_states.dtype).max - 1000
            hidden_states = torch.clamp(hidden_states, min=-limit, max=limit)
        return hidden_states, w


class GleanerDecoderLayer(nn.Module):
    def __init__(self, config: GleanerConfig, layer_idx: int):
        super().__init__()
        args = (config.d_model, config.decoder_attention_heads, config.attention_dropout, layer_idx)
        self.self_attn = GleanerAttention(*args)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.encoder_attn = GleanerAttention(*args)
        self.encoder_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = nn.Linear(config.d_model, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, config.d_model)
        self.final_layer_norm = nn.LayerNorm(config.d_model)
        self.activation_fn = ACT2FN[config.activation_function]
        self.dropout = config.dropout

    def forward(self, hidden_states, mask, encoder_states, encoder_mask, past_key_values=None, cache_position=None):
        attn, w = self.self_attn(
            self.self_attn_layer_norm(hidden_states),
            past_key_values=past_key_values,
            attention_mask=mask,
            cache_position=cache_position,
        )
        hidden_states = hidden_states + F.dropout(attn, p=self.dropout, training=self.training)
        attn, cross = self.encoder_attn(
            self.encoder_attn_layer_norm(hidden_states),
            key_value_states=encoder_states,
            past_key_values=past_key_values,
            attention_mask=encoder_mask,
        )
        hidden_states = hidden_states + F.dropout(attn, p=self.dropout, training=self.training)
        x = self.fc2(self.activation_fn(self.fc1(self.final_layer_norm(hidden_states))))
        return hidden_states + F.dropout(x, p=self.dropout, training=self.training), w, cross


class GleanerPreTrainedModel(PreTrainedModel):
    config_class = GleanerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = False
    _no_split_modules = ["GleanerEncoderLayer", "GleanerDecoderLayer"]
    _skip_keys_device_placement = "past_key_values"

    def _init_weights(self, module):
        std = self.config.init_std
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()
        elif isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()


class GleanerEncoder(GleanerPreTrainedModel):
    def __init__(self, config, embed_tokens: Optional[nn.Embedding] = None):
        super().__init__(config)
        self.embed_scale = math.sqrt(config.d_model) if config.scale_embedding else 1.0
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model, config.pad_token_id)
        if embed_tokens is not None:
            self.embed_tokens.weight = embed_tokens.weight
        self.embed_positions = GleanerPositions(config.max_position_embeddings, config.d_model)
        self.layers = nn.ModuleList([GleanerEncoderLayer(config) for _ in range(config.encoder_layers)])
        self.layer_norm = nn.LayerNorm(config.d_model)
        self.post_init()

    def forward(
        self, input_ids=None, attention_mask=None, inputs_embeds=None, output_attentions=None,
        output_hidden_states=None, return_dict=None, **kwargs,
    ):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids) * self.embed_scale
        x = inputs_embeds + self.embed_positions(inputs_embeds.shape[1])
        x = F.dropout(x, p=self.config.dropout, training=self.training)
        mask = _prepare_4d_attention_mask(attention_mask, x.dtype) if attention_mask is not None else None
        states, attns = (), ()
        for layer in self.layers:
            states = states + (x,)
            x, w = layer(x, mask)
            attns = attns + (w,)
        x = self.layer_norm(x)
        out = BaseModelOutput(
            last_hidden_state=x,
            hidden_states=states + (x,) if output_hidden_states else None,
            attentions=attns if output_attentions else None,
        )
        return out if return_dict else out.to_tuple()


class GleanerDecoder(GleanerPreTrainedModel):
    def __init__(self, config, embed_tokens: Optional[nn.Embedding] = None):
        super().__init__(config)
        self.embed_scale = math.sqrt(config.d_model) if config.scale_embedding else 1.0
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model, config.pad_token_id)
        if embed_tokens is not None:
            self.embed_tokens.weight = embed_tokens.weight
        self.embed_positions = GleanerPositions(config.max_position_embeddings, config.d_model)
        self.layers = nn.ModuleList([GleanerDecoderLayer(config, i) for i in range(config.decoder_layers)])
        self.layer_norm = nn.LayerNorm(config.d_model)
        self.post_init()

    def forward(
        self, input_ids=None, attention_mask=None, encoder_hidden_states=None, encoder_attention_mask=None,
        past_key_values: Optional[Cache] = None, inputs_embeds=None, use_cache=None, output_attentions=None,
        output_hidden_states=None, return_dict=None, cache_position=None,
    ):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids) * self.embed_scale
        b, t = inputs_embeds.shape[:2]
        if use_cache and past_key_values is None:
            past_key_values = EncoderDecoderCache(DynamicCache(), DynamicCache())
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if cache_position is None:
            cache_position = torch.arange(past, past + t, device=inputs_embeds.device)
        mask = _prepare_4d_causal_attention_mask(attention_mask, (b, t), inputs_embeds, past)
        cross_mask = None
        if encoder_attention_mask is not None:
            cross_mask = _prepare_4d_attention_mask(encoder_attention_mask, inputs_embeds.dtype, tgt_len=t)
        x = inputs_embeds + self.embed_positions(t, past)
        x = F.dropout(x, p=self.config.dropout, training=self.training)
        states, attns, crosses = (), (), ()
        for layer in self.layers:
            states = states + (x,)
            x, w, cross = layer(x, mask, encoder_hidden_states, cross_mask, past_key_values, cache_position)
            attns, crosses = attns + (w,), crosses + (cross,)
        x = self.layer_norm(x)
        out = BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=x,
            past_key_values=past_key_values if use_cache else None,
            hidden_states=states + (x,) if output_hidden_states else None,
            attentions=attns if output_attentions else None,
            cross_attentions=crosses if output_attentions else None,
        )
        return out if return_dict else out.to_tuple()


class GleanerModel(GleanerPreTrainedModel):
    _tied_weights_keys = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]

    def __init__(self, config: GleanerConfig):
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model, config.pad_token_id)
        self.encoder = GleanerEncoder(config, self.shared)
        self.decoder = GleanerDecoder(config, self.shared)
        self.post_init()

    def _tie_weights(self):
        if self.config.tie_word_embeddings:
            self._tie_or_clone_weights(self.encoder.embed_tokens, self.shared)
            self._tie_or_clone_weights(self.decoder.embed_tokens, self.shared)

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

    def forward(
        self, input_ids=None, attention_mask=None, decoder_input_ids=None, decoder_attention_mask=None,
        encoder_outputs=None, past_key_values=None, inputs_embeds=None, decoder_inputs_embeds=None, use_cache=None,
        output_attentions=None, output_hidden_states=None, return_dict=None, cache_position=None,
    ) -> Union[tuple, Seq2SeqModelOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if decoder_input_ids is None and decoder_inputs_embeds is None:
            if input_ids is None:
                raise ValueError("Without `decoder_input_ids` there must be `input_ids`.")
            decoder_input_ids = shift_tokens_right(
                input_ids, self.config.pad_token_id, self.config.decoder_start_token_id
            )
        if encoder_outputs is None:
            encoder_outputs = self.encoder(
                input_ids, attention_mask, inputs_embeds, output_attentions, output_hidden_states, return_dict=True
            )
        elif not isinstance(encoder_outputs, BaseModelOutput):
            encoder_outputs = BaseModelOutput(last_hidden_state=encoder_outputs[0])
        dec = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            encoder_hidden_states=encoder_outputs[0],
            encoder_attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            cache_position=cache_position,
        )
        out = Seq2SeqModelOutput(
            last_hidden_state=dec.last_hidden_state,
            past_key_values=dec.past_key_values,
            decoder_hidden_states=dec.hidden_states,
            decoder_attentions=dec.attentions,
            cross_attentions=dec.cross_attentions,
            encoder_last_hidden_state=encoder_outputs.last_hidden_state,
            encoder_hidden_states=encoder_outputs.hidden_states,
            encoder_attentions=encoder_outputs.attentions,
        )
        return out if return_dict else out.to_tuple()


class GleanerForConditionalGeneration(GleanerPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight", "lm_head.weight"]
    _keys_to_ignore_on_load_missing = ["final_logits_bias"]

    def __init__(self, config: GleanerConfig):
        super().__init__(config)
        self.model = GleanerModel(config)
        self.register_buffer("final_logits_bias", torch.zeros((1, config.vocab_size)))
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def _tie_weights(self):
        if self.config.tie_word_embeddings:
            self.model._tie_weights()
            self._tie_or_clone_weights(self.lm_head, self.model.shared)

    def get_encoder(self):
        return self.model.get_encoder()

    def get_decoder(self):
        return self.model.get_decoder()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def prepare_decoder_input_ids_from_labels(self, labels: torch.Tensor):
        return shift_tokens_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)

    def forward(
        self, input_ids=None, attention_mask=None, decoder_input_ids=None, decoder_attention_mask=None,
        encoder_outputs=None, past_key_values=None, inputs_embeds=None, decoder_inputs_embeds=None, labels=None,
        use_cache=None, output_attentions=None, output_hidden_states=None, return_dict=None, cache_position=None,
    ) -> Union[tuple, Seq2SeqLMOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if labels is not None:
            use_cache = False
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
        outputs = self.model(
            input_ids,
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=decoder_attention_mask,
            encoder_outputs=encoder_outputs,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            decoder_inputs_embeds=decoder_inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            cache_position=cache_position,
        )
        lm_logits = self.lm_head(outputs.last_hidden_state) + self.final_logits_bias.to(outputs[0].device)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(
                lm_logits.view(-1, self.config.vocab_size),
                labels.view(-1).to(lm_logits.device),
                label_smoothing=self.config.label_smoothing,
            )
        out = Seq2SeqLMOutput(
            loss=loss,
            logits=lm_logits,
            past_key_values=outputs.past_key_values,
            decoder_hidden_states=outputs.decoder_hidden_states,
            decoder_attentions=outputs.decoder_attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=outputs.encoder_last_hidden_state,
            encoder_hidden_states=outputs.encoder_hidden_states,
            encoder_attentions=outputs.encoder_attentions,
        )
        return out if return_dict else out.to_tuple()

    def prepare_inputs_for_generation(
        self,
        decoder_input_ids,
        past_key_values=None,
        attention_mask=None,
        decoder_attention_mask=None,
        use_cache=None,
        encoder_outputs=None,
        cache_position=None,
        **kwargs,
    ):
        if past_key_values is not None:
            past_length = past_key_values.get_seq_length()
            if decoder_input_ids.shape[1] > past_length:
                decoder_input_ids = decoder_input_ids[:, past_length:]
            else:
                decoder_input_ids = decoder_input_ids[:, -1:]
        return {
            "input_ids": None,
            "encoder_outputs": encoder_outputs,
            "past_key_values": past_key_values,
            "decoder_input_ids": decoder_input_ids,
            "attention_mask": attention_mask,
            "decoder_attention_mask": decoder_attention_mask,
            "use_cache": use_cache,
        }
