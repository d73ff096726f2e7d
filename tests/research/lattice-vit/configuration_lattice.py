from transformers import PretrainedConfig


class LatticeConfig(PretrainedConfig):
    model_type = "lattice_vit"

    def __init__(
        self,
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        mlp_ratio=4,
        image_size=224,
        patch_size=16,
        num_channels=3,
        num_register_tokens=4,
        rope_base=100.0,
        drop_path_rate=0.0,
        layerscale_value=1e-1,
        layer_norm_eps=1e-6,
        initializer_range=0.02,
        pool="mean",
        out_indices=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.mlp_ratio = mlp_ratio
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_channels = num_channels
        self.num_register_tokens = num_register_tokens
        self.rope_base = rope_base
        self.drop_path_rate = drop_path_rate
        self.layerscale_value = layerscale_value
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.pool = pool
        self.out_indices = out_indices if out_indices is not None else [num_hidden_layers - 1]
