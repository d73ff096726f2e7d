from dataclasses import dataclass, field
from typing import Dict

import torch


@dataclass
class ScanState:
    """Recurrent state: the last inputs of the convolution and the state of the scan, by layer."""

    batch_size: int
    intermediate_size: int
    state_size: int
    conv_kernel: int
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    seqlen_offset: int = 0
    conv_states: Dict[int, torch.Tensor] = field(default_factory=dict)
    ssm_states: Dict[int, torch.Tensor] = field(default_factory=dict)

    @classmethod
    def for_config(cls, config, batch_size, dtype, device):
        state = cls(batch_size, config.intermediate_size, config.state_size, config.conv_kernel, dtype, device)
        for i in range(config.num_hidden_layers):
            state.conv_states[i] = torch.zeros(
                batch_size, config.intermediate_size, config.conv_kernel, device=device, dtype=dtype
            )
            state.ssm_states[i] = torch.zeros(
                batch_size, config.intermediate_size, config.state_size, device=device, dtype=dtype
            )
        return state

    def roll_conv(self, layer_idx, column):
        rolled = self.conv_states[layer_idx].roll(shifts=-1, dims=-1)
        rolled[:, :, -1] = column
        self.conv_states[layer_idx] = rolled
        return rolled

    def reorder(self, beam_idx):
        for i in self.conv_states:
            self.conv_states[i] = self.conv_states[i].index_select(0, beam_idx)
            self.ssm_states[i] = self.ssm_states[i].index_select(0, beam_idx)
        return self
