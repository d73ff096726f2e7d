import json
import os
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_bittern import BitternConfig
from .layers import Block, FrequencyMixer, InstanceScaler, time_codes

logger = logging.get_logger(__name__)


@dataclass
class BitternOutput(ModelOutput):
    loss: torch.FloatTensor | None = None
    prediction: torch.FloatTensor | None = None
    quantiles: torch.FloatTensor | None = None
    weights: torch.FloatTensor | None = None


class LookBack(nn.Module):
    """One expert: reads the last `look` steps."""

    def __init__(self, config: BitternConfig, look: int):
        super().__init__()
        self.look, self.patch = look, config.patch
        steps = look // config.patch
        self.embed = nn.Linear(2 * config.patch, config.d_model)
        self.blocks = nn.ModuleList([Block(steps, config) for _ in range(config.num_blocks)])
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(steps * config.d_model, config.horizon * len(config.quantiles))
        self.shape = (config.horizon, len(config.quantiles))

    def forward(self, x, observed):
        b, _, c = x.shape
        x, observed = x[:, -self.look:], observed[:, -self.look:]
        both = torch.stack([x, observed.to(x.dtype)], -1).transpose(1, 2)
        both = both.reshape(b * c, self.look // self.patch, 2 * self.patch)
        h = self.embed(both)
        h = h + time_codes(h.shape[1], h.shape[2]).to(h)
        for block in self.blocks:
            h = block(h)
        h = self.norm(h)
        return self.head(h.flatten(1)).view(b, c, *self.shape).transpose(1, 2), h.mean(1).view(b, c, -1)


class BitternPreTrainedModel(PreTrainedModel):
    config_class = BitternConfig
    base_model_prefix = "bittern"
    main_input_name = "past_values"

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=self.config.init_std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, FrequencyMixer):
            nn.init.ones_(module.real)
            nn.init.zeros_(module.imaginary)
        elif isinstance(module, InstanceScaler):
            nn.init.ones_(module.gain)
            nn.init.zeros_(module.shift)


class BitternForForecasting(BitternPreTrainedModel):
    def __init__(self, config: BitternConfig):
        super().__init__(config)
        self.scaler = InstanceScaler(config.scaling, config.channels)
        self.experts = nn.ModuleList([LookBack(config, look) for look in config.looks])
        self.gate = nn.Linear(config.d_model, len(config.looks))
        self.domain_names: list[str] = []
        self.post_init()

    def save_pretrained(self, save_directory, **kwargs):
        super().save_pretrained(save_directory, **kwargs)
        with open(os.path.join(save_directory, "domains.json"), "w", encoding="utf-8") as f:
            json.dump(self.domain_names, f)

    def quantile_loss(self, predicted, target, observed):
        q = torch.tensor(self.config.quantiles, device=predicted.device, dtype=predicted.dtype)
        gap = target[..., None] - predicted
        loss = torch.maximum(q * gap, (q - 1) * gap).mean(-1)
        return (loss * observed).sum() / observed.sum().clamp(min=1)

    def forward(
        self,
        past_values: torch.Tensor,
        past_observed_mask: torch.Tensor | None = None,
        future_values: torch.Tensor | None = None,
        future_observed_mask: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs,
    ) -> BitternOutput:
        if past_values.dim() == 2:
            past_values = past_values[..., None]
        short = self.config.context_length - past_values.shape[1]
        if past_observed_mask is None:
            past_observed_mask = torch.ones_like(past_values, dtype=torch.bool)
        if short > 0:
            past_values = F.pad(past_values, (0, 0, short, 0))
            past_observed_mask = F.pad(past_observed_mask, (0, 0, short, 0))
        past_values = past_values[:, -self.config.context_length:]
        past_observed_mask = past_observed_mask[:, -self.config.context_length:]

        x, statistics = self.scaler(past_values, past_observed_mask)
        outputs, summaries = zip(*(expert(x, past_observed_mask) for expert in self.experts))
        weights = self.gate(summaries[-1]).softmax(-1)
        mixed = torch.einsum("ebhcq,bce->bhcq", torch.stack(outputs), weights)
        quantiles = self.scaler.back(mixed, statistics)
        quantiles = quantiles.sort(-1).values
        middle = min(range(len(self.config.quantiles)), key=lambda i: abs(self.config.quantiles[i] - 0.5))
        loss = None
        if future_values is not None:
            if future_observed_mask is None:
                future_observed_mask = torch.ones_like(future_values)
            loss = self.quantile_loss(quantiles, future_values, future_observed_mask)
        return BitternOutput(loss=loss, prediction=quantiles[..., middle], quantiles=quantiles, weights=weights)

    @torch.no_grad()
    def roll(self, past_values, steps):
        """Longer forecasts: the median is fed back."""
        out = []
        while sum(o.shape[1] for o in out) < steps:
            prediction = self(past_values).prediction
            out.append(prediction)
            past_values = torch.cat([past_values, prediction], 1)[:, -self.config.context_length:]
        return torch.cat(out, 1)[:, :steps]
