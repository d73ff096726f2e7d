# coding=utf-8
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss

from transformers.modeling_utils import PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.utils import ModelOutput, logging

from .peat_config import PeatConfig
from .wkv import wkv5_cpu

logger = logging.get_logger(__name__)


def _shift(x, prev):
    """token shift, x: B T C, prev: B C or None"""
    if x.size(1) == 1 and prev is not None:
        return prev.unsqueeze(1)
    y = torch.zeros_like(x)
    y[:, 1:] = x[:, :-1]
    if prev is not None:
        y[:, 0] = prev
    return y


class PeatAttention(nn.Module):
    def __init__(self, config, layer_id=0):
        super().__init__()
        self.config = config
        self.layer_id = layer_id
        hidden_size = config.hidden_size
        attention_hidden_size = config.attention_hidden_size
        self.attention_hidden_size = attention_hidden_size
        self.head_size = config.head_size
        num_heads = attention_hidden_size // config.head_size
        self.num_heads = num_heads
        self.time_decay = nn.Parameter(torch.empty(num_heads, config.head_size))
        self.time_faaaa = nn.Parameter(torch.empty(num_heads, config.head_size))
        self.time_mix_gate = nn.Parameter(torch.empty(1, 1, hidden_size))
        self.time_mix_key = nn.Parameter(torch.empty(1, 1, hidden_size))
        self.time_mix_value = nn.Parameter(torch.empty(1, 1, hidden_size))
        self.time_mix_receptance = nn.Parameter(torch.empty(1, 1, hidden_size))
        self.key = nn.Linear(hidden_size, attention_hidden_size, bias=False)
        self.value = nn.Linear(hidden_size, attention_hidden_size, bias=False)
        self.receptance = nn.Linear(hidden_size, attention_hidden_size, bias=False)
        self.gate = nn.Linear(hidden_size, attention_hidden_size, bias=False)
        self.output = nn.Linear(attention_hidden_size, hidden_size, bias=False)
        self.ln_x = nn.GroupNorm(num_heads, hidden_size)

    def extract_key_value(self, B, H, S, T, hidden, state=None):
        prev = state[0][:, :, self.layer_id] if state is not None else None
        shifted = _shift(hidden, prev)
        key = hidden * self.time_mix_key + shifted * (1 - self.time_mix_key)
        value = hidden * self.time_mix_value + shifted * (1 - self.time_mix_value)
        receptance = hidden * self.time_mix_receptance + shifted * (1 - self.time_mix_receptance)
        gate = hidden * self.time_mix_gate + shifted * (1 - self.time_mix_gate)
        if state is not None:
            state[0][:, :, self.layer_id] = hidden[:, -1]
        key = self.key(key).to(torch.float32).view(B, T, H, S).transpose(1, 2).transpose(-2, -1)
        value = self.value(value).to(torch.float32).view(B, T, H, S).transpose(1, 2)
        receptance = self.receptance(receptance).to(torch.float32).view(B, T, H, S).transpose(1, 2)
        gate = F.silu(self.gate(gate))
        return receptance, key, value, gate, state

    def forward(self, hidden, state=None, use_cache=False, seq_mode=True):
        B, T, C = hidden.shape
        H, S = self.num_heads, self.head_size
        receptance, key, value, gate, state = self.extract_key_value(B, H, S, T, hidden, state=state)
        if state is not None:
            layer_state = state[1][:, :, :, :, self.layer_id].clone()
        else:
            layer_state = torch.zeros(B, H, S, S, device=hidden.device, dtype=torch.float32)
        decay = torch.exp(-torch.exp(self.time_decay.float())).unsqueeze(-1)
        first = self.time_faaaa.float().unsqueeze(-1)
        out, layer_state = wkv5_cpu(hidden, H, S, T, receptance, key, value, decay, first, layer_state)
        if state is not None:
            state[1][:, :, :, :, self.layer_id] = layer_state
        out = out.reshape(B * T, H * S)
        out = F.group_norm(out / self.config.head_size_divisor, num_groups=H, weight=self.ln_x.weight.to(out.dtype),
                           bias=self.ln_x.bias.to(out.dtype), eps=self.ln_x.eps).reshape(B, T, H * S)
        out = out.to(dtype=hidden.dtype) * gate
        return self.output(out), state


class PeatFeedForward(nn.Module):
    def __init__(self, config, layer_id=0):
        super().__init__()
        self.config = config
        self.layer_id = layer_id
        self.time_mix_key = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.time_mix_receptance = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.key = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.receptance = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.value = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, hidden, state=None):
        shifted = _shift(hidden, state[2][:, :, self.layer_id] if state is not None else None)
        key = hidden * self.time_mix_key + shifted * (1 - self.time_mix_key)
        receptance = hidden * self.time_mix_receptance + shifted * (1 - self.time_mix_receptance)
        value = self.value(torch.square(torch.relu(self.key(key))))
        receptance = torch.sigmoid(self.receptance(receptance))
        if state is not None:
            state[2][:, :, self.layer_id] = hidden[:, -1]
        return receptance * value, state


class PeatBlock(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        self.layer_id = layer_id
        if layer_id == 0:
            self.pre_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.ln1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.ln2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.attention = PeatAttention(config, layer_id)
        self.feed_forward = PeatFeedForward(config, layer_id)

    def forward(self, hidden, state=None, use_cache=False):
        if self.layer_id == 0:
            hidden = self.pre_ln(hidden)
        attention, state = self.attention(self.ln1(hidden), state=state, use_cache=use_cache)
        hidden = hidden + attention
        feed_forward, state = self.feed_forward(self.ln2(hidden), state=state)
        return hidden + feed_forward, state


class PeatPreTrainedModel(PreTrainedModel):
    config_class = PeatConfig
    base_model_prefix = "rwkv"
    _no_split_modules = ["PeatBlock"]
    _keep_in_fp32_modules = ["time_decay", "time_faaaa"]
    supports_gradient_checkpointing = True
    _is_stateful = True

    def _init_weights(self, module):
        if isinstance(module, PeatAttention):
            layer_id = module.layer_id
            num_hidden_layers = module.config.num_hidden_layers
            hidden_size = module.config.hidden_size
            ratio_0_to_1 = layer_id / max(num_hidden_layers - 1, 1)
            ratio_1_to_almost0 = 1.0 - (layer_id / num_hidden_layers)
            time_weight = torch.tensor([i / hidden_size for i in range(hidden_size)],
                                       dtype=module.time_mix_key.dtype, device=module.time_mix_key.device)[None, None, :]
            decay_speed = torch.tensor(
                [-6.0 + 5.0 * (h / (module.attention_hidden_size - 1)) ** (0.7 + 1.3 * ratio_0_to_1)
                 for h in range(module.attention_hidden_size)],
                dtype=module.time_decay.dtype, device=module.time_decay.device)
            with torch.no_grad():
                module.time_decay.data = decay_speed.view(module.num_heads, module.head_size)
                module.time_faaaa.data = torch.full_like(module.time_faaaa, 0.3)
                module.time_mix_key.data = torch.pow(time_weight, ratio_1_to_almost0)
                module.time_mix_value.data = torch.pow(time_weight, ratio_1_to_almost0) + 0.3 * ratio_0_to_1
                module.time_mix_receptance.data = torch.pow(time_weight, 0.5 * ratio_1_to_almost0)
                module.time_mix_gate.data = torch.pow(time_weight, 0.5 * ratio_1_to_almost0)
        elif isinstance(module, PeatFeedForward):
            hidden_size = module.config.hidden_size
            ratio_1_to_almost0 = 1.0 - (module.layer_id / module.config.num_hidden_layers)
            time_weight = torch.tensor([i / hidden_size for i in range(hidden_size)],
                                       dtype=module.time_mix_key.dtype, device=module.time_mix_key.device)[None, None, :]
            with torch.no_grad():
                module.time_mix_key.data = torch.pow(time_weight, ratio_1_to_almost0)
                module.time_mix_receptance.data = torch.pow(time_weight, ratio_1_to_almost0)


@dataclass
class PeatOutput(ModelOutput):
    last_hidden_state: torch.FloatTensor = None
    state: Optional[List[torch.FloatTensor]] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


@dataclass
class PeatCausalLMOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    state: Optional[List[torch.FloatTensor]] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


class PeatModel(PeatPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList([PeatBlock(config, layer_id=idx) for idx in range(config.num_hidden_layers)])
        self.ln_out = nn.LayerNorm(config.hidden_size)
        self.layers_are_rescaled = False
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def set_input_embeddings(self, new_embeddings):
        self.embeddings = new_embeddings

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, state=None, use_cache=None,
                output_hidden_states=None, return_dict=None) -> Union[Tuple, PeatOutput]:
        use_cache = use_cache if use_cache is not None else (self.config.use_cache if not self.training else False)
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if inputs_embeds is None:
            inputs_embeds = self.embeddings(input_ids)
        if use_cache and state is None:
            B, L = inputs_embeds.size(0), self.config.num_hidden_layers
            H = self.config.attention_hidden_size // self.config.head_size
            kw = dict(dtype=torch.float32, device=inputs_embeds.device)
            state = [
                torch.zeros(B, self.config.hidden_size, L, **kw),
                torch.zeros(B, H, self.config.head_size, self.config.head_size, L, **kw),
                torch.zeros(B, self.config.hidden_size, L, **kw),
            ]
        hidden_states = inputs_embeds
        all_hidden_states = () if output_hidden_states else None
        for idx, block in enumerate(self.blocks):
            hidden_states, state = block(hidden_states, state=state, use_cache=use_cache)
            # if self.layers_are_rescaled and (idx + 1) % self.config.rescale_every == 0:
            #     hidden_states = hidden_states / 2
            if output_hidden_states:
                all_hidden_states = all_hidden_states + (hidden_states,)
        hidden_states = self.ln_out(hidden_states)
        if not return_dict:
            return (hidden_states, state, all_hidden_states)
        return PeatOutput(last_hidden_state=hidden_states, state=state, hidden_states=all_hidden_states)


class PeatForCausalLM(PeatPreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        self.rwkv = PeatModel(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, new_embeddings):
        self.head = new_embeddings

    def prepare_inputs_for_generation(self, input_ids, state=None, inputs_embeds=None, use_cache=None, **kwargs):
        # only last token for inputs_ids if the state is passed along.
        if state is not None:
            input_ids = input_ids[:, -1].unsqueeze(-1)
        if inputs_embeds is not None and state is None:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids}
        model_inputs["state"] = state
        model_inputs["use_cache"] = use_cache
        return model_inputs

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, num_new_tokens=1, **kwargs):
        model_kwargs["state"] = outputs.get("state", None)
        if "attention_mask" in model_kwargs and model_kwargs["attention_mask"] is not None:
            m = model_kwargs["attention_mask"]
            model_kwargs["attention_mask"] = torch.cat([m, m.new_ones((m.shape[0], 1))], dim=-1)
        return model_kwargs

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, state=None, labels=None,
                use_cache=None, output_hidden_states=None, return_dict=None):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.rwkv(input_ids, inputs_embeds=inputs_embeds, state=state, use_cache=use_cache,
                            output_hidden_states=output_hidden_states, return_dict=return_dict)
        logits = self.head(outputs[0])
        loss = None
        if labels is not None:
            labels = labels.to(logits.device)
            loss = CrossEntropyLoss()(logits[..., :-1, :].reshape(-1, logits.size(-1)), labels[..., 1:].reshape(-1))
        if not return_dict:
            output = (logits,) + outputs[1:]
            return ((loss,) + output) if loss is not None else output
        return PeatCausalLMOutput(loss=loss, logits=logits, state=outputs.state, hidden_states=outputs.hidden_states)
