# Copyright 2026 the authors.
# Licensed under the Apache License, Version 2.0.
"""The model."""
from __future__ import annotations

import torch
from torch import nn
import labpkg.layers
import labpkg.layers.blocks as B
from labpkg.layers import build_layer
from transformers import PreTrainedModel, AutoConfig, AutoModel
from transformers.modeling_outputs import BaseModelOutput, ImageClassifierOutput
from .config import VisConfig


class VisPreTrainedModel(PreTrainedModel):
    config_class = VisConfig
    base_model_prefix = "vis"


class VisModel(VisPreTrainedModel):
    def __init__(self, config: VisConfig):
        super().__init__(config)
        self.blocks = nn.ModuleList([labpkg.layers.Block(config.dim) for _ in range(config.depth)])
        self.mid = build_layer("swin", config.dim)
        self.post_init()

    def forward(self, pixel_values: torch.Tensor, return_dict=None) -> BaseModelOutput:
        x = pixel_values.flatten(1)[:, : self.config.dim]
        for block in self.blocks:
            x = block(x)
        return BaseModelOutput(last_hidden_state=B.act(self.mid(x)))


class VisForImageClassification(VisPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.vis = VisModel(config)
        self.head = nn.Linear(config.dim, config.num_labels)
        self.post_init()

    def forward(self, pixel_values, labels=None, return_dict=None):
        logits = self.head(self.vis(pixel_values).last_hidden_state)
        loss = nn.functional.cross_entropy(logits, labels) if labels is not None else None
        return ImageClassifierOutput(loss=loss, logits=logits)


AutoConfig.register("labvis", VisConfig)
AutoModel.register(VisConfig, VisModel)
