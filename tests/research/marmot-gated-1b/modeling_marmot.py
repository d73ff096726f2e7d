from collections.abc import Callable

import torch
from torch import nn

from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GenericForSequenceClassification, GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_marmot import MarmotConfig
from .layers import MarmotMLP, MarmotNorm, MarmotRotary, turn


def plain_attention(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    groups = query.shape[1] // key.shape[1]
    key = key.repeat_interleave(groups, dim=1)
    value = value.repeat_interleave(groups, dim=1)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class MarmotAttention(nn.Module):
    def __init__(self, config: MarmotConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.num_heads = config.num_attention_heads
        self.num_kv = config.num_key_value_heads
        self.num_key_value_groups = self.num_heads // self.num_kv
        self.scaling = self.head_dim**-0.5
        self.is_causal = True
        self.qkv_proj = nn.Linear(config.hidden_size, (self.num_heads + 2 * self.num_kv) * self.head_dim, bias=False)
        self.gate_proj = nn.Linear(config.hidden_size, self.num_heads, bias=True)
        self.o_proj = nn.Linear(self.num_heads * self.head_dim, config.hidden_size, bias=False)
        self.q_norm = MarmotNorm(self.head_dim, config.rms_norm_eps)
        self.k_norm = MarmotNorm(self.head_dim, config.rms_norm_eps)
        if config.value_residual and layer_idx > 0:
            self.value_share = nn.Parameter(torch.zeros(1))

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        first_value: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        shape = hidden_states.shape[:-1]
        heads = self.qkv_proj(hidden_states).view(*shape, -1, self.head_dim).transpose(1, 2)
        query, key, value = heads.split([self.num_heads, self.num_kv, self.num_kv], dim=1)
        query = turn(self.q_norm(query), *position_embeddings)
        key = turn(self.k_norm(key), *position_embeddings)
        if first_value is None:
            first_value = value
        elif self.config.value_residual:
            share = torch.sigmoid(self.value_share)
            value = (1 - share) * value + share * first_value
        if cache is not None:
            key, value = cache.update(key, value, self.layer_idx)
        attend: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, plain_attention)
        out, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=0.0 if not self.training else self.config.attention_dropout,
            scaling=self.scaling,
            **kwargs,
        )
        out = out * torch.sigmoid(self.gate_proj(hidden_states)).unsqueeze(-1)
        return self.o_proj(out.reshape(*shape, -1)), weights, first_value


class MarmotLayer(GradientCheckpointingLayer):
    def __init__(self, config: MarmotConfig, layer_idx: int):
        super().__init__()
        self.self_attn = MarmotAttention(config, layer_idx)
        self.mlp = MarmotMLP(config)
        self.attn_norm = MarmotNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp_norm = MarmotNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_states, attention_mask=None, position_embeddings=None, cache=None, first_value=None, **kwargs):
        out, _, first_value = self.self_attn(
            self.attn_norm(hidden_states),
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            cache=cache,
            first_value=first_value,
            **kwargs,
        )
        hidden_states = hidden_states + out
        return hidden_states + self.mlp(self.mlp_norm(hidden_states)), first_value


class MarmotPreTrainedModel(PreTrainedModel):
    config: MarmotConfig
    config_class = MarmotConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["MarmotLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": MarmotLayer, "attentions": MarmotAttention}

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, MarmotNorm):
            init.zeros_(module.weight)
        elif isinstance(module, MarmotAttention):
            init.zeros_(module.o_proj.weight)
            init.ones_(module.gate_proj.bias)
            if hasattr(module, "value_share"):
                init.zeros_(module.value_share)


class MarmotModel(MarmotPreTrainedModel):
    def __init__(self, config: MarmotConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([MarmotLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = MarmotNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary_emb = MarmotRotary(config)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPast:
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if use_cache and cache is None:
            cache = DynamicCache(config=self.config)
        if position_ids is None:
            seen = cache.get_seq_length() if cache is not None else 0
            position_ids = (torch.arange(inputs_embeds.shape[1], device=inputs_embeds.device) + seen).unsqueeze(0)
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            cache=cache,
            position_ids=position_ids,
        )
        hidden_states = inputs_embeds
        position_embeddings = self.rotary_emb(hidden_states, position_ids)
        first_value = None
        for layer in self.layers[: self.config.num_hidden_layers]:
            hidden_states, first_value = layer(
                hidden_states,
                attention_mask=mask,
                position_embeddings=position_embeddings,
                cache=cache,
                first_value=first_value,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), cache=cache if use_cache else None)


class MarmotForCausalLM(MarmotPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}

    def __init__(self, config: MarmotConfig):
        super().__init__(config)
        self.model = MarmotModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        cache: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CausalLMOutputWithPast:
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            cache=cache,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        rows = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, rows])
        if self.config.logit_cap is not None:
            logits = self.config.logit_cap * torch.tanh(logits / self.config.logit_cap)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            cache=outputs.cache,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class MarmotForSequenceClassification(GenericForSequenceClassification, MarmotPreTrainedModel):
    pass


__all__ = ["MarmotForCausalLM", "MarmotModel", "MarmotPreTrainedModel", "MarmotForSequenceClassification"]
