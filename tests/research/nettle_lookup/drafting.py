"""Drafts copied out of the text so far."""
from typing import Optional

import torch
from transformers import GenerationConfig


class NettleGenerationConfig(GenerationConfig):
    def __init__(self, lookup_order: int = 2, draft_length: int = 4, use_lookup: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.lookup_order = lookup_order
        self.draft_length = draft_length
        self.use_lookup = use_lookup

    def validate(self, *args, **kwargs):
        super().validate(*args, **kwargs)
        if getattr(self, "draft_length", 1) < 1:
            raise ValueError("draft_length must be at least 1")


def lookup(tokens: torch.LongTensor, order: int, length: int) -> Optional[torch.LongTensor]:
    """What followed the last `order` tokens when they were written before. Newest occurrence first."""
    n = tokens.shape[0]
    for size in range(order, 0, -1):
        if n <= size:
            continue
        tail = tokens[n - size:]
        windows = tokens[: n - 1].unfold(0, size, 1)
        hits = (windows == tail).all(-1).nonzero().flatten()
        hits = hits[hits + size < n]
        if hits.numel():
            start = int(hits[-1]) + size
            draft = tokens[start: start + length]
            if draft.numel():
                return draft
    return None


class DraftStatistics:
    def __init__(self):
        self.calls, self.drafted, self.accepted = 0, 0, 0

    def add(self, drafted, accepted):
        self.calls += 1
        self.drafted += drafted
        self.accepted += accepted

    def __repr__(self):
        rate = self.accepted / self.drafted if self.drafted else 0.0
        return f"DraftStatistics(calls={self.calls}, drafted={self.drafted}, accepted={self.accepted}, rate={rate:.2f})"
