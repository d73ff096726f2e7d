"""Slate: codec language model.  A temporal transformer over frames and a small depth transformer over codebooks."""
import math
from dataclasses import dataclass
from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_slate import SlateConfig
from .int8 import Int8Linear, linear, quantize_


@dataclass
class SlateOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None          # B, K, T, codebook
    frame_states: Optional[torch.FloatTensor] = None


def sinusoids(length, dim, device, dtype):
    half = dim // 2
    f = torch.exp(-math.log(10000) * torch.arange(half, device=device, dtype=torch.float32) / (half - 1))
    a = torch.arange(length, device=device, dtype=torch.float32)[:, None] * f[None]
    return torch.cat([a.sin(), a.cos()], -1).to(dtype)


class SlateNorm(nn.Module):
    """adaptive: scale and shift from the speaker"""

    def __init__(self, dim, cond, eps):
        super().__init__()
        self.norm = nn.LayerNorm(dim, eps=eps, elementwise_affine=False)
        self.affine = nn.Linear(cond, 2 * dim)

    def forward(self, x, cond):
        a, b = self.affine(cond)[:, None].chunk(2, -1)
        return self.norm(x) * (1 + a) + b


class SlateAttention(nn.Module):
    def __init__(self, config, dim, heads):
        super().__init__()
        self.heads = heads
        self.qkv = linear(config, dim, 3 * dim, bias=False)
        self.out = linear(config, dim, dim)

    def forward(self, x):
        b, t, e = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, e // self.heads).permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(o.transpose(1, 2).reshape(b, t, e))


class SlateBlock(nn.Module):
    def __init__(self, config, dim, heads, inner, cond):
        super().__init__()
        self.n1 = SlateNorm(dim, cond, config.norm_eps)
        self.attn = SlateAttention(config, dim, heads)
        self.n2 = SlateNorm(dim, cond, config.norm_eps)
        self.fc1 = linear(config, dim, inner)
        self.fc2 = linear(config, inner, dim)

    def forward(self, x, cond):
        x = x + self.attn(self.n1(x, cond))
        return x + self.fc2(F.gelu(self.fc1(self.n2(x, cond))))


class SlatePreTrainedModel(PreTrainedModel):
    config_class = SlateConfig
    base_model_prefix = "slate"
    main_input_name = "codes"
    _no_split_modules = ["SlateBlock"]

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)


class SlateCodecLM(SlatePreTrainedModel):
    def __init__(self, config: SlateConfig):
        super().__init__(config)
        K, V = config.num_codebooks, config.codebook_size + 1
        self.embed = nn.ModuleList([nn.Embedding(V, config.hidden_size) for _ in range(K)])
        self.blocks = nn.ModuleList([
            SlateBlock(config, config.hidden_size, config.num_attention_heads, config.intermediate_size,
                       config.speaker_dim) for _ in range(config.num_hidden_layers)])
        self.final = nn.LayerNorm(config.hidden_size)
        self.to_depth = nn.Linear(config.hidden_size, config.depth_hidden)
        self.depth_embed = nn.ModuleList([nn.Embedding(V, config.depth_hidden) for _ in range(K - 1)])
        self.depth_blocks = nn.ModuleList([
            SlateBlock(config, config.depth_hidden, config.depth_heads, 2 * config.depth_hidden, config.speaker_dim)
            for _ in range(config.depth_layers)])
        self.heads = nn.ModuleList([nn.Linear(config.depth_hidden, config.codebook_size) for _ in range(K)])
        self.null_speaker = nn.Parameter(torch.zeros(config.speaker_dim))
        self.post_init()

    def get_input_embeddings(self):
        return self.embed[0]

    def set_input_embeddings(self, value):
        self.embed[0] = value

    def get_output_embeddings(self):
        return None

    def temporal(self, codes, cond):
        # shift by one frame
        B, K, T = codes.shape
        bos = codes.new_full((B, K, 1), self.config.bos_code)
        codes = torch.cat([bos, codes[..., :-1]], -1) if T > 0 else bos
        x = sum(e(codes[:, i]) for i, e in enumerate(self.embed)) / math.sqrt(K)
        x = x + sinusoids(x.shape[1], x.shape[2], x.device, x.dtype)
        for blk in self.blocks:
            x = blk(x, cond)
        return self.final(x)

    def depth(self, frame, codes, cond):
        """frame: N, E;  codes: N, K (teacher forced);  returns N, K, V"""
        K = self.config.num_codebooks
        steps = [self.to_depth(frame)]
        for i in range(K - 1):
            steps.append(self.depth_embed[i](codes[:, i]))
        x = torch.stack(steps, 1)
        x = x + sinusoids(K, x.shape[-1], x.device, x.dtype)
        for blk in self.depth_blocks:
            x = blk(x, cond)
        return torch.stack([h(x[:, i]) for i, h in enumerate(self.heads)], 1)

    def forward(self, codes: torch.LongTensor, speaker: Optional[torch.FloatTensor] = None, labels=None,
                return_dict: Optional[bool] = None) -> SlateOutput:
        """codes: batch, codebooks, frames"""
        B, K, T = codes.shape
        if T > self.config.max_frames:
            raise ValueError(f"{T} frames > {self.config.max_frames}")
        cond = self.null_speaker[None].expand(B, -1) if speaker is None else speaker.to(self.null_speaker.dtype)
        h = self.temporal(codes, cond)
        flat = codes.permute(0, 2, 1).reshape(B * T, K)
        logits = self.depth(h.reshape(B * T, -1), flat, cond.repeat_interleave(T, 0))
        logits = logits.view(B, T, K, -1).permute(0, 2, 1, 3)
        loss = None
        if labels is not None:
            w = torch.linspace(1.0, 0.5, K, device=h.device)
            loss = sum(w[k] * F.cross_entropy(logits[:, k].reshape(B * T, -1), labels[:, k].reshape(-1),
                                              ignore_index=-100) for k in range(K)) / w.sum()
        return SlateOutput(loss=loss, logits=logits, frame_states=h)

    @torch.no_grad()
    def continue_audio(self, codes, frames: int, speaker=None, temperature=0.9, top_k=50, generator=None):
        B, K, _ = codes.shape
        cond = self.null_speaker[None].expand(B, -1) if speaker is None else speaker
        for _ in range(frames):
            pad = codes.new_zeros(B, K, 1)
            h = self.temporal(torch.cat([codes, pad], -1), cond)[:, -1]
            new = codes.new_zeros(B, K)
            for k in range(K):
                lg = self.depth(h, new, cond)[:, k] / max(temperature, 1e-5)
                if top_k:
                    kth = lg.topk(min(top_k, lg.shape[-1]))[0][:, -1:]
                    lg = lg.masked_fill(lg < kth, -float("inf"))
                new[:, k] = torch.multinomial(lg.softmax(-1), 1, generator=generator)[:, 0]
            codes = torch.cat([codes, new[..., None]], -1)
        return codes

    @property
    def quantized(self) -> bool:
        return any(isinstance(m, Int8Linear) for m in self.modules())

    def quantize(self):
        if not self.quantized:
            quantize_(self.blocks)
            quantize_(self.depth_blocks)
            self.config.int8 = True
        return self
