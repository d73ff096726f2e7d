"""MISTWALK configuration"""
import math

from transformers import PretrainedConfig


class MistwalkConfig(PretrainedConfig):
    model_type = "mistwalk"
    attribute_map = {"hidden_size": "d_model", "num_hidden_layers": "n_layer", "tie_word_embeddings": "tie_embeddings"}

    def __init__(
        self,
        vocab_size=50280,
        d_model=768,
        n_layer=24,
        d_state=16,
        d_conv=4,
        expand=2,
        dt_rank="auto",
        dt_min=1e-3,
        dt_max=1e-1,
        dt_init_floor=1e-4,
        rms_norm=True,
        layer_norm_epsilon=1e-5,
        residual_in_fp32=True,
        initializer_range=0.1,
        rescale_prenorm_residual=False,
        pad_vocab_size_multiple=8,
        tie_embeddings=True,
        use_cache=True,
        **kwargs,
    ):
        if vocab_size % pad_vocab_size_multiple:
            vocab_size += pad_vocab_size_multiple - vocab_size % pad_vocab_size_multiple
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.n_layer = n_layer
        self.d_state = d_state
        self.d_conv = d_conv
        self.expand = expand
        self.d_inner = expand * d_model
        self.dt_rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank
        self.dt_min, self.dt_max, self.dt_init_floor = dt_min, dt_max, dt_init_floor
        self.rms_norm = rms_norm
        self.layer_norm_epsilon = layer_norm_epsilon
        self.residual_in_fp32 = residual_in_fp32
        self.initializer_range = initializer_range
        self.rescale_prenorm_residual = rescale_prenorm_residual
        self.pad_vocab_size_multiple = pad_vocab_size_multiple
        self.use_cache = use_cache
        kwargs.setdefault("tie_word_embeddings", tie_embeddings)
        super().__init__(**kwargs)
