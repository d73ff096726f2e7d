"""PyTorch Brindle: a decoder with linear attention biases."""
import math
import warnings
from typing import Optional, Tuple, Union

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss, LayerNorm, MSELoss
from torch.nn import functional as F

from transformers.modeling_outputs import (
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    SequenceClassifierOutputWithPast,
)
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_brindle import BrindleConfig
from .fused_ops import FastGelu, fast_gelu, drop_and_add

logger = logging.get_logger(__name__)


def get_slopes(heads: int):
    nearest = 2 ** math.floor(math.log2(heads))
    base = 2 ** (-(2 ** -(math.log2(nearest) - 3)))
    slopes = [base ** (1 + i) for i in range(nearest)]
    if nearest != heads:
        extra = 2 ** (-(2 ** -(math.log2(2 * nearest) - 3)))
        slopes += [extra ** (1 + 2 * i) for i in range(min(nearest, heads - nearest))]
    return slopes


def build_alibi(attention_mask: torch.Tensor, heads: int, dtype: torch.dtype) -> torch.Tensor:
    batch, length = attention_mask.shape
    slopes = torch.tensor(get_slopes(heads), device=attention_mask.device, dtype=torch.float32)
    place = ((attention_mask.cumsum(dim=-1) - 1) * attention_mask)[:, None, :]
    return (slopes[..., None] * place).reshape(batch * heads, 1, length).to(dtype)


def _make_causal_mask(shape, device, past_length):
    batch, target = shape
    mask = torch.empty((target, target + past_length), dtype=torch.bool, device=device)
    ids = torch.arange(target, device=device)
    mask[:, past_length:] = ids[:, None] < ids[None, :]
    if past_length > 0:
        mask[:, :past_length] = False
    return mask[None, None, :, :].expand(batch, 1, target, target + past_length)


def _expand_mask(mask, tgt_length):
    batch, src = mask.shape
    return (~(mask[:, None, None, :].to(torch.bool))).expand(batch, 1, tgt_length, src)


class BrindleGelu(nn.Module):
    def forward(self, x):
        return FastGelu.apply(x) if self.training else fast_gelu(x)


class BrindleAttention(nn.Module):
    def __init__(self, config: BrindleConfig):
        super().__init__()
        self.hidden_size = config.hidden_size
        self.num_heads = config.n_head
        self.head_dim = self.hidden_size // self.num_heads
        self.hidden_dropout = config.hidden_dropout
        if self.head_dim * self.num_heads != self.hidden_size:
            raise ValueError("hidden_size must be divisible by num_heads")
        self.inv_norm_factor = 1.0 / math.sqrt(self.head_dim)
        self.beta = 1.0
        self.query_key_value = nn.Linear(self.hidden_size, 3 * self.hidden_size, bias=True)
        self.dense = nn.Linear(self.hidden_size, self.hidden_size)
        self.attention_dropout = nn.Dropout(config.attention_dropout)

    def _split_heads(self, fused):
        batch, length, _ = fused.shape
        fused = fused.view(batch, length, self.num_heads, 3, self.head_dim)
        return fused[..., 0, :], fused[..., 1, :], fused[..., 2, :]

    def _merge_heads(self, x):
        merged, length, _ = x.shape
        batch = merged // self.num_heads
        x = x.view(batch, self.num_heads, length, self.head_dim).permute(0, 2, 1, 3)
        return x.reshape(batch, length, self.num_heads * self.head_dim)

    def forward(self, hidden_states, residual, alibi, attention_mask, layer_past=None, head_mask=None,
                use_cache=False, output_attentions=False):
        query, key, value = self._split_heads(self.query_key_value(hidden_states))
        batch, q_len, _, _ = query.shape
        query = query.transpose(1, 2).reshape(batch * self.num_heads, q_len, self.head_dim)
        key = key.permute(0, 2, 3, 1).reshape(batch * self.num_heads, self.head_dim, q_len)
        value = value.transpose(1, 2).reshape(batch * self.num_heads, q_len, self.head_dim)
        if layer_past is not None:
            past_key, past_value = layer_past
            key = torch.cat((past_key, key), dim=2)
            value = torch.cat((past_value, value), dim=1)
        present = (key, value) if use_cache else None
        kv_length = key.shape[-1]
        scores = alibi.baddbmm(batch1=query, batch2=key, beta=self.beta, alpha=self.inv_norm_factor)
        scores = scores.view(batch, self.num_heads, q_len, kv_length).to(torch.float32)
        scores = torch.masked_fill(scores, attention_mask, torch.finfo(scores.dtype).min)
        probs = self.attention_dropout(F.softmax(scores, dim=-1).to(hidden_states.dtype))
        if head_mask is not None:
            probs = probs * head_mask
        context = torch.bmm(probs.view(batch * self.num_heads, q_len, kv_length), value)
        output = drop_and_add(
            self.dense(self._merge_heads(context)), residual, self.hidden_dropout, self.training
        )
        return (output, present) + ((probs,) if output_attentions else ())


class BrindleMLP(nn.Module):
    def __init__(self, config: BrindleConfig):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, 4 * config.hidden_size)
        self.gelu_impl = BrindleGelu()
        self.dense_4h_to_h = nn.Linear(4 * config.hidden_size, config.hidden_size)
        self.hidden_dropout = config.hidden_dropout

    def forward(self, hidden_states, residual):
        out = self.dense_4h_to_h(self.gelu_impl(self.dense_h_to_4h(hidden_states)))
        return drop_and_add(out, residual, self.hidden_dropout, self.training)


class BrindleBlock(nn.Module):
    def __init__(self, config: BrindleConfig):
        super().__init__()
        self.input_layernorm = LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.self_attention = BrindleAttention(config)
        self.post_attention_layernorm = LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.mlp = BrindleMLP(config)
        self.post_ln_residual = config.apply_residual_connection_post_layernorm

    def forward(self, hidden_states, alibi, attention_mask, layer_past=None, head_mask=None, use_cache=False,
                output_attentions=False):
        normed = self.input_layernorm(hidden_states)
        residual = normed if self.post_ln_residual else hidden_states
        attn = self.self_attention(
            normed, residual, layer_past=layer_past, attention_mask=attention_mask, alibi=alibi, head_mask=head_mask,
            use_cache=use_cache, output_attentions=output_attentions,
        )
        normed = self.post_attention_layernorm(attn[0])
        residual = normed if self.post_ln_residual else attn[0]
        output = self.mlp(normed, residual)
        return (output,) + (attn[1:] if use_cache else attn[2:])


class BrindlePreTrainedModel(PreTrainedModel):
    _keys_to_ignore_on_load_missing = [r"h.*.self_attention.scale_mask_softmax.causal_mask", r"lm_head.weight"]
    config_class = BrindleConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _no_split_modules = ["BrindleBlock"]

    def __init__(self, *inputs, **kwargs):
        super().__init__(*inputs, **kwargs)

    def _init_weights(self, module: nn.Module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
        elif isinstance(module, LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)

    def _set_gradient_checkpointing(self, module: nn.Module, value: bool = False):
        if isinstance(module, BrindleModel):
            module.gradient_checkpointing = value


class BrindleModel(BrindlePreTrainedModel):
    def __init__(self, config: BrindleConfig):
        super().__init__(config)
        self.embed_dim = config.hidden_size
        self.num_heads = config.n_head
        self.word_embeddings = nn.Embedding(config.vocab_size, self.embed_dim)
        self.word_embeddings_layernorm = LayerNorm(self.embed_dim, eps=config.layer_norm_epsilon)
        self.h = nn.ModuleList([BrindleBlock(config) for _ in range(config.num_hidden_layers)])
        self.ln_f = LayerNorm(self.embed_dim, eps=config.layer_norm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embeddings

    def set_input_embeddings(self, new_embeddings: torch.Tensor):
        self.word_embeddings = new_embeddings

    def _prepare_attn_mask(self, attention_mask, input_shape, past_length):
        combined = None
        _, src_length = input_shape
        if src_length > 1:
            combined = _make_causal_mask(input_shape, attention_mask.device, past_length)
        expanded = _expand_mask(attention_mask, tgt_length=src_length)
        return expanded if combined is None else expanded | combined

    def forward(self, input_ids=None, past_key_values=None, attention_mask=None, head_mask=None, inputs_embeds=None,
                use_cache=None, output_attentions=None, output_hidden_states=None, return_dict=None):
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if input_ids is not None:
            batch, length = input_ids.shape
        else:
            batch, length, _ = inputs_embeds.shape
        if past_key_values is None:
            past_key_values = tuple([None] * len(self.h))
        head_mask = self.get_head_mask(head_mask, self.config.n_layer)
        if inputs_embeds is None:
            inputs_embeds = self.word_embeddings(input_ids)
        hidden_states = self.word_embeddings_layernorm(inputs_embeds)
        presents = () if use_cache else None
        all_attn = () if output_attentions else None
        all_hidden = () if output_hidden_states else None
        past_length = 0
        if past_key_values[0] is not None:
            past_length = past_key_values[0][0].shape[2]
        if attention_mask is None:
            attention_mask = torch.ones((batch, length + past_length), device=hidden_states.device)
        alibi = build_alibi(attention_mask, self.num_heads, hidden_states.dtype)
        causal = self._prepare_attn_mask(attention_mask, (batch, length), past_length)
        for i, (block, layer_past) in enumerate(zip(self.h, past_key_values)):
            if output_hidden_states:
                all_hidden = all_hidden + (hidden_states,)
            if self.gradient_checkpointing and self.training:
                outputs = torch.utils.checkpoint.checkpoint(
                    lambda *a: block(*a, use_cache=False, output_attentions=output_attentions),
                    hidden_states, alibi, causal, layer_past, head_mask[i],
                )
            else:
                outputs = block(
                    hidden_states, layer_past=layer_past, attention_mask=causal, head_mask=head_mask[i],
                    use_cache=use_cache, output_attentions=output_attentions, alibi=alibi,
                )
            hidden_states = outputs[0]
            if use_cache is True:
                presents = presents + (outputs[1],)
            if output_attentions:
                all_attn = all_attn + (outputs[2 if use_cache else 1],)
        hidden_states = self.ln_f(hidden_states)
        if output_hidden_states:
            all_hidden = all_hidden + (hidden_states,)
        if not return_dict:
            return tuple(v for v in [hidden_states, presents, all_hidden, all_attn] if v is not None)
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=hidden_states, past_key_values=presents, hidden_states=all_hidden, attentions=all_attn
        )


class BrindleForCausalLM(BrindlePreTrainedModel):
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config: BrindleConfig):
        super().__init__(config)
        self.transformer = BrindleModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def prepare_inputs_for_generation(self, input_ids, past=None, past_key_values=None, attention_mask=None, **kwargs):
        past_key_values = past if past is not None else past_key_values
        if past_key_values:
            input_ids = input_ids[:, -1].unsqueeze(-1)
        return {
            "input_ids": input_ids,
            "past_key_values": past_key_values or None,
            "use_cache": kwargs.get("use_cache"),
            "attention_mask": attention_mask,
        }

    def forward(self, input_ids=None, past_key_values=None, attention_mask=None, head_mask=None, inputs_embeds=None,
                labels=None, use_cache=None, output_attentions=None, output_hidden_states=None, return_dict=None,
                **deprecated_arguments):
        if deprecated_arguments.pop("position_ids", False) is not False:
            warnings.warn("`position_ids` have no effect here: the model has linear biases", FutureWarning)
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.transformer(
            input_ids, past_key_values=past_key_values, attention_mask=attention_mask, head_mask=head_mask,
            inputs_embeds=inputs_embeds, use_cache=use_cache, output_attentions=output_attentions,
            output_hidden_states=output_hidden_states, return_dict=return_dict,
        )
        lm_logits = self.lm_head(outputs[0])
        loss = None
        if labels is not None:
            shifted = lm_logits[..., :-1, :].contiguous()
            loss = CrossEntropyLoss()(shifted.view(-1, shifted.size(-1)), labels[..., 1:].contiguous().view(-1))
        if not return_dict:
            output = (lm_logits,) + outputs[1:]
            return ((loss,) + output) if loss is not None else output
        return CausalLMOutputWithCrossAttentions(
            loss=loss, logits=lm_logits, past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states, attentions=outputs.attentions,
        )

    @staticmethod
    def _reorder_cache(past: Tuple[Tuple[torch.Tensor]], beam_idx: torch.LongTensor):
        heads = past[0][0].shape[0] // beam_idx.shape[0]

        def pick(state):
            return state.view(-1, heads, *state.shape[1:]).index_select(0, beam_idx).flatten(0, 1)

        return tuple((pick(layer[0]), pick(layer[1])) for layer in past)


class BrindleForSequenceClassification(BrindlePreTrainedModel):
    def __init__(self, config: BrindleConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.transformer = BrindleModel(config)
        self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, return_dict=None, **kwargs):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.transformer(input_ids, attention_mask=attention_mask, return_dict=return_dict, **kwargs)
        logits = self.score(outputs[0])
        last = torch.ne(input_ids, self.config.pad_token_id).sum(dim=-1) - 1
        pooled = logits[torch.arange(logits.shape[0], device=logits.device), last]
        loss = None
        if labels is not None:
            if self.num_labels == 1:
                loss = MSELoss()(pooled.squeeze(), labels.squeeze())
            elif labels.dtype in (torch.long, torch.int):
                loss = CrossEntropyLoss()(pooled.view(-1, self.num_labels), labels.view(-1))
            else:
                loss = BCEWithLogitsLoss()(pooled, labels)
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (pooled,) + outputs[1:]
        return SequenceClassifierOutputWithPast(loss=loss, logits=pooled, past_key_values=outputs.past_key_values)
