from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np
import torch
from torch import nn
import torch.nn.functional as F
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MoeCausalLMOutputWithPast, MoeModelOutputWithPast

from .configuration_tidegauge import TideGaugeConfig


def rotate_half(x):
    x1 = x[..., : x.shape[-1] // 2]
    x2 = x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


class NumpyRotary:
    """Tables come from numpy in double precision and are handed over once per device; no module, no buffer."""

    def __init__(self, dim, max_position, base):
        inv = 1.0 / (base ** (np.arange(0, dim, 2, dtype=np.float64) / dim))
        angles = np.outer(np.arange(max_position), inv)
        angles = np.concatenate([angles, angles], -1)
        self._cos, self._sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        self._on = {}

    def __call__(self, position_ids, dtype):
        key = (str(position_ids.device), dtype)
        if key not in self._on:
            self._on[key] = (
                torch.from_numpy(self._cos).to(position_ids.device, dtype),
                torch.from_numpy(self._sin).to(position_ids.device, dtype),
            )
        cos, sin = self._on[key]
        return cos[position_ids].unsqueeze(1), sin[position_ids].unsqueeze(1)


class TideGaugePatchEmbedding(nn.Module):
    """Residual MLP from a patch of values (and its mask) to a token."""

    def __init__(self, config):
        super().__init__()
        self.input_token_len = config.input_token_len
        self.hidden_layer = nn.Linear(config.input_token_len * 2, config.intermediate_size)
        self.act = ACT2FN[config.hidden_act]
        self.output_layer = nn.Linear(config.intermediate_size, config.hidden_size)
        self.residual_layer = nn.Linear(config.input_token_len * 2, config.hidden_size)

    def forward(self, x):
        mask = torch.ones_like(x, dtype=x.dtype)
        length = x.shape[-1]
        pad = (self.input_token_len - length % self.input_token_len) % self.input_token_len
        x, mask = F.pad(x, (pad, 0)), F.pad(mask, (pad, 0))
        x = x.unfold(dimension=-1, size=self.input_token_len, step=self.input_token_len)
        mask = mask.unfold(dimension=-1, size=self.input_token_len, step=self.input_token_len)
        x = torch.cat([x, mask], dim=-1)
        return self.output_layer(self.act(self.hidden_layer(x))) + self.residual_layer(x)


class TideGaugeAttention(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.attention_dropout = config.attention_dropout
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=True)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=True)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=True)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x, cos, sin, past=None):
        b, n, _ = x.shape
        q, k, v = (f(x).view(b, n, self.num_heads, self.head_dim).transpose(1, 2) for f in (self.q_proj, self.k_proj, self.v_proj))
        q, k = q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
        if past is not None:
            k = torch.cat([past[0], k], 2)
            v = torch.cat([past[1], v], 2)
        total = k.shape[2]
        mask = torch.ones(n, total, dtype=torch.bool, device=x.device).tril(diagonal=total - n)
        o = F.scaled_dot_product_attention(q, k, v, mask, dropout_p=self.attention_dropout if self.training else 0.0)
        return self.o_proj(o.transpose(1, 2).reshape(b, n, -1)), (k, v)


class TideGaugeLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.self_attn = TideGaugeAttention(config, layer_idx)
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size)

    def forward(self, x, cos, sin, past=None):
        a, present = self.self_attn(x, cos, sin, past)
        x = self.norm1(x + a)
        return self.norm2(x + self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))), present


class TideGaugePreTrainedModel(PreTrainedModel):
    config_class = TideGaugeConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["TideGaugeLayer"]
    _skip_keys_device_placement = "past_key_values"
    _supports_flash_attn_2 = True
    _supports_sdpa = False
    _supports_cache_class = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, torch.nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, torch.nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)


class TideGaugeModel(TideGaugePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_layer = TideGaugePatchEmbedding(config)
        self.layers = nn.ModuleList([TideGaugeLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = torch.nn.LayerNorm(config.hidden_size)
        self.rotary = NumpyRotary(config.hidden_size // config.num_attention_heads, config.max_position_embeddings, config.rope_theta)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, input_ids=None, past_key_values=None, use_cache=None, return_dict=None):
        x = self.embed_layer(input_ids)
        start = past_key_values[0][0].shape[2] if past_key_values is not None else 0
        pos = torch.arange(start, start + x.shape[1], device=x.device)[None].expand(x.shape[0], -1)
        cos, sin = self.rotary(pos, x.dtype)
        presents = []
        for i, layer in enumerate(self.layers):
            x, p = layer(x, cos, sin, past_key_values[i] if past_key_values is not None else None)
            presents.append(p)
        return MoeModelOutputWithPast(last_hidden_state=self.norm(x), past_key_values=tuple(presents) if use_cache else None)


class TideGaugeForPrediction(TideGaugePreTrainedModel):
    def __init__(self, config: TideGaugeConfig):
        super().__init__(config)
        self.config = config
        self.model = TideGaugeModel(self.config)
        # output layer, one for every horizon
        self.lm_heads = nn.ModuleList([nn.Linear(config.hidden_size, n, bias=False) for n in config.output_token_lens])
        self.horizon_length_map = {n: i for i, n in enumerate(config.output_token_lens)}
        self.loss_fn = nn.MSELoss(reduction="none")
        self.post_init()

    def set_decoder(self, decoder):
        self.model = decoder

    def get_decoder(self):
        return self.model

    @staticmethod
    def normalize(x):
        means = x.mean(1, keepdim=True).detach()
        stdev = x.std(dim=1, keepdim=True, unbiased=False).detach()
        stdev = torch.where(stdev > 1e-2, stdev, torch.ones_like(stdev))
        return (x - means) / stdev, means, stdev

    def forward(
        self,
        input_ids: torch.FloatTensor = None,
        past_key_values: Optional[Any] = None,
        labels: Optional[torch.FloatTensor] = None,
        loss_masks: Optional[torch.FloatTensor] = None,
        use_cache: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        max_output_length: Optional[int] = None,
        revin: Optional[bool] = None,
    ) -> Union[Tuple, MoeCausalLMOutputWithPast]:
        revin = self.config.use_revin if revin is None else revin
        means = stdev = None
        if revin:
            input_ids, means, stdev = self.normalize(input_ids)
        out = self.model(input_ids, past_key_values, use_cache)
        hidden = out.last_hidden_state
        loss = None
        if labels is not None:
            ar = 0.0
            for head, n in zip(self.lm_heads, self.config.output_token_lens):
                pred = head(hidden)
                target = labels.unfold(dimension=-1, size=n, step=self.config.input_token_len)
                if revin:
                    target = (target - means[:, :, None]) / stdev[:, :, None]
                m = min(pred.shape[1], target.shape[1])
                ar = ar + self.loss_fn(pred[:, :m], target[:, :m]).mean()
            loss = ar / len(self.lm_heads)
        if max_output_length is None:
            n = self.config.output_token_lens[0]
            max_output_length = n
        else:
            fitting = [n for n in self.config.output_token_lens if n <= max_output_length]
            n = fitting[-1] if fitting else self.config.output_token_lens[0]
        preds = self.lm_heads[self.horizon_length_map[n]](hidden)[:, -1, :]
        preds = preds[:, :max_output_length]
        if revin:
            preds = preds * stdev + means
        return MoeCausalLMOutputWithPast(loss=loss, logits=preds, past_key_values=out.past_key_values)

    @torch.no_grad()
    def forecast(self, series: torch.Tensor, horizon: int) -> torch.Tensor:
        """auto-regressive roll out, normalised once over the context"""
        x, means, stdev = self.normalize(series)
        preds, past, step = [], None, x
        left = horizon
        while left > 0:
            n = self.config.input_token_len
            out = self(step, past_key_values=past, use_cache=True, max_output_length=n, revin=False)
            past, step = out.past_key_values, out.logits
            preds.append(step)
            left -= step.shape[1]
        return torch.cat(preds, 1)[:, :horizon] * stdev + means
