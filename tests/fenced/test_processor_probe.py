"""Probes through the folder's own processor: text with pictures, and sound."""

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


class Hears(nn.Module):
    """Takes sound of one layout under one name; beside it perhaps words, or the tokens of a decoder."""

    def __init__(self, size, axis, **config):
        super().__init__()
        self.config, self.size, self.axis = types.SimpleNamespace(**config), size, axis
        self.scale = nn.Parameter(torch.ones(1))

    def heard(self, sound):
        if sound is None or sound.ndim <= abs(self.axis) or (self.size and sound.shape[self.axis] != self.size):
            raise ValueError("another layout")
        return self.scale * sound.mean()


class HearsBins(Hears):
    """Bins first, as Whisper has them, and a decoder."""

    def forward(self, input_features, attention_mask=None, decoder_input_ids=None):
        if decoder_input_ids is None:
            raise ValueError("no start")
        return self.heard(input_features) + decoder_input_ids.float().mean()


class HearsFrames(Hears):
    """Frames first, alone."""

    def forward(self, input_values, labels=None):
        return self.heard(input_values)


class HearsAndReads(Hears):
    """Two towers."""

    def forward(self, input_ids, input_features, attention_mask=None):
        return self.heard(input_features) + input_ids.float().mean()


def extractor(kind):
    import transformers

    settings = {"Whisper": {"feature_size": 40, "chunk_length": 2}, "AST": {"num_mel_bins": 24, "max_length": 50}}
    return getattr(transformers, f"{kind}FeatureExtractor")(**settings.get(kind, {}))


class Joint:
    """A processor of words and sound."""

    def __init__(self):
        self.tokenizer, self.feature_extractor = types.SimpleNamespace(pad_token="<pad>"), extractor("Whisper")

    def __call__(self, text, audio, sampling_rate, padding, return_tensors):
        sounds = self.feature_extractor(audio, sampling_rate=sampling_rate, return_tensors=return_tensors)
        return {"input_ids": torch.tensor([[1, 2, 3]] * len(text)), **sounds}


SOUNDS = {
    "bins first, with a decoder": (
        HearsBins(40, -2, vocab_size=9),
        "Whisper",
        {"input_features", "decoder_input_ids"},
    ),
    "frames first": (HearsFrames(24, -1), "AST", {"input_values"}),
    "a wave": (HearsFrames(None, -1), "Wav2Vec2", {"input_values"}),
}


@pytest.mark.parametrize("model, kind, names", SOUNDS.values(), ids=SOUNDS)
def test_the_layout_of_sound_is_the_extractors_own(model, kind, names, tmp_path):
    extractor(kind).save_pretrained(tmp_path)
    own = processor.probe_of_processor(model, str(tmp_path))
    assert set(own) == names and declared.checked(own) == own
    assert declared.needs_files(own)


def test_two_towers_get_words_and_sound_of_their_processor(monkeypatch):
    monkeypatch.setattr(declared, "joint_processor", lambda directory: Joint())
    own = processor.probe_of_processor(HearsAndReads(40, -2), "")
    assert own["input_features"] == {"tones": 2, "seconds": 1} and len(own["input_ids"]["text"]) == 2


def test_no_sound_is_offered_that_forward_did_not_take(tmp_path):
    assert processor.probe_of_processor(HearsFrames(None, -1), str(tmp_path)) == {}
    extractor("AST").save_pretrained(tmp_path)
    assert processor.probe_of_processor(HearsFrames(7, -1), str(tmp_path)) == {}


def test_an_extractor_in_the_processors_own_file_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(
        declared, "joint_processor", lambda directory: types.SimpleNamespace(feature_extractor=extractor("AST"))
    )
    own = processor.probe_of_processor(HearsFrames(24, -1), str(tmp_path))
    assert own == {"input_values": {"tones": 2, "seconds": 1}}
    monkeypatch.setattr(declared, "joint_processor", lambda directory: None)
    with pytest.raises(ValueError, match="tones: OSError"):
        declared.through_files(own, str(tmp_path), ["input_values"], str(tmp_path / declared.INPUTS))
