"""Processor of Curlicue: text with <|audio|> and waves to tokens and features."""
import math
from typing import List, Optional, Union

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin


class CurlicueProcessor(ProcessorMixin):
    attributes = ["feature_extractor", "tokenizer"]
    valid_kwargs = ["chat_template", "audio_token"]
    feature_extractor_class = "WhisperFeatureExtractor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, feature_extractor=None, tokenizer=None, chat_template=None, audio_token="<|audio|>", stack=4):
        self.audio_token = audio_token
        self.stack = stack
        super().__init__(feature_extractor, tokenizer, chat_template=chat_template)

    def _frames(self, samples: int) -> int:
        mel = math.ceil(samples / self.feature_extractor.hop_length)
        return (mel + 1) // 2 // self.stack

    def __call__(self, text=None, audios: Optional[Union[np.ndarray, List[np.ndarray]]] = None, sampling_rate=16000, **kw):
        texts = [text] if isinstance(text, str) else list(text)
        data = {}
        if audios is not None:
            audios = audios if isinstance(audios, list) else [audios]
            features = self.feature_extractor(
                audios, sampling_rate=sampling_rate, return_attention_mask=True, padding="longest", return_tensors="pt"
            )
            data["input_features"] = features["input_features"]
            data["feature_attention_mask"] = features["attention_mask"]
            counts = iter([self._frames(len(a)) for a in audios])
            expanded = []
            for sample in texts:
                parts = sample.split(self.audio_token)
                whole = parts[0]
                for part in parts[1:]:
                    whole += self.audio_token * next(counts) + part
                expanded.append(whole)
            texts = expanded
        data.update(self.tokenizer(texts, return_tensors="pt", padding=True, **kw))
        return BatchFeature(data=data)

    @property
    def model_input_names(self):
        return ["input_ids", "attention_mask", "input_features", "feature_attention_mask"]
