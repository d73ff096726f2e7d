from dataclasses import dataclass
from typing import Any, List, Optional, Tuple, Union

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from transformers import BatchEncoding, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_twinhull import TwinHullConfig
from .towers import TextTower, VisionTower


@dataclass
class TwinHullOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits_per_image: torch.FloatTensor = None
    logits_per_text: torch.FloatTensor = None
    text_embeds: torch.FloatTensor = None
    image_embeds: torch.FloatTensor = None


def gather_features(x: torch.Tensor) -> torch.Tensor:
    """all ranks' features, gradient only through the own part"""
    if not (dist.is_available() and dist.is_initialized()):
        return x
    out = [torch.zeros_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(out, x)
    out[dist.get_rank()] = x
    return torch.cat(out)


def contrastive_loss(logits: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def clip_loss(similarity: torch.Tensor) -> torch.Tensor:
    return (contrastive_loss(similarity) + contrastive_loss(similarity.t())) / 2.0


class TwinHullPreTrainedModel(PreTrainedModel):
    config_class = TwinHullConfig
    base_model_prefix = "twinhull"
    _no_split_modules = ["ResidualAttentionBlock"]

    def _init_weights(self, module):
        # the towers initialise themselves
        pass


class TwinHullModel(TwinHullPreTrainedModel):
    def __init__(self, config: TwinHullConfig):
        super().__init__(config)
        self.text = TextTower(config.text_config, config.projection_dim)
        self.visual = VisionTower(config.vision_config, config.projection_dim)
        self.logit_scale = nn.Parameter(torch.ones([]) * config.logit_scale_init_value)

    def encode_image(self, image, normalize: bool = False):
        features = self.visual(image)
        return F.normalize(features, dim=-1) if normalize else features

    def encode_text(self, text, normalize: bool = False):
        features = self.text(text)
        return F.normalize(features, dim=-1) if normalize else features

    # names of the library
    def get_text_features(self, input_ids=None, **kwargs):
        return self.encode_text(input_ids)

    def get_image_features(self, pixel_values=None, **kwargs):
        return self.encode_image(pixel_values)

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        pixel_values: Optional[torch.FloatTensor] = None,
        return_loss: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **unused,
    ) -> Union[Tuple, TwinHullOutput]:
        text_embeds = self.encode_text(input_ids, normalize=True)
        image_embeds = self.encode_image(pixel_values, normalize=True)
        if self.config.gather_loss and self.training:
            text_embeds, image_embeds = gather_features(text_embeds), gather_features(image_embeds)
        logits_per_text = self.logit_scale.exp() * text_embeds @ image_embeds.t()
        loss = clip_loss(logits_per_text) if return_loss else None
        if return_dict is False:
            return (logits_per_text.t(), logits_per_text, text_embeds, image_embeds)
        return TwinHullOutput(
            loss=loss,
            logits_per_image=logits_per_text.t(),
            logits_per_text=logits_per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
        )

    @torch.no_grad()
    def zero_shot(self, images, class_names: List[str], tokenizer, templates=("a photo of a {}.",)):
        weights = []
        for name in class_names:
            enc = tokenizer([t.format(name) for t in templates], return_tensors="pt", padding="max_length",
                            max_length=self.text.context_length, truncation=True)
            e = self.encode_text(enc["input_ids"].to(self.device), normalize=True).mean(0)
            weights.append(e / e.norm())
        img = self.encode_image(images.to(self.device), normalize=True)
        return (self.logit_scale.exp() * img @ torch.stack(weights).t()).softmax(-1)
