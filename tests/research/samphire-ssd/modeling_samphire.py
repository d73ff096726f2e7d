import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.generation import GenerationMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_samphire import SamphireConfig
from .scan import chunk_scan, mamba_chunk_scan_combined, one_step

logger = logging.get_logger(__name__)

if mamba_chunk_scan_combined is None:
    logger.warning_once("mamba_ssm is not installed, the slow scan is used")


class SamphireCache:
    """What every layer keeps: the last inputs of the convolution, and the state."""

    is_compileable = False

    def __init__(self, config: SamphireConfig, batch_size: int, dtype=torch.float32, device=None):
        channels = config.inner_size + 2 * config.state_size
        self.seen = 0
        self.conv = torch.zeros(config.n_layer, batch_size, channels, config.conv_kernel - 1, dtype=dtype, device=device)
        self.state = torch.zeros(
            config.n_layer, batch_size, config.num_heads, config.head_dim, config.state_size, dtype=dtype, device=device
        )

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.seen

    def reorder_cache(self, beam_idx):
        self.conv = self.conv.index_select(1, beam_idx)
        self.state = self.state.index_select(1, beam_idx)

    def reset(self):
        self.seen = 0
        self.conv.zero_()
        self.state.zero_()


@dataclass
class SamphireOutput(ModelOutput):
    last_hidden_state: Optional[torch.FloatTensor] = None
    cache_params: Optional[SamphireCache] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


@dataclass
class SamphireCausalLMOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None
    cache_params: Optional[SamphireCache] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


class SamphireNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x, gate=None):
        dtype = x.dtype
        x = x.float()
        if gate is not None:
            x = x * F.silu(gate.float())
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)).to(dtype)


class SamphireMixer(nn.Module):
    def __init__(self, config: SamphireConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.inner, self.n = config.inner_size, config.state_size
        self.heads, self.head_dim = config.num_heads, config.head_dim
        self.kernel, self.chunk = config.conv_kernel, config.chunk_size
        channels = self.inner + 2 * self.n
        self.in_proj = nn.Linear(config.d_model, self.inner + channels + self.heads, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, self.kernel, groups=channels, padding=self.kernel - 1)
        self.dt_bias = nn.Parameter(torch.ones(self.heads))
        A = torch.arange(1, self.heads + 1)
        self.A_log = nn.Parameter(torch.log(A))
        self.A_log._no_weight_decay = True
        self.D = nn.Parameter(torch.ones(self.heads))
        self.D._no_weight_decay = True
        self.norm = SamphireNorm(self.inner, config.layer_norm_epsilon)
        self.out_proj = nn.Linear(self.inner, config.d_model, bias=False)

    def forward(self, hidden, cache: Optional[SamphireCache] = None, attention_mask=None):
        b, t, _ = hidden.shape
        if attention_mask is not None and t > 1 and b > 1:
            hidden = hidden * attention_mask[:, -t:, None].to(hidden.dtype)
        z, xbc, dt = self.in_proj(hidden).split([self.inner, self.inner + 2 * self.n, self.heads], -1)
        decoding = cache is not None and cache.seen > 0
        xbc = xbc.transpose(1, 2)
        if decoding:
            window = torch.cat([cache.conv[self.layer_idx], xbc], -1)
            conv = F.conv1d(window, self.conv1d.weight, self.conv1d.bias, groups=window.shape[1])
        else:
            window = F.pad(xbc, (self.kernel - 1, 0))
            conv = self.conv1d(xbc)[..., :t]
        if cache is not None:
            cache.conv[self.layer_idx].copy_(window[..., -(self.kernel - 1):])
        x, B, C = F.silu(conv.transpose(1, 2)).split([self.inner, self.n, self.n], -1)
        dt = F.softplus(dt + self.dt_bias)
        decay = -torch.exp(self.A_log.float()) * dt
        x = x.view(b, t, self.heads, self.head_dim)
        scaled = x * dt[..., None]
        state = cache.state[self.layer_idx] if decoding else None
        if decoding and t == 1:
            y, state = one_step(scaled[:, 0], decay[:, 0], B[:, 0], C[:, 0], state)
            y = y[:, None]
        else:
            y, state = chunk_scan(scaled, decay, B, C, self.chunk, state)
        if cache is not None:
            cache.state[self.layer_idx].copy_(state)
        y = y + self.D[:, None] * x
        return self.out_proj(self.norm(y.reshape(b, t, self.inner), z))


class SamphireBlock(GradientCheckpointingLayer):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.norm = SamphireNorm(config.d_model, config.layer_norm_epsilon)
        self.mixer = SamphireMixer(config, layer_idx)

    def forward(self, hidden, cache=None, attention_mask=None):
        return hidden + self.mixer(self.norm(hidden), cache, attention_mask)


class SamphirePreTrainedModel(PreTrainedModel):
    config_class = SamphireConfig
    base_model_prefix = "backbone"
    _no_split_modules = ["SamphireBlock"]
    supports_gradient_checkpointing = True
    _is_stateful = True

    def _init_weights(self, module):
        if isinstance(module, SamphireMixer):
            low, high = math.log(self.config.time_step_min), math.log(self.config.time_step_max)
            dt = torch.exp(torch.rand(self.config.num_heads) * (high - low) + low).clamp(min=self.config.time_step_floor)
            with torch.no_grad():
                module.dt_bias.copy_(dt + torch.log(-torch.expm1(-dt)))
            module.dt_bias._no_reinit = True
            nn.init.kaiming_uniform_(module.out_proj.weight, a=math.sqrt(5))
            if self.config.rescale_prenorm_residual:
                with torch.no_grad():
                    module.out_proj.weight /= math.sqrt(self.config.n_layer)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, nn.Linear) and not getattr(module.weight, "_no_reinit", False):
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class SamphireModel(SamphirePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.d_model)
        self.layers = nn.ModuleList([SamphireBlock(config, i) for i in range(config.n_layer)])
        self.norm_f = SamphireNorm(config.d_model, config.layer_norm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def set_input_embeddings(self, new_embeddings):
        self.embeddings = new_embeddings

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        cache_params: Optional[SamphireCache] = None,
        use_cache: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        attention_mask: Optional[torch.Tensor] = None,
        **kwargs,
    ) -> SamphireOutput:
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        use_cache = use_cache if use_cache is not None else (self.config.use_cache if not self.training else False)
        if (input_ids is None) ^ (inputs_embeds is not None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        hidden = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and cache_params is None:
            cache_params = SamphireCache(self.config, hidden.shape[0], hidden.dtype, hidden.device)
        everything = () if output_hidden_states else None
        for layer in self.layers:
            if output_hidden_states:
                everything += (hidden,)
            hidden = layer(hidden, cache_params if use_cache else None, attention_mask)
        hidden = self.norm_f(hidden)
        if use_cache:
            cache_params.seen += (input_ids if input_ids is not None else inputs_embeds).shape[1]
        return SamphireOutput(hidden, cache_params if use_cache else None, everything)


class SamphireForCausalLM(SamphirePreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.backbone = SamphireModel(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def get_input_embeddings(self):
        return self.backbone.get_input_embeddings()

    def _update_model_kwargs_for_generation(self, outputs: ModelOutput, model_kwargs: Dict[str, Any], **kwargs):
        model_kwargs["cache_params"] = outputs.get("cache_params", None)
        if "attention_mask" in model_kwargs:
            mask = model_kwargs["attention_mask"]
            model_kwargs["attention_mask"] = torch.cat([mask, mask.new_ones((mask.shape[0], 1))], dim=-1)
        return model_kwargs

    def prepare_inputs_for_generation(
        self, input_ids, inputs_embeds=None, use_cache=None, cache_params=None, attention_mask=None, **kwargs
    ):
        if cache_params is not None:
            input_ids = input_ids[:, cache_params.get_seq_length():]
        if inputs_embeds is not None and cache_params is None:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids}
        model_inputs.update(cache_params=cache_params, use_cache=use_cache, attention_mask=attention_mask)
        return model_inputs

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        cache_params: Optional[SamphireCache] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        attention_mask: Optional[torch.Tensor] = None,
        logits_to_keep: Union[int, torch.Tensor] = 0,
        **kwargs,
    ) -> SamphireCausalLMOutput:
        outputs = self.backbone(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            cache_params=cache_params,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            attention_mask=attention_mask,
        )
        hidden = outputs.last_hidden_state
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(hidden[:, keep].to(self.lm_head.weight.dtype)).float()
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return SamphireCausalLMOutput(loss, logits, outputs.cache_params, outputs.hidden_states)
