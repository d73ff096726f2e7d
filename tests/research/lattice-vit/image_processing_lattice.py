"""Image processor: resize the short side, crop the middle, normalise."""
from typing import Dict, List, Optional, Union

import numpy as np
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature, get_size_dict
from transformers.image_transforms import center_crop, get_resize_output_image_size, resize, to_channel_dimension_format
from transformers.image_utils import (
    ChannelDimension,
    ImageInput,
    PILImageResampling,
    infer_channel_dimension_format,
    make_list_of_images,
    to_numpy_array,
    valid_images,
)


class LatticeImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def __init__(
        self,
        size: Optional[Dict[str, int]] = None,
        crop_size: Optional[Dict[str, int]] = None,
        image_mean: Optional[List[float]] = None,
        image_std: Optional[List[float]] = None,
        do_rescale: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.size = get_size_dict(size or {"shortest_edge": 256}, default_to_square=False)
        self.crop_size = get_size_dict(crop_size or {"height": 224, "width": 224})
        self.image_mean = image_mean or [0.485, 0.456, 0.406]
        self.image_std = image_std or [0.229, 0.224, 0.225]
        self.do_rescale = do_rescale

    def preprocess(self, images: ImageInput, return_tensors=None, **kwargs) -> BatchFeature:
        images = make_list_of_images(images)
        if not valid_images(images):
            raise ValueError("Invalid image type.")
        out = []
        for image in images:
            image = to_numpy_array(image)
            form = infer_channel_dimension_format(image)
            target = get_resize_output_image_size(
                image, self.size["shortest_edge"], default_to_square=False, input_data_format=form
            )
            image = resize(image, target, resample=PILImageResampling.BICUBIC, input_data_format=form)
            image = center_crop(
                image, (self.crop_size["height"], self.crop_size["width"]), input_data_format=form
            )
            if self.do_rescale:
                image = image * (1 / 255.0)
            image = self.normalize(image, self.image_mean, self.image_std, input_data_format=form)
            out.append(to_channel_dimension_format(image, ChannelDimension.FIRST, form).astype(np.float32))
        return BatchFeature(data={"pixel_values": out}, tensor_type=return_tensors)
