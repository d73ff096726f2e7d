"""Orchard: a ViT with registers."""
import collections.abc
import math
from typing import Optional

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithPooling, ImageClassifierOutput
from transformers.models.vit.modeling_vit import ViTEmbeddings, ViTLayer, ViTModel, ViTPreTrainedModel
from transformers.utils import logging, torch_int

from .configuration_orchard import OrchardConfig

logger = logging.get_logger(__name__)


class OrchardEmbeddings(ViTEmbeddings):
    def __init__(self, config: OrchardConfig, use_mask_token: bool = False):
        super().__init__(config, use_mask_token=use_mask_token)
        self.registers = nn.Parameter(torch.zeros(1, config.num_registers, config.hidden_size))

    def forward(self, pixel_values, bool_masked_pos=None, interpolate_pos_encoding=False):
        x = super().forward(
            pixel_values, bool_masked_pos=bool_masked_pos, interpolate_pos_encoding=interpolate_pos_encoding
        )
        registers = self.registers.expand(x.shape[0], -1, -1)
        return torch.cat((x[:, :1], registers, x[:, 1:]), dim=1)


class LayerScale(nn.Module):
    def __init__(self, inner: nn.Module, dim: int, value: float):
        super().__init__()
        self.inner = inner
        self.gamma = nn.Parameter(value * torch.ones(dim))

    def forward(self, *args, **kwargs):
        out = self.inner(*args, **kwargs)
        if isinstance(out, tuple):
            return (out[0] * self.gamma,) + out[1:]
        return out * self.gamma


class OrchardLayer(ViTLayer):
    """The stock layer, whose attention is scaled before it is added."""

    def __init__(self, config):
        super().__init__(config)
        self.attention = LayerScale(self.attention, config.hidden_size, config.layer_scale)


class OrchardPreTrainedModel(ViTPreTrainedModel):
    config_class = OrchardConfig
    base_model_prefix = "orchard"
    _no_split_modules = ["OrchardEmbeddings", "OrchardLayer"]

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, OrchardEmbeddings):
            nn.init.trunc_normal_(module.registers, std=self.config.initializer_range)
        elif isinstance(module, LayerScale):
            module.gamma.data.fill_(self.config.layer_scale)


class OrchardModel(ViTModel):
    config_class = OrchardConfig

    def __init__(self, config, add_pooling_layer=False, use_mask_token=False):
        super().__init__(config, add_pooling_layer=add_pooling_layer, use_mask_token=use_mask_token)
        self.embeddings = OrchardEmbeddings(config, use_mask_token=use_mask_token)
        self.encoder.layer = nn.ModuleList([OrchardLayer(config) for _ in range(config.num_hidden_layers)])
        self.post_init()

    def forward(self, pixel_values=None, bool_masked_pos=None, head_mask=None, output_attentions=None,
                output_hidden_states=None, interpolate_pos_encoding=None, return_dict=None):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        head_mask = self.get_head_mask(head_mask, self.config.num_hidden_layers)
        x = self.embeddings(pixel_values, bool_masked_pos, bool(interpolate_pos_encoding))
        encoded = self.encoder(
            x, head_mask=head_mask, output_attentions=output_attentions, output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )
        x = self.layernorm(encoded[0])
        pooled = self.pool(x)
        if not return_dict:
            return (x, pooled) + encoded[1:]
        return BaseModelOutputWithPooling(
            last_hidden_state=x, pooler_output=pooled, hidden_states=encoded.hidden_states, attentions=encoded.attentions
        )

    def pool(self, x):
        registers = self.config.num_registers
        if self.config.pool == "cls":
            return x[:, 0]
        if self.config.pool == "registers":
            return x[:, 1:1 + registers].mean(1)
        return x[:, 1 + registers:].mean(1)

    def load_pretrained_patches(self, weight: torch.Tensor):
        """Takes the patch projection of a model for pictures of another size."""
        size = self.config.patch_size
        size = size if isinstance(size, collections.abc.Iterable) else (size, size)
        scale = weight.shape[-1] / size[-1]
        weight = nn.functional.interpolate(weight, size=tuple(size), mode="bicubic", antialias=True)
        with torch.no_grad():
            self.embeddings.patch_embeddings.projection.weight.copy_(weight * scale ** 2)


class OrchardForImageClassification(OrchardPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.orchard = OrchardModel(config)
        self.norm = nn.BatchNorm1d(config.hidden_size, affine=False, eps=1e-6)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.register_buffer("queue", torch.zeros(config.queue_size, config.hidden_size))
        self.register_buffer("queue_labels", torch.full((config.queue_size,), -1, dtype=torch.long))
        self.register_buffer("queue_place", torch.zeros(1, dtype=torch.long))
        self.post_init()

    @torch.no_grad()
    def enqueue(self, features, labels):
        place, size = int(self.queue_place), self.queue.shape[0]
        rows = (torch.arange(features.shape[0], device=features.device) + place) % size
        self.queue[rows] = features.detach()
        self.queue_labels[rows] = labels
        self.queue_place[0] = (place + features.shape[0]) % size

    @torch.no_grad()
    def neighbours(self, features, k=5):
        near = nn.functional.normalize(features, dim=-1) @ nn.functional.normalize(self.queue, dim=-1).T
        return self.queue_labels[near.topk(min(k, near.shape[1]), dim=-1).indices].mode(dim=-1).values

    def forward(self, pixel_values=None, labels: Optional[torch.LongTensor] = None, interpolate_pos_encoding=None,
                output_attentions=None, output_hidden_states=None, return_dict=None):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.orchard(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=return_dict,
        )
        features = self.norm(outputs[1])
        logits = self.classifier(features)
        loss = None
        if labels is not None:
            self.enqueue(features, labels)
            loss = nn.functional.cross_entropy(logits, labels, label_smoothing=0.1)
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + outputs[2:]
        return ImageClassifierOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


def grid_of(size, patch):
    return torch_int(math.ceil(size / patch))
