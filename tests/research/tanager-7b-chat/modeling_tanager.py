# coding=utf-8
"""PyTorch Tanager model: pre-norm decoder with packed projections and dynamic NTK rotary tables."""
import math
from queue import Queue
from threading import Thread
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss

from transformers.activations import ACT2FN
from transformers.generation.utils import GenerationConfig
from transformers.generation.streamers import BaseStreamer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import add_start_docstrings, logging

from .chat_format import cut_at_turn, flatten
from .configuration_tanager import TanagerConfig

try:
    from flash_attn import flash_attn_func
except ImportError:
    flash_attn_func = None

logger = logging.get_logger(__name__)


def _causal_square(shape: torch.Size, dtype: torch.dtype, device: torch.device, past_length: int = 0):
    batch, length = shape
    square = torch.full((length, length), torch.finfo(dtype).min, device=device)
    steps = torch.arange(length, device=device)
    square.masked_fill_(steps < (steps + 1).view(length, 1), 0)
    square = square.to(dtype)
    if past_length > 0:
        square = torch.cat([torch.zeros(length, past_length, dtype=dtype, device=device), square], dim=-1)
    return square[None, None].expand(batch, 1, length, length + past_length)


def _widen(mask: torch.Tensor, dtype: torch.dtype, tgt_len: Optional[int] = None):
    batch, src_len = mask.shape
    tgt_len = src_len if tgt_len is None else tgt_len
    wide = 1.0 - mask[:, None, None, :].expand(batch, 1, tgt_len, src_len).to(dtype)
    return wide.masked_fill(wide.to(torch.bool), torch.finfo(dtype).min)


class RMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.epsilon = eps

    def forward(self, x):
        scale = torch.rsqrt(x.to(torch.float32).pow(2).mean(-1, keepdim=True) + self.epsilon)
        x = x * scale
        if self.weight.dtype in [torch.float16, torch.bfloat16]:
            x = x.to(self.weight.dtype)
        return self.weight * x


class DynamicRotary(torch.nn.Module):
    def __init__(self, dim, max_position_embeddings=2048, base=10000, ntk=False, device=None):
        super().__init__()
        self.dim, self.base, self.ntk = dim, base, ntk
        self.trained_length = max_position_embeddings
        self.inv_freq = 1.0 / (base ** (torch.arange(0, dim, 2).float().to(device) / dim))
        self.max_seq_len_cached = 0
        self._fill(max_position_embeddings, self.inv_freq)

    def _fill(self, length, inv_freq):
        self.max_seq_len_cached = length
        t = torch.arange(length, device=inv_freq.device, dtype=inv_freq.dtype)
        freqs = torch.einsum("i,j->ij", t, inv_freq)
        emb = torch.cat((freqs, freqs), dim=-1)
        self.cos_cached = emb.cos()[None, None, :, :].to(torch.float32)
        self.sin_cached = emb.sin()[None, None, :, :].to(torch.float32)

    def forward(self, x, seq_len=None):
        if seq_len > self.max_seq_len_cached:
            inv = self.inv_freq
            if self.ntk:
                alpha = 2 ** math.ceil(math.log2(seq_len / self.trained_length) + 1) - 1
                base = self.base * alpha ** (self.dim / (self.dim - 2))
                inv = 1.0 / (base ** (torch.arange(0, self.dim, 2).float().to(x.device) / self.dim))
            self._fill(seq_len, inv.to(x.device))
        elif self.cos_cached.device != x.device:
            self.cos_cached = self.cos_cached.to(x.device)
            self.sin_cached = self.sin_cached.to(x.device)
        return self.cos_cached[:, :, :seq_len, ...], self.sin_cached[:, :, :seq_len, ...]


def half_turn(x):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((-b, a), dim=-1)


def rotate(q, k, cos, sin, position_ids):
    cos = cos.squeeze(1).squeeze(0)[position_ids].unsqueeze(1)
    sin = sin.squeeze(1).squeeze(0)[position_ids].unsqueeze(1)
    return (q * cos + half_turn(q) * sin).to(q.dtype), (k * cos + half_turn(k) * sin).to(k.dtype)


class PackedMLP(nn.Module):
    def __init__(self, hidden_size, intermediate_size, hidden_act):
        super().__init__()
        self.gate_up = nn.Linear(hidden_size, 2 * intermediate_size, bias=False)
        self.down = nn.Linear(intermediate_size, hidden_size, bias=False)
        self.act_fn = ACT2FN[hidden_act]

    def forward(self, x):
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(self.act_fn(gate) * up)


class TanagerAttention(nn.Module):
    def __init__(self, config: TanagerConfig):
        super().__init__()
        self.config = config
        self.hidden_size = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.head_dim = self.hidden_size // self.num_heads
        if self.head_dim * self.num_heads != self.hidden_size:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of {self.num_heads} heads")
        self.W_pack = nn.Linear(self.hidden_size, 3 * self.hidden_size, bias=False)
        self.o_proj = nn.Linear(self.num_heads * self.head_dim, self.hidden_size, bias=False)
        self.rotary_emb = DynamicRotary(
            self.head_dim, max_position_embeddings=config.max_position_embeddings, ntk=config.use_dynamic_ntk
        )

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_value: Optional[Tuple[torch.Tensor]] = None,
        output_attentions: bool = False,
        use_cache: bool = False,
    ):
        bsz, q_len, _ = hidden_states.size()
        packed = self.W_pack(hidden_states).unflatten(-1, (3, self.num_heads, self.head_dim)).permute(2, 0, 3, 1, 4)
        query, key, value = packed[0], packed[1], packed[2]
        kv_seq_len = key.shape[-2]
        if past_key_value is not None:
            kv_seq_len += past_key_value[0].shape[-2]
        cos, sin = self.rotary_emb(value, seq_len=kv_seq_len)
        query, key = rotate(query, key, cos, sin, position_ids)
        if past_key_value is not None:
            key = torch.cat([past_key_value[0], key], dim=2)
            value = torch.cat([past_key_value[1], value], dim=2)
        past_key_value = (key, value) if use_cache else None

        if flash_attn_func is not None and query.is_cuda and self.training:
            out = flash_attn_func(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), causal=True)
            return self.o_proj(out.reshape(bsz, q_len, -1)), None, past_key_value

        weights = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(self.head_dim)
        if attention_mask is not None:
            if attention_mask.size() != (bsz, 1, q_len, kv_seq_len):
                raise ValueError(f"mask of {attention_mask.size()}, expected {(bsz, 1, q_len, kv_seq_len)}")
            weights = weights + attention_mask
            weights = torch.max(weights, torch.tensor(torch.finfo(weights.dtype).min, device=weights.device))
        weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
        out = torch.matmul(weights, value).transpose(1, 2).reshape(bsz, q_len, self.hidden_size)
        return self.o_proj(out), (weights if output_attentions else None), past_key_value


class TanagerLayer(nn.Module):
    def __init__(self, config: TanagerConfig):
        super().__init__()
        self.self_attn = TanagerAttention(config)
        self.mlp = PackedMLP(config.hidden_size, config.intermediate_size, config.hidden_act)
        self.input_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, hidden_states, attention_mask=None, position_ids=None, past_key_value=None,
                output_attentions=False, use_cache=False):
        residual = hidden_states
        hidden_states, weights, present = self.self_attn(
            self.input_layernorm(hidden_states), attention_mask, position_ids, past_key_value, output_attentions,
            use_cache,
        )
        hidden_states = residual + hidden_states
        hidden_states = hidden_states + self.mlp(self.post_attention_layernorm(hidden_states))
        outputs = (hidden_states,)
        if output_attentions:
            outputs += (weights,)
        if use_cache:
            outputs += (present,)
        return outputs


class TanagerPreTrainedModel(PreTrainedModel):
    config_class = TanagerConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["TanagerLayer"]
    _keys_to_ignore_on_load_unexpected = [r"decoder\.version"]

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

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, TanagerModel):
            module.gradient_checkpointing = value


@add_start_docstrings("The bare Tanager model.")
class TanagerModel(TanagerPreTrainedModel):
    def __init__(self, config: TanagerConfig):
        super().__init__(config)
        self.padding_idx = config.pad_token_id
        self.vocab_size = config.vocab_size
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, self.padding_idx)
        self.layers = nn.ModuleList([TanagerLayer(config) for _ in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_tokens

    def set_input_embeddings(self, value):
        self.embed_tokens = value

    def _prepare_decoder_attention_mask(self, attention_mask, input_shape, inputs_embeds, past_length):
        combined = None
        if input_shape[-1] > 1:
            combined = _causal_square(input_shape, inputs_embeds.dtype, inputs_embeds.device, past_length)
        if attention_mask is not None:
            wide = _widen(attention_mask, inputs_embeds.dtype, tgt_len=input_shape[-1]).to(inputs_embeds.device)
            combined = wide if combined is None else wide + combined
        return combined

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[List[torch.FloatTensor]] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, BaseModelOutputWithPast]:
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if input_ids is not None and inputs_embeds is not None:
            raise ValueError("Give input_ids or inputs_embeds, not both")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        batch, length, _ = inputs_embeds.shape
        past_length = past_key_values[0][0].shape[2] if past_key_values is not None else 0
        if position_ids is None:
            position_ids = torch.arange(past_length, length + past_length, device=inputs_embeds.device).unsqueeze(0)
        if attention_mask is None:
            attention_mask = torch.ones((batch, length + past_length), dtype=torch.bool, device=inputs_embeds.device)
        attention_mask = self._prepare_decoder_attention_mask(
            attention_mask, (batch, length), inputs_embeds, past_length
        )
        if self.gradient_checkpointing and self.training and use_cache:
            logger.warning_once("use_cache=True does not go with gradient checkpointing")
            use_cache = False

        hidden_states = inputs_embeds
        all_hidden = () if output_hidden_states else None
        all_attn = () if output_attentions else None
        next_cache = () if use_cache else None
        for idx, layer in enumerate(self.layers):
            if output_hidden_states:
                all_hidden += (hidden_states,)
            past = past_key_values[idx] if past_key_values is not None else None
            if self.gradient_checkpointing and self.training:
                outs = torch.utils.checkpoint.checkpoint(layer, hidden_states, attention_mask, position_ids, None)
            else:
                outs = layer(hidden_states, attention_mask, position_ids, past, output_attentions, use_cache)
            hidden_states = outs[0]
            if use_cache:
                next_cache += (outs[2 if output_attentions else 1],)
            if output_attentions:
                all_attn += (outs[1],)
        hidden_states = self.norm(hidden_states)
        if output_hidden_states:
            all_hidden += (hidden_states,)
        if not return_dict:
            return tuple(v for v in [hidden_states, next_cache, all_hidden, all_attn] if v is not None)
        return BaseModelOutputWithPast(hidden_states, next_cache, all_hidden, all_attn)


class _QueueStreamer(BaseStreamer):
    def __init__(self, tokenizer):
        self.tokenizer, self.queue, self.ids, self.first = tokenizer, Queue(), [], True

    def put(self, value):
        if self.first:
            self.first = False
            return
        self.ids.append(value[-1].item())
        self.queue.put(self.tokenizer.decode(self.ids))

    def end(self):
        self.queue.put(None)


class TanagerForCausalLM(TanagerPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.model = TanagerModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, output_attentions=None, output_hidden_states=None,
                return_dict=None) -> Union[Tuple, CausalLMOutputWithPast]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.model(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
            past_key_values=past_key_values, inputs_embeds=inputs_embeds, use_cache=use_cache,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=return_dict,
        )
        logits = self.lm_head(outputs[0]).float()
        if self.config.logit_softcap:
            logits = self.config.logit_softcap * torch.tanh(logits / self.config.logit_softcap)
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(
                logits[..., :-1, :].reshape(-1, self.config.vocab_size), labels[..., 1:].reshape(-1).to(logits.device)
            )
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + outputs[1:]
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=outputs.past_key_values, hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def prepare_inputs_for_generation(
        self, input_ids, past_key_values=None, attention_mask=None, inputs_embeds=None, **kwargs
    ):
        if past_key_values:
            input_ids = input_ids[:, -1:]
        position_ids = kwargs.get("position_ids", None)
        if attention_mask is not None and position_ids is None:
            position_ids = attention_mask.long().cumsum(-1) - 1
            position_ids.masked_fill_(attention_mask == 0, 1)
            if past_key_values:
                position_ids = position_ids[:, -1].unsqueeze(-1)
        if inputs_embeds is not None and past_key_values is None:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids}
        model_inputs.update(
            {
                "position_ids": position_ids,
                "past_key_values": past_key_values,
                "use_cache": kwargs.get("use_cache"),
                "attention_mask": attention_mask,
            }
        )
        return model_inputs

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        return tuple(tuple(state.index_select(0, beam_idx) for state in layer) for layer in past_key_values)

    @torch.no_grad()
    def chat(self, tokenizer, query, history=None, generation_config: Optional[GenerationConfig] = None, **kwargs):
        history = history or []
        inputs = tokenizer(flatten(history, query), return_tensors="pt").to(self.device)
        output = self.generate(**inputs, generation_config=generation_config or self.generation_config, **kwargs)
        response = cut_at_turn(tokenizer.decode(output[0][inputs["input_ids"].shape[1]:]))
        return response, history + [(query, response)]

    @torch.no_grad()
    def stream_chat(self, tokenizer, query, history=None, **kwargs):
        streamer = _QueueStreamer(tokenizer)
        inputs = tokenizer(flatten(history or [], query), return_tensors="pt").to(self.device)
        Thread(target=lambda: self.generate(**inputs, streamer=streamer, **kwargs)).start()
        while True:
            piece = streamer.queue.get()
            if piece is None:
                return
            yield piece
