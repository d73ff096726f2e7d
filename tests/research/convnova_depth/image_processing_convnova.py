"""Image processor for ConvNova depth."""
from typing import Dict, List, Optional, Union

import numpy as np
import torch
from transformers.image_processing_utils import BaseImageProcessor, BatchFeature
from transformers.image_utils import make_list_of_images, to_numpy_array


class ConvNovaImageProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def __init__(self, size: int = 384, multiple_of: int = 32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), **kwargs):
        super().__init__(**kwargs)
        self.size = size
        self.multiple_of = multiple_of
        self.mean = list(mean)
        self.std = list(std)

    def _target(self, h: int, w: int):
        scale = self.size / min(h, w)
        snap = lambda v: max(self.multiple_of, round(v * scale / self.multiple_of) * self.multiple_of)
        return snap(h), snap(w)

    def preprocess(self, images, return_tensors: Optional[str] = "pt", **kwargs) -> BatchFeature:
        out = []
        for im in make_list_of_images(images):
            x = torch.from_numpy(np.ascontiguousarray(to_numpy_array(im))).permute(2, 0, 1)[None].float() / 255
            x = torch.nn.functional.interpolate(x, self._target(*x.shape[-2:]), mode="bicubic", align_corners=False)
            x = (x - torch.tensor(self.mean)[:, None, None]) / torch.tensor(self.std)[:, None, None]
            out.append(x[0])
        return BatchFeature({"pixel_values": torch.stack(out)}, tensor_type=None)

    def post_process_depth_estimation(self, outputs, target_sizes=None) -> List[Dict[str, torch.Tensor]]:
        depths = outputs.predicted_depth
        sizes = target_sizes or [None] * len(depths)
        res = []
        for d, s in zip(depths, sizes):
            if s is not None:
                d = torch.nn.functional.interpolate(d[None, None], tuple(s), mode="bicubic", align_corners=False)[0, 0]
            res.append({"predicted_depth": d})
        return res
