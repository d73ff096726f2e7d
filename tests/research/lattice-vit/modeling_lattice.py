"""LatticeViT: a ViT with registers and axial rotary positions."""
from contextlib import contextmanager
from dataclasses import dataclass
from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.utils import ModelOutput

from .configuration_lattice import LatticeConfig
from .rope2d import AxialRope


class StochasticDepth(nn.Module):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def forward(self, x):
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.rate
        return x * keep / (1 - self.rate)


class LatticeEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.proj = nn.Conv2d(config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.registers = nn.Parameter(torch.zeros(1, config.num_register_tokens, config.hidden_size))
        nn.init.trunc_normal_(self.cls_token, std=0.02)
        nn.init.trunc_normal_(self.registers, std=0.02)

    def forward(self, pixel_values):
        patches = self.proj(pixel_values).flatten(2).transpose(1, 2)
        n = patches.shape[0]
        return torch.cat([self.cls_token.expand(n, -1, -1), self.registers.expand(n, -1, -1), patches], dim=1)


class LatticeAttention(nn.Module):
    def __init__(self, config, rope):
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.rope = rope
        self.keep_map = False
        self.last_map = None

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        q, k = self.rope(q, k)
        if self.keep_map:
            weights = (q @ k.transpose(-1, -2) * (c // self.heads) ** -0.5).softmax(-1)
            self.last_map = weights.detach()
            out = weights @ v
        else:
            out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(b, n, c))


class LatticeBlock(nn.Module):
    def __init__(self, config, rope, rate):
        super().__init__()
        dim = config.hidden_size
        self.norm1 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.attn = LatticeAttention(config, rope)
        self.gamma1 = nn.Parameter(config.layerscale_value * torch.ones(dim))
        self.norm2 = nn.LayerNorm(dim, eps=config.layer_norm_eps)
        self.mlp = nn.Sequential(
            nn.Linear(dim, config.mlp_ratio * dim), nn.GELU(), nn.Linear(config.mlp_ratio * dim, dim)
        )
        self.gamma2 = nn.Parameter(config.layerscale_value * torch.ones(dim))
        self.drop = StochasticDepth(rate)

    def forward(self, x):
        x = x + self.drop(self.gamma1 * self.attn(self.norm1(x)))
        return x + self.drop(self.gamma2 * self.mlp(self.norm2(x)))


class LatticePreTrainedModel(PreTrainedModel):
    config_class = LatticeConfig
    base_model_prefix = "lattice"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ["LatticeBlock"]

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


@dataclass
class LatticeFeatureOutput(ModelOutput):
    feature_maps: Tuple[torch.FloatTensor] = None


class LatticeModel(LatticePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        side = config.image_size // config.patch_size
        self.prefix = 1 + config.num_register_tokens
        self.embeddings = LatticeEmbeddings(config)
        # one table for all blocks
        rope = AxialRope(config.hidden_size // config.num_attention_heads, side, config.rope_base, self.prefix)
        n = config.num_hidden_layers
        rates = [config.drop_path_rate * i / max(1, n - 1) for i in range(n)]
        self.blocks = nn.ModuleList([LatticeBlock(config, rope, rate) for rate in rates])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.proj

    def _resize(self, pixel_values):
        size = self.config.image_size
        if pixel_values.shape[-2:] == (size, size):
            return pixel_values
        return F.interpolate(pixel_values, size=(size, size), mode="bicubic", antialias=True)

    def forward(self, pixel_values, output_hidden_states=False, return_dict=True):
        x = self.embeddings(self._resize(pixel_values))
        states = [x] if output_hidden_states else None
        for block in self.blocks:
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(block.__call__, x)
            else:
                x = block(x)
            if output_hidden_states:
                states.append(x)
        x = self.norm(x)
        pooled = x[:, self.prefix :].mean(1) if self.config.pool == "mean" else x[:, 0]
        if not return_dict:
            return (x, pooled)
        return BaseModelOutputWithPooling(
            last_hidden_state=x, pooler_output=pooled, hidden_states=tuple(states) if states else None
        )

    def feature_maps(self, pixel_values) -> LatticeFeatureOutput:
        states = self(pixel_values, output_hidden_states=True).hidden_states
        side = self.config.image_size // self.config.patch_size
        maps = []
        for index in self.config.out_indices:
            tokens = states[index + 1][:, self.prefix :]
            maps.append(tokens.transpose(1, 2).reshape(tokens.shape[0], -1, side, side))
        return LatticeFeatureOutput(feature_maps=tuple(maps))

    @contextmanager
    def attention_maps(self):
        """with model.attention_maps() as maps: model(...); then maps() gives one tensor for each block."""
        for block in self.blocks:
            block.attn.keep_map = True
        try:
            yield lambda: [block.attn.last_map for block in self.blocks]
        finally:
            for block in self.blocks:
                block.attn.keep_map, block.attn.last_map = False, None


class LatticeForImageClassification(LatticePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.lattice = LatticeModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels) if config.num_labels > 0 else nn.Identity()
        self.post_init()

    def forward(self, pixel_values=None, labels=None, output_hidden_states=False, return_dict=True):
        outputs = self.lattice(pixel_values, output_hidden_states=output_hidden_states)
        logits = self.classifier(outputs.pooler_output)
        loss = None
        if labels is not None:
            if labels.dtype.is_floating_point:
                loss = F.binary_cross_entropy_with_logits(logits, labels)
            else:
                loss = F.cross_entropy(logits, labels)
        if not return_dict:
            return (loss, logits) if loss is not None else (logits,)
        return ImageClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)
