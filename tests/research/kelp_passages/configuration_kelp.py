from transformers.models.t5.configuration_t5 import T5Config


class KelpConfig(T5Config):
    model_type = "kelp"
    attribute_map = {"hidden_size": "d_model", "num_attention_heads": "num_heads", "num_hidden_layers": "num_layers"}

    def __init__(self, projection_dim=128, mark_tokens=2, similarity="cosine", temperature=0.02, **kwargs):
        self.projection_dim = projection_dim
        self.mark_tokens = mark_tokens
        if similarity not in ("cosine", "l2", "dot"):
            raise ValueError(f"similarity cannot be {similarity}")
        self.similarity = similarity
        self.temperature = temperature
        kwargs["is_encoder_decoder"] = False
        kwargs["use_cache"] = False
        super().__init__(**kwargs)
