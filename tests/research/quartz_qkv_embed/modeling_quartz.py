import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

try:
    from apex.normalization import FusedLayerNorm as LayerNorm
except Exception:
    from torch.nn import LayerNorm

from .configuration_quartz import QuartzConfig
from .fused import FusedQKV


@dataclass
class QuartzOutput(ModelOutput):
    loss: Optional[torch.Tensor] = None
    embeddings: torch.Tensor = None
    token_embeddings: Optional[torch.Tensor] = None


class RelativePositionBias(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_buckets = config.relative_buckets
        self.max_distance = config.max_distance
        self.relative_attention_bias = nn.Embedding(config.relative_buckets, config.num_attention_heads)

    def bucket(self, relative_position):
        n_buckets = self.num_buckets // 2
        ret = (relative_position < 0).to(torch.long) * n_buckets
        n = torch.abs(relative_position)
        max_exact = n_buckets // 2
        is_small = n < max_exact
        large = max_exact + (
            torch.log(n.float().clamp(min=1) / max_exact) / math.log(self.max_distance / max_exact) * (n_buckets - max_exact)
        ).to(torch.long)
        large = torch.min(large, torch.full_like(large, n_buckets - 1))
        return ret + torch.where(is_small, n, large)

    def forward(self, n, device):
        pos = torch.arange(n, device=device)
        rel = pos[None, :] - pos[:, None]
        return self.relative_attention_bias(self.bucket(rel)).permute(2, 0, 1).unsqueeze(0)


class QuartzAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.h = config.num_attention_heads
        self.d = config.hidden_size // self.h
        self.self = FusedQKV(config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.p = config.dropout

    def forward(self, x, bias):
        b, n, c = x.shape
        q, k, v = self.self(x).view(b, n, 3, self.h, self.d).permute(2, 0, 3, 1, 4)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=self.p if self.training else 0.0)
        return self.LayerNorm(x + self.dense(o.transpose(1, 2).reshape(b, n, c)))


class QuartzLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = QuartzAttention(config)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x, bias):
        x = self.attention(x, bias)
        return self.LayerNorm(x + self.output(F.gelu(self.intermediate(x))))


class AttentionPool(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, dim) * dim**-0.5)
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)

    def forward(self, x, mask):
        q = self.query.expand(x.shape[0], -1, -1)
        return self.attn(q, x, x, key_padding_mask=mask == 0, need_weights=False)[0][:, 0]


class QuartzPreTrainedModel(PreTrainedModel):
    config_class = QuartzConfig
    base_model_prefix = "quartz"
    _no_split_modules = ["QuartzLayer"]

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, FusedQKV):
            nn.init.normal_(module.weight, std=std)
            nn.init.zeros_(module.bias)


class QuartzEmbeddingModel(QuartzPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.norm = LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = RelativePositionBias(config)
        self.layers = nn.ModuleList([QuartzLayer(config) for _ in range(config.num_hidden_layers)])
        self.pool = AttentionPool(config.hidden_size, config.num_attention_heads) if config.pooling_mode == "attention" else None
        self.project = nn.Linear(config.hidden_size, config.output_dim, bias=False) if config.output_dim else nn.Identity()
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def set_input_embeddings(self, v):
        self.word_embeddings = v

    def pooling(self, x, mask):
        if self.pool is not None:
            return self.pool(x, mask)
        if self.config.pooling_mode == "cls":
            return x[:, 0]
        m = mask[..., None].to(x.dtype)
        return (x * m).sum(1) / m.sum(1).clamp(min=1e-6)

    def forward(self, input_ids, attention_mask=None, positive_ids=None, positive_mask=None, return_dict=None, **kwargs):
        if attention_mask is None:
            attention_mask = (input_ids != self.config.pad_token_id).long()
        x = self.norm(self.word_embeddings(input_ids))
        bias = self.bias(input_ids.shape[1], input_ids.device)
        bias = bias + (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * -1e4
        for layer in self.layers:
            x = layer(x, bias)
        e = F.normalize(self.project(self.pooling(x, attention_mask)), dim=-1)
        loss = None
        if positive_ids is not None:
            # in-batch negatives, both directions
            p = self(positive_ids, positive_mask).embeddings
            s = e @ p.t() / self.config.temperature
            target = torch.arange(len(s), device=s.device)
            loss = (F.cross_entropy(s, target) + F.cross_entropy(s.t(), target)) / 2
        return QuartzOutput(loss=loss, embeddings=e, token_embeddings=x)

    @torch.no_grad()
    def encode(self, texts: Union[str, List[str]], tokenizer, prompt: Optional[str] = None, batch_size: int = 64, device=None):
        if isinstance(texts, str):
            texts = [texts]
        if prompt:
            texts = [prompt + t for t in texts]
        out = []
        for i in range(0, len(texts), batch_size):
            enc = tokenizer(texts[i : i + batch_size], padding=True, truncation=True, max_length=512, return_tensors="pt")
            out.append(self(**{k: v.to(device or self.device) for k, v in enc.items() if k != "token_type_ids"}).embeddings.float().cpu())
        return torch.cat(out)

    def similarity(self, a, b):
        return a @ b.T

    def search(self, query, corpus_embeddings, tokenizer, k=10):
        q = self.encode(query, tokenizer, prompt="query: ")
        return (q @ corpus_embeddings.T).topk(min(k, len(corpus_embeddings)), dim=-1)

    def whiten(self, embeddings):
        mu = embeddings.mean(0, keepdim=True)
        u, s, _ = torch.linalg.svd(torch.cov((embeddings - mu).T))
        return mu, u @ torch.diag(1 / torch.sqrt(s + 1e-6))
