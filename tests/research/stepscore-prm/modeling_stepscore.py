"""Process reward model: one score per step token.

Backbone is a trimmed decoder (no cache, no generation), so that the file does not depend on the library's decoder
implementations, which change too often.
"""
import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_stepscore import StepScoreConfig

logger = logging.get_logger(__name__)

try:
    from flash_attn import flash_attn_func
    _flash = True
except ImportError:
    flash_attn_func = None
    _flash = False


@dataclass
class StepScoreOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    step_scores: Optional[torch.FloatTensor] = None
    step_mask: Optional[torch.BoolTensor] = None
    hidden_states: Optional[Tuple[torch.FloatTensor, ...]] = None


class StepScoreNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.scale


class StepScoreRotary(nn.Module):
    def __init__(self, dim, base, length):
        super().__init__()
        self.dim, self.base, self.length = dim, base, length
        cos, sin = self.tables()
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def tables(self, device=None):
        inv = 1.0 / (self.base ** (torch.arange(0, self.dim, 2, device=device).float() / self.dim))
        f = torch.outer(torch.arange(self.length, device=device).float(), inv)
        f = torch.cat([f, f], -1)
        return f.cos(), f.sin()

    @torch.no_grad()
    def reset(self):
        # buffers are not in the checkpoint and come back uninitialised after loading on the meta device
        cos, sin = self.tables(self.cos.device)
        self.cos.copy_(cos)
        self.sin.copy_(sin)

    def forward(self, n):
        if n > self.length:
            raise ValueError(f"{n} tokens, the model was trained with {self.length}")
        return self.cos[:n], self.sin[:n]


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat([-b, a], -1) * sin


class StepScoreAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.h, self.g = config.num_attention_heads, config.num_key_value_heads
        self.d = config.hidden_size // self.h
        self.q_proj = nn.Linear(config.hidden_size, self.h * self.d, bias=True)
        self.k_proj = nn.Linear(config.hidden_size, self.g * self.d, bias=True)
        self.v_proj = nn.Linear(config.hidden_size, self.g * self.d, bias=True)
        self.o_proj = nn.Linear(self.h * self.d, config.hidden_size, bias=False)

    def forward(self, x, mask, cos, sin):
        b, s, _ = x.shape
        q = self.q_proj(x).view(b, s, self.h, self.d).transpose(1, 2)
        k = self.k_proj(x).view(b, s, self.g, self.d).transpose(1, 2)
        v = self.v_proj(x).view(b, s, self.g, self.d).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if _flash and x.is_cuda and mask is None:
            o = flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal=True)
            return self.o_proj(o.reshape(b, s, -1))
        k = k.repeat_interleave(self.h // self.g, dim=1)
        v = v.repeat_interleave(self.h // self.g, dim=1)
        if mask is None:
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(o.transpose(1, 2).reshape(b, s, -1))


class StepScoreLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1 = StepScoreNorm(config.hidden_size, config.rms_norm_eps)
        self.attn = StepScoreAttention(config)
        self.norm2 = StepScoreNorm(config.hidden_size, config.rms_norm_eps)
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x, mask, cos, sin):
        x = x + self.attn(self.norm1(x), mask, cos, sin)
        g, u = self.gate_up(self.norm2(x)).chunk(2, -1)
        return x + self.down(F.silu(g) * u)


class StepScorePreTrainedModel(PreTrainedModel):
    config_class = StepScoreConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["StepScoreLayer"]

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, StepScoreNorm):
            nn.init.ones_(module.scale)
        elif isinstance(module, StepScoreRotary):
            module.reset()


class StepScoreModel(StepScorePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([StepScoreLayer(config) for _ in range(config.num_hidden_layers)])
        self.norm = StepScoreNorm(config.hidden_size, config.rms_norm_eps)
        self.rotary = StepScoreRotary(config.hidden_size // config.num_attention_heads, config.rope_base,
                                      config.max_position_embeddings)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, input_ids, attention_mask=None, output_hidden_states=False):
        x = self.embed_tokens(input_ids)
        s = x.shape[1]
        mask = None
        if attention_mask is not None and not bool(attention_mask.all()):
            causal = torch.ones(s, s, dtype=torch.bool, device=x.device).tril()
            mask = causal[None, None] & attention_mask[:, None, None, :].bool()
            mask = mask | torch.eye(s, dtype=torch.bool, device=x.device)
        cos, sin = self.rotary(s)
        states = []
        for layer in self.layers:
            if output_hidden_states:
                states.append(x)
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(layer.__call__, x, mask, cos, sin)
            else:
                x = layer(x, mask, cos, sin)
        return self.norm(x), tuple(states)


class StepScoreForProcessReward(StepScorePreTrainedModel):
    def __init__(self, config: StepScoreConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = StepScoreModel(config)
        self.score = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size),
            nn.ReLU(),
            nn.Dropout(config.head_dropout),
            nn.Linear(config.hidden_size, self.num_labels),
        )
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def forward(self, input_ids=None, attention_mask=None, labels=None, output_hidden_states=False, return_dict=None,
                **kwargs) -> Union[Tuple, StepScoreOutput]:
        return_dict = self.config.return_dict if return_dict is None else return_dict
        h, states = self.model(input_ids, attention_mask, output_hidden_states)
        logits = self.score(h).float()
        step_mask = input_ids.eq(self.config.step_token_id)
        probs = logits.softmax(-1)[..., 1] if self.num_labels == 2 else logits[..., 0].sigmoid()
        n = int(step_mask.sum(1).max())
        scores = probs.new_full((input_ids.shape[0], max(n, 1)), 1.0)
        for i in range(input_ids.shape[0]):
            s = probs[i][step_mask[i]]
            scores[i, : len(s)] = s
        loss = None
        if labels is not None:
            # labels: -100 everywhere but on the step tokens
            loss = F.cross_entropy(logits[step_mask], labels[step_mask], ignore_index=-100)
        if not return_dict:
            return tuple(v for v in (loss, logits, scores, step_mask) if v is not None)
        return StepScoreOutput(loss=loss, logits=logits, step_scores=scores, step_mask=step_mask,
                               hidden_states=states or None)

    def aggregate_scores(self, scores: torch.Tensor, how: Optional[str] = None) -> torch.Tensor:
        how = how or self.config.aggregate
        if how == "min":
            return scores.min(-1).values
        if how == "prod":
            return scores.prod(-1)
        if how == "last":
            return scores[:, -1]
        return scores.mean(-1)

    @torch.no_grad()
    def best_of_n(self, tokenizer, question: str, solutions: List[List[str]]) -> int:
        sep = tokenizer.convert_ids_to_tokens(self.config.step_token_id)
        best, arg = -1.0, 0
        for i, steps in enumerate(solutions):
            text = question + "\n" + sep.join(steps) + sep
            ids = tokenizer(text, return_tensors="pt").input_ids.to(self.device)
            v = float(self.aggregate_scores(self(ids).step_scores))
            if v > best:
                best, arg = v, i
        return arg
