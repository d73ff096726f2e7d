import math
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.pytorch_utils import ALL_LAYERNORM_LAYERS
from transformers.utils import is_flash_attn_2_available, is_flash_attn_greater_or_equal_2_10, logging

from .cache_yarrow import SinkWindowCache
from .configuration_yarrow import YarrowConfig

if is_flash_attn_2_available():
    from transformers.modeling_flash_attention_utils import _flash_attention_forward

logger = logging.get_logger(__name__)


class YarrowRMSNorm(nn.Module):
    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.variance_epsilon = eps

    def forward(self, x):
        dtype = x.dtype
        x = x.to(torch.float32)
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(dtype)


ALL_LAYERNORM_LAYERS.append(YarrowRMSNorm)


class YarrowRotary(nn.Module):
    def __init__(self, config: YarrowConfig):
        super().__init__()
        dim = config.hidden_size // config.num_attention_heads
        self.factor = 1.0
        if config.rope_scaling is not None:
            self.factor = float(config.rope_scaling["factor"])
        inv_freq = 1.0 / (config.rope_theta ** (torch.arange(0, dim, 2, dtype=torch.int64).float() / dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    @torch.no_grad()
    def forward(self, x, position_ids):
        angles = position_ids[:, :, None].float() / self.factor * self.inv_freq[None, None, :]
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat([-x[..., half:], x[..., :half]], dim=-1)
    return x * cos.unsqueeze(1) + turned * sin.unsqueeze(1)


class YarrowMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class YarrowAttention(nn.Module):
    """Sinks, then a window. With a cache it never sees more than sinks + window + new keys."""

    def __init__(self, config: YarrowConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.num_key_value_heads = config.num_key_value_heads
        self.groups = self.num_heads // self.num_key_value_heads
        bias = config.attention_bias
        self.q_proj = nn.Linear(config.hidden_size, self.num_heads * self.head_dim, bias=bias)
        self.k_proj = nn.Linear(config.hidden_size, self.num_key_value_heads * self.head_dim, bias=bias)
        self.v_proj = nn.Linear(config.hidden_size, self.num_key_value_heads * self.head_dim, bias=bias)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=bias)
        self._flash_attn_uses_top_left_mask = not is_flash_attn_greater_or_equal_2_10()

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings,
        padding: Optional[torch.Tensor] = None,
        past_key_value: Optional[SinkWindowCache] = None,
        output_attentions: bool = False,
        cache_position: Optional[torch.LongTensor] = None,
    ):
        b, t, _ = hidden_states.size()
        q = self.q_proj(hidden_states).view(b, t, self.num_heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(hidden_states).view(b, t, self.num_key_value_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(hidden_states).view(b, t, self.num_key_value_heads, self.head_dim).transpose(1, 2)
        q, k = rotate(q, *position_embeddings), rotate(k, *position_embeddings)

        if past_key_value is not None:
            held = past_key_value.held(self.layer_idx)
            old = past_key_value.positions[self.layer_idx] if held else cache_position[:0]
            where = torch.cat([old, cache_position])
            k, v = past_key_value.update(k, v, self.layer_idx, {"cache_position": cache_position})
        else:
            where = cache_position
        k = k.repeat_interleave(self.groups, dim=1)
        v = v.repeat_interleave(self.groups, dim=1)

        gap = cache_position[:, None] - where[None, :]
        allowed = (gap >= 0) & ((gap < self.config.window) | (where[None, :] < self.config.sink_tokens))
        mask = torch.zeros(t, where.shape[0], dtype=q.dtype, device=q.device)
        mask = mask.masked_fill(~allowed, torch.finfo(q.dtype).min)[None, None]
        if padding is not None:
            mask = mask + (1.0 - padding[:, None, None, where].to(q.dtype)) * torch.finfo(q.dtype).min / 2

        if output_attentions:
            weights = (q @ k.transpose(2, 3) / math.sqrt(self.head_dim) + mask).softmax(-1, dtype=torch.float32)
            y = weights.to(v.dtype) @ v
        else:
            weights = None
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(y.transpose(1, 2).reshape(b, t, -1)), weights


class YarrowDecoderLayer(nn.Module):
    def __init__(self, config: YarrowConfig, layer_idx: int):
        super().__init__()
        self.self_attn = YarrowAttention(config, layer_idx)
        self.mlp = YarrowMLP(config)
        self.input_layernorm = YarrowRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = YarrowRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, x, position_embeddings, padding, past_key_value, output_attentions, cache_position):
        y, weights = self.self_attn(
            self.input_layernorm(x), position_embeddings, padding, past_key_value, output_attentions, cache_position
        )
        x = x + y
        return x + self.mlp(self.post_attention_layernorm(x)), weights


class YarrowPreTrainedModel(PreTrainedModel):
    config_class = YarrowConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["YarrowDecoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_cache_class = True
    _supports_quantized_cache = False

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()


class YarrowModel(YarrowPreTrainedModel):
    def __init__(self, config: YarrowConfig):
        super().__init__(config)
        self.padding_idx = config.pad_token_id
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList([YarrowDecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = YarrowRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = YarrowRotary(config)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def _own_cache(self, past_key_values):
        if isinstance(past_key_values, SinkWindowCache):
            return past_key_values
        if past_key_values is not None and past_key_values.get_seq_length() > 0:
            raise ValueError("YarrowModel needs a SinkWindowCache")
        return SinkWindowCache(self.config.sink_tokens, self.config.window)

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Union[Cache, List[torch.FloatTensor]]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
    ) -> Union[Tuple, BaseModelOutputWithPast]:
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if (input_ids is None) ^ (inputs_embeds is not None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        past_key_values = self._own_cache(past_key_values) if use_cache and not self.training else None
        start = past_key_values.get_seq_length() if past_key_values is not None else 0
        cache_position = torch.arange(start, start + inputs_embeds.shape[1], device=inputs_embeds.device)
        if position_ids is None:
            position_ids = cache_position.unsqueeze(0)
        padding = attention_mask if attention_mask is not None and 0.0 in attention_mask else None

        x = inputs_embeds
        position_embeddings = self.rotary_emb(x, position_ids)
        states = () if output_hidden_states else None
        attentions = () if output_attentions else None
        for layer in self.layers:
            if output_hidden_states:
                states += (x,)
            args = (x, position_embeddings, padding, past_key_values, output_attentions, cache_position)
            if self.gradient_checkpointing and self.training:
                x, weights = self._gradient_checkpointing_func(layer.__call__, *args)
            else:
                x, weights = layer(*args)
            if output_attentions:
                attentions += (weights,)
        x = self.norm(x)
        if output_hidden_states:
            states += (x,)
        if not return_dict:
            return tuple(v for v in [x, past_key_values, states, attentions] if v is not None)
        return BaseModelOutputWithPast(
            last_hidden_state=x, past_key_values=past_key_values, hidden_states=states, attentions=attentions
        )


class YarrowForCausalLM(YarrowPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.model = YarrowModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def get_decoder(self):
        return self.model

    def prepare_inputs_for_generation(
        self, input_ids, past_key_values=None, attention_mask=None, inputs_embeds=None, cache_position=None,
        position_ids=None, use_cache=True, **kwargs,
    ):
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if attention_mask is not None and position_ids is None:
            position_ids = attention_mask.long().cumsum(-1) - 1
            position_ids.masked_fill_(attention_mask == 0, 1)
            position_ids = position_ids[:, past:]
        if inputs_embeds is not None and past == 0:
            model_inputs = {"inputs_embeds": inputs_embeds, "input_ids": None}
        else:
            model_inputs = {"input_ids": input_ids[:, past:].contiguous(), "inputs_embeds": None}
        model_inputs.update(
            position_ids=position_ids, past_key_values=past_key_values, use_cache=use_cache,
            attention_mask=attention_mask,
        )
        return model_inputs

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Union[Cache, List[torch.FloatTensor]]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
        num_logits_to_keep: int = 0,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )
        logits = self.lm_head(outputs[0][:, -num_logits_to_keep:, :]).float()
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[:, :-1].reshape(-1, self.vocab_size), labels[:, 1:].reshape(-1))
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + outputs[1:]
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
