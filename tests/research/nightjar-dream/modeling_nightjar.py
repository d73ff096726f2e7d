import math
import os
from typing import List, Optional, Tuple, Union

import torch
import torch.utils.checkpoint
from torch import nn
from transformers import PretrainedConfig
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import is_flash_attn_2_available, logging

from .configuration_nightjar import NightjarConfig
from .generation_utils import NightjarGenerationConfig, NightjarGenerationMixin

if is_flash_attn_2_available():
    from transformers.modeling_flash_attention_utils import _flash_attention_forward

logger = logging.get_logger(__name__)


class NightjarRMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, x):
        y = x.to(torch.float32)
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * y.to(x.dtype)


class NightjarRotaryEmbedding(nn.Module):
    def __init__(self, dim=None, max_position_embeddings=2048, base=10000, device=None, scaling_factor=1.0,
                 rope_type="default", config: Optional[NightjarConfig] = None):
        super().__init__()
        self.rope_kwargs = {}
        if config is None:
            self.rope_kwargs = {"rope_type": rope_type, "factor": scaling_factor, "dim": dim, "base": base,
                                "max_position_embeddings": max_position_embeddings}
            self.rope_type = rope_type
        else:
            if config.rope_scaling is not None:
                self.rope_type = config.rope_scaling.get("rope_type", config.rope_scaling.get("type"))
            else:
                self.rope_type = "default"
        self.config = config
        self.rope_init_fn = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = self.rope_init_fn(self.config, device, **self.rope_kwargs)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.original_inv_freq = self.inv_freq

    def reset_parameters(self):
        inv_freq, self.attention_scaling = self.rope_init_fn(self.config, self.inv_freq.device, **self.rope_kwargs)
        self.register_buffer("inv_freq", inv_freq, persistent=False)
        self.original_inv_freq = self.inv_freq

    @torch.no_grad()
    def forward(self, x, position_ids):
        inv_freq_expanded = self.inv_freq[None, :, None].float().expand(position_ids.shape[0], -1, 1)
        freqs = (inv_freq_expanded @ position_ids[:, None, :].float()).transpose(1, 2)
        emb = torch.cat((freqs, freqs), dim=-1)
        return (emb.cos() * self.attention_scaling).to(x.dtype), (emb.sin() * self.attention_scaling).to(x.dtype)


def rotate_half(x):
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2:]
    return torch.cat((-x2, x1), dim=-1)


class NightjarAttention(nn.Module):
    def __init__(self, config: NightjarConfig, layer_idx: Optional[int] = None):
        super().__init__()
        self.h, self.kv = config.num_attention_heads, config.num_key_value_heads
        self.d = config.hidden_size // self.h
        self.is_causal = False
        self.q_proj = nn.Linear(config.hidden_size, self.h * self.d, bias=True)
        self.k_proj = nn.Linear(config.hidden_size, self.kv * self.d, bias=True)
        self.v_proj = nn.Linear(config.hidden_size, self.kv * self.d, bias=True)
        self.o_proj = nn.Linear(self.h * self.d, config.hidden_size, bias=False)

    def forward(self, x, mask, pe):
        b, s, _ = x.shape
        q = self.q_proj(x).view(b, s, self.h, self.d).transpose(1, 2)
        k = self.k_proj(x).view(b, s, self.kv, self.d).transpose(1, 2)
        v = self.v_proj(x).view(b, s, self.kv, self.d).transpose(1, 2)
        cos, sin = pe[0][:, None], pe[1][:, None]
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        k = k.repeat_interleave(self.h // self.kv, 1)
        v = v.repeat_interleave(self.h // self.kv, 1)
        o = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=False)
        return self.o_proj(o.transpose(1, 2).reshape(b, s, -1))


class NightjarMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class NightjarDecoderLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.self_attn = NightjarAttention(config, layer_idx)
        self.mlp = NightjarMLP(config)
        self.input_layernorm = NightjarRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = NightjarRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x, mask, pe):
        x = x + self.self_attn(self.input_layernorm(x), mask, pe)
        return x + self.mlp(self.post_attention_layernorm(x))


class NightjarPreTrainedModel(PreTrainedModel):
    config_class = NightjarConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["NightjarDecoderLayer"]
    _supports_flash_attn_2 = True
    _supports_sdpa = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, config=None, cache_dir=None,
                        ignore_mismatched_sizes=False, force_download=False, local_files_only=False, token=None,
                        revision="main", use_safetensors=None, **kwargs):
        _model = super().from_pretrained(
            pretrained_model_name_or_path, *model_args, config=config, cache_dir=cache_dir,
            ignore_mismatched_sizes=ignore_mismatched_sizes, force_download=force_download,
            local_files_only=local_files_only, token=token, revision=revision, use_safetensors=use_safetensors,
            **kwargs)
        # NOTE(author): we need to override the generation config because the generation config loaded in
        # `from_pretrained` does not include all attributes of NightjarGenerationConfig
        resume_download = kwargs.get("resume_download", None)
        _model.generation_config = NightjarGenerationConfig.from_model_config(_model.config)
        return _model


class NightjarBaseModel(NightjarPreTrainedModel):
    def __init__(self, config: NightjarConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([NightjarDecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = NightjarRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = NightjarRotaryEmbedding(config=config)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, input_ids, attention_mask=None, position_ids=None):
        x = self.embed_tokens(input_ids)
        if position_ids is None:
            position_ids = torch.arange(x.shape[1], device=x.device)[None]
        if attention_mask is not None and attention_mask.dim() == 2:
            attention_mask = attention_mask[:, None, None, :].bool()
        pe = self.rotary_emb(x, position_ids)
        for layer in self.layers:
            x = layer(x, attention_mask, pe)
        return BaseModelOutput(last_hidden_state=self.norm(x))


class NightjarModel(NightjarGenerationMixin, NightjarPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = NightjarBaseModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def reset_rope_parameters(self):
        self.model.rotary_emb.reset_parameters()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, labels=None, num_logits_to_keep=0,
                **loss_kwargs):
        h = self.model(input_ids, attention_mask, position_ids)[0]
        logits = self.lm_head(h[:, -num_logits_to_keep:, :])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.vocab_size, **loss_kwargs)
        return MaskedLMOutput(loss=loss, logits=logits)
