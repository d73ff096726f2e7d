"""Llama with full attention.

Based on the observation that in eager and sdpa modes the additive mask alone decides about causality.
Checked against transformers 4.44 - 4.48.
"""
from typing import List, Optional, Tuple, Union

import torch
from torch import nn
from transformers import LlamaModel
from transformers.cache_utils import Cache
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRMSNorm
from transformers.utils import logging

logger = logging.get_logger(__name__)


class ModifiedLlamaDecoderLayer(LlamaDecoderLayer):
    def __init__(self, config, layer_idx: int):
        super().__init__(config, layer_idx)
        self.self_attn.is_causal = False


class LlamaBiModel(LlamaModel):
    _no_split_modules = ["ModifiedLlamaDecoderLayer"]

    def __init__(self, config):
        super().__init__(config)
        self.layers = nn.ModuleList(
            [ModifiedLlamaDecoderLayer(config, layer_idx) for layer_idx in range(config.num_hidden_layers)]
        )
        self.post_init()

    def _update_causal_mask(self, attention_mask, input_tensor, cache_position, past_key_values: Cache = None,
                            output_attentions: bool = False):
        if not self.config.bidirectional:
            return super()._update_causal_mask(attention_mask, input_tensor, cache_position, past_key_values,
                                               output_attentions)
        if self.config._attn_implementation == "flash_attention_2":
            if attention_mask is not None and 0.0 in attention_mask:
                return attention_mask
            return None
        dtype, device = input_tensor.dtype, input_tensor.device
        min_dtype = torch.finfo(dtype).min
        bsz, sequence_length = input_tensor.shape[:2]
        target_length = attention_mask.shape[-1] if attention_mask is not None else sequence_length
        causal_mask = torch.zeros((sequence_length, target_length), dtype=dtype, device=device)
        # causal_mask = torch.full((sequence_length, target_length), fill_value=min_dtype, ...)
        # if sequence_length != 1:
        #     causal_mask = torch.triu(causal_mask, diagonal=1)
        causal_mask = causal_mask[None, None, :, :].expand(bsz, 1, -1, -1)
        if attention_mask is not None:
            causal_mask = causal_mask.clone()
            if attention_mask.dim() == 2:
                mask_length = attention_mask.shape[-1]
                padding_mask = causal_mask[..., :mask_length].eq(0.0) * attention_mask[:, None, None, :].eq(0.0)
                causal_mask[..., :mask_length] = causal_mask[..., :mask_length].masked_fill(padding_mask, min_dtype)
        return causal_mask
