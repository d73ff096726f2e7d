"""Prompts and stop words for CaddisForChat.chat()."""
from typing import List, Tuple

import torch
from transformers.generation import LogitsProcessor

Turns = List[Tuple[str, str]]
OPEN, CLOSE = "<|im_begin|>", "<|im_stop|>"


def one_turn(role: str, words: str) -> str:
    return OPEN + role + "\n" + words + CLOSE + "\n"


def write_prompt(tokenizer, question: str, turns: Turns, system: str, budget: int):
    """Newest turns first, as many as the budget holds."""
    tail = one_turn("user", question) + OPEN + "assistant\n"
    head = one_turn("system", system) if system else ""
    left = budget - len(tokenizer(head + tail)["input_ids"])
    middle = ""
    for asked, answered in reversed(turns):
        piece = one_turn("user", asked) + one_turn("assistant", answered)
        cost = len(tokenizer(piece)["input_ids"])
        if cost > left:
            break
        left -= cost
        middle = piece + middle
    return head + middle + tail


class EndAfter(LogitsProcessor):
    """Forces eos once the text ends in one of the sequences."""

    def __init__(self, sequences, eos):
        if not sequences:
            raise ValueError("EndAfter needs at least one sequence")
        self.sequences = [tuple(s) for s in sequences if len(s)]
        self.eos = eos

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        for row, written in enumerate(input_ids.tolist()):
            for s in self.sequences:
                if tuple(written[-len(s):]) == s:
                    scores[row, self.eos] = 3.0e4
        return scores


def clean(text: str) -> str:
    for mark in (OPEN, CLOSE):
        text = text.split(mark)[0]
    return text.strip()
