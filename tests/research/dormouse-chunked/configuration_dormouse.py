from transformers import BertConfig


class DormouseConfig(BertConfig):
    model_type = "dormouse"

    def __init__(self, chunk=128, global_tokens=1, use_transitions=True, classifier_dropout=None, **kwargs):
        super().__init__(**kwargs)
        self.chunk = chunk
        self.global_tokens = global_tokens
        self.use_transitions = use_transitions
        self.classifier_dropout = classifier_dropout
