from transformers import PretrainedConfig


class PeekabooConfig(PretrainedConfig):
    model_type = "peekaboo"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    def __init__(self, vocab_size=50257, n_positions=1024, n_embd=768, n_layer=12, n_head=12, layer_norm_epsilon=1e-5,
                 initializer_range=0.02, use_cache=True, vision_width=768, vision_layers=12, vision_heads=2, image_size=224, patch_size=16,
                 num_query_tokens=32, bos_token_id=50256, eos_token_id=50256, **kwargs):
        self.vocab_size = vocab_size
        self.n_positions = n_positions
        self.n_embd = n_embd
        self.n_layer = n_layer
        self.n_head = n_head
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        self.vision_width = vision_width
        self.vision_layers = vision_layers
        self.vision_heads = vision_heads
        self.image_size = image_size
        self.patch_size = patch_size
        self.num_query_tokens = num_query_tokens
        super().__init__(bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs)
