from dataclasses import dataclass
from typing import List, Optional, Tuple

import torch
from torch import nn


@dataclass
class Segment:
    input_ids: torch.LongTensor
    attention_mask: Optional[torch.Tensor]
    labels: Optional[torch.LongTensor]


def cut(input_ids, attention_mask, labels, length) -> List[Segment]:
    """From the right, so that only the first segment is short."""
    ends = list(range(input_ids.shape[1], 0, -length))[::-1]
    starts = [max(0, e - length) for e in ends]

    def part(t, s, e):
        return None if t is None else t[:, s:e]

    return [
        Segment(input_ids[:, s:e], part(attention_mask, s, e), part(labels, s, e)) for s, e in zip(starts, ends)
    ]


class MemoryCell(nn.Module):
    """[read memory] segment [write memory] through the inner model; what is at the write places goes on."""

    def __init__(self, inner: nn.Module, hidden_size: int, tokens: int, read: bool = True):
        super().__init__()
        self.model = inner
        self.tokens = tokens
        self.read = read
        self.memory = nn.Parameter(torch.randn(tokens, hidden_size) * 0.02)

    def begin(self, batch: int) -> torch.Tensor:
        return self.memory.unsqueeze(0).expand(batch, -1, -1)

    def dress(self, segment: Segment, state: torch.Tensor, write: bool = True) -> Tuple[torch.Tensor, torch.Tensor]:
        embeds = self.model.get_input_embeddings()(segment.input_ids)
        parts = ([state] if self.read else []) + [embeds] + ([state] if write else [])
        mask = segment.attention_mask
        if mask is None:
            mask = torch.ones_like(segment.input_ids)
        ones = mask.new_ones((mask.shape[0], self.tokens))
        masks = ([ones] if self.read else []) + [mask] + ([ones] if write else [])
        return torch.cat(parts, 1), torch.cat(masks, 1)

    def forward(self, segment: Segment, state: torch.Tensor, output_hidden_states: bool = False):
        embeds, mask = self.dress(segment, state)
        out = self.model(inputs_embeds=embeds, attention_mask=mask, output_hidden_states=True, use_cache=False)
        first = self.tokens if self.read else 0
        logits = out.logits[:, first:-self.tokens]
        last = out.hidden_states[-1]
        return logits, last[:, -self.tokens:], (out.hidden_states if output_hidden_states else None)
