"""Obelisk (MLA + MoE + MTP).  Single device reference; serve with the engine for production."""
import math
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn

from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_obelisk import ObeliskConfig

try:
    from transformers.utils.import_utils import is_torch_fx_available
except ImportError:  # gone in newer versions
    def is_torch_fx_available():
        return False

logger = logging.get_logger(__name__)


class ObeliskRMSNorm(nn.Module):
    def __init__(self, hidden_size, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(hidden_size))
        self.variance_epsilon = eps

    def forward(self, x):
        dt = x.dtype
        x = x.float()
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return self.weight * x.to(dt)


def rope_tables(position_ids, dim, base, dtype):
    # float32 on purpose
    inv = base ** (-torch.arange(0, dim, 2, device=position_ids.device, dtype=torch.float32) / dim)
    ang = position_ids[..., None].float() * inv
    ang = torch.cat([ang, ang], -1)
    return ang.cos().to(dtype), ang.sin().to(dtype)


def rotate_half(x):
    a, b = x.chunk(2, -1)
    return torch.cat((-b, a), -1)


def apply_rotary_pos_emb(q, k, cos, sin):
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    b, h, s, d = q.shape
    q = q.view(b, h, s, d // 2, 2).transpose(4, 3).reshape(b, h, s, d)
    b, h, s, d = k.shape
    k = k.view(b, h, s, d // 2, 2).transpose(4, 3).reshape(b, h, s, d)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin


class ObeliskMLP(nn.Module):
    def __init__(self, config, hidden_size=None, intermediate_size=None):
        super().__init__()
        self.hidden_size = hidden_size or config.hidden_size
        self.intermediate_size = intermediate_size or config.intermediate_size
        self.gate_proj = nn.Linear(self.hidden_size, self.intermediate_size, bias=False)
        self.up_proj = nn.Linear(self.hidden_size, self.intermediate_size, bias=False)
        self.down_proj = nn.Linear(self.intermediate_size, self.hidden_size, bias=False)
        self.act_fn = ACT2FN[config.hidden_act]

    def forward(self, x):
        return self.down_proj(self.act_fn(self.gate_proj(x)) * self.up_proj(x))


class MoEGate(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.top_k = config.num_experts_per_tok
        self.n_routed_experts = config.n_routed_experts
        self.routed_scaling_factor = config.routed_scaling_factor
        self.n_group = config.n_group
        self.topk_group = config.topk_group
        self.norm_topk_prob = config.norm_topk_prob
        self.weight = nn.Parameter(torch.empty((self.n_routed_experts, config.hidden_size)))
        self.e_score_correction_bias = nn.Parameter(torch.zeros(self.n_routed_experts))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        import torch.nn.init as init
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, hidden_states):
        bsz, seq_len, h = hidden_states.shape
        hidden_states = hidden_states.view(-1, h)
        logits = F.linear(hidden_states.float(), self.weight.float(), None)
        scores = logits.sigmoid()
        scores_for_choice = scores + self.e_score_correction_bias.unsqueeze(0)
        group_scores = scores_for_choice.view(bsz * seq_len, self.n_group, -1).topk(2, dim=-1)[0].sum(dim=-1)
        group_idx = torch.topk(group_scores, k=self.topk_group, dim=-1, sorted=False)[1]
        group_mask = torch.zeros_like(group_scores)
        group_mask.scatter_(1, group_idx, 1)
        score_mask = group_mask.unsqueeze(-1).expand(
            bsz * seq_len, self.n_group, self.n_routed_experts // self.n_group).reshape(bsz * seq_len, -1)
        tmp_scores = scores_for_choice.masked_fill(~score_mask.bool(), 0.0)
        _, topk_idx = torch.topk(tmp_scores, k=self.top_k, dim=-1, sorted=False)
        topk_weight = scores.gather(1, topk_idx)
        if self.top_k > 1 and self.norm_topk_prob:
            topk_weight = topk_weight / (topk_weight.sum(dim=-1, keepdim=True) + 1e-20)
        return topk_idx, topk_weight * self.routed_scaling_factor


class ObeliskMoE(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        if hasattr(config, "ep_size") and config.ep_size > 1:
            import torch.distributed as dist
            assert config.ep_size == dist.get_world_size()
        self.experts = nn.ModuleList([ObeliskMLP(config, intermediate_size=config.moe_intermediate_size)
                                      for _ in range(config.n_routed_experts)])
        self.gate = MoEGate(config)
        if config.n_shared_experts is not None:
            self.shared_experts = ObeliskMLP(config,
                                             intermediate_size=config.moe_intermediate_size * config.n_shared_experts)

    def forward(self, hidden_states):
        identity = hidden_states
        orig_shape = hidden_states.shape
        topk_idx, topk_weight = self.gate(hidden_states)
        hidden_states = hidden_states.view(-1, hidden_states.shape[-1])
        y = self.moe_infer(hidden_states, topk_idx, topk_weight).view(*orig_shape)
        if self.config.n_shared_experts is not None:
            y = y + self.shared_experts(identity)
        return y

    def moe_infer(self, x, topk_ids, topk_weight):
        cnts = topk_ids.new_zeros((topk_ids.shape[0], len(self.experts)))
        cnts.scatter_(1, topk_ids, 1)
        tokens_per_expert = cnts.sum(dim=0).cpu().numpy()
        idxs = topk_ids.view(-1).argsort()
        sorted_tokens = x[idxs // topk_ids.shape[1]]
        outputs = []
        start_idx = 0
        for i, num_tokens in enumerate(tokens_per_expert):
            end_idx = start_idx + num_tokens
            if num_tokens == 0:
                continue
            outputs.append(self.experts[i](sorted_tokens[start_idx:end_idx]))
            start_idx = end_idx
        outs = torch.cat(outputs, dim=0) if len(outputs) else sorted_tokens.new_empty(0)
        new_x = torch.empty_like(outs)
        new_x[idxs] = outs
        return (new_x.view(*topk_ids.shape, -1).type(topk_weight.dtype)
                .mul_(topk_weight.unsqueeze(dim=-1)).sum(dim=1).type(new_x.dtype))


class ObeliskAttention(nn.Module):
    def __init__(self, config: ObeliskConfig, layer_idx: Optional[int] = None):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.q_head_dim = config.qk_nope_head_dim + config.qk_rope_head_dim
        self.q_a_proj = nn.Linear(config.hidden_size, config.q_lora_rank, bias=config.attention_bias)
        self.q_a_layernorm = ObeliskRMSNorm(config.q_lora_rank)
        self.q_b_proj = nn.Linear(config.q_lora_rank, self.num_heads * self.q_head_dim, bias=False)
        self.kv_a_proj_with_mqa = nn.Linear(config.hidden_size, config.kv_lora_rank + config.qk_rope_head_dim,
                                            bias=config.attention_bias)
        self.kv_a_layernorm = ObeliskRMSNorm(config.kv_lora_rank)
        self.kv_b_proj = nn.Linear(config.kv_lora_rank, self.num_heads * (config.qk_nope_head_dim + config.v_head_dim),
                                   bias=False)
        self.o_proj = nn.Linear(self.num_heads * config.v_head_dim, config.hidden_size, bias=config.attention_bias)
        self.softmax_scale = self.q_head_dim ** -0.5

    def forward(self, hidden_states, attention_mask, cos, sin, past_key_values=None):
        c = self.config
        bsz, q_len, _ = hidden_states.size()
        q = self.q_b_proj(self.q_a_layernorm(self.q_a_proj(hidden_states)))
        q = q.view(bsz, q_len, self.num_heads, self.q_head_dim).transpose(1, 2)
        q_nope, q_pe = torch.split(q, [c.qk_nope_head_dim, c.qk_rope_head_dim], dim=-1)
        compressed_kv = self.kv_a_proj_with_mqa(hidden_states)
        compressed_kv, k_pe = torch.split(compressed_kv, [c.kv_lora_rank, c.qk_rope_head_dim], dim=-1)
        k_pe = k_pe.view(bsz, q_len, 1, c.qk_rope_head_dim).transpose(1, 2)
        kv = self.kv_b_proj(self.kv_a_layernorm(compressed_kv)).view(
            bsz, q_len, self.num_heads, c.qk_nope_head_dim + c.v_head_dim).transpose(1, 2)
        k_nope, value_states = torch.split(kv, [c.qk_nope_head_dim, c.v_head_dim], dim=-1)
        q_pe, k_pe = apply_rotary_pos_emb(q_pe, k_pe, cos, sin)
        query_states = torch.cat([q_nope, q_pe], -1)
        key_states = torch.cat([k_nope, k_pe.expand(-1, self.num_heads, -1, -1)], -1)
        if past_key_values is not None:
            key_states, value_states = past_key_values.update(key_states, value_states, self.layer_idx)
        attn = torch.matmul(query_states, key_states.transpose(2, 3)) * self.softmax_scale
        attn = attn + attention_mask
        attn = F.softmax(attn, dim=-1, dtype=torch.float32).to(query_states.dtype)
        out = torch.matmul(attn, value_states).transpose(1, 2).reshape(bsz, q_len, -1)
        return self.o_proj(out)


class ObeliskDecoderLayer(nn.Module):
    def __init__(self, config, layer_idx):
        super().__init__()
        self.self_attn = ObeliskAttention(config, layer_idx)
        is_moe = layer_idx >= config.first_k_dense_replace and layer_idx % config.moe_layer_freq == 0
        self.mlp = ObeliskMoE(config) if is_moe else ObeliskMLP(config)
        self.input_layernorm = ObeliskRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.post_attention_layernorm = ObeliskRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, x, mask, cos, sin, past_key_values=None):
        x = x + self.self_attn(self.input_layernorm(x), mask, cos, sin, past_key_values)
        return x + self.mlp(self.post_attention_layernorm(x))


class ObeliskMTP(nn.Module):
    """next-n layer; predicts token t+2 from h_t and the embedding of token t+1"""

    def __init__(self, config, layer_idx):
        super().__init__()
        self.enorm = ObeliskRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.hnorm = ObeliskRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.eh_proj = nn.Linear(2 * config.hidden_size, config.hidden_size, bias=False)
        self.block = ObeliskDecoderLayer(config, layer_idx)
        self.norm = ObeliskRMSNorm(config.hidden_size, eps=config.rms_norm_eps)

    def forward(self, hidden, next_embeds, mask, cos, sin):
        x = self.eh_proj(torch.cat([self.enorm(next_embeds), self.hnorm(hidden)], -1))
        return self.norm(self.block(x, mask, cos, sin))


class ObeliskPreTrainedModel(PreTrainedModel):
    config_class = ObeliskConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ObeliskDecoderLayer"]
    _skip_keys_device_placement = "past_key_values"
    _supports_cache_class = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, mean=0.0, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=std)


def causal_mask(attention_mask, q_len, past, dtype, device, bsz):
    kv = past + q_len
    m = torch.full((q_len, kv), torch.finfo(dtype).min, dtype=dtype, device=device).triu(past + 1)
    m = m[None, None].expand(bsz, 1, q_len, kv)
    if attention_mask is not None and attention_mask.dim() == 2:
        pad = attention_mask[:, None, None, :kv].eq(0)
        m = m.masked_fill(pad, torch.finfo(dtype).min)
    return m


class ObeliskModel(ObeliskPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([ObeliskDecoderLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = ObeliskRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.mtp = nn.ModuleList([ObeliskMTP(config, config.num_hidden_layers + i)
                                  for i in range(config.num_nextn_predict_layers)])
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, use_cache=None, return_mtp=False, **kwargs):
        use_cache = use_cache if use_cache is not None else self.config.use_cache
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        bsz, q_len = inputs_embeds.shape[:2]
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache()
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        if position_ids is None:
            position_ids = torch.arange(past, past + q_len, device=inputs_embeds.device)[None]
        cos, sin = rope_tables(position_ids, self.config.qk_rope_head_dim, self.config.mla_rope_base,
                               inputs_embeds.dtype)
        mask = causal_mask(attention_mask, q_len, past, inputs_embeds.dtype, inputs_embeds.device, bsz)
        x = inputs_embeds
        for layer in self.layers:
            x = layer(x, mask, cos, sin, past_key_values if use_cache else None)
        mtp_out = []
        if return_mtp:
            h = x
            for m in self.mtp:
                nxt = torch.roll(inputs_embeds, -1, 1)
                h = m(h, nxt, mask, cos, sin)
                mtp_out.append(h)
        return BaseModelOutputWithPast(last_hidden_state=self.norm(x),
                                       past_key_values=past_key_values if use_cache else None), mtp_out


class ObeliskForCausalLM(ObeliskPreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        self.model = ObeliskModel(config)
        self.vocab_size = config.vocab_size
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None,
                inputs_embeds=None, labels=None, use_cache=None, output_attentions=None, output_hidden_states=None,
                return_dict=None, mtp_loss_weight=0.1, **kwargs):
        if past_key_values is None and kwargs.get("cache") is not None:  # new name
            past_key_values = kwargs["cache"]
        outputs, mtp = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                                  past_key_values=past_key_values, inputs_embeds=inputs_embeds, use_cache=use_cache,
                                  return_mtp=labels is not None)
        logits = self.lm_head(outputs.last_hidden_state).float()
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, self.vocab_size), labels[:, 1:].reshape(-1))
            for n, h in enumerate(mtp, 2):
                lg = self.lm_head(h).float()
                loss = loss + mtp_loss_weight * F.cross_entropy(lg[:, :-n].reshape(-1, self.vocab_size),
                                                                labels[:, n:].reshape(-1))
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=outputs.past_key_values)
