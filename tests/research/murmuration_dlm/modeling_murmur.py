from __future__ import annotations

import logging
import math
import sys
from abc import abstractmethod
from collections.abc import MutableMapping
from dataclasses import fields
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Set, Tuple, Union, cast

import torch
import torch.backends.cuda
import torch.nn as nn
import torch.nn.functional as F
from torch import einsum
from transformers import PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.models.auto import AutoModel

from .configuration_murmur import ActivationType, BlockType, InitFnType, ModelConfig, MurmurConfig

log = logging.getLogger(__name__)


class ModelOutputTuple(NamedTuple):
    logits: torch.FloatTensor
    hidden_states: Optional[Tuple[torch.Tensor]]


class BufferCache(dict, MutableMapping[str, torch.Tensor]):
    """
    Cache for attention biases and other things that would normally be stored as buffers.
    We avoid using buffers because we've run into various issues doing so with FSDP.
    """


class RMSLayerNorm(nn.Module):
    def __init__(self, config: ModelConfig, size: Optional[int] = None, eps: float = 1e-5):
        super().__init__()
        self.eps = config.rms_norm_eps
        self.weight = nn.Parameter(torch.ones(size or config.d_model, device=config.init_device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(enabled=False, device_type=x.device.type):
            og_dtype = x.dtype
            x = x.to(torch.float32)
            x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
            x = x.to(og_dtype)
        return self.weight * x

    def reset_parameters(self):
        torch.nn.init.ones_(self.weight)


class RotaryEmbedding(nn.Module):
    def __init__(self, config: ModelConfig, cache: BufferCache):
        super().__init__()
        self.config = config
        self.__cache = cache
        # Warm up cache.
        self.rope_theta = config.rope_theta
        self.get_rotary_embedding(config.max_sequence_length, torch.device("cpu"))

    def get_rotary_embedding(self, seq_len: int, device: torch.device) -> Tuple[torch.Tensor, torch.Tensor]:
        if (
            (pos_sin := self.__cache.get("rope_pos_sin")) is not None
            and (pos_cos := self.__cache.get("rope_pos_cos")) is not None
            and pos_sin.shape[-2] >= seq_len
            and pos_cos.shape[-2] >= seq_len
        ):
            if pos_sin.device != device:
                pos_sin = pos_sin.to(device)
                self.__cache["rope_pos_sin"] = pos_sin
            if pos_cos.device != device:
                pos_cos = pos_cos.to(device)
                self.__cache["rope_pos_cos"] = pos_cos
            return pos_sin[:, :, :seq_len, :], pos_cos[:, :, :seq_len, :]
        with torch.autocast(device.type, enabled=False):
            dim = self.config.d_model // self.config.n_heads
            inv_freq = 1.0 / (self.rope_theta ** (torch.arange(0, dim, 2, device=device, dtype=torch.float) / dim))
            seq = torch.arange(seq_len, device=device, dtype=torch.float)
            freqs = einsum("i , j -> i j", seq, inv_freq)
            positions = torch.cat((freqs, freqs), dim=-1)
            pos_sin, pos_cos = positions.sin()[None, None, :, :], positions.cos()[None, None, :, :]
        self.__cache["rope_pos_sin"] = pos_sin
        self.__cache["rope_pos_cos"] = pos_cos
        return pos_sin, pos_cos

    def rotate_half(self, x: torch.Tensor) -> torch.Tensor:
        B, nh, T, hs = x.size()
        x = x.view(B, nh, T, 2, hs // 2)
        x1, x2 = x.unbind(dim=-2)
        return torch.cat((-x2, x1), dim=-1)

    def apply_rotary_pos_emb(self, pos_sin, pos_cos, t):
        return ((t * pos_cos) + (self.rotate_half(t) * pos_sin)).to(t.dtype)

    def forward(self, q: torch.Tensor, k: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        q_, k_ = (q.float(), k.float()) if self.config.rope_full_precision else (q, k)
        with torch.autocast(q.device.type, enabled=False):
            query_len, key_len = q_.shape[-2], k_.shape[-2]
            pos_sin, pos_cos = self.get_rotary_embedding(key_len, q_.device)
            pos_sin = pos_sin.type_as(q_)
            pos_cos = pos_cos.type_as(q_)
            q_ = self.apply_rotary_pos_emb(pos_sin[:, :, key_len - query_len: key_len, :],
                                           pos_cos[:, :, key_len - query_len: key_len, :], q_)
            k_ = self.apply_rotary_pos_emb(pos_sin, pos_cos, k_)
        return q_.type_as(q), k_.type_as(k)


class MurmurBlock(nn.Module):
    def __init__(self, layer_id: int, config: ModelConfig, cache: BufferCache):
        super().__init__()
        self.layer_id = layer_id
        self.config = config
        self.hidden_size = config.mlp_hidden_size if config.mlp_hidden_size is not None else config.mlp_ratio * config.d_model
        self.__cache = cache
        self.dropout = nn.Dropout(config.residual_dropout)
        self.attn_out = nn.Linear(config.d_model, config.d_model, bias=config.include_bias, device=config.init_device)
        self.ff_out = nn.Linear(self.hidden_size, config.d_model, bias=config.include_bias, device=config.init_device)
        if config.rope:
            self.rotary_emb = RotaryEmbedding(config, self.__cache)

    def attention(self, q, k, v, attention_bias=None):
        B, T, C = q.size()
        hs = C // self.config.n_heads
        q = q.view(B, T, self.config.n_heads, hs).transpose(1, 2)
        k = k.view(B, T, self.config.effective_n_kv_heads, hs).transpose(1, 2)
        v = v.view(B, T, self.config.effective_n_kv_heads, hs).transpose(1, 2)
        if self.config.rope:
            q, k = self.rotary_emb(q, k)
        n_rep = self.config.n_heads // self.config.effective_n_kv_heads
        if n_rep > 1:
            k, v = k.repeat_interleave(n_rep, dim=1), v.repeat_interleave(n_rep, dim=1)
        # Modify: MDM set causal to False.
        att = F.scaled_dot_product_attention(q, k, v, attn_mask=attention_bias, is_causal=False,
                                             dropout_p=0.0 if not self.training else self.config.attention_dropout)
        return self.attn_out(att.transpose(1, 2).contiguous().view(B, T, C))

    @abstractmethod
    def forward(self, x, attention_bias=None):
        raise NotImplementedError

    @classmethod
    def build(cls, layer_id: int, config: ModelConfig, cache: BufferCache) -> MurmurBlock:
        if config.block_type == BlockType.llama:
            return MurmurLlamaBlock(layer_id, config, cache)
        raise NotImplementedError(f"Unknown block type: '{config.block_type}'")


class MurmurLlamaBlock(MurmurBlock):
    def __init__(self, layer_id: int, config: ModelConfig, cache: BufferCache):
        super().__init__(layer_id, config, cache)
        self.attn_norm = RMSLayerNorm(config)
        self.ff_norm = RMSLayerNorm(config)
        head_dim = config.d_model // config.n_heads
        kv = config.effective_n_kv_heads * head_dim
        bias = bool(config.include_bias or config.include_qkv_bias)
        self.q_proj = nn.Linear(config.d_model, config.d_model, bias=bias, device=config.init_device)
        self.k_proj = nn.Linear(config.d_model, kv, bias=bias, device=config.init_device)
        self.v_proj = nn.Linear(config.d_model, kv, bias=bias, device=config.init_device)
        self.ff_proj = nn.Linear(config.d_model, self.hidden_size, bias=config.include_bias, device=config.init_device)
        self.up_proj = nn.Linear(config.d_model, self.hidden_size, bias=config.include_bias, device=config.init_device)

    def forward(self, x, attention_bias=None):
        h = self.attn_norm(x)
        x = x + self.dropout(self.attention(self.q_proj(h), self.k_proj(h), self.v_proj(h), attention_bias))
        h = self.ff_norm(x)
        return x + self.dropout(self.ff_out(F.silu(self.ff_proj(h)) * self.up_proj(h)))


class MurmurModel(nn.Module):
    def __init__(self, config: ModelConfig, init_params: bool = True):
        super().__init__()
        self.config = config
        self.__cache = BufferCache()
        if config.embedding_size is not None and config.embedding_size < config.vocab_size:
            raise ValueError("embedding size should be at least as big as vocab size")
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(config.embedding_size or config.vocab_size, config.d_model, device=config.init_device),
            emb_drop=nn.Dropout(config.embedding_dropout),
            ln_f=RMSLayerNorm(config),
        ))
        blocks = [MurmurBlock.build(i, config, self.__cache) for i in range(config.n_layers)]
        self.transformer.update({"blocks": nn.ModuleList(blocks)})
        if not config.weight_tying:
            self.transformer.update({"ff_out": nn.Linear(config.d_model, config.embedding_size or config.vocab_size,
                                                         bias=config.include_bias, device=config.init_device)})
        if init_params and self.config.init_device != "meta":
            self.reset_parameters()

    def reset_parameters(self):
        log.info("Initializing model parameters...")
        for m in self.modules():
            if isinstance(m, (nn.Linear, nn.Embedding)):
                nn.init.normal_(m.weight, std=self.config.init_std)

    def forward(self, input_ids, input_embeddings=None, attention_mask=None, output_hidden_states=None):
        x = self.transformer.wte(input_ids) if input_embeddings is None else input_embeddings
        x = self.transformer.emb_drop(x)
        attention_bias = None
        if attention_mask is not None and 0.0 in attention_mask:
            attention_bias = attention_mask.to(torch.bool)[:, None, None, :]
        all_hidden_states = []
        for block in self.transformer.blocks:
            if output_hidden_states:
                all_hidden_states.append(x)
            x = block(x, attention_bias)
        x = self.transformer.ln_f(x)
        if self.config.weight_tying:
            logits = F.linear(x, self.transformer.wte.weight, None)
        else:
            logits = self.transformer.ff_out(x)
        if self.config.scale_logits:
            logits.mul_(1 / math.sqrt(self.config.d_model))
        return ModelOutputTuple(logits=logits, hidden_states=tuple(all_hidden_states) if output_hidden_states else None)


def create_model_config_from_pretrained_config(config: MurmurConfig):
    kwargs = {}
    for f in fields(ModelConfig):
        kwargs[f.name] = getattr(config, f.name)
    return ModelConfig(**kwargs)


class MurmurModelLM(PreTrainedModel):
    config_class = MurmurConfig
    base_model_prefix = "model"
    _no_split_modules = ["MurmurBlock", "MurmurLlamaBlock"]

    def __init__(self, config: MurmurConfig, model: Optional[MurmurModel] = None, init_params: bool = False):
        super().__init__(config)
        if not model:
            model_config = create_model_config_from_pretrained_config(config)
            # Initialize model (always on CPU to start with so we don't run out of GPU memory).
            model_config.init_device = "cpu"
            self.model = MurmurModel(model_config, init_params=init_params)
        else:
            self.model = model

    def forward(self, input_ids: torch.LongTensor = None, inputs_embeds: Optional[torch.FloatTensor] = None,
                attention_mask: Optional[torch.Tensor] = None, labels: Optional[torch.LongTensor] = None,
                output_hidden_states: Optional[bool] = None, return_dict: Optional[bool] = None, **kwargs
                ) -> Union[Tuple, CausalLMOutputWithPast]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.model.forward(input_ids=input_ids, input_embeddings=inputs_embeds,
                                     attention_mask=attention_mask, output_hidden_states=output_hidden_states)
        logits = outputs.logits
        loss = None
        if labels is not None:
            import warnings
            warnings.warn("Note that for this model, you cannot calculate the loss here.", UserWarning)
        if not return_dict:
            output = (logits,) + outputs[1:]
            return (loss,) + output if loss is not None else output
        return CausalLMOutputWithPast(logits=logits, past_key_values=None, hidden_states=outputs.hidden_states)

    def can_generate(self) -> bool:
        return True

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.model.transformer.wte

    def set_input_embeddings(self, value: torch.nn.Module):
        self.model.transformer.wte = value

    def get_output_embeddings(self):
        if self.config.weight_tying:
            return self.model.transformer.wte
        else:
            return self.model.transformer.ff_out

    def set_output_embeddings(self, value: torch.nn.Module):
        if self.config.weight_tying:
            self.model.transformer.wte = value
        else:
            self.model.transformer.ff_out = value

    def tie_weights(self):
        if self.config.weight_tying:
            self.model.transformer.ff_out = self.model.transformer.wte

    @staticmethod
    def add_gumbel_noise(logits, temperature):
        if temperature == 0:
            return logits
        logits = logits.to(torch.float64)
        noise = torch.rand_like(logits, dtype=torch.float64)
        return logits.exp() / ((-torch.log(noise)) ** temperature)

    @torch.no_grad()
    def diffusion_generate(self, prompt, steps=32, gen_length=32, block_length=32, temperature=0.0, cfg_scale=0.0,
                           remasking="low_confidence"):
        mask_id = self.config.mask_token_id
        x = torch.full((prompt.shape[0], prompt.shape[1] + gen_length), mask_id, dtype=torch.long, device=prompt.device)
        x[:, :prompt.shape[1]] = prompt.clone()
        prompt_index = x != mask_id
        num_blocks = gen_length // block_length
        steps = steps // num_blocks
        for b in range(num_blocks):
            lo, hi = prompt.shape[1] + b * block_length, prompt.shape[1] + (b + 1) * block_length
            total = (x[:, lo:hi] == mask_id).sum(1)
            for i in range(steps):
                k = (total // steps + (i < total % steps).long())
                mask_index = x == mask_id
                if cfg_scale > 0.0:
                    un_x = x.clone()
                    un_x[prompt_index] = mask_id
                    logits, un = self(torch.cat([x, un_x], 0)).logits.chunk(2, 0)
                    logits = un + (cfg_scale + 1) * (logits - un)
                else:
                    logits = self(x).logits
                x0 = torch.argmax(self.add_gumbel_noise(logits, temperature), dim=-1)
                p = F.softmax(logits, dim=-1)
                conf = torch.gather(p, -1, x0.unsqueeze(-1)).squeeze(-1) if remasking == "low_confidence" \
                    else torch.rand(x0.shape, device=x0.device)
                conf[:, hi:] = -float("inf")
                x0 = torch.where(mask_index, x0, x)
                conf = torch.where(mask_index, conf, -float("inf"))
                for j in range(conf.shape[0]):
                    _, sel = torch.topk(conf[j], k=int(k[j]))
                    x[j, sel] = x0[j, sel]
        return x


AutoModel.register(MurmurConfig, MurmurModelLM)
