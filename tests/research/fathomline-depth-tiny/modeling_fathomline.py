# coding=utf-8
"""PyTorch Fathomline model: a plain ViT and a dense prediction head."""

import math
from typing import Optional, Union

import torch
import torch.nn.functional as F
from torch import nn

from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput, DepthEstimatorOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.pytorch_utils import find_pruneable_heads_and_indices, prune_linear_layer
from transformers.utils import logging, torch_int

from .configuration_fathomline import FathomlineConfig
from .neck_fathomline import DepthHead, Neck


logger = logging.get_logger(__name__)


def drop_path(x, drop_prob: float = 0.0, training: bool = False):
    if drop_prob == 0.0 or not training:
        return x
    keep = 1 - drop_prob
    mask = keep + torch.rand((x.shape[0],) + (1,) * (x.ndim - 1), dtype=x.dtype, device=x.device)
    return x.div(keep) * mask.floor_()


class FathomlineEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.cls_token = nn.Parameter(torch.randn(1, 1, config.hidden_size))
        if config.use_mask_token:
            self.mask_token = nn.Parameter(torch.zeros(1, config.hidden_size))
        self.patch_size = config.patch_size
        self.projection = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=config.patch_size, stride=config.patch_size
        )
        self.num_patches = (config.image_size // config.patch_size) ** 2
        self.position_embeddings = nn.Parameter(torch.randn(1, self.num_patches + 1, config.hidden_size))

    def interpolate_pos_encoding(self, embeddings, height, width):
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
        target_dtype = patch_pos.dtype
        patch_pos = F.interpolate(
            patch_pos.to(torch.float32), size=(torch_int(new_h), torch_int(new_w)), mode="bicubic", align_corners=False
        ).to(dtype=target_dtype)
        return torch.cat((class_pos, patch_pos.permute(0, 2, 3, 1).view(1, -1, dim)), dim=1)

    def forward(self, pixel_values, bool_masked_pos=None):
        b, _, height, width = pixel_values.shape
        x = self.projection(pixel_values.to(self.projection.weight.dtype)).flatten(2).transpose(1, 2)
        if bool_masked_pos is not None and self.config.use_mask_token:
            x = torch.where(bool_masked_pos.unsqueeze(-1), self.mask_token.to(x.dtype).unsqueeze(0), x)
        x = torch.cat((self.cls_token.expand(b, -1, -1), x), dim=1)
        return x + self.interpolate_pos_encoding(x, height, width)


class FathomlineAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.all_head_size = self.num_heads * self.head_dim
        self.query = nn.Linear(config.hidden_size, self.all_head_size, bias=config.qkv_bias)
        self.key = nn.Linear(config.hidden_size, self.all_head_size, bias=config.qkv_bias)
        self.value = nn.Linear(config.hidden_size, self.all_head_size, bias=config.qkv_bias)
        self.dense = nn.Linear(self.all_head_size, config.hidden_size)
        self.pruned_heads = set()

    def prune_heads(self, heads):
        if len(heads) == 0:
            return
        heads, index = find_pruneable_heads_and_indices(heads, self.num_heads, self.head_dim, self.pruned_heads)
        self.query = prune_linear_layer(self.query, index)
        self.key = prune_linear_layer(self.key, index)
        self.value = prune_linear_layer(self.value, index)
        self.dense = prune_linear_layer(self.dense, index, dim=1)
        self.num_heads -= len(heads)
        self.all_head_size = self.head_dim * self.num_heads
        self.pruned_heads = self.pruned_heads.union(heads)

    def forward(self, x, output_attentions=False):
        b, n, _ = x.shape
        q, k, v = (
            p(x).view(b, n, self.num_heads, self.head_dim).transpose(1, 2) for p in (self.query, self.key, self.value)
        )
        if output_attentions:
            probs = (q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)).softmax(dim=-1)
            ctx = probs @ v
        else:
            probs = None
            ctx = F.scaled_dot_product_attention(q, k, v)
        return self.dense(ctx.transpose(1, 2).reshape(b, n, self.all_head_size)), probs


class FathomlineLayer(nn.Module):
    def __init__(self, config, drop_path_rate):
        super().__init__()
        self.drop_path_rate = drop_path_rate
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = FathomlineAttention(config)
        self.lambda1 = nn.Parameter(config.layerscale_value * torch.ones(config.hidden_size))
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.hidden_size * config.mlp_ratio)
        self.fc2 = nn.Linear(config.hidden_size * config.mlp_ratio, config.hidden_size)
        self.act = ACT2FN[config.hidden_act]
        self.lambda2 = nn.Parameter(config.layerscale_value * torch.ones(config.hidden_size))

    def forward(self, x, output_attentions=False):
        h, probs = self.attention(self.norm1(x), output_attentions)
        x = x + drop_path(h * self.lambda1, self.drop_path_rate, self.training)
        h = self.fc2(self.act(self.fc1(self.norm2(x))))
        x = x + drop_path(h * self.lambda2, self.drop_path_rate, self.training)
        return x, probs


class FathomlinePreTrainedModel(PreTrainedModel):
    config_class = FathomlineConfig
    base_model_prefix = "fathomline"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ["FathomlineLayer"]
    _supports_sdpa = True

    def _init_weights(self, module: Union[nn.Linear, nn.Conv2d, nn.LayerNorm]) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.data = nn.init.trunc_normal_(
                module.weight.data.to(torch.float32), mean=0.0, std=self.config.initializer_range
            ).to(module.weight.dtype)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, (nn.LayerNorm, nn.BatchNorm2d)):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)
        elif isinstance(module, FathomlineEmbeddings):
            for p in (module.position_embeddings, module.cls_token):
                p.data = nn.init.trunc_normal_(
                    p.data.to(torch.float32), mean=0.0, std=self.config.initializer_range
                ).to(p.dtype)


class FathomlineBackbone(FathomlinePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = FathomlineEmbeddings(config)
        dpr = [x.item() for x in torch.linspace(0, config.drop_path_rate, config.num_hidden_layers)]
        self.layers = nn.ModuleList([FathomlineLayer(config, dpr[i]) for i in range(config.num_hidden_layers)])
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.projection

    def _prune_heads(self, heads_to_prune):
        for layer, heads in heads_to_prune.items():
            self.layers[layer].attention.prune_heads(heads)

    def forward(
        self, pixel_values=None, bool_masked_pos=None, output_attentions=None, output_hidden_states=None, return_dict=None
    ):
        if pixel_values is None:
            raise ValueError("You have to specify pixel_values")
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        x = self.embeddings(pixel_values, bool_masked_pos)
        hidden_states, attentions = (x,), ()
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                x, probs = self._gradient_checkpointing_func(layer.__call__, x, output_attentions)
            else:
                x, probs = layer(x, output_attentions)
            hidden_states += (x,)
            attentions += (probs,)
        x = self.layernorm(x)
        if not return_dict:
            return (x, hidden_states)
        return BaseModelOutput(
            last_hidden_state=x, hidden_states=hidden_states, attentions=attentions if output_attentions else None
        )


class FathomlineForDepthEstimation(FathomlinePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.backbone = FathomlineBackbone(config)
        self.neck = Neck(config)
        self.head = DepthHead(config)
        self.register_buffer("pixel_mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.backbone.get_input_embeddings()

    def forward(
        self,
        pixel_values: torch.FloatTensor,
        labels: Optional[torch.FloatTensor] = None,
        do_normalize: bool = False,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[tuple[torch.Tensor], DepthEstimatorOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        if do_normalize:
            pixel_values = (pixel_values - self.pixel_mean) / self.pixel_std
        height, width = pixel_values.shape[-2:]
        outputs = self.backbone(pixel_values, output_attentions=output_attentions, return_dict=True)
        p = self.config.patch_size
        picked = [self.backbone.layernorm(outputs.hidden_states[i]) for i in self.config.out_indices]
        feats = self.neck(picked, height // p, width // p)
        predicted_depth = self.head(feats, (height, width))

        loss = None
        if labels is not None:
            loss = self.silog(predicted_depth, labels)
        if not return_dict:
            output = (predicted_depth,) + ((outputs.hidden_states,) if output_hidden_states else ())
            return ((loss,) + output) if loss is not None else output
        return DepthEstimatorOutput(
            loss=loss,
            predicted_depth=predicted_depth,
            hidden_states=outputs.hidden_states if output_hidden_states else None,
            attentions=outputs.attentions,
        )

    @staticmethod
    def silog(pred, target, lambd=0.5):
        valid = target > 0
        diff = torch.log(target[valid]) - torch.log(pred[valid].clamp_min(1e-3))
        return torch.sqrt((diff**2).mean() - lambd * diff.mean() ** 2)

    @torch.no_grad()
    def infer_image(self, image, input_size=518):
        """PIL image or HxWx3 uint8 array -> HxW numpy depth"""
        import numpy as np

        arr = np.asarray(image)
        h, w = arr.shape[:2]
        p = self.config.patch_size
        scale = input_size / min(h, w)
        nh, nw = (max(p, round(s * scale / p) * p) for s in (h, w))
        x = torch.from_numpy(arr).permute(2, 0, 1)[None].float().to(self.device) / 255.0
        x = F.interpolate(x, (nh, nw), mode="bicubic", align_corners=False)
        depth = self(x, do_normalize=True).predicted_depth
        return F.interpolate(depth[:, None], (h, w), mode="bilinear", align_corners=True)[0, 0].cpu().numpy()


__all__ = ["FathomlineForDepthEstimation", "FathomlineBackbone", "FathomlinePreTrainedModel"]
