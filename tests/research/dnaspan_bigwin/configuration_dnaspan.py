""" DnaSpan model configuration"""
from collections import OrderedDict
from typing import Mapping

from transformers.configuration_utils import PretrainedConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)

DNASPAN_PRETRAINED_CONFIG_ARCHIVE_MAP = {}


class DnaSpanConfig(PretrainedConfig):
    r"""
    Args:
        block_size (`int`): width of the blocks, every token sees its own block and the neighbours.
        num_global_tokens (`int`): the first tokens of a sequence that see (and are seen by) everything.
    """
    model_type = "dnaspan"

    def __init__(
        self,
        vocab_size=4104,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        hidden_act="gelu",
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        max_position_embeddings=4096,
        type_vocab_size=2,
        initializer_range=0.02,
        layer_norm_eps=1e-12,
        pad_token_id=0,
        block_size=64,
        num_global_tokens=1,
        **kwargs,
    ):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.hidden_act = hidden_act
        self.intermediate_size = intermediate_size
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.block_size = block_size
        self.num_global_tokens = num_global_tokens
