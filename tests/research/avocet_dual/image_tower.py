import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import BaseModelOutputWithNoAttention
from transformers.modeling_utils import PreTrainedModel

from .configuration_avocet import AvocetImageConfig


class ChannelNorm(nn.LayerNorm):
    """LayerNorm on (b, c, h, w)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalResponse(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.beta = nn.Parameter(torch.zeros(1, 1, 1, width))

    def forward(self, x):
        size = x.norm(p=2, dim=(1, 2), keepdim=True)
        return self.gamma * (x * size / (size.mean(-1, keepdim=True) + 1e-6)) + self.beta + x


class ImageBlock(nn.Module):
    def __init__(self, width, config, drop):
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, config.kernel, padding=config.kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.wide = nn.Linear(width, 4 * width)
        self.response = GlobalResponse(4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.drop = drop

    def forward(self, x):
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.narrow(self.response(F.gelu(self.wide(y)))).permute(0, 3, 1, 2)
        if self.training and self.drop > 0:
            y = y * (torch.rand(y.shape[0], 1, 1, 1, device=y.device) >= self.drop) / (1 - self.drop)
        return x + y


class AvocetImageModel(PreTrainedModel):
    config_class = AvocetImageConfig
    main_input_name = "pixel_values"
    base_model_prefix = "image"

    def __init__(self, config: AvocetImageConfig):
        super().__init__(config)
        widths, depths = config.widths, config.depths
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], config.stem, stride=config.stem), ChannelNorm(widths[0]))
        rates = [config.drop_path * i / max(1, sum(depths) - 1) for i in range(sum(depths))]
        self.stages = nn.ModuleList()
        for i, (width, depth) in enumerate(zip(widths, depths)):
            down = (
                nn.Sequential(ChannelNorm(widths[i - 1]), nn.Conv2d(widths[i - 1], width, 2, stride=2))
                if i
                else nn.Identity()
            )
            some = [ImageBlock(width, config, rates.pop(0)) for _ in range(depth)]
            self.stages.append(nn.Sequential(down, *some))
        self.norm = nn.LayerNorm(widths[-1], eps=1e-6)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, pixel_values, **kwargs):
        x = self.stem(pixel_values.to(self.stem[0].weight.dtype))
        states = []
        for stage in self.stages:
            x = stage(x)
            states.append(x)
        return BaseModelOutputWithNoAttention(
            last_hidden_state=self.norm(x.mean(dim=(2, 3))), hidden_states=tuple(states)
        )
