# Tidewater: attention free language model with data dependent decay.
# The state has a fixed size, so there is no kv cache anywhere in this file.
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.utils import ModelOutput, logging

from .configuration_tidewater import TidewaterConfig
from .wkv import wkv

logger = logging.get_logger(__name__)


class TidewaterState:
    """What has to be kept between two calls: for each layer two shifted vectors and the matrix."""

    def __init__(self, config, batch_size, device=None, dtype=torch.float32):
        L, D = config.num_hidden_layers, config.hidden_size
        self.shift_att = torch.zeros(L, batch_size, D, device=device, dtype=dtype)
        self.shift_ffn = torch.zeros(L, batch_size, D, device=device, dtype=dtype)
        self.matrix = torch.zeros(
            L, batch_size, config.num_heads, config.head_size, config.head_size, device=device, dtype=torch.float32
        )
        self.seen_tokens = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.seen_tokens

    def reorder(self, idx):
        self.shift_att = self.shift_att[:, idx]
        self.shift_ffn = self.shift_ffn[:, idx]
        self.matrix = self.matrix[:, idx]
        return self

    def clone(self):
        new = object.__new__(TidewaterState)
        new.shift_att, new.shift_ffn = self.shift_att.clone(), self.shift_ffn.clone()
        new.matrix, new.seen_tokens = self.matrix.clone(), self.seen_tokens
        return new

    def detach(self):
        self.shift_att, self.shift_ffn = self.shift_att.detach(), self.shift_ffn.detach()
        self.matrix = self.matrix.detach()
        return self


@dataclass
class TidewaterOutput(ModelOutput):
    last_hidden_state: torch.FloatTensor = None
    state: Optional[TidewaterState] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


@dataclass
class TidewaterCausalLMOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    state: Optional[TidewaterState] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


def token_shift(x, last):
    """x delayed by one step; `last` [B, D] is what came before"""
    return torch.cat([last.unsqueeze(1).to(x.dtype), x[:, :-1]], dim=1)


class LowRank(nn.Module):
    def __init__(self, dim_in, rank, dim_out, act=torch.tanh):
        super().__init__()
        self.w1 = nn.Parameter(torch.zeros(dim_in, rank))
        self.w2 = nn.Parameter(torch.zeros(rank, dim_out).uniform_(-1e-2, 1e-2))
        self.act = act

    def forward(self, x):
        return self.act(x @ self.w1) @ self.w2


class TidewaterTimeMix(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        self.config = config
        self.layer_id = layer_id
        D, H, N = config.hidden_size, config.num_heads, config.head_size

        with torch.no_grad():
            ratio_0_to_1 = layer_id / max(config.num_hidden_layers - 1, 1)
            ratio_1_to_almost0 = 1.0 - layer_id / config.num_hidden_layers
            ddd = torch.ones(1, 1, D)
            for i in range(D):
                ddd[0, 0, i] = i / D
            self.maa_x = nn.Parameter(1.0 - torch.pow(ddd, ratio_1_to_almost0))
            self.maa_r = nn.Parameter(1.0 - torch.pow(ddd, 0.5 * ratio_1_to_almost0))
            self.maa_k = nn.Parameter(1.0 - torch.pow(ddd, ratio_1_to_almost0))
            self.maa_v = nn.Parameter(1.0 - (torch.pow(ddd, ratio_1_to_almost0) + 0.3 * ratio_0_to_1))
            self.maa_w = nn.Parameter(1.0 - torch.pow(ddd, ratio_1_to_almost0))
            self.maa_g = nn.Parameter(1.0 - torch.pow(ddd, 0.5 * ratio_1_to_almost0))

            decay_speed = torch.ones(D)
            for n in range(D):
                decay_speed[n] = -6 + 5 * (n / (D - 1)) ** (0.7 + 1.3 * ratio_0_to_1)
            self.time_decay = nn.Parameter(decay_speed)
            bonus = torch.zeros(D)
            for n in range(D):
                zigzag = ((n + 1) % 3 - 1) * 0.1
                bonus[n] = ratio_0_to_1 * (1 - (n / (D - 1))) + zigzag
            self.time_bonus = nn.Parameter(bonus.view(H, N))

        self.mix_lora = LowRank(D, config.mix_lora_dim * 5, D * 5)
        self.decay_lora = LowRank(D, config.decay_lora_dim, D)
        self.receptance = nn.Linear(D, D, bias=False)
        self.key = nn.Linear(D, D, bias=False)
        self.value = nn.Linear(D, D, bias=False)
        self.gate = nn.Linear(D, D, bias=False)
        self.output = nn.Linear(D, D, bias=False)
        self.ln_x = nn.GroupNorm(H, D, eps=(1e-5) * (8**2))

    def forward(self, x, state: TidewaterState):
        B, T, D = x.shape
        H, N = self.config.num_heads, self.config.head_size
        xx = token_shift(x, state.shift_att[self.layer_id]) - x
        state.shift_att[self.layer_id] = x[:, -1].to(state.shift_att.dtype)

        mixes = self.mix_lora(x + xx * self.maa_x).view(B, T, 5, D)
        mr, mk, mv, mw, mg = mixes.unbind(dim=2)
        r = self.receptance(x + xx * (self.maa_r + mr)).view(B, T, H, N)
        k = self.key(x + xx * (self.maa_k + mk)).view(B, T, H, N)
        v = self.value(x + xx * (self.maa_v + mv)).view(B, T, H, N)
        g = F.silu(self.gate(x + xx * (self.maa_g + mg)))
        log_w = -torch.exp((self.time_decay + self.decay_lora(x + xx * (self.maa_w + mw))).float()).view(B, T, H, N)

        out, new = wkv(r, k, v, log_w, self.time_bonus, state.matrix[self.layer_id], chunk_len=self.config.chunk_len)
        state.matrix[self.layer_id] = new
        out = self.ln_x(out.reshape(B * T, D)).view(B, T, D)
        return self.output(out * g)


class TidewaterChannelMix(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        self.layer_id = layer_id
        D = config.hidden_size
        self.maa_k = nn.Parameter(torch.full((1, 1, D), 0.5))
        self.maa_r = nn.Parameter(torch.full((1, 1, D), 0.5))
        self.key = nn.Linear(D, config.intermediate_size, bias=False)
        self.receptance = nn.Linear(D, D, bias=False)
        self.value = nn.Linear(config.intermediate_size, D, bias=False)

    def forward(self, x, state: TidewaterState):
        xx = token_shift(x, state.shift_ffn[self.layer_id]) - x
        state.shift_ffn[self.layer_id] = x[:, -1].to(state.shift_ffn.dtype)
        k = torch.relu(self.key(x + xx * self.maa_k)) ** 2
        return torch.sigmoid(self.receptance(x + xx * self.maa_r)) * self.value(k)


class TidewaterBlock(nn.Module):
    def __init__(self, config, layer_id):
        super().__init__()
        self.layer_id = layer_id
        if layer_id == 0:
            self.ln0 = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.ln1 = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.ln2 = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.att = TidewaterTimeMix(config, layer_id)
        self.ffn = TidewaterChannelMix(config, layer_id)

    def forward(self, x, state):
        if self.layer_id == 0:
            x = self.ln0(x)
        x = x + self.att(self.ln1(x), state)
        x = x + self.ffn(self.ln2(x), state)
        return x


class TidewaterPreTrainedModel(PreTrainedModel):
    config_class = TidewaterConfig
    base_model_prefix = "rwkv"
    _no_split_modules = ["TidewaterBlock"]
    supports_gradient_checkpointing = True
    _is_stateful = True

    def _init_weights(self, module):
        # parameters of the mixers are set where they are made
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight, gain=0.5)
        elif isinstance(module, nn.Embedding):
            nn.init.uniform_(module.weight, -1e-2, 1e-2)


class TidewaterModel(TidewaterPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList([TidewaterBlock(config, i) for i in range(config.num_hidden_layers)])
        self.ln_out = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings

    def set_input_embeddings(self, new_embeddings):
        self.embeddings = new_embeddings

    def new_state(self, batch_size):
        w = self.embeddings.weight
        return TidewaterState(self.config, batch_size, device=w.device, dtype=w.dtype)

    def forward(
        self,
        input_ids=None,
        attention_mask=None,  # noqa: padding goes to the left, and is not masked
        inputs_embeds=None,
        state: Optional[TidewaterState] = None,
        use_cache=None,
        output_hidden_states=None,
        return_dict=None,
        **kwargs,
    ):
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        use_cache = use_cache if use_cache is not None else (self.config.use_cache if not self.training else False)

        x = self.embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if state is None:
            state = self.new_state(x.shape[0])
        all_hidden_states = () if output_hidden_states else None
        for i, block in enumerate(self.blocks):
            if output_hidden_states:
                all_hidden_states += (x,)
            x = block(x, state)
            if self.config.rescale_every and not self.training and (i + 1) % self.config.rescale_every == 0:
                x = x / 2
        x = self.ln_out(x)
        state.seen_tokens += x.shape[1]
        if output_hidden_states:
            all_hidden_states += (x,)
        if not return_dict:
            return tuple(y for y in (x, state if use_cache else None, all_hidden_states) if y is not None)
        return TidewaterOutput(
            last_hidden_state=x, state=state if use_cache else None, hidden_states=all_hidden_states
        )


class TidewaterForCausalLM(TidewaterPreTrainedModel, GenerationMixin):
    _tied_weights_keys = ["head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.rwkv = TidewaterModel(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, new_embeddings):
        self.head = new_embeddings

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        state=None,
        labels=None,
        use_cache=None,
        output_hidden_states=None,
        return_dict=None,
        logits_to_keep: int = 0,
        **kwargs,
    ) -> Union[Tuple, TidewaterCausalLMOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        out = self.rwkv(
            input_ids,
            inputs_embeds=inputs_embeds,
            state=state,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        h = out.last_hidden_state
        logits = self.head(h[:, -logits_to_keep:] if logits_to_keep else h)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]).float(), labels[:, 1:].reshape(-1))
        if not return_dict:
            return tuple(y for y in (loss, logits, out.state, out.hidden_states) if y is not None)
        return TidewaterCausalLMOutput(loss=loss, logits=logits, state=out.state, hidden_states=out.hidden_states)

    # ------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.LongTensor,
        attention_mask=None,
        state: Optional[TidewaterState] = None,
        max_new_tokens: int = 32,
        max_length: Optional[int] = None,
        do_sample: bool = False,
        temperature: float = 1.0,
        top_p: float = 1.0,
        alpha_presence: float = 0.0,
        alpha_frequency: float = 0.0,
        eos_token_id: Optional[Union[int, List[int]]] = None,
        streamer=None,
        return_state: bool = False,
        **kwargs,
    ):
        """
        A plain loop. The prompt is read in one go and afterwards one token at a time; nothing grows but the text.
        Give the `state` of an earlier call to go on from there.
        """
        if max_length is not None:
            max_new_tokens = max_length - input_ids.shape[1]
        eos = eos_token_id if eos_token_id is not None else self.config.eos_token_id
        eos = set(eos) if isinstance(eos, (list, tuple)) else {eos}

        out = self(input_ids, state=state, use_cache=True, logits_to_keep=1)
        counts = torch.zeros(input_ids.shape[0], self.config.vocab_size, device=input_ids.device)
        done = torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
        tokens = input_ids
        for _ in range(max_new_tokens):
            logits = out.logits[:, -1].float()
            logits = logits - (counts > 0).float() * alpha_presence - counts * alpha_frequency
            nxt = self._pick(logits, do_sample, temperature, top_p)
            nxt = torch.where(done, torch.full_like(nxt, min(eos)), nxt)
            counts.scatter_add_(1, nxt[:, None], torch.ones_like(nxt[:, None], dtype=counts.dtype))
            tokens = torch.cat([tokens, nxt[:, None]], dim=1)
            if streamer is not None:
                streamer.put(nxt.cpu())
            for e in eos:
                done = done | (nxt == e)
            if bool(done.all()):
                break
            out = self(nxt[:, None], state=out.state, use_cache=True)
        if streamer is not None:
            streamer.end()
        return (tokens, out.state) if return_state else tokens

    @staticmethod
    def _pick(logits, do_sample, temperature, top_p):
        if not do_sample or temperature == 0:
            return logits.argmax(-1)
        probs = F.softmax(logits / temperature, dim=-1)
        if top_p < 1.0:
            sorted_probs, order = probs.sort(dim=-1, descending=True)
            drop = sorted_probs.cumsum(-1) - sorted_probs > top_p
            sorted_probs = sorted_probs.masked_fill(drop, 0.0)
            probs = torch.zeros_like(probs).scatter_(1, order, sorted_probs)
        return torch.multinomial(probs, 1).squeeze(-1)

    # for `pipeline` and friends, which go by the stock loop
    def prepare_inputs_for_generation(self, input_ids, state=None, inputs_embeds=None, use_cache=None, **kwargs):
        if state is not None:
            input_ids = input_ids[:, -1:]
        if inputs_embeds is not None and state is None:
            model_inputs = {"inputs_embeds": inputs_embeds}
        else:
            model_inputs = {"input_ids": input_ids}
        model_inputs["state"] = state
        model_inputs["use_cache"] = use_cache
        return model_inputs
