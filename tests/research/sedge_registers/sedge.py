"""Sedge: ViT with registers and adapters."""

from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.vit.modeling_vit import (
    ViTEmbeddings,
    ViTLayer,
    ViTModel,
    ViTPooler,
    ViTPreTrainedModel,
)
from transformers.utils import logging

from .sedge_config import SedgeConfig

logger = logging.get_logger(__name__)


@dataclass
class SedgeOutput(BaseModelOutputWithPooling):
    """
    registers (`torch.FloatTensor`): what the register tokens hold at the end.
    features (`tuple`): maps of the layers named in `config.return_layers`.
    """

    registers: Optional[torch.FloatTensor] = None
    features: Optional[tuple] = None


def sincos_2d(height, width, dim, temperature):
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    omega = torch.arange(dim // 4).float() / max(dim // 4 - 1, 1)
    omega = temperature**-omega
    y, x = y.flatten()[:, None] * omega, x.flatten()[:, None] * omega
    return torch.cat([x.sin(), x.cos(), y.sin(), y.cos()], dim=1)


class SedgeEmbeddings(ViTEmbeddings):
    """Positions are no parameters here: they are computed for the size of the picture."""

    def __init__(self, config: SedgeConfig, use_mask_token: bool = False):
        super().__init__(config, use_mask_token=use_mask_token)
        del self.position_embeddings
        self.registers = nn.Parameter(torch.zeros(1, config.num_registers, config.hidden_size))
        grid = config.image_size // config.patch_size
        self.register_buffer(
            "position_table",
            sincos_2d(grid, grid, config.hidden_size, config.sincos_temperature)[None],
            persistent=False,
        )

    def positions(self, height, width):
        if height * width == self.position_table.shape[1]:
            return self.position_table
        table = sincos_2d(height, width, self.config.hidden_size, self.config.sincos_temperature)
        return table[None].to(self.position_table)

    def forward(
        self,
        pixel_values: torch.Tensor,
        bool_masked_pos: Optional[torch.BoolTensor] = None,
        interpolate_encoding: bool = False,
    ) -> torch.Tensor:
        batch, _, height, width = pixel_values.shape
        x = self.patch_embeddings(pixel_values, interpolate_pos_encoding=interpolate_encoding)
        if bool_masked_pos is not None:
            mask = bool_masked_pos.unsqueeze(-1).type_as(x)
            x = x * (1.0 - mask) + self.mask_token * mask
        x = x + self.positions(height // self.patch_size, width // self.patch_size)
        cls = self.cls_token.expand(batch, -1, -1)
        registers = self.registers.expand(batch, -1, -1)
        return self.dropout(torch.cat((cls, registers, x), dim=1))


class Adapter(nn.Module):
    def __init__(self, config: SedgeConfig):
        super().__init__()
        self.scale = config.adapter_scale
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.down = nn.Linear(config.hidden_size, config.adapter_width)
        self.up = nn.Linear(config.adapter_width, config.hidden_size)

    def forward(self, x):
        return self.scale * self.up(F.gelu(self.down(self.norm(x))))


class SedgeLayer(ViTLayer):
    def __init__(self, config: SedgeConfig):
        super().__init__(config)
        self.adapter = Adapter(config)

    def forward(self, hidden_states: torch.Tensor, head_mask: Optional[torch.Tensor] = None) -> torch.Tensor:
        side = self.adapter(hidden_states)
        attended = self.attention(self.layernorm_before(hidden_states), head_mask)
        hidden_states = attended + hidden_states
        inner = self.intermediate(self.layernorm_after(hidden_states))
        return self.output(inner, hidden_states) + side


class SedgePreTrainedModel(ViTPreTrainedModel):
    config: SedgeConfig
    config_class = SedgeConfig
    base_model_prefix = "sedge"
    _no_split_modules = ["SedgeEmbeddings", "SedgeLayer"]

    def _init_weights(self, module):
        if isinstance(module, ViTEmbeddings):
            std = self.config.initializer_range
            nn.init.trunc_normal_(module.cls_token, std=std)
            if getattr(module, "registers", None) is not None:
                nn.init.trunc_normal_(module.registers, std=std)
            if module.mask_token is not None:
                nn.init.zeros_(module.mask_token)
        elif isinstance(module, Adapter):
            nn.init.zeros_(module.up.weight)
            nn.init.zeros_(module.up.bias)
        else:
            super()._init_weights(module)


class SedgeModel(SedgePreTrainedModel, ViTModel):
    config_class = SedgeConfig

    def __init__(self, config: SedgeConfig, add_pooling_layer: bool = True, use_mask_token: bool = False):
        ViTModel.__init__(self, config, add_pooling_layer=False, use_mask_token=use_mask_token)
        self.embeddings = SedgeEmbeddings(config, use_mask_token=use_mask_token)
        self.encoder.layer = nn.ModuleList([SedgeLayer(config) for _ in range(config.num_hidden_layers)])
        self.pooler = ViTPooler(config) if add_pooling_layer else None
        self._maps = {}
        for index in config.return_layers or []:
            self.encoder.layer[index].register_forward_hook(self._remember(index))
        self.post_init()

    def _remember(self, index):
        def hook(module, args, output):
            self._maps[index] = output[0] if isinstance(output, tuple) else output

        return hook

    def _as_map(self, x, height, width):
        patches = x[:, self.config.prefix_tokens:]
        return patches.transpose(1, 2).reshape(x.shape[0], -1, height, width)

    def forward(
        self,
        pixel_values: Optional[torch.Tensor] = None,
        bool_masked_pos: Optional[torch.BoolTensor] = None,
        head_mask: Optional[torch.Tensor] = None,
        interpolate_pos_encoding: bool = True,
        **kwargs,
    ) -> SedgeOutput:
        if pixel_values is None:
            raise ValueError("You have to specify pixel_values")
        self._maps.clear()
        head_mask = self.get_head_mask(head_mask, self.config.num_hidden_layers)
        dtype = self.embeddings.patch_embeddings.projection.weight.dtype
        x = self.embeddings(
            pixel_values.to(dtype), bool_masked_pos=bool_masked_pos, interpolate_encoding=interpolate_pos_encoding
        )
        for index, layer in enumerate(self.encoder.layer):
            x = layer(x, head_mask[index])
        x = self.layernorm(x)
        height, width = (s // self.config.patch_size for s in pixel_values.shape[-2:])
        features = tuple(self._as_map(self._maps[i], height, width) for i in sorted(self._maps))
        self._maps.clear()
        return SedgeOutput(
            last_hidden_state=x,
            pooler_output=self.pooler(x) if self.pooler is not None else None,
            registers=x[:, 1: self.config.prefix_tokens],
            features=features or None,
        )


class SedgeForImageClassification(SedgePreTrainedModel):
    def __init__(self, config: SedgeConfig):
        super().__init__(config)
        self.sedge = SedgeModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(2 * config.hidden_size, config.num_labels)
        self.post_init()

    def forward(self, pixel_values, labels=None, **kwargs):
        out = self.sedge(pixel_values, **kwargs)
        both = torch.cat([out.last_hidden_state[:, 0], out.registers.mean(1)], -1)
        logits = self.classifier(both)
        loss = F.cross_entropy(logits, labels) if labels is not None else None
        return {"loss": loss, "logits": logits}
