from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import nn
from transformers.generation import GenerationMixin
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_zephyrite import ZephyriteConfig
from .mlstm import mlstm_parallel, mlstm_step

logger = logging.get_logger(__name__)

try:
    from mlstm_kernels.torch.backend_module import mLSTMBackend  # noqa: F401
    external_kernels = True
except ImportError:
    external_kernels = False


def soft_cap(x, cap: Optional[float]):
    if cap is None:
        return x
    return cap * torch.tanh(x / cap)


class ZRMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (y * self.weight.float()).to(x.dtype)


class MultiHeadLayerNorm(nn.Module):
    def __init__(self, heads, dim, eps):
        super().__init__()
        self.heads, self.eps = heads, eps
        self.weight = nn.Parameter(torch.ones(heads * dim))

    def forward(self, x):
        # x: B T H D
        y = F.layer_norm(x.float(), (x.shape[-1],), eps=self.eps)
        return y.flatten(-2).to(x.dtype) * self.weight


class MLSTMLayer(nn.Module):
    def __init__(self, config: ZephyriteConfig):
        super().__init__()
        self.config = config
        d, h = config.embedding_dim, config.num_heads
        self.q = nn.Linear(d, config.qk_dim, bias=False)
        self.k = nn.Linear(d, config.qk_dim, bias=False)
        self.v = nn.Linear(d, d, bias=False)
        self.ogate_preact = nn.Linear(d, d, bias=False)
        self.igate_preact = nn.Linear(d, h, bias=True)
        self.fgate_preact = nn.Linear(d, h, bias=True)
        self.multihead_norm = MultiHeadLayerNorm(h, d // h, config.norm_eps)
        self.out_proj = nn.Linear(d, d, bias=False)

    def forward(self, x, state=None):
        B, T, _ = x.shape
        h = self.config.num_heads
        q, k, v = (m(x).view(B, T, h, -1).transpose(1, 2) for m in (self.q, self.k, self.v))
        i = soft_cap(self.igate_preact(x), self.config.gate_soft_cap).transpose(1, 2)
        f = soft_cap(self.fgate_preact(x), self.config.gate_soft_cap).transpose(1, 2)
        if state is not None and T == 1:
            y, state = mlstm_step(q, k, v, i, f, state)
        else:
            y, state = mlstm_parallel(q, k, v, i, f)
        y = self.multihead_norm(y.transpose(1, 2))
        return self.out_proj(torch.sigmoid(self.ogate_preact(x)) * y), state


class SLSTMLayer(nn.Module):
    """scalar memory with block diagonal recurrence"""

    def __init__(self, config: ZephyriteConfig):
        super().__init__()
        self.heads = config.num_heads
        self.d = config.embedding_dim // self.heads
        self.w = nn.Linear(config.embedding_dim, 4 * config.embedding_dim, bias=True)
        self.r = nn.Parameter(torch.zeros(self.heads, self.d, 4 * self.d))
        self.norm = MultiHeadLayerNorm(self.heads, self.d, config.norm_eps)
        self.out_proj = nn.Linear(config.embedding_dim, config.embedding_dim, bias=False)

    def forward(self, x, state=None):
        B, T, E = x.shape
        if state is None:
            z = x.new_zeros(B, self.heads, self.d)
            state = (z, z, z, z)
        c, n, h, m = state
        pre = self.w(x).view(B, T, self.heads, 4 * self.d)
        outs = []
        for t in range(T):
            g = pre[:, t] + torch.einsum("bhd,hde->bhe", h, self.r)
            i, f, zt, o = g.chunk(4, -1)
            logf = F.logsigmoid(f)
            m_new = torch.maximum(logf + m, i)
            ig, fg = (i - m_new).exp(), (logf + m - m_new).exp()
            c = fg * c + ig * torch.tanh(zt)
            n = fg * n + ig
            h = torch.sigmoid(o) * c / n.clamp(min=1e-6)
            m = m_new
            outs.append(h)
        y = self.norm(torch.stack(outs, 1))
        return self.out_proj(y), (c, n, h, m)


class ZephyriteBlock(nn.Module):
    def __init__(self, config, idx):
        super().__init__()
        self.norm_mix = ZRMSNorm(config.embedding_dim, config.norm_eps)
        self.mix = SLSTMLayer(config) if idx in config.slstm_at else MLSTMLayer(config)
        self.norm_ffn = ZRMSNorm(config.embedding_dim, config.norm_eps)
        self.up = nn.Linear(config.embedding_dim, 2 * config.ffn_dim, bias=False)
        self.down = nn.Linear(config.ffn_dim, config.embedding_dim, bias=False)

    def forward(self, x, state=None):
        y, state = self.mix(self.norm_mix(x), state)
        x = x + y
        a, b = self.up(self.norm_ffn(x)).chunk(2, -1)
        return x + self.down(F.silu(a) * b), state


class ZephyritePreTrainedModel(PreTrainedModel):
    config_class = ZephyriteConfig
    base_model_prefix = "backbone"
    supports_gradient_checkpointing = False
    _no_split_modules = ["ZephyriteBlock"]
    _is_stateful = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=std)
        elif isinstance(module, SLSTMLayer):
            nn.init.normal_(module.r, std=std)


@dataclass
class ZephyriteOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: Optional[torch.FloatTensor] = None
    state: Optional[Dict[int, Tuple[torch.Tensor, ...]]] = None
    hidden_states: Optional[Tuple[torch.FloatTensor, ...]] = None


class ZephyriteBackbone(ZephyritePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim)
        self.blocks = nn.ModuleList([ZephyriteBlock(config, i) for i in range(config.num_blocks)])
        self.out_norm = ZRMSNorm(config.embedding_dim, config.norm_eps)
        self.post_init()

    def get_input_embeddings(self):
        return self.embedding

    def set_input_embeddings(self, value):
        self.embedding = value

    def forward(self, input_ids, state=None):
        x = self.embedding(input_ids)
        new = {}
        hs = []
        for i, block in enumerate(self.blocks):
            hs.append(x)
            x, new[i] = block(x, None if state is None else state[i])
        return self.out_norm(x), new, tuple(hs)


class ZephyriteForCausalLM(ZephyritePreTrainedModel, GenerationMixin):
    def __init__(self, config):
        super().__init__(config)
        self.backbone = ZephyriteBackbone(config)
        self.lm_head = nn.Linear(config.embedding_dim, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def forward(self, input_ids=None, attention_mask=None, state=None, labels=None, use_cache=None,
                output_hidden_states=False, return_dict=True, **kwargs) -> ZephyriteOutput:
        # attention_mask is accepted for the pipelines, padding must be on the right and is ignored
        h, new_state, hs = self.backbone(input_ids, state)
        logits = soft_cap(self.lm_head(h).float(), self.config.output_logit_soft_cap)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1))
        return ZephyriteOutput(loss=loss, logits=logits, state=new_state if use_cache else None,
                               hidden_states=hs if output_hidden_states else None)

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, state=None, use_cache=True, **kwargs):
        if state is not None:
            input_ids = input_ids[:, -1:]
        return {"input_ids": input_ids, "attention_mask": attention_mask, "state": state, "use_cache": True}

    def _update_model_kwargs_for_generation(self, outputs: ModelOutput, model_kwargs: Dict[str, Any], *args, **kwargs):
        model_kwargs = super()._update_model_kwargs_for_generation(outputs, model_kwargs, *args, **kwargs)
        model_kwargs["state"] = outputs.state
        return model_kwargs
