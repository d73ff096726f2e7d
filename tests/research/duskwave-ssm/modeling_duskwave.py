"""Duskwave: selective state space LM with a gated short convolution"""
import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.utils.checkpoint
from torch.nn import CrossEntropyLoss

from transformers.activations import ACT2FN
from transformers.generation import GenerationMixin
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_duskwave import DuskwaveConfig

logger = logging.get_logger(__name__)

try:
    from mamba_ssm.ops.selective_scan_interface import mamba_inner_fn, selective_scan_fn
    from mamba_ssm.ops.triton.selective_state_update import selective_state_update
except ImportError:
    selective_state_update, selective_scan_fn, mamba_inner_fn = None, None, None

try:
    from causal_conv1d import causal_conv1d_fn, causal_conv1d_update
except ImportError:
    causal_conv1d_update, causal_conv1d_fn = None, None

is_fast_path_available = all(
    (selective_state_update, selective_scan_fn, causal_conv1d_fn, causal_conv1d_update, mamba_inner_fn)
)


class InferenceCache:
    """conv and ssm state of all the layers"""

    def __init__(self, config: DuskwaveConfig, batch_size: int, dtype=torch.float32, device=None):
        self.dtype = dtype
        self.d_conv = config.d_conv
        self.conv_states = [torch.zeros(batch_size, config.d_inner, config.d_conv, device=device, dtype=dtype)
                            for _ in range(config.n_layer)]
        self.ssm_states = [torch.zeros(batch_size, config.d_inner, config.d_state, device=device, dtype=dtype)
                           for _ in range(config.n_layer)]
        self.seqlen_offset = 0

    def update_conv_state(self, layer_idx, new_conv_state, cache_position):
        conv_state = self.conv_states[layer_idx]
        cache_position = cache_position.clamp(0, self.d_conv - 1)
        conv_state = conv_state.roll(shifts=-1, dims=-1)
        conv_state[:, :, cache_position] = new_conv_state.to(conv_state.device)
        self.conv_states[layer_idx].zero_()
        self.conv_states[layer_idx] += conv_state
        return self.conv_states[layer_idx]

    def reset(self):
        for c, s in zip(self.conv_states, self.ssm_states):
            c.zero_()
            s.zero_()


class DuskwaveMixer(nn.Module):
    def __init__(self, config: DuskwaveConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.d_inner, self.d_state, self.dt_rank = config.d_inner, config.d_state, config.dt_rank
        self.conv_kernel_size = config.d_conv
        self.conv1d = nn.Conv1d(self.d_inner, self.d_inner, bias=config.conv_bias, kernel_size=config.d_conv,
                                groups=self.d_inner, padding=config.d_conv - 1)
        self.act = nn.SiLU()
        self.in_proj = nn.Linear(config.d_model, self.d_inner * 2, bias=config.bias)
        self.x_proj = nn.Linear(self.d_inner, self.dt_rank + self.d_state * 2, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, self.d_inner, bias=True)
        # S4D real initialization
        A = torch.arange(1, self.d_state + 1, dtype=torch.float32)[None, :].expand(self.d_inner, -1).contiguous()
        self.A_log = nn.Parameter(torch.log(A))
        self.A_log._no_weight_decay = True
        self.D = nn.Parameter(torch.ones(self.d_inner))
        self.D._no_weight_decay = True
        self.out_proj = nn.Linear(self.d_inner, config.d_model, bias=config.bias)
        if not is_fast_path_available:
            logger.warning_once("The fast path is not available, falling back to the naive implementation.")

    def slow_forward(self, input_states, cache_params: Optional[InferenceCache] = None, cache_position=None):
        batch_size, seq_len, _ = input_states.shape
        dtype = input_states.dtype
        hidden_states, gate = self.in_proj(input_states).transpose(1, 2).chunk(2, dim=1)
        if cache_params is not None:
            ssm_state = cache_params.ssm_states[self.layer_idx].clone()
            if cache_position.shape[0] == self.conv_kernel_size:
                conv_state = F.pad(hidden_states, (self.conv_kernel_size - hidden_states.shape[-1], 0))
                cache_params.update_conv_state(self.layer_idx, conv_state, cache_position)
                hidden_states = self.act(self.conv1d(hidden_states)[..., :seq_len])
            else:
                conv_state = cache_params.update_conv_state(self.layer_idx, hidden_states[..., -1:], cache_position)
                hidden_states = torch.sum(conv_state * self.conv1d.weight[:, 0, :], dim=-1)
                if self.config.conv_bias:
                    hidden_states += self.conv1d.bias
                hidden_states = self.act(hidden_states).to(dtype).unsqueeze(-1)
        else:
            ssm_state = torch.zeros((batch_size, self.d_inner, self.d_state), device=hidden_states.device, dtype=dtype)
            hidden_states = self.act(self.conv1d(hidden_states)[..., :seq_len])
        return self._scan(hidden_states, gate, ssm_state, cache_params, dtype)

    def _prefill(self, input_states, cache_params):
        seq_len = input_states.shape[1]
        hidden_states, gate = self.in_proj(input_states).transpose(1, 2).chunk(2, dim=1)
        cache_params.conv_states[self.layer_idx].copy_(
            F.pad(hidden_states, (self.conv_kernel_size - hidden_states.shape[-1], 0)))
        hidden_states = self.act(self.conv1d(hidden_states)[..., :seq_len])
        ssm_state = cache_params.ssm_states[self.layer_idx].clone()
        return self._scan(hidden_states, gate, ssm_state, cache_params, input_states.dtype)

    def _scan(self, hidden_states, gate, ssm_state, cache_params, dtype):
        seq_len = hidden_states.shape[-1]
        ssm_parameters = self.x_proj(hidden_states.transpose(1, 2))
        time_step, B, C = torch.split(ssm_parameters, [self.dt_rank, self.d_state, self.d_state], dim=-1)
        discrete_time_step = F.softplus(self.dt_proj(time_step)).transpose(1, 2)
        A = -torch.exp(self.A_log.float())
        discrete_A = torch.exp(A[None, :, None, :] * discrete_time_step[:, :, :, None])
        discrete_B = discrete_time_step[:, :, :, None] * B[:, None, :, :].float()
        deltaB_u = discrete_B * hidden_states[:, :, :, None].float()
        scan_outputs = []
        for i in range(seq_len):
            ssm_state = discrete_A[:, :, i, :] * ssm_state + deltaB_u[:, :, i, :]
            scan_output = torch.matmul(ssm_state.to(dtype), C[:, i, :].unsqueeze(-1))
            scan_outputs.append(scan_output[:, :, 0])
        scan_output = torch.stack(scan_outputs, dim=-1)
        scan_output = scan_output + (hidden_states * self.D[None, :, None])
        scan_output = scan_output * self.act(gate)
        if cache_params is not None:
            cache_params.ssm_states[self.layer_idx].copy_(ssm_state)
        return self.out_proj(scan_output.transpose(1, 2))

    def forward(self, hidden_states, cache_params=None, cache_position=None):
        if cache_params is not None and cache_position[0] == 0:
            return self._prefill(hidden_states, cache_params)
        return self.slow_forward(hidden_states, cache_params, cache_position)


class DuskwaveRMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, hidden_states):
        input_dtype = hidden_states.dtype
        hidden_states = hidden_states.to(torch.float32)
        variance = hidden_states.pow(2).mean(-1, keepdim=True)
        return self.weight * (hidden_states * torch.rsqrt(variance + self.variance_epsilon)).to(input_dtype)


class DuskwaveBlock(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.residual_in_fp32 = config.residual_in_fp32
        self.norm = DuskwaveRMSNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.mixer = DuskwaveMixer(config, layer_idx=layer_idx)

    def forward(self, hidden_states, cache_params=None, cache_position=None):
        residual = hidden_states
        hidden_states = self.norm(hidden_states.to(dtype=self.norm.weight.dtype))
        if self.residual_in_fp32:
            residual = residual.to(torch.float32)
        return residual + self.mixer(hidden_states, cache_params=cache_params, cache_position=cache_position)


class DuskwavePreTrainedModel(PreTrainedModel):
    config_class = DuskwaveConfig
    base_model_prefix = "backbone"
    _no_split_modules = ["DuskwaveBlock", "DuskwaveMixer"]
    supports_gradient_checkpointing = True
    _is_stateful = True

    def _init_weights(self, module):
        if isinstance(module, DuskwaveMixer):
            module.A_log._no_weight_decay = True
            module.D._no_weight_decay = True
            dt = torch.exp(
                torch.rand(self.config.d_inner) * (math.log(self.config.dt_max) - math.log(self.config.dt_min))
                + math.log(self.config.dt_min)
            ).clamp(min=self.config.dt_init_floor)
            # # Inverse of softplus
            inv_dt = dt + torch.log(-torch.expm1(-dt))
            with torch.no_grad():
                module.dt_proj.bias.copy_(inv_dt)
            module.dt_proj.bias._no_reinit = True
        if isinstance(module, nn.Linear):
            if module.bias is not None:
                if not getattr(module.bias, "_no_reinit", False):
                    nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)


@dataclass
class DuskwaveOutput(ModelOutput):
    last_hidden_state: Optional[torch.FloatTensor] = None
    cache_params: Optional[InferenceCache] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


@dataclass
class DuskwaveCausalLMOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None
    cache_params: Optional[InferenceCache] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


class DuskwaveModel(DuskwavePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList([DuskwaveBlock(config, layer_idx=idx) for idx in range(config.n_layer)])
        self.gradient_checkpointing = False
        self.norm_f = DuskwaveRMSNorm(config.d_model, eps=config.layer_norm_epsilon)
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def set_input_embeddings(self, new_embeddings):
        self.embeddings = new_embeddings

    def forward(self, input_ids=None, inputs_embeds=None, cache_params=None, use_cache=None,
                output_hidden_states=None, return_dict=None, cache_position=None, attention_mask=None):
        use_cache = use_cache if use_cache is not None else (self.config.use_cache if not self.training else False)
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if (input_ids is None) ^ (inputs_embeds is not None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        if inputs_embeds is None:
            inputs_embeds = self.embeddings(input_ids)
        if use_cache:
            if cache_params is None:
                cache_params = InferenceCache(self.config, inputs_embeds.size(0), device=inputs_embeds.device,
                                              dtype=inputs_embeds.dtype)
                cache_position = torch.arange(0, self.config.d_conv, device=inputs_embeds.device)
            elif cache_position is None:
                raise ValueError(
                    "You have to specify the `cache_position` manually when `use_cache=True` and `cache_params` is passed")
        else:
            cache_params = None
        hidden_states = inputs_embeds
        all_hidden_states = () if output_hidden_states else None
        for mixer_block in self.layers:
            if self.gradient_checkpointing and self.training:
                hidden_states = self._gradient_checkpointing_func(
                    mixer_block.__call__, hidden_states, cache_params, cache_position)
            else:
                hidden_states = mixer_block(hidden_states, cache_params=cache_params, cache_position=cache_position)
            if output_hidden_states:
                all_hidden_states = all_hidden_states + (hidden_states,)
        hidden_states = self.norm_f(hidden_states)
        if not return_dict:
            return tuple(v for v in [hidden_states, cache_params, all_hidden_states] if v is not None)
        return DuskwaveOutput(last_hidden_state=hidden_states, cache_params=cache_params if use_cache else None,
                              hidden_states=all_hidden_states)


class DuskwaveForCausalLM(DuskwavePreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.backbone = DuskwaveModel(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def get_input_embeddings(self):
        return self.backbone.get_input_embeddings()

    def _update_model_kwargs_for_generation(self, outputs: ModelOutput, model_kwargs: Dict[str, Any],
                                            num_new_tokens: int = 1, **kwargs) -> Dict[str, Any]:
        model_kwargs["cache_params"] = outputs.get("cache_params", None)
        if model_kwargs.get("use_cache", True) and "cache_position" in model_kwargs \
                and model_kwargs["cache_position"] is not None:
            model_kwargs["cache_position"] = model_kwargs["cache_position"][-1:] + num_new_tokens
        return model_kwargs

    def prepare_inputs_for_generation(self, input_ids, inputs_embeds=None, use_cache=None, cache_params=None,
                                      cache_position=None, **kwargs):
        if use_cache:
            if cache_position is None:
                raise ValueError("`cache_position` should not be None as it should have been initialized in generate")
            if cache_position[0] > 0:
                input_ids = input_ids[:, -1].unsqueeze(-1)
            else:
                cache_position = torch.arange(0, self.config.d_conv, device=input_ids.device)
        if inputs_embeds is not None and cache_params is None:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids.contiguous()}
        model_inputs.update({"cache_params": cache_params, "use_cache": use_cache, "cache_position": cache_position})
        return model_inputs

    def forward(self, input_ids=None, inputs_embeds=None, cache_params=None, labels=None, output_hidden_states=None,
                return_dict=None, use_cache=None, cache_position=None, **kwargs):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.backbone(input_ids, cache_params=cache_params, inputs_embeds=inputs_embeds,
                                output_hidden_states=output_hidden_states, return_dict=return_dict,
                                use_cache=use_cache, cache_position=cache_position)
        hidden_states = outputs[0]
        logits = self.lm_head(hidden_states.to(self.lm_head.weight.dtype)).float()
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[..., :-1, :].reshape(-1, logits.size(-1)), labels[..., 1:].reshape(-1))
        if not return_dict:
            output = (logits,) + outputs[1:]
            return ((loss,) + output) if loss is not None else output
        return DuskwaveCausalLMOutput(loss=loss, logits=logits, cache_params=outputs.cache_params,
                                      hidden_states=outputs.hidden_states)
