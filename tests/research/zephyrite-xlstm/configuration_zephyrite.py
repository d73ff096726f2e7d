from __future__ import annotations

from typing import Optional, Sequence
from transformers.configuration_utils import PretrainedConfig


def round_up(x: float, m: int) -> int:
    return int(((int(x) + m - 1) // m) * m)


class ZephyriteConfig(PretrainedConfig):
    model_type = "zephyrite"

    def __init__(self, vocab_size: int = 50304, embedding_dim: int = 4096, num_heads: int = 8, num_blocks: int = 32,
                 slstm_at: Sequence[int] = (), qk_dim_factor: float = 0.5, v_dim_factor: float = 1.0,
                 ffn_proj_factor: float = 2.667, ffn_round_up_to_multiple_of: int = 8, norm_eps: float = 1e-6,
                 gate_soft_cap: float = 15.0, output_logit_soft_cap: float = 30.0, return_last_states: bool = True,
                 initializer_range: float = 0.02, use_cache: bool = True, pad_token_id: int = 1, bos_token_id: int = 0,
                 eos_token_id: int = 2, tie_word_embeddings: bool = False, **kwargs):
        self.vocab_size = vocab_size
        self.embedding_dim = embedding_dim
        self.num_heads = num_heads
        self.num_blocks = num_blocks
        self.slstm_at = list(slstm_at)
        self.qk_dim_factor = qk_dim_factor
        self.v_dim_factor = v_dim_factor
        self.ffn_proj_factor = ffn_proj_factor
        self.ffn_round_up_to_multiple_of = ffn_round_up_to_multiple_of
        self.norm_eps = norm_eps
        self.gate_soft_cap = gate_soft_cap
        self.output_logit_soft_cap = output_logit_soft_cap
        self.return_last_states = return_last_states
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
                         tie_word_embeddings=tie_word_embeddings, **kwargs)

    @property
    def hidden_size(self):
        return self.embedding_dim

    @property
    def num_hidden_layers(self):
        return self.num_blocks

    @property
    def qk_dim(self):
        return round_up(self.embedding_dim * self.qk_dim_factor, self.num_heads)

    @property
    def ffn_dim(self):
        return round_up(self.embedding_dim * self.ffn_proj_factor, self.ffn_round_up_to_multiple_of)
