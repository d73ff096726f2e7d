"""
Mistfill: a bidirectional transformer that fills masks, and a language model by doing so again and again.
"""
import math
from typing import Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.utils import is_flash_attn_2_available, logging

from .configuration_mistfill import MistfillConfig
from .sampling_mistfill import MistfillSamples, reverse_process

if is_flash_attn_2_available():
    from flash_attn import flash_attn_func  # noqa: F401

logger = logging.get_logger(__name__)


class RMSNorm(nn.Module):
    def __init__(self, dim, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        with torch.autocast(enabled=False, device_type=x.device.type):
            og = x.dtype
            x = x.to(torch.float32)
            x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)
            x = x.to(og)
        return self.weight * x


class RotaryEmbedding(nn.Module):
    def __init__(self, config: MistfillConfig, device=None):
        super().__init__()
        if config.rope_scaling is not None:
            self.rope_type = config.rope_scaling.get("rope_type", config.rope_scaling.get("type"))
        else:
            self.rope_type = "default"
        self.config = config
        inv_freq, self.attention_scaling = ROPE_INIT_FUNCTIONS[self.rope_type](config, device)
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    @torch.no_grad()
    def forward(self, x, position_ids):
        freqs = position_ids[:, :, None].float() * self.inv_freq.to(x.device)[None, None, :]
        emb = torch.cat((freqs, freqs), dim=-1)
        return (emb.cos() * self.attention_scaling).to(x.dtype), (emb.sin() * self.attention_scaling).to(x.dtype)


def rotate_half(x):
    x1, x2 = x.chunk(2, dim=-1)
    return torch.cat((-x2, x1), dim=-1)


class MistfillAttention(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.layer_idx = layer_idx
        self.n_heads, self.n_kv_heads = config.n_heads, config.n_kv_heads
        self.head_dim = config.d_model // config.n_heads
        self.dropout = config.attention_dropout
        self.q_proj = nn.Linear(config.d_model, self.n_heads * self.head_dim, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.d_model, self.n_kv_heads * self.head_dim, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.d_model, self.n_kv_heads * self.head_dim, bias=config.attention_bias)
        self.attn_out = nn.Linear(self.n_heads * self.head_dim, config.d_model, bias=False)

    def forward(self, x, cos_sin, attn_bias=None, output_attentions=False):
        B, T, _ = x.shape
        q = self.q_proj(x).view(B, T, self.n_heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(B, T, self.n_kv_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(B, T, self.n_kv_heads, self.head_dim).transpose(1, 2)
        cos, sin = (t.unsqueeze(1) for t in cos_sin)
        q = q * cos + rotate_half(q) * sin
        k = k * cos + rotate_half(k) * sin
        if self.n_kv_heads != self.n_heads:
            k = k.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
            v = v.repeat_interleave(self.n_heads // self.n_kv_heads, dim=1)
        weights = None
        if output_attentions:
            weights = q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)
            if attn_bias is not None:
                weights = weights + attn_bias
            weights = weights.softmax(-1)
            out = weights @ v
        else:
            # no causal mask: everything sees everything
            out = F.scaled_dot_product_attention(
                q, k, v, attn_mask=attn_bias, dropout_p=self.dropout if self.training else 0.0, is_causal=False
            )
        return self.attn_out(out.transpose(1, 2).reshape(B, T, -1)), weights


class MistfillBlock(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.attn_norm = RMSNorm(config.d_model, config.rms_norm_eps)
        self.attn = MistfillAttention(config, layer_idx)
        self.ff_norm = RMSNorm(config.d_model, config.rms_norm_eps)
        self.ff_proj = nn.Linear(config.d_model, config.mlp_hidden_size, bias=False)
        self.up_proj = nn.Linear(config.d_model, config.mlp_hidden_size, bias=False)
        self.ff_out = nn.Linear(config.mlp_hidden_size, config.d_model, bias=False)

    def forward(self, x, cos_sin, attn_bias=None, output_attentions=False):
        h, w = self.attn(self.attn_norm(x), cos_sin, attn_bias, output_attentions)
        x = x + h
        y = self.ff_norm(x)
        x = x + self.ff_out(F.silu(self.ff_proj(y)) * self.up_proj(y))
        return x, w


class TimeEmbedding(nn.Module):
    """sinusoids of t in (0, 1], through an MLP. Only the first runs had it."""

    def __init__(self, dim, freq_dim=64):
        super().__init__()
        self.freq_dim = freq_dim
        self.mlp = nn.Sequential(nn.Linear(freq_dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t):
        half = self.freq_dim // 2
        freqs = torch.exp(-math.log(10000) * torch.arange(half, device=t.device, dtype=torch.float32) / half)
        args = t[:, None].float() * 1000 * freqs[None]
        return self.mlp(torch.cat([args.cos(), args.sin()], dim=-1).to(self.mlp[0].weight.dtype))


class MistfillPreTrainedModel(PreTrainedModel):
    config_class = MistfillConfig
    base_model_prefix = "model"
    _no_split_modules = ["MistfillBlock"]
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)


class MistfillModel(MistfillPreTrainedModel):
    def __init__(self, config: MistfillConfig):
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList([MistfillBlock(config, i) for i in range(config.n_layers)])
        self.ln_f = RMSNorm(config.d_model, config.rms_norm_eps)
        self.rotary_emb = RotaryEmbedding(config)
        self.time_embed = TimeEmbedding(config.d_model) if config.include_time else None
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.wte

    def set_input_embeddings(self, value):
        self.wte = value

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        inputs_embeds=None,
        position_ids=None,
        t=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ):
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output_hidden_states = (
            output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        )
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        x = self.wte(input_ids) if inputs_embeds is None else inputs_embeds
        B, T, _ = x.shape
        if self.time_embed is not None and t is not None:
            x = x + self.time_embed(t)[:, None]
        if position_ids is None:
            position_ids = torch.arange(T, device=x.device)[None]
        attn_bias = None
        if attention_mask is not None and (attention_mask == 0).any():
            attn_bias = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        cos_sin = self.rotary_emb(x, position_ids)

        hiddens, attns = [], []
        for block in self.blocks:
            hiddens.append(x)
            if self.gradient_checkpointing and self.training:
                x, w = self._gradient_checkpointing_func(block.__call__, x, cos_sin, attn_bias, output_attentions)
            else:
                x, w = block(x, cos_sin, attn_bias, output_attentions)
            attns.append(w)
        x = self.ln_f(x)
        hiddens.append(x)
        if not return_dict:
            return (x,)
        return BaseModelOutput(
            last_hidden_state=x,
            hidden_states=tuple(hiddens) if output_hidden_states else None,
            attentions=tuple(attns) if output_attentions else None,
        )


class MistfillModelLM(MistfillPreTrainedModel):
    _tied_weights_keys = ["ff_out.weight"]

    def __init__(self, config: MistfillConfig):
        super().__init__(config)
        self.model = MistfillModel(config)
        self.ff_out = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.ff_out

    def set_output_embeddings(self, value):
        self.ff_out = value

    def add_noise(self, input_ids, prompt_lengths=None, eps=1e-3):
        """forward process: each sequence gets its own t, each token is masked with probability t"""
        B, T = input_ids.shape
        t = torch.rand(B, device=input_ids.device)
        p_mask = ((1 - eps) * t + eps)[:, None].expand(B, T)
        masked = torch.rand(B, T, device=input_ids.device) < p_mask
        if prompt_lengths is not None:
            masked &= torch.arange(T, device=input_ids.device)[None] >= prompt_lengths[:, None]
        return torch.where(masked, self.config.mask_token_id, input_ids), masked, p_mask, t

    def forward(
        self,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        p_mask: Optional[torch.FloatTensor] = None,
        t: Optional[torch.FloatTensor] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, MaskedLMOutput]:
        if kwargs.get("past_key_values") is not None or kwargs.get("use_cache"):
            logger.warning_once("Mistfill sees in both directions and has no kv cache.")
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            position_ids=position_ids,
            t=t,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        logits = self.ff_out(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            masked = input_ids == self.config.mask_token_id
            token_loss = F.cross_entropy(logits[masked].float(), labels[masked], reduction="none")
            if p_mask is not None:
                token_loss = token_loss / p_mask[masked]
            loss = token_loss.sum() / labels.numel()
        if not return_dict:
            return (loss, logits) if loss is not None else (logits,)
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )

    def can_generate(self) -> bool:
        return False

    @torch.no_grad()
    def diffusion_generate(
        self,
        input_ids: torch.LongTensor,
        attention_mask: Optional[torch.Tensor] = None,
        max_new_tokens: int = 32,
        steps: Optional[int] = None,
        block_length: Optional[int] = None,
        temperature: float = 0.0,
        cfg_scale: float = 0.0,
        remasking: Optional[str] = None,
        return_dict_in_generate: bool = False,
        output_history: bool = False,
    ) -> Union[torch.LongTensor, MistfillSamples]:
        block_length = min(block_length or self.config.block_length, max_new_tokens)
        gen_length = math.ceil(max_new_tokens / block_length) * block_length
        out = reverse_process(
            lambda ids, mask: self(input_ids=ids, attention_mask=mask).logits.clone(),
            input_ids,
            self.config.mask_token_id,
            gen_length=gen_length,
            block_length=block_length,
            steps=steps or gen_length,
            temperature=temperature,
            cfg_scale=cfg_scale,
            how=remasking or self.config.remasking,
            keep_history=output_history,
            attention_mask=attention_mask,
        )
        return out if return_dict_in_generate else out.sequences

    @torch.no_grad()
    def log_likelihood(self, prompt_ids, answer_ids, mc_num=32):
        """Monte Carlo bound of log p(answer | prompt)"""
        P, A = prompt_ids.shape[1], answer_ids.shape[1]
        full = torch.cat([prompt_ids, answer_ids], dim=1)
        total = 0.0
        for _ in range(mc_num):
            n = int(torch.randint(1, A + 1, (1,)))
            at = P + torch.randperm(A, device=full.device)[:n]
            x = full.clone()
            x[:, at] = self.config.mask_token_id
            logp = self(x).logits.log_softmax(-1)[:, at].gather(-1, full[:, at, None])
            total += logp.sum().item() * A / n
        return total / mc_num

    def chat(self, tokenizer, messages, **gen_kwargs):
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"].to(self.device)
        out = self.diffusion_generate(ids, **gen_kwargs)[0, ids.shape[1] :].tolist()
        if self.config.eos_token_id in out:
            out = out[: out.index(self.config.eos_token_id)]
        return tokenizer.decode(out, skip_special_tokens=True)


AutoModel.register(MistfillConfig, MistfillModelLM, exist_ok=True)
