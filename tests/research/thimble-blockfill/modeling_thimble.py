"""Thimble: a decoder turned into a filler of blanks."""
from typing import Optional, Tuple

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.qwen2.modeling_qwen2 import (
    Qwen2DecoderLayer,
    Qwen2RMSNorm,
    Qwen2RotaryEmbedding,
)
from transformers.utils import LossKwargs, logging

from .configuration_thimble import ThimbleConfig
from .generation_thimble import BlockFiller, ThimbleGenerationConfig

logger = logging.get_logger(__name__)


class ThimbleLayer(Qwen2DecoderLayer):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.self_attn.is_causal = False


class ThimblePreTrainedModel(PreTrainedModel):
    config_class = ThimbleConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ThimbleLayer"]
    _supports_flash_attn_2 = True
    _supports_sdpa = True
    _supports_attention_backend = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
        elif isinstance(module, Qwen2RMSNorm):
            module.weight.data.fill_(1.0)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if hasattr(model, "generation_config"):
            plain = {k: v for k, v in model.generation_config.to_diff_dict().items() if k != "transformers_version"}
            model.generation_config = ThimbleGenerationConfig(**plain)
        return loaded


class ThimbleModel(ThimblePreTrainedModel):
    def __init__(self, config: ThimbleConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([ThimbleLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = Qwen2RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = Qwen2RotaryEmbedding(config=config)
        if config.time_embedding:
            self.time = nn.Sequential(nn.Linear(1, config.hidden_size), nn.SiLU(), nn.Linear(config.hidden_size, config.hidden_size))
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def _both_ways(self, attention_mask, x):
        if attention_mask is None or bool(attention_mask.all()):
            return None
        keep = attention_mask[:, None, None, :].bool().expand(-1, 1, x.shape[1], -1)
        return torch.zeros(keep.shape, dtype=x.dtype, device=x.device).masked_fill(~keep, torch.finfo(x.dtype).min)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, inputs_embeds=None, noise=None, **kwargs):
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.config.time_embedding and noise is not None:
            x = x + self.time(noise.view(-1, 1, 1).to(x.dtype))
        if position_ids is None:
            position_ids = torch.arange(x.shape[1], device=x.device).unsqueeze(0)
        mask = self._both_ways(attention_mask, x)
        tables = self.rotary_emb(x, position_ids)
        for layer in self.layers:
            x = layer(
                x,
                attention_mask=mask,
                position_ids=position_ids,
                past_key_value=None,
                use_cache=False,
                position_embeddings=tables,
            )[0]
        return BaseModelOutput(last_hidden_state=self.norm(x))


class ThimbleLM(BlockFiller, ThimblePreTrainedModel):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config: ThimbleConfig):
        super().__init__(config)
        self.model = ThimbleModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        noise: Optional[torch.FloatTensor] = None,
        **kwargs,
    ):
        hidden = self.model(input_ids, attention_mask, position_ids, inputs_embeds, noise).last_hidden_state
        logits = self.lm_head(hidden)
        loss = None
        if labels is not None:
            # every hole counts by the inverse of how many there were
            rows = nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
            weight = 1.0 / noise.clamp(min=1e-3)[:, None] if noise is not None else 1.0
            loss = (rows * weight).mean()
        return MaskedLMOutput(loss=loss, logits=logits)

    def corrupt(self, input_ids, low=0.05, generator=None) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        share = torch.rand(input_ids.shape[0], generator=generator, device=input_ids.device) * (1 - low) + low
        holes = torch.rand(input_ids.shape, generator=generator, device=input_ids.device) < share[:, None]
        labels = input_ids.masked_fill(~holes, -100)
        return input_ids.masked_fill(holes, self.config.mask_token_id), labels, share
