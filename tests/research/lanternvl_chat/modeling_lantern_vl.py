"""Lantern-VL: ViT -> pixel shuffle -> MLP -> decoder."""
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_lantern_vl import LanternTextConfig, LanternVisionConfig, LanternVLConfig
from .vision import LanternViT

logger = logging.get_logger(__name__)


class LanternRMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (self.weight * y).to(x.dtype)


def rope_tables(position_ids, dim, base):
    inv = 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.float32, device=position_ids.device) / dim))
    f = position_ids[..., None].float() * inv
    f = torch.cat([f, f], -1)
    return f.cos()[:, None], f.sin()[:, None]


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return (x * cos + torch.cat([-b, a], -1) * sin).to(x.dtype)


class LanternAttention(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        self.h, self.kv = config.num_attention_heads, config.num_key_value_heads
        self.d = config.hidden_size // self.h
        self.q_proj = nn.Linear(config.hidden_size, self.h * self.d, bias=True)
        self.k_proj = nn.Linear(config.hidden_size, self.kv * self.d, bias=True)
        self.v_proj = nn.Linear(config.hidden_size, self.kv * self.d, bias=True)
        self.o_proj = nn.Linear(self.h * self.d, config.hidden_size, bias=False)

    def forward(self, x, cos, sin, mask, past_key_values=None):
        b, n, _ = x.shape
        q = self.q_proj(x).view(b, n, self.h, self.d).transpose(1, 2)
        k = self.k_proj(x).view(b, n, self.kv, self.d).transpose(1, 2)
        v = self.v_proj(x).view(b, n, self.kv, self.d).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if past_key_values is not None:
            k, v = past_key_values.update(k, v, self.layer_idx)
        k = k.repeat_interleave(self.h // self.kv, 1)
        v = v.repeat_interleave(self.h // self.kv, 1)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(o.transpose(1, 2).reshape(b, n, -1))


class LanternDecoderLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.self_attn = LanternAttention(config, layer_idx)
        self.input_layernorm = LanternRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = LanternRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x, cos, sin, mask, past):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask, past)
        g, u = self.gate_up(self.post_attention_layernorm(x)).chunk(2, -1)
        return x + self.down(F.silu(g) * u)


class LanternPreTrainedModel(PreTrainedModel):
    config_class = LanternVLConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["LanternDecoderLayer", "Block"]
    _skip_keys_device_placement = "past_key_values"
    _supports_cache_class = True
    _supports_sdpa = True

    def _init_weights(self, module):
        std = 0.02
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)


class LanternTextModel(LanternPreTrainedModel):
    config_class = LanternTextConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([LanternDecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = LanternRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def forward(self, inputs_embeds, attention_mask=None, position_ids=None, past_key_values=None, use_cache=False):
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        b, n, _ = inputs_embeds.shape
        device = inputs_embeds.device
        if position_ids is None:
            position_ids = torch.arange(past, past + n, device=device)[None].expand(b, -1)
        cos, sin = rope_tables(position_ids, self.config.hidden_size // self.config.num_attention_heads, self.config.rope_base)
        rows = torch.arange(past, past + n, device=device)[:, None]
        cols = torch.arange(past + n, device=device)[None]
        mask = (cols <= rows)[None, None]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, : past + n].bool()
        x = inputs_embeds
        for layer in self.layers:
            x = layer(x, cos, sin, mask, past_key_values)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x), past_key_values=past_key_values)


class LanternProjector(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.s = config.downsample
        d = config.vision_config.hidden_size * self.s**2
        self.norm = nn.LayerNorm(d)
        self.linear_1 = nn.Linear(d, config.text_config.hidden_size)
        self.act = ACT2FN[config.projector_hidden_act]
        self.linear_2 = nn.Linear(config.text_config.hidden_size, config.text_config.hidden_size)

    def forward(self, x, grid):
        b, _, c = x.shape
        h, w = grid
        x = x.view(b, h // self.s, self.s, w // self.s, self.s, c).permute(0, 1, 3, 2, 4, 5).reshape(b, -1, c * self.s**2)
        return self.linear_2(self.act(self.linear_1(self.norm(x))))


class LanternVLForConditionalGeneration(LanternPreTrainedModel, GenerationMixin):
    def __init__(self, config: LanternVLConfig):
        super().__init__(config)
        self.vision_tower = LanternViT(config.vision_config)
        self.projector = LanternProjector(config)
        self.model = LanternTextModel(config.text_config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def get_decoder(self):
        return self.model

    def set_decoder(self, decoder):
        self.model = decoder

    def get_image_features(self, pixel_values):
        feats, grid = self.vision_tower(pixel_values.to(self.projector.linear_1.weight.dtype))
        return self.projector(feats, grid)

    def merge(self, input_ids, inputs_embeds, pixel_values):
        image = self.get_image_features(pixel_values)
        mask = (input_ids == self.config.image_token_id).unsqueeze(-1).expand_as(inputs_embeds)
        if mask.sum() != image.numel():
            raise ValueError(f"{int(mask.sum()) // image.shape[-1]} image tokens but {image.shape[0] * image.shape[1]} image features")
        return inputs_embeds.masked_scatter(mask, image.to(inputs_embeds.dtype))

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        pixel_values: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Cache] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        if inputs_embeds is None:
            inputs_embeds = self.model.embed_tokens(input_ids)
        if pixel_values is not None and input_ids is not None and input_ids.shape[1] != 1:
            inputs_embeds = self.merge(input_ids, inputs_embeds, pixel_values)
        out = self.model(inputs_embeds, attention_mask, position_ids, past_key_values, bool(use_cache))
        logits = self.lm_head(out.last_hidden_state)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=out.past_key_values)

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, pixel_values=None, use_cache=True, **kwargs):
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        position_ids = None
        if attention_mask is not None:
            position_ids = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, past:]
        inputs = {
            "input_ids": input_ids[:, past:].contiguous(),
            "position_ids": position_ids,
            "past_key_values": past_key_values,
            "attention_mask": attention_mask,
            "use_cache": use_cache,
        }
        if past == 0:
            inputs["pixel_values"] = pixel_values
        return inputs
