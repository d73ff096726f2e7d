"""Config of the re-ranker."""
from transformers.configuration_utils import PretrainedConfig


class RankFoldConfig(PretrainedConfig):
    model_type = "rankfold"
    attribute_map = {
        "hidden_size": "d_model",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    def __init__(self, vocab_size=32000, d_model=1024, n_layer=24, n_head=16, d_inner=4096, ff_activation="gelu",
                 initializer_range=0.02, layer_norm_eps=1e-12, dropout=0.1, clamp_len=-1, summary_type="last",
                 summary_use_proj=True, summary_activation="tanh", summary_last_dropout=0.1, num_labels=1,
                 pad_token_id=5, bos_token_id=1, eos_token_id=2, score_scale=1.0, **kwargs):
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.n_layer = n_layer
        self.n_head = n_head
        if d_model % n_head != 0:
            raise ValueError(f"'d_model % n_head' ({d_model % n_head}) should be equal to 0")
        self.d_head = d_model // n_head
        self.d_inner = d_inner
        self.ff_activation = ff_activation
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.dropout = dropout
        self.clamp_len = clamp_len
        self.summary_type = summary_type
        self.summary_use_proj = summary_use_proj
        self.summary_activation = summary_activation
        self.summary_last_dropout = summary_last_dropout
        self.score_scale = score_scale
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id, num_labels=num_labels, **kwargs)

    @property
    def max_position_embeddings(self):
        return -1

    @max_position_embeddings.setter
    def max_position_embeddings(self, value):
        raise NotImplementedError(f"The model {self.model_type} is one of the few that has no sequence length limit.")
