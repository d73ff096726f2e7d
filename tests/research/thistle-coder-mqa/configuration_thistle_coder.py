# coding=utf-8
""" ThistleCoder configuration"""
from transformers.configuration_utils import PretrainedConfig
from transformers.utils import logging

logger = logging.get_logger(__name__)

THISTLE_CODER_PRETRAINED_CONFIG_ARCHIVE_MAP = {}


class ThistleCoderConfig(PretrainedConfig):
    r"""
    Settings of a ThistleCoder decoder. The names follow the GPT-2 family, `attribute_map` gives the usual ones.

    Args:
        vocab_size (`int`, *optional*, defaults to 49280): number of entries of the embedding table.
        n_positions (`int`, *optional*, defaults to 8192): longest sequence (learned positions).
        n_embd (`int`, *optional*, defaults to 2048): width of the residual stream.
        n_layer (`int`, *optional*, defaults to 24): number of blocks.
        n_head (`int`, *optional*, defaults to 16): number of query heads.
        multi_query (`bool`, *optional*, defaults to `True`): one key/value head for all query heads.
        fim_prefix_id, fim_middle_id, fim_suffix_id, fim_pad_id (`int`): sentinels of the infilling format.
    """

    model_type = "thistle_coder"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "hidden_size": "n_embd",
        "max_position_embeddings": "n_positions",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    def __init__(
        self,
        vocab_size=49280,
        n_positions=8192,
        n_embd=2048,
        n_layer=24,
        n_head=16,
        n_inner=None,
        activation_function="gelu_pytorch_tanh",
        resid_pdrop=0.1,
        embd_pdrop=0.1,
        attn_pdrop=0.1,
        layer_norm_epsilon=1e-5,
        initializer_range=0.02,
        scale_attn_by_layer=False,
        multi_query=True,
        use_cache=True,
        bos_token_id=0,
        eos_token_id=0,
        fim_prefix_id=1,
        fim_middle_id=2,
        fim_suffix_id=3,
        fim_pad_id=4,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        self.n_positions = n_positions
        self.n_embd = n_embd
        self.n_layer = n_layer
        self.n_head = n_head
        self.n_inner = n_inner
        self.activation_function = activation_function
        self.resid_pdrop = resid_pdrop
        self.embd_pdrop = embd_pdrop
        self.attn_pdrop = attn_pdrop
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        self.scale_attn_by_layer = scale_attn_by_layer
        self.multi_query = multi_query
        self.use_cache = use_cache
        self.fim_prefix_id = fim_prefix_id
        self.fim_middle_id = fim_middle_id
        self.fim_suffix_id = fim_suffix_id
        self.fim_pad_id = fim_pad_id
        super().__init__(bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs)
