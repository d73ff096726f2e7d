"""ProtHelix: masked protein language model. SwiGLU, rotary, QK layernorm, residue scaling."""
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers.modeling_outputs import MaskedLMOutput, ModelOutput, TokenClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_prothelix import ProtHelixConfig
from .rotary import RotaryEmbedding

logger = logging.get_logger(__name__)


@dataclass
class ProtHelixOutput(ModelOutput):
    last_hidden_state: Optional[torch.Tensor] = None
    hidden_states: Optional[torch.Tensor] = None


def swiglu_correction_fn(expansion_ratio: float, d_model: int) -> int:
    # set hidden dimension to nearest multiple of 16 after expansion ratio
    return int(((expansion_ratio * d_model) + 15) // 16 * 16)


class SwiGLU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x1, x2 = x.chunk(2, dim=-1)
        return F.silu(x1) * x2


def swiglu_ln_ffn(d_model: int, expansion_ratio: float, bias: bool = False):
    hidden = swiglu_correction_fn(expansion_ratio, d_model)
    return nn.Sequential(
        nn.LayerNorm(d_model),
        nn.Linear(d_model, hidden * 2, bias=bias),
        SwiGLU(),
        nn.Linear(hidden, d_model, bias=bias),
    )


class MultiHeadAttention(nn.Module):
    def __init__(self, d_model: int, n_heads: int, bias: bool = False, qk_layernorm: bool = True, base: float = 10000.0, scale_base=None):
        super().__init__()
        self.d_model = d_model
        self.n_heads = n_heads
        self.d_head = self.d_model // self.n_heads
        self.layernorm_qkv = nn.Sequential(nn.LayerNorm(d_model), nn.Linear(d_model, d_model * 3, bias=bias))
        self.out_proj = nn.Linear(d_model, d_model, bias=bias)
        if qk_layernorm:
            self.q_ln = nn.LayerNorm(d_model, bias=bias)
            self.k_ln = nn.LayerNorm(d_model, bias=bias)
        else:
            self.q_ln = nn.Identity()
            self.k_ln = nn.Identity()
        self.rotary = RotaryEmbedding(d_model // n_heads, base=base, scale_base=scale_base)

    def _apply_rotary(self, q: torch.Tensor, k: torch.Tensor):
        q = q.unflatten(-1, (self.n_heads, self.d_head))
        k = k.unflatten(-1, (self.n_heads, self.d_head))
        q, k = self.rotary(q, k)
        return q, k

    def forward(self, x, seq_id):
        b, s, _ = x.shape
        query, key, value = torch.chunk(self.layernorm_qkv(x), 3, dim=-1)
        query, key = self.q_ln(query).to(query.dtype), self.k_ln(key).to(query.dtype)
        query, key = self._apply_rotary(query, key)
        query, key = query.transpose(1, 2), key.transpose(1, 2)
        value = value.view(b, s, self.n_heads, self.d_head).transpose(1, 2)
        if seq_id is not None:
            # only positions of the same sequence may see each other
            mask = seq_id.unsqueeze(-1) == seq_id.unsqueeze(-2)
            mask = mask.unsqueeze(1)
            context = F.scaled_dot_product_attention(query, key, value, mask)
        else:
            context = F.scaled_dot_product_attention(query, key, value)
        return self.out_proj(context.transpose(1, 2).reshape(b, s, -1))


class UnifiedTransformerBlock(nn.Module):
    def __init__(self, d_model, n_heads, expansion_ratio, residue_scaling_factor=1.0, base=10000.0, scale_base=None):
        super().__init__()
        self.attn = MultiHeadAttention(d_model, n_heads, base=base, scale_base=scale_base)
        self.ffn = swiglu_ln_ffn(d_model, expansion_ratio)
        self.scaling_factor = residue_scaling_factor

    def forward(self, x, sequence_id):
        x = x + self.attn(x, sequence_id) / self.scaling_factor
        x = x + self.ffn(x) / self.scaling_factor
        return x


class TransformerStack(nn.Module):
    def __init__(self, config: ProtHelixConfig):
        super().__init__()
        scale = math.sqrt(config.n_layers / 36) if config.residue_scaling else 1.0
        self.blocks = nn.ModuleList(
            [
                UnifiedTransformerBlock(
                    config.d_model, config.n_heads, config.expansion_ratio,
                    residue_scaling_factor=scale, base=config.rope_base, scale_base=config.rope_scale_base,
                )
                for _ in range(config.n_layers)
            ]
        )
        self.norm = nn.LayerNorm(config.d_model, bias=False)
        self.gradient_checkpointing = False

    def forward(self, x, sequence_id=None, output_hidden_states=False):
        hiddens = []
        for block in self.blocks:
            if self.gradient_checkpointing and self.training:
                x = torch.utils.checkpoint.checkpoint(block, x, sequence_id, use_reentrant=False)
            else:
                x = block(x, sequence_id)
            if output_hidden_states:
                hiddens.append(x)
        return self.norm(x), tuple(hiddens) if hiddens else None


class ProtHelixPreTrainedModel(PreTrainedModel):
    config_class = ProtHelixConfig
    base_model_prefix = "protein"
    supports_gradient_checkpointing = True
    _no_split_modules = ["UnifiedTransformerBlock"]

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=std, a=-3 * std, b=3 * std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, TransformerStack):
            module.gradient_checkpointing = value


class ProtHelixModel(ProtHelixPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.transformer = TransformerStack(config)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def set_input_embeddings(self, value):
        self.embed = value

    def _embed(self, input_ids, attention_mask):
        x = self.embed(input_ids)
        if self.config.token_dropout:
            # scale as if the training share of masks had been seen
            is_mask = input_ids == self.config.mask_token_id
            x = x.masked_fill(is_mask.unsqueeze(-1), 0.0)
            lengths = attention_mask.sum(-1)
            observed = is_mask.sum(-1).to(x.dtype) / lengths
            x = x * (1 - self.config.mask_ratio_train) / (1 - observed)[:, None, None]
        return x

    def forward(self, input_ids, attention_mask=None, output_hidden_states=False, return_dict=None, **kwargs):
        if attention_mask is None:
            attention_mask = input_ids != self.config.pad_token_id
        x = self._embed(input_ids, attention_mask)
        last, hiddens = self.transformer(x, attention_mask.bool(), output_hidden_states)
        return ProtHelixOutput(last_hidden_state=last, hidden_states=hiddens)


def regression_head(d_model: int, output_dim: int, hidden_dim: Optional[int] = None):
    hidden_dim = hidden_dim if hidden_dim is not None else d_model
    return nn.Sequential(nn.Linear(d_model, hidden_dim), nn.GELU(), nn.LayerNorm(hidden_dim), nn.Linear(hidden_dim, output_dim))


class ProtHelixForMaskedLM(ProtHelixPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.protein = ProtHelixModel(config)
        self.sequence_head = regression_head(config.d_model, config.vocab_size)
        self.ce_loss = nn.CrossEntropyLoss()
        self.post_init()

    def get_output_embeddings(self):
        return self.sequence_head[-1]

    def set_output_embeddings(self, new_embeddings):
        self.sequence_head[-1] = new_embeddings

    def forward(self, input_ids, attention_mask=None, labels=None, output_hidden_states=False, return_dict=None):
        out = self.protein(input_ids, attention_mask, output_hidden_states)
        logits = self.sequence_head(out.last_hidden_state)
        loss = self.ce_loss(logits.view(-1, self.config.vocab_size), labels.view(-1)) if labels is not None else None
        return MaskedLMOutput(loss=loss, logits=logits, hidden_states=out.hidden_states)

    @torch.no_grad()
    def pseudo_perplexity(self, input_ids):
        total = 0.0
        for i in range(1, input_ids.shape[1] - 1):
            masked = input_ids.clone()
            masked[:, i] = self.config.mask_token_id
            logp = self(masked).logits[:, i].log_softmax(-1)
            total = total + logp.gather(-1, input_ids[:, i : i + 1])
        return torch.exp(-total / (input_ids.shape[1] - 2))


class ProtHelixForTokenClassification(ProtHelixPreTrainedModel):
    """Secondary structure (helix / strand / coil)."""

    def __init__(self, config):
        super().__init__(config)
        self.protein = ProtHelixModel(config)
        self.classifier = regression_head(config.d_model, config.num_labels, config.d_model * 4)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        out = self.protein(input_ids, attention_mask)
        logits = self.classifier(out.last_hidden_state)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten()) if labels is not None else None
        return TokenClassifierOutput(loss=loss, logits=logits)
