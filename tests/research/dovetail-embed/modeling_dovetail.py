from typing import Dict, List, Mapping, Optional, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import AutoModel, AutoTokenizer, MistralModel, PreTrainedTokenizerFast
from transformers.modeling_attn_mask_utils import (
    _prepare_4d_attention_mask,
    _prepare_4d_attention_mask_for_sdpa,
)
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.models.auto import AutoModel
from transformers.utils import logging

from .configuration_dovetail import BidirectionalMistralConfig, DovetailEmbedConfig, LatentAttentionConfig
from .latent_pooling import CrossAttention, FeedForward, PreNorm, input_transform_func

try:
    from sentence_transformers.models import Pooling  # noqa: F401
except ImportError:
    Pooling = None

logger = logging.get_logger(__name__)


class BidirectionalMistralModel(MistralModel):
    config_class = BidirectionalMistralConfig

    def __init__(self, config: BidirectionalMistralConfig):
        super().__init__(config)
        for layer in self.layers:
            layer.self_attn.is_causal = False
        self._attn_implementation = "eager"

    def _update_causal_mask(self, attention_mask, input_tensor, cache_position, past_key_values, *args, **kwargs):
        """Every token sees every other one: only padding is hidden."""
        if attention_mask is None:
            return None
        return _prepare_4d_attention_mask(attention_mask, input_tensor.dtype)


class LatentAttentionModel(PreTrainedModel):
    config_class = LatentAttentionConfig

    def __init__(self, config: LatentAttentionConfig):
        super().__init__(config)
        num_latents, latent_dim, cross_heads = config.num_latents_value, config.latent_dim, config.num_cross_heads
        dim, dim_head = config.hidden_dim, config.cross_dim_head
        self.cross_attend_blocks = nn.ModuleList(
            [
                PreNorm(
                    latent_dim,
                    CrossAttention(latent_dim, dim, heads=cross_heads, dim_head=dim_head),
                    context_dim=dim,
                ),
                PreNorm(latent_dim, FeedForward(latent_dim, config.mult)),
            ]
        )
        self.output_normalize = config.output_normalize
        self.register_parameter("latents", nn.Parameter(torch.randn(num_latents, latent_dim)))

    def forward(self, hiddens, attention_mask: torch.Tensor = None):
        cross_attn, cross_ff = self.cross_attend_blocks
        latents = self.latents[None].expand(hiddens.shape[0], -1, -1)
        hiddens = cross_attn(hiddens, context=latents, mask=None) + hiddens
        hiddens = cross_ff(hiddens) + hiddens
        if attention_mask is not None:
            s = torch.sum(hiddens * attention_mask.unsqueeze(-1).float(), dim=1)
            d = attention_mask.sum(dim=1, keepdim=True).float()
            hiddens = s / d
            if self.output_normalize:
                hiddens = F.normalize(hiddens, p=2, dim=-1)
        return hiddens


class DovetailEmbedModel(PreTrainedModel):
    config_class = DovetailEmbedConfig
    _no_split_modules = ["MistralDecoderLayer", "LatentAttentionModel"]

    def __init__(self, config: DovetailEmbedConfig):
        super().__init__(config)
        self.latent_attention_model = AutoModel.from_config(config.latent_attention_config)
        self.embedding_model = AutoModel.from_config(config.text_config) if config.text_config is not None else None
        self.tokenizer = None
        self.padding_side = config.padding_side
        self.is_mask_instruction = config.is_mask_instruction
        self.add_eos = config.add_eos
        self.mask_type = config.mask_type

    def set_tokenizer(self, name_or_path):
        self.tokenizer = AutoTokenizer.from_pretrained(name_or_path)
        self.tokenizer.padding_side = self.padding_side
        if self.config.add_pad_token and self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token

    def prepare_kwargs_from_batch(self, batch_dict: dict, instruction_lens: int):
        attention_mask = batch_dict["attention_mask"].clone()
        if instruction_lens > 0 and self.is_mask_instruction:
            attention_mask[:, :instruction_lens] = 0
        return {
            "input_ids": batch_dict["input_ids"].long(),
            "attention_mask": batch_dict["attention_mask"],
            "pool_mask": attention_mask,
        }

    @torch.no_grad()
    def _do_encode(self, prompts: List[str], batch_size=1, instruction="", max_length=4096, return_numpy=False, **kw):
        lens = len(self.tokenizer.tokenize(instruction)) if instruction else 0
        encoded = []
        for start in range(0, len(prompts), batch_size):
            batch = input_transform_func(
                self.tokenizer, prompts[start : start + batch_size], self.add_eos, max_length, instruction
            )
            features = self.prepare_kwargs_from_batch(batch.to(self.device), lens)
            encoded.append(self(**features)["sentence_embeddings"].squeeze(1))
        encoded = torch.cat(encoded)
        return encoded.cpu().numpy() if return_numpy else encoded

    def encode(self, prompts: List[str], instruction: str = "", max_length: int = 4096, **kwargs):
        if self.tokenizer is None:
            self.set_tokenizer(self.config._name_or_path)
        return self._do_encode(prompts, batch_size=8, instruction=instruction, max_length=max_length, **kwargs)

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pool_mask: Optional[torch.Tensor] = None,
        return_dict: bool = True,
    ):
        outputs = self.embedding_model(input_ids=input_ids, attention_mask=attention_mask, use_cache=False)
        embeds = self.latent_attention_model(
            outputs.last_hidden_state, attention_mask if pool_mask is None else pool_mask
        )
        if not return_dict:
            return (embeds,)
        return {"sentence_embeddings": embeds}


AutoModel.register(DovetailEmbedConfig, DovetailEmbedModel)
AutoModel.register(LatentAttentionConfig, LatentAttentionModel)
AutoModel.register(BidirectionalMistralConfig, BidirectionalMistralModel)

DovetailEmbedModel.register_for_auto_class("AutoModel")
