import math
from transformers import PretrainedConfig


class DuskwaveConfig(PretrainedConfig):
    model_type = "duskwave"
    attribute_map = {"hidden_size": "d_model", "num_hidden_layers": "n_layer"}

    def __init__(self, vocab_size=50280, d_model=768, n_layer=24, d_state=16, d_conv=4, expand=2, dt_rank="auto",
                 dt_min=0.001, dt_max=0.1, dt_init_floor=1e-4, layer_norm_epsilon=1e-5, residual_in_fp32=True,
                 initializer_range=0.1, rescale_prenorm_residual=False, use_cache=True, conv_bias=True, bias=False,
                 pad_vocab_size_multiple=8, ssm_cfg=None, **kwargs):
        self.d_model = d_model
        self.n_layer = n_layer
        self.d_state = d_state
        self.d_conv = d_conv
        self.expand = expand
        self.d_inner = int(expand * d_model)
        self.dt_rank = math.ceil(d_model / 16) if dt_rank == "auto" else dt_rank
        self.dt_min, self.dt_max, self.dt_init_floor = dt_min, dt_max, dt_init_floor
        self.layer_norm_epsilon = layer_norm_epsilon
        self.residual_in_fp32 = residual_in_fp32
        self.initializer_range = initializer_range
        self.rescale_prenorm_residual = rescale_prenorm_residual
        self.use_cache = use_cache
        self.conv_bias, self.bias = conv_bias, bias
        self.ssm_cfg = ssm_cfg or {}
        if vocab_size % pad_vocab_size_multiple != 0:
            vocab_size += pad_vocab_size_multiple - (vocab_size % pad_vocab_size_multiple)
        self.vocab_size = vocab_size
        self.pad_vocab_size_multiple = pad_vocab_size_multiple
        super().__init__(**kwargs)
