import torch
import torch.nn.functional as F
from torch import nn
from transformers.activations import ACT2FN
from transformers.generation import GenerationMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_petrel import PetrelConfig
from .delta_rule import chunked, recurrent

logger = logging.get_logger(__name__)


class PetrelCache:
    """States of the delta layers, keys and values of the full ones."""

    is_compileable = False

    def __init__(self, config: PetrelConfig):
        n = config.num_hidden_layers
        self.layer_kinds = config.layer_kinds
        self.state: list[torch.Tensor | None] = [None] * n
        self.conv: list[torch.Tensor | None] = [None] * n
        self.keys: list[torch.Tensor | None] = [None] * n
        self.values: list[torch.Tensor | None] = [None] * n
        self.length = 0

    def __len__(self):
        return len(self.layer_kinds)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.length

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        return -1

    def append(self, layer_idx, k, v):
        if self.keys[layer_idx] is not None:
            k = torch.cat([self.keys[layer_idx], k], dim=2)
            v = torch.cat([self.values[layer_idx], v], dim=2)
        self.keys[layer_idx], self.values[layer_idx] = k, v
        return k, v

    def reorder_cache(self, beam_idx):
        for store in (self.state, self.conv, self.keys, self.values):
            for i, t in enumerate(store):
                if t is not None:
                    store[i] = t.index_select(0, beam_idx.to(t.device))

    @property
    def has_previous_state(self):
        return self.length > 0


class PetrelRMSNorm(nn.Module):
    def __init__(self, size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x.float(), x.shape[-1:], eps=self.eps).to(x.dtype) * self.weight


def rotary(x, positions, theta):
    half = x.shape[-1] // 2
    rates = theta ** (-torch.arange(half, device=x.device).float() / half)
    angles = positions[:, None, :, None].float() * rates
    a, b = x.float().split(half, -1)
    return torch.cat([a * angles.cos() - b * angles.sin(), b * angles.cos() + a * angles.sin()], -1).to(x.dtype)


class PetrelFullAttention(nn.Module):
    def __init__(self, config: PetrelConfig, layer_idx: int):
        super().__init__()
        self.layer_idx = layer_idx
        self.heads, self.head_dim = config.num_attention_heads, config.head_dim
        self.theta = config.rope_parameters["rope_theta"]
        width = self.heads * self.head_dim
        self.qkv = nn.Linear(config.hidden_size, 3 * width, bias=False)
        self.gate = nn.Linear(config.hidden_size, width, bias=False)
        self.out = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, x, positions, attention_mask=None, cache: PetrelCache | None = None):
        b, t, _ = x.shape
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2) for y in self.qkv(x).chunk(3, -1))
        q, k = rotary(q, positions, self.theta), rotary(k, positions, self.theta)
        if cache is not None:
            k, v = cache.append(self.layer_idx, k, v)
        total = k.shape[2]
        allowed = torch.ones(t, total, dtype=torch.bool, device=x.device).tril(total - t)[None, None]
        if attention_mask is not None:
            allowed = allowed & attention_mask[:, None, None, :total].bool()
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return self.out(y.transpose(1, 2).reshape(b, t, -1) * self.gate(x).sigmoid())


class PetrelDeltaAttention(nn.Module):
    def __init__(self, config: PetrelConfig, layer_idx: int):
        super().__init__()
        self.layer_idx, self.chunk, self.kernel = layer_idx, config.chunk, config.conv_size
        self.heads, self.head_dim = config.num_attention_heads, config.head_dim
        width = self.heads * self.head_dim
        self.qkv = nn.Linear(config.hidden_size, 3 * width, bias=False)
        self.conv = nn.Conv1d(3 * width, 3 * width, self.kernel, groups=3 * width, bias=False)
        self.ab = nn.Linear(config.hidden_size, 2 * self.heads, bias=False)
        self.A_log = nn.Parameter(torch.zeros(self.heads))
        self.dt_bias = nn.Parameter(torch.zeros(self.heads))
        self.norm = PetrelRMSNorm(self.head_dim, config.rms_norm_eps)
        self.gate = nn.Linear(config.hidden_size, width, bias=False)
        self.out = nn.Linear(width, config.hidden_size, bias=False)

    def forward(self, x, positions, attention_mask=None, cache: PetrelCache | None = None):
        b, t, _ = x.shape
        if attention_mask is not None and t > 1:
            x = x * attention_mask[:, -t:, None].to(x.dtype)
        mixed = self.qkv(x).transpose(1, 2)
        before = cache.conv[self.layer_idx] if cache is not None else None
        window = F.pad(mixed, (self.kernel - 1, 0)) if before is None else torch.cat([before, mixed], -1)
        mixed = F.silu(self.conv(window)).transpose(1, 2)
        q, k, v = (y.view(b, t, self.heads, -1).transpose(1, 2).float() for y in mixed.chunk(3, -1))
        q, k = F.normalize(q, dim=-1) * self.head_dim**-0.5, F.normalize(k, dim=-1)
        a, beta = self.ab(x).float().transpose(1, 2).chunk(2, 1)
        decay = -self.A_log.float().exp()[:, None] * F.softplus(a + self.dt_bias.float()[:, None])
        state = cache.state[self.layer_idx] if cache is not None else None
        if state is None:
            state = q.new_zeros(b, self.heads, self.head_dim, self.head_dim)
        if t == 1:
            y, state = recurrent(q, k, v, decay, beta.sigmoid(), state)
        else:
            y, state = chunked(q, k, v, decay, beta.sigmoid(), state, self.chunk)
        if cache is not None:
            cache.state[self.layer_idx] = state
            cache.conv[self.layer_idx] = window[..., 1 - self.kernel:]
        y = self.norm(y.transpose(1, 2).to(x.dtype)).reshape(b, t, -1)
        return self.out(y * F.silu(self.gate(x)))


class PetrelLayer(GradientCheckpointingLayer):
    def __init__(self, config: PetrelConfig, layer_idx: int):
        super().__init__()
        kind = PetrelFullAttention if config.layer_kinds[layer_idx] == "full" else PetrelDeltaAttention
        self.norm1 = PetrelRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mixer = kind(config, layer_idx)
        self.norm2 = PetrelRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)
        self.act = ACT2FN["silu"]

    def forward(self, x, positions, attention_mask=None, cache=None):
        x = x + self.mixer(self.norm1(x), positions, attention_mask, cache)
        gate, up = self.up(self.norm2(x)).chunk(2, -1)
        return x + self.down(self.act(gate) * up)


class PetrelPreTrainedModel(PreTrainedModel):
    config: PetrelConfig
    config_class = PetrelConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["PetrelLayer"]
    _skip_keys_device_placement = ["past_key_values"]
    _is_stateful = True
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, PetrelDeltaAttention):
            nn.init.uniform_(module.A_log, 0.0, 2.0)
            nn.init.constant_(module.dt_bias, -2.0)


class PetrelModel(PetrelPreTrainedModel):
    def __init__(self, config: PetrelConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([PetrelLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = PetrelRMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: PetrelCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        use_cache = use_cache if use_cache is not None else (self.config.use_cache and not self.training)
        if use_cache and not isinstance(past_key_values, PetrelCache):
            past_key_values = PetrelCache(self.config)
        cache = past_key_values if use_cache else None
        start = cache.length if cache is not None else 0
        if position_ids is None:
            position_ids = torch.arange(start, start + x.shape[1], device=x.device)[None]
        states = [x] if output_hidden_states else None
        for layer in self.layers:
            x = layer(x, position_ids, attention_mask, cache)
            if states is not None:
                states.append(x)
        if cache is not None:
            cache.length += x.shape[1]
        return BaseModelOutputWithPast(
            last_hidden_state=self.norm(x),
            past_key_values=cache,
            hidden_states=tuple(states) if states is not None else None,
        )


class PetrelForCausalLM(PetrelPreTrainedModel, GenerationMixin):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: PetrelConfig):
        super().__init__(config)
        self.model = PetrelModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False

    def prepare_inputs_for_generation(
        self, input_ids, past_key_values=None, attention_mask=None, inputs_embeds=None, use_cache=True, **kwargs
    ):
        start = past_key_values.get_seq_length() if past_key_values is not None else 0
        if inputs_embeds is not None and start == 0:
            given = {"inputs_embeds": inputs_embeds}
        else:
            given = {"input_ids": input_ids[:, start:]}
        return {
            **given,
            "attention_mask": attention_mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
        }

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: PetrelCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        outputs = self.model(
            input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache, output_hidden_states
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, keep])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=outputs.past_key_values, hidden_states=outputs.hidden_states
        )
