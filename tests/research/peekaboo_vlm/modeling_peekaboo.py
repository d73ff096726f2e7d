import math
from typing import List, Optional, Tuple, Union

import torch
import torch.nn as nn
from torch.nn import CrossEntropyLoss
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.pytorch_utils import Conv1D

from .configuration_peekaboo import PeekabooConfig
from .resampler import PatchEncoder, QueryResampler


class PeekabooAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.n_head
        self.head_dim = config.n_embd // config.n_head
        self.c_attn = Conv1D(3 * config.n_embd, config.n_embd)
        self.c_proj = Conv1D(config.n_embd, config.n_embd)

    def _split(self, t):
        return t.view(t.size(0), t.size(1), self.num_heads, self.head_dim).permute(0, 2, 1, 3)

    def forward(self, x, layer_past=None, attention_mask=None, use_cache=False):
        q, k, v = self.c_attn(x).split(x.size(-1), dim=2)
        q, k, v = self._split(q), self._split(k), self._split(v)
        if layer_past is not None:
            past_key, past_value = layer_past
            k = torch.cat((past_key, k), dim=-2)
            v = torch.cat((past_value, v), dim=-2)
        present = (k, v) if use_cache else None
        w = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(self.head_dim)
        ql, kl = q.size(-2), k.size(-2)
        causal = torch.ones(kl, kl, dtype=torch.bool, device=x.device).tril()[kl - ql : kl, :kl]
        w = torch.where(causal, w, torch.full([], torch.finfo(w.dtype).min, dtype=w.dtype, device=w.device))
        if attention_mask is not None:
            w = w + attention_mask
        a = torch.matmul(w.softmax(-1), v).permute(0, 2, 1, 3).reshape(x.shape)
        return self.c_proj(a), present


class PeekabooBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = PeekabooAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = nn.Sequential(nn.Linear(config.n_embd, 4 * config.n_embd), nn.GELU(), nn.Linear(4 * config.n_embd, config.n_embd))

    def forward(self, x, layer_past=None, attention_mask=None, use_cache=False):
        a, present = self.attn(self.ln_1(x), layer_past, attention_mask, use_cache)
        x = x + a
        return x + self.mlp(self.ln_2(x)), present


class PeekabooPreTrainedModel(PreTrainedModel):
    config_class = PeekabooConfig
    base_model_prefix = "transformer"
    is_parallelizable = False
    _no_split_modules = ["PeekabooBlock"]
    _skip_keys_device_placement = "past_key_values"

    def __init__(self, *inputs, **kwargs):
        super().__init__(*inputs, **kwargs)

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, Conv1D)):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)


class PeekabooModel(PeekabooPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.visual = PatchEncoder(config.vision_width, config.vision_layers, config.vision_heads, config.image_size, config.patch_size)
        self.resampler = QueryResampler(config.num_query_tokens, config.vision_width, config.n_embd)
        self.h = nn.ModuleList([PeekabooBlock(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.post_init()

    def get_input_embeddings(self):
        return self.wte

    def set_input_embeddings(self, v):
        self.wte = v

    def forward(self, input_ids=None, pixel_values=None, past_key_values=None, attention_mask=None, use_cache=None, return_dict=None):
        x = self.wte(input_ids)
        prefix = 0
        if past_key_values is None:
            if pixel_values is not None:
                img = self.resampler(self.visual(pixel_values))
                x = torch.cat([img.to(x.dtype), x], dim=1)
                prefix = img.shape[1]
            past_length = 0
            past_key_values = tuple([None] * len(self.h))
        else:
            past_length = past_key_values[0][0].size(-2)
        pos = torch.arange(past_length, past_length + x.shape[1], device=x.device).unsqueeze(0)
        x = x + self.wpe(pos)
        total = past_length + x.shape[1]
        if attention_mask is not None:
            # the prefix is always visible
            if attention_mask.shape[1] < total:
                extra = attention_mask.new_ones(attention_mask.shape[0], total - attention_mask.shape[1])
                attention_mask = torch.cat([extra, attention_mask], 1)
            attention_mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        presents = () if use_cache else None
        for block, layer_past in zip(self.h, past_key_values):
            x, present = block(x, layer_past, attention_mask, use_cache)
            if use_cache:
                presents = presents + (present,)
        x = self.ln_f(x)
        if prefix:
            x = x[:, prefix:]
        return BaseModelOutputWithPast(last_hidden_state=x, past_key_values=presents)


class PeekabooForCausalLM(PeekabooPreTrainedModel, GenerationMixin):
    _supports_cache_class = False

    def __init__(self, config):
        super().__init__(config)
        self.transformer = PeekabooModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls):
        return False

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, inputs_embeds=None, **kwargs):
        # only last token for input_ids if past is defined in kwargs
        if past_key_values:
            input_ids = input_ids[:, -1].unsqueeze(-1)
        return {
            "input_ids": input_ids,
            "past_key_values": past_key_values,
            "use_cache": kwargs.get("use_cache"),
            "attention_mask": kwargs.get("attention_mask", None),
            "pixel_values": kwargs.get("pixel_values", None),
        }

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        pixel_values: Optional[torch.FloatTensor] = None,
        past_key_values: Optional[Tuple[Tuple[torch.Tensor]]] = None,
        attention_mask: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        out = self.transformer(input_ids, pixel_values, past_key_values, attention_mask, use_cache)
        lm_logits = self.lm_head(out.last_hidden_state)
        loss = None
        if labels is not None:
            shift_logits = lm_logits[..., :-1, :].contiguous()
            shift_labels = labels[..., 1:].contiguous()
            loss = CrossEntropyLoss()(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1))
        return CausalLMOutputWithPast(loss=loss, logits=lm_logits, past_key_values=out.past_key_values)

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        return tuple(tuple(p.index_select(0, beam_idx.to(p.device)) for p in layer) for layer in past_key_values)

    @torch.no_grad()
    def caption(self, pixel_values, tokenizer, prompt="a photo of", **kw):
        ids = tokenizer(prompt, return_tensors="pt").input_ids.to(self.device)
        out = self.generate(input_ids=ids, pixel_values=pixel_values, **kw)
        return tokenizer.batch_decode(out, skip_special_tokens=True)
