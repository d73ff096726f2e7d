"""config, no assumptions about anything"""
from math import sqrt
from transformers import PretrainedConfig


class LoopwrenConfig(PretrainedConfig):
    model_type = "loopwren"
    keys_to_ignore_at_inference = [""]
    attribute_map = {"num_attention_heads": "n_heads", "hidden_size": "n_embd", "num_hidden_layers": "n_layers"}

    def __init__(self, n_embd: int = 5280, n_heads: int = 55, n_layers: int = 8, block_size: int = 4096,
                 vocab_size: int = 65536, padding_multiple: int = 4096, padded_vocab_size: int = 65536,
                 tie_embeddings: bool = True, intermediate_size: int = 17920, bias: bool = False,
                 norm_eps: float = 0.000001, rope_base: int = 50000, qk_bias: bool = True, nonlin_name: str = "SiLU",
                 n_layers_in_recurrent_block: int = 4, mean_recurrence: int = 32, sampling_scheme="poisson",
                 n_layers_in_prelude: int = 2, n_layers_in_coda: int = 2, state_init: str = "like-init",
                 injection_type: str = "linear", init_std=None, **kwargs):
        self.n_embd = n_embd
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.block_size = block_size
        self.vocab_size = self.unpadded_vocab_size = vocab_size
        self.padding_multiple = padding_multiple
        self.padded_vocab_size = padded_vocab_size
        self.tie_embeddings = tie_embeddings
        self.intermediate_size = intermediate_size
        self.bias = bias
        self.norm_eps = norm_eps
        self.rope_base = rope_base
        self.qk_bias = qk_bias
        self.nonlin_name = nonlin_name
        self.n_layers_in_recurrent_block = n_layers_in_recurrent_block
        self.mean_recurrence = mean_recurrence
        self.sampling_scheme = sampling_scheme
        self.n_layers_in_prelude = n_layers_in_prelude
        self.n_layers_in_coda = n_layers_in_coda
        self.state_init = state_init
        self.injection_type = injection_type
        self.effective_expected_depth = n_layers_in_prelude + n_layers_in_coda + n_layers_in_recurrent_block * mean_recurrence
        self.init_values = {"std": init_std or sqrt(2 / (5 * n_embd)), "embed_scale": sqrt(n_embd)}
        super().__init__(**kwargs)
