from transformers import PretrainedConfig


class CorncrakeConfig(PretrainedConfig):
    model_type = "corncrake"
    attribute_map = {"num_attention_heads": "encoder_attention_heads", "hidden_size": "d_model",
                     "num_hidden_layers": "encoder_layers"}

    def __init__(self, vocab_size=32000, d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
                 decoder_attention_heads=8, ffn_dim=2048, max_position_embeddings=512, dropout=0.1, init_std=0.02,
                 is_encoder_decoder=True, use_cache=False, pad_token_id=0, bos_token_id=1, eos_token_id=2,
                 decoder_start_token_id=2, scale_embedding=True, label_smoothing=0.1, coverage=True, **kwargs):
        self.vocab_size = vocab_size
        self.d_model = d_model
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers
        self.encoder_attention_heads = encoder_attention_heads
        self.decoder_attention_heads = decoder_attention_heads
        self.ffn_dim = ffn_dim
        self.max_position_embeddings = max_position_embeddings
        self.dropout = dropout
        self.init_std = init_std
        self.use_cache = use_cache
        self.scale_embedding = scale_embedding
        self.label_smoothing = label_smoothing
        self.coverage = coverage
        super().__init__(pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id,
                         is_encoder_decoder=is_encoder_decoder, decoder_start_token_id=decoder_start_token_id,
                         **kwargs)
