"""A head of its own that holds two copies of the parent's model, and calls super().__init__ of its base class."""

from torch import nn
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertModel, BertPooler, BertPreTrainedModel


class TwinConfig(BertConfig):
    model_type = "twin"


class TwinPooler(BertPooler):
    def forward(self, hidden_states):
        return super().forward(hidden_states.flip(1))


class TwinPreTrainedModel(BertPreTrainedModel):
    pass


class TwinModel(BertModel):
    pass


class TwinForScoring(TwinPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.left = TwinModel(config)
        self.right = TwinModel(config, add_pooling_layer=True)
        self.score = nn.Bilinear(config.hidden_size, config.hidden_size, 1)
        self.post_init()

    def forward(self, input_ids, **kwargs):
        return (self.score(self.left(input_ids).pooler_output, self.right(input_ids).pooler_output),)
