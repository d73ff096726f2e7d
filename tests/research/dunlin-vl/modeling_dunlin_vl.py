from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn as nn
from transformers import Qwen2ForCausalLM
from transformers.cache_utils import Cache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import ModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import is_flash_attn_2_available, logging

from .configuration_dunlin_vl import DunlinVLConfig
from .vision_dunlin import DunlinProjector, DunlinVisionTower

logger = logging.get_logger(__name__)


@dataclass
class DunlinVLCausalLMOutputWithPast(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    past_key_values: Optional[List[torch.FloatTensor]] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None
    attentions: Optional[Tuple[torch.FloatTensor]] = None
    image_hidden_states: Optional[torch.FloatTensor] = None


class DunlinVLPreTrainedModel(PreTrainedModel):
    config_class = DunlinVLConfig
    base_model_prefix = ""
    supports_gradient_checkpointing = True
    _no_split_modules = ["DunlinVisionLayer", "Qwen2DecoderLayer"]
    _skip_keys_device_placement = "past_key_values"
    _supports_cache_class = True
    _supports_flash_attn_2 = True
    _supports_sdpa = True

    def _init_weights(self, module):
        std = self.config.vision_config.initializer_range
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()
        elif isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()


class DunlinVLForConditionalGeneration(DunlinVLPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["language_model.lm_head.weight"]

    def __init__(self, config: DunlinVLConfig):
        super().__init__(config)
        self.vision_tower = DunlinVisionTower(config.vision_config)
        self.multi_modal_projector = DunlinProjector(
            config.vision_config.hidden_size,
            config.text_config.hidden_size,
            config.downsample_ratio,
            config.projector_hidden_act,
        )
        self.vocab_size = config.text_config.vocab_size
        self.language_model = Qwen2ForCausalLM(config.text_config)
        self.pad_token_id = config.text_config.pad_token_id if config.text_config.pad_token_id is not None else -1
        self.post_init()

    def get_input_embeddings(self):
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self):
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings):
        self.language_model.set_output_embeddings(new_embeddings)

    def set_decoder(self, decoder):
        self.language_model.set_decoder(decoder)

    def get_decoder(self):
        return self.language_model.get_decoder()

    def tie_weights(self):
        return self.language_model.tie_weights()

    def resize_token_embeddings(self, new_num_tokens=None, pad_to_multiple_of=None, mean_resizing=True):
        embeds = self.language_model.resize_token_embeddings(new_num_tokens, pad_to_multiple_of, mean_resizing)
        self.config.text_config.vocab_size = embeds.num_embeddings
        self.vocab_size = embeds.num_embeddings
        return embeds

    def get_image_features(self, pixel_values: torch.FloatTensor) -> torch.Tensor:
        if pixel_values.dim() == 5:  # (batch, num_images, c, h, w)
            pixel_values = pixel_values.flatten(0, 1)
        feats = self.vision_tower(pixel_values, select_layer=self.config.select_layer)
        return self.multi_modal_projector(feats)

    def _merge_image_features(self, inputs_embeds, image_features, input_ids):
        mask = input_ids == self.config.image_token_id
        n_tokens = int(mask.sum())
        n_feats = image_features.shape[0] * image_features.shape[1]
        if n_tokens != n_feats:
            raise ValueError(f"Image features and image tokens do not match: tokens: {n_tokens}, features {n_feats}")
        mask = mask.unsqueeze(-1).expand_as(inputs_embeds).to(inputs_embeds.device)
        image_features = image_features.to(inputs_embeds.device, inputs_embeds.dtype)
        return inputs_embeds.masked_scatter(mask, image_features)

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        pixel_values: torch.FloatTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Union[Cache, List[torch.FloatTensor]]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        cache_position: Optional[torch.LongTensor] = None,
        logits_to_keep: Union[int, torch.Tensor] = 0,
    ) -> Union[Tuple, DunlinVLCausalLMOutputWithPast]:
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict

        if (input_ids is None) ^ (inputs_embeds is not None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        if pixel_values is not None and inputs_embeds is not None:
            raise ValueError("You cannot specify both pixel_values and inputs_embeds at the same time")

        if inputs_embeds is None:
            inputs_embeds = self.get_input_embeddings()(input_ids)

        image_features = None
        if pixel_values is not None:
            image_features = self.get_image_features(pixel_values)
            inputs_embeds = self._merge_image_features(inputs_embeds, image_features, input_ids)

        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
            cache_position=cache_position,
            logits_to_keep=logits_to_keep,
        )
        logits = outputs[0]

        loss = None
        if labels is not None:
            shift_logits = logits[..., :-1, :].contiguous().float()
            shift_labels = labels[..., 1:].contiguous().to(logits.device)
            # image positions never count
            shift_labels = shift_labels.masked_fill(shift_labels == self.config.image_token_id, self.config.ignore_index)
            loss = nn.functional.cross_entropy(
                shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1), ignore_index=self.config.ignore_index
            )

        if not return_dict:
            output = (logits,) + outputs[1:]
            return (loss,) + output if loss is not None else output
        return DunlinVLCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            image_hidden_states=image_features,
        )

    def prepare_inputs_for_generation(
        self,
        input_ids,
        past_key_values=None,
        inputs_embeds=None,
        pixel_values=None,
        attention_mask=None,
        cache_position=None,
        logits_to_keep=None,
        **kwargs,
    ):
        model_inputs = self.language_model.prepare_inputs_for_generation(
            input_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            cache_position=cache_position,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        if cache_position[0] == 0:
            # in a cached step there is no image token any more
            model_inputs["pixel_values"] = pixel_values
        return model_inputs

    @torch.no_grad()
    def answer(self, tokenizer, image_tensor, question: str, max_new_tokens: int = 64, **kwargs) -> str:
        image_part = tokenizer.convert_ids_to_tokens(self.config.image_token_id) * self.config.num_image_tokens
        prompt = f"<|im_start|>user\n{image_part}\n{question}<|im_end|>\n<|im_start|>assistant\n"
        enc = tokenizer(prompt, return_tensors="pt").to(self.device)
        ids = self.generate(**enc, pixel_values=image_tensor.to(self.device), max_new_tokens=max_new_tokens, **kwargs)
        return tokenizer.decode(ids[0, enc["input_ids"].shape[1] :], skip_special_tokens=True).strip()
