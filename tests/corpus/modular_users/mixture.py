"""Parts of several architectures under one prefix."""

from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from transformers.models.phi3.modeling_phi3 import Phi3MLP
from transformers.models.qwen2.modeling_qwen2 import Qwen2Attention


class MixtureConfig(LlamaConfig):
    model_type = "mixture"
    layer_types: list[str] | None = None
    sliding_window: int | None = None

    def __post_init__(self, **kwargs):
        if self.layer_types is None:
            self.layer_types = ["full_attention"] * self.num_hidden_layers
        super().__post_init__(**kwargs)


class MixtureRMSNorm(GemmaRMSNorm):
    pass


class MixtureMLP(Phi3MLP):
    pass


class MixtureAttention(Qwen2Attention):
    pass


class MixtureForCausalLM(LlamaForCausalLM):
    pass
