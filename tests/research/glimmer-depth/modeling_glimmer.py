"""Glimmer: depth from one picture."""
from typing import Optional, Tuple, Union

import torch
from torch import nn
from transformers.modeling_outputs import DepthEstimatorOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import auto_docstring, logging
from transformers.utils.backbone_utils import load_backbone

from .configuration_glimmer import GlimmerConfig
from .neck import BinsHead, DepthNeck

logger = logging.get_logger(__name__)


def silog(predicted, target, weight, valid=None):
    """Scale-invariant logarithmic loss."""
    if valid is None:
        valid = target > 0
    difference = torch.log(predicted[valid]) - torch.log(target[valid])
    return torch.sqrt((difference**2).mean() - weight * difference.mean() ** 2 + 1e-8)


def edge_loss(predicted, target):
    loss = 0.0
    for axis in (-1, -2):
        loss = loss + (predicted.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
    return loss


@auto_docstring
class GlimmerPreTrainedModel(PreTrainedModel):
    config: GlimmerConfig
    config_class = GlimmerConfig
    base_model_prefix = "glimmer"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)


@auto_docstring(custom_intro="Glimmer with a depth estimation head on top.")
class GlimmerForDepthEstimation(GlimmerPreTrainedModel):
    _no_split_modules = ["Dinov2Layer", "DepthNeck"]

    def __init__(self, config: GlimmerConfig):
        super().__init__(config)
        self.backbone = load_backbone(config)
        self.patch_size = config.backbone_config.patch_size
        self.neck = DepthNeck(self.backbone.channels, config.fusion_hidden_size)
        self.head = BinsHead(
            config.fusion_hidden_size, config.head_hidden_size, config.n_bins, config.min_depth, config.max_depth
        )
        self.post_init()

    def freeze_backbone(self):
        for parameter in self.backbone.parameters():
            parameter.requires_grad_(False)

    def forward(
        self,
        pixel_values: torch.FloatTensor,
        labels: Optional[torch.FloatTensor] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple[torch.Tensor], DepthEstimatorOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.backbone.forward_with_filtered_kwargs(
            pixel_values, output_hidden_states=output_hidden_states, output_attentions=output_attentions
        )
        _, _, height, width = pixel_values.shape
        fused = self.neck(outputs.feature_maps, height // self.patch_size, width // self.patch_size)
        predicted_depth = self.head(fused, (height, width))
        loss = None
        if labels is not None:
            loss = silog(predicted_depth, labels, self.config.silog_lambda)
            loss = loss + 0.1 * edge_loss(predicted_depth.log(), labels.clamp(min=self.config.min_depth).log())
        if not return_dict:
            output = (predicted_depth,)
            return ((loss,) + output) if loss is not None else output
        return DepthEstimatorOutput(
            loss=loss, predicted_depth=predicted_depth, hidden_states=outputs.hidden_states
        )


__all__ = ["GlimmerForDepthEstimation", "GlimmerPreTrainedModel"]
