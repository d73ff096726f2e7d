"""Saltmarsh: sparse decoder"""
import inspect
import math
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss

from transformers.cache_utils import Cache, DynamicCache
from transformers.modeling_attn_mask_utils import _prepare_4d_causal_attention_mask
from transformers.modeling_outputs import ModelOutput, MoeModelOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.pytorch_utils import is_torch_greater_or_equal_than_1_13
from transformers.utils import is_flash_attn_2_available, is_flash_attn_greater_or_equal_2_10, logging
from transformers.utils.import_utils import is_torch_fx_available

from .configuration_saltmarsh import SaltmarshConfig
from .moe import Expert, SparseBlock, balance_loss

if is_flash_attn_2_available():
    from flash_attn import flash_attn_func, flash_attn_varlen_func

    _flash_window = "window_size" in list(inspect.signature(flash_attn_func).parameters)

# our export tracer must not walk into the mask
if is_torch_fx_available():
    if not is_torch_greater_or_equal_than_1_13:
        import torch.fx

    _prepare_4d_causal_attention_mask = torch.fx.wrap(_prepare_4d_causal_attention_mask)

logger = logging.get_logger(__name__)


@dataclass
class SaltmarshCausalOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    aux_loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    past_key_values: Optional[Tuple[Tuple[torch.FloatTensor]]] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None
    router_logits: Optional[Tuple[torch.FloatTensor]] = None


class SaltmarshRMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        kind = x.dtype
        x = x.float()
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)).to(kind)


class SaltmarshRotary(nn.Module):
    def __init__(self, dim, base, device=None):
        super().__init__()
        self.dim, self.base = dim, base
        inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.int64).float().to(device) / dim))
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    @torch.no_grad()
    def forward(self, x, position_ids):
        freqs = position_ids[:, :, None].float() * self.inv_freq[None, None, :].float().to(x.device)
        emb = torch.cat((freqs, freqs), dim=-1)
        return emb.cos().to(x.dtype), emb.sin().to(x.dtype)


def _swap(x):
    h = x.shape[-1] // 2
    return torch.cat((-x[..., h:], x[..., :h]), dim=-1)


class SaltmarshAttention(nn.Module):
    def __init__(self, config: SaltmarshConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = config.hidden_size // self.num_heads
        self.q_proj = nn.Linear(config.hidden_size, self.num_heads * self.head_dim, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, self.kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.num_heads * self.head_dim, config.hidden_size, bias=False)
        self.rotary_emb = SaltmarshRotary(self.head_dim, config.rope_theta)

    def _project(self, x, position_ids):
        b, t, _ = x.shape
        q = self.q_proj(x).view(b, t, self.num_heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(b, t, self.kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(b, t, self.kv_heads, self.head_dim).transpose(1, 2)
        cos, sin = self.rotary_emb(v, position_ids)
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return q * cos + _swap(q) * sin, k * cos + _swap(k) * sin, v

    def forward(self, hidden_states, attention_mask=None, position_ids=None, past_key_value: Optional[Cache] = None):
        b, t, _ = hidden_states.shape
        q, k, v = self._project(hidden_states, position_ids)
        if past_key_value is not None:
            k, v = past_key_value.update(k, v, self.layer_idx)
        groups = self.num_heads // self.kv_heads
        k = k.repeat_interleave(groups, dim=1)
        v = v.repeat_interleave(groups, dim=1)
        scores = q @ k.transpose(2, 3) / math.sqrt(self.head_dim)
        if attention_mask is not None:
            scores = scores + attention_mask[..., : k.shape[-2]]
        probs = F.softmax(scores, dim=-1, dtype=torch.float32).to(q.dtype)
        probs = F.dropout(probs, p=self.config.attention_dropout, training=self.training)
        return self.o_proj((probs @ v).transpose(1, 2).reshape(b, t, -1))


class SaltmarshFlashAttention2(SaltmarshAttention):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._flash_attn_uses_top_left_mask = not is_flash_attn_greater_or_equal_2_10()

    def forward(self, hidden_states, attention_mask=None, position_ids=None, past_key_value=None):
        b, t, _ = hidden_states.shape
        q, k, v = self._project(hidden_states, position_ids)
        if past_key_value is not None:
            k, v = past_key_value.update(k, v, self.layer_idx)
        extra = {}
        if _flash_window and self.config.sliding_window is not None:
            extra["window_size"] = (self.config.sliding_window, self.config.sliding_window)
        out = flash_attn_func(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), causal=True, **extra)
        return self.o_proj(out.reshape(b, t, -1))


ATTENTION = {"eager": SaltmarshAttention, "flash_attention_2": SaltmarshFlashAttention2}


class SaltmarshLayer(nn.Module):
    def __init__(self, config: SaltmarshConfig, layer_idx: int):
        super().__init__()
        self.self_attn = ATTENTION[config._attn_implementation](config, layer_idx)
        self.sparse = layer_idx >= config.first_dense_layers
        if self.sparse:
            self.mlp = SparseBlock(config)
        else:
            self.mlp = Expert(config.hidden_size, config.intermediate_size, config.hidden_act)
        self.input_layernorm = SaltmarshRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.post_attention_layernorm = SaltmarshRMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, hidden_states, attention_mask=None, position_ids=None, past_key_value=None):
        hidden_states = hidden_states + self.self_attn(
            self.input_layernorm(hidden_states), attention_mask, position_ids, past_key_value
        )
        normed = self.post_attention_layernorm(hidden_states)
        router = None
        if self.sparse:
            out, router = self.mlp(normed)
        else:
            out = self.mlp(normed)
        return hidden_states + out, router


class SaltmarshPreTrainedModel(PreTrainedModel):
    config_class = SaltmarshConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SaltmarshLayer"]
    _skip_keys_device_placement = "past_key_values"
    _supports_flash_attn_2 = True
    _supports_cache_class = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()


class SaltmarshModel(SaltmarshPreTrainedModel):
    def __init__(self, config: SaltmarshConfig):
        super().__init__(config)
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList([SaltmarshLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = SaltmarshRMSNorm(config.hidden_size, config.rms_norm_eps)
        self._attn_implementation = config._attn_implementation
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[Union[Cache, List[torch.FloatTensor]]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        use_cache: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        output_router_logits: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ):
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        output_router_logits = (
            output_router_logits if output_router_logits is not None else self.config.output_router_logits
        )
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        b, t, _ = inputs_embeds.shape
        past_length = 0
        legacy = False
        if use_cache:
            legacy = not isinstance(past_key_values, Cache)
            if legacy:
                past_key_values = DynamicCache.from_legacy_cache(past_key_values)
            past_length = past_key_values.get_seq_length()
        if position_ids is None:
            position_ids = torch.arange(past_length, past_length + t, device=inputs_embeds.device).unsqueeze(0)
        if self._attn_implementation == "flash_attention_2":
            mask = attention_mask if (attention_mask is not None and 0 in attention_mask) else None
        else:
            mask = _prepare_4d_causal_attention_mask(
                attention_mask, (b, t), inputs_embeds, past_length, sliding_window=self.config.sliding_window
            )
        hidden_states = inputs_embeds
        all_hidden = () if output_hidden_states else None
        routers = ()
        for layer in self.layers:
            if output_hidden_states:
                all_hidden += (hidden_states,)
            if self.gradient_checkpointing and self.training:
                hidden_states, router = self._gradient_checkpointing_func(
                    layer.__call__, hidden_states, mask, position_ids, past_key_values
                )
            else:
                hidden_states, router = layer(hidden_states, mask, position_ids, past_key_values if use_cache else None)
            if router is not None:
                routers += (router,)
        hidden_states = self.norm(hidden_states)
        if output_hidden_states:
            all_hidden += (hidden_states,)
        present = None
        if use_cache:
            present = past_key_values.to_legacy_cache() if legacy else past_key_values
        return MoeModelOutputWithPast(
            last_hidden_state=hidden_states, past_key_values=present, hidden_states=all_hidden,
            router_logits=routers if output_router_logits else None,
        )


class SaltmarshForCausalLM(SaltmarshPreTrainedModel):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.model = SaltmarshModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new):
        self.lm_head = new

    def get_decoder(self):
        return self.model

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, output_hidden_states=None,
                output_router_logits=None, return_dict=None, **unused):
        outputs = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, inputs_embeds=inputs_embeds, use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            output_router_logits=True if labels is not None else output_router_logits,
        )
        logits = self.lm_head(outputs.last_hidden_state).float()
        loss = aux = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[:, :-1].reshape(-1, self.vocab_size), labels[:, 1:].reshape(-1))
            aux = balance_loss(
                outputs.router_logits, self.config.num_local_experts, self.config.num_experts_per_tok
            )
            loss = loss + self.config.router_aux_loss_coef * aux
        return SaltmarshCausalOutput(
            loss=loss, aux_loss=aux, logits=logits, past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states, router_logits=outputs.router_logits,
        )

    def prepare_inputs_for_generation(
        self, input_ids, past_key_values=None, attention_mask=None, inputs_embeds=None, **kwargs
    ):
        if past_key_values is not None:
            if isinstance(past_key_values, Cache):
                past_length = past_key_values.get_seq_length()
            else:
                past_length = past_key_values[0][0].shape[2]
            if attention_mask is not None and attention_mask.shape[1] > input_ids.shape[1]:
                input_ids = input_ids[:, -(attention_mask.shape[1] - past_length):]
            elif past_length < input_ids.shape[1]:
                input_ids = input_ids[:, past_length:]
        position_ids = kwargs.get("position_ids", None)
        if attention_mask is not None and position_ids is None:
            position_ids = attention_mask.long().cumsum(-1) - 1
            position_ids.masked_fill_(attention_mask == 0, 1)
            position_ids = position_ids[:, -input_ids.shape[1]:]
        inputs = {"input_ids": input_ids} if inputs_embeds is None else {"inputs_embeds": inputs_embeds}
        inputs.update(
            position_ids=position_ids, past_key_values=past_key_values, use_cache=kwargs.get("use_cache"),
            attention_mask=attention_mask,
        )
        return inputs

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        return tuple(tuple(p.index_select(0, beam_idx.to(p.device)) for p in layer) for layer in past_key_values)
