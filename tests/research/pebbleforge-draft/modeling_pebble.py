"""PebbleForCausalLM: Qwen2 and draft heads."""
from dataclasses import dataclass
from typing import Optional, Union

import torch
from torch import nn
from transformers import Qwen2ForCausalLM
from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import logging

from .configuration_pebble import PebbleConfig
from .heads import DraftHead, draft_loss, longest_agreement

logger = logging.get_logger(__name__)


@dataclass
class PebbleOutput(CausalLMOutputWithPast):
    draft_logits: Optional[tuple[torch.FloatTensor]] = None


class PebbleForCausalLM(Qwen2ForCausalLM):
    config_class = PebbleConfig

    def __init__(self, config: PebbleConfig):
        super().__init__(config)
        self.drafts = nn.ModuleList([DraftHead(config, self.lm_head) for _ in range(config.draft_depth)])
        self.post_init()

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Cache] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        with_drafts: bool = False,
        logits_to_keep: Union[int, torch.Tensor] = 0,
        **kwargs,
    ) -> PebbleOutput:
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        hidden_states = hidden_states[:, keep, :]
        logits = self.lm_head(hidden_states)
        drafts = None
        if with_drafts or labels is not None:
            drafts = tuple(head(hidden_states) for head in self.drafts)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size)
            loss = loss + self.config.draft_loss_weight * draft_loss(list(drafts), labels)
        return PebbleOutput(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            draft_logits=drafts,
        )

    def freeze_trunk(self):
        """Train the drafts only."""
        for name, parameter in self.named_parameters():
            parameter.requires_grad_("drafts" in name and "lm_head" not in name)

    @torch.no_grad()
    def write_speculative(self, input_ids: torch.LongTensor, max_new_tokens: int = 64) -> tuple[torch.LongTensor, dict]:
        """Greedy, the same text as generate, with fewer calls. One sequence at a time."""
        if input_ids.shape[0] != 1:
            raise ValueError("one sequence at a time")
        written = input_ids
        calls, accepted = 0, 0
        cache = DynamicCache()
        output = self(written, past_key_values=cache, use_cache=True, with_drafts=True)
        calls += 1
        while written.shape[1] - input_ids.shape[1] < max_new_tokens:
            first = output.logits[:, -1:].argmax(-1)
            guesses = [draft[:, -1:].argmax(-1) for draft in output.draft_logits]
            proposal = torch.cat([first, *guesses], dim=1)
            seen = written.shape[1]
            output = self(proposal, past_key_values=cache, use_cache=True, with_drafts=True)
            calls += 1
            verified = output.logits[:, :-1].argmax(-1)
            right = longest_agreement(proposal[:, 1:], verified)
            accepted += right
            written = torch.cat([written, proposal[:, : 1 + right]], dim=1)
            cache.crop(seen + 1 + right)
            output.logits = output.logits[:, : 1 + right]
            output.draft_logits = tuple(draft[:, : 1 + right] for draft in output.draft_logits)
            if self.config.eos_token_id is not None and (proposal[0, : 1 + right] == self.config.eos_token_id).any():
                break
        return written, {"calls": calls, "accepted": accepted}


__all__ = ["PebbleForCausalLM"]
