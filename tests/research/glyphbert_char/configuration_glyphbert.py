from transformers import PretrainedConfig


class GlyphBertConfig(PretrainedConfig):
    model_type = "glyphbert"

    def __init__(self, vocab_size=21128, embedding_size=128, hidden_size=768, num_hidden_layers=12, num_hidden_groups=1,
                 num_attention_heads=12, intermediate_size=3072, hidden_act="gelu_new", dropout=0.0, max_position_embeddings=512,
                 type_vocab_size=2, initializer_range=0.02, layer_norm_eps=1e-12, pinyin_size=0, is_decoder=False, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_hidden_groups = num_hidden_groups
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.dropout = dropout
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.pinyin_size = pinyin_size
        self.is_decoder = is_decoder
