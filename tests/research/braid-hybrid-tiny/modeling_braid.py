""" PyTorch Braid: selective state space layers with an attention layer now and then. """
import math
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from transformers.activations import ACT2FN
from transformers.cache_utils import DynamicCache
from transformers.generation import GenerationMixin
from transformers.modeling_attn_mask_utils import AttentionMaskConverter
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_braid import BraidConfig

try:
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn
except ImportError:
    selective_scan_fn = None

try:
    from causal_conv1d import causal_conv1d_fn
except ImportError:
    causal_conv1d_fn = None

is_fast_path_available = all((selective_scan_fn, causal_conv1d_fn))

logger = logging.get_logger(__name__)


class BraidHybridCache(DynamicCache):
    """
    Keys and values for attention layers, convolution and state tensors for the others. Both sorts of lists have one
    entry per layer; entries that do not apply are empty tensors.
    """

    def __init__(self, config: BraidConfig, batch_size: int, dtype=torch.float32, device=None):
        super().__init__()
        self.dtype = dtype
        self.layers_block_type = config.layers_block_type
        self.has_previous_state = False
        inner = config.mamba_expand * config.hidden_size
        self.conv_states = []
        self.ssm_states = []
        self.transformer_layers = []
        for i in range(config.num_hidden_layers):
            if self.layers_block_type[i] == "mamba":
                self.conv_states.append(torch.zeros(batch_size, inner, config.mamba_d_conv, device=device, dtype=dtype))
                self.ssm_states.append(torch.zeros(batch_size, inner, config.mamba_d_state, device=device, dtype=dtype))
            else:
                self.conv_states.append(torch.tensor([[]] * batch_size, device=device))
                self.ssm_states.append(torch.tensor([[]] * batch_size, device=device))
                self.transformer_layers.append(i)
        self.key_cache = [torch.tensor([[]] * batch_size, device=device) for _ in range(config.num_hidden_layers)]
        self.value_cache = [torch.tensor([[]] * batch_size, device=device) for _ in range(config.num_hidden_layers)]

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        cache_kwargs: Optional[Dict[str, Any]] = None,
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        if self.key_cache[layer_idx].shape[-1] == 0:
            self.key_cache[layer_idx] = key_states
            self.value_cache[layer_idx] = value_states
        else:
            self.key_cache[layer_idx] = torch.cat([self.key_cache[layer_idx], key_states], dim=2)
            self.value_cache[layer_idx] = torch.cat([self.value_cache[layer_idx], value_states], dim=2)
        return self.key_cache[layer_idx], self.value_cache[layer_idx]

    def reorder_cache(self, beam_idx: torch.LongTensor):
        for name in ("key_cache", "value_cache", "conv_states", "ssm_states"):
            tensors = getattr(self, name)
            for i in range(len(tensors)):
                tensors[i] = tensors[i].index_select(0, beam_idx.to(tensors[i].device))

    def get_seq_length(self, layer_idx: Optional[int] = 0) -> int:
        layer_idx = self.transformer_layers[0] if layer_idx not in self.transformer_layers else layer_idx
        if len(self.key_cache) <= layer_idx or self.key_cache[layer_idx].shape[-1] == 0:
            return 0
        return self.key_cache[layer_idx].shape[-2]

    def to_legacy_cache(self):
        raise NotImplementedError("BraidHybridCache does not have a legacy cache equivalent.")

    @classmethod
    def from_legacy_cache(cls, past_key_values=None):
        raise NotImplementedError("BraidHybridCache does not have a legacy cache equivalent.")


class BraidRMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        dtype = hidden_states.dtype
        hidden_states = hidden_states.to(torch.float32)
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon)).to(dtype)


class BraidAttention(nn.Module):
    """No positional encoding, the state space layers know the order."""

    def __init__(self, config: BraidConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.num_key_value_heads = config.num_key_value_heads
        self.groups = self.num_heads // self.num_key_value_heads
        self.attention_dropout = config.attention_dropout
        self.q_proj = nn.Linear(config.hidden_size, self.num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.num_key_value_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.num_key_value_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.num_heads * self.head_dim, config.hidden_size, bias=False)

    def forward(self, hidden_states, attention_mask=None, past_key_value=None, output_attentions=False, **kwargs):
        b, q_len, _ = hidden_states.size()
        q = self.q_proj(hidden_states).view(b, q_len, self.num_heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(hidden_states).view(b, q_len, self.num_key_value_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(hidden_states).view(b, q_len, self.num_key_value_heads, self.head_dim).transpose(1, 2)
        if past_key_value is not None:
            k, v = past_key_value.update(k, v, self.layer_idx)
        k = k.repeat_interleave(self.groups, dim=1)
        v = v.repeat_interleave(self.groups, dim=1)
        w = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(self.head_dim)
        if attention_mask is not None:
            w = w + attention_mask[:, :, :, : k.shape[-2]]
        w = F.softmax(w, dim=-1, dtype=torch.float32).to(q.dtype)
        w = F.dropout(w, p=self.attention_dropout, training=self.training)
        out = torch.matmul(w, v).transpose(1, 2).reshape(b, q_len, -1)
        return self.o_proj(out), (w if output_attentions else None)


class BraidMambaMixer(nn.Module):
    def __init__(self, config: BraidConfig, layer_idx):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.ssm_state_size = config.mamba_d_state
        self.conv_kernel_size = config.mamba_d_conv
        self.intermediate_size = config.mamba_expand * config.hidden_size
        self.time_step_rank = config.mamba_dt_rank
        self.conv1d = nn.Conv1d(
            self.intermediate_size,
            self.intermediate_size,
            bias=config.mamba_conv_bias,
            kernel_size=self.conv_kernel_size,
            groups=self.intermediate_size,
            padding=self.conv_kernel_size - 1,
        )
        self.act = ACT2FN[config.hidden_act]
        self.in_proj = nn.Linear(config.hidden_size, self.intermediate_size * 2, bias=config.mamba_proj_bias)
        self.x_proj = nn.Linear(self.intermediate_size, self.time_step_rank + self.ssm_state_size * 2, bias=False)
        self.dt_proj = nn.Linear(self.time_step_rank, self.intermediate_size, bias=True)
        A = torch.arange(1, self.ssm_state_size + 1)[None, :].expand(self.intermediate_size, -1).contiguous()
        self.A_log = nn.Parameter(torch.log(A))
        self.D = nn.Parameter(torch.ones(self.intermediate_size))
        self.out_proj = nn.Linear(self.intermediate_size, config.hidden_size, bias=config.mamba_proj_bias)
        self.dt_layernorm = BraidRMSNorm(self.time_step_rank, eps=config.rms_norm_eps)
        self.b_layernorm = BraidRMSNorm(self.ssm_state_size, eps=config.rms_norm_eps)
        self.c_layernorm = BraidRMSNorm(self.ssm_state_size, eps=config.rms_norm_eps)
        if config.use_mamba_kernels and not is_fast_path_available:
            logger.warning_once("mamba_ssm or causal_conv1d is missing, the slow scan is used.")

    def forward(self, hidden_states, cache_params: Optional[BraidHybridCache] = None, attention_mask=None):
        b, seq_len, _ = hidden_states.shape
        dtype = hidden_states.dtype
        x, gate = self.in_proj(hidden_states).transpose(1, 2).chunk(2, dim=1)
        if attention_mask is not None:
            x = x * attention_mask.unsqueeze(1).to(dtype)

        one_step = cache_params is not None and cache_params.has_previous_state and seq_len == 1
        if cache_params is not None:
            ssm_state = cache_params.ssm_states[self.layer_idx].clone().to(x.device)
            if one_step:
                conv_state = torch.roll(cache_params.conv_states[self.layer_idx], shifts=-1, dims=-1)
                conv_state[:, :, -1] = x[:, :, 0]
                cache_params.conv_states[self.layer_idx] = conv_state
                x = torch.sum(conv_state * self.conv1d.weight[:, 0, :], dim=-1)
                if self.conv1d.bias is not None:
                    x = x + self.conv1d.bias
                x = self.act(x).to(dtype).unsqueeze(-1)
            else:
                cache_params.conv_states[self.layer_idx] = F.pad(x, (self.conv_kernel_size - seq_len, 0))
                x = self.act(self.conv1d(x)[..., :seq_len])
        else:
            ssm_state = torch.zeros((b, self.intermediate_size, self.ssm_state_size), device=x.device, dtype=dtype)
            x = self.act(self.conv1d(x)[..., :seq_len])
        if attention_mask is not None:
            x = x * attention_mask.unsqueeze(1).to(dtype)

        params = self.x_proj(x.transpose(1, 2))
        dt, B, C = torch.split(params, [self.time_step_rank, self.ssm_state_size, self.ssm_state_size], dim=-1)
        dt, B, C = self.dt_layernorm(dt), self.b_layernorm(B), self.c_layernorm(C)
        dt = F.softplus(self.dt_proj(dt)).transpose(1, 2)

        A = -torch.exp(self.A_log.float())
        dA = torch.exp(A[None, :, None, :] * dt[:, :, :, None])
        dBx = (dt[:, :, :, None] * B[:, None, :, :].float()) * x[:, :, :, None].float()
        ys = []
        for i in range(seq_len):
            ssm_state = dA[:, :, i, :] * ssm_state + dBx[:, :, i, :]
            ys.append(torch.matmul(ssm_state.to(dtype), C[:, i, :].unsqueeze(-1))[:, :, 0])
        y = torch.stack(ys, dim=-1) + x * self.D[None, :, None]
        y = y * self.act(gate)
        if cache_params is not None:
            cache_params.ssm_states[self.layer_idx] = ssm_state
        return self.out_proj(y.transpose(1, 2))


class BraidMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class BraidDecoderLayer(nn.Module):
    def __init__(self, config: BraidConfig, layer_idx: int):
        super().__init__()
        self.block_type = config.layers_block_type[layer_idx]
        if self.block_type == "attention":
            self.self_attn = BraidAttention(config, layer_idx)
        else:
            self.mamba = BraidMambaMixer(config, layer_idx)
        self.feed_forward = BraidMLP(config)
        self.input_layernorm = BraidRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.pre_ff_layernorm = BraidRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, hidden_states, causal_mask=None, mamba_mask=None, past_key_value=None, output_attentions=False):
        residual = hidden_states
        hidden_states = self.input_layernorm(hidden_states)
        weights = None
        if self.block_type == "attention":
            hidden_states, weights = self.self_attn(hidden_states, causal_mask, past_key_value, output_attentions)
        else:
            hidden_states = self.mamba(hidden_states, past_key_value, mamba_mask)
        hidden_states = residual + hidden_states
        hidden_states = hidden_states + self.feed_forward(self.pre_ff_layernorm(hidden_states))
        return hidden_states, weights


class BraidPreTrainedModel(PreTrainedModel):
    config_class = BraidConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["BraidDecoderLayer"]
    _skip_keys_device_placement = "past_key_values"
    # the hybrid cache is built in prepare_inputs_for_generation, generate() must not bring its own
    _supports_cache_class = False
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


class BraidModel(BraidPreTrainedModel):
    def __init__(self, config: BraidConfig):
        super().__init__(config)
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList([BraidDecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.final_layernorm = BraidRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def _update_causal_mask(self, attention_mask, inputs_embeds, cache_position):
        dtype, device = inputs_embeds.dtype, inputs_embeds.device
        min_dtype = torch.finfo(dtype).min
        q_len = inputs_embeds.shape[1]
        target = cache_position[-1] + 1
        mask = torch.full((q_len, target), fill_value=min_dtype, dtype=dtype, device=device)
        if q_len != 1:
            mask = torch.triu(mask, diagonal=1)
        mask = mask * (torch.arange(target, device=device) > cache_position.reshape(-1, 1))
        mask = mask[None, None].expand(inputs_embeds.shape[0], 1, -1, -1)
        if attention_mask is not None and attention_mask.dim() == 2:
            mask = mask.clone()
            n = attention_mask.shape[-1]
            pad = mask[..., :n].eq(0.0) * attention_mask[:, None, None, :].eq(0.0)
            mask[..., :n] = mask[..., :n].masked_fill(pad, min_dtype)
            if attention_mask.device.type == "cuda":
                mask = AttentionMaskConverter._unmask_unattended(mask, min_dtype)
        return mask

    def _update_mamba_mask(self, attention_mask, cache_position):
        # no padding in a cached step
        if cache_position[0] > 0 or (attention_mask is not None and torch.all(attention_mask == 1)):
            return None
        return attention_mask

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[BraidHybridCache] = None,
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
        if self.gradient_checkpointing and self.training and use_cache:
            use_cache = False
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        hidden_states = inputs_embeds
        if use_cache and past_key_values is None:
            logger.warning_once("Braid needs a `BraidHybridCache` to return a cache, none was given.")
        if cache_position is None:
            past = past_key_values.get_seq_length() if past_key_values is not None else 0
            cache_position = torch.arange(past, past + hidden_states.shape[1], device=hidden_states.device)

        causal_mask = self._update_causal_mask(attention_mask, inputs_embeds, cache_position)
        mamba_mask = self._update_mamba_mask(attention_mask, cache_position)
        all_hidden_states = () if output_hidden_states else None
        all_self_attns = () if output_attentions else None
        for layer in self.layers:
            if output_hidden_states:
                all_hidden_states += (hidden_states,)
            if self.gradient_checkpointing and self.training:
                hidden_states, w = self._gradient_checkpointing_func(
                    layer.__call__, hidden_states, causal_mask, mamba_mask, past_key_values, output_attentions
                )
            else:
                hidden_states, w = layer(hidden_states, causal_mask, mamba_mask, past_key_values, output_attentions)
            if output_attentions and w is not None:
                all_self_attns += (w,)
        hidden_states = self.final_layernorm(hidden_states)
        if output_hidden_states:
            all_hidden_states += (hidden_states,)
        if past_key_values is not None and not past_key_values.has_previous_state:
            past_key_values.has_previous_state = True
        out = BaseModelOutputWithPast(
            last_hidden_state=hidden_states,
            past_key_values=past_key_values if use_cache else None,
            hidden_states=all_hidden_states,
            attentions=all_self_attns,
        )
        return out if return_dict else out.to_tuple()


class BraidForCausalLM(BraidPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config: BraidConfig):
        super().__init__(config)
        self.model = BraidModel(config)
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

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[BraidHybridCache] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
        logits_to_keep: Union[int, torch.Tensor] = 0,
        **loss_kwargs,
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
            cache_position=cache_position,
            return_dict=return_dict,
        )
        hidden_states = outputs[0]
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(hidden_states[:, keep, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.vocab_size, **loss_kwargs)
        if not return_dict:
            output = (logits,) + outputs[1:]
            return (loss,) + output if loss is not None else output
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
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
            if inputs_embeds is not None:
                input_ids = input_ids[:, -cache_position.shape[0] :]
            elif input_ids.shape[1] != cache_position.shape[0]:
                input_ids = input_ids[:, cache_position]
        elif use_cache:
            past_key_values = BraidHybridCache(self.config, input_ids.shape[0], self.dtype, device=self.device)
        if inputs_embeds is not None and empty_past_kv:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids.contiguous()}
        model_inputs.update(
            {
                "past_key_values": past_key_values,
                "use_cache": use_cache,
                "attention_mask": attention_mask,
                "logits_to_keep": self.config.num_logits_to_keep,
                "cache_position": cache_position,
            }
        )
        return model_inputs
