# coding=utf-8
"""Curlicue model configuration"""

from transformers import CONFIG_MAPPING, AutoConfig
from transformers.configuration_utils import PretrainedConfig


class CurlicueEncoderConfig(PretrainedConfig):
    model_type = "curlicue_encoder"

    def __init__(
        self,
        num_mel_bins=80,
        hidden_size=512,
        num_attention_heads=8,
        num_hidden_layers=12,
        conv_kernel=15,
        max_frames=1500,
        dropout=0.0,
        initializer_range=0.02,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_mel_bins = num_mel_bins
        self.hidden_size = hidden_size
        self.num_attention_heads = num_attention_heads
        self.num_hidden_layers = num_hidden_layers
        self.conv_kernel = conv_kernel
        self.max_frames = max_frames
        self.dropout = dropout
        self.initializer_range = initializer_range


class CurlicueConfig(PretrainedConfig):
    model_type = "curlicue_speech"
    attribute_map = {"audio_token_id": "audio_token_index"}
    sub_configs = {"text_config": AutoConfig, "audio_config": CurlicueEncoderConfig}

    def __init__(self, audio_config=None, text_config=None, audio_token_index=151646, stack=4, **kwargs):
        self.audio_token_index = audio_token_index
        self.stack = stack
        if isinstance(audio_config, dict):
            audio_config = CurlicueEncoderConfig(**audio_config)
        elif audio_config is None:
            audio_config = CurlicueEncoderConfig()
        self.audio_config = audio_config

        if isinstance(text_config, dict):
            text_config["model_type"] = text_config["model_type"] if "model_type" in text_config else "llama"
            text_config = CONFIG_MAPPING[text_config["model_type"]](**text_config)
        elif text_config is None:
            text_config = CONFIG_MAPPING["llama"]()
        self.text_config = text_config
        super().__init__(**kwargs)


__all__ = ["CurlicueConfig", "CurlicueEncoderConfig"]
