"""decoder_model small, and ids for it."""

import torch

from decoder_model import modeling_decoder as decoder
from decoder_model.configuration_decoder import DecoderConfig

IDS = (torch.arange(26) * 7 % 90 + 3).view(2, 13)
SIZES = {
    "vocab_size": 97, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 6,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": 0, "rope_theta": 5000.0,
}  # fmt: skip


def build(name="ForCausalLM", **more):
    """A small model in which every weight does something."""
    torch.manual_seed(0)
    model = getattr(decoder, f"Decoder{name}")(DecoderConfig(**{**SIZES, **more})).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.normal_(0, 0.1 if "norm" in key else 0.3)
    return model
