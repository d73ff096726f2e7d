"""CLIP: a parent whose name is in capitals, and is also what tensors are told to do."""

import torch
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPMLP, CLIPModel


class SharpCLIPTextConfig(CLIPTextConfig):
    model_type = "sharpclip_text"


class SharpCLIPVisionConfig(CLIPVisionConfig):
    model_type = "sharpclip_vision"


class SharpCLIPConfig(CLIPConfig):
    model_type = "sharpclip"


class SharpCLIPMLP(CLIPMLP):
    def forward(self, hidden_states):
        return torch.clip(super().forward(hidden_states), -0.1, 0.1).clip(max=0.05)


class SharpCLIPModel(CLIPModel):
    pass
