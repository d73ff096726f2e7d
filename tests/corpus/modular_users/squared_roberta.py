"""RoBERTa with squared activations; the parent's names come from transformers itself."""

from transformers import RobertaConfig, RobertaForMaskedLM, RobertaModel
from transformers.models.roberta.modeling_roberta import RobertaIntermediate


class SquaredRobertaConfig(RobertaConfig):
    pass


class SquaredRobertaIntermediate(RobertaIntermediate):
    def forward(self, hidden_states):
        hidden_states = super().forward(hidden_states)
        return hidden_states * hidden_states.relu()


class SquaredRobertaModel(RobertaModel):
    pass


class SquaredRobertaForMaskedLM(RobertaForMaskedLM):
    pass
