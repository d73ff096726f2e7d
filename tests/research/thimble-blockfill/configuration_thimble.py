from transformers.models.qwen2.configuration_qwen2 import Qwen2Config


class ThimbleConfig(Qwen2Config):
    model_type = "thimble"

    def __init__(self, mask_token_id=151666, block_length=32, time_embedding=False, **kwargs):
        kwargs.setdefault("use_cache", False)
        super().__init__(**kwargs)
        self.mask_token_id = mask_token_id
        self.block_length = block_length
        self.time_embedding = time_embedding
        self._attn_implementation_autoset = False
