"""Ledgerform configuration"""

from transformers import PreTrainedConfig


class LedgerformConfig(PreTrainedConfig):
    """Text and boxes, without pixels. Boxes are on a grid of `max_2d_position_embeddings` cells."""

    model_type = "ledgerform"

    def __init__(
        self,
        vocab_size=50000,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        hidden_act="gelu",
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        max_position_embeddings=512,
        max_2d_position_embeddings=1024,
        coordinate_size=128,
        rel_pos_bins=32,
        max_rel_pos=128,
        rel_2d_pos_bins=64,
        max_rel_2d_pos=256,
        layer_norm_eps=1e-12,
        initializer_range=0.02,
        use_crf=False,
        classifier_dropout=None,
        pad_token_id=0,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.max_2d_position_embeddings = max_2d_position_embeddings
        self.coordinate_size = coordinate_size
        self.rel_pos_bins = rel_pos_bins
        self.max_rel_pos = max_rel_pos
        self.rel_2d_pos_bins = rel_2d_pos_bins
        self.max_rel_2d_pos = max_rel_2d_pos
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.use_crf = use_crf
        self.classifier_dropout = classifier_dropout
        self.pad_token_id = pad_token_id
        super().__init__(**kwargs)


__all__ = ["LedgerformConfig"]
