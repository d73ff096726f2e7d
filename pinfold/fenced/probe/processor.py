"""A probe through the folder's own processor, where a configuration alone does not give one.

How many places a picture has in a text is the processor's matter: it puts them there itself, or takes a text that has
one place. That text is the processor's own: its chat template, or its token for a picture. What a second of sound
becomes, and whether frames or bins come first, is the feature extractor's. Where several towers read words, which mask
belongs to which is in the names.
"""

import contextlib
import inspect
import os
import tempfile

from . import declared
from .declared import in_own_type
from .fields import first_field, longest, picture_token, sides
from .probes import SOUND

LARGEST_SIDE = 512
WORDS = "what is this"
ROWS, LENGTH = 2, 6  # of a decoder's tokens


def probe_of_processor(model, directory: str) -> dict:
    """The words of probe.json for such a probe, which forward was seen to take; {} where there is none.

    Args:
        directory: of the checkpoint and its processor.
    """
    takes = inspect.signature(model.forward).parameters
    if not {"input_ids", "pixel_values"} <= set(takes):
        return _of_sound(model, directory, list(takes)) or _of_words(model, directory, list(takes))
    processor = declared.joint_processor(directory)
    if processor is None:
        return {}
    side = (sides(first_field(model.config, "image_size", "img_size")) or [64])[0]
    for text in dict.fromkeys(filter(None, _texts(processor, model.config))):
        own = {
            "input_ids": {"text": [text, f"{text} again"]},
            "pixel_values": {"pictures": 2, "size": [min(side, LARGEST_SIDE)] * 2},
        }
        if _is_taken(model, own, directory, list(takes)):
            return own
    return {}


def _of_sound(model, directory: str, takes: list[str]) -> dict:
    """Tones, and what goes in beside them: words of the other tower, or the first tokens of a decoder."""
    name = next((name for name in SOUND if name in takes), None)
    if name is None:
        return {}
    own: dict = {name: {"tones": ROWS, "seconds": 1}}
    beside: dict = {}
    if "input_ids" in takes:
        beside = {"input_ids": {"text": [WORDS, f"{WORDS} again"]}}
    elif "decoder_input_ids" in takes:
        shape = [ROWS, min(LENGTH, longest(model.config))]
        below = first_field(model.config, "vocab_size") or 100
        beside = {"decoder_input_ids": {"shape": shape, "values": "ramp", "below": below}}
    return next((each for each in (own | beside, own) if _is_taken(model, each, directory, takes)), {})


def _of_words(model, directory: str, takes: list[str]) -> dict:
    """Words for each argument of token ids, where several towers read them: of another length for each."""
    names = [name for name in takes if declared.IDS in name and not name.startswith("decoder_")]
    if not set(names) - {declared.IDS}:
        return {}
    texts = {name: " ".join([WORDS] * (number + 1)) for number, name in enumerate(names)}
    # in rows of two lengths masks say something; a tokenizer without padding cannot make them
    uneven = {name: {"text": [text, f"{text} again"]} for name, text in texts.items()}
    even = {name: {"text": [text, text]} for name, text in texts.items()}
    return next((own for own in (uneven, even) if _is_taken(model, own, directory, takes)), {})


def _texts(processor, config) -> list[str]:
    """Texts with the place of one picture, the likeliest first."""
    content = [{"type": "image"}, {"type": "text", "text": WORDS}]
    texts = []
    with contextlib.suppress(Exception):  # it has none, or one that is for text alone
        texts.append(processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True))
    token = picture_token(config)[0]
    tokenizer = getattr(processor, "tokenizer", None)
    named = [getattr(part, name, None) for part in (processor, tokenizer) for name in ("image_token", "boi_token")]
    with contextlib.suppress(Exception):  # a tokenizer of the folder's own may lack this
        named.append(tokenizer.convert_ids_to_tokens(token) if token is not None else None)
    # without a place, as well: many put the picture in front of every text
    return [*texts, *(f"{name} {WORDS}" for name in named if isinstance(name, str)), WORDS]


def _is_taken(model, own: dict, directory: str, takes: list[str]) -> bool:
    import torch

    with tempfile.TemporaryDirectory() as scratch:
        try:
            probe = declared.through_files(own, directory, takes, os.path.join(scratch, declared.INPUTS))
            inputs = {name: declared.made(words) for name, words in probe.items()}
            if not set(own) <= set(inputs):
                return False
            with torch.no_grad():
                model(**in_own_type(model, inputs))
        except Exception:  # the next one
            return False
    return True
