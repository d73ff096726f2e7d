from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers.cache_utils import DynamicCache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel

from .compat_godwit import V5, GenerationMixin, optional, tied, use_return_dict
from .configuration_godwit import GodwitConfig

init = optional("transformers.initialization", "normal_") or nn.init.normal_
flash_attn_func = optional("flash_attn", "flash_attn_func")


class GodwitNorm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * self.weight.float()).to(x.dtype)


def angles(positions, size, base):
    """No buffer: releases disagree about what becomes of those."""
    rates = 1.0 / base ** (torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size)
    a = positions.float()[..., None] * rates
    return a.cos().repeat(1, 1, 2)[:, None], a.sin().repeat(1, 1, 2)[:, None]


def rotate(x, cos, sin):
    left, right = x.float().chunk(2, -1)
    return (x.float() * cos + torch.cat([-right, left], -1) * sin).to(x.dtype)


class GodwitAttention(nn.Module):
    def __init__(self, config: GodwitConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = config.hidden_size // self.heads
        self.q = nn.Linear(config.hidden_size, self.heads * self.size, bias=False)
        self.k = nn.Linear(config.hidden_size, self.kv_heads * self.size, bias=False)
        self.v = nn.Linear(config.hidden_size, self.kv_heads * self.size, bias=False)
        self.o = nn.Linear(self.heads * self.size, config.hidden_size, bias=False)

    def forward(self, x, rope, mask, past=None):
        b, t, _ = x.shape
        q = rotate(self.q(x).view(b, t, self.heads, self.size).transpose(1, 2), *rope)
        k = rotate(self.k(x).view(b, t, self.kv_heads, self.size).transpose(1, 2), *rope)
        v = self.v(x).view(b, t, self.kv_heads, self.size).transpose(1, 2)
        if past is not None:
            k, v = past.update(k, v, self.layer_idx)
        group = self.heads // self.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        if flash_attn_func is not None and x.is_cuda and x.dtype in (torch.float16, torch.bfloat16) and mask is None:
            y = flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal=True)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)
        return self.o(y.reshape(b, t, -1))


class GodwitLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.norm1 = GodwitNorm(config.hidden_size, config.norm_eps)
        self.attention = GodwitAttention(config, layer_idx)
        self.norm2 = GodwitNorm(config.hidden_size, config.norm_eps)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.gate = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x, rope, mask, past=None):
        x = x + self.attention(self.norm1(x), rope, mask, past)
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class GodwitPreTrainedModel(PreTrainedModel):
    config_class = GodwitConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = False
    _no_split_modules = ["GodwitLayer"]
    _supports_sdpa = True
    _supports_cache_class = True

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            init(module.weight, mean=0.0, std=self.config.initializer_range)
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)
        elif not V5 and isinstance(module, GodwitNorm):
            module.weight.data.fill_(1.0)


class GodwitModel(GodwitPreTrainedModel):
    def __init__(self, config: GodwitConfig):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([GodwitLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = GodwitNorm(config.hidden_size, config.norm_eps)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def set_input_embeddings(self, value):
        self.embed = value

    def make_mask(self, attention_mask, start, length, device):
        total = start + length
        where = torch.arange(total, device=device)
        mask = where[None, :] <= where[start:, None]
        mask = mask[None, None]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, :total].bool()
            mask = mask | (where[None, :] == where[start:, None])[None, None]  # a row of nothing gives NaN
        return mask

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values=None,
        inputs_embeds: Optional[torch.Tensor] = None,
        use_cache: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, BaseModelOutputWithPast]:
        x = self.embed(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = self.config.use_cache if use_cache is None else use_cache
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        past = past_key_values if use_cache else None
        start = int(past.get_seq_length()) if past is not None else 0
        if position_ids is None:
            position_ids = torch.arange(start, start + x.shape[1], device=x.device)[None]
        rope = angles(position_ids, self.config.hidden_size // self.config.num_attention_heads, self.config.rotary_base)
        mask = self.make_mask(attention_mask, start, x.shape[1], x.device)
        states = ()
        for layer in self.layers:
            states += (x,)
            x = layer(x, rope, mask, past)
        x = self.norm(x)
        if not use_return_dict(self.config, return_dict):
            return (x, past)
        return BaseModelOutputWithPast(
            last_hidden_state=x, past_key_values=past, hidden_states=states + (x,) if output_hidden_states else None
        )


class GodwitForCausalLM(GodwitPreTrainedModel, GenerationMixin):
    _tied_weights_keys = tied("lm_head.weight", "model.embed.weight")

    def __init__(self, config: GodwitConfig):
        super().__init__(config)
        self.model = GodwitModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed

    def set_input_embeddings(self, value):
        self.model.embed = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def prepare_inputs_for_generation(
        self, input_ids, past_key_values=None, attention_mask=None, inputs_embeds=None, **kwargs
    ):
        start = int(past_key_values.get_seq_length()) if past_key_values is not None else 0
        inputs = {"past_key_values": past_key_values, "attention_mask": attention_mask, "use_cache": True}
        if inputs_embeds is not None and start == 0:
            inputs["inputs_embeds"] = inputs_embeds
        else:
            inputs["input_ids"] = input_ids[:, start:]
        return inputs

    def loss(self, logits, labels):
        logits, labels = logits[:, :-1].float(), labels[:, 1:]
        keep = labels != -100
        loss = F.cross_entropy(logits[keep], labels[keep])
        loss = loss + self.config.z_loss * logits[keep].logsumexp(-1).pow(2).mean()
        if self.config.unlikelihood:
            p = logits[:, 1:].softmax(-1).gather(-1, labels[:, :-1].clamp(min=0)[..., None])
            loss = loss - self.config.unlikelihood * torch.log1p(-p.clamp(max=0.999)).mean()
        return loss

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values=None,
        inputs_embeds: Optional[torch.Tensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ):
        out = self.model(
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache, output_hidden_states, True
        )
        logits = self.lm_head(out.last_hidden_state)
        loss = self.loss(logits, labels) if labels is not None else None
        if not use_return_dict(self.config, return_dict):
            return (logits, out.past_key_values) if loss is None else (loss, logits, out.past_key_values)
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=out.past_key_values, hidden_states=out.hidden_states
        )
