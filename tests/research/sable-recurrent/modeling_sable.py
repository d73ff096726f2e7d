"""Sable, an RNN that trains like a decoder."""
import math
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple, Union

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, is_bitsandbytes_available, is_ninja_available, logging

from .configuration_sable import SableConfig
from .recurrence import linear_attention, load_kernel

logger = logging.get_logger(__name__)


class TimeMix(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        self.config, self.layer_id = config, layer_id
        if is_ninja_available():
            try:
                load_kernel(config.head_size)
            except Exception:
                logger.info("Could not load the CUDA kernel of Sable.")
        d = config.hidden_size
        ratio = layer_id / max(config.num_hidden_layers - 1, 1)
        rows = torch.arange(d) / d
        self.mix_k = nn.Parameter(rows.pow(1.0 - ratio).view(1, 1, d))
        self.mix_v = nn.Parameter((rows.pow(1.0 - ratio) + 0.3 * ratio).view(1, 1, d))
        self.mix_r = nn.Parameter(rows.pow(0.5 * (1.0 - ratio)).view(1, 1, d))
        speed = torch.linspace(config.decay_low, config.decay_high, d).view(config.num_heads, config.head_size)
        self.decay = nn.Parameter(speed)
        self.bonus = nn.Parameter(torch.full((config.num_heads, config.head_size), 0.5))
        self.receptance = nn.Linear(d, d, bias=False)
        self.key = nn.Linear(d, d, bias=False)
        self.value = nn.Linear(d, d, bias=False)
        self.gate = nn.Linear(d, d, bias=False)
        self.output = nn.Linear(d, d, bias=False)
        self.ln_x = nn.GroupNorm(config.num_heads, d)

    def forward(self, x, state=None):
        b, t, d = x.shape
        before = torch.zeros_like(x[:, :1]) if state is None else state[0][self.layer_id][:, None]
        shifted = torch.cat([before, x[:, :-1]], dim=1)
        k = self.key(torch.lerp(shifted, x, self.mix_k))
        v = self.value(torch.lerp(shifted, x, self.mix_v))
        r = self.receptance(torch.lerp(shifted, x, self.mix_r))
        heads = (b, t, self.config.num_heads, self.config.head_size)
        if state is None:
            inner = torch.zeros(b, heads[2], heads[3], heads[3], device=x.device, dtype=torch.float32)
        else:
            inner = state[1][self.layer_id]
        w = torch.exp(-torch.exp(self.decay.float()))
        out, inner = linear_attention(
            r.view(heads).float(), k.view(heads).float(), v.view(heads).float(), w, self.bonus.float(), inner
        )
        if state is not None:
            state[0][self.layer_id] = x[:, -1]
            state[1][self.layer_id] = inner
        out = self.ln_x(out.reshape(b * t, d).to(x.dtype) / 8).view(b, t, d)
        return self.output(out * nn.functional.silu(self.gate(x))), state


class ChannelMix(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        self.layer_id = layer_id
        self.mix = nn.Parameter(torch.full((1, 1, config.hidden_size), 0.5))
        self.key = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.receptance = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.value = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x, state=None):
        before = torch.zeros_like(x[:, :1]) if state is None else state[2][self.layer_id][:, None]
        mixed = torch.lerp(torch.cat([before, x[:, :-1]], dim=1), x, self.mix)
        if state is not None:
            state[2][self.layer_id] = x[:, -1]
        return torch.sigmoid(self.receptance(mixed)) * self.value(torch.relu(self.key(mixed)).square()), state


class SableBlock(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        if layer_id == 0:
            self.pre_ln = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.layer_id = layer_id
        self.ln1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.ln2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_epsilon)
        self.attention = TimeMix(config, layer_id)
        self.feed_forward = ChannelMix(config, layer_id)

    def forward(self, x, state=None):
        if self.layer_id == 0:
            x = self.pre_ln(x)
        y, state = self.attention(self.ln1(x), state)
        x = x + y
        y, state = self.feed_forward(self.ln2(x), state)
        return x + y, state


class SablePreTrainedModel(PreTrainedModel):
    config_class = SableConfig
    base_model_prefix = "sable"
    _no_split_modules = ["SableBlock"]
    _keep_in_fp32_modules = ["decay", "bonus"]
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        if isinstance(module, TimeMix):
            d = self.config.hidden_size
            speed = [
                self.config.decay_low + (self.config.decay_high - self.config.decay_low) * (h / (d - 1)) ** 0.7
                for h in range(d)
            ]
            with torch.no_grad():
                module.decay.data = torch.tensor(speed).view(module.decay.shape).to(module.decay.dtype)
                module.bonus.data.fill_(0.5)
        elif isinstance(module, nn.Linear):
            gain = math.sqrt(max(1.0, module.weight.shape[0] / module.weight.shape[1]))
            nn.init.orthogonal_(module.weight, gain=0.5 * gain)


@dataclass
class SableOutput(ModelOutput):
    last_hidden_state: torch.FloatTensor = None
    state: Optional[List[torch.FloatTensor]] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


@dataclass
class SableCausalLMOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    state: Optional[List[torch.FloatTensor]] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


class SableModel(SablePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList([SableBlock(config, i) for i in range(config.num_hidden_layers)])
        self.ln_out = nn.LayerNorm(config.hidden_size)
        self.layers_are_rescaled = False
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def set_input_embeddings(self, new):
        self.embeddings = new

    def _rescale(self):
        if self.layers_are_rescaled == (not self.training):
            return
        if self.config.rescale_every > 0:
            with torch.no_grad():
                for number, block in enumerate(self.blocks):
                    factor = 2 ** (number // self.config.rescale_every)
                    for weight in (block.attention.output.weight, block.feed_forward.value.weight):
                        weight.mul_(factor) if self.training else weight.div_(factor)
        self.layers_are_rescaled = not self.training

    def empty_state(self, batch, device, dtype):
        c = self.config
        return [
            torch.zeros(c.num_hidden_layers, batch, c.hidden_size, device=device, dtype=dtype),
            torch.zeros(c.num_hidden_layers, batch, c.num_heads, c.head_size, c.head_size, device=device),
            torch.zeros(c.num_hidden_layers, batch, c.hidden_size, device=device, dtype=dtype),
        ]

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, state=None, use_cache=None,
                output_hidden_states=None, return_dict=None) -> Union[Tuple, SableOutput]:
        use_cache = use_cache if use_cache is not None else (self.config.use_cache if not self.training else False)
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        self._rescale()
        x = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if use_cache and state is None:
            state = self.empty_state(x.shape[0], x.device, x.dtype)
        everything = () if output_hidden_states else None
        for number, block in enumerate(self.blocks):
            if self.gradient_checkpointing and self.training:
                x, state = self._gradient_checkpointing_func(block.__call__, x, state)
            else:
                x, state = block(x, state)
            if self.layers_are_rescaled and self.config.rescale_every > 0:
                if (number + 1) % self.config.rescale_every == 0:
                    x = x / 2
            if output_hidden_states:
                everything += (x,)
        x = self.ln_out(x)
        if not return_dict:
            return tuple(v for v in (x, state, everything) if v is not None)
        return SableOutput(last_hidden_state=x, state=state, hidden_states=everything)


class SableForCausalLM(SablePreTrainedModel):
    _tied_weights_keys = ["head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.sable = SableModel(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, new):
        self.head = new

    def prepare_inputs_for_generation(self, input_ids, state=None, inputs_embeds=None, **kwargs):
        if state is not None:
            input_ids = input_ids[:, -1].unsqueeze(-1)
        inputs = {"input_ids": input_ids} if inputs_embeds is None or state is not None else {"inputs_embeds": inputs_embeds}
        inputs["state"] = state
        inputs["use_cache"] = kwargs.get("use_cache", True)
        return inputs

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs: Dict[str, Any], **kwargs):
        model_kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs, **kwargs)
        model_kwargs["state"] = outputs.state
        return model_kwargs

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, state=None, labels=None, use_cache=None,
                output_hidden_states=None, return_dict=None):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.sable(input_ids, inputs_embeds=inputs_embeds, state=state, use_cache=use_cache,
                             output_hidden_states=output_hidden_states, return_dict=return_dict)
        logits = self.head(outputs[0])
        loss = None
        if labels is not None:
            loss = CrossEntropyLoss()(logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1))
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + outputs[1:]
        return SableCausalLMOutput(loss=loss, logits=logits, state=outputs.state, hidden_states=outputs.hidden_states)
