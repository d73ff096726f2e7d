from typing import Dict, Optional
from transformers.configuration_utils import PretrainedConfig


class GlasswortConfig(PretrainedConfig):
    model_type = "glasswort"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, hidden_size: int = 2048, expand_k: float = 0.5, expand_v: float = 1.0,
                 hidden_ratio: Optional[int] = 4, intermediate_size: Optional[int] = None,
                 num_hidden_layers: int = 24, num_heads: int = 4, use_short_conv: bool = False, conv_size: int = 4,
                 use_output_gate: bool = True, clamp_min: Optional[float] = None, gate_logit_normalizer: int = 16,
                 gate_low_rank_dim: int = 16, chunk_size: int = 64, delta_rule: bool = False, hidden_act: str = "swish",
                 max_position_embeddings: int = 2048, norm_eps: float = 1e-6, use_cache: bool = True,
                 pad_token_id: Optional[int] = None, bos_token_id: int = 1, eos_token_id: int = 2,
                 tie_word_embeddings: bool = False, initializer_range: float = 0.006, fuse_norm: bool = True,
                 fuse_cross_entropy: bool = True, vocab_size: int = 32000, attn: Optional[Dict] = None, **kwargs):
        self.hidden_size = hidden_size
        self.expand_k = expand_k
        self.expand_v = expand_v
        self.hidden_ratio = hidden_ratio
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_heads = num_heads
        self.use_short_conv = use_short_conv
        self.conv_size = conv_size
        self.use_output_gate = use_output_gate
        self.clamp_min = clamp_min
        self.gate_logit_normalizer = gate_logit_normalizer
        self.gate_low_rank_dim = gate_low_rank_dim
        self.chunk_size = chunk_size
        self.delta_rule = delta_rule
        self.hidden_act = hidden_act
        self.max_position_embeddings = max_position_embeddings
        self.norm_eps = norm_eps
        self.use_cache = use_cache
        self.initializer_range = initializer_range
        self.fuse_norm = fuse_norm
        self.fuse_cross_entropy = fuse_cross_entropy
        self.vocab_size = vocab_size
        self.attn = attn
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
                         tie_word_embeddings=tie_word_embeddings, **kwargs)
