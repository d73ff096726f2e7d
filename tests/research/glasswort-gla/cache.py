from typing import Any, Dict, List, Optional, Tuple

import torch
import transformers


class StateCache(transformers.cache_utils.Cache):
    """holds the recurrent / conv states of every layer in a list of dicts"""

    def __init__(self, seen_tokens: int = 0) -> None:
        try:
            super().__init__()
        except (TypeError, ValueError):
            # since 4.54 the base class wants its own layer objects
            pass
        self.states: List[Dict[str, Any]] = []
        self._seen_tokens = seen_tokens

    def __getitem__(self, layer_idx: int) -> Dict[str, Any]:
        if layer_idx < len(self):
            return self.states[layer_idx]
        raise KeyError(f"Cache only has {len(self)} layers, attempted to access layer with index {layer_idx}")

    def __iter__(self):
        for state in self.states:
            yield state

    def __len__(self):
        return len(self.states)

    def update(self, recurrent_state=None, conv_state=None, layer_idx: int = 0, offset: Optional[int] = 1,
               cache_kwargs: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
        if layer_idx == 0:
            self._seen_tokens += offset
        if len(self.states) <= layer_idx:
            self.states.append(dict(recurrent_state=recurrent_state, conv_state=conv_state))
        else:
            state = self.states[layer_idx]
            if recurrent_state is not None:
                state["recurrent_state"] = recurrent_state
            if conv_state is not None:
                state["conv_state"] = conv_state
        return self.states[layer_idx]

    def get_seq_length(self, layer_idx: Optional[int] = 0) -> int:
        if len(self.states) <= layer_idx:
            return 0
        return self._seen_tokens

    def get_max_length(self) -> Optional[int]:
        return None

    def get_max_cache_shape(self) -> Optional[int]:
        return None

    def to_legacy_cache(self) -> Tuple:
        return tuple(self.states)

    @classmethod
    @torch.compiler.disable
    def from_legacy_cache(cls, past_key_values: Optional[Tuple] = None, seen_tokens: int = 0) -> "StateCache":
        cache = cls(seen_tokens)
        if isinstance(past_key_values, (list, tuple)):
            for layer_idx in range(len(past_key_values)):
                cache.states.append(past_key_values[layer_idx])
        return cache
