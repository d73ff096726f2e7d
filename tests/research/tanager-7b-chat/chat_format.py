"""Prompt building, shared by the model and the web demo."""
from typing import List, Tuple

USER = "<|user|>"
BOT = "<|bot|>"

SYSTEM = "you are a helpful bird."


def flatten(history: List[Tuple[str, str]], query: str, system: str = SYSTEM) -> str:
    pieces = [system] if system else []
    for asked, answered in history:
        pieces.append(f"{USER}{asked}{BOT}{answered}")
    pieces.append(f"{USER}{query}{BOT}")
    return "".join(pieces)


def cut_at_turn(text: str) -> str:
    for mark in (USER, BOT, "</s>"):
        where = text.find(mark)
        if where >= 0:
            text = text[:where]
    return text.strip()


def shrink(history, budget, measure):
    # drop the oldest turns until the prompt fits
    history = list(history)
    while history and measure(history) > budget:
        history.pop(0)
    return history
