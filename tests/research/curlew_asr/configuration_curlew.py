from transformers.configuration_utils import PretrainedConfig


class CurlewConfig(PretrainedConfig):
    model_type = "curlew_asr"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "num_key_value_heads": "encoder_attention_heads",
        "num_attention_heads": "encoder_attention_heads",
        "hidden_size": "d_model",
        "num_hidden_layers": "encoder_layers",
    }

    def __init__(
        self,
        vocab_size=8192,
        num_mel_bins=80,
        encoder_layers=12,
        encoder_attention_heads=8,
        encoder_ffn_dim=2048,
        decoder_layers=4,
        decoder_attention_heads=8,
        decoder_ffn_dim=2048,
        d_model=512,
        dropout=0.0,
        max_source_positions=1500,
        max_target_positions=448,
        init_std=0.02,
        scale_embedding=False,
        ctc_weight=0.3,
        mask_time_prob=0.05,
        mask_time_length=4,
        is_encoder_decoder=True,
        use_cache=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.num_mel_bins = num_mel_bins
        self.d_model = d_model
        self.encoder_layers = encoder_layers
        self.encoder_attention_heads = encoder_attention_heads
        self.encoder_ffn_dim = encoder_ffn_dim
        self.decoder_layers = decoder_layers
        self.decoder_attention_heads = decoder_attention_heads
        self.decoder_ffn_dim = decoder_ffn_dim
        self.dropout = dropout
        self.max_source_positions = max_source_positions
        self.max_target_positions = max_target_positions
        self.init_std = init_std
        self.scale_embedding = scale_embedding
        self.ctc_weight = ctc_weight
        self.mask_time_prob = mask_time_prob
        self.mask_time_length = mask_time_length
        self.use_cache = use_cache
        super().__init__(
            pad_token_id=pad_token_id,
            bos_token_id=bos_token_id,
            eos_token_id=eos_token_id,
            is_encoder_decoder=is_encoder_decoder,
            decoder_start_token_id=decoder_start_token_id,
            **kwargs,
        )
