from transformers.configuration_utils import PretrainedConfig


class GleanerConfig(PretrainedConfig):
    model_type = "gleaner"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "num_attention_heads": "encoder_attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "decoder_layers",
    }

    def __init__(
        self,
        vocab_size=32128,
        max_position_embeddings=4096,
        d_model=512,
        encoder_layers=8,
        encoder_ffn_dim=2048,
        encoder_attention_heads=8,
        decoder_layers=8,
        decoder_ffn_dim=2048,
        decoder_attention_heads=8,
        activation_function="gelu",
        dropout=0.1,
        attention_dropout=0.0,
        init_std=0.02,
        scale_embedding=True,
        use_cache=True,
        label_smoothing=0.0,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
        decoder_start_token_id=2,
        is_encoder_decoder=True,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.max_position_embeddings = max_position_embeddings
        self.d_model = d_model
        self.encoder_layers = encoder_layers
        self.encoder_ffn_dim = encoder_ffn_dim
        self.encoder_attention_heads = encoder_attention_heads
        self.decoder_layers = decoder_layers
        self.decoder_ffn_dim = decoder_ffn_dim
        self.decoder_attention_heads = decoder_attention_heads
        self.activation_function = activation_function
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.init_std = init_std
        self.scale_embedding = scale_embedding
        self.use_cache = use_cache
        self.label_smoothing = label_smoothing
        super().__init__(
            pad_token_id=pad_token_id,
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            decoder_start_token_id=decoder_start_token_id,
            is_encoder_decoder=is_encoder_decoder,
            **kwargs,
        )
