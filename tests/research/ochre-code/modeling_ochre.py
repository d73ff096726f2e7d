"""A simple, flexible implementation of a GPT model for code."""
import math
import warnings
from typing import Any, Dict, List, Optional, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .attention import GroupedQueryAttention, build_alibi_bias, is_flash_v2_installed
from .configuration_ochre import OchreConfig
from .fim import cut, fim_prompt
from .norm import LPLayerNorm

try:
    from flash_attn import flash_attn_func
except:
    flash_attn_func = None


class OchreMLP(nn.Module):
    def __init__(self, d_model, expansion_ratio, bias):
        super().__init__()
        self.up_proj = nn.Linear(d_model, expansion_ratio * d_model, bias=bias)
        self.down_proj = nn.Linear(expansion_ratio * d_model, d_model, bias=bias)
        self.down_proj._is_residual = True

    def forward(self, x):
        return self.down_proj(F.gelu(self.up_proj(x)))


class OchreBlock(nn.Module):
    def __init__(self, config: OchreConfig):
        super().__init__()
        attn = config.attn_config
        bias = not config.no_bias
        self.norm_1 = LPLayerNorm(config.d_model, bias=bias)
        self.attn = GroupedQueryAttention(
            config.d_model,
            config.n_heads,
            1 if attn["attn_type"] == "multiquery" else config.n_heads,
            qk_ln=attn["qk_ln"],
            clip_qkv=attn["clip_qkv"],
            softmax_scale=attn["softmax_scale"],
            bias=bias,
        )
        self.norm_2 = LPLayerNorm(config.d_model, bias=bias)
        self.ffn = OchreMLP(config.d_model, config.expansion_ratio, bias)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x, past_key_value=None, attn_bias=None, attention_mask=None):
        b, past_key_value = self.attn(self.norm_1(x), past_key_value, attn_bias, attention_mask)
        x = x + self.resid_dropout(b)
        return x + self.resid_dropout(self.ffn(self.norm_2(x))), past_key_value


class OchrePreTrainedModel(PreTrainedModel):
    config_class = OchreConfig
    base_model_prefix = "transformer"
    _no_split_modules = ["OchreBlock"]


class OchreModel(OchrePreTrainedModel):
    def __init__(self, config: OchreConfig):
        config._validate_config()
        super().__init__(config)
        self.alibi = config.attn_config["alibi"]
        self.alibi_bias_max = config.attn_config["alibi_bias_max"]
        self.embedding_fraction = config.embedding_fraction
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        if config.learned_pos_emb:
            self.wpe = nn.Embedding(config.max_seq_len, config.d_model)
        self.emb_drop = nn.Dropout(config.emb_pdrop)
        self.blocks = nn.ModuleList([OchreBlock(config) for _ in range(config.n_layers)])
        self.norm_f = LPLayerNorm(config.d_model, bias=not config.no_bias)
        self._attn_bias_initialized = False
        self.attn_bias = None
        if config.no_bias:
            for module in self.modules():
                if hasattr(module, "bias") and isinstance(module.bias, nn.Parameter):
                    module.register_parameter("bias", None)

    def get_input_embeddings(self):
        return self.wte

    def set_input_embeddings(self, value):
        self.wte = value

    @torch.no_grad()
    def _attn_bias(self, device, dtype):
        if not self._attn_bias_initialized:
            if self.alibi:
                self.attn_bias = build_alibi_bias(
                    self.config.n_heads, self.config.max_seq_len, self.alibi_bias_max, device=device, dtype=dtype
                )
            self._attn_bias_initialized = True
        return self.attn_bias

    def forward(
        self,
        input_ids=None,
        past_key_values: Optional[List[Tuple[torch.FloatTensor]]] = None,
        attention_mask: Optional[torch.Tensor] = None,
        use_cache: Optional[bool] = None,
        inputs_embeds: Optional[torch.Tensor] = None,
        output_hidden_states: Optional[bool] = None,
        **kwargs,
    ):
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if attention_mask is not None:
            attention_mask = attention_mask.bool()
            if self.training and attention_mask[:, 0].sum() != attention_mask.shape[0]:
                raise NotImplementedError("does not support training with left padding.")
            if bool(attention_mask.all()):
                attention_mask = None
        x = self.wte(input_ids) if inputs_embeds is None else inputs_embeds
        past_position = 0
        if isinstance(past_key_values, Cache):
            # generate hands over Cache objects since 4.36
            past_key_values = past_key_values.to_legacy_cache() if past_key_values.get_seq_length() > 0 else None
        if past_key_values is not None:
            if len(past_key_values) != self.config.n_layers:
                raise ValueError("past_key_values must provide a past_key_value for each layer")
            past_position = past_key_values[0][0].size(2)
        if self.config.learned_pos_emb:
            if x.size(1) + past_position > self.config.max_seq_len:
                raise ValueError(f"Cannot forward input with past sequence length {past_position}")
            pos = torch.arange(past_position, x.size(1) + past_position, device=x.device).unsqueeze(0)
            x = x + self.wpe(pos)
        x = self.emb_drop(x)
        attn_bias = self._attn_bias(device=x.device, dtype=x.dtype)
        if use_cache and past_key_values is None:
            past_key_values = [() for _ in range(self.config.n_layers)]
        presents = () if use_cache else None
        hidden = () if output_hidden_states else None
        for b_idx, block in enumerate(self.blocks):
            if output_hidden_states:
                hidden = hidden + (x,)
            past_key_value = past_key_values[b_idx] if past_key_values is not None else None
            x, present = block(x, past_key_value, attn_bias, attention_mask)
            if presents is not None:
                presents += (present,)
        return BaseModelOutputWithPast(last_hidden_state=self.norm_f(x), past_key_values=presents, hidden_states=hidden)


class OchreForCausalLM(OchrePreTrainedModel, GenerationMixin):
    def __init__(self, config: OchreConfig):
        super().__init__(config)
        if not config.tie_word_embeddings:
            raise ValueError("OchreForCausalLM only supports tied word embeddings")
        self.transformer = OchreModel(config)
        self.logit_scale = None
        if config.logit_scale is not None:
            logit_scale = config.logit_scale
            if isinstance(logit_scale, str):
                logit_scale = 1 / math.sqrt(config.d_model)
            self.logit_scale = logit_scale
        if is_flash_v2_installed():
            warnings.warn("flash-attn is there, but this model does not use it")
        self.post_init()

    def get_input_embeddings(self):
        return self.transformer.wte

    def set_input_embeddings(self, value):
        self.transformer.wte = value

    def get_output_embeddings(self):
        return self.transformer.wte

    def set_output_embeddings(self, new_embeddings):
        self.transformer.wte = new_embeddings

    def get_decoder(self):
        return self.transformer

    def forward(
        self,
        input_ids=None,
        past_key_values=None,
        attention_mask=None,
        labels=None,
        return_dict=None,
        output_attentions=None,
        output_hidden_states=None,
        use_cache=None,
        inputs_embeds=None,
    ):
        outputs = self.transformer(
            input_ids=input_ids,
            past_key_values=past_key_values,
            attention_mask=attention_mask,
            use_cache=use_cache,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
        )
        logits = F.linear(outputs.last_hidden_state, self.transformer.wte.weight)
        if self.logit_scale is not None:
            logits = logits * self.logit_scale
        loss = None
        if labels is not None:
            _labels = torch.roll(labels, shifts=-1)
            _labels[:, -1] = -100
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), _labels.view(-1))
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values)

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, inputs_embeds=None, **kwargs):
        attention_mask = kwargs["attention_mask"].bool()
        if attention_mask[:, -1].sum() != attention_mask.shape[0]:
            raise NotImplementedError("does not support generation with right padding.")
        if isinstance(past_key_values, Cache) and past_key_values.get_seq_length() == 0:
            past_key_values = None
        if past_key_values is not None:
            input_ids = input_ids[:, -1].unsqueeze(-1)
        if inputs_embeds is not None and past_key_values is None:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids}
        model_inputs.update(
            {
                "attention_mask": attention_mask,
                "past_key_values": past_key_values,
                "use_cache": kwargs.get("use_cache", True),
            }
        )
        return model_inputs

    @torch.no_grad()
    def infill(self, tokenizer, before: str, after: str, max_new_tokens: int = 64) -> str:
        tokens = tokenizer(fim_prompt(before, after), return_tensors="pt").to(self.device)
        written = self.generate(**tokens, max_new_tokens=max_new_tokens, do_sample=False)
        return cut(tokenizer.decode(written[0, tokens["input_ids"].shape[1] :]))

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        reordered_past = []
        for layer_past in past_key_values:
            reordered_past += [tuple(past_state.index_select(0, beam_idx) for past_state in layer_past)]
        return reordered_past
