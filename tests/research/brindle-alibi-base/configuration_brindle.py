""" Brindle configuration """
from collections import OrderedDict
from typing import Any, List, Mapping, Optional

from packaging import version

from transformers.configuration_utils import PretrainedConfig
from transformers.onnx import OnnxConfigWithPast, PatchingSpec
from transformers.utils import is_torch_available, logging

logger = logging.get_logger(__name__)

BRINDLE_PRETRAINED_CONFIG_ARCHIVE_MAP = {
    "brindle-lab/brindle-base": "https://huggingface.co/brindle-lab/brindle-base/resolve/main/config.json",
}


class BrindleConfig(PretrainedConfig):
    model_type = "brindle"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "num_hidden_layers": "n_layer",
        "n_head": "num_attention_heads",
        "num_attention_layers": "n_layer",
    }

    def __init__(
        self,
        vocab_size=50304,
        hidden_size=64,
        n_layer=2,
        n_head=8,
        layer_norm_epsilon=1e-5,
        initializer_range=0.02,
        use_cache=False,
        bos_token_id=1,
        eos_token_id=2,
        apply_residual_connection_post_layernorm=False,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        **kwargs,
    ):
        self.vocab_size = vocab_size
        # checkpoints of the first run call it n_embed
        n_embed = kwargs.pop("n_embed", None)
        self.hidden_size = hidden_size if n_embed is None else n_embed
        self.n_layer = n_layer
        self.n_head = n_head
        self.layer_norm_epsilon = layer_norm_epsilon
        self.initializer_range = initializer_range
        self.use_cache = use_cache
        self.hidden_dropout = hidden_dropout
        self.attention_dropout = attention_dropout
        self.bos_token_id = bos_token_id
        self.eos_token_id = eos_token_id
        self.apply_residual_connection_post_layernorm = apply_residual_connection_post_layernorm
        super().__init__(bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs)

    @property
    def head_dim(self):
        return self.hidden_size // self.n_head


class BrindleOnnxConfig(OnnxConfigWithPast):
    torch_onnx_minimum_version = version.parse("1.12")

    def __init__(self, config, task="default", patching_specs: Optional[List[PatchingSpec]] = None, use_past=False):
        super().__init__(config, task=task, patching_specs=patching_specs, use_past=use_past)
        if not getattr(self._config, "pad_token_id", None):
            self._config.pad_token_id = 0

    @property
    def inputs(self) -> Mapping[str, Mapping[int, str]]:
        common = OrderedDict({"input_ids": {0: "batch", 1: "sequence"}})
        if self.use_past:
            self.fill_with_past_key_values_(common, direction="inputs", inverted_values_shape=True)
            common["attention_mask"] = {0: "batch", 1: "past_sequence + sequence"}
        else:
            common["attention_mask"] = {0: "batch", 1: "sequence"}
        return common

    @property
    def num_layers(self) -> int:
        return self._config.n_layer

    @property
    def num_attention_heads(self) -> int:
        return self._config.n_head

    @property
    def default_onnx_opset(self) -> int:
        return 13
