"""PyTorch MISTWALK model."""
import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Union

import torch
from torch import nn
from torch.nn import CrossEntropyLoss

from transformers.generation import GenerationMixin
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_mistwalk import MistwalkConfig
from .scan_ops import FAST, scan, selective_scan_fn, short_conv

logger = logging.get_logger(__name__)


class MistwalkCache:
    """One tail of the convolution and one state of the scan for every layer."""

    is_compileable = False

    def __init__(self, config: MistwalkConfig, batch_size: int, dtype=torch.float32, device=None):
        self.dtype = dtype
        self.seqlen_offset = 0
        self.conv_states = torch.zeros(
            config.n_layer, batch_size, config.d_inner, config.d_conv - 1, device=device, dtype=dtype
        )
        self.ssm_states = torch.zeros(
            config.n_layer, batch_size, config.d_inner, config.d_state, device=device, dtype=dtype
        )

    def get_seq_length(self, layer_idx=0):
        return self.seqlen_offset

    def reset(self):
        self.conv_states.zero_()
        self.ssm_states.zero_()
        self.seqlen_offset = 0


class MistwalkMixer(nn.Module):
    def __init__(self, config: MistwalkConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.dt_rank, self.d_state = config.dt_rank, config.d_state
        self.in_proj = nn.Linear(config.d_model, 2 * config.d_inner, bias=False)
        self.conv_weight = nn.Parameter(torch.randn(config.d_inner, config.d_conv) / math.sqrt(config.d_conv))
        self.conv_bias = nn.Parameter(torch.zeros(config.d_inner))
        self.x_proj = nn.Linear(config.d_inner, self.dt_rank + 2 * self.d_state, bias=False)
        self.dt_proj = nn.Linear(self.dt_rank, config.d_inner, bias=True)
        A = torch.arange(1, self.d_state + 1, dtype=torch.float32).repeat(config.d_inner, 1)
        self.A_log = nn.Parameter(torch.log(A))
        self.D = nn.Parameter(torch.ones(config.d_inner))
        self.A_log._no_weight_decay = True
        self.D._no_weight_decay = True
        self.out_proj = nn.Linear(config.d_inner, config.d_model, bias=False)
        if not FAST:
            logger.warning_once("The kernels of mamba_ssm and causal_conv1d are absent: the slow scan is used.")

    def forward(self, x, cache: Optional[MistwalkCache] = None):
        u, z = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)
        tail = state = None
        if cache is not None and cache.seqlen_offset > 0:
            tail, state = cache.conv_states[self.layer_idx], cache.ssm_states[self.layer_idx]
        u, tail = short_conv(u, self.conv_weight, self.conv_bias, tail)
        dt, B, C = self.x_proj(u.transpose(1, 2)).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        delta = nn.functional.softplus(self.dt_proj(dt)).transpose(1, 2)
        A = -torch.exp(self.A_log.float())
        if FAST and u.is_cuda and state is None:
            y, state = selective_scan_fn(
                u, delta, A, B.transpose(1, 2), C.transpose(1, 2), self.D.float(), return_last_state=True
            )
        else:
            y, state = scan(u, delta, A, B.transpose(1, 2), C.transpose(1, 2), self.D.float(), state)
        if cache is not None:
            cache.conv_states[self.layer_idx].copy_(tail)
            cache.ssm_states[self.layer_idx].copy_(state)
        return self.out_proj((y * nn.functional.silu(z)).transpose(1, 2).to(x.dtype))


class MistwalkNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return self.weight * wide.to(x.dtype)


class MistwalkBlock(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.residual_in_fp32 = config.residual_in_fp32
        kind = MistwalkNorm if config.rms_norm else nn.LayerNorm
        self.norm = kind(config.d_model, config.layer_norm_epsilon)
        self.mixer = MistwalkMixer(config, layer_idx)

    def forward(self, x, cache=None):
        residual = x.to(torch.float32) if self.residual_in_fp32 else x
        return self.mixer(self.norm(x), cache) + residual


class MistwalkPreTrainedModel(PreTrainedModel):
    config_class = MistwalkConfig
    base_model_prefix = "backbone"
    supports_gradient_checkpointing = True
    _no_split_modules = ["MistwalkBlock"]
    _is_stateful = True

    def _init_weights(self, module):
        if isinstance(module, MistwalkMixer):
            std = self.config.dt_rank ** -0.5
            nn.init.uniform_(module.dt_proj.weight, -std, std)
            low, high = math.log(self.config.dt_min), math.log(self.config.dt_max)
            dt = torch.exp(torch.rand(self.config.d_inner) * (high - low) + low)
            dt = dt.clamp(min=self.config.dt_init_floor)
            with torch.no_grad():
                module.dt_proj.bias.copy_(dt + torch.log(-torch.expm1(-dt)))
            module.dt_proj.bias._no_reinit = True
        if isinstance(module, nn.Linear):
            if module.bias is not None and not getattr(module.bias, "_no_reinit", False):
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if self.config.rescale_prenorm_residual:
            for name, p in module.named_parameters():
                if name == "out_proj.weight":
                    with torch.no_grad():
                        p /= math.sqrt(self.config.n_layer)


@dataclass
class MistwalkOutput(ModelOutput):
    last_hidden_state: Optional[torch.FloatTensor] = None
    cache_params: Optional[MistwalkCache] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


@dataclass
class MistwalkCausalOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None
    cache_params: Optional[MistwalkCache] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


class MistwalkModel(MistwalkPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList([MistwalkBlock(config, i) for i in range(config.n_layer)])
        self.norm_f = MistwalkNorm(config.d_model, config.layer_norm_epsilon)
        self.gradient_checkpointing = False
        self._register_load_state_dict_pre_hook(self._rename_old)
        self.post_init()

    def _rename_old(self, state_dict, prefix, *args):
        # checkpoints of the first release say embedding
        for key in list(state_dict):
            if key.endswith("embedding.weight"):
                state_dict[key.replace("embedding.", "embeddings.")] = state_dict.pop(key)

    def get_input_embeddings(self):
        return self.embeddings

    def set_input_embeddings(self, new_embeddings):
        self.embeddings = new_embeddings

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        cache_params: Optional[MistwalkCache] = None,
        use_cache: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, MistwalkOutput]:
        use_cache = use_cache if use_cache is not None else (self.config.use_cache if not self.training else False)
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if inputs_embeds is None:
            inputs_embeds = self.embeddings(input_ids)
        if cache_params is None and use_cache:
            cache_params = MistwalkCache(
                self.config, inputs_embeds.size(0), device=inputs_embeds.device, dtype=inputs_embeds.dtype
            )
        x = inputs_embeds
        everything = () if output_hidden_states else None
        for block in self.layers:
            if output_hidden_states:
                everything += (x,)
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(block.__call__, x, cache_params)
            else:
                x = block(x, cache_params)
        if use_cache:
            cache_params.seqlen_offset += inputs_embeds.shape[1]
        x = self.norm_f(x)
        if output_hidden_states:
            everything += (x,)
        if not return_dict:
            return tuple(v for v in (x, cache_params, everything) if v is not None)
        return MistwalkOutput(x, cache_params if use_cache else None, everything)


class MistwalkForCausalLM(MistwalkPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.backbone = MistwalkModel(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def get_input_embeddings(self):
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, new_embeddings):
        return self.backbone.set_input_embeddings(new_embeddings)

    def _update_model_kwargs_for_generation(
        self, outputs: ModelOutput, model_kwargs: Dict[str, Any], num_new_tokens: int = 1, **kwargs
    ) -> Dict[str, Any]:
        model_kwargs["cache_params"] = outputs.get("cache_params", None)
        if "attention_mask" in model_kwargs:
            mask = model_kwargs["attention_mask"]
            model_kwargs["attention_mask"] = torch.cat([mask, mask.new_ones((mask.shape[0], 1))], dim=-1)
        return model_kwargs

    def prepare_inputs_for_generation(
        self, input_ids, cache_params: Optional[MistwalkCache] = None, inputs_embeds=None, use_cache=None, **kwargs
    ):
        if cache_params is not None:
            input_ids = input_ids[:, -1].unsqueeze(-1)
        if inputs_embeds is not None and cache_params is None:
            return {"inputs_embeds": inputs_embeds, "use_cache": use_cache}
        return {"input_ids": input_ids.contiguous(), "cache_params": cache_params, "use_cache": use_cache}

    def forward(self, input_ids=None, inputs_embeds=None, cache_params=None, labels=None, use_cache=None,
                output_hidden_states=None, return_dict=None, **kwargs):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.backbone(
            input_ids, inputs_embeds=inputs_embeds, cache_params=cache_params, use_cache=use_cache,
            output_hidden_states=output_hidden_states, return_dict=return_dict,
        )
        logits = self.lm_head(outputs[0].to(self.lm_head.weight.dtype)).float()
        loss = None
        if labels is not None:
            labels = labels.to(logits.device)
            loss = CrossEntropyLoss()(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + outputs[1:]
        return MistwalkCausalOutput(loss, logits, outputs.cache_params, outputs.hidden_states)
