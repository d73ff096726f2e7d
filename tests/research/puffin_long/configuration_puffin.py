from transformers.models.bart.configuration_bart import BartConfig


class PuffinConfig(BartConfig):
    model_type = "puffin_long"

    def __init__(
        self,
        attention_block=256,
        global_tokens=1,
        max_encoder_position_embeddings=16384,
        max_decoder_position_embeddings=1024,
        plan_classes=2,
        plan_weight=0.1,
        **kwargs,
    ):
        self.attention_block = attention_block
        self.global_tokens = global_tokens
        self.max_encoder_position_embeddings = max_encoder_position_embeddings
        self.max_decoder_position_embeddings = max_decoder_position_embeddings
        self.plan_classes = plan_classes
        self.plan_weight = plan_weight
        super().__init__(**kwargs)
        self.max_position_embeddings = max_decoder_position_embeddings
