"""ByteCairn: patches of bytes through a big causal stack, bytes of a patch through a small one.

Differences from the paper:
 * the first local position sees the *previous* patch only (shifted by a learned start patch)
 * local start embedding is learned
"""
from dataclasses import dataclass
from typing import Iterable, List, Optional, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .cairn_config import ByteCairnConfig
from .cairn_layers import Stack

SPECIAL = 8


class ByteCairnPreTrainedModel(PreTrainedModel):
    config_class = ByteCairnConfig
    base_model_prefix = "cairn"
    main_input_name = "input_ids"
    _no_split_modules = ["Block"]

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=std)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            module._reset_parameters()


class ByteCairnModel(ByteCairnPreTrainedModel):
    def __init__(self, config: ByteCairnConfig):
        super().__init__(config)
        self.patch = config.patch_size
        self.g_embed = nn.Embedding(config.vocab_size, config.global_dim // config.patch_size)
        self.l_embed = nn.Embedding(config.vocab_size, config.local_dim)
        self.g_pos = nn.Embedding(config.max_patches, config.global_dim)
        self.g_start = nn.Parameter(torch.zeros(1, 1, config.global_dim))
        self.l_start = nn.Parameter(torch.zeros(1, 1, config.local_dim))
        self.global_stack = Stack(config.global_dim, config.global_layers, config.heads, config.ffn_mult,
                                  config.max_patches, config.dropout)
        self.to_local = nn.Linear(config.global_dim, config.patch_size * config.local_dim)
        self.local_stack = Stack(config.local_dim, config.local_layers, config.heads, config.ffn_mult,
                                 config.patch_size, config.dropout)
        self.post_init()

    def get_input_embeddings(self):
        return self.l_embed

    def set_input_embeddings(self, value):
        self.l_embed = value

    def forward(self, input_ids):
        b, t = input_ids.shape
        p = self.patch
        pad = (-t) % p
        ids = F.pad(input_ids, (0, pad), value=self.config.pad_token_id)
        n = ids.shape[1] // p
        if n > self.config.max_patches:
            raise ValueError(f"sequence of {t} bytes is too long")
        g = self.g_embed(ids).view(b, n, -1)
        g = torch.cat([self.g_start.expand(b, -1, -1), g[:, :-1]], 1)
        g = g + self.g_pos(torch.arange(n, device=ids.device))[None]
        g = self.global_stack(g)
        ctx = self.to_local(g).view(b * n, p, -1)
        l = self.l_embed(ids).view(b * n, p, -1)
        l = torch.cat([self.l_start.expand(b * n, -1, -1), l[:, :-1]], 1)
        h = self.local_stack(l + ctx).view(b, n * p, -1)
        return h, pad


class ByteCairnForCausalLM(ByteCairnPreTrainedModel, GenerationMixin):
    def __init__(self, config: ByteCairnConfig):
        super().__init__(config)
        self.cairn = ByteCairnModel(config)
        self.out = nn.Linear(config.local_dim, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.cairn.l_embed

    def set_input_embeddings(self, value):
        self.cairn.l_embed = value

    def get_output_embeddings(self):
        return None

    def forward(self, input_ids: torch.LongTensor, attention_mask=None, labels=None, return_dict=True, **unused):
        """position i of the logits is the distribution of byte i+1 (as the Auto classes want)"""
        t = input_ids.shape[1]
        # h[i] predicts byte i itself, so we append one dummy byte
        ids = F.pad(input_ids, (0, 1), value=self.config.pad_token_id)
        h, _ = self.cairn(ids)
        logits = self.out(h[:, 1:t + 1])
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(),
                                   ignore_index=self.config.pad_token_id)
        return CausalLMOutput(loss=loss, logits=logits)

    def prepare_inputs_for_generation(self, input_ids, **kwargs):
        return {"input_ids": input_ids}

    # ---- text helpers -------------------------------------------------------------------------------
    @staticmethod
    def encode(texts: Union[str, Iterable[str]], add_bos=True) -> torch.Tensor:
        if isinstance(texts, str):
            texts = [texts]
        rows = []
        for s in texts:
            r = [c + SPECIAL for c in s.encode("utf-8")]
            rows.append(([1] if add_bos else []) + r)
        width = max(map(len, rows))
        # left padding because of generation
        return torch.tensor([[0] * (width - len(r)) + r for r in rows])

    @staticmethod
    def decode(ids: torch.Tensor) -> List[str]:
        out = []
        for row in ids.tolist():
            out.append(bytes(c - SPECIAL for c in row if c >= SPECIAL).decode("utf-8", errors="replace"))
        return out

    @torch.no_grad()
    def complete(self, text: str, max_bytes: int = 64, temperature: float = 0.0, top_k: Optional[int] = None) -> str:
        ids = self.encode(text).to(self.device)
        start = ids.shape[1]
        for _ in range(max_bytes):
            logits = self(ids).logits[:, -1]
            if temperature <= 0:
                nxt = logits.argmax(-1, keepdim=True)
            else:
                logits = logits / temperature
                if top_k is not None:
                    kth = logits.topk(top_k)[0][:, -1:]
                    logits = logits.masked_fill(logits < kth, -float("inf"))
                nxt = torch.multinomial(logits.softmax(-1), 1)
            if nxt.item() == self.config.eos_token_id:
                break
            ids = torch.cat([ids, nxt], 1)
        return self.decode(ids[:, start:])[0]

    @torch.no_grad()
    def bits_per_byte(self, text: str) -> float:
        ids = self.encode(text).to(self.device)
        lp = self(ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])
        return float(-lp.mean() / 0.6931471805599453)
