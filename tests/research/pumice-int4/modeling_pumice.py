import math
from typing import Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput
from transformers.utils import logging

from .configuration_pumice import PumiceConfig
from .qlinear import QuantLinear, make_quant

logger = logging.get_logger(__name__)


def sinusoid(n, d):
    pos = torch.arange(n, dtype=torch.float)[:, None]
    div = torch.exp(torch.arange(0, d, 2).float() * (-math.log(10000.0) / d))
    pe = torch.zeros(n, d)
    pe[:, 0::2] = torch.sin(pos * div)
    pe[:, 1::2] = torch.cos(pos * div)
    return pe


class PumiceAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.h = config.num_attention_heads
        self.d = config.hidden_size // self.h
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x, mask):
        b, s, e = x.shape
        qkv = self.query_key_value(x).view(b, s, self.h, 3 * self.d).permute(0, 2, 1, 3)
        q, k, v = qkv.split(self.d, -1)
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.dense(o.transpose(1, 2).reshape(b, s, e))


class PumiceMLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.intermediate_size)
        self.dense_4h_to_h = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x):
        return self.dense_4h_to_h(F.gelu(self.dense_h_to_4h(x)))


class PumiceLayer(nn.Module):
    """parallel residual"""

    def __init__(self, config):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = PumiceAttention(config)
        self.mlp = PumiceMLP(config)

    def forward(self, x, mask):
        return x + self.attention(self.input_layernorm(x), mask) + self.mlp(self.post_attention_layernorm(x))


class PumicePreTrainedModel(PreTrainedModel):
    config_class = PumiceConfig
    base_model_prefix = "gpt"
    _no_split_modules = ["PumiceLayer"]
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)


class PumiceModel(PumicePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_in = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([PumiceLayer(config) for _ in range(config.num_hidden_layers)])
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        make_quant(self.layers, config.w_bit, config.group_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed_in

    def set_input_embeddings(self, value):
        self.embed_in = value

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None):
        x = self.embed_in(input_ids) if inputs_embeds is None else inputs_embeds
        s = x.shape[1]
        x = x + sinusoid(s, x.shape[-1]).to(x)
        mask = torch.ones(s, s, dtype=torch.bool, device=x.device).tril()[None, None]
        if attention_mask is not None:
            mask = mask & (attention_mask[:, None, None, :].bool() | torch.eye(s, dtype=torch.bool, device=x.device))
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                x = self._gradient_checkpointing_func(layer.__call__, x, mask)
            else:
                x = layer(x, mask)
        return BaseModelOutput(last_hidden_state=self.final_layer_norm(x))


class PumiceForCausalLM(PumicePreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        self.gpt = PumiceModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def get_input_embeddings(self):
        return self.gpt.embed_in

    def set_input_embeddings(self, value):
        self.gpt.embed_in = value

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, labels=None, return_dict=None,
                use_cache=None, **kwargs):
        h = self.gpt(input_ids, attention_mask, inputs_embeds).last_hidden_state
        logits = self.lm_head(h)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    @torch.no_grad()
    def dequantize_(self):
        """turn the packed layers back to nn.Linear, for merging of adapters"""
        def walk(m):
            for n, c in list(m.named_children()):
                if isinstance(c, QuantLinear):
                    lin = nn.Linear(c.in_features, c.out_features, bias=c.bias is not None)
                    lin.weight.copy_(c.dequantize())
                    if c.bias is not None:
                        lin.bias.copy_(c.bias)
                    setattr(m, n, lin)
                else:
                    walk(c)
        walk(self.gpt)
        return self
