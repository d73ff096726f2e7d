from transformers.models.bert.configuration_bert import BertConfig


class BrionyConfig(BertConfig):
    r"""
    Args:
        max_segment_distance (`int`): tokens farther from the segment's border share an embedding.
        pooling (`str`): names of poolers joined by `+`: mean, first, max.
        temperature (`float`): scores are divided by it in training.
    """
    model_type = "briony"

    def __init__(self, max_segment_distance=16, pooling="mean", temperature=0.05, score_dropout=None, **kwargs):
        super().__init__(**kwargs)
        self.max_segment_distance = max_segment_distance
        self.pooling = pooling
        self.temperature = temperature
        self.score_dropout = score_dropout if score_dropout is not None else self.hidden_dropout_prob

    @property
    def poolers(self):
        return self.pooling.split("+")
