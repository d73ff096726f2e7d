"""ResNet image classifier: timm's `ResNet` behind the interface of a transformers model.

- Deep Residual Learning for Image Recognition, He et al. 2015, https://arxiv.org/abs/1512.03385;
  the C, D, S and T variants are those of timm (https://github.com/huggingface/pytorch-image-models).
- Not changed: timm builds the network and draws its initial weights. Weight names are timm's
  under `model.`, so a timm state dict loads with that prefix and nothing else.
- Added: hidden states, losses, and gradient checkpointing that updates batch norm only once.
"""

import math
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutputWithPoolingAndNoAttention,
    ImageClassifierOutputWithNoAttention,
)

from .configuration_resnet import ResnetConfig

BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResnetPreTrainedModel(PreTrainedModel):
    """The network, its initial weights and its stages: all that the two models below share.

    Both own the whole timm network, classifier included, so that a checkpoint of either loads in the other.
    """

    config_class = ResnetConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ["BasicBlock", "Bottleneck"]  # noqa: RUF012 (accelerate reads a list); the shortcut stays local

    def __init__(self, config: ResnetConfig):
        super().__init__(config)
        config.check_architecture()
        self.model = ResNet(
            BLOCKS[config.block_type],
            tuple(config.layers),
            num_classes=config.num_classes,
            in_chans=config.input_channels,
            cardinality=config.cardinality,
            base_width=config.base_width,
            stem_width=config.stem_width,
            stem_type=config.stem_type,
            avg_down=config.avg_down,
        )
        for block in self.model.modules():
            if isinstance(block, (BasicBlock, Bottleneck)):  # starts as the identity; see _init_weights
                (block.bn2 if isinstance(block, BasicBlock) else block.bn3).starts_at = 0.0
        self.gradient_checkpointing = False
        # timm has just drawn the weights: a second draw in post_init would differ from timm's for the same seed.
        # from_pretrained suppresses both, and later draws what a checkpoint lacks with _init_weights.
        self.drawn_by_timm = True
        self.post_init()
        self.drawn_by_timm = False

    def _init_weights(self, module: nn.Module) -> None:
        """Draw one module's weights from the distributions that timm uses."""
        if self.drawn_by_timm:
            return
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            nn.init.uniform_(module.weight, -bound, bound)
            nn.init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, getattr(module, "starts_at", 1.0))
            nn.init.zeros_(module.bias)
            nn.init.zeros_(module.running_mean)
            nn.init.ones_(module.running_var)
            nn.init.zeros_(module.num_batches_tracked)

    def stages(self, pixel_values: Tensor) -> list[Tensor]:
        """Return the stem's output, after its pooling, and that of each of the four stages.

        Args:
            pixel_values: (batch, input_channels, height, width), normalised.
        """
        net = self.model
        x = net.act1(net.bn1(net.conv1(pixel_values)))  # (batch, stem, height / 2, width / 2)
        states = [net.maxpool(x)]  # (batch, stem, height / 4, width / 4)
        for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
            x = states[-1]
            for block in stage:
                x = self.run(block, x)
            states.append(x)  # (batch, channels, height / 4, 8, 16 or 32, likewise width)
        return states

    def run(self, block: nn.Module, x: Tensor) -> Tensor:
        # Below a trainable input there is nothing to save, and reentrant checkpointing would lose the gradient.
        if self.gradient_checkpointing and self.training and x.requires_grad:
            return self._gradient_checkpointing_func(recomputable(block), x)
        return block(x)

    def wants_dict(self, return_dict: bool | None) -> bool:
        return getattr(self.config, "return_dict", True) if return_dict is None else return_dict

    def wants_states(self, output_hidden_states: bool | None) -> bool:
        return self.config.output_hidden_states if output_hidden_states is None else output_hidden_states


def recomputable(block: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a function that runs the block; from the second call on, without touching the running statistics.

    Checkpointing runs a block once forward and again for every backward pass. Batch norm normalises by the batch in
    all of them, but must count the batch once.
    """
    recomputing = False

    def run(x: Tensor) -> Tensor:
        nonlocal recomputing
        if not recomputing:
            recomputing = True
            return block(x)
        norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
        kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
        try:
            for norm in norms:  # the tensors stay in place, as autograd must save the same ones in every pass
                norm.momentum, norm.num_batches_tracked = 0.0, None
            return block(x)
        finally:  # checkpointing leaves the second pass by an exception once it has what it needs
            for norm, (momentum, count) in zip(norms, kept, strict=True):
                norm.momentum, norm.num_batches_tracked = momentum, count

    return run


class ResnetModel(ResnetPreTrainedModel):
    """The feature extractor. Its classifier is there, unused, so that it can load and save any checkpoint."""

    def forward(
        self,
        pixel_values: Tensor,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPoolingAndNoAttention | tuple:
        """Compute feature maps.

        Args:
            pixel_values: (batch, input_channels, height, width), normalised.
            output_hidden_states: also return the stem's output and that of each stage, five tensors.
            return_dict: False for a plain tuple.

        Returns:
            last_hidden_state (batch, channels, height / 32, width / 32), pooler_output (batch, channels),
            hidden_states when asked for.
        """
        states = self.stages(pixel_values)
        output = BaseModelOutputWithPoolingAndNoAttention(
            last_hidden_state=states[-1],
            pooler_output=self.model.forward_head(states[-1], pre_logits=True),  # (batch, channels)
            hidden_states=tuple(states) if self.wants_states(output_hidden_states) else None,
        )
        return output if self.wants_dict(return_dict) else output.to_tuple()


class ResnetModelForImageClassification(ResnetPreTrainedModel):
    """The classifier."""

    def forward(
        self,
        pixel_values: Tensor,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **loss_kwargs: Any,
    ) -> ImageClassifierOutputWithNoAttention | tuple:
        """Classify images.

        Args:
            pixel_values: (batch, input_channels, height, width), normalised.
            labels: class ids (batch,); or 0 and 1 as floats (batch, num_labels) for several labels; or, with one
                label, targets (batch,) of a regression. config.problem_type decides where it is set.
            output_hidden_states: also return the stem's output and that of each stage, five tensors.
            return_dict: False for a plain tuple.
            loss_kwargs: num_items_in_batch, the number of labels in all micro-batches of a step, from Trainer.

        Returns:
            loss where labels were given, logits (batch, num_labels), hidden_states when asked for.
        """
        states = self.stages(pixel_values)
        logits = self.model.forward_head(states[-1])  # (batch, num_labels)
        output = ImageClassifierOutputWithNoAttention(
            loss=None if labels is None else self.loss(logits, labels, loss_kwargs.get("num_items_in_batch")),
            logits=logits,
            hidden_states=tuple(states) if self.wants_states(output_hidden_states) else None,
        )
        return output if self.wants_dict(return_dict) else output.to_tuple()

    def loss(self, logits: Tensor, labels: Tensor, num_items: Tensor | int | None) -> Tensor:
        """Mean over the labels; over those of the whole optimiser step where their number is given."""
        reduction = "mean" if num_items is None else "sum"
        match self.problem_type(labels):
            case "regression":
                loss = F.mse_loss(logits, labels.view_as(logits).to(logits.dtype), reduction=reduction)
            case "single_label_classification":
                loss = F.cross_entropy(logits, labels.view(-1), reduction=reduction)
            case "multi_label_classification":
                loss = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction=reduction)
        return loss if num_items is None else loss / num_items

    def problem_type(self, labels: Tensor) -> str:
        """config.problem_type, or what the labels look like. Never stored: one odd batch must not bind the rest."""
        if self.config.problem_type is not None:
            return self.config.problem_type
        if self.config.num_labels == 1:
            return "regression"
        return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


ResnetModel.register_for_auto_class("AutoModel")
ResnetModelForImageClassification.register_for_auto_class("AutoModelForImageClassification")
