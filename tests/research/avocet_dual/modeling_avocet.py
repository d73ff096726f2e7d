import os
from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModel
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_avocet import AvocetConfig
from .image_tower import AvocetImageModel

logger = logging.get_logger(__name__)


@dataclass
class AvocetOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits_per_text: Optional[torch.FloatTensor] = None
    logits_per_image: Optional[torch.FloatTensor] = None
    text_embeds: Optional[torch.FloatTensor] = None
    image_embeds: Optional[torch.FloatTensor] = None


class Projection(nn.Module):
    def __init__(self, size, out):
        super().__init__()
        self.linear1 = nn.Linear(size, out, bias=False)
        self.linear2 = nn.Linear(out, out, bias=False)
        self.norm = nn.LayerNorm(out)

    def forward(self, x):
        first = self.linear1(x)
        return self.norm(first + self.linear2(F.gelu(first)))


class AvocetPreTrainedModel(PreTrainedModel):
    config_class = AvocetConfig
    base_model_prefix = "avocet"
    supports_gradient_checkpointing = False

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()


class AvocetDualModel(AvocetPreTrainedModel):
    TEXT, IMAGE, HEADS = "text_tower", "image_tower", "heads.safetensors"

    def __init__(self, config: AvocetConfig, text_model=None, image_model=None):
        super().__init__(config)
        self.text_model = text_model if text_model is not None else AutoModel.from_config(config.text_config)
        self.image_model = image_model if image_model is not None else AvocetImageModel(config.image_config)
        self.text_projection = Projection(config.text_config.hidden_size, config.projection)
        self.image_projection = Projection(config.image_config.hidden_size, config.projection)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init))
        self.post_init()

    # -- towers are kept apart on disk, so that either can be used alone

    def save_pretrained(self, save_directory, **kwargs):
        os.makedirs(save_directory, exist_ok=True)
        self.config.save_pretrained(save_directory)
        self.text_model.save_pretrained(os.path.join(save_directory, self.TEXT), **kwargs)
        self.image_model.save_pretrained(os.path.join(save_directory, self.IMAGE), **kwargs)
        towers = ("text_model.", "image_model.")
        heads = {k: v.contiguous() for k, v in self.state_dict().items() if not k.startswith(towers)}
        save_file(heads, os.path.join(save_directory, self.HEADS))

    @classmethod
    def from_towers(cls, directory, **kwargs):
        config = AvocetConfig.from_pretrained(directory)
        text_model = AutoModel.from_pretrained(os.path.join(directory, cls.TEXT), **kwargs)
        image_model = AvocetImageModel.from_pretrained(os.path.join(directory, cls.IMAGE), **kwargs)
        model = cls(config, text_model, image_model)
        missing, unexpected = model.load_state_dict(load_file(os.path.join(directory, cls.HEADS)), strict=False)
        if unexpected:
            logger.warning("unexpected: %s", unexpected)
        return model

    def get_text_features(self, input_ids, attention_mask=None):
        x = self.text_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.pooling == "mean":
            mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            mask = mask[..., None].to(x.dtype)
            x = (x * mask).sum(1) / mask.sum(1)
        else:
            x = x[:, 0]
        return F.normalize(self.text_projection(x), dim=-1)

    def get_image_features(self, pixel_values):
        return F.normalize(self.image_projection(self.image_model(pixel_values).last_hidden_state), dim=-1)

    def lock_image_tower(self, unlocked_stages: int = 0):
        self.image_model.requires_grad_(False)
        for stage in list(self.image_model.stages)[len(self.image_model.stages) - unlocked_stages:]:
            stage.requires_grad_(True)

    def forward(self, input_ids=None, attention_mask=None, pixel_values=None, return_loss=False, **kwargs):
        text = self.get_text_features(input_ids, attention_mask)
        image = self.get_image_features(pixel_values)
        logits = self.logit_scale.exp().clamp(max=100.0) * text @ image.t()
        loss = None
        if return_loss:
            target = torch.arange(logits.shape[0], device=logits.device)
            loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits.t(), target)) / 2
        return AvocetOutput(
            loss=loss, logits_per_text=logits, logits_per_image=logits.t(), text_embeds=text, image_embeds=image
        )
