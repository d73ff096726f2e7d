# helpers for multi-turn prompts, stop handling and streaming
from queue import Queue
from typing import List, Tuple

import torch
from transformers import LogitsProcessor, StoppingCriteria

USER_TAG = "<|asker|>"
BOT_TAG = "<|replier|>"
SYS_TAG = "<|rules|>"


class DropNanLogits(LogitsProcessor):
    """fp16 sometimes overflows on long prompts; fall back to one safe token."""

    def __call__(self, input_ids, scores):
        if torch.isnan(scores).any() or torch.isinf(scores).any():
            scores.zero_()
            scores[..., 5] = 5e4
        return scores


class StopOnSequences(StoppingCriteria):
    def __init__(self, stops: List[List[int]]):
        self.stops = [s for s in stops if len(s) > 0]

    def __call__(self, input_ids, scores, **kwargs):
        for s in self.stops:
            if input_ids.shape[1] >= len(s) and input_ids[0, -len(s):].tolist() == list(s):
                return True
        return False


def build_prompt(query: str, history: List[Tuple[str, str]], system: str = "") -> str:
    text = f"{SYS_TAG}\n{system}\n" if system else ""
    for q, r in history:
        text += f"{USER_TAG}\n{q}\n{BOT_TAG}\n{r}\n"
    return text + f"{USER_TAG}\n{query}\n{BOT_TAG}\n"


def trim_ids(ids: List[int], max_len: int, keep_head: int = 0) -> List[int]:
    # keep the first `keep_head` (system) ids, cut in the middle
    if len(ids) <= max_len:
        return ids
    if keep_head <= 0:
        return ids[-max_len:]
    return ids[:keep_head] + ids[-(max_len - keep_head):]


class QueueStreamer:
    def __init__(self, tokenizer, skip_first=True):
        self.q = Queue()
        self.tokenizer = tokenizer
        self.ids = []
        self.skip_first = skip_first

    def put(self, value):
        if self.skip_first:
            self.skip_first = False
            return
        self.ids.extend(value.view(-1).tolist())
        text = self.tokenizer.decode(self.ids)
        if text and text[-1] != "\ufffd":
            self.q.put(text)

    def end(self):
        self.q.put(None)

    def __iter__(self):
        while True:
            item = self.q.get()
            if item is None:
                return
            yield item
