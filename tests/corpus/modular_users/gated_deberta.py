"""DeBERTa with a gate on the output of the feed-forward part."""

import torch
from torch import nn
from transformers.models.deberta.configuration_deberta import DebertaConfig
from transformers.models.deberta.modeling_deberta import DebertaForMaskedLM, DebertaModel, DebertaOutput


class GatedDebertaConfig(DebertaConfig):
    model_type = "gated_deberta"


class GatedDebertaGate(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.proj = nn.Linear(size, size)

    def forward(self, x):
        return x * torch.sigmoid(self.proj(x))


class GatedDebertaOutput(DebertaOutput):
    def __init__(self, config):
        super().__init__(config)
        self.gate = GatedDebertaGate(config.hidden_size)

    def forward(self, hidden_states, input_tensor):
        hidden_states = self.gate(self.dropout(self.dense(hidden_states)))
        return self.LayerNorm(hidden_states + input_tensor)


class GatedDebertaModel(DebertaModel):
    pass


class GatedDebertaForMaskedLM(DebertaForMaskedLM):
    pass
