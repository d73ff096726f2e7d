from transformers.configuration_utils import PretrainedConfig


class LanternVisionConfig(PretrainedConfig):
    model_type = "lantern_vit"
    base_config_key = "vision_config"

    def __init__(self, hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096, image_size=336,
                 patch_size=14, num_channels=3, layer_norm_eps=1e-6, **kwargs):
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_channels = num_channels
        self.layer_norm_eps = layer_norm_eps


class LanternTextConfig(PretrainedConfig):
    model_type = "lantern_text"
    base_config_key = "text_config"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, vocab_size=32064, hidden_size=2048, num_hidden_layers=16, num_attention_heads=16, num_key_value_heads=4,
                 intermediate_size=5632, rms_norm_eps=1e-6, rope_base=10000.0, max_position_embeddings=4096, use_cache=True,
                 initializer_range=0.02, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.intermediate_size = intermediate_size
        self.rms_norm_eps = rms_norm_eps
        self.rope_base = rope_base
        self.max_position_embeddings = max_position_embeddings
        self.use_cache = use_cache
        self.initializer_range = initializer_range


class LanternVLConfig(PretrainedConfig):
    model_type = "lantern_vl"
    sub_configs = {"vision_config": LanternVisionConfig, "text_config": LanternTextConfig}

    def __init__(self, vision_config=None, text_config=None, image_token_id=32000, projector_hidden_act="gelu", downsample=2, **kwargs):
        if isinstance(vision_config, dict):
            vision_config = LanternVisionConfig(**vision_config)
        elif vision_config is None:
            vision_config = LanternVisionConfig()
        if isinstance(text_config, dict):
            text_config = LanternTextConfig(**text_config)
        elif text_config is None:
            text_config = LanternTextConfig()
        self.vision_config = vision_config
        self.text_config = text_config
        self.image_token_id = image_token_id
        self.projector_hidden_act = projector_hidden_act
        self.downsample = downsample
        super().__init__(**kwargs)
