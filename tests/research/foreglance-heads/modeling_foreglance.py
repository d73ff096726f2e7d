"""
Llama with draft heads: each head guesses one token further ahead, and the guesses are verified in one pass
over a tree. The base model is the stock one and is not touched.
"""
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import LlamaForCausalLM
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import logging

from .configuration_foreglance import ForeglanceConfig
from .tree_foreglance import build_tree_buffers, greedy_accept, make_candidates

logger = logging.get_logger(__name__)


@dataclass
class ForeglanceOutput(CausalLMOutputWithPast):
    draft_logits: Optional[torch.FloatTensor] = None


class ResBlock(nn.Module):
    def __init__(self, hidden_size):
        super().__init__()
        self.linear = nn.Linear(hidden_size, hidden_size)
        # identity at the start of the training
        nn.init.zeros_(self.linear.weight)
        self.act = nn.SiLU()

    def forward(self, x):
        return x + self.act(self.linear(x))


class DraftHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.blocks = nn.Sequential(*[ResBlock(config.hidden_size) for _ in range(config.draft_num_layers)])
        self.out = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    def forward(self, x):
        return self.out(self.blocks(x))


class ForeglanceLlamaForCausalLM(LlamaForCausalLM):
    config_class = ForeglanceConfig
    # plain llama weights can be loaded, the heads are new then
    _keys_to_ignore_on_load_missing = [r"draft_heads\..*"]

    def __init__(self, config):
        super().__init__(config)
        self.draft_heads = nn.ModuleList([DraftHead(config) for _ in range(config.draft_num_heads)])
        self._tree_cache = None
        if config.freeze_base:
            for p in self.model.parameters():
                p.requires_grad = False
        self.post_init()

    def init_heads_from_lm_head(self):
        for head in self.draft_heads:
            head.out.weight.data.copy_(self.lm_head.weight.data)

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Cache] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
        logits_to_keep: Union[int, torch.Tensor] = 0,
        draft: bool = False,
        **kwargs,
    ) -> Union[Tuple, ForeglanceOutput]:
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            cache_position=cache_position,
            **kwargs,
        )
        slice_indices = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        hidden_states = outputs.last_hidden_state[:, slice_indices, :]
        logits = self.lm_head(hidden_states)

        draft_logits = None
        if draft or labels is not None:
            draft_logits = torch.stack([head(hidden_states) for head in self.draft_heads], dim=0)

        loss = None
        if labels is not None:
            loss = self.draft_loss(logits, draft_logits, labels)
        return ForeglanceOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            draft_logits=draft_logits,
        )

    def draft_loss(self, logits, draft_logits, labels):
        loss = 0.0
        if not self.config.freeze_base:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten(), ignore_index=-100)
        for i in range(self.config.draft_num_heads):
            shift = 2 + i
            pred = draft_logits[i, :, :-shift].flatten(0, 1).float()
            loss_i = F.cross_entropy(pred, labels[:, shift:].flatten(), ignore_index=-100)
            loss = loss + loss_i * self.config.draft_loss_decay**i
        return loss

    # --------------------------------------------------------------------------------------------
    @property
    def tree_top_k(self):
        return max(max(c) for c in self.config.draft_choices) + 1

    def get_tree(self):
        if self._tree_cache is None or self._tree_cache["tree_mask"].device != self.device:
            self._tree_cache = build_tree_buffers(self.config.draft_choices, self.tree_top_k, self.device)
        return self._tree_cache

    def _tree_attention_mask(self, past_length, tree_mask, dtype):
        n = tree_mask.shape[-1]
        seen = torch.ones(1, 1, n, past_length, dtype=torch.bool, device=tree_mask.device)
        allowed = torch.cat([seen, tree_mask], dim=-1)
        return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(
            ~allowed, torch.finfo(dtype).min
        )

    @staticmethod
    def _keep_in_cache(cache: DynamicCache, past_length: int, nodes: List[int]):
        """throws away the nodes of the tree that were not accepted"""
        index = torch.tensor(list(range(past_length)) + [past_length + i for i in nodes])
        for layer in cache.layers:
            layer.keys = layer.keys[:, :, index.to(layer.keys.device)]
            layer.values = layer.values[:, :, index.to(layer.values.device)]
        return cache

    @torch.no_grad()
    def draft_generate(
        self,
        input_ids: torch.LongTensor,
        max_new_tokens: int = 64,
        eos_token_id: Optional[int] = None,
        return_stats: bool = False,
    ):
        """Greedy decoding, several tokens a step. The text is that of `generate(do_sample=False)`."""
        assert input_ids.shape[0] == 1, "one text at a time"
        eos = self.config.eos_token_id if eos_token_id is None else eos_token_id
        tree = self.get_tree()
        cache = DynamicCache()
        out = self(input_ids, past_key_values=cache, use_cache=True, draft=True, logits_to_keep=1)
        logits, draft_logits = out.logits[0, -1], out.draft_logits[:, 0, -1]
        tokens, steps = input_ids[0].tolist(), 0
        target = len(tokens) + max_new_tokens

        while len(tokens) < target:
            steps += 1
            past_length = cache.get_seq_length()
            nodes, paths = make_candidates(logits, draft_logits, tree, self.tree_top_k)
            out = self(
                nodes[None],
                attention_mask=self._tree_attention_mask(past_length, tree["tree_mask"], self.dtype),
                position_ids=(past_length + tree["tree_positions"])[None],
                past_key_values=cache,
                use_cache=True,
                cache_position=torch.arange(past_length, past_length + nodes.shape[0], device=self.device),
                draft=True,
            )
            best, n_accepted = greedy_accept(out.logits[0], paths, tree)
            kept = tree["retrieve"][best, : n_accepted + 1].tolist()
            new = paths[best, : n_accepted + 1].tolist()
            self._keep_in_cache(cache, past_length, kept)
            logits, draft_logits = out.logits[0, kept[-1]], out.draft_logits[:, 0, kept[-1]]
            stop = new.index(eos) if eos in new else None
            tokens.extend(new if stop is None else new[: stop + 1])
            if stop is not None:
                break
        tokens = torch.tensor([tokens[:target]], device=input_ids.device)
        if return_stats:
            return tokens, {"steps": steps, "per_step": (tokens.shape[1] - input_ids.shape[1]) / max(steps, 1)}
        return tokens
