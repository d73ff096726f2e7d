import math
from functools import partial
from typing import Optional

import torch
import torch.nn.utils.parametrize as parametrize
from torch import nn
from torch.nn import Parameter


def initialized_weights(shape, num_adaptations, init="kaiming"):
    weight_data = []
    for _ in range(num_adaptations):
        new_adaption = torch.zeros(shape)
        if init == "kaiming":
            nn.init.kaiming_uniform_(new_adaption, a=math.sqrt(5))
        weight_data.append(new_adaption)
    return torch.stack(weight_data, dim=0)


class LoRAParametrization(nn.Module):
    """W + (B_t A_t) * alpha / r for the current task t.  Adapted from a minimal LoRA implementation."""

    def __init__(self, fan_in: int, fan_out: int, layer_type="linear", num_adaptations: int = 1, rank: int = 4,
                 dropout_p: float = 0.0, alpha: float = 1):
        super().__init__()
        # if weight is stored as (fan_out, fan_in), the memory layout of A & B follows (W + BA)x
        self.swap = (lambda x: x) if layer_type == "linear" else (lambda x: (x[1], x[0]))
        self.lora_A = nn.Parameter(initialized_weights(self.swap((rank, fan_in)), num_adaptations))
        self.lora_B = nn.Parameter(torch.zeros((num_adaptations,) + tuple(self.swap((fan_out, rank)))))
        self.lora_alpha, self.rank = alpha, rank
        self.scaling = alpha / rank
        self.current_task = None

    def forward(self, X):
        t = self.current_task
        if t is None:
            return X
        A, B = self.lora_A[t], self.lora_B[t]
        delta = torch.matmul(*self.swap((B, A))).view(X.shape) * self.scaling
        return X + delta

    @classmethod
    def from_linear(cls, layer, num_adaptations, rank, dropout_p, alpha):
        fan_out, fan_in = layer.weight.shape
        return cls(fan_in, fan_out, layer_type="linear", num_adaptations=num_adaptations, rank=rank,
                   dropout_p=dropout_p, alpha=alpha)

    @classmethod
    def from_embedding(cls, layer, num_adaptations, rank, dropout_p, alpha):
        fan_in, fan_out = layer.weight.shape
        return cls(fan_in, fan_out, layer_type="embedding", num_adaptations=num_adaptations, rank=rank,
                   dropout_p=dropout_p, alpha=alpha)

    @classmethod
    def add_to_layer(cls, layer, num_adaptations=1, rank=4, dropout_p=0.0, alpha=1):
        if isinstance(layer, nn.Linear):
            parametrize.register_parametrization(
                layer, "weight", cls.from_linear(layer, num_adaptations, rank, dropout_p, alpha))
        elif isinstance(layer, nn.Embedding):
            parametrize.register_parametrization(
                layer, "weight", cls.from_embedding(layer, num_adaptations, rank, dropout_p, alpha))

    @classmethod
    def select_task_for_layer(cls, layer: nn.Module, task_idx: Optional[int] = None):
        if isinstance(layer, LoRAParametrization):
            layer.current_task = task_idx
