"""Hornbeam: one backbone, many small adapters, switch at run time"""
from typing import Dict, List, Optional, Union

import torch
from torch import nn
from transformers import AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import logging

from .configuration_hornbeam import HornbeamConfig
from .lora import LoraLinear, disabled, inject, lora_state_dict, mark_only_lora_trainable, set_active

logger = logging.get_logger(__name__)

CHAT_TEMPLATE = "<|{role}|>\n{content}\n"


class HornbeamPreTrainedModel(PreTrainedModel):
    config_class = HornbeamConfig
    base_model_prefix = "backbone"
    supports_gradient_checkpointing = True
    _no_split_modules = ["MistralDecoderLayer", "LlamaDecoderLayer"]
    _supports_sdpa = True
    _supports_flash_attn_2 = True
    _supports_flash_attn = True

    def _init_weights(self, module):
        # backbone initialises itself, adapters are initialised in LoraLinear
        pass


class HornbeamForCausalLM(HornbeamPreTrainedModel, GenerationMixin):
    def __init__(self, config: HornbeamConfig):
        super().__init__(config)
        self.backbone = AutoModelForCausalLM.from_config(config.base_config)
        self.replaced = inject(self.backbone, config.target_modules, config.adapters, config.lora_dropout)
        if not self.replaced and config.adapters:
            logger.warning("no module of the backbone matches target_modules")
        self.set_adapter(config.active)
        self.post_init()

    # ---- adapters ----
    def set_adapter(self, name: Optional[str]):
        set_active(self.backbone, name)
        self._active = name

    @property
    def active_adapter(self):
        return self._active

    def adapter_state_dict(self, name=None) -> Dict[str, torch.Tensor]:
        return lora_state_dict(self, name or self._active)

    def merge_and_unload(self, name=None):
        for m in self.backbone.modules():
            if isinstance(m, LoraLinear):
                m.merge(name or self._active)
        return self.backbone

    def prepare_for_training(self):
        mark_only_lora_trainable(self)
        self.backbone.config.use_cache = False
        return self

    # ---- embeddings ----
    def get_input_embeddings(self):
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.backbone.set_input_embeddings(value)

    def get_output_embeddings(self):
        return self.backbone.get_output_embeddings()

    def set_output_embeddings(self, value):
        self.backbone.set_output_embeddings(value)

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, reference: bool = False,
                **kwargs) -> CausalLMOutputWithPast:
        """reference=True: logits of the plain backbone (KL term in training)"""
        args = dict(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                    past_key_values=past_key_values, inputs_embeds=inputs_embeds, labels=labels, use_cache=use_cache)
        args.update(kwargs)
        if reference:
            with disabled(self.backbone):
                return self.backbone(**args)
        return self.backbone(**args)

    def prepare_inputs_for_generation(self, *args, **kwargs):
        return self.backbone.prepare_inputs_for_generation(*args, **kwargs)

    @torch.no_grad()
    def generate(self, *args, adapter: Optional[str] = "__current__", **kwargs):
        previous = self._active
        if adapter != "__current__":
            self.set_adapter(adapter)
        try:
            return self.backbone.generate(*args, **kwargs)
        finally:
            self.set_adapter(previous)

    def chat(self, tokenizer, messages: Union[str, List[dict]], adapter="chat", max_new_tokens=256, **kwargs):
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        text = "".join(CHAT_TEMPLATE.format(**m) for m in messages) + "<|assistant|>\n"
        ids = tokenizer(text, return_tensors="pt").to(self.device)
        out = self.generate(**ids, adapter=adapter, max_new_tokens=max_new_tokens, **kwargs)
        return tokenizer.decode(out[0, ids["input_ids"].shape[1]:], skip_special_tokens=True).strip()
