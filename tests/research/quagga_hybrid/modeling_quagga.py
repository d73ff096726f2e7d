"""Quagga hybrid: RG-LRU blocks with an attention block every few layers"""
import math
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn import CrossEntropyLoss

from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_quagga import QuaggaConfig

logger = logging.get_logger(__name__)


class HybridQuaggaDynamicCache(DynamicCache):
    """
    A dynamic cache that handles both the attention cache (which has a seq_len dimension) and the recurrent cache
    (which has a constant shape regardless of seq_len).
    """

    def __init__(self, config, batch_size, dtype=torch.float32, device=None):
        super().__init__()
        self.dtype = dtype
        self.layers_block_type = config.layers_block_type
        self.has_previous_state = False
        self.conv_states = []
        self.rnn_states = []
        self.transformer_layers = []
        for i in range(config.num_hidden_layers):
            if self.layers_block_type[i] == "recurrent":
                self.conv_states += [torch.zeros(batch_size, config.lru_width, config.conv1d_width - 1, device=device,
                                                 dtype=dtype)]
                self.rnn_states += [torch.zeros(batch_size, config.lru_width, device=device, dtype=torch.float32)]
            else:
                self.conv_states += [torch.tensor([[]] * batch_size, device=device)]
                self.rnn_states += [torch.tensor([[]] * batch_size, device=device)]
                self.transformer_layers.append(i)
        self.key_cache = [torch.tensor([[]] * batch_size, device=device) for _ in range(config.num_hidden_layers)]
        self.value_cache = [torch.tensor([[]] * batch_size, device=device) for _ in range(config.num_hidden_layers)]

    def update(self, key_states, value_states, layer_idx, cache_kwargs: Optional[Dict[str, Any]] = None):
        if self.key_cache[layer_idx].shape[-1] == 0:
            self.key_cache[layer_idx] = key_states
            self.value_cache[layer_idx] = value_states
        else:
            self.key_cache[layer_idx] = torch.cat([self.key_cache[layer_idx], key_states], dim=2)
            self.value_cache[layer_idx] = torch.cat([self.value_cache[layer_idx], value_states], dim=2)
        return self.key_cache[layer_idx], self.value_cache[layer_idx]

    def reorder_cache(self, beam_idx: torch.LongTensor):
        for layer_idx in range(len(self.key_cache)):
            device = self.key_cache[layer_idx].device
            self.key_cache[layer_idx] = self.key_cache[layer_idx].index_select(0, beam_idx.to(device))
            self.value_cache[layer_idx] = self.value_cache[layer_idx].index_select(0, beam_idx.to(device))
            self.conv_states[layer_idx] = self.conv_states[layer_idx].index_select(0, beam_idx.to(device))
            self.rnn_states[layer_idx] = self.rnn_states[layer_idx].index_select(0, beam_idx.to(device))

    def get_seq_length(self, layer_idx: Optional[int] = 0) -> int:
        # take any layer that contains cache and not empty tensor
        layer_idx = self.transformer_layers[0] if layer_idx not in self.transformer_layers else layer_idx
        if len(self.key_cache) <= layer_idx or self.key_cache[layer_idx].shape[-1] == 0:
            return 0
        return self.key_cache[layer_idx].shape[-2]

    def to_legacy_cache(self):
        raise NotImplementedError("HybridQuaggaDynamicCache does not have a legacy cache equivalent.")

    @classmethod
    def from_legacy_cache(cls, past_key_values=None):
        raise NotImplementedError("HybridQuaggaDynamicCache does not have a legacy cache equivalent.")


class QuaggaRMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, x):
        y = x.to(torch.float32)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * y.to(x.dtype)


class QuaggaRecurrentBlock(nn.Module):
    def __init__(self, config: QuaggaConfig, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        w = config.lru_width
        self.width, self.k = w, config.conv1d_width
        self.linear_y = nn.Linear(config.hidden_size, w)
        self.linear_x = nn.Linear(config.hidden_size, w)
        self.linear_out = nn.Linear(w, config.hidden_size)
        self.conv_1d = nn.Conv1d(w, w, kernel_size=config.conv1d_width, groups=w)
        self.recurrent_param = nn.Parameter(torch.empty(w))
        self.input_gate = nn.Linear(w, w)
        self.recurrent_gate = nn.Linear(w, w)

    def forward(self, x, cache: Optional[HybridQuaggaDynamicCache] = None):
        b, s, _ = x.shape
        y = F.gelu(self.linear_y(x), approximate="tanh")
        u = self.linear_x(x).transpose(1, 2)
        if cache is not None:
            prev = cache.conv_states[self.layer_idx].to(u)
            h = cache.rnn_states[self.layer_idx]
        else:
            prev = u.new_zeros(b, self.width, self.k - 1)
            h = torch.zeros(b, self.width, device=u.device)
        full = torch.cat([prev, u], -1)
        u = self.conv_1d(full).transpose(1, 2)
        ig, rg = torch.sigmoid(self.input_gate(u)), torch.sigmoid(self.recurrent_gate(u))
        log_a = -8.0 * rg.float() * F.softplus(self.recurrent_param.float())
        a = torch.exp(log_a)
        mult = torch.sqrt((1 - torch.exp(2 * log_a)).clamp(min=1e-6))
        inp = (u * ig).float() * mult
        outs = []
        for t in range(s):
            h = a[:, t] * h + inp[:, t]
            outs.append(h)
        if cache is not None:
            cache.conv_states[self.layer_idx] = full[..., -(self.k - 1):]
            cache.rnn_states[self.layer_idx] = h
        return self.linear_out(torch.stack(outs, 1).to(x.dtype) * y)


class QuaggaAttention(nn.Module):
    def __init__(self, config: QuaggaConfig, layer_idx):
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.h, self.kv = config.num_attention_heads, config.num_key_value_heads
        self.d = config.hidden_size // self.h
        self.q_proj = nn.Linear(config.hidden_size, self.h * self.d, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.kv * self.d, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.kv * self.d, bias=False)
        self.o_proj = nn.Linear(self.h * self.d, config.hidden_size, bias=False)

    def forward(self, x, mask=None, cache=None):
        b, s, _ = x.shape
        q = self.q_proj(x).view(b, s, self.h, self.d).transpose(1, 2)
        k = self.k_proj(x).view(b, s, self.kv, self.d).transpose(1, 2)
        v = self.v_proj(x).view(b, s, self.kv, self.d).transpose(1, 2)
        # no positional encoding, the recurrence knows the order
        if cache is not None:
            k, v = cache.update(k, v, self.layer_idx)
        k, v = k.repeat_interleave(self.h // self.kv, 1), v.repeat_interleave(self.h // self.kv, 1)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(o.transpose(1, 2).reshape(b, s, -1))


class QuaggaLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.kind = config.layers_block_type[layer_idx]
        self.mixer = QuaggaAttention(config, layer_idx) if self.kind == "attention" \
            else QuaggaRecurrentBlock(config, layer_idx)
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act = ACT2FN[config.hidden_act]
        self.input_layernorm = QuaggaRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.pre_ff_layernorm = QuaggaRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, mask=None, cache=None):
        h = self.input_layernorm(x)
        x = x + (self.mixer(h, mask, cache) if self.kind == "attention" else self.mixer(h, cache))
        h = self.pre_ff_layernorm(x)
        return x + self.down_proj(self.act(self.gate_proj(h)) * self.up_proj(h))


class QuaggaPreTrainedModel(PreTrainedModel):
    config_class = QuaggaConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["QuaggaLayer"]
    _skip_keys_device_placement = "past_key_values"
    _supports_cache_class = False  # own cache, made in prepare_inputs_for_generation
    _is_stateful = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
        elif isinstance(module, QuaggaRecurrentBlock):
            module.recurrent_param.data.uniform_(-1.0, 1.0)


class QuaggaModel(QuaggaPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([QuaggaLayer(config, i) for i in range(config.num_hidden_layers)])
        self.final_layernorm = QuaggaRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, inputs_embeds=None, use_cache=None,
                cache_position=None):
        use_cache = self.config.use_cache if use_cache is None else use_cache
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and past_key_values is None:
            logger.warning_once("Quagga requires an initialized `HybridQuaggaDynamicCache` to return a cache.")
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        s = x.shape[1]
        i = torch.arange(past, past + s, device=x.device)[:, None]
        j = torch.arange(past + s, device=x.device)[None, :]
        mask = (j <= i) & (i - j < self.config.attention_window_size)
        for layer in self.layers:
            x = layer(x, mask, past_key_values)
        if past_key_values and not past_key_values.has_previous_state:
            past_key_values.has_previous_state = True
        return BaseModelOutputWithPast(last_hidden_state=self.final_layernorm(x),
                                       past_key_values=None if not use_cache else past_key_values)


class QuaggaForCausalLM(QuaggaPreTrainedModel, GenerationMixin):
    def __init__(self, config: QuaggaConfig):
        super().__init__(config)
        self.model = QuaggaModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, output_attentions=None, output_hidden_states=None,
                return_dict=None, cache_position=None, num_logits_to_keep=None, **loss_kwargs):
        outputs = self.model(input_ids, attention_mask, past_key_values, inputs_embeds, use_cache, cache_position)
        h = outputs[0]
        logits = self.lm_head(h if num_logits_to_keep is None else h[:, -num_logits_to_keep:])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.vocab_size, **loss_kwargs)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values)

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, attention_mask=None, inputs_embeds=None,
                                      cache_position=None, position_ids=None, use_cache=True, **kwargs):
        empty_past_kv = past_key_values is None
        if not empty_past_kv:
            if input_ids.shape[1] != cache_position.shape[0]:
                input_ids = input_ids[:, cache_position]
        else:
            past_key_values = HybridQuaggaDynamicCache(self.config, input_ids.shape[0], self.dtype, device=self.device)
        if inputs_embeds is not None and empty_past_kv:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids.contiguous()}
        model_inputs.update({"past_key_values": past_key_values, "use_cache": use_cache,
                             "attention_mask": attention_mask, "cache_position": cache_position,
                             "num_logits_to_keep": 1})
        return model_inputs
