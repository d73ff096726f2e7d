"""ViT with its patches normalised."""

from torch import nn
from transformers import ViTConfig
from transformers.models.vit.modeling_vit import ViTForImageClassification, ViTModel, ViTPatchEmbeddings


class PatchyConfig(ViTConfig):
    model_type = "patchy"


class PatchyPatchEmbeddings(ViTPatchEmbeddings):
    def __init__(self, config):
        super().__init__(config)
        self.norm = nn.LayerNorm(config.hidden_size)

    def forward(self, pixel_values, *args, **kwargs):
        return self.norm(super().forward(pixel_values, *args, **kwargs))


class PatchyModel(ViTModel):
    pass


class PatchyForImageClassification(ViTForImageClassification):
    pass
