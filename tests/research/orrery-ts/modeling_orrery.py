"""Orrery: forecasts with quantiles, patch by patch."""
from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_orrery import OrreryConfig
from .layers_orrery import InstanceScaler, OrreryLayer, PatchPositions, ResidualBlock

logger = logging.get_logger(__name__)


@dataclass
class OrreryOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    quantile_preds: Optional[torch.FloatTensor] = None
    mean_preds: Optional[torch.FloatTensor] = None
    loc: Optional[torch.FloatTensor] = None
    scale: Optional[torch.FloatTensor] = None


class OrreryPreTrainedModel(PreTrainedModel):
    config_class = OrreryConfig
    base_model_prefix = "model"
    main_input_name = "past_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ["OrreryLayer"]

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
        elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
            nn.init.ones_(module.weight)


class OrreryModel(OrreryPreTrainedModel):
    def __init__(self, config: OrreryConfig):
        super().__init__(config)
        self.scaler = InstanceScaler(config.scale_floor)
        self.input_block = ResidualBlock(2 * config.patch_length, config.intermediate_size, config.hidden_size)
        self.freq_emb = nn.Embedding(3, config.hidden_size) if config.use_frequency else None
        self.positions = PatchPositions(config.hidden_size)
        self.layers = nn.ModuleList([OrreryLayer(config) for _ in range(config.num_hidden_layers)])
        self.norm = nn.RMSNorm(config.hidden_size, eps=1e-6)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, past_values, observed_mask=None, freq=None):
        p = self.config.patch_length
        if observed_mask is None:
            observed_mask = ~torch.isnan(past_values)
        past_values = torch.nan_to_num(past_values)
        short = -past_values.shape[-1] % p
        if short:
            past_values = F.pad(past_values, (short, 0))
            observed_mask = F.pad(observed_mask, (short, 0), value=False)
        loc, scale = self.scaler.statistics(past_values, observed_mask)
        scaled = (past_values - loc) / scale * observed_mask
        b = scaled.shape[0]
        patches = scaled.view(b, -1, p)[:, -self.config.max_patches :]
        seen = observed_mask.view(b, -1, p)[:, -self.config.max_patches :]
        x = self.input_block(torch.cat([patches, seen.to(patches.dtype)], dim=-1))
        x = x + self.positions(x.shape[1], x.device, x.dtype)[None]
        if self.freq_emb is not None:
            freq = torch.zeros(b, dtype=torch.long, device=x.device) if freq is None else freq
            x = x + self.freq_emb(freq)[:, None]
        t = x.shape[1]
        causal = torch.ones(t, t, dtype=torch.bool, device=x.device).tril()
        empty = ~seen.any(-1)
        mask = causal[None, None] & ~empty[:, None, None, :] | torch.eye(t, dtype=torch.bool, device=x.device)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(layer.__call__, x, mask)
            else:
                x = layer(x, mask)
        return self.norm(x), loc, scale


class OrreryForForecasting(OrreryPreTrainedModel):
    def __init__(self, config: OrreryConfig):
        super().__init__(config)
        self.model = OrreryModel(config)
        width = config.horizon * (1 + config.num_quantiles)
        self.horizon_block = ResidualBlock(config.hidden_size, config.intermediate_size, width)
        self.post_init()

    def _quantile_loss(self, preds, target):
        losses = []
        for i, q in enumerate(self.config.quantiles):
            error = target - preds[..., i]
            losses.append(torch.max((float(q) - 1) * error, float(q) * error))
        return torch.stack(losses).mean()

    def forward(self, past_values, observed_mask=None, freq=None, future_values=None, return_dict=True):
        hidden, loc, scale = self.model(past_values, observed_mask, freq)
        out = self.horizon_block(hidden[:, -1])
        out = out.view(out.shape[0], self.config.horizon, 1 + self.config.num_quantiles)
        out = out * scale[:, :, None] + loc[:, :, None]
        mean, quantiles = out[..., 0], out[..., 1:]
        loss = None
        if future_values is not None:
            loss = F.mse_loss(mean, future_values) + self._quantile_loss(quantiles, future_values)
        if not return_dict:
            return (loss, quantiles, mean) if loss is not None else (quantiles, mean)
        return OrreryOutput(loss=loss, quantile_preds=quantiles, mean_preds=mean, loc=loc, scale=scale)

    @torch.no_grad()
    def forecast(self, past_values: torch.Tensor, steps: int, freq=None) -> OrreryOutput:
        """As many steps as wanted: the mean goes in again."""
        means, quantiles = [], []
        context = past_values
        while sum(m.shape[1] for m in means) < steps:
            output = self(context, freq=freq)
            means.append(output.mean_preds)
            quantiles.append(output.quantile_preds)
            context = torch.cat([context, output.mean_preds], dim=1)
        return OrreryOutput(
            mean_preds=torch.cat(means, dim=1)[:, :steps], quantile_preds=torch.cat(quantiles, dim=1)[:, :steps]
        )
