"""PromptCut: click on it, cut it out."""
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple, Type

import numpy as np
import torch
from torch import Tensor, nn
import torch.nn.functional as F
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput

try:
    import cv2
except ImportError:
    cv2 = None


class PromptCutConfig(PretrainedConfig):
    model_type = "promptcut"

    def __init__(self, vision_config: Optional[Dict[str, Any]] = None, prompt_dim: int = 256, mask_tokens: int = 4, decoder_depth: int = 2,
                 decoder_heads: int = 2, iou_hidden: int = 32, mask_threshold: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        defaults = dict(hidden_size=768, depth=12, heads=12, image_size=1024, patch_size=16, window=14)
        self.vision_config = {**defaults, **(vision_config or {})}
        self.prompt_dim = prompt_dim
        self.mask_tokens = mask_tokens
        self.decoder_depth = decoder_depth
        self.decoder_heads = decoder_heads
        self.iou_hidden = iou_hidden
        self.mask_threshold = mask_threshold


@dataclass
class PromptCutOutput(ModelOutput):
    masks: torch.FloatTensor = None
    iou_scores: torch.FloatTensor = None
    image_embeddings: Optional[torch.FloatTensor] = None


class LayerNorm2d(nn.Module):
    def __init__(self, num_channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        return self.weight[:, None, None] * (x - u) / torch.sqrt(s + self.eps) + self.bias[:, None, None]


def get_rel_pos(q_size: int, k_size: int, rel_pos: Tensor) -> Tensor:
    coords = torch.arange(q_size, device=rel_pos.device)[:, None] - torch.arange(k_size, device=rel_pos.device)[None, :] + (k_size - 1)
    return rel_pos[coords.long()]


class ViTAttention(nn.Module):
    """with decomposed relative positions"""

    def __init__(self, dim: int, heads: int, size: int):
        super().__init__()
        self.heads, self.d = heads, dim // heads
        self.qkv = nn.Linear(dim, dim * 3)
        self.proj = nn.Linear(dim, dim)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * size - 1, self.d))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * size - 1, self.d))

    def forward(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        q, k, v = self.qkv(x).reshape(B, H * W, 3, self.heads, self.d).permute(2, 0, 3, 1, 4)
        attn = (q * self.d**-0.5) @ k.transpose(-2, -1)
        r = q.reshape(B, self.heads, H, W, self.d)
        rh = torch.einsum("bnhwc,hkc->bnhwk", r, get_rel_pos(H, H, self.rel_pos_h))
        rw = torch.einsum("bnhwc,wkc->bnhwk", r, get_rel_pos(W, W, self.rel_pos_w))
        attn = (attn.view(B, self.heads, H, W, H, W) + rh[..., :, None] + rw[..., None, :]).view(B, self.heads, H * W, H * W)
        x = (attn.softmax(-1) @ v).transpose(1, 2).reshape(B, H, W, C)
        return self.proj(x)


class ViTBlock(nn.Module):
    def __init__(self, dim: int, heads: int, size: int, window: int):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.window = window
        self.attn = ViTAttention(dim, heads, window or size)
        self.lin1, self.lin2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        if self.window:
            B, H, W, C = y.shape
            w = self.window
            y = y.view(B, H // w, w, W // w, w, C).transpose(2, 3).reshape(-1, w, w, C)
            y = self.attn(y).view(B, H // w, W // w, w, w, C).transpose(2, 3).reshape(B, H, W, C)
        else:
            y = self.attn(y)
        x = x + y
        return x + self.lin2(F.gelu(self.lin1(self.norm2(x))))


class ImageEncoder(nn.Module):
    def __init__(self, v: Dict[str, Any], out: int):
        super().__init__()
        dim, side = v["hidden_size"], v["image_size"] // v["patch_size"]
        self.patch_embed = nn.Conv2d(3, dim, v["patch_size"], stride=v["patch_size"])
        self.pos_embed = nn.Parameter(torch.zeros(1, side, side, dim))
        # every second block is global
        self.blocks = nn.ModuleList(ViTBlock(dim, v["heads"], side, v["window"] if i % 2 == 0 else 0) for i in range(v["depth"]))
        self.neck = nn.Sequential(nn.Conv2d(dim, out, 1, bias=False), LayerNorm2d(out), nn.Conv2d(out, out, 3, padding=1, bias=False), LayerNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).permute(0, 2, 3, 1) + self.pos_embed
        for b in self.blocks:
            x = b(x)
        return self.neck(x.permute(0, 3, 1, 2))


class PromptEncoder(nn.Module):
    def __init__(self, dim: int, image_size: int):
        super().__init__()
        self.image_size = image_size
        # random spatial frequencies: not trained but needed, so it is a (saved) buffer
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn((2, dim // 2)))
        self.label_embed = nn.Embedding(2, dim)
        self.not_a_point = nn.Embedding(1, dim)

    def encode(self, coords: Tensor) -> Tensor:
        c = (2 * coords - 1) @ self.positional_encoding_gaussian_matrix
        c = 2 * np.pi * c
        return torch.cat([c.sin(), c.cos()], -1)

    def dense(self, h: int, w: int) -> Tensor:
        dev = self.label_embed.weight.device
        y = (torch.arange(h, device=dev) + 0.5) / h
        x = (torch.arange(w, device=dev) + 0.5) / w
        grid = torch.stack([x[None].expand(h, -1), y[:, None].expand(-1, w)], -1)
        return self.encode(grid).permute(2, 0, 1)[None]

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        e = self.encode((points.float() + 0.5) / self.image_size)
        e = e + self.label_embed(labels)
        pad = self.not_a_point.weight.expand(e.shape[0], 1, -1)
        return torch.cat([e, pad], 1)


class CrossBlock(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.t2i = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.i2t = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(4))

    def forward(self, q: Tensor, k: Tensor, qpe: Tensor, kpe: Tensor) -> Tuple[Tensor, Tensor]:
        q = self.norms[0](q + self.self_attn(q + qpe, q + qpe, q, need_weights=False)[0])
        q = self.norms[1](q + self.t2i(q + qpe, k + kpe, k, need_weights=False)[0])
        q = self.norms[2](q + self.mlp(q))
        k = self.norms[3](k + self.i2t(k + kpe, q + qpe, q, need_weights=False)[0])
        return q, k


class MLP(nn.Module):
    def __init__(self, i: int, h: int, o: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(i, h), nn.ReLU(), nn.Linear(h, o))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class MaskDecoder(nn.Module):
    def __init__(self, c: PromptCutConfig):
        super().__init__()
        d = c.prompt_dim
        self.n = c.mask_tokens
        self.tokens = nn.Embedding(1 + c.mask_tokens, d)
        self.blocks = nn.ModuleList(CrossBlock(d, c.decoder_heads) for _ in range(c.decoder_depth))
        self.up = nn.Sequential(nn.ConvTranspose2d(d, d // 2, 2, stride=2), LayerNorm2d(d // 2), nn.GELU(), nn.ConvTranspose2d(d // 2, d // 4, 2, stride=2), nn.GELU())
        self.hyper = nn.ModuleList(MLP(d, d, d // 4) for _ in range(c.mask_tokens))
        self.iou = MLP(d, c.iou_hidden, c.mask_tokens)

    def forward(self, img: Tensor, dense_pe: Tensor, prompts: Tensor) -> Tuple[Tensor, Tensor]:
        b, d, h, w = img.shape
        q = torch.cat([self.tokens.weight[None].expand(b, -1, -1), prompts], 1)
        qpe, k, kpe = q, img.flatten(2).transpose(1, 2), dense_pe.flatten(2).transpose(1, 2)
        for blk in self.blocks:
            q, k = blk(q, k, qpe, kpe)
        up = self.up(k.transpose(1, 2).reshape(b, d, h, w))
        weights = torch.stack([m(q[:, 1 + i]) for i, m in enumerate(self.hyper)], 1)
        return torch.einsum("bnc,bchw->bnhw", weights, up), self.iou(q[:, 0])


class PromptCutModel(PreTrainedModel):
    config_class = PromptCutConfig
    base_model_prefix = "promptcut"
    main_input_name = "pixel_values"
    _no_split_modules = ["ViTBlock", "CrossBlock"]

    def __init__(self, config: PromptCutConfig):
        super().__init__(config)
        self.vision_encoder = ImageEncoder(config.vision_config, config.prompt_dim)
        self.prompt_encoder = PromptEncoder(config.prompt_dim, config.vision_config["image_size"])
        self.mask_decoder = MaskDecoder(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()

    def get_image_embeddings(self, pixel_values: Tensor) -> Tensor:
        return self.vision_encoder(pixel_values)

    def forward(self, pixel_values: Optional[Tensor] = None, points: Optional[Tensor] = None, labels: Optional[Tensor] = None,
                image_embeddings: Optional[Tensor] = None, return_dict: Optional[bool] = None) -> PromptCutOutput:
        if image_embeddings is None:
            image_embeddings = self.vision_encoder(pixel_values)
        dense = self.prompt_encoder.dense(*image_embeddings.shape[-2:])
        low, iou = self.mask_decoder(image_embeddings, dense, self.prompt_encoder(points, labels))
        size = self.config.vision_config["image_size"]
        masks = F.interpolate(low, (size, size), mode="bilinear", align_corners=False)
        return PromptCutOutput(masks=masks, iou_scores=iou, image_embeddings=image_embeddings)

    @torch.no_grad()
    def cut(self, image: np.ndarray, clicks: List[Tuple[int, int, int]]) -> np.ndarray:
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
        p = torch.tensor([[c[:2] for c in clicks]])
        out = self(x.to(self.device), p.to(self.device), torch.tensor([[c[2] for c in clicks]]).to(self.device))
        m = (out.masks[0, out.iou_scores[0].argmax()] > self.config.mask_threshold).cpu().numpy()
        if cv2 is not None:
            m = cv2.morphologyEx(m.astype("uint8"), cv2.MORPH_CLOSE, np.ones((3, 3))) > 0
        return m
