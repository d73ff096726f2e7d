"""Cache that forgets the middle of the text."""
from typing import Any, Dict, List, Optional, Tuple

import torch
from transformers.cache_utils import DynamicCache


class SinkWindowCache(DynamicCache):
    """Keeps the first `sinks` keys and the last `window` ones. Keys are stored as rotated."""

    def __init__(self, sinks: int, window: int) -> None:
        super().__init__()
        self.sinks = sinks
        self.window = window
        self._seen_tokens = 0
        self.positions: List[torch.Tensor] = []

    def get_seq_length(self, layer_idx: Optional[int] = 0) -> int:
        return self._seen_tokens

    def get_max_cache_shape(self) -> Optional[int]:
        return None

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        cache_kwargs: Optional[Dict[str, Any]] = None,
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        where = cache_kwargs["cache_position"]
        if layer_idx == 0:
            self._seen_tokens += key_states.shape[-2]
        if len(self.key_cache) <= layer_idx:
            self.key_cache.append(key_states)
            self.value_cache.append(value_states)
            self.positions.append(where)
        else:
            self.key_cache[layer_idx] = torch.cat([self.key_cache[layer_idx], key_states], dim=-2)
            self.value_cache[layer_idx] = torch.cat([self.value_cache[layer_idx], value_states], dim=-2)
            self.positions[layer_idx] = torch.cat([self.positions[layer_idx], where])
        keys, values = self.key_cache[layer_idx], self.value_cache[layer_idx]
        self.evict(layer_idx)
        return keys, values

    def evict(self, layer_idx):
        keys = self.key_cache[layer_idx]
        if keys.shape[-2] <= self.sinks + self.window:
            return
        for store in (self.key_cache, self.value_cache):
            t = store[layer_idx]
            store[layer_idx] = torch.cat([t[..., : self.sinks, :], t[..., -self.window:, :]], dim=-2)
        p = self.positions[layer_idx]
        self.positions[layer_idx] = torch.cat([p[: self.sinks], p[-self.window:]])

    def held(self, layer_idx: int) -> int:
        return self.key_cache[layer_idx].shape[-2] if layer_idx < len(self.key_cache) else 0

    def reorder_cache(self, beam_idx: torch.LongTensor):
        for i in range(len(self.key_cache)):
            self.key_cache[i] = self.key_cache[i].index_select(0, beam_idx)
            self.value_cache[i] = self.value_cache[i].index_select(0, beam_idx)
