"""Waves are cut and padded here; spectra are the model's own matter."""
from typing import List, Optional, Union

import numpy as np
from transformers.feature_extraction_sequence_utils import SequenceFeatureExtractor
from transformers.feature_extraction_utils import BatchFeature


class KittiwakeFeatureExtractor(SequenceFeatureExtractor):
    model_input_names = ["input_values", "attention_mask"]

    def __init__(self, feature_size=1, sampling_rate=32000, padding_value=0.0, seconds=5.0, do_normalize=True, **kwargs):
        super().__init__(
            feature_size=feature_size, sampling_rate=sampling_rate, padding_value=padding_value, **kwargs
        )
        self.seconds = seconds
        self.do_normalize = do_normalize

    def _level(self, wave: np.ndarray) -> np.ndarray:
        peak = np.abs(wave).max()
        return wave / peak * 0.9 if peak > 0 else wave

    def __call__(
        self,
        raw_speech: Union[np.ndarray, List[np.ndarray]],
        sampling_rate: Optional[int] = None,
        return_tensors: Optional[str] = None,
        **kwargs,
    ) -> BatchFeature:
        if sampling_rate is not None and sampling_rate != self.sampling_rate:
            raise ValueError(f"Resample to {self.sampling_rate} first; this is {sampling_rate}.")
        waves = raw_speech if isinstance(raw_speech, (list, tuple)) else [raw_speech]
        waves = [np.asarray(w, dtype=np.float32).reshape(-1) for w in waves]
        if self.do_normalize:
            waves = [self._level(w) for w in waves]
        limit = int(self.seconds * self.sampling_rate)
        batch = BatchFeature({"input_values": [w[:limit] for w in waves]})
        padded = self.pad(batch, padding="max_length", max_length=limit, return_attention_mask=True)
        return padded.convert_to_tensors(return_tensors)
