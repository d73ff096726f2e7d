"""Foxglove: Llama with a small learned memory."""
from dataclasses import asdict, dataclass
from typing import Optional, Union

from transformers import LlamaConfig


@dataclass
class MemorySettings:
    slots: int = 64
    width: int = 512
    every: int = 4
    gate_init: float = 0.0

    def layers(self, total: int):
        return [i for i in range(total) if (i + 1) % self.every == 0]


class FoxgloveConfig(LlamaConfig):
    model_type = "foxglove_memory"

    def __init__(self, memory: Optional[Union[dict, MemorySettings]] = None, memory_lr_scale: float = 10.0, **kwargs):
        super().__init__(**kwargs)
        if isinstance(memory, MemorySettings):
            memory = asdict(memory)
        self.memory = memory or {}
        self.memory_lr_scale = memory_lr_scale

    @property
    def memory_settings(self) -> MemorySettings:
        return MemorySettings(**self.memory)

    @property
    def memory_layers(self):
        return self.memory_settings.layers(self.num_hidden_layers)
