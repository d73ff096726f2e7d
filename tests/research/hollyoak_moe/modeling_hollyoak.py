"""Hollyoak: sparse experts with shared ones, window attention with a full layer now and then."""

from collections.abc import Callable
from typing import Optional, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.integrations import use_kernel_forward_from_hub
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask
from transformers.modeling_layers import GenericForSequenceClassification, GradientCheckpointingLayer
from transformers.modeling_outputs import MoeCausalLMOutputWithPast, MoeModelOutputWithPast
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, auto_docstring, can_return_tuple
from transformers.utils.generic import OutputRecorder, check_model_inputs

from .configuration_hollyoak import HollyoakConfig


@use_kernel_forward_from_hub("RMSNorm")
class HollyoakRMSNorm(nn.Module):
    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.variance_epsilon = eps

    def forward(self, x):
        y = x.to(torch.float32)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * y.to(x.dtype)

    def extra_repr(self):
        return f"{tuple(self.weight.shape)}, eps={self.variance_epsilon}"


class HollyoakRotary(nn.Module):
    inv_freq: torch.Tensor

    def __init__(self, config: HollyoakConfig, device=None):
        super().__init__()
        scaling = config.rope_scaling or {}
        self.rope_type = scaling.get("rope_type", scaling.get("type", "default"))
        self.max_seq_len_cached = config.max_position_embeddings
        self.original_max_seq_len = config.max_position_embeddings
        self.config = config
        self.rope_init_fn = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = self.rope_init_fn(config, device)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.original_inv_freq = self.inv_freq

    @torch.no_grad()
    @dynamic_rope_update
    def forward(self, x, position_ids):
        angles = position_ids[..., None].float() * self.inv_freq[None, None].float()
        angles = torch.cat((angles, angles), -1)
        return (
            (angles.cos() * self.attention_scaling).to(x.dtype),
            (angles.sin() * self.attention_scaling).to(x.dtype),
        )


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos.unsqueeze(1) + torch.cat((-b, a), -1) * sin.unsqueeze(1)


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    n = module.num_key_value_groups
    key, value = key.repeat_interleave(n, 1), value.repeat_interleave(n, 1)
    weights = query @ key.transpose(2, 3) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask[:, :, :, : key.shape[-2]]
    weights = F.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = F.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


class HollyoakAttention(nn.Module):
    def __init__(self, config: HollyoakConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = True
        self.sliding_window = config.sliding_window if config.layer_types[layer_idx] == "sliding_attention" else None
        self.q_proj = nn.Linear(config.hidden_size, config.num_attention_heads * self.head_dim, bias=False)
        self.kv_proj = nn.Linear(config.hidden_size, 2 * config.num_key_value_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(config.num_attention_heads * self.head_dim, config.hidden_size, bias=False)
        self.q_norm = HollyoakRMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.k_norm = HollyoakRMSNorm(self.head_dim, eps=config.rms_norm_eps)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: Optional[torch.Tensor],
        past_key_values: Optional[Cache] = None,
        cache_position: Optional[torch.LongTensor] = None,
        **kwargs: Unpack[TransformersKwargs],
    ):
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        q = self.q_norm(self.q_proj(hidden_states).view(shape)).transpose(1, 2)
        k, v = self.kv_proj(hidden_states).chunk(2, -1)
        k = self.k_norm(k.view(shape)).transpose(1, 2)
        v = v.view(shape).transpose(1, 2)
        cos, sin = position_embeddings
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if past_key_values is not None:
            k, v = past_key_values.update(
                k, v, self.layer_idx, {"sin": sin, "cos": cos, "cache_position": cache_position}
            )
        attention: Callable = eager_attention_forward
        if self.config._attn_implementation != "eager":
            attention = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        out, weights = attention(
            self,
            q,
            k,
            v,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            sliding_window=self.sliding_window,
            **kwargs,
        )
        return self.o_proj(out.reshape(*hidden_states.shape[:-1], -1).contiguous()), weights


class HollyoakMLP(nn.Module):
    def __init__(self, config, width):
        super().__init__()
        self.gate_up = nn.Linear(config.hidden_size, 2 * width, bias=False)
        self.down = nn.Linear(width, config.hidden_size, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(self.act(gate) * up)


class HollyoakRouter(nn.Module):
    """Sigmoid scores. The bias only decides who is chosen, and is moved by the trainer."""

    def __init__(self, config):
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.scale = config.router_scale
        self.weight = nn.Parameter(torch.empty(config.num_experts, config.hidden_size))
        self.register_buffer("balance", torch.zeros(config.num_experts))

    def forward(self, x):
        logits = F.linear(x.float(), self.weight.float())
        scores = logits.sigmoid()
        chosen = (scores + self.balance).topk(self.top_k, dim=-1).indices
        share = scores.gather(-1, chosen)
        share = share / share.sum(-1, keepdim=True).clamp(min=1e-9) * self.scale
        return logits, chosen, share


class HollyoakExperts(nn.Module):
    def __init__(self, config):
        super().__init__()
        n, d, w = config.num_experts, config.hidden_size, config.moe_intermediate_size
        self.num_experts = n
        self.gate_up = nn.Parameter(torch.empty(n, 2 * w, d))
        self.down = nn.Parameter(torch.empty(n, d, w))
        self.act = ACT2FN[config.hidden_act]

    def forward(self, x, chosen, share):
        out = torch.zeros_like(x)
        for e in range(self.num_experts):
            rows, slot = torch.where(chosen == e)
            if rows.numel() == 0:
                continue
            gate, up = F.linear(x[rows], self.gate_up[e]).chunk(2, -1)
            y = F.linear(self.act(gate) * up, self.down[e]) * share[rows, slot, None].to(x.dtype)
            out.index_add_(0, rows, y)
        return out


class HollyoakSparseBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.router = HollyoakRouter(config)
        self.experts = HollyoakExperts(config)
        self.shared = HollyoakMLP(config, config.moe_intermediate_size * config.shared_experts)

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        logits, chosen, share = self.router(flat)
        return (self.experts(flat, chosen, share) + self.shared(flat)).view_as(x), logits


class HollyoakDecoderLayer(GradientCheckpointingLayer):
    def __init__(self, config: HollyoakConfig, layer_idx: int):
        super().__init__()
        self.attention_type = config.layer_types[layer_idx]
        self.self_attn = HollyoakAttention(config, layer_idx)
        self.sparse = layer_idx >= config.first_dense
        self.mlp = HollyoakSparseBlock(config) if self.sparse else HollyoakMLP(config, config.intermediate_size)
        self.input_layernorm = HollyoakRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = HollyoakRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, hidden_states, **kwargs: Unpack[TransformersKwargs]) -> torch.Tensor:
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), **kwargs)
        hidden_states = hidden_states + attended
        y = self.mlp(self.post_attention_layernorm(hidden_states))
        return hidden_states + (y[0] if self.sparse else y)


@auto_docstring
class HollyoakPreTrainedModel(PreTrainedModel):
    config: HollyoakConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["HollyoakDecoderLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _keep_in_fp32_modules_strict = ["router"]
    _can_record_outputs = {
        "router_logits": OutputRecorder(HollyoakSparseBlock, index=1),
        "hidden_states": HollyoakDecoderLayer,
        "attentions": HollyoakAttention,
    }

    def _init_weights(self, module):
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, HollyoakRouter):
            module.weight.data.normal_(mean=0.0, std=std)
        elif isinstance(module, HollyoakExperts):
            module.gate_up.data.normal_(mean=0.0, std=std)
            module.down.data.normal_(mean=0.0, std=std)


@auto_docstring
class HollyoakModel(HollyoakPreTrainedModel):
    def __init__(self, config: HollyoakConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([HollyoakDecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = HollyoakRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = HollyoakRotary(config)
        self.gradient_checkpointing = False
        self.post_init()

    @check_model_inputs
    @auto_docstring
    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Cache] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        use_cache: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MoeModelOutputWithPast:
        if (input_ids is None) ^ (inputs_embeds is not None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if cache_position is None:
            start = past_key_values.get_seq_length() if past_key_values is not None else 0
            cache_position = torch.arange(start, start + inputs_embeds.shape[1], device=inputs_embeds.device)
        if position_ids is None:
            position_ids = cache_position.unsqueeze(0)

        if not isinstance(masks := attention_mask, dict):
            about = {
                "config": self.config,
                "input_embeds": inputs_embeds,
                "attention_mask": attention_mask,
                "cache_position": cache_position,
                "past_key_values": past_key_values,
                "position_ids": position_ids,
            }
            masks = {
                "full_attention": create_causal_mask(**about),
                "sliding_attention": create_sliding_window_causal_mask(**about),
            }

        hidden_states = inputs_embeds
        position_embeddings = self.rotary_emb(hidden_states, position_ids)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                attention_mask=masks[layer.attention_type],
                position_embeddings=position_embeddings,
                past_key_values=past_key_values,
                cache_position=cache_position,
                **kwargs,
            )
        return MoeModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)


def router_entropy_loss(router_logits, coefficient):
    probabilities = torch.cat([x.float().softmax(-1) for x in router_logits]).mean(0)
    return coefficient * (probabilities * probabilities.clamp(min=1e-9).log()).sum()


@auto_docstring
class HollyoakForCausalLM(HollyoakPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["lm_head.weight"]
    _tp_plan = {"lm_head": "colwise_rep"}

    def __init__(self, config):
        super().__init__(config)
        self.model = HollyoakModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Cache] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_router_logits: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
        logits_to_keep: Union[int, torch.Tensor] = 0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MoeCausalLMOutputWithPast:
        output_router_logits = (
            output_router_logits if output_router_logits is not None else self.config.output_router_logits
        )
        outputs: MoeModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_router_logits=output_router_logits,
            cache_position=cache_position,
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, keep, :])
        loss, aux = None, None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config.vocab_size, **kwargs)
        if output_router_logits:
            aux = router_entropy_loss(outputs.router_logits, self.config.router_aux_coef)
            loss = loss + aux if loss is not None else None
        return MoeCausalLMOutputWithPast(
            loss=loss,
            aux_loss=aux,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            router_logits=outputs.router_logits,
        )


class HollyoakForSequenceClassification(GenericForSequenceClassification, HollyoakPreTrainedModel):
    pass


__all__ = ["HollyoakForCausalLM", "HollyoakForSequenceClassification", "HollyoakModel", "HollyoakPreTrainedModel"]
