"""Medusa style heads, the base model is plain Llama from the library."""
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import logging

from .configuration_gyrfalcon import GyrfalconConfig
from .medusa_choices import gyrfalcon_chain, gyrfalcon_small, tree_buffers

logger = logging.get_logger(__name__)


@dataclass
class MedusaOutput(CausalLMOutputWithPast):
    medusa_logits: Optional[torch.FloatTensor] = None


class ResBlock(nn.Module):
    """A residual block: x + silu(W x).  W starts at zero so that the head starts as a copy of lm_head."""

    def __init__(self, hidden_size):
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)
        self.act = nn.SiLU()

    def forward(self, x):
        return x + self.act(self.linear(x))


class MedusaHead(nn.Module):
    def __init__(self, hidden_size, vocab_size, num_layers):
        super().__init__()
        self.blocks = nn.Sequential(*[ResBlock(hidden_size) for _ in range(num_layers)])
        self.out = nn.Linear(hidden_size, vocab_size, bias=False)

    def forward(self, x):
        return self.out(self.blocks(x))


class GyrfalconMedusaForCausalLM(LlamaForCausalLM):
    config_class = GyrfalconConfig

    def __init__(self, config: GyrfalconConfig):
        super().__init__(config)
        self.medusa_head = nn.ModuleList(
            [MedusaHead(config.hidden_size, config.vocab_size, config.medusa_num_layers)
             for _ in range(config.medusa_num_heads)]
        )
        self._tree = None
        self.post_init()

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values=None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        medusa_forward: bool = True,
        **kwargs,
    ) -> MedusaOutput:
        kwargs.pop("return_dict", None)
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **{k: v for k, v in kwargs.items() if k in ("cache_position", "output_hidden_states", "output_attentions")},
        )
        hidden_states = outputs.last_hidden_state
        logits = self.lm_head(hidden_states)
        medusa_logits = None
        if medusa_forward:
            medusa_logits = torch.stack([head(hidden_states) for head in self.medusa_head], dim=0)
        loss = None
        if labels is not None:
            loss = self._medusa_loss(logits, medusa_logits, labels)
        return MedusaOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            medusa_logits=medusa_logits,
        )

    def _medusa_loss(self, logits, medusa_logits, labels):
        V = self.config.vocab_size
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, V).float(), labels[:, 1:].reshape(-1))
        if medusa_logits is None:
            return loss
        for i, lg in enumerate(medusa_logits):
            shift = 2 + i
            li = F.cross_entropy(lg[:, :-shift].reshape(-1, V).float(), labels[:, shift:].reshape(-1))
            loss = loss + li * self.config.medusa_decay_coefficient ** i * self.config.medusa_heads_coefficient
        return loss

    # ------------------------------------------------------------------ speculative decoding
    def set_tree(self, choices=None):
        self._tree = tree_buffers(choices or gyrfalcon_chain)

    @torch.no_grad()
    def medusa_generate(self, input_ids: torch.LongTensor, max_new_tokens=64, eos_token_id: Optional[int] = None):
        """
        Chain verification (top-1 of every head), greedy, batch of one, recomputing the prefix. The tree version
        needs a cache that can be rolled back, see the serving repo.
        """
        assert input_ids.shape[0] == 1, "Only support batch size 1 for now!!"
        eos = eos_token_id if eos_token_id is not None else self.config.eos_token_id
        ids = input_ids
        n_medusa = self.config.medusa_num_heads
        produced, steps = 0, 0
        while produced < max_new_tokens:
            out = self(input_ids=ids, use_cache=False)
            first = out.logits[:, -1].argmax(-1, keepdim=True)
            guess = out.medusa_logits[:, :, -1].argmax(-1).transpose(0, 1)
            cand = torch.cat([ids, first, guess], 1)
            check = self(input_ids=cand, use_cache=False, medusa_forward=False).logits.argmax(-1)
            n = ids.shape[1]
            accept = 0
            for i in range(n_medusa):
                if check[0, n + i] == cand[0, n + 1 + i]:
                    accept += 1
                else:
                    break
            ids = cand[:, :n + 1 + accept]
            produced += 1 + accept
            steps += 1
            if (ids[0, input_ids.shape[1]:] == eos).any():
                break
        logger.info(f"accepted {produced / max(steps, 1):.2f} tokens per step")
        return ids[:, :input_ids.shape[1] + max_new_tokens]

    def posterior_check(self, logits, candidates):
        """typical acceptance"""
        p = torch.softmax(logits.float(), -1)
        cp = p.gather(-1, candidates[..., None]).squeeze(-1)
        ent = -(p * (p + 1e-5).log()).sum(-1)
        thr = torch.minimum(torch.full_like(ent, self.config.posterior_threshold),
                            torch.exp(-ent) * self.config.posterior_alpha)
        return (cp > thr).long().cumprod(-1)
