from dataclasses import dataclass
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_crumbtok import CrumbTokConfig
from .quantize import EMACodebook, ResidualVQ


@dataclass
class CrumbTokOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    reconstruction: torch.FloatTensor = None
    ids: torch.LongTensor = None
    commit_loss: Optional[torch.FloatTensor] = None


def nonlinearity(x):
    # swish
    return x * torch.sigmoid(x)


def Normalize(in_channels):
    return nn.GroupNorm(num_groups=4 if in_channels < 64 else 32, num_channels=in_channels, eps=1e-6, affine=True)


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Downsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        # no asymmetric padding in torch conv, must do it ourselves
        self.conv = nn.Conv2d(c, c, kernel_size=3, stride=2, padding=0)

    def forward(self, x):
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class ResnetBlock(nn.Module):
    def __init__(self, cin, cout, dropout):
        super().__init__()
        self.norm1 = Normalize(cin)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.norm2 = Normalize(cout)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(cin, cout, 1) if cin != cout else None

    def forward(self, x):
        h = self.conv1(nonlinearity(self.norm1(x)))
        h = self.conv2(self.dropout(nonlinearity(self.norm2(h))))
        return h + (self.nin_shortcut(x) if self.nin_shortcut is not None else x)


class AttnBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = Normalize(c)
        self.q, self.k, self.v = nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)
        self.proj_out = nn.Conv2d(c, c, 1)

    def forward(self, x):
        h = self.norm(x)
        b, c, hh, ww = h.shape
        q, k, v = (f(h).flatten(2).transpose(1, 2) for f in (self.q, self.k, self.v))
        o = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        return x + self.proj_out(o.transpose(1, 2).reshape(b, c, hh, ww))


class Encoder(nn.Module):
    def __init__(self, c: CrumbTokConfig):
        super().__init__()
        self.conv_in = nn.Conv2d(c.in_channels, c.ch, 3, padding=1)
        self.down = nn.ModuleList()
        cin = c.ch
        for level, mult in enumerate(c.ch_mult):
            stage = nn.Module()
            stage.block, stage.attn = nn.ModuleList(), nn.ModuleList()
            for _ in range(c.num_res_blocks):
                stage.block.append(ResnetBlock(cin, c.ch * mult, c.dropout))
                cin = c.ch * mult
                if level in c.attn_levels:
                    stage.attn.append(AttnBlock(cin))
            if level != len(c.ch_mult) - 1:
                stage.downsample = Downsample(cin)
            self.down.append(stage)
        self.norm_out = Normalize(cin)
        self.conv_out = nn.Conv2d(cin, c.z_channels, 3, padding=1)

    def forward(self, x):
        h = self.conv_in(x)
        for stage in self.down:
            for i, block in enumerate(stage.block):
                h = block(h)
                if len(stage.attn) > 0:
                    h = stage.attn[i](h)
            if hasattr(stage, "downsample"):
                h = stage.downsample(h)
        return self.conv_out(nonlinearity(self.norm_out(h)))


class Decoder(nn.Module):
    def __init__(self, c: CrumbTokConfig):
        super().__init__()
        cin = c.ch * c.ch_mult[-1]
        self.conv_in = nn.Conv2d(c.z_channels, cin, 3, padding=1)
        layers = [ResnetBlock(cin, cin, c.dropout), AttnBlock(cin)]
        for level in reversed(range(len(c.ch_mult))):
            for _ in range(c.num_res_blocks + 1):
                layers.append(ResnetBlock(cin, c.ch * c.ch_mult[level], c.dropout))
                cin = c.ch * c.ch_mult[level]
            if level:
                layers.append(Upsample(cin))
        self.up = nn.Sequential(*layers)
        self.norm_out = Normalize(cin)
        self.conv_out = nn.Conv2d(cin, c.out_channels, 3, padding=1)

    def forward(self, z):
        return self.conv_out(nonlinearity(self.norm_out(self.up(self.conv_in(z)))))


class CrumbTokPreTrainedModel(PreTrainedModel):
    config_class = CrumbTokConfig
    base_model_prefix = "vq"
    main_input_name = "pixel_values"

    def _init_weights(self, module):
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GroupNorm):
            nn.init.constant_(module.weight, 1.0)
            nn.init.constant_(module.bias, 0.0)


class CrumbTokVQModel(CrumbTokPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.quantize = ResidualVQ(config.n_codebooks, config.codebook_size, config.embed_dim, config.decay, config.beta)
        self.quant_conv = nn.Conv2d(config.z_channels, config.embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.embed_dim, config.z_channels, 1)
        self.post_init()

    def encode(self, pixel_values):
        h = self.quant_conv(self.encoder(pixel_values)).permute(0, 2, 3, 1)
        return self.quantize(h)

    def decode(self, quant):
        return self.decoder(self.post_quant_conv(quant.permute(0, 3, 1, 2)))

    def decode_code(self, ids):
        return self.decode(self.quantize.decode(ids))

    def forward(self, pixel_values, return_loss: bool = False, return_dict: Optional[bool] = None):
        quant, ids, commit = self.encode(pixel_values)
        rec = self.decode(quant)
        loss = F.l1_loss(rec, pixel_values) + commit if return_loss else None
        return CrumbTokOutput(loss=loss, reconstruction=rec, ids=ids, commit_loss=commit)
