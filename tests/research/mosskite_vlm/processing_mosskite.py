"""Text and image together. The tokenizer is any fast tokenizer with an <image> token."""
from typing import List, Optional, Union

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin


class MossKiteProcessor(ProcessorMixin):
    attributes = ["image_processor", "tokenizer"]
    image_processor_class = "AutoImageProcessor"
    tokenizer_class = "AutoTokenizer"

    def __init__(self, image_processor=None, tokenizer=None, image_token="<image>", **kwargs):
        self.image_token = image_token
        super().__init__(image_processor, tokenizer)

    def __call__(self, text: Union[str, List[str]] = None, images=None, return_tensors="pt", **kwargs) -> BatchFeature:
        if isinstance(text, str):
            text = [text]
        data = {}
        if images is not None:
            text = [t if self.image_token in t else self.image_token + t for t in text]
            data.update(self.image_processor(images, return_tensors=return_tensors))
        data.update(self.tokenizer(text, return_tensors=return_tensors, **kwargs))
        return BatchFeature(data=data)

    def batch_decode(self, *args, **kwargs):
        return self.tokenizer.batch_decode(*args, **kwargs)

    def decode(self, *args, **kwargs):
        return self.tokenizer.decode(*args, **kwargs)

    @property
    def model_input_names(self):
        return list(dict.fromkeys(self.tokenizer.model_input_names + self.image_processor.model_input_names))


def letterbox(image: np.ndarray, side: int, fill: int = 127) -> np.ndarray:
    h, w = image.shape[:2]
    s = side / max(h, w)
    nh, nw = max(1, round(h * s)), max(1, round(w * s))
    ys = np.clip((np.arange(nh) / s).astype(int), 0, h - 1)
    xs = np.clip((np.arange(nw) / s).astype(int), 0, w - 1)
    out = np.full((side, side, 3), fill, dtype=image.dtype)
    top, left = (side - nh) // 2, (side - nw) // 2
    out[top : top + nh, left : left + nw] = image[ys][:, xs]
    return out
