from transformers import PretrainedConfig


class SamphireConfig(PretrainedConfig):
    model_type = "samphire"
    attribute_map = {"hidden_size": "d_model", "num_hidden_layers": "n_layer"}

    def __init__(
        self,
        vocab_size=50280,
        d_model=768,
        n_layer=24,
        state_size=64,
        head_dim=64,
        expand=2,
        conv_kernel=4,
        chunk_size=128,
        layer_norm_epsilon=1e-5,
        time_step_min=0.001,
        time_step_max=0.1,
        time_step_floor=1e-4,
        A_init_range=(1, 16),
        initializer_range=0.1,
        rescale_prenorm_residual=True,
        use_cache=True,
        tie_word_embeddings=True,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.n_layer = n_layer
        self.state_size = state_size
        self.head_dim = head_dim
        self.expand = expand
        self.conv_kernel = conv_kernel
        self.chunk_size = chunk_size
        self.layer_norm_epsilon = layer_norm_epsilon
        self.time_step_min = time_step_min
        self.time_step_max = time_step_max
        self.time_step_floor = time_step_floor
        self.A_init_range = A_init_range
        self.initializer_range = initializer_range
        self.rescale_prenorm_residual = rescale_prenorm_residual
        self.use_cache = use_cache
        assert (expand * d_model) % head_dim == 0, "expand * d_model must be a multiple of head_dim"
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    @property
    def inner_size(self):
        return self.expand * self.d_model

    @property
    def num_heads(self):
        return self.inner_size // self.head_dim

    @property
    def layers_block_type(self):
        return ["ssd"] * self.n_layer
