"""PyTorch Thornback model."""
from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn

from transformers.generation import GenerationMixin
from transformers.modeling_attn_mask_utils import AttentionMaskConverter
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .cache_thornback import HybridConvDynamicCache
from .configuration_thornback import ThornbackConfig

logger = logging.get_logger(__name__)


class ThornbackRMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        variance = hidden_states.float().pow(2).mean(-1, keepdim=True)
        return self.weight * (hidden_states.float() * torch.rsqrt(variance + self.variance_epsilon)).to(
            hidden_states.dtype
        )


def rotate_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


def rotary(config, position_ids, dtype):
    # computed each time: cheap, and there is no buffer to go wrong
    dim = config.hidden_size // config.num_attention_heads
    inv_freq = 1.0 / (
        config.rope_theta ** (torch.arange(0, dim, 2, dtype=torch.float32, device=position_ids.device) / dim)
    )
    freqs = position_ids[:, :, None].float() * inv_freq[None, None, :]
    emb = torch.cat((freqs, freqs), dim=-1)
    return emb.cos().to(dtype)[:, None], emb.sin().to(dtype)[:, None]


class ThornbackAttention(nn.Module):
    def __init__(self, config: ThornbackConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.num_kv = config.num_key_value_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.q_proj = nn.Linear(config.hidden_size, self.num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.num_kv * self.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.num_kv * self.head_dim, bias=False)
        self.out_proj = nn.Linear(self.num_heads * self.head_dim, config.hidden_size, bias=False)
        self.q_layernorm = ThornbackRMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.k_layernorm = ThornbackRMSNorm(self.head_dim, eps=config.rms_norm_eps)

    def forward(self, hidden_states, cos, sin, causal_mask, past_key_values=None):
        b, t, _ = hidden_states.shape
        q = self.q_layernorm(self.q_proj(hidden_states).view(b, t, self.num_heads, -1)).transpose(1, 2)
        k = self.k_layernorm(self.k_proj(hidden_states).view(b, t, self.num_kv, -1)).transpose(1, 2)
        v = self.v_proj(hidden_states).view(b, t, self.num_kv, -1).transpose(1, 2)
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        if past_key_values is not None:
            k, v = past_key_values.update(k, v, self.layer_idx)
        groups = self.num_heads // self.num_kv
        k, v = k.repeat_interleave(groups, dim=1), v.repeat_interleave(groups, dim=1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=causal_mask)
        return self.out_proj(out.transpose(1, 2).reshape(b, t, -1))


class ThornbackShortConv(nn.Module):
    def __init__(self, config: ThornbackConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.length = config.conv_len
        self.in_proj = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.conv_bias)
        self.conv = nn.Conv1d(
            config.hidden_size,
            config.hidden_size,
            config.conv_len,
            groups=config.hidden_size,
            padding=config.conv_len - 1,
            bias=config.conv_bias,
        )
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.conv_bias)

    def forward(self, hidden_states, past_key_values: Optional[HybridConvDynamicCache] = None, keep=None):
        t = hidden_states.shape[1]
        if keep is not None:
            hidden_states = hidden_states * keep
        B, C, x = self.in_proj(hidden_states).transpose(1, 2).chunk(3, dim=1)
        Bx = B * x
        if past_key_values is not None and past_key_values.has_previous_state and t == 1:
            state = past_key_values.conv_states[self.layer_idx].roll(-1, dims=-1)
            state[:, :, -1] = Bx[:, :, 0]
            past_key_values.conv_states[self.layer_idx] = state
            out = (state * self.conv.weight[:, 0, :]).sum(-1, keepdim=True)
            if self.conv.bias is not None:
                out = out + self.conv.bias[None, :, None]
        else:
            if past_key_values is not None:
                past_key_values.conv_states[self.layer_idx] = F.pad(Bx, (self.length - t, 0))
            out = self.conv(Bx)[..., :t]
        return self.out_proj((C * out).transpose(1, 2))


class ThornbackMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.w1 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w3 = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.w2 = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x):
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class ThornbackLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.is_attention = config.layers_block_type[layer_idx] == "attention"
        if self.is_attention:
            self.self_attn = ThornbackAttention(config, layer_idx)
        else:
            self.conv = ThornbackShortConv(config, layer_idx)
        self.feed_forward = ThornbackMLP(config)
        self.operator_norm = ThornbackRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.ffn_norm = ThornbackRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, hidden_states, cos, sin, causal_mask, past_key_values, keep):
        normed = self.operator_norm(hidden_states)
        if self.is_attention:
            mixed = self.self_attn(normed, cos, sin, causal_mask, past_key_values)
        else:
            mixed = self.conv(normed, past_key_values, keep)
        hidden_states = hidden_states + mixed
        return hidden_states + self.feed_forward(self.ffn_norm(hidden_states))


class ThornbackPreTrainedModel(PreTrainedModel):
    config_class = ThornbackConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ThornbackLayer"]
    _skip_keys_device_placement = "past_key_values"
    _supports_sdpa = True
    _supports_cache_class = True
    _is_stateful = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, (nn.Linear, nn.Conv1d)):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()


class ThornbackModel(ThornbackPreTrainedModel):
    def __init__(self, config: ThornbackConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([ThornbackLayer(config, i) for i in range(config.num_hidden_layers)])
        self.embedding_norm = ThornbackRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def _update_causal_mask(self, attention_mask, inputs, past):
        b, t, _ = inputs.shape
        min_dtype = torch.finfo(inputs.dtype).min
        mask = torch.full((t, past + t), min_dtype, dtype=inputs.dtype, device=inputs.device)
        mask = mask.triu(past + 1)[None, None].expand(b, 1, -1, -1).clone()
        if attention_mask is not None:
            padded = attention_mask[:, None, None, : past + t] == 0
            mask = mask.masked_fill(padded, min_dtype)
            mask = AttentionMaskConverter._unmask_unattended(mask, min_dtype)
        return mask

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values: Optional[HybridConvDynamicCache] = None,
        inputs_embeds=None,
        use_cache=None,
        output_hidden_states=None,
        cache_position=None,
        **kwargs,
    ):
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if self.gradient_checkpointing and self.training and use_cache:
            use_cache = False
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache and past_key_values is None:
            logger.warning_once("Thornback requires an initialized cache to return one. None was provided.")
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = torch.arange(past, past + inputs_embeds.shape[1], device=inputs_embeds.device)[None]
        causal_mask = self._update_causal_mask(attention_mask, inputs_embeds, past)
        keep = None
        if attention_mask is not None and past == 0 and not torch.all(attention_mask == 1):
            keep = attention_mask[:, :, None].to(inputs_embeds.dtype)
        cos, sin = rotary(self.config, position_ids, inputs_embeds.dtype)
        hidden_states = inputs_embeds
        all_hidden_states = () if output_hidden_states else None
        for layer in self.layers:
            if output_hidden_states:
                all_hidden_states += (hidden_states,)
            if self.gradient_checkpointing and self.training:
                hidden_states = self._gradient_checkpointing_func(
                    layer.__call__, hidden_states, cos, sin, causal_mask, None, keep
                )
            else:
                hidden_states = layer(hidden_states, cos, sin, causal_mask, past_key_values, keep)
        if past_key_values is not None and not past_key_values.has_previous_state:
            past_key_values.has_previous_state = True
        return BaseModelOutputWithPast(
            last_hidden_state=self.embedding_norm(hidden_states),
            past_key_values=past_key_values if use_cache else None,
            hidden_states=all_hidden_states,
        )


class ThornbackForCausalLM(ThornbackPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.model = ThornbackModel(config)
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

    def _supports_default_dynamic_cache(self) -> bool:
        # the cache is made in prepare_inputs_for_generation
        return False

    def tie_weights(self, *args, **kwargs):
        # lm_head always is the embedding, whatever the release makes of _tied_weights_keys
        self.lm_head.weight = self.model.embed_tokens.weight

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        position_ids=None,
        past_key_values=None,
        inputs_embeds=None,
        labels=None,
        use_cache=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
        cache_position=None,
        logits_to_keep: Union[int, torch.Tensor] = 0,
        **kwargs,
    ):
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            cache_position=cache_position,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, keep, :])
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=outputs.past_key_values, hidden_states=outputs.hidden_states
        )

    def prepare_inputs_for_generation(
        self,
        input_ids,
        past_key_values=None,
        attention_mask=None,
        inputs_embeds=None,
        cache_position=None,
        position_ids=None,
        use_cache=True,
        **kwargs,
    ):
        empty_past_kv = past_key_values is None
        if not empty_past_kv:
            input_ids = input_ids[:, -1:]
        else:
            past_key_values = HybridConvDynamicCache(
                self.config, input_ids.shape[0], dtype=self.dtype, device=self.device
            )
        if attention_mask is not None and position_ids is None:
            position_ids = attention_mask.long().cumsum(-1) - 1
            position_ids.masked_fill_(attention_mask == 0, 1)
        if not empty_past_kv and position_ids is not None:
            position_ids = position_ids[:, -input_ids.shape[1] :]
        if inputs_embeds is not None and empty_past_kv:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids.contiguous()}
        model_inputs.update(
            {
                "position_ids": position_ids,
                "past_key_values": past_key_values,
                "use_cache": use_cache,
                "attention_mask": attention_mask,
                "logits_to_keep": 1,
            }
        )
        return model_inputs
