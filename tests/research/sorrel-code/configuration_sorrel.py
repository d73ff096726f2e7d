from transformers.configuration_utils import PretrainedConfig


class SorrelConfig(PretrainedConfig):
    model_type = "sorrel_code"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    def __init__(
        self,
        vocab_size=49280,
        n_positions=8192,
        n_embd=2048,
        n_layer=24,
        n_head=16,
        n_inner=None,
        activation_function="gelu_new",
        resid_pdrop=0.1,
        embd_pdrop=0.1,
        attn_pdrop=0.1,
        layer_norm_epsilon=1e-5,
        initializer_range=0.02,
        alibi_max_bias=8,
        use_cache=True,
        bos_token_id=0,
        eos_token_id=0,
        fim_prefix_id=2,
        fim_middle_id=3,
        fim_suffix_id=4,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.n_positions = n_positions
        self.n_embd = n_embd
        self.n_layer = n_layer
        self.n_head = n_head
        self.n_inner = n_inner
        self.activation_function = activation_function
        self.resid_pdrop = resid_pdrop
        self.embd_pdrop = embd_pdrop
        self.attn_pdrop = attn_pdrop
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        self.alibi_max_bias = alibi_max_bias
        self.use_cache = use_cache
        self.fim_prefix_id = fim_prefix_id
        self.fim_middle_id = fim_middle_id
        self.fim_suffix_id = fim_suffix_id
        super().__init__(bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs)
