"""A probe of text and pictures through the folder's own processor."""

import types

import pytest
import torch
from torch import nn

from pinfold.fenced.probe import declared, processor

PLACE, PLACES = 7, 5


class Sees(nn.Module):
    """Takes as many places as its pictures have, and no others."""

    def __init__(self, **config):
        super().__init__()
        self.config, self.scale = types.SimpleNamespace(**config), nn.Parameter(torch.ones(1))

    def forward(self, input_ids, pixel_values=None, attention_mask=None):
        if ((input_ids == PLACE).sum(-1) != PLACES).any() or pixel_values is None:
            raise ValueError("tokens and features do not match")
        return self.scale * input_ids.float().mean() + pixel_values.mean()


class Processor:
    """Puts the places of a picture where a text has this word."""

    def __init__(self, word, template=False, **attributes):
        self.word, self.template = word, template
        self.tokenizer = types.SimpleNamespace(pad_token="<pad>", convert_ids_to_tokens=lambda token: f"<{token}>")
        self.__dict__.update(attributes)

    def apply_chat_template(self, messages, add_generation_prompt):
        if not self.template:
            raise ValueError("no template")
        kinds = [part["type"] for part in messages[0]["content"]]
        return " ".join(self.word if kind == "image" else "words" for kind in kinds)

    def __call__(self, text, images, return_tensors, padding):
        rows = [[PLACE] * (PLACES * row.split().count(self.word)) + [1, 2] for row in text]
        pixels = torch.zeros(len(images), 3, *images[0].size)
        return {"input_ids": torch.tensor(rows), "pixel_values": pixels}


FOLDERS = {
    "a chat template": (Processor("<seen>", template=True), {}),
    "the processor's token": (Processor("<pic>", image_token="<pic>"), {}),
    "the token of the configuration": (Processor("<9>"), {"image_token_index": 9}),
}


@pytest.mark.parametrize("how", FOLDERS)
def test_the_text_is_the_processors_own(how, monkeypatch):
    made, config = FOLDERS[how]
    monkeypatch.setattr(declared, "joint_processor", lambda directory: made)
    own = processor.probe_of_processor(Sees(vision={"image_size": 16}, **config), "")
    assert declared.checked(own) == own and own["pixel_values"] == {"pictures": 2, "size": [16, 16]}
    assert made.word in own["input_ids"]["text"][0].split() and len(own["input_ids"]["text"]) == 2


def test_nothing_is_offered_that_forward_did_not_take(monkeypatch):
    monkeypatch.setattr(declared, "joint_processor", lambda directory: Processor("<never>"))
    assert processor.probe_of_processor(Sees(), "") == {}
    monkeypatch.setattr(declared, "joint_processor", lambda directory: None)
    assert processor.probe_of_processor(Sees(), "") == {}
    assert processor.probe_of_processor(nn.Linear(2, 2), "") == {}
