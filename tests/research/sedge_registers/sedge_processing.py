import numpy as np
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature


class SedgeImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def __init__(self, size=None, mean=0.5, std=0.25, **kwargs):
        super().__init__(**kwargs)
        self.size = size or {"height": 224, "width": 224}
        self.mean, self.std = mean, std

    def one(self, image):
        image = image.convert("RGB").resize((self.size["width"], self.size["height"]))
        return ((np.asarray(image, dtype=np.float32) / 255.0 - self.mean) / self.std).transpose(2, 0, 1)

    def preprocess(self, images, return_tensors=None, **kwargs) -> BatchFeature:
        if not isinstance(images, (list, tuple)):
            images = [images]
        return BatchFeature({"pixel_values": [self.one(i) for i in images]}, tensor_type=return_tensors)
