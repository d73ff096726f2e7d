"""FieldSeg - crop field segmentation from 4 channel (RGB+NIR) tiles.

Everything in one file so that it can be copied into the farm boxes.
"""
import math
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput, SemanticSegmenterOutput

try:
    from scipy import ndimage
except Exception:  # only for post-processing
    ndimage = None


class FieldSegConfig(PretrainedConfig):
    model_type = "fieldseg"

    # defaults of the B0 model; type hints so that our yaml tool can check them
    num_channels: int = 4
    hidden_sizes: List[int] = [32, 64, 160, 256]
    depths: List[int] = [2, 2, 2, 2]
    sr_ratios: List[int] = [8, 4, 2, 1]
    strides: List[int] = [4, 2, 2, 2]
    num_attention_heads: List[int] = [1, 2, 5, 8]
    mlp_ratio: int = 4
    hidden_act: str = "gelu"
    drop_rate: float = 0.0
    decoder_hidden_size: int = 256
    ignore_index: int = 255

    def __init__(self, **kwargs):
        for name in ("num_channels", "hidden_sizes", "depths", "sr_ratios", "strides", "num_attention_heads", "mlp_ratio",
                     "hidden_act", "drop_rate", "decoder_hidden_size", "ignore_index"):
            if name in kwargs:
                setattr(self, name, kwargs.pop(name))
            else:
                setattr(self, name, getattr(type(self), name))
        super().__init__(**kwargs)


class OverlapPatchEmbed(nn.Module):
    def __init__(self, patch, stride, cin, cout):
        super().__init__()
        self.proj = nn.Conv2d(cin, cout, kernel_size=patch, stride=stride, padding=patch // 2)
        self.norm = nn.LayerNorm(cout)

    def forward(self, x):
        x = self.proj(x)
        _, _, H, W = x.shape
        return self.norm(x.flatten(2).transpose(1, 2)), H, W


class EfficientAttention(nn.Module):
    """self attention with keys and values of a reduced map"""

    def __init__(self, dim, heads, sr_ratio, drop=0.0):
        super().__init__()
        self.heads, self.hd = heads, dim // heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.drop = nn.Dropout(drop)
        self.sr_ratio = sr_ratio
        if sr_ratio > 1:
            self.sr = nn.Conv2d(dim, dim, kernel_size=sr_ratio, stride=sr_ratio)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x, H, W):
        B, N, C = x.shape
        q = self.q(x).reshape(B, N, self.heads, self.hd).permute(0, 2, 1, 3)
        if self.sr_ratio > 1:
            y = self.sr(x.permute(0, 2, 1).reshape(B, C, H, W)).reshape(B, C, -1).permute(0, 2, 1)
            y = self.norm(y)
        else:
            y = x
        k, v = self.kv(y).reshape(B, -1, 2, self.heads, self.hd).permute(2, 0, 3, 1, 4)
        a = (q @ k.transpose(-2, -1)) * self.hd**-0.5
        a = self.drop(a.softmax(-1))
        return self.proj((a @ v).transpose(1, 2).reshape(B, N, C))


class MixFFN(nn.Module):
    def __init__(self, dim, hidden, act):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.act = ACT2FN[act]
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x, H, W):
        x = self.fc1(x)
        B, N, C = x.shape
        x = self.dwconv(x.transpose(1, 2).view(B, C, H, W)).flatten(2).transpose(1, 2)
        return self.fc2(self.act(x))


class Block(nn.Module):
    def __init__(self, cfg, dim, heads, sr):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = EfficientAttention(dim, heads, sr, cfg.drop_rate)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = MixFFN(dim, dim * cfg.mlp_ratio, cfg.hidden_act)

    def forward(self, x, H, W):
        x = x + self.attn(self.norm1(x), H, W)
        return x + self.mlp(self.norm2(x), H, W)


class FieldSegPreTrainedModel(PreTrainedModel):
    config_class = FieldSegConfig
    base_model_prefix = "encoder"
    main_input_name = "pixel_values"

    def _init_weights(self, m):
        if isinstance(m, nn.Linear):
            m.weight.data.normal_(std=0.02)
            if m.bias is not None:
                m.bias.data.zero_()
        elif isinstance(m, nn.Conv2d):
            fan_out = m.kernel_size[0] * m.kernel_size[1] * m.out_channels // m.groups
            m.weight.data.normal_(0, math.sqrt(2.0 / fan_out))
            if m.bias is not None:
                m.bias.data.zero_()
        elif isinstance(m, (nn.LayerNorm, nn.BatchNorm2d)):
            m.weight.data.fill_(1.0)
            m.bias.data.zero_()


class FieldSegModel(FieldSegPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        cin = config.num_channels
        self.patch_embeds, self.blocks, self.norms = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, dim in enumerate(config.hidden_sizes):
            self.patch_embeds.append(OverlapPatchEmbed(7 if i == 0 else 3, config.strides[i], cin, dim))
            self.blocks.append(nn.ModuleList(Block(config, dim, config.num_attention_heads[i], config.sr_ratios[i]) for _ in range(config.depths[i])))
            self.norms.append(nn.LayerNorm(dim))
            cin = dim
        self.post_init()

    def forward(self, pixel_values, output_hidden_states=True, return_dict=None):
        x, feats = pixel_values, ()
        for embed, blocks, norm in zip(self.patch_embeds, self.blocks, self.norms):
            B = x.shape[0]
            x, H, W = embed(x)
            for blk in blocks:
                x = blk(x, H, W)
            x = norm(x).reshape(B, H, W, -1).permute(0, 3, 1, 2).contiguous()
            feats += (x,)
        return BaseModelOutput(last_hidden_state=x, hidden_states=feats)


class DecodeHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.linear_c = nn.ModuleList(nn.Linear(d, config.decoder_hidden_size) for d in config.hidden_sizes)
        n = len(config.hidden_sizes)
        self.linear_fuse = nn.Conv2d(config.decoder_hidden_size * n, config.decoder_hidden_size, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(config.decoder_hidden_size)
        self.classifier = nn.Conv2d(config.decoder_hidden_size, config.num_labels, 1)

    def forward(self, feats):
        size = feats[0].shape[2:]
        maps = []
        for f, lin in zip(feats, self.linear_c):
            y = lin(f.flatten(2).transpose(1, 2)).permute(0, 2, 1).reshape(f.shape[0], -1, *f.shape[2:])
            maps.append(F.interpolate(y, size=size, mode="bilinear", align_corners=False))
        x = F.relu(self.batch_norm(self.linear_fuse(torch.cat(maps[::-1], dim=1))))
        return self.classifier(x)


def dice_loss(logits, target, n, ignore, eps=1.0):
    valid = target != ignore
    onehot = F.one_hot(target.masked_fill(~valid, 0), n).permute(0, 3, 1, 2) * valid[:, None]
    p = logits.softmax(1) * valid[:, None]
    inter = (p * onehot).sum((0, 2, 3))
    return 1 - ((2 * inter + eps) / ((p + onehot).sum((0, 2, 3)) + eps)).mean()


class FieldSegForSemanticSegmentation(FieldSegPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.encoder = FieldSegModel(config)
        self.decode_head = DecodeHead(config)
        self.post_init()

    def forward(self, pixel_values, labels=None, return_dict=None, **kwargs):
        feats = self.encoder(pixel_values).hidden_states
        logits = self.decode_head(feats)
        loss = None
        if labels is not None:
            up = F.interpolate(logits, size=labels.shape[-2:], mode="bilinear", align_corners=False)
            loss = F.cross_entropy(up, labels, ignore_index=self.config.ignore_index)
            loss = loss + 0.5 * dice_loss(up, labels, self.config.num_labels, self.config.ignore_index)
        return SemanticSegmenterOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def predict_tile(self, tile, min_size=20):
        """tile: (4, H, W) in [0, 1]; returns a label map, small islands removed"""
        x = tile[None].to(self.device)
        flips = [(), (-1,), (-2,), (-1, -2)]
        acc = 0
        for f in flips:
            y = F.interpolate(self(torch.flip(x, f) if f else x).logits, size=x.shape[-2:], mode="bilinear")
            acc = acc + (torch.flip(y, f) if f else y).softmax(1)
        out = acc.argmax(1)[0].cpu().numpy()
        if ndimage is not None:
            for c in range(1, self.config.num_labels):
                lab, n = ndimage.label(out == c)
                for i in range(1, n + 1):
                    if (lab == i).sum() < min_size:
                        out[lab == i] = 0
        return out

    def predict_scene(self, scene, size=512, overlap=64):
        """sliding windows with a hann taper"""
        C, H, W = scene.shape
        acc = torch.zeros(self.config.num_labels, H, W)
        weight = torch.zeros(1, H, W)
        taper = torch.hann_window(size + 2, periodic=False)[1:-1]
        taper = taper[:, None] * taper[None, :]
        step = size - overlap
        for top in range(0, max(H - overlap, 1), step):
            for left in range(0, max(W - overlap, 1), step):
                t, l = max(min(top, H - size), 0), max(min(left, W - size), 0)
                crop = scene[None, :, t : t + size, l : l + size].to(self.device)
                with torch.no_grad():
                    y = F.interpolate(self(crop).logits, size=crop.shape[-2:], mode="bilinear")[0].softmax(0).cpu()
                h, w = y.shape[-2:]
                acc[:, t : t + h, l : l + w] += y * taper[:h, :w]
                weight[:, t : t + h, l : l + w] += taper[:h, :w]
        return (acc / weight.clamp(min=1e-6)).argmax(0)


FieldSegConfig.register_for_auto_class()
FieldSegModel.register_for_auto_class("AutoModel")
FieldSegForSemanticSegmentation.register_for_auto_class("AutoModelForSemanticSegmentation")
