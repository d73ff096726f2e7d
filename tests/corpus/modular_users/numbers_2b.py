"""A name with a digit, from a parent with a digit in its name."""

from transformers.models.gemma2.configuration_gemma2 import Gemma2Config
from transformers.models.gemma2.modeling_gemma2 import Gemma2ForCausalLM, Gemma2MLP, Gemma2RMSNorm


class Numbers2bConfig(Gemma2Config):
    model_type = "numbers_2b"


class Numbers2bRMSNorm(Gemma2RMSNorm):
    pass


class Numbers2bMLP(Gemma2MLP):
    def forward(self, x):
        gemma2 = super().forward(x)
        return gemma2 - x


class Numbers2bForCausalLM(Gemma2ForCausalLM):
    pass
