import logging
import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils import ModelOutput

try:
    import xformers.ops as xops
except ImportError as e:
    xops = None

from .configuration import PolyVecConfig

logger = logging.getLogger(__name__)


@dataclass
class PolyVecOutput(ModelOutput):
    last_hidden_state: Optional[torch.FloatTensor] = None
    sentence_embedding: Optional[torch.FloatTensor] = None
    hidden_states: Optional[Tuple[torch.FloatTensor, ...]] = None


class RMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, x):
        dtype = x.dtype
        x = x.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(dtype)


class Rope(nn.Module):
    """NTK-by-parts is overkill for an encoder, plain NTK does it.

    Nothing is kept as a buffer: the tables are built on the first call and rebuilt when inputs get longer.
    """

    def __init__(self, dim, max_position_embeddings=512, base=10000.0, scaling=None):
        super().__init__()
        self.dim = dim
        self.base = base
        self.max_position_embeddings = max_position_embeddings
        self.scaling = scaling or {}
        self.max_seq_len_cached = 0
        self.cos_cached = None
        self.sin_cached = None

    def _factor(self):
        kind = self.scaling.get("type", self.scaling.get("rope_type"))
        if kind == "ntk":
            return float(self.scaling["factor"])
        return 1.0

    def _set_cos_sin_cache(self, seq_len, device, dtype):
        self.max_seq_len_cached = max(seq_len, self.max_position_embeddings)
        base = self.base * self._factor() ** (self.dim / (self.dim - 2))
        inv_freq = 1.0 / (base ** (torch.arange(0, self.dim, 2, device=device).float() / self.dim))
        t = torch.arange(self.max_seq_len_cached, device=device, dtype=torch.float32)
        freqs = torch.einsum("i,j->ij", t, inv_freq)
        emb = torch.cat((freqs, freqs), dim=-1)
        self.cos_cached = emb.cos().to(dtype)
        self.sin_cached = emb.sin().to(dtype)

    def forward(self, x, seq_len):
        if self.cos_cached is None or seq_len > self.max_seq_len_cached or self.cos_cached.device != x.device:
            self._set_cos_sin_cache(seq_len, x.device, x.dtype)
        return self.cos_cached[:seq_len].to(x.dtype), self.sin_cached[:seq_len].to(x.dtype)


def rotate_half(x):
    x1, x2 = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    return torch.cat((-x2, x1), dim=-1)


def apply_rotary_pos_emb(q, k, cos, sin):
    cos, sin = cos[None, None], sin[None, None]
    return (q * cos) + (rotate_half(q) * sin), (k * cos) + (rotate_half(k) * sin)


class PolyVecAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = config.hidden_size // self.num_heads
        kv = self.kv_heads * self.head_dim
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.kv_proj = nn.Linear(config.hidden_size, 2 * kv, bias=False)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.dropout = config.attention_dropout
        self.use_memory_efficient_attention = xops is not None and getattr(config, "use_memory_efficient_attention", False)

    def forward(self, x, cos, sin, bias):
        b, n, _ = x.shape
        q = self.q_proj(x).view(b, n, self.num_heads, self.head_dim).transpose(1, 2)
        kv = self.kv_proj(x).view(b, n, 2, self.kv_heads, self.head_dim)
        k, v = kv.unbind(2)
        k, v = k.transpose(1, 2), v.transpose(1, 2)
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
        rep = self.num_heads // self.kv_heads
        if rep > 1:
            k = k.repeat_interleave(rep, dim=1)
            v = v.repeat_interleave(rep, dim=1)
        if self.use_memory_efficient_attention:
            out = xops.memory_efficient_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_bias=bias)
            out = out.reshape(b, n, -1)
        else:
            w = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(self.head_dim)
            if bias is not None:
                w = w + bias
            w = F.dropout(w.softmax(-1, dtype=torch.float32).to(q.dtype), p=self.dropout, training=self.training)
            out = torch.matmul(w, v).transpose(1, 2).reshape(b, n, -1)
        return self.o_proj(out)


class PolyVecLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attn_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = PolyVecAttention(config)
        self.mlp_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.up_gate = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act = ACT2FN[config.hidden_act]

    def forward(self, x, cos, sin, bias):
        x = x + self.attention(self.attn_norm(x), cos, sin, bias)
        up, gate = self.up_gate(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(up * self.act(gate))


class PolyVecPreTrainedModel(PreTrainedModel):
    config_class = PolyVecConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["PolyVecLayer"]

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)

    def _set_gradient_checkpointing(self, module, value=False):
        if hasattr(module, "gradient_checkpointing"):
            module.gradient_checkpointing = value


class Pooler(nn.Module):
    def __init__(self, mode):
        super().__init__()
        assert mode in ("cls", "mean", "max", "lasttoken", "weightedmean"), mode
        self.mode = mode

    def forward(self, h, mask):
        m = mask.unsqueeze(-1).to(h.dtype)
        if self.mode == "cls":
            return h[:, 0]
        if self.mode == "mean":
            return (h * m).sum(1) / m.sum(1).clamp(min=1e-9)
        if self.mode == "max":
            return h.masked_fill(m == 0, -1e4).amax(1)
        if self.mode == "weightedmean":
            w = m * torch.arange(1, h.shape[1] + 1, device=h.device, dtype=h.dtype)[None, :, None]
            return (h * w).sum(1) / w.sum(1)
        # left padding?
        if bool((mask[:, -1].sum() == mask.shape[0])):
            return h[:, -1]
        return h[torch.arange(h.shape[0], device=h.device), mask.sum(1) - 1]


class PolyVecModel(PolyVecPreTrainedModel):
    def __init__(self, config: PolyVecConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([PolyVecLayer(config) for _ in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.rope = Rope(config.hidden_size // config.num_attention_heads, config.max_position_embeddings, config.rope_theta, config.rope_scaling)
        self.pooler = Pooler(config.pooling)
        self.projection = nn.Linear(config.hidden_size, config.embedding_dim) if config.embedding_dim else nn.Identity()
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, v):
        self.embed_tokens = v

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, output_hidden_states=None,
                return_dict=None, dim: Optional[int] = None):
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if attention_mask is None:
            attention_mask = torch.ones(x.shape[:2], dtype=torch.long, device=x.device)
        bias = torch.zeros(attention_mask.shape, dtype=x.dtype, device=x.device)
        bias = bias.masked_fill(attention_mask == 0, torch.finfo(x.dtype).min)[:, None, None, :]
        cos, sin = self.rope(x, x.shape[1])
        hidden = ()
        for layer in self.layers:
            if output_hidden_states:
                hidden += (x,)
            if self.gradient_checkpointing and self.training:
                x = torch.utils.checkpoint.checkpoint(layer, x, cos, sin, bias, use_reentrant=False)
            else:
                x = layer(x, cos, sin, bias)
        x = self.norm(x)
        emb = self.projection(self.pooler(x, attention_mask))
        if dim is not None:
            assert self.config.matryoshka_dims is None or dim in self.config.matryoshka_dims
            emb = emb[..., :dim]
        emb = F.normalize(emb, p=2, dim=-1)
        return PolyVecOutput(last_hidden_state=x, sentence_embedding=emb, hidden_states=hidden or None)

    @torch.inference_mode()
    def encode(self, sentences: Union[str, List[str]], tokenizer=None, batch_size=32, max_length=512, dim=None, show_progress_bar=False):
        single = isinstance(sentences, str)
        if single:
            sentences = [sentences]
        if tokenizer is None:
            from transformers import AutoTokenizer
            tokenizer = AutoTokenizer.from_pretrained(self.config._name_or_path, trust_remote_code=True)
        order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i]))
        out = [None] * len(sentences)
        for s in range(0, len(order), batch_size):
            idx = order[s : s + batch_size]
            enc = tokenizer([sentences[i] for i in idx], padding=True, truncation=True, max_length=max_length, return_tensors="pt").to(self.device)
            for i, e in zip(idx, self(**enc, dim=dim).sentence_embedding.cpu()):
                out[i] = e
        return out[0] if single else torch.stack(out)


class PolyVecForMaskedLM(PolyVecPreTrainedModel):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.model = PolyVecModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, v):
        self.lm_head = v

    def forward(self, input_ids=None, attention_mask=None, labels=None, **kw):
        out = self.model(input_ids, attention_mask, **kw)
        logits = self.lm_head(out.last_hidden_state)
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), labels.view(-1)) if labels is not None else None
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)
