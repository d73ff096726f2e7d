"""GPT-style model, functional helpers in attention.py / norm.py"""
import math
import warnings
from typing import Any, Dict, List, Mapping, MutableMapping, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import PreTrainedModel, PreTrainedTokenizer, PreTrainedTokenizerFast
from transformers import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from .attention import MultiQueryAttention, build_alibi_bias
from .configuration_tern import TernConfig
from .norm import NORM_CLASS_REGISTRY

Tokenizer = Union[PreTrainedTokenizer, PreTrainedTokenizerFast]

try:
    from flash_attn import flash_attn_func  # type: ignore
except Exception:
    flash_attn_func = None


class TernMLP(nn.Module):
    def __init__(self, d_model: int, expansion_ratio: int, device: Optional[str] = None):
        super().__init__()
        self.up_proj = nn.Linear(d_model, expansion_ratio * d_model, device=device)
        self.act = nn.GELU(approximate='none')
        self.down_proj = nn.Linear(expansion_ratio * d_model, d_model, device=device)
        self.down_proj._is_residual = True

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act(self.up_proj(x)))


class TernBlock(nn.Module):
    def __init__(self, d_model, n_heads, expansion_ratio, attn_config, resid_pdrop=0.0,
                 norm_type='low_precision_layernorm', device=None, **kwargs):
        del kwargs
        super().__init__()
        norm_class = NORM_CLASS_REGISTRY[norm_type.lower()]
        self.norm_1 = norm_class(d_model, device=device)
        self.attn = MultiQueryAttention(
            d_model=d_model, n_heads=n_heads, attn_impl=attn_config['attn_impl'], clip_qkv=attn_config['clip_qkv'],
            qk_ln=attn_config['qk_ln'], softmax_scale=attn_config['softmax_scale'],
            attn_pdrop=attn_config['attn_pdrop'], device=device,
            multiquery=attn_config['attn_type'] == 'multiquery_attention')
        self.norm_2 = norm_class(d_model, device=device)
        self.ffn = TernMLP(d_model=d_model, expansion_ratio=expansion_ratio, device=device)
        self.resid_attn_dropout = nn.Dropout(resid_pdrop)
        self.resid_ffn_dropout = nn.Dropout(resid_pdrop)

    def forward(self, x, past_key_value=None, attn_bias=None, attention_mask=None, is_causal=True):
        a = self.norm_1(x)
        (b, attn_weights, past_key_value) = self.attn(a, past_key_value=past_key_value, attn_bias=attn_bias,
                                                      attention_mask=attention_mask, is_causal=is_causal)
        x = x + self.resid_attn_dropout(b)
        m = self.norm_2(x)
        n = self.ffn(m)
        x = x + self.resid_ffn_dropout(n)
        return (x, attn_weights, past_key_value)


class TernPreTrainedModel(PreTrainedModel):
    config_class = TernConfig
    base_model_prefix = 'model'
    _no_split_modules = ['TernBlock']


class TernModel(TernPreTrainedModel):

    def __init__(self, config: TernConfig):
        config._validate_config()
        super().__init__(config)
        self.attn_impl = config.attn_config['attn_impl']
        self.alibi = config.attn_config['alibi']
        self.alibi_bias_max = config.attn_config['alibi_bias_max']
        self.learned_pos_emb = config.learned_pos_emb
        self.wte = nn.Embedding(config.vocab_size, config.d_model, device=config.init_device)
        if self.learned_pos_emb:
            self.wpe = torch.nn.Embedding(config.max_seq_len, config.d_model, device=config.init_device)
        self.emb_drop = nn.Dropout(config.emb_pdrop)
        self.blocks = nn.ModuleList([TernBlock(device=config.init_device, **config.to_dict())
                                     for _ in range(config.n_layers)])
        self.norm_f = NORM_CLASS_REGISTRY[config.norm_type.lower()](config.d_model, device=config.init_device)
        self.is_causal = True
        self._attn_bias_initialized = False
        self.attn_bias = None
        self.attn_bias_shape = (1, config.n_heads, 1, config.max_seq_len)
        if config.no_bias:
            for module in self.modules():
                if hasattr(module, 'bias') and isinstance(module.bias, nn.Parameter):
                    if config.verbose:
                        warnings.warn(f'Removing bias ({module.bias}) from {module}.')
                    module.register_parameter('bias', None)
        self.post_init()

    def get_input_embeddings(self):
        return self.wte

    def set_input_embeddings(self, value):
        self.wte = value

    @torch.no_grad()
    def _attn_bias(self, device, dtype, attention_mask=None):
        if not self._attn_bias_initialized:
            if self.attn_bias_shape:
                if self.alibi:
                    self.attn_bias = torch.zeros(self.attn_bias_shape, device=device, dtype=dtype)
                    self.attn_bias = self.attn_bias.add(
                        build_alibi_bias(self.config.n_heads, self.config.max_seq_len,
                                         alibi_bias_max=self.alibi_bias_max, device=device, dtype=dtype))
            self._attn_bias_initialized = True
        attn_bias = self.attn_bias
        if attn_bias is not None:
            attn_bias = attn_bias.to(dtype=dtype, device=device)
        return (attn_bias, attention_mask)

    def forward(self, input_ids: torch.LongTensor, past_key_values: Optional[List[Tuple[torch.FloatTensor]]] = None,
                attention_mask: Optional[torch.ByteTensor] = None, return_dict: Optional[bool] = None,
                output_attentions: Optional[bool] = None, output_hidden_states: Optional[bool] = None,
                use_cache: Optional[bool] = None, inputs_embeds: Optional[torch.Tensor] = None):
        return_dict = return_dict if return_dict is not None else self.config.return_dict
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if attention_mask is not None:
            attention_mask = attention_mask.bool()
        if not return_dict:
            raise NotImplementedError('return_dict False is not implemented yet for Tern')
        S = input_ids.size(1)
        assert S <= self.config.max_seq_len, f'Cannot forward input with seq_len={S}'
        tok_emb = self.wte(input_ids)
        past_position = 0
        if past_key_values is not None:
            if len(past_key_values) != self.config.n_layers:
                raise ValueError('past_key_values must provide a past for each attention layer in the network')
            past_position = past_key_values[0][0].size(3)
        if self.learned_pos_emb:
            pos = torch.arange(past_position, S + past_position, dtype=torch.long, device=input_ids.device).unsqueeze(0)
            x = tok_emb + self.wpe(pos)
        else:
            x = tok_emb
        x = self.emb_drop(x)
        (attn_bias, attention_mask) = self._attn_bias(device=x.device, dtype=torch.float32,
                                                      attention_mask=attention_mask)
        if use_cache and past_key_values is None:
            past_key_values = [() for _ in range(self.config.n_layers)]
        all_hidden_states = () if output_hidden_states else None
        all_self_attns = () if output_attentions else None
        for (b_idx, block) in enumerate(self.blocks):
            if output_hidden_states:
                all_hidden_states = all_hidden_states + (x,)
            past_key_value = past_key_values[b_idx] if past_key_values is not None else None
            (x, attn_weights, past_key_value) = block(x, past_key_value=past_key_value, attn_bias=attn_bias,
                                                      attention_mask=attention_mask, is_causal=self.is_causal)
            if past_key_values is not None:
                past_key_values[b_idx] = past_key_value
            if output_attentions:
                all_self_attns = all_self_attns + (attn_weights,)
        x = self.norm_f(x)
        if output_hidden_states:
            all_hidden_states = all_hidden_states + (x,)
        return BaseModelOutputWithPast(last_hidden_state=x, past_key_values=past_key_values,
                                       hidden_states=all_hidden_states, attentions=all_self_attns)

    def fsdp_wrap_fn(self, module: nn.Module) -> bool:
        return isinstance(module, TernBlock)


class TernForCausalLM(TernPreTrainedModel, GenerationMixin):

    def __init__(self, config: TernConfig):
        super().__init__(config)
        if not config.tie_word_embeddings:
            raise ValueError('TernForCausalLM only supports tied word embeddings')
        self.transformer = TernModel(config)
        self.logit_scale = None
        if config.logit_scale is not None:
            logit_scale = config.logit_scale
            if isinstance(logit_scale, str):
                logit_scale = 1 / math.sqrt(config.d_model)
            self.logit_scale = logit_scale
        self.post_init()

    def get_input_embeddings(self):
        return self.transformer.wte

    def set_input_embeddings(self, value):
        self.transformer.wte = value

    def get_output_embeddings(self):
        return self.transformer.wte

    def set_output_embeddings(self, new_embeddings):
        self.transformer.wte = new_embeddings

    def set_decoder(self, decoder):
        self.transformer = decoder

    def get_decoder(self):
        return self.transformer

    def forward(self, input_ids, past_key_values=None, attention_mask=None, labels=None, return_dict=None,
                output_attentions=None, output_hidden_states=None, use_cache=None, inputs_embeds=None):
        return_dict = return_dict if return_dict is not None else self.config.return_dict
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        outputs = self.transformer(input_ids=input_ids, past_key_values=past_key_values,
                                   attention_mask=attention_mask, return_dict=return_dict,
                                   output_attentions=output_attentions, output_hidden_states=output_hidden_states,
                                   use_cache=use_cache)
        logits = F.linear(outputs.last_hidden_state, self.transformer.wte.weight.to(outputs.last_hidden_state.device))
        if self.logit_scale is not None:
            logits = logits * self.logit_scale
        loss = None
        if labels is not None:
            _labels = torch.roll(labels, shifts=-1)
            _labels[:, -1] = -100
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), _labels.to(logits.device).view(-1))
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values,
                                      hidden_states=outputs.hidden_states, attentions=outputs.attentions)

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, inputs_embeds=None, **kwargs):
        if inputs_embeds is not None:
            raise NotImplementedError('inputs_embeds is not implemented for Tern yet')
        attention_mask = kwargs['attention_mask'].bool()
        if attention_mask[:, -1].sum() != attention_mask.shape[0]:
            raise NotImplementedError('Tern does not support generation with right padding.')
        if past_key_values is not None:
            input_ids = input_ids[:, -1].unsqueeze(-1)
        return {'input_ids': input_ids, 'attention_mask': attention_mask, 'past_key_values': past_key_values,
                'use_cache': kwargs.get('use_cache', True)}

    @staticmethod
    def _reorder_cache(past_key_values, beam_idx):
        reordered_past = []
        for layer_past in past_key_values:
            reordered_past += [tuple((past_state.index_select(0, beam_idx) for past_state in layer_past))]
        return reordered_past
