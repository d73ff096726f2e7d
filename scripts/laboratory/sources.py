"""The two folders that the laboratory's cases are made from; both load, compute, write and save in every release."""

CONFIGURATION = "configuration_lab.py"
MODELING = "modeling_lab.py"

_CONFIGURATION = """from transformers import PretrainedConfig


class LabConfig(PretrainedConfig):
    model_type = "lab-bench"

    def __init__(
        self,
        vocab_size=24,
        hidden_size=8,
        num_hidden_layers=1,
        use_cache=USE_CACHE,
        tie_word_embeddings=False,
        **kwargs,
    ):
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.use_cache = use_cache


LabConfig.register_for_auto_class()
"""

_PLAIN_LAYER = """class Mix(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.inner = nn.Linear(size, size)

    def forward(self, x):
        steps = torch.arange(1, x.shape[1] + 1)[None, :, None]
        return x + torch.tanh(self.inner(x.cumsum(1) / steps))
"""

_CACHED_LAYER = """class Mix(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.inner = nn.Linear(size, 3 * size)

    def forward(self, x, cache=None):
        query, key, value = self.inner(x)[:, None].chunk(3, -1)
        if cache is not None:
            key, value = cache.update(key, value, 0)
        seen = key.shape[2] - query.shape[2]
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(seen)
        return x + F.scaled_dot_product_attention(query, key, value, attn_mask=mask)[:, 0]
"""

_TOP = """import torch
from torch import nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_lab import LabConfig


"""

_BASE = """

class LabPreTrainedModel(PreTrainedModel):
    config_class = LabConfig
    base_model_prefix = "model"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.5)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class LabForCausalLM(LabPreTrainedModel, GenerationMixin):
    _supports_cache_class = True

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.mix = Mix(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def set_input_embeddings(self, new):
        self.embed = new

"""

_PLAIN_FORWARD = """    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        return CausalLMOutputWithPast(logits=self.head(self.mix(self.embed(input_ids))))
"""

_CACHED_FORWARD = """    def forward(
        self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **kwargs
    ):
        cache = past_key_values if cache is None else cache
        if use_cache and cache is None:
            cache = DynamicCache()
        logits = self.head(self.mix(self.embed(input_ids), cache))
        return CausalLMOutputWithPast(logits=logits, past_key_values=cache)
"""

_END = """

LabForCausalLM.register_for_auto_class("AutoModelForCausalLM")
"""

PLAIN = {
    CONFIGURATION: _CONFIGURATION.replace("USE_CACHE", "False"),
    MODELING: _TOP + _PLAIN_LAYER + _BASE + _PLAIN_FORWARD + _END,
}
CACHED = {
    CONFIGURATION: _CONFIGURATION.replace("USE_CACHE", "True"),
    MODELING: _TOP + _CACHED_LAYER + _BASE + _CACHED_FORWARD + _END,
}
SETTINGS = {
    "model_type": "lab-bench",
    "architectures": ["LabForCausalLM"],
    "auto_map": {"AutoConfig": "configuration_lab.LabConfig", "AutoModelForCausalLM": "modeling_lab.LabForCausalLM"},
    "vocab_size": 24,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
}
