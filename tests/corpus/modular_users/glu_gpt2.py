"""GPT-2 with a gated feed-forward part; a name in capitals with a digit at its end."""

from torch import nn
from transformers import GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP, GPT2LMHeadModel, GPT2Model
from transformers.pytorch_utils import Conv1D


class GluGPT2Config(GPT2Config):
    model_type = "glu_gpt2"


class GluGPT2MLP(GPT2MLP):
    def __init__(self, intermediate_size, config):
        super().__init__(intermediate_size, config)
        self.c_gate = Conv1D(intermediate_size, config.hidden_size)

    def forward(self, hidden_states):
        gate = nn.functional.silu(self.c_gate(hidden_states))
        hidden_states = self.c_proj(gate * self.act(self.c_fc(hidden_states)))
        return self.dropout(hidden_states)


class GluGPT2Model(GPT2Model):
    pass


class GluGPT2LMHeadModel(GPT2LMHeadModel):
    pass
