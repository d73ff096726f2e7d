from typing import Optional
from transformers import PretrainedConfig


class HaremoorConfig(PretrainedConfig):
    model_type = "haremoor_retnet"
    attribute_map = {
        "hidden_size": "decoder_embed_dim",
        "intermediate_size": "decoder_ffn_embed_dim",
        "num_attention_heads": "decoder_retention_heads",
        "num_hidden_layers": "decoder_layers",
    }

    def __init__(self, vocab_size: int = 50257, initializer_range: float = 0.02, is_decoder: bool = True,
                 pad_token_id: Optional[int] = 0, eos_token_id: int = 0, output_retentions: bool = False,
                 use_cache: bool = True, forward_impl: str = "parallel", activation_fn: str = "swish",
                 dropout: float = 0.0, activation_dropout: float = 0.0, drop_path_rate: float = 0.0,
                 decoder_embed_dim: int = 768, decoder_value_embed_dim: int = 1280, decoder_ffn_embed_dim: int = 1280,
                 decoder_layers: int = 12, decoder_retention_heads: int = 3, decoder_normalize_before: bool = True,
                 layernorm_embedding: bool = False, recurrent_chunk_size: int = 512, use_lm_decay: bool = False,
                 z_loss_coeff: float = 0.0, layernorm_eps: float = 1e-6, tie_word_embeddings: bool = False, **kwargs):
        self.vocab_size = vocab_size
        self.initializer_range = initializer_range
        self.output_retentions = output_retentions
        self.use_lm_decay = use_lm_decay
        self.z_loss_coeff = z_loss_coeff
        self.decoder_embed_dim = decoder_embed_dim
        self.decoder_value_embed_dim = decoder_value_embed_dim
        self.decoder_retention_heads = decoder_retention_heads
        self.decoder_ffn_embed_dim = decoder_ffn_embed_dim
        self.decoder_layers = decoder_layers
        self.decoder_normalize_before = decoder_normalize_before
        self.activation_fn = activation_fn
        self.dropout = dropout
        self.drop_path_rate = drop_path_rate
        self.activation_dropout = activation_dropout
        self.layernorm_embedding = layernorm_embedding
        self.recurrent_chunk_size = recurrent_chunk_size
        self.forward_impl = forward_impl
        self.layernorm_eps = layernorm_eps
        super().__init__(is_decoder=is_decoder, pad_token_id=pad_token_id, eos_token_id=eos_token_id,
                         use_cache=use_cache, tie_word_embeddings=tie_word_embeddings, **kwargs)
