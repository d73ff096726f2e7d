from transformers.configuration_utils import PretrainedConfig


class ScribeVoxConfig(PretrainedConfig):
    model_type = "scribevox"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {"num_attention_heads": "encoder_attention_heads", "hidden_size": "d_model"}

    def __init__(self, vocab_size=10000, encoder_layers=12, encoder_ffn_dim=2048, encoder_attention_heads=4, decoder_layers=6,
                 decoder_ffn_dim=2048, decoder_attention_heads=4, use_cache=True, is_encoder_decoder=True, activation_function="relu",
                 d_model=256, dropout=0.1, init_std=0.02, decoder_start_token_id=2, scale_embedding=True, pad_token_id=1,
                 bos_token_id=0, eos_token_id=2, num_mel_bins=80, max_source_positions=1500, max_target_positions=448, **kwargs):
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.encoder_ffn_dim = encoder_ffn_dim
        self.encoder_layers = encoder_layers
        self.encoder_attention_heads = encoder_attention_heads
        self.decoder_ffn_dim = decoder_ffn_dim
        self.decoder_layers = decoder_layers
        self.decoder_attention_heads = decoder_attention_heads
        self.dropout = dropout
        self.activation_function = activation_function
        self.init_std = init_std
        self.use_cache = use_cache
        self.num_hidden_layers = encoder_layers
        self.scale_embedding = scale_embedding
        self.num_mel_bins = num_mel_bins
        self.max_source_positions = max_source_positions
        self.max_target_positions = max_target_positions
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
                         is_encoder_decoder=is_encoder_decoder, decoder_start_token_id=decoder_start_token_id, **kwargs)
