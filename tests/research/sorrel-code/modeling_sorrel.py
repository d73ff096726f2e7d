import math
from typing import List, Optional, Tuple, Union

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions, CausalLMOutputWithCrossAttentions
from transformers.modeling_utils import Conv1D, PreTrainedModel
from transformers.utils import add_start_docstrings, add_start_docstrings_to_model_forward, logging

from .configuration_sorrel import SorrelConfig

logger = logging.get_logger(__name__)

SORREL_START_DOCSTRING = r"""
    Parameters:
        config ([`SorrelConfig`]): Model configuration class with all the parameters of the model.
"""

SORREL_INPUTS_DOCSTRING = r"""
    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`):
            Only those whose keys are not in `past_key_values`.
        past_key_values (`tuple(torch.FloatTensor)`):
            One tensor per layer, keys and values side by side: `(batch_size, length, 2 * head_dim)`.
"""


@torch.jit.script
def fused_masked_softmax(x: torch.Tensor, bias: torch.Tensor, mask: torch.Tensor, scale: float):
    x = x * scale + bias
    x = torch.where(mask, x, torch.full_like(x, -1e9))
    return torch.softmax(x, dim=-1)


def alibi_slopes(heads: int, max_bias: float) -> torch.Tensor:
    full = 2 ** math.ceil(math.log2(heads))
    slopes = torch.pow(2.0, -torch.arange(1, full + 1).float() * max_bias / full)
    if full != heads:
        slopes = torch.cat([slopes[1::2], slopes[::2]])[:heads]
    return slopes


class SorrelAttention(nn.Module):
    def __init__(self, config: SorrelConfig):
        super().__init__()
        self.embed_dim = config.hidden_size
        self.num_heads = config.num_attention_heads
        self.head_dim = self.embed_dim // self.num_heads
        self.c_attn = Conv1D(self.embed_dim + 2 * self.head_dim, self.embed_dim)
        self.c_proj = Conv1D(self.embed_dim, self.embed_dim)
        self.attn_dropout = nn.Dropout(config.attn_pdrop)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        self.register_buffer("slopes", alibi_slopes(self.num_heads, config.alibi_max_bias), persistent=False)

    def forward(self, x, layer_past=None, attention_mask=None, use_cache=False, output_attentions=False):
        b, t, _ = x.shape
        query, kv = self.c_attn(x).split((self.embed_dim, 2 * self.head_dim), dim=2)
        if layer_past is not None:
            kv = torch.cat((layer_past, kv), dim=-2)
        present = kv if use_cache else None
        key, value = kv.split((self.head_dim, self.head_dim), dim=-1)
        total = key.size(1)
        query = query.view(b, t, self.num_heads, self.head_dim).transpose(1, 2)
        scores = torch.matmul(query, key.unsqueeze(1).transpose(-1, -2))
        where = torch.arange(total, device=x.device)
        gap = where[None, :] - where[total - t:, None]
        bias = self.slopes[None, :, None, None].to(scores.dtype) * gap.to(scores.dtype)
        mask = (gap <= 0)[None, None]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, :].bool()
        weights = fused_masked_softmax(scores, bias, mask, self.head_dim**-0.5)
        weights = self.attn_dropout(weights)
        y = torch.matmul(weights, value.unsqueeze(1)).transpose(1, 2).reshape(b, t, self.embed_dim)
        outputs = (self.resid_dropout(self.c_proj(y)), present)
        if output_attentions:
            outputs += (weights,)
        return outputs


class SorrelMLP(nn.Module):
    def __init__(self, inner, config):
        super().__init__()
        self.c_fc = Conv1D(inner, config.hidden_size)
        self.c_proj = Conv1D(config.hidden_size, inner)
        self.act = ACT2FN[config.activation_function]
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x):
        return self.dropout(self.c_proj(self.act(self.c_fc(x))))


class SorrelBlock(nn.Module):
    def __init__(self, config):
        super().__init__()
        inner = config.n_inner if config.n_inner is not None else 4 * config.hidden_size
        self.ln_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.attn = SorrelAttention(config)
        self.ln_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.mlp = SorrelMLP(inner, config)

    def forward(self, x, layer_past=None, attention_mask=None, use_cache=False, output_attentions=False):
        outputs = self.attn(self.ln_1(x), layer_past, attention_mask, use_cache, output_attentions)
        x = x + outputs[0]
        x = x + self.mlp(self.ln_2(x))
        return (x,) + outputs[1:]


class SorrelPreTrainedModel(PreTrainedModel):
    config_class = SorrelConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SorrelBlock"]

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

    def _set_gradient_checkpointing(self, module, value=False):
        if isinstance(module, SorrelModel):
            module.gradient_checkpointing = value


@add_start_docstrings("The bare Sorrel transformer.", SORREL_START_DOCSTRING)
class SorrelModel(SorrelPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.hidden_size)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList([SorrelBlock(config) for _ in range(config.n_layer)])
        self.ln_f = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.wte

    def set_input_embeddings(self, new_embeddings):
        self.wte = new_embeddings

    @add_start_docstrings_to_model_forward(SORREL_INPUTS_DOCSTRING)
    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[List[torch.FloatTensor]] = None,
        attention_mask: Optional[torch.FloatTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
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
            inputs_embeds = self.wte(input_ids)
        if past_key_values is None:
            past_key_values = tuple([None] * len(self.h))
        x = self.drop(inputs_embeds)
        presents = [] if use_cache else None
        attentions = () if output_attentions else None
        hiddens = () if output_hidden_states else None
        for block, layer_past in zip(self.h, past_key_values):
            if output_hidden_states:
                hiddens = hiddens + (x,)
            if self.gradient_checkpointing and self.training:
                outputs = torch.utils.checkpoint.checkpoint(block, x, None, attention_mask, False, output_attentions)
            else:
                outputs = block(x, layer_past, attention_mask, use_cache, output_attentions)
            x = outputs[0]
            if use_cache:
                presents.append(outputs[1])
            if output_attentions:
                attentions = attentions + (outputs[2],)
        x = self.ln_f(x)
        if output_hidden_states:
            hiddens = hiddens + (x,)
        if not return_dict:
            return tuple(v for v in [x, presents, hiddens, attentions] if v is not None)
        return BaseModelOutputWithPastAndCrossAttentions(
            last_hidden_state=x, past_key_values=presents, hidden_states=hiddens, attentions=attentions
        )


@add_start_docstrings("Sorrel with a language modelling head.", SORREL_START_DOCSTRING)
class SorrelLMHeadModel(SorrelPreTrainedModel):
    _keys_to_ignore_on_load_missing = [r"attn.slopes", r"lm_head.weight"]
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.transformer = SorrelModel(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, new_embeddings):
        self.lm_head = new_embeddings

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, inputs_embeds=None, **kwargs):
        if past_key_values is not None:
            input_ids = input_ids[:, -1:]
        if inputs_embeds is not None and past_key_values is None:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids}
        model_inputs.update(
            {
                "past_key_values": past_key_values,
                "use_cache": kwargs.get("use_cache"),
                "attention_mask": kwargs.get("attention_mask", None),
            }
        )
        return model_inputs

    def _supports_default_dynamic_cache(self) -> bool:
        return False

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        past_key_values: Optional[List[torch.FloatTensor]] = None,
        attention_mask: Optional[torch.FloatTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, CausalLMOutputWithCrossAttentions]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        out = self.transformer(
            input_ids,
            past_key_values=past_key_values,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )
        logits = self.lm_head(out[0])
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[..., :-1, :].flatten(0, 1), labels[..., 1:].flatten())
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + out[1:]
        return CausalLMOutputWithCrossAttentions(
            loss=loss,
            logits=logits,
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        return [p.index_select(0, beam_idx.to(p.device)) for p in past_key_values]

    @torch.no_grad()
    def infill(self, prefix_ids: List[int], suffix_ids: List[int], **kwargs) -> List[int]:
        c = self.config
        prompt = [c.fim_prefix_id] + prefix_ids + [c.fim_suffix_id] + suffix_ids + [c.fim_middle_id]
        ids = torch.tensor([prompt], device=self.device)
        return self.generate(ids, **kwargs)[0, len(prompt):].tolist()
