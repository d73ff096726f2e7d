"""PyTorch Pairglass model."""

from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from torch import nn

from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.utils import ModelOutput

from .configuration_pairglass import PairglassConfig, PairglassVisionConfig
from .vision_pairglass import AttentionPool, LayerScale, PairglassVisionBlock, sincos_2d


@dataclass
class PairglassOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits_per_image: Optional[torch.FloatTensor] = None
    logits_per_text: Optional[torch.FloatTensor] = None
    text_embeds: Optional[torch.FloatTensor] = None
    image_embeds: Optional[torch.FloatTensor] = None


def softmax_loss(logits_per_text):
    target = torch.arange(logits_per_text.shape[0], device=logits_per_text.device)
    return (F.cross_entropy(logits_per_text, target) + F.cross_entropy(logits_per_text.t(), target)) / 2


def sigmoid_loss(logits_per_text):
    n = logits_per_text.shape[0]
    sign = 2 * torch.eye(n, device=logits_per_text.device) - 1
    return -F.logsigmoid(sign * logits_per_text).sum(-1).mean()


class PairglassPreTrainedModel(PreTrainedModel):
    config_class = PairglassConfig
    base_model_prefix = "pairglass"
    supports_gradient_checkpointing = False
    _supports_sdpa = True
    _no_split_modules = ["PairglassVisionBlock"]

    @torch.no_grad()
    def _init_weights(self, module):
        std = getattr(self.config, "initializer_range", 0.02)
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            nn.init.trunc_normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, LayerScale):
            nn.init.constant_(module.scale, module.init_value)
        elif isinstance(module, AttentionPool):
            nn.init.normal_(module.probe, std=std)
        elif isinstance(module, PairglassVisionModel):
            nn.init.normal_(module.registers, std=std)
        elif isinstance(module, PairglassModel):
            nn.init.constant_(module.logit_scale, self.config.logit_scale_init_value)
            if module.logit_bias is not None:
                nn.init.constant_(module.logit_bias, self.config.logit_bias_init_value)


class PairglassVisionModel(PairglassPreTrainedModel):
    config_class = PairglassVisionConfig
    base_model_prefix = "vision_model"
    main_input_name = "pixel_values"
    input_modalities = ("image",)

    def __init__(self, config: PairglassVisionConfig):
        super().__init__(config)
        self.patch_embed = nn.Conv2d(
            config.num_channels, config.hidden_size, kernel_size=config.patch_size, stride=config.patch_size
        )
        self.registers = nn.Parameter(torch.zeros(1, config.num_registers, config.hidden_size))
        rates = [config.drop_path_rate * i / max(config.depths - 1, 1) for i in range(config.depths)]
        self.blocks = nn.ModuleList([PairglassVisionBlock(config, rate) for rate in rates])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.head = AttentionPool(config)
        self.post_init()

    def get_input_embeddings(self):
        return self.patch_embed

    def forward(self, pixel_values, return_dict=None, **kwargs):
        pixel_values = pixel_values.to(self.patch_embed.weight.dtype)
        x = self.patch_embed(pixel_values)
        h, w = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        x = x + sincos_2d(x.shape[-1], h, w, device=x.device, dtype=x.dtype)
        x = torch.cat([self.registers.expand(x.shape[0], -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)[:, self.registers.shape[1] :]
        pooled = self.head(x)
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=pooled)


class PairglassModel(PairglassPreTrainedModel):
    def __init__(self, config: PairglassConfig):
        super().__init__(config)
        self.text_model = AutoModel.from_config(config.text_config, **self._text_kwargs(config))
        self.vision_model = PairglassVisionModel(config.vision_config)
        self.text_projection = nn.Linear(config.text_config.hidden_size, config.projection_dim, bias=False)
        self.visual_projection = nn.Linear(config.vision_config.hidden_size, config.projection_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        if config.logit_bias_init_value is not None:
            self.logit_bias = nn.Parameter(torch.tensor(float(config.logit_bias_init_value)))
        else:
            self.logit_bias = None
        self.post_init()

    @staticmethod
    def _text_kwargs(config):
        # the pooler of BERT is only of use for the [CLS] variant
        if config.text_config.model_type in ("bert", "roberta", "xlm-roberta"):
            return {"add_pooling_layer": config.pooling == "pooler"}
        return {}

    def get_input_embeddings(self):
        return self.text_model.get_input_embeddings()

    def get_text_features(self, input_ids, attention_mask=None, **kwargs):
        out = self.text_model(input_ids=input_ids, attention_mask=attention_mask)
        if self.config.pooling == "pooler":
            pooled = out.pooler_output
        elif self.config.pooling == "cls":
            pooled = out.last_hidden_state[:, 0]
        else:
            hidden = out.last_hidden_state
            if attention_mask is None:
                pooled = hidden.mean(1)
            else:
                m = attention_mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * m).sum(1) / m.sum(1).clamp_min(1)
        return self.text_projection(pooled)

    def get_image_features(self, pixel_values, **kwargs):
        return self.visual_projection(self.vision_model(pixel_values).pooler_output)

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        pixel_values: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        return_loss: bool = False,
        **kwargs,
    ) -> PairglassOutput:
        text_embeds = F.normalize(self.get_text_features(input_ids, attention_mask), dim=-1)
        image_embeds = F.normalize(self.get_image_features(pixel_values), dim=-1)
        logits_per_text = text_embeds @ image_embeds.t() * self.logit_scale.exp()
        if self.logit_bias is not None:
            logits_per_text = logits_per_text + self.logit_bias
        loss = None
        if return_loss:
            loss = sigmoid_loss(logits_per_text) if self.config.loss_type == "sigmoid" else softmax_loss(logits_per_text)
        return PairglassOutput(
            loss=loss,
            logits_per_image=logits_per_text.t(),
            logits_per_text=logits_per_text,
            text_embeds=text_embeds,
            image_embeds=image_embeds,
        )

    @torch.no_grad()
    def encode_text(self, tokenizer, texts, batch_size=64, truncate_dim=None):
        out = []
        for i in range(0, len(texts), batch_size):
            enc = tokenizer(texts[i : i + batch_size], padding=True, truncation=True, return_tensors="pt").to(self.device)
            e = self.get_text_features(enc["input_ids"], enc["attention_mask"])
            out.append(F.normalize(e[:, :truncate_dim], dim=-1).cpu())
        return torch.cat(out)

    @torch.no_grad()
    def zero_shot(self, pixel_values, class_embeds):
        image_embeds = F.normalize(self.get_image_features(pixel_values), dim=-1)
        logits = image_embeds @ class_embeds.to(image_embeds).t() * self.logit_scale.exp()
        return logits.softmax(-1)


__all__ = ["PairglassModel", "PairglassVisionModel", "PairglassPreTrainedModel"]
