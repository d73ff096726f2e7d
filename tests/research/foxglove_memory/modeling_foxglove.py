"""Foxglove model, built on transformers' Llama."""
from typing import List, Optional, Tuple, Union

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    LlamaForCausalLM,
    LlamaModel,
    LlamaPreTrainedModel,
    LlamaRMSNorm,
    apply_rotary_pos_emb,
)
from transformers.utils import logging

from .configuration_foxglove import FoxgloveConfig
from .memory_bank import MemoryBank, balance_loss, read_memory

logger = logging.get_logger(__name__)


class FoxgloveMemoryAttention(LlamaAttention):
    """Ordinary attention, to which what was read from the memory is added through a gate per head."""

    def __init__(self, config: FoxgloveConfig, layer_idx: int, bank: MemoryBank):
        super().__init__(config, layer_idx)
        self.num_heads = config.num_attention_heads
        self.m_norm = LlamaRMSNorm(self.head_dim, eps=config.rms_norm_eps)
        self.m_gate = nn.Parameter(torch.full((self.num_heads, 1, 1), config.memory_settings.gate_init))
        # not a submodule of this layer: the bank belongs to the model
        self._bank = [bank]

    @property
    def bank(self) -> MemoryBank:
        return self._bank[0]

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: Tuple[torch.Tensor, torch.Tensor],
        attention_mask: Optional[torch.Tensor],
        past_key_value: Optional[Cache] = None,
        cache_position: Optional[torch.LongTensor] = None,
        **kwargs,
    ):
        batch, length, _ = hidden_states.shape
        shape = (batch, length, -1, self.head_dim)
        q = self.q_proj(hidden_states).view(shape).transpose(1, 2)
        k = self.k_proj(hidden_states).view(shape).transpose(1, 2)
        v = self.v_proj(hidden_states).view(shape).transpose(1, 2)

        recalled = read_memory(self.bank, self.m_norm(q))

        cos, sin = position_embeddings
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        if past_key_value is not None:
            k, v = past_key_value.update(
                k, v, self.layer_idx, {"sin": sin, "cos": cos, "cache_position": cache_position}
            )
        k = k.repeat_interleave(self.num_key_value_groups, dim=1)
        v = v.repeat_interleave(self.num_key_value_groups, dim=1)
        if attention_mask is not None:
            attention_mask = attention_mask[..., : k.shape[-2]]
        y = torch.nn.functional.scaled_dot_product_attention(
            q, k, v,
            attn_mask=attention_mask,
            is_causal=attention_mask is None and length > 1,
            scale=self.scaling,
            dropout_p=self.attention_dropout if self.training else 0.0,
        )
        y = y + torch.tanh(self.m_gate) * recalled
        y = y.transpose(1, 2).reshape(batch, length, -1)
        return self.o_proj(y), None


class FoxgloveDecoderLayer(LlamaDecoderLayer):
    def __init__(self, config: FoxgloveConfig, layer_idx: int, bank: MemoryBank):
        super().__init__(config, layer_idx)
        self.layer_idx = layer_idx
        if layer_idx in config.memory_layers:
            self.self_attn = FoxgloveMemoryAttention(config, layer_idx, bank)

    def forward(self, hidden_states, **kwargs):
        outputs = super().forward(hidden_states, **kwargs)
        if self.layer_idx == 0 and not torch.is_grad_enabled():
            return outputs
        hidden = outputs[0].clamp(-6.0e4, 6.0e4)
        return (hidden,) + outputs[1:]


class FoxglovePreTrainedModel(LlamaPreTrainedModel):
    config_class = FoxgloveConfig
    _no_split_modules = ["FoxgloveDecoderLayer"]

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, MemoryBank):
            module.reset_parameters()


class FoxgloveModel(LlamaModel, FoxglovePreTrainedModel):
    config_class = FoxgloveConfig

    def __init__(self, config: FoxgloveConfig):
        super().__init__(config)
        m = config.memory_settings
        self.bank = MemoryBank(
            m.slots, m.width, config.num_attention_heads, config.hidden_size // config.num_attention_heads
        )
        self.layers = nn.ModuleList(
            [FoxgloveDecoderLayer(config, i, self.bank) for i in range(config.num_hidden_layers)]
        )
        self.post_init()

    def memory_loss(self):
        return balance_loss(self.bank)


class FoxgloveForCausalLM(LlamaForCausalLM, FoxglovePreTrainedModel):
    config_class = FoxgloveConfig
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config: FoxgloveConfig):
        super().__init__(config)
        self.model = FoxgloveModel(config)
        self.post_init()

    def parameter_groups(self, lr: float):
        slow, fast = [], []
        for name, p in self.named_parameters():
            (fast if ".bank." in name or name.endswith("m_gate") else slow).append(p)
        return [{"params": slow, "lr": lr}, {"params": fast, "lr": lr * self.config.memory_lr_scale}]

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
        **kwargs,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs: BaseModelOutputWithPast = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            cache_position=cache_position,
        )
        hidden_states = outputs.last_hidden_state
        logits = self.lm_head(hidden_states[:, -num_logits_to_keep:, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size)
            loss = loss + 0.01 * self.model.memory_loss()
        if not return_dict:
            output = (logits, outputs.past_key_values)
            return (loss,) + output if loss is not None else output
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
