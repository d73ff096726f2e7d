from dataclasses import asdict, dataclass
from typing import Optional

from transformers.configuration_utils import PretrainedConfig


@dataclass
class FoldingConfig:
    bins: int = 64
    trunk_layers: int = 4
    recycles: Optional[int] = None

    def to_dict(self):
        return asdict(self)


class CobbleConfig(PretrainedConfig):
    model_type = "cobble"

    def __init__(self, vocab_size=None, mask_token_id=None, pad_token_id=None, hidden_size=768, num_hidden_layers=12,
                 num_attention_heads=12, intermediate_size=3072, hidden_dropout_prob=0.1,
                 attention_probs_dropout_prob=0.1, max_position_embeddings=1026, initializer_range=0.02,
                 layer_norm_eps=1e-12, emb_layer_norm_before=None, token_dropout=False, folding=None, **kwargs):
        super().__init__(pad_token_id=pad_token_id, mask_token_id=mask_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.emb_layer_norm_before = emb_layer_norm_before
        self.token_dropout = token_dropout
        self.folding = FoldingConfig(**folding) if isinstance(folding, dict) else folding

    def to_dict(self):
        output = super().to_dict()
        if isinstance(self.folding, FoldingConfig):
            output["folding"] = self.folding.to_dict()
        return output
