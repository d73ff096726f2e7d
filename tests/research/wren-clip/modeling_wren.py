"""WrenCLIP: one space for pictures and sentences in many languages."""
from typing import Any, Optional, Tuple, Union

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.clip.modeling_clip import CLIPOutput, CLIPVisionTransformer
from transformers.utils import (
    add_start_docstrings_to_model_forward,
    logging,
    replace_return_docstrings,
)

from .configuration_wren import WrenCLIPConfig
from .losses import clip_loss, gathered

logger = logging.get_logger(__name__)

_CONFIG_FOR_DOC = "WrenCLIPConfig"

WREN_INPUTS_DOCSTRING = r"""
    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Indices of tokens.
        pixel_values (`torch.FloatTensor` of shape `(batch_size, num_channels, height, width)`): Pixel values.
        return_loss (`bool`, *optional*): Whether or not to return the contrastive loss.
"""


class MeanPooler(nn.Module):
    def forward(self, x, attention_mask=None):
        if attention_mask is None:
            return x.mean(dim=1)
        mask = attention_mask.unsqueeze(-1).to(x.dtype)
        return (x * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-6)


class ClsPooler(nn.Module):
    def forward(self, x, attention_mask=None):
        return x[:, 0]


POOLERS = {"mean": MeanPooler, "cls": ClsPooler}


class WrenCLIPPreTrainedModel(PreTrainedModel):
    config_class = WrenCLIPConfig
    base_model_prefix = "wren"
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        factor = self.config.initializer_factor
        if isinstance(module, WrenCLIPModel):
            nn.init.normal_(module.text_projection.weight, std=module.text_embed_dim**-0.5 * factor)
            nn.init.normal_(module.visual_projection.weight, std=module.vision_embed_dim**-0.5 * factor)
        if isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.data.zero_()


class WrenCLIPModel(WrenCLIPPreTrainedModel):
    def __init__(self, config: WrenCLIPConfig):
        super().__init__(config)
        if not hasattr(config, "text_config") or not hasattr(config, "vision_config"):
            raise ValueError("Both configs are needed")
        self.projection_dim = config.projection_dim
        self.text_embed_dim = config.text_config.hidden_size
        self.vision_embed_dim = config.vision_config.hidden_size
        self.text_model = AutoModel.from_config(config.text_config, add_pooling_layer=False)
        self.vision_model = CLIPVisionTransformer(config.vision_config)
        self.text_pooler = POOLERS[config.text_pooling]()
        self.visual_projection = nn.Linear(self.vision_embed_dim, self.projection_dim, bias=False)
        self.text_projection = nn.Linear(self.text_embed_dim, self.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(config.logit_scale_init_value))
        if config.freeze_vision:
            for parameter in self.vision_model.parameters():
                parameter.requires_grad = False
        self.post_init()

    @add_start_docstrings_to_model_forward(WREN_INPUTS_DOCSTRING)
    def get_text_features(self, input_ids=None, attention_mask=None, position_ids=None) -> torch.FloatTensor:
        outputs = self.text_model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids)
        return self.text_projection(self.text_pooler(outputs.last_hidden_state, attention_mask))

    @add_start_docstrings_to_model_forward(WREN_INPUTS_DOCSTRING)
    def get_image_features(self, pixel_values=None) -> torch.FloatTensor:
        outputs: BaseModelOutputWithPooling = self.vision_model(pixel_values=pixel_values)
        return self.visual_projection(outputs.pooler_output)

    @add_start_docstrings_to_model_forward(WREN_INPUTS_DOCSTRING)
    @replace_return_docstrings(output_type=CLIPOutput, config_class=_CONFIG_FOR_DOC)
    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        pixel_values: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        return_loss: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, CLIPOutput]:
        r"""
        Returns:

        """
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        image_embeds = self.get_image_features(pixel_values)
        text_embeds = self.get_text_features(input_ids, attention_mask, position_ids)
        image_embeds = image_embeds / image_embeds.norm(p=2, dim=-1, keepdim=True)
        text_embeds = text_embeds / text_embeds.norm(p=2, dim=-1, keepdim=True)
        logit_scale = self.logit_scale.exp()
        logits_per_text = torch.matmul(text_embeds, image_embeds.t()) * logit_scale
        loss = None
        if return_loss:
            loss = clip_loss(gathered(text_embeds) @ gathered(image_embeds).t() * logit_scale)
        if not return_dict:
            output = (logits_per_text.t(), logits_per_text, text_embeds, image_embeds)
            return ((loss,) + output) if loss is not None else output
        return CLIPOutput(
            loss=loss,
            logits_per_image=logits_per_text.t(),
            logits_per_text=logits_per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
        )

    @torch.no_grad()
    def similarity(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(a, dim=-1) @ nn.functional.normalize(b, dim=-1).t()
