from __future__ import annotations

import math
from typing import Optional, Tuple, Union

import numpy as np
import torch
from torch import Tensor, nn
import torch.nn.functional as F
from transformers.modeling_outputs import BackboneOutput, DepthEstimatorOutput
from transformers.modeling_utils import PreTrainedModel

from .configuration_convnova import ConvNovaConfig
from .layers import GRN, ConvNovaBlock, FeatureFusion, LayerNorm2d


class ConvNovaPreTrainedModel(PreTrainedModel):
    config_class = ConvNovaConfig
    base_model_prefix = "backbone"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = False
    _no_split_modules = ["ConvNovaBlock"]

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()


class ConvNovaModel(ConvNovaPreTrainedModel):
    def __init__(self, config: ConvNovaConfig):
        super().__init__(config)
        dims, depths = config.dims, config.depths
        self.downsample_layers = nn.ModuleList()
        self.downsample_layers.append(nn.Sequential(nn.Conv2d(config.num_channels, dims[0], 4, stride=4), LayerNorm2d(dims[0])))
        for i in range(len(dims) - 1):
            self.downsample_layers.append(nn.Sequential(LayerNorm2d(dims[i]), nn.Conv2d(dims[i], dims[i + 1], 2, stride=2)))
        rates = np.split(np.linspace(0, config.drop_path_rate, sum(depths)), np.cumsum(depths)[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(*[ConvNovaBlock(d, float(r), config.layer_scale_init_value, config.use_grn) for r in rs])
            for d, rs in zip(dims, rates)
        )
        self.norms = nn.ModuleList(LayerNorm2d(d) for d in dims)
        self.post_init()

    def forward(self, pixel_values: Tensor, return_dict: Optional[bool] = None, **kwargs) -> Union[Tuple, BackboneOutput]:
        x, maps = pixel_values, []
        for down, stage, norm in zip(self.downsample_layers, self.stages, self.norms):
            x = stage(down(x))
            maps.append(norm(x))
        return BackboneOutput(feature_maps=tuple(maps))


class BinHead(nn.Module):
    """Adaptive bins: widths are predicted from the coarsest map, probabilities per pixel."""

    def __init__(self, config: ConvNovaConfig):
        super().__init__()
        self.min_depth, self.max_depth = config.min_depth, config.max_depth
        self.widths = nn.Sequential(nn.Linear(config.dims[-1], config.decoder_dim), nn.LeakyReLU(), nn.Linear(config.decoder_dim, config.n_bins))
        self.conv = nn.Conv2d(config.decoder_dim, config.n_bins, 1)

    def forward(self, feats: Tensor, coarse: Tensor) -> Tuple[Tensor, Tensor]:
        w = F.relu(self.widths(coarse.mean((2, 3)))) + 0.1
        w = (self.max_depth - self.min_depth) * w / w.sum(1, keepdim=True)
        w = F.pad(w, (1, 0), mode="constant", value=self.min_depth)
        edges = torch.cumsum(w, dim=1)
        centers = 0.5 * (edges[:, :-1] + edges[:, 1:])
        p = self.conv(feats).softmax(1)
        return (p * centers[:, :, None, None]).sum(1), edges


class ConvNovaForDepthEstimation(ConvNovaPreTrainedModel):
    def __init__(self, config: ConvNovaConfig):
        super().__init__(config)
        self.backbone = ConvNovaModel(config)
        self.project = nn.ModuleList(nn.Conv2d(d, config.decoder_dim, 1) for d in config.dims)
        self.fusion = nn.ModuleList(FeatureFusion(config.decoder_dim, has_skip=i > 0) for i in range(len(config.dims)))
        self.head = BinHead(config)
        self.post_init()

    def forward(
        self,
        pixel_values: torch.FloatTensor,
        labels: torch.FloatTensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Union[Tuple, DepthEstimatorOutput]:
        maps = self.backbone(pixel_values).feature_maps
        skips = [p(m) for p, m in zip(self.project, maps)][::-1]
        x = skips[0]
        for i, fuse in enumerate(self.fusion):
            size = skips[i + 1].shape[-2:] if i + 1 < len(skips) else [2 * s for s in skips[-1].shape[-2:]]
            x = fuse(x, skips[i] if i > 0 else None, size)
        depth, edges = self.head(x, maps[-1])
        depth = F.interpolate(depth.unsqueeze(1), size=pixel_values.shape[-2:], mode="bilinear", align_corners=True).squeeze(1)
        loss = None
        if labels is not None:
            loss = self.silog(depth, labels)
        return DepthEstimatorOutput(loss=loss, predicted_depth=depth, hidden_states=maps if output_hidden_states else None)

    @staticmethod
    def silog(pred: Tensor, target: Tensor, beta: float = 0.15) -> Tensor:
        mask = target > 0
        g = torch.log(pred[mask]) - torch.log(target[mask])
        return 10 * torch.sqrt(torch.var(g) + beta * torch.pow(torch.mean(g), 2))

    # --- metrics, used by eval.py -------------------------------------------------
    @staticmethod
    def compute_errors(gt: np.ndarray, pred: np.ndarray) -> dict:
        thresh = np.maximum((gt / pred), (pred / gt))
        return dict(
            a1=(thresh < 1.25).mean(),
            a2=(thresh < 1.25**2).mean(),
            a3=(thresh < 1.25**3).mean(),
            abs_rel=np.mean(np.abs(gt - pred) / gt),
            rmse=np.sqrt(((gt - pred) ** 2).mean()),
            log_10=(np.abs(np.log10(gt) - np.log10(pred))).mean(),
        )

    @torch.inference_mode()
    def infer_image(self, image: np.ndarray, input_size: int = 384) -> np.ndarray:
        h, w = image.shape[:2]
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float().div(255).to(self.device)
        mean = torch.tensor([0.485, 0.456, 0.406], device=x.device)[:, None, None]
        std = torch.tensor([0.229, 0.224, 0.225], device=x.device)[:, None, None]
        x = F.interpolate((x - mean) / std, (input_size, input_size), mode="bicubic")
        d = self(x).predicted_depth
        return F.interpolate(d[:, None], (h, w), mode="bilinear")[0, 0].cpu().numpy()
