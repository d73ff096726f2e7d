"""Tern: a plain ViT with register tokens."""

import collections.abc
from dataclasses import dataclass
from typing import Callable, Optional, Union

import torch
from torch import nn
from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BackboneOutput, BaseModelOutput, BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.utils import logging, torch_int
from transformers.utils.backbone_utils import BackboneMixin

from .configuration_tern import TernConfig
from .tern_layers import MLP, DropPath, LayerScale, SwiGLU

logger = logging.get_logger(__name__)


class TernPatchEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        size, patch = config.image_size, config.patch_size
        size = size if isinstance(size, collections.abc.Iterable) else (size, size)
        patch = patch if isinstance(patch, collections.abc.Iterable) else (patch, patch)
        self.patch_size = patch
        self.num_channels = config.num_channels
        self.grid = (size[0] // patch[0], size[1] // patch[1])
        self.num_patches = self.grid[0] * self.grid[1]
        self.projection = nn.Conv2d(config.num_channels, config.hidden_size, kernel_size=patch, stride=patch)

    def forward(self, pixel_values):
        if pixel_values.shape[1] != self.num_channels:
            raise ValueError(f"Expected {self.num_channels} channels, got {pixel_values.shape[1]}.")
        return self.projection(pixel_values).flatten(2).transpose(1, 2)


class TernEmbeddings(nn.Module):
    def __init__(self, config: TernConfig):
        super().__init__()
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.hidden_size))
        self.mask_token = nn.Parameter(torch.zeros(1, config.hidden_size))
        self.register_tokens = nn.Parameter(torch.zeros(1, config.num_register_tokens, config.hidden_size))
        self.patch_embeddings = TernPatchEmbeddings(config)
        self.position_embeddings = nn.Parameter(
            torch.randn(1, self.patch_embeddings.num_patches + 1, config.hidden_size)
        )
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.patch_size = config.patch_size
        self.config = config

    def interpolate_pos_encoding(self, embeddings: torch.Tensor, height: int, width: int) -> torch.Tensor:
        num_patches = embeddings.shape[1] - 1
        num_positions = self.position_embeddings.shape[1] - 1
        if not torch.jit.is_tracing() and num_patches == num_positions and height == width:
            return self.position_embeddings
        class_pos = self.position_embeddings[:, :1]
        patch_pos = self.position_embeddings[:, 1:]
        dim = embeddings.shape[-1]
        new_h, new_w = height // self.patch_size, width // self.patch_size
        side = torch_int(num_positions**0.5)
        patch_pos = patch_pos.reshape(1, side, side, dim).permute(0, 3, 1, 2)
        dtype = patch_pos.dtype
        patch_pos = nn.functional.interpolate(
            patch_pos.to(torch.float32), size=(new_h, new_w), mode="bicubic", align_corners=False, antialias=True
        ).to(dtype=dtype)
        return torch.cat((class_pos, patch_pos.permute(0, 2, 3, 1).view(1, -1, dim)), dim=1)

    def forward(self, pixel_values: torch.Tensor, bool_masked_pos: Optional[torch.Tensor] = None) -> torch.Tensor:
        b, _, height, width = pixel_values.shape
        x = self.patch_embeddings(pixel_values.to(dtype=self.patch_embeddings.projection.weight.dtype))
        if bool_masked_pos is not None:
            x = torch.where(bool_masked_pos.unsqueeze(-1), self.mask_token.to(x.dtype).unsqueeze(0), x)
        x = torch.cat((self.cls_token.expand(b, -1, -1), x), dim=1)
        x = x + self.interpolate_pos_encoding(x, height, width)
        x = torch.cat((x[:, :1], self.register_tokens.expand(b, -1, -1), x[:, 1:]), dim=1)
        return self.dropout(x)


def eager_attention_forward(module, query, key, value, attention_mask, scaling, dropout=0.0, **kwargs):
    weights = torch.matmul(query, key.transpose(-1, -2)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class TernAttention(nn.Module):
    def __init__(self, config: TernConfig):
        super().__init__()
        if config.hidden_size % config.num_attention_heads != 0:
            raise ValueError("hidden_size must be a multiple of num_attention_heads")
        self.config = config
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.dropout_prob = config.attention_probs_dropout_prob
        self.is_causal = False
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        attention_interface: Callable = eager_attention_forward
        if self.config._attn_implementation != "eager":
            attention_interface = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
        out, weights = attention_interface(
            self, q, k, v, None,
            is_causal=self.is_causal,
            scaling=self.scaling,
            dropout=0.0 if not self.training else self.dropout_prob,
        )
        return self.proj(out.reshape(b, n, c)), weights


class TernLayer(GradientCheckpointingLayer):
    def __init__(self, config: TernConfig, drop_rate: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = TernAttention(config)
        self.layer_scale1 = LayerScale(config.hidden_size, config.layerscale_value)
        self.drop_path = DropPath(drop_rate) if drop_rate > 0.0 else nn.Identity()
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = SwiGLU(config) if config.use_swiglu_ffn else MLP(config)
        self.layer_scale2 = LayerScale(config.hidden_size, config.layerscale_value)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        attn, _ = self.attention(self.norm1(hidden_states))
        hidden_states = self.drop_path(self.layer_scale1(attn)) + hidden_states
        out = self.layer_scale2(self.mlp(self.norm2(hidden_states)))
        return self.drop_path(out) + hidden_states


class TernEncoder(nn.Module):
    def __init__(self, config: TernConfig):
        super().__init__()
        self.config = config
        # stochastic depth decay rule
        rates = [x.item() for x in torch.linspace(0, config.drop_path_rate, config.num_hidden_layers, device="cpu")]
        self.layer = nn.ModuleList([TernLayer(config, rates[i]) for i in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False

    def forward(self, hidden_states: torch.Tensor, output_hidden_states: bool = False) -> BaseModelOutput:
        all_hidden_states = [hidden_states] if output_hidden_states else None
        for layer in self.layer:
            hidden_states = layer(hidden_states)
            if all_hidden_states is not None:
                all_hidden_states.append(hidden_states)
        return BaseModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=tuple(all_hidden_states) if all_hidden_states else None,
        )


class TernPreTrainedModel(PreTrainedModel):
    config: TernConfig
    config_class = TernConfig
    base_model_prefix = "tern"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ["TernLayer"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data = nn.init.trunc_normal_(
                module.weight.data.to(torch.float32), mean=0.0, std=self.config.initializer_range
            ).to(module.weight.dtype)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)
        elif isinstance(module, TernEmbeddings):
            for p in (module.position_embeddings, module.cls_token):
                p.data = nn.init.trunc_normal_(
                    p.data.to(torch.float32), mean=0.0, std=self.config.initializer_range
                ).to(p.dtype)
            module.mask_token.data.zero_()
            module.register_tokens.data.zero_()
        elif isinstance(module, LayerScale):
            module.lambda1.data.fill_(self.config.layerscale_value)


class TernModel(TernPreTrainedModel):
    def __init__(self, config: TernConfig):
        super().__init__(config)
        self.embeddings = TernEmbeddings(config)
        self.encoder = TernEncoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_init()

    def get_input_embeddings(self) -> TernPatchEmbeddings:
        return self.embeddings.patch_embeddings

    def forward(
        self,
        pixel_values: Optional[torch.Tensor] = None,
        bool_masked_pos: Optional[torch.Tensor] = None,
        output_hidden_states: Optional[bool] = None,
        **kwargs,
    ) -> BaseModelOutputWithPooling:
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        if pixel_values is None:
            raise ValueError("You have to specify pixel_values")
        x = self.embeddings(pixel_values, bool_masked_pos=bool_masked_pos)
        outputs = self.encoder(x, output_hidden_states=output_hidden_states)
        sequence_output = self.layernorm(outputs.last_hidden_state)
        return BaseModelOutputWithPooling(
            last_hidden_state=sequence_output,
            pooler_output=sequence_output[:, 0, :],
            hidden_states=outputs.hidden_states,
        )


class TernForImageClassification(TernPreTrainedModel):
    def __init__(self, config: TernConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.tern = TernModel(config)
        self.classifier = (
            nn.Linear(config.hidden_size * 2, config.num_labels) if config.num_labels > 0 else nn.Identity()
        )
        self.post_init()

    def forward(
        self,
        pixel_values: Optional[torch.Tensor] = None,
        labels: Optional[torch.Tensor] = None,
        output_hidden_states: Optional[bool] = None,
        **kwargs,
    ) -> ImageClassifierOutput:
        outputs = self.tern(pixel_values, output_hidden_states=output_hidden_states)
        sequence_output = outputs.last_hidden_state
        cls_token = sequence_output[:, 0]
        patch_tokens = sequence_output[:, 1 + self.config.num_register_tokens :]
        logits = self.classifier(torch.cat([cls_token, patch_tokens.mean(dim=1)], dim=1))

        loss = None
        if labels is not None:
            labels = labels.to(logits.device)
            if self.num_labels == 1:
                loss = MSELoss()(logits.squeeze(), labels.squeeze())
            elif labels.dtype in (torch.long, torch.int):
                loss = CrossEntropyLoss()(logits.view(-1, self.num_labels), labels.view(-1))
            else:
                loss = BCEWithLogitsLoss()(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)


class TernBackbone(TernPreTrainedModel, BackboneMixin):
    """Feature maps for detection and segmentation heads."""

    def __init__(self, config):
        super().__init__(config)
        super()._init_backbone(config)
        self.num_features = [config.hidden_size for _ in range(config.num_hidden_layers + 1)]
        self.embeddings = TernEmbeddings(config)
        self.encoder = TernEncoder(config)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.num_register_tokens = config.num_register_tokens
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.patch_embeddings

    def forward(self, pixel_values: torch.Tensor, output_hidden_states: Optional[bool] = None, **kwargs) -> BackboneOutput:
        if output_hidden_states is None:
            output_hidden_states = self.config.output_hidden_states
        outputs = self.encoder(self.embeddings(pixel_values), output_hidden_states=True)
        b, _, height, width = pixel_values.shape
        patch = self.config.patch_size
        feature_maps = []
        for stage, hidden_state in zip(self.stage_names, outputs.hidden_states):
            if stage not in self.out_features:
                continue
            if self.config.apply_layernorm:
                hidden_state = self.layernorm(hidden_state)
            if self.config.reshape_hidden_states:
                hidden_state = hidden_state[:, 1 + self.num_register_tokens :]
                hidden_state = hidden_state.reshape(b, height // patch, width // patch, -1).permute(0, 3, 1, 2)
                hidden_state = hidden_state.contiguous()
            feature_maps.append(hidden_state)
        return BackboneOutput(
            feature_maps=tuple(feature_maps),
            hidden_states=outputs.hidden_states if output_hidden_states else None,
            attentions=None,
        )


__all__ = ["TernModel", "TernPreTrainedModel", "TernForImageClassification", "TernBackbone"]
