""" PyTorch Tallow model. """
import copy
import math
import re
from threading import Thread
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.generation.logits_process import LogitsProcessorList
from transformers.generation.stopping_criteria import StoppingCriteriaList
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutputWithPast,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_tallow import TallowConfig
from .tallow_chat_utils import DropNanLogits, QueueStreamer, StopOnSequences, build_prompt, trim_ids

try:
    from flash_attn import flash_attn_func
except ImportError:
    flash_attn_func = None

logger = logging.get_logger(__name__)

# torch._C._jit_set_profiling_mode(False)


class TallowRotary(nn.Module):
    def __init__(self, dim, base=10000, rope_ratio=1.0, max_seq_len=2048, dynamic_ntk=True):
        super().__init__()
        self.dim = dim
        self.base = base * rope_ratio
        self.max_seq_len = max_seq_len
        self.dynamic_ntk = dynamic_ntk
        inv_freq = 1.0 / (self.base ** (torch.arange(0, dim, 2).float() / dim))
        self.register_buffer("inv_freq", inv_freq)
        self._len_cached = 0
        self._alpha_cached = 1.0
        self._cos_sin = None

    def _alpha(self, seq_len):
        if not self.dynamic_ntk or seq_len <= self.max_seq_len:
            return 1.0
        ctx = math.log(seq_len / self.max_seq_len, 2) + 1
        return max(2 ** math.ceil(ctx) - 1, 1)

    def _build(self, seq_len, device, dtype):
        alpha = self._alpha(seq_len)
        if seq_len > self._len_cached or alpha != self._alpha_cached or self._cos_sin.device != device:
            if alpha != 1.0:
                base = self.base * alpha ** (self.dim / (self.dim - 2))
                inv_freq = 1.0 / (base ** (torch.arange(0, self.dim, 2, device=device).float() / self.dim))
            else:
                inv_freq = self.inv_freq.to(device)
            self._len_cached = max(2 * seq_len, 16)
            self._alpha_cached = alpha
            t = torch.arange(self._len_cached, device=device, dtype=torch.float32)
            freqs = torch.outer(t, inv_freq.float())
            self._cos_sin = torch.stack([freqs.cos(), freqs.sin()], dim=-1)
        return self._cos_sin[:seq_len].to(dtype)

    def forward(self, seq_len, device, dtype):
        return self._build(seq_len, device, dtype)


@torch.jit.script
def apply_rotary_interleaved(x: torch.Tensor, cache: torch.Tensor) -> torch.Tensor:
    # x: [b, s, h, d], cache: [b, s, rot/2, 2]
    rot = cache.size(-2) * 2
    x_rot, x_pass = x[..., :rot], x[..., rot:]
    xs = x_rot.reshape(x.size(0), x.size(1), x.size(2), rot // 2, 2)
    c = cache[:, :, None, :, 0]
    s = cache[:, :, None, :, 1]
    out = torch.stack([xs[..., 0] * c - xs[..., 1] * s, xs[..., 1] * c + xs[..., 0] * s], dim=-1)
    return torch.cat((out.flatten(3), x_pass), dim=-1)


class TallowRMSNorm(nn.Module):
    def __init__(self, size, eps=1e-5, device=None, dtype=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size, device=device, dtype=dtype))
        self.eps = eps

    def forward(self, x):
        in_dtype = x.dtype
        var = x.float().pow(2).mean(-1, keepdim=True)
        return (self.weight * (x * torch.rsqrt(var + self.eps))).to(in_dtype)


class TallowAttention(nn.Module):
    def __init__(self, config: TallowConfig, layer_number):
        super().__init__()
        self.layer_number = max(1, layer_number)
        self.num_heads = config.num_attention_heads
        self.num_groups = config.multi_query_group_num
        self.head_dim = config.kv_channels
        self.proj_size = self.num_heads * self.head_dim
        self.kv_size = self.num_groups * self.head_dim
        self.query_key_value = nn.Linear(
            config.hidden_size, self.proj_size + 2 * self.kv_size, bias=config.add_qkv_bias
        )
        self.dense = nn.Linear(self.proj_size, config.hidden_size, bias=False)
        self.dropout = nn.Dropout(config.attention_dropout)
        self.use_logn = config.use_logn_attn
        logn = [math.log(i, config.seq_length) if i > config.seq_length else 1 for i in range(1, 4 * config.seq_length)]
        self.logn_list = logn

    def forward(self, hidden_states, attention_mask, rotary, kv_cache=None, use_cache=True, output_attentions=False):
        b, s, _ = hidden_states.shape
        mixed = self.query_key_value(hidden_states)
        q, k, v = mixed.split([self.proj_size, self.kv_size, self.kv_size], dim=-1)
        q = q.view(b, s, self.num_heads, self.head_dim)
        k = k.view(b, s, self.num_groups, self.head_dim)
        v = v.view(b, s, self.num_groups, self.head_dim)
        q = apply_rotary_interleaved(q, rotary)
        k = apply_rotary_interleaved(k, rotary)

        if kv_cache is not None:
            k = torch.cat((kv_cache[0], k), dim=1)
            v = torch.cat((kv_cache[1], v), dim=1)
        present = (k, v) if use_cache else None

        if self.use_logn and not self.training:
            kv_len = k.size(1)
            scale = torch.tensor(self.logn_list[kv_len - s: kv_len], device=q.device, dtype=q.dtype)
            q = q * scale[None, :, None, None]

        rep = self.num_heads // self.num_groups
        k_ = k.unsqueeze(3).expand(-1, -1, -1, rep, -1).reshape(b, -1, self.num_heads, self.head_dim)
        v_ = v.unsqueeze(3).expand(-1, -1, -1, rep, -1).reshape(b, -1, self.num_heads, self.head_dim)
        q, k_, v_ = (t.transpose(1, 2) for t in (q, k_, v_))

        # if flash_attn_func is not None and attention_mask is None:
        #     ctx = flash_attn_func(q, k_, v_, causal=True)
        scores = torch.matmul(q, k_.transpose(-1, -2)) / math.sqrt(self.head_dim)
        if attention_mask is not None:
            scores = scores.masked_fill(attention_mask, torch.finfo(scores.dtype).min)
        probs = F.softmax(scores.float(), dim=-1).to(q.dtype)
        probs = self.dropout(probs)
        ctx = torch.matmul(probs, v_).transpose(1, 2).reshape(b, s, self.proj_size)
        out = self.dense(ctx)
        return (out, present, probs) if output_attentions else (out, present)


class TallowMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.ffn_hidden_size * 2, bias=False)
        self.dense_4h_to_h = nn.Linear(config.ffn_hidden_size, config.hidden_size, bias=False)

        def swiglu(x):
            x = torch.chunk(x, 2, dim=-1)
            return F.silu(x[0]) * x[1]

        self.activation_func = swiglu

    def forward(self, x):
        return self.dense_4h_to_h(self.activation_func(self.dense_h_to_4h(x)))


class TallowBlock(nn.Module):
    def __init__(self, config, layer_number):
        super().__init__()
        self.fp32_residual_connection = config.fp32_residual_connection
        self.input_layernorm = TallowRMSNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.self_attention = TallowAttention(config, layer_number)
        self.hidden_dropout = config.hidden_dropout
        self.post_attention_layernorm = TallowRMSNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.mlp = TallowMLP(config)

    def forward(self, hidden_states, attention_mask, rotary, kv_cache=None, use_cache=True, output_attentions=False):
        outs = self.self_attention(
            self.input_layernorm(hidden_states), attention_mask, rotary, kv_cache, use_cache, output_attentions
        )
        residual = hidden_states.float() if self.fp32_residual_connection else hidden_states
        hidden_states = residual + F.dropout(outs[0], p=self.hidden_dropout, training=self.training)
        x = self.mlp(self.post_attention_layernorm(hidden_states))
        hidden_states = hidden_states + F.dropout(x, p=self.hidden_dropout, training=self.training)
        return (hidden_states,) + outs[1:]


class TallowPreTrainedModel(PreTrainedModel):
    config_class = TallowConfig
    base_model_prefix = "transformer"
    is_parallelizable = False
    supports_gradient_checkpointing = True
    _no_split_modules = ["TallowBlock"]
    _skip_keys_device_placement = "past_key_values"

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)

    def get_masks(self, input_ids, past_length, padding_mask=None):
        b, s = input_ids.shape[:2]
        full = torch.ones(b, s, s, device=input_ids.device).tril_()
        if past_length:
            full = torch.cat((torch.ones(b, s, past_length, device=input_ids.device), full), dim=-1)
        if padding_mask is not None:
            full = full * padding_mask.unsqueeze(1)
        if not past_length and padding_mask is not None:
            full -= padding_mask.unsqueeze(-1) - 1
        return (full < 0.5).unsqueeze(1)

    def get_position_ids(self, input_ids, device):
        b, s = input_ids.shape[:2]
        return torch.arange(s, dtype=torch.long, device=device).unsqueeze(0).repeat(b, 1)

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, TallowModel):
            module.gradient_checkpointing = value


class TallowModel(TallowPreTrainedModel):
    def __init__(self, config: TallowConfig):
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.padded_vocab_size, config.hidden_size)
        self.num_layers = config.num_layers
        self.seq_length = config.seq_length
        self.rotary_pos_emb = TallowRotary(
            int(config.kv_channels * config.rotary_percent),
            rope_ratio=config.rope_ratio,
            max_seq_len=config.seq_length,
            dynamic_ntk=config.use_dynamic_ntk,
        )
        self.layers = nn.ModuleList([TallowBlock(config, i + 1) for i in range(config.num_layers)])
        self.final_layernorm = TallowRMSNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def set_input_embeddings(self, value):
        self.word_embeddings = value

    def forward(
        self,
        input_ids,
        position_ids: Optional[torch.Tensor] = None,
        attention_mask: Optional[torch.BoolTensor] = None,
        past_key_values: Optional[Tuple[Tuple[torch.Tensor, torch.Tensor], ...]] = None,
        inputs_embeds: Optional[torch.Tensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ):
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict

        if inputs_embeds is None:
            inputs_embeds = self.word_embeddings(input_ids)
        b, s = inputs_embeds.shape[:2]
        if past_key_values is None:
            past_length = 0
            past_key_values = tuple([None] * len(self.layers))
        else:
            past_length = past_key_values[0][0].size(1)

        if position_ids is None:
            position_ids = self.get_position_ids(inputs_embeds, inputs_embeds.device) + past_length
        if attention_mask is not None and attention_mask.dim() == 4:
            full_mask = attention_mask
        else:
            full_mask = self.get_masks(inputs_embeds, past_length, padding_mask=attention_mask)

        rotary = self.rotary_pos_emb(past_length + s, inputs_embeds.device, inputs_embeds.dtype)
        rotary = rotary[position_ids]

        hidden_states = inputs_embeds
        presents = () if use_cache else None
        all_attns = () if output_attentions else None
        all_hidden = () if output_hidden_states else None
        if self.gradient_checkpointing and self.training and use_cache:
            logger.warning_once("`use_cache=True` is incompatible with gradient checkpointing.")
            use_cache = False

        for i, layer in enumerate(self.layers):
            if output_hidden_states:
                all_hidden = all_hidden + (hidden_states,)
            if self.gradient_checkpointing and self.training:
                outs = torch.utils.checkpoint.checkpoint(
                    layer, hidden_states, full_mask, rotary, past_key_values[i], use_cache, output_attentions,
                    use_reentrant=False,
                )
            else:
                outs = layer(hidden_states, full_mask, rotary, past_key_values[i], use_cache, output_attentions)
            hidden_states = outs[0]
            if use_cache:
                presents = presents + (outs[1],)
            if output_attentions:
                all_attns = all_attns + (outs[2],)

        hidden_states = self.final_layernorm(hidden_states)
        if output_hidden_states:
            all_hidden = all_hidden + (hidden_states,)
        if not return_dict:
            return tuple(v for v in [hidden_states, presents, all_hidden, all_attns] if v is not None)
        return BaseModelOutputWithPast(
            last_hidden_state=hidden_states, past_key_values=presents, hidden_states=all_hidden, attentions=all_attns
        )


class TallowForCausalLM(TallowPreTrainedModel):
    def __init__(self, config: TallowConfig):
        super().__init__(config)
        self.max_sequence_length = config.seq_length
        self.transformer = TallowModel(config)
        self.output_layer = nn.Linear(config.hidden_size, config.padded_vocab_size, bias=False)
        if config.quantization_bit:
            raise NotImplementedError("quantized checkpoints live in another repository")
        self.post_init()

    def get_output_embeddings(self):
        return self.output_layer

    def set_output_embeddings(self, new_embeddings):
        self.output_layer = new_embeddings

    def _update_model_kwargs_for_generation(
        self, outputs, model_kwargs: Dict[str, Any], is_encoder_decoder: bool = False, **kwargs
    ) -> Dict[str, Any]:
        model_kwargs["past_key_values"] = outputs.past_key_values
        if "attention_mask" in model_kwargs:
            attention_mask = model_kwargs["attention_mask"]
            model_kwargs["attention_mask"] = torch.cat(
                [attention_mask, attention_mask.new_ones((attention_mask.shape[0], 1))], dim=-1
            )
        if "position_ids" in model_kwargs:
            position_ids = model_kwargs["position_ids"]
            new_position_id = position_ids[..., -1:].clone() + 1
            model_kwargs["position_ids"] = torch.cat([position_ids, new_position_id], dim=-1)
        model_kwargs["is_first_forward"] = False
        return model_kwargs

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.LongTensor,
        past_key_values=None,
        attention_mask=None,
        position_ids=None,
        use_cache=None,
        is_first_forward: bool = True,
        **kwargs,
    ) -> dict:
        if position_ids is None:
            position_ids = self.transformer.get_position_ids(input_ids, device=input_ids.device)
        if not is_first_forward and past_key_values is not None:
            position_ids = position_ids[..., -1:]
            input_ids = input_ids[:, -1:]
        return {
            "input_ids": input_ids,
            "past_key_values": past_key_values,
            "position_ids": position_ids,
            "attention_mask": attention_mask,
            "use_cache": use_cache,
        }

    def forward(
        self,
        input_ids: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.Tensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        past_key_values: Optional[Tuple[torch.FloatTensor]] = None,
        inputs_embeds: Optional[torch.Tensor] = None,
        labels: Optional[torch.Tensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        return_last_logit: Optional[bool] = False,
    ):
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.transformer(
            input_ids=input_ids,
            position_ids=position_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )
        hidden_states = outputs[0]
        if return_last_logit:
            hidden_states = hidden_states[:, -1:]
        lm_logits = self.output_layer(hidden_states)

        loss = None
        if labels is not None:
            lm_logits = lm_logits.to(torch.float32)
            shift_logits = lm_logits[..., :-1, :].contiguous()
            shift_labels = labels[..., 1:].contiguous()
            loss_fct = CrossEntropyLoss(ignore_index=-100)
            loss = loss_fct(shift_logits.view(-1, shift_logits.size(-1)), shift_labels.view(-1))
            lm_logits = lm_logits.to(hidden_states.dtype)
        if not return_dict:
            output = (lm_logits,) + outputs[1:]
            return ((loss,) + output) if loss is not None else output
        return CausalLMOutputWithPast(
            loss=loss,
            logits=lm_logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    @staticmethod
    def _reorder_cache(past, beam_idx: torch.LongTensor):
        return tuple(
            (
                layer_past[0].index_select(0, beam_idx.to(layer_past[0].device)),
                layer_past[1].index_select(0, beam_idx.to(layer_past[1].device)),
            )
            for layer_past in past
        )

    def process_response(self, response):
        response = response.strip()
        response = response.replace("[[year]]", "2024")
        for src, dst in ((",", "，"), ("!", "！"), (":", "："), (";", "；"), (r"\?", "？")):
            response = re.sub(r"([\u4e00-\u9fff])%s" % src, r"\1%s" % dst, response)
        return response

    @torch.inference_mode()
    def chat(
        self,
        tokenizer,
        query: str,
        history: Optional[List[Tuple[str, str]]] = None,
        system: str = "",
        max_length: int = 8192,
        num_beams=1,
        do_sample=True,
        top_p=0.8,
        temperature=0.8,
        stop_words_ids=None,
        logits_processor=None,
        **kwargs,
    ):
        history = [] if history is None else copy.deepcopy(history)
        logits_processor = logits_processor or LogitsProcessorList()
        logits_processor.append(DropNanLogits())
        ids = tokenizer.encode(build_prompt(query, history, system))
        ids = trim_ids(ids, self.max_sequence_length - 16)
        input_ids = torch.tensor([ids], device=self.device)
        outputs = self.generate(
            input_ids,
            max_length=max_length,
            num_beams=num_beams,
            do_sample=do_sample,
            top_p=top_p,
            temperature=temperature,
            logits_processor=logits_processor,
            stopping_criteria=StoppingCriteriaList([StopOnSequences(stop_words_ids or [])]),
            **kwargs,
        )
        response = self.process_response(tokenizer.decode(outputs.tolist()[0][len(ids):]))
        history.append((query, response))
        return response, history

    @torch.inference_mode()
    def stream_chat(self, tokenizer, query, history=None, system="", **kwargs):
        history = history or []
        ids = tokenizer.encode(build_prompt(query, history, system))
        streamer = QueueStreamer(tokenizer)
        thread = Thread(
            target=self.generate,
            kwargs=dict(inputs=torch.tensor([ids], device=self.device), streamer=streamer, **kwargs),
        )
        thread.start()
        for text in streamer:
            text = self.process_response(text)
            yield text, history + [(query, text)]
        thread.join()

    def quantize(self, bits: int):
        raise NotImplementedError
