"""Lichen: one decoder over the codebooks of a neural codec."""
import logging
import math
from dataclasses import dataclass
from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.file_utils import ModelOutput, add_start_docstrings
from transformers.generation_beam_search import BeamSearchScorer
from transformers.generation_logits_process import LogitsProcessorList, TopKLogitsWarper
from transformers.generation_utils import SampleDecoderOnlyOutput
from transformers.modeling_utils import Conv1D, PreTrainedModel

from .configuration_lichen import LichenConfig
from .delay import delay, undelay

logger = logging.getLogger(__name__)

LICHEN_START_DOCSTRING = r"""
    A decoder whose input is the sum of the embeddings of all codebooks.
"""


@dataclass
class LichenOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    past_key_values: Optional[Tuple[Tuple[torch.FloatTensor]]] = None


class FrameBeamScorer(BeamSearchScorer):
    """Scores frames, of which the first codebook decides."""

    def process(self, input_ids, next_scores, next_tokens, next_indices, **kwargs):
        return super().process(input_ids[:, 0], next_scores, next_tokens, next_indices, **kwargs)


class LichenAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        size = config.max_frames
        self.register_buffer("bias", torch.tril(torch.ones((size, size), dtype=torch.uint8)).view(1, 1, size, size))
        self.register_buffer("masked_bias", torch.tensor(-1e4))
        self.heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.heads
        self.c_attn = Conv1D(3 * config.hidden_size, config.hidden_size)
        self.c_proj = Conv1D(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, layer_past=None, use_cache=False):
        b, t, d = x.shape
        q, k, v = self.c_attn(x).split(d, dim=2)
        q, k, v = [y.view(b, t, self.heads, self.head_dim).permute(0, 2, 1, 3) for y in (q, k, v)]
        if layer_past is not None:
            k, v = torch.cat((layer_past[0], k), dim=-2), torch.cat((layer_past[1], v), dim=-2)
        w = q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)
        keep = self.bias[:, :, k.size(-2) - t:k.size(-2), :k.size(-2)].bool()
        w = self.dropout(F.softmax(torch.where(keep, w, self.masked_bias.to(w.dtype)), dim=-1))
        out = (w @ v).permute(0, 2, 1, 3).reshape(b, t, d)
        return self.c_proj(out), ((k, v) if use_cache else None)


class LichenBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.hidden_size)
        self.attn = LichenAttention(config)
        self.ln_2 = nn.LayerNorm(config.hidden_size)
        self.mlp = nn.Sequential(
            Conv1D(4 * config.hidden_size, config.hidden_size), nn.GELU(), Conv1D(config.hidden_size, 4 * config.hidden_size)
        )

    def forward(self, x, layer_past=None, use_cache=False):
        y, present = self.attn(self.ln_1(x), layer_past, use_cache)
        x = x + y
        return x + self.mlp(self.ln_2(x)), present


class LichenPreTrainedModel(PreTrainedModel):
    config_class = LichenConfig
    base_model_prefix = "transformer"
    is_parallelizable = False
    _keys_to_ignore_on_load_missing = [r"h\.\d+\.attn\.bias", r"h\.\d+\.attn\.masked_bias"]

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, Conv1D)):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=0.02)


@add_start_docstrings("Lichen with one head for each codebook.", LICHEN_START_DOCSTRING)
class LichenCodeLM(LichenPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.books = nn.ModuleList([nn.Embedding(config.codes + 1, config.hidden_size) for _ in range(config.codebooks)])
        self.wpe = nn.Embedding(config.max_frames, config.hidden_size)
        self.h = nn.ModuleList([LichenBlock(config) for _ in range(config.num_hidden_layers)])
        self.ln_f = nn.LayerNorm(config.hidden_size)
        self.heads = nn.ModuleList(
            [nn.Linear(config.hidden_size, config.codes + 1, bias=False) for _ in range(config.codebooks)]
        )
        self.init_weights()

    def get_input_embeddings(self):
        return self.books[0]

    def set_input_embeddings(self, new):
        self.books[0] = new

    def forward(self, input_ids, past_key_values=None, use_cache=None, labels=None, return_dict=None, **kwargs):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        past_length = past_key_values[0][0].size(-2) if past_key_values is not None else 0
        x = sum(book(input_ids[:, k]) for k, book in enumerate(self.books))
        places = torch.arange(past_length, past_length + x.shape[1], device=x.device)
        x = x + self.wpe(places)
        presents = ()
        for i, block in enumerate(self.h):
            x, present = block(x, past_key_values[i] if past_key_values is not None else None, bool(use_cache))
            presents += (present,)
        x = self.ln_f(x)
        logits = torch.stack([head(x) for head in self.heads], dim=1)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :, :-1].flatten(0, 2), labels[:, :, 1:].flatten(), ignore_index=self.config.pad_token_id)
        if not return_dict:
            return (loss, logits, presents)
        return LichenOutput(loss=loss, logits=logits, past_key_values=presents if use_cache else None)

    @torch.no_grad()
    def generate(self, input_ids, max_new_tokens=100, do_sample=True, top_k=50, temperature=1.0,
                 return_dict_in_generate=False, pad_token_id=None, attention_mask=None):
        pad = pad_token_id if pad_token_id is not None else self.config.pad_token_id
        warpers = LogitsProcessorList([TopKLogitsWarper(top_k)]) if do_sample else LogitsProcessorList()
        codes = delay(input_ids, pad)[:, :, : input_ids.shape[-1]]
        past, step = None, codes
        scores: List[torch.Tensor] = []
        for _ in range(max_new_tokens):
            out = self(step, past_key_values=past, use_cache=True, return_dict=True)
            past = out.past_key_values
            rows = out.logits[:, :, -1].flatten(0, 1) / temperature
            rows = warpers(codes.flatten(0, 1), rows)
            if do_sample:
                picked = torch.multinomial(F.softmax(rows, dim=-1), 1)
            else:
                picked = rows.argmax(-1, keepdim=True)
            step = picked.view(codes.shape[0], codes.shape[1], 1)
            codes = torch.cat([codes, step], dim=-1)
            scores.append(rows)
        codes = undelay(codes)
        if return_dict_in_generate:
            return SampleDecoderOnlyOutput(sequences=codes, scores=tuple(scores))
        return codes
