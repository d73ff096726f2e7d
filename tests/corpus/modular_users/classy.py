"""super() in a property, a class method and a static one, and a property in place of an attribute."""

from transformers import DPRConfig
from transformers.models.dpr.modeling_dpr import DPREncoder, DPRQuestionEncoder


class ClassyConfig(DPRConfig):
    model_type = "classy"


class ClassyEncoder(DPREncoder):
    @property
    def embeddings_size(self) -> int:
        return super().embeddings_size + 0

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        cls.loaded = True
        return super().from_pretrained(*args, **kwargs)

    @staticmethod
    def twice(x):
        return 2 * x


class ClassyQuestionEncoder(DPRQuestionEncoder):
    pass
