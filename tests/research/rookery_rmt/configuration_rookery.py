import copy

from transformers import AutoConfig, PretrainedConfig


class RookeryConfig(PretrainedConfig):
    model_type = "rookery_rmt"
    is_composition = True

    def __init__(self, inner=None, memory_tokens=4, segment_length=512, truncate_backprop=-1, memory_read=True, **kwargs):
        super().__init__(**kwargs)
        inner = dict(inner) if isinstance(inner, dict) else inner
        if inner is None:
            inner = {"model_type": "gpt_neox"}
        if isinstance(inner, dict):
            kind = inner.pop("model_type")
            inner = AutoConfig.for_model(kind, **inner)
        self.inner = inner
        self.memory_tokens = memory_tokens
        self.segment_length = segment_length
        self.truncate_backprop = truncate_backprop
        self.memory_read = memory_read

    @property
    def hidden_size(self):
        return self.inner.hidden_size

    @property
    def vocab_size(self):
        return self.inner.vocab_size

    def get_text_config(self, decoder=False, **kwargs):
        return self.inner

    def to_dict(self):
        output = copy.deepcopy(self.__dict__)
        output["inner"] = self.inner.to_dict()
        output["model_type"] = self.__class__.model_type
        return output
