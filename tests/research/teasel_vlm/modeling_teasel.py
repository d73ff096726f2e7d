from typing import List, Optional, Tuple, Union

import torch
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers import AutoModelForCausalLM, GenerationConfig
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_teasel import TeaselConfig
from .vision_tower import TeaselVisionModel

logger = logging.get_logger(__name__)


class ShuffleProjector(nn.Module):
    """factor x factor patches become one token."""

    def __init__(self, vision_size, text_size, factor, hidden):
        super().__init__()
        self.factor = factor
        width = vision_size * factor * factor
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, text_size)
        )

    def forward(self, x):
        b, n, c = x.shape
        side, f = int(n**0.5), self.factor
        x = x.view(b, side // f, f, side // f, f, c).permute(0, 1, 3, 2, 4, 5)
        return self.mlp(x.reshape(b, (side // f) ** 2, f * f * c))


class TeaselPreTrainedModel(PreTrainedModel):
    config_class = TeaselConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["VisionLayer", "Qwen2DecoderLayer", "LlamaDecoderLayer"]
    _skip_keys_device_placement = "past_key_values"
    _supports_flash_attn_2 = True
    _supports_sdpa = True
    _supports_cache_class = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)


class TeaselForConditionalGeneration(TeaselPreTrainedModel, GenerationMixin):
    main_input_name = "input_ids"

    def __init__(self, config: TeaselConfig, vision_tower=None, language_model=None):
        super().__init__(config)
        self.vision_tower = vision_tower if vision_tower is not None else TeaselVisionModel(config.vision_config)
        if language_model is not None:
            self.language_model = language_model
        else:
            self.language_model = AutoModelForCausalLM.from_config(
                config.text_config, attn_implementation=config._attn_implementation
            )
        if self.language_model._tied_weights_keys is not None:
            self._tied_weights_keys = [f"language_model.{k}" for k in self.language_model._tied_weights_keys]
        p = config.projector
        self.projector = ShuffleProjector(
            config.vision_config.hidden_size, config.text_config.hidden_size, p["factor"], p["hidden"]
        )
        self.image_token_id = config.image_token_id
        self.post_init()

    def get_input_embeddings(self):
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self):
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings):
        self.language_model.set_output_embeddings(new_embeddings)

    def get_decoder(self):
        return self.language_model.get_decoder()

    def tie_weights(self):
        return self.language_model.tie_weights()

    def resize_token_embeddings(self, new_num_tokens: Optional[int] = None, pad_to_multiple_of=None) -> nn.Embedding:
        embeddings = self.language_model.resize_token_embeddings(new_num_tokens, pad_to_multiple_of)
        self.config.text_config.vocab_size = embeddings.num_embeddings
        return embeddings

    def encode_images(self, pixel_values: torch.Tensor) -> torch.Tensor:
        out = self.vision_tower(pixel_values)
        if self.config.select_layer == -1:
            return self.projector(out.last_hidden_state)
        return self.projector(out.hidden_states[self.config.select_layer])

    def merge(self, input_ids, pixel_values):
        embeds = self.get_input_embeddings()(input_ids)
        if pixel_values is None:
            return embeds
        pictures = self.encode_images(pixel_values)
        where = input_ids == self.image_token_id
        if int(where.sum()) != pictures.shape[0] * pictures.shape[1]:
            raise ValueError(
                f"{int(where.sum())} picture tokens in the text and {pictures.shape[0] * pictures.shape[1]} features"
            )
        return embeds.masked_scatter(where.unsqueeze(-1), pictures.to(embeds.dtype))

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        pixel_values: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[List[torch.FloatTensor]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if inputs_embeds is None:
            inputs_embeds = self.merge(input_ids, pixel_values)
        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            cache_position=cache_position,
        )
        logits = outputs.logits
        loss = None
        if labels is not None:
            shift = labels[..., 1:].contiguous().view(-1)
            loss = CrossEntropyLoss()(logits[..., :-1, :].contiguous().view(-1, logits.size(-1)), shift)
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + tuple(outputs[1:])
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    @torch.no_grad()
    def generate(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        pixel_values: Optional[torch.FloatTensor] = None,
        attention_mask: Optional[torch.LongTensor] = None,
        generation_config: Optional[GenerationConfig] = None,
        **generate_kwargs,
    ) -> torch.LongTensor:
        inputs_embeds = self.merge(input_ids, pixel_values)
        if attention_mask is None:
            attention_mask = torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        return self.language_model.generate(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            generation_config=generation_config,
            use_cache=True,
            **generate_kwargs,
        )

    def freeze(self, vision=True, language=False):
        for part, frozen in ((self.vision_tower, vision), (self.language_model, language)):
            part.requires_grad_(not frozen)
            if frozen:
                part.eval()
