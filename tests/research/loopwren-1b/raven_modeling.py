"""Minimal modeling file for the recurrent depth models, everything in one place."""
import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Union

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import GenerationConfig, PreTrainedModel
from transformers.utils import ModelOutput
from transformers.generation.utils import GenerationMixin

from .raven_config import LoopwrenConfig


class LoopwrenPreTrainedModel(PreTrainedModel):
    config_class = LoopwrenConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SandwichBlock"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _supports_cache_class = False

    def _init_weights(self, module):
        if not torch.rand((1,)).is_meta:
            pass  # training code does the init, see repo


@dataclass
class CausalLMOutputRecurrentLatents(ModelOutput):
    loss: Optional[torch.Tensor] = None
    log_ppl: Optional[torch.Tensor] = None
    logits: Optional[torch.Tensor] = None
    past_key_values: Optional["KVStore"] = None
    latent_states: Optional[torch.Tensor] = None
    stats: Optional[dict] = None


class KVStore:
    """keyed by the (virtual) step index, so that each loop iteration has its own entries"""

    def __init__(self, lookup_strategy: str = "full"):
        self.k: Dict[int, Tensor] = {}
        self.v: Dict[int, Tensor] = {}
        self.seen = 0
        self.lookup_strategy = lookup_strategy

    def update(self, step: int, k: Tensor, v: Tensor):
        if step == 0:
            self.seen += k.shape[-2]
        if step in self.k:
            k = torch.cat([self.k[step], k], dim=-2)
            v = torch.cat([self.v[step], v], dim=-2)
        self.k[step], self.v[step] = k, v
        return k, v

    def length(self) -> int:
        return self.seen

    def clear_last_k_entries(self, k: int = 0):
        self.seen -= k
        for i in self.k:
            self.k[i] = self.k[i][..., :-k, :]
            self.v[i] = self.v[i][..., :-k, :]


class RMSNorm(torch.nn.Module):
    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = torch.nn.Parameter(torch.ones(dim))

    def forward(self, x):
        with torch.autocast(enabled=False, device_type=x.device.type):
            return (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + self.eps)).type_as(x) * self.weight

    def reset_parameters(self) -> None:
        torch.nn.init.ones_(self.weight)


def precompute_freqs_cis(dim: int, end: int, theta: float = 10000.0):
    with torch.autocast("cuda", enabled=False):
        inv_freqs = 1.0 / (theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
        t = torch.arange(end, dtype=torch.float32)
        freqs = torch.outer(t, inv_freqs).float()
        return torch.stack([torch.cos(freqs)[None, :, None, :], torch.sin(freqs)[None, :, None, :]], dim=4)


def apply_rotary_emb_complex_like(q: Tensor, k: Tensor, freqs_cis: Tensor):
    with torch.autocast("cuda", enabled=False):
        qk_r2 = torch.cat([q, k], dim=2).unflatten(dim=-1, sizes=(-1, 2)).float()
        rotated = torch.stack(
            [
                qk_r2[..., 0] * freqs_cis[..., 0] - qk_r2[..., 1] * freqs_cis[..., 1],
                qk_r2[..., 1] * freqs_cis[..., 0] + qk_r2[..., 0] * freqs_cis[..., 1],
            ],
            -1,
        ).flatten(3)
        return torch.split(rotated.type_as(q), q.shape[2], dim=2)


class GatedMLP(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.fc = torch.nn.Linear(config.n_embd, config.intermediate_size * 2, bias=False)
        self.proj = torch.nn.Linear(config.intermediate_size, config.n_embd, bias=False)
        self.nonlin = torch.nn.SiLU()

    def forward(self, x):
        x_fc_1, x_fc_2 = self.fc(x).chunk(2, dim=-1)
        return self.proj(self.nonlin(x_fc_1) * x_fc_2)


class CausalSelfAttention(torch.nn.Module):
    def __init__(self, config: LoopwrenConfig):
        super().__init__()
        self.n_head = config.n_heads
        self.head_dim = config.n_embd // self.n_head
        self.Wqkv = torch.nn.Linear(config.n_embd, 3 * config.n_embd, bias=False)
        if config.qk_bias:
            self.qk_bias = torch.nn.Parameter(torch.zeros(2, 1, self.n_head, self.head_dim))
        self.proj = torch.nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x, freqs_cis, step_idx, past: Optional[KVStore] = None):
        B, S, E = x.shape
        q, k, v = self.Wqkv(x).split(E, dim=2)
        q, k, v = (t.view(B, S, self.n_head, self.head_dim) for t in (q, k, v))
        if hasattr(self, "qk_bias"):
            q_bias, k_bias = self.qk_bias.split(1, dim=0)
            q, k = (q + q_bias).to(q.dtype), (k + k_bias).to(q.dtype)
        q, k = apply_rotary_emb_complex_like(q, k, freqs_cis)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
        if past is not None:
            k, v = past.update(step_idx, k, v)
        if k.shape[2] == S:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=S > 1)
        else:
            o = k.shape[2] - S
            m = torch.ones(S, k.shape[2], dtype=torch.bool, device=q.device).tril(o)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=m)
        return self.proj(y.transpose(1, 2).reshape(B, S, E))


class SandwichBlock(torch.nn.Module):
    expanded = False

    def __init__(self, config: LoopwrenConfig, layer_id: int):
        super().__init__()
        self.norm_1 = RMSNorm(config.n_embd, eps=config.norm_eps)
        self.attn = CausalSelfAttention(config)
        self.norm_2 = RMSNorm(config.n_embd, eps=config.norm_eps)
        self.mlp = GatedMLP(config)
        self.norm_3 = RMSNorm(config.n_embd, eps=config.norm_eps)
        self.norm_4 = RMSNorm(config.n_embd, eps=config.norm_eps)
        self.layer_id = layer_id

    def forward(self, x, freqs_cis, step_idx, past=None):
        x = self.norm_2(self.attn(self.norm_1(x), freqs_cis, step_idx, past) + x)
        return self.norm_4(self.mlp(self.norm_3(x)) + x)


class LoopwrenForCausalLM(LoopwrenPreTrainedModel, GenerationMixin):
    def __init__(self, config: LoopwrenConfig):
        super().__init__(config)
        self.config = config
        prelude = torch.nn.ModuleList(SandwichBlock(config, layer_id=i) for i in range(config.n_layers_in_prelude))
        adapter = torch.nn.Linear(config.n_embd * 2, config.n_embd, bias=config.bias)
        o = config.n_layers_in_prelude
        core_block = torch.nn.ModuleList(SandwichBlock(config, layer_id=i + o)
                                         for i in range(config.n_layers_in_recurrent_block))
        o += config.n_layers_in_recurrent_block * config.mean_recurrence
        coda = torch.nn.ModuleList(SandwichBlock(config, layer_id=i + o) for i in range(config.n_layers_in_coda))
        self.transformer = torch.nn.ModuleDict(dict(
            wte=torch.nn.Embedding(config.padded_vocab_size, config.n_embd),
            prelude=prelude,
            adapter=adapter,
            core_block=core_block,
            coda=coda,
            ln_f=RMSNorm(config.n_embd, eps=config.norm_eps),
        ))
        self.emb_scale = config.init_values["embed_scale"]
        # head shares the table, applied with F.linear
        self._freqs = None
        self.post_init()

    def get_input_embeddings(self):
        return self.transformer.wte

    def set_input_embeddings(self, value):
        self.transformer.wte = value

    def get_output_embeddings(self):
        return None

    def _get_freqs(self, device):
        if self._freqs is None or self._freqs.device != device:
            self._freqs = precompute_freqs_cis(self.config.n_embd // self.config.n_heads, self.config.block_size,
                                               self.config.rope_base).to(device)
        return self._freqs

    def initialize_state(self, input_embeds, deterministic: bool = False):
        if self.config.state_init == "zero" or deterministic:
            return torch.zeros_like(input_embeds)
        x = torch.randn_like(input_embeds)
        std = self.config.init_values["std"]
        torch.nn.init.trunc_normal_(x, mean=0.0, std=std, a=-3 * std, b=3 * std)
        return self.emb_scale * x

    def iterate_forward(self, input_embeds, freqs_cis, step_idx, num_steps: int, past=None):
        x = self.initialize_state(input_embeds)
        deltas = []
        for _ in range(num_steps):
            prev = x
            x = self.transformer.adapter(torch.cat([x, input_embeds], dim=-1))
            for block in self.transformer.core_block:
                x = block(x, freqs_cis, step_idx, past)
                step_idx += 1
            deltas.append((x - prev).norm() / (x.norm() + 1e-8))
        return x, step_idx, deltas

    def forward(self, input_ids: torch.Tensor, input_embeds: Optional[torch.Tensor] = None,
                attention_mask: Optional[torch.Tensor] = None, num_steps: Optional[int] = None,
                labels: Optional[torch.Tensor] = None, past_key_values: Optional[KVStore] = None,
                return_latents: bool = False, use_cache: bool = False, **kwargs) -> CausalLMOutputRecurrentLatents:
        past = past_key_values
        if use_cache and past is None:
            past = KVStore()
        pos = past.length() if past is not None else 0
        S = input_ids.shape[1]
        freqs_cis = self._get_freqs(input_ids.device)[:, pos:pos + S]
        if input_embeds is None:
            input_embeds = self.transformer.wte(input_ids) * self.emb_scale
        step = 0
        for block in self.transformer.prelude:
            input_embeds = block(input_embeds, freqs_cis, step, past)
            step += 1
        x, step, deltas = self.iterate_forward(input_embeds, freqs_cis, step, num_steps or self.config.mean_recurrence,
                                               past)
        latents = x.clone().detach() if return_latents else None
        for block in self.transformer.coda:
            x = block(x, freqs_cis, step, past)
            step += 1
        x = self.transformer.ln_f(x)
        logits = F.linear(x, self.transformer.wte.weight)[..., :self.config.vocab_size].float()
        loss = torch.as_tensor(0.0)
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1))
        return CausalLMOutputRecurrentLatents(loss=loss, log_ppl=loss.clone().detach(), logits=logits,
                                              past_key_values=past, latent_states=latents,
                                              stats={"deltas": [float(d) for d in deltas]})

    @torch.no_grad()
    def generate(self, input_ids: torch.LongTensor, generation_config: Optional[GenerationConfig] = None,
                 max_new_tokens: int = 32, num_steps: Optional[int] = None, do_sample: bool = False,
                 temperature: float = 1.0, top_p: float = 1.0, eos_token_id: Optional[int] = None,
                 exit_threshold: Optional[float] = None, streamer=None, **kwargs):
        """own loop; exit_threshold: skip further recurrence once the latent has converged (not batched)"""
        if generation_config is not None:
            max_new_tokens = generation_config.max_new_tokens or max_new_tokens
            do_sample = generation_config.do_sample
        eos = eos_token_id if eos_token_id is not None else self.config.eos_token_id
        past = KVStore()
        ids, cur = input_ids, input_ids
        done = torch.zeros(ids.shape[0], dtype=torch.bool, device=ids.device)
        for _ in range(max_new_tokens):
            out = self.forward(cur, past_key_values=past, use_cache=True, num_steps=num_steps)
            scores = out.logits[:, -1]
            if do_sample:
                probs = F.softmax(scores / temperature, -1)
                if top_p < 1:
                    p, i = probs.sort(-1, descending=True)
                    p[(p.cumsum(-1) - p) > top_p] = 0
                    cur = i.gather(-1, torch.multinomial(p, 1))
                else:
                    cur = torch.multinomial(probs, 1)
            else:
                cur = scores.argmax(-1, keepdim=True)
            cur = torch.where(done[:, None], torch.full_like(cur, self.config.pad_token_id or 0), cur)
            ids = torch.cat([ids, cur], -1)
            if streamer is not None:
                streamer.put(cur.cpu())
            done = done | (cur[:, 0] == eos)
            if done.all():
                break
        if streamer is not None:
            streamer.end()
        return ids
