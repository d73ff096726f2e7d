from transformers import PretrainedConfig


class GazetteConfig(PretrainedConfig):
    model_type = "gazette"
    keys_to_ignore_at_inference = ["hidden_states"]

    def __init__(self, vocab_size=30000, hidden_size=256, num_hidden_layers=4, num_attention_heads=4,
                 intermediate_size=1024, hidden_act="gelu_new", dropout=0.1, max_position_embeddings=512,
                 max_distance=8, gazetteer_size=0, use_crf=True, layer_norm_eps=1e-12, initializer_range=0.02,
                 pad_token_id=0, **kwargs):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.dropout = dropout
        self.max_position_embeddings = max_position_embeddings
        self.max_distance = max_distance
        self.gazetteer_size = gazetteer_size
        self.use_crf = use_crf
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
