""" PyTorch ScribeVox model: log-mel in, characters out."""
import math
import random
from typing import List, Optional, Tuple, Union

import torch
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.activations import ACT2FN
from transformers.generation.utils import GenerationMixin
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPastAndCrossAttentions,
    Seq2SeqLMOutput,
    Seq2SeqModelOutput,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_scribevox import ScribeVoxConfig

logger = logging.get_logger(__name__)


def shift_tokens_right(input_ids: torch.Tensor, pad_token_id: int, decoder_start_token_id: int):
    shifted = input_ids.new_zeros(input_ids.shape)
    shifted[:, 1:] = input_ids[:, :-1].clone()
    shifted[:, 0] = decoder_start_token_id
    shifted.masked_fill_(shifted == -100, pad_token_id)
    return shifted


def sinusoids(length, channels, max_timescale=10000):
    """Returns sinusoids for positional embedding"""
    assert channels % 2 == 0
    inc = math.log(max_timescale) / (channels // 2 - 1)
    inv = torch.exp(-inc * torch.arange(channels // 2))
    t = torch.arange(length)[:, None] * inv[None, :]
    return torch.cat([torch.sin(t), torch.cos(t)], dim=1)


class ScribeVoxAttention(nn.Module):
    """Multi-headed attention from 'Attention Is All You Need' paper"""

    def __init__(self, embed_dim, num_heads, dropout=0.0, is_decoder=False, bias=True):
        super().__init__()
        self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.scaling = self.head_dim**-0.5
        self.is_decoder = is_decoder
        self.k_proj = nn.Linear(embed_dim, embed_dim, bias=False)
        self.v_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.q_proj = nn.Linear(embed_dim, embed_dim, bias=bias)
        self.out_proj = nn.Linear(embed_dim, embed_dim, bias=bias)

    def _shape(self, t, seq_len, bsz):
        return t.view(bsz, seq_len, self.num_heads, self.head_dim).transpose(1, 2).contiguous()

    def forward(self, hidden_states, key_value_states=None, past_key_value=None, attention_mask=None):
        is_cross = key_value_states is not None
        bsz, tgt_len, _ = hidden_states.size()
        q = self._shape(self.q_proj(hidden_states) * self.scaling, tgt_len, bsz)
        if is_cross and past_key_value is not None and past_key_value[0].shape[2] == key_value_states.shape[1]:
            # reuse k,v, cross_attentions
            k, v = past_key_value[0], past_key_value[1]
        elif is_cross:
            k = self._shape(self.k_proj(key_value_states), -1, bsz)
            v = self._shape(self.v_proj(key_value_states), -1, bsz)
        else:
            k = self._shape(self.k_proj(hidden_states), -1, bsz)
            v = self._shape(self.v_proj(hidden_states), -1, bsz)
            if past_key_value is not None:
                k = torch.cat([past_key_value[0], k], dim=2)
                v = torch.cat([past_key_value[1], v], dim=2)
        if self.is_decoder:
            past_key_value = (k, v)
        w = torch.matmul(q, k.transpose(2, 3))
        if attention_mask is not None:
            w = w + attention_mask
        out = torch.matmul(w.softmax(dim=-1), v).transpose(1, 2).reshape(bsz, tgt_len, self.embed_dim)
        return self.out_proj(out), past_key_value


class ScribeVoxEncoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.d_model
        self.self_attn = ScribeVoxAttention(d, config.encoder_attention_heads)
        self.self_attn_layer_norm = nn.LayerNorm(d)
        self.activation_fn = ACT2FN[config.activation_function]
        self.fc1 = nn.Linear(d, config.encoder_ffn_dim)
        self.fc2 = nn.Linear(config.encoder_ffn_dim, d)
        self.final_layer_norm = nn.LayerNorm(d)

    def forward(self, x):
        x = x + self.self_attn(self.self_attn_layer_norm(x))[0]
        return x + self.fc2(self.activation_fn(self.fc1(self.final_layer_norm(x))))


class ScribeVoxDecoderLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.d_model
        self.self_attn = ScribeVoxAttention(d, config.decoder_attention_heads, is_decoder=True)
        self.self_attn_layer_norm = nn.LayerNorm(d)
        self.encoder_attn = ScribeVoxAttention(d, config.decoder_attention_heads, is_decoder=True)
        self.encoder_attn_layer_norm = nn.LayerNorm(d)
        self.activation_fn = ACT2FN[config.activation_function]
        self.fc1 = nn.Linear(d, config.decoder_ffn_dim)
        self.fc2 = nn.Linear(config.decoder_ffn_dim, d)
        self.final_layer_norm = nn.LayerNorm(d)

    def forward(self, x, mask, enc, past_key_value=None, use_cache=True):
        # decoder uni-directional self-attention cached key/values tuple is at positions 1,2
        self_past = past_key_value[:2] if past_key_value is not None else None
        a, present = self.self_attn(self.self_attn_layer_norm(x), past_key_value=self_past, attention_mask=mask)
        x = x + a
        # cross_attn cached key/values tuple is at positions 3,4 of past_key_value tuple
        cross_past = past_key_value[-2:] if past_key_value is not None else None
        a, cross_present = self.encoder_attn(self.encoder_attn_layer_norm(x), key_value_states=enc, past_key_value=cross_past)
        x = x + a
        x = x + self.fc2(self.activation_fn(self.fc1(self.final_layer_norm(x))))
        return x, present + cross_present


class ScribeVoxPreTrainedModel(PreTrainedModel):
    config_class = ScribeVoxConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True

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
        elif isinstance(module, ScribeVoxEncoder):
            with torch.no_grad():
                embed_positions = module.embed_positions.weight
                embed_positions.copy_(sinusoids(*embed_positions.shape))


class ScribeVoxEncoder(ScribeVoxPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        d = config.d_model
        self.conv1 = nn.Conv1d(config.num_mel_bins, d, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(d, d, kernel_size=3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, d)
        self.embed_positions.requires_grad_(False)
        self.layers = nn.ModuleList([ScribeVoxEncoderLayer(config) for _ in range(config.encoder_layers)])
        self.layer_norm = nn.LayerNorm(d)
        self.post_init()

    def forward(self, input_features, attention_mask=None, head_mask=None, output_attentions=None, output_hidden_states=None, return_dict=None):
        x = nn.functional.gelu(self.conv1(input_features))
        x = nn.functional.gelu(self.conv2(x)).permute(0, 2, 1)
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return BaseModelOutput(last_hidden_state=self.layer_norm(x))


class ScribeVoxDecoder(ScribeVoxPreTrainedModel):
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        d = config.d_model
        self.embed_scale = math.sqrt(d) if config.scale_embedding else 1.0
        self.embed_tokens = nn.Embedding(config.vocab_size, d, config.pad_token_id)
        self.embed_positions = nn.Embedding(config.max_target_positions, d)
        self.layers = nn.ModuleList([ScribeVoxDecoderLayer(config) for _ in range(config.decoder_layers)])
        self.layer_norm = nn.LayerNorm(d)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def forward(self, input_ids, encoder_hidden_states, past_key_values=None, use_cache=None):
        past_len = past_key_values[0][0].shape[2] if past_key_values is not None else 0
        n = input_ids.shape[1]
        x = self.embed_tokens(input_ids) * self.embed_scale
        x = x + self.embed_positions(torch.arange(past_len, past_len + n, device=x.device))[None]
        mask = torch.full((n, past_len + n), torch.finfo(x.dtype).min, device=x.device).triu(past_len + 1)[None, None]
        cache = ()
        for i, layer in enumerate(self.layers):
            x, present = layer(x, mask, encoder_hidden_states, past_key_values[i] if past_key_values is not None else None)
            cache += (present,)
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=self.layer_norm(x), past_key_values=cache if use_cache else None)


class ScribeVoxModel(ScribeVoxPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.encoder = ScribeVoxEncoder(config)
        self.decoder = ScribeVoxDecoder(config)
        self.post_init()

    def get_input_embeddings(self):
        return self.decoder.embed_tokens

    def set_input_embeddings(self, value):
        self.decoder.embed_tokens = value

    def get_encoder(self):
        return self.encoder

    def get_decoder(self):
        return self.decoder

    def forward(self, input_features=None, decoder_input_ids=None, encoder_outputs=None, past_key_values=None, use_cache=None):
        if encoder_outputs is None:
            encoder_outputs = self.encoder(input_features)
        dec = self.decoder(decoder_input_ids, encoder_outputs[0], past_key_values, use_cache)
        return Seq2SeqModelOutput(last_hidden_state=dec.last_hidden_state, past_key_values=dec.past_key_values,
                                  encoder_last_hidden_state=encoder_outputs[0])


class ScribeVoxForConditionalGeneration(ScribeVoxPreTrainedModel, GenerationMixin):
    base_model_prefix = "model"
    _tied_weights_keys = {"proj_out.weight": "model.decoder.embed_tokens.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = ScribeVoxModel(config)
        self.proj_out = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_encoder(self):
        return self.model.get_encoder()

    def get_decoder(self):
        return self.model.get_decoder()

    def get_output_embeddings(self):
        return self.proj_out

    def set_output_embeddings(self, new_embeddings):
        self.proj_out = new_embeddings

    def forward(self, input_features=None, attention_mask=None, decoder_input_ids=None, encoder_outputs=None, past_key_values=None,
                labels=None, use_cache=None, output_attentions=None, output_hidden_states=None, return_dict=None):
        if labels is not None and decoder_input_ids is None:
            decoder_input_ids = shift_tokens_right(labels, self.config.pad_token_id, self.config.decoder_start_token_id)
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        out = self.model(input_features, decoder_input_ids, encoder_outputs, past_key_values, use_cache)
        lm_logits = self.proj_out(out.last_hidden_state)
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(lm_logits.view(-1, self.config.vocab_size), labels.reshape(-1))
        return Seq2SeqLMOutput(loss=loss, logits=lm_logits, past_key_values=out.past_key_values,
                               encoder_last_hidden_state=out.encoder_last_hidden_state)

    def prepare_inputs_for_generation(self, decoder_input_ids, past_key_values=None, use_cache=None, encoder_outputs=None, attention_mask=None, **kwargs):
        # cut decoder_input_ids if past is used
        if past_key_values is not None:
            decoder_input_ids = decoder_input_ids[:, -1:]
        return {"encoder_outputs": encoder_outputs, "past_key_values": past_key_values, "decoder_input_ids": decoder_input_ids, "use_cache": use_cache}

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        return tuple(tuple(s.index_select(0, beam_idx) for s in layer) for layer in past_key_values)
