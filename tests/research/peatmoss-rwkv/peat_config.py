from transformers.configuration_utils import PretrainedConfig


class PeatConfig(PretrainedConfig):
    model_type = "peat_rwkv"

    def __init__(self, vocab_size=65536, hidden_size=768, num_hidden_layers=24, attention_hidden_size=None,
                 head_size=64, head_size_divisor=8, intermediate_size=None, layer_norm_epsilon=1e-5,
                 bos_token_id=0, eos_token_id=0, rescale_every=6, tie_word_embeddings=False, use_cache=True,
                 model_version="5_2", **kwargs):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.attention_hidden_size = attention_hidden_size if attention_hidden_size is not None else hidden_size
        self.head_size = head_size
        self.head_size_divisor = head_size_divisor
        self.intermediate_size = intermediate_size
        if intermediate_size is None:
            self.intermediate_size = int((hidden_size * 3.5) // 32 * 32)
        self.layer_norm_epsilon = layer_norm_epsilon
        self.rescale_every = rescale_every
        self.use_cache = use_cache
        self.model_version = model_version
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        super().__init__(tie_word_embeddings=tie_word_embeddings, bos_token_id=bos_token_id,
                         eos_token_id=eos_token_id, **kwargs)
