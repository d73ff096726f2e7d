"""Preallocated cache, grows by doubling. Has nothing to do with the caches of the library."""
from typing import List, Optional, Tuple

import torch


class KVCache:
    def __init__(self, n_layers: int, start: int = 16):
        self.n_layers = n_layers
        self.start = start
        self.keys: List[Optional[torch.Tensor]] = [None] * n_layers
        self.values: List[Optional[torch.Tensor]] = [None] * n_layers
        self.lengths = [0] * n_layers

    def __len__(self) -> int:
        return self.lengths[0]

    def _room(self, i: int, like: torch.Tensor, need: int):
        if self.keys[i] is None:
            size = max(self.start, need)
            shape = (like.shape[0], like.shape[1], size, like.shape[3])
            self.keys[i], self.values[i] = like.new_zeros(shape), like.new_zeros(shape)
        while self.keys[i].shape[2] < need:
            self.keys[i] = torch.cat([self.keys[i], torch.zeros_like(self.keys[i])], 2)
            self.values[i] = torch.cat([self.values[i], torch.zeros_like(self.values[i])], 2)

    def append(self, i: int, k: torch.Tensor, v: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        at = self.lengths[i]
        end = at + k.shape[2]
        self._room(i, k, end)
        self.keys[i][:, :, at:end] = k
        self.values[i][:, :, at:end] = v
        self.lengths[i] = end
        return self.keys[i][:, :, :end], self.values[i][:, :, :end]

    def reorder(self, idx: torch.Tensor):
        self.keys = [k.index_select(0, idx) for k in self.keys]
        self.values = [v.index_select(0, idx) for v in self.values]
