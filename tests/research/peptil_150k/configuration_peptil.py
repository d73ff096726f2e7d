from transformers import PreTrainedConfig

AMINO_ACIDS = "LAGVSERTIDPKQNFYMHWC"


class PeptilConfig(PreTrainedConfig):
    model_type = "peptil"

    def __init__(
        self,
        vocab_size=33,
        hidden_size=640,
        num_hidden_layers=30,
        num_attention_heads=20,
        intermediate_size=2560,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-5,
        initializer_range=0.02,
        token_dropout=True,
        mask_ratio_train=0.12,
        emb_layer_norm_before=False,
        mask_token_id=32,
        cls_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=True,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.layer_norm_eps = layer_norm_eps
        self.initializer_range = initializer_range
        self.token_dropout = token_dropout
        self.mask_ratio_train = mask_ratio_train
        self.emb_layer_norm_before = emb_layer_norm_before
        self.mask_token_id = mask_token_id
        self.cls_token_id = cls_token_id
        self.pad_token_id = pad_token_id
        self.eos_token_id = eos_token_id
        self.tie_word_embeddings = tie_word_embeddings
        super().__init__(**kwargs)
