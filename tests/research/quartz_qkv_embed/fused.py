"""Fused projections that read and write BERT-style checkpoints.

On disk a layer has query / key / value, in memory one matrix. The conversion sits in the module,
so that torch's load_state_dict and state_dict work in both directions.
"""
import torch
from torch import nn
import torch.nn.functional as F

_PARTS = ("query", "key", "value")


class FusedQKV(nn.Module):
    def __init__(self, hidden_size: int):
        super().__init__()
        self.hidden_size = hidden_size
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.zeros(3 * hidden_size))
        nn.init.normal_(self.weight, std=0.02)
        self._register_state_dict_hook(FusedQKV._split_on_save)

    @staticmethod
    def _split_on_save(module, state_dict, prefix, local_metadata):
        for name in ("weight", "bias"):
            fused = state_dict.pop(prefix + name, None)
            if fused is None:
                continue
            for part, piece in zip(_PARTS, fused.chunk(3, dim=0)):
                # clone: safetensors does not like views of one storage
                state_dict[f"{prefix}{part}.{name}"] = piece.clone()
        return state_dict

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        for name in ("weight", "bias"):
            keys = [f"{prefix}{part}.{name}" for part in _PARTS]
            if all(k in state_dict for k in keys):
                state_dict[prefix + name] = torch.cat([state_dict.pop(k) for k in keys], dim=0)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def forward(self, x):
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self):
        return f"hidden_size={self.hidden_size}"
