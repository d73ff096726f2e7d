"""Yodel: Conformer + CTC."""
import math
from typing import List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import logging

from .configuration_yodel import YodelConfig

logger = logging.get_logger(__name__)


class ConvSubsampling(nn.Module):
    def __init__(self, c):
        super().__init__()
        steps = int(math.log2(c.subsampling))
        layers, cin = [], 1
        for _ in range(steps):
            layers += [nn.Conv2d(cin, 8, 3, stride=2, padding=1), nn.ReLU()]
            cin = 8
        self.conv = nn.Sequential(*layers)
        feats = c.n_mels
        for _ in range(steps):
            feats = (feats + 1) // 2
        self.out = nn.Linear(8 * feats, c.d_model)

    def forward(self, x):
        x = self.conv(x.unsqueeze(1))
        b, ch, t, f = x.shape
        return self.out(x.transpose(1, 2).reshape(b, t, ch * f))


class PositionalConvEmbedding(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv1d(c.d_model, c.d_model, kernel_size=c.pos_kernel, padding=c.pos_kernel // 2, groups=c.pos_groups)
        weight_norm = nn.utils.weight_norm
        if hasattr(nn.utils.parametrizations, "weight_norm"):
            weight_norm = nn.utils.parametrizations.weight_norm
        self.conv = weight_norm(self.conv, name="weight", dim=2)
        if is_deepspeed_zero3_enabled():
            logger.warning("weight norm under ZeRO-3 was never tested")
        self.cut = 1 if c.pos_kernel % 2 == 0 else 0

    def forward(self, x):
        y = self.conv(x.transpose(1, 2))
        if self.cut:
            y = y[:, :, : -self.cut]
        return F.gelu(y).transpose(1, 2)


class FeedForward(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = nn.LayerNorm(c.d_model)
        self.up = nn.Linear(c.d_model, c.d_model * c.ff_expansion)
        self.down = nn.Linear(c.d_model * c.ff_expansion, c.d_model)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x):
        return self.dropout(self.down(self.dropout(F.silu(self.up(self.norm(x))))))


class ConvModule(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c.d_model
        self.norm = nn.LayerNorm(d)
        self.pw1 = nn.Conv1d(d, 2 * d, 1)
        self.dw = nn.Conv1d(d, d, c.conv_kernel_size, padding=(c.conv_kernel_size - 1) // 2, groups=d)
        self.bn = nn.BatchNorm1d(d)
        self.pw2 = nn.Conv1d(d, d, 1)
        self.dropout = nn.Dropout(c.dropout)

    def forward(self, x, pad=None):
        x = F.glu(self.pw1(self.norm(x).transpose(1, 2)), dim=1)
        if pad is not None:
            x = x.masked_fill(pad[:, None], 0.0)
        return self.dropout(self.pw2(F.silu(self.bn(self.dw(x)))).transpose(1, 2))


class RelPosSelfAttention(nn.Module):
    """Transformer-XL relative positions; the sinusoids are made on the fly."""

    def __init__(self, c):
        super().__init__()
        self.h, self.d = c.n_heads, c.d_model // c.n_heads
        self.norm = nn.LayerNorm(c.d_model)
        self.linear_q, self.linear_k, self.linear_v = (nn.Linear(c.d_model, c.d_model) for _ in range(3))
        self.linear_out = nn.Linear(c.d_model, c.d_model)
        self.linear_pos = nn.Linear(c.d_model, c.d_model, bias=False)
        self.pos_bias_u = nn.Parameter(torch.zeros(self.h, self.d))
        self.pos_bias_v = nn.Parameter(torch.zeros(self.h, self.d))

    @staticmethod
    def positions(n, dim, device, dtype):
        pos = torch.arange(n - 1, -n, -1, device=device, dtype=torch.float32)[:, None]
        div = torch.exp(torch.arange(0, dim, 2, device=device, dtype=torch.float32) * -(math.log(10000.0) / dim))
        pe = torch.zeros(2 * n - 1, dim, device=device)
        pe[:, 0::2] = torch.sin(pos * div)
        pe[:, 1::2] = torch.cos(pos * div)
        return pe.to(dtype)

    def rel_shift(self, x):
        b, h, n, m = x.shape
        x = F.pad(x, (1, 0)).view(b, h, m + 1, n)
        return x[:, :, 1:].reshape(b, h, n, m)[..., : m // 2 + 1]

    def forward(self, x, pad=None):
        x = self.norm(x)
        b, n, w = x.shape
        q = self.linear_q(x).view(b, n, self.h, self.d)
        k = self.linear_k(x).view(b, n, self.h, self.d).transpose(1, 2)
        v = self.linear_v(x).view(b, n, self.h, self.d).transpose(1, 2)
        p = self.linear_pos(self.positions(n, w, x.device, x.dtype)).view(-1, self.h, self.d).permute(1, 2, 0)
        ac = torch.matmul((q + self.pos_bias_u).transpose(1, 2), k.transpose(-2, -1))
        bd = self.rel_shift(torch.matmul((q + self.pos_bias_v).transpose(1, 2), p))
        s = (ac + bd) / math.sqrt(self.d)
        if pad is not None:
            s = s.masked_fill(pad[:, None, None], -10000.0)
        return self.linear_out(torch.matmul(s.softmax(-1), v).transpose(1, 2).reshape(b, n, w))


class ConformerBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.ff1, self.ff2 = FeedForward(c), FeedForward(c)
        self.self_attn = RelPosSelfAttention(c)
        self.conv = ConvModule(c)
        self.norm_out = nn.LayerNorm(c.d_model)

    def forward(self, x, pad=None):
        x = x + 0.5 * self.ff1(x)
        x = x + self.self_attn(x, pad)
        x = x + self.conv(x, pad)
        x = x + 0.5 * self.ff2(x)
        return self.norm_out(x)


class YodelPreTrainedModel(PreTrainedModel):
    config_class = YodelConfig
    base_model_prefix = "yodel"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ConformerBlock"]

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)
        elif isinstance(module, RelPosSelfAttention):
            nn.init.xavier_uniform_(module.pos_bias_u)
            nn.init.xavier_uniform_(module.pos_bias_v)


class YodelModel(YodelPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.subsampling = ConvSubsampling(config)
        self.pos_conv_embed = PositionalConvEmbedding(config)
        self.layers = nn.ModuleList([ConformerBlock(config) for _ in range(config.n_layers)])
        self.gradient_checkpointing = False
        self.post_init()

    def _lengths(self, lengths):
        s = self.config.subsampling
        while s > 1:
            lengths = (lengths + 1) // 2
            s //= 2
        return lengths

    def forward(self, input_features, attention_mask=None, return_dict=None):
        x = self.subsampling(input_features)
        pad = None
        if attention_mask is not None:
            n = self._lengths(attention_mask.long().sum(-1))
            pad = torch.arange(x.shape[1], device=x.device)[None] >= n[:, None]
        x = x + self.pos_conv_embed(x)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                x = torch.utils.checkpoint.checkpoint(layer, x, pad, use_reentrant=False)
            else:
                x = layer(x, pad)
        return BaseModelOutput(last_hidden_state=x)


class YodelForCTC(YodelPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.yodel = YodelModel(config)
        self.lm_head = nn.Linear(config.d_model, config.vocab_size)
        self.post_init()

    def forward(self, input_features, attention_mask=None, labels=None, return_dict=None):
        h = self.yodel(input_features, attention_mask).last_hidden_state
        logits = self.lm_head(h)
        loss = None
        if labels is not None:
            lengths = torch.full((h.shape[0],), h.shape[1], dtype=torch.long, device=h.device)
            if attention_mask is not None:
                lengths = self.yodel._lengths(attention_mask.long().sum(-1))
            keep = labels >= 0
            logp = logits.float().log_softmax(-1).transpose(0, 1)
            with torch.backends.cudnn.flags(enabled=False):
                loss = F.ctc_loss(logp, labels.masked_select(keep), lengths, keep.sum(-1), blank=self.config.ctc_blank,
                                  reduction=self.config.ctc_loss_reduction, zero_infinity=self.config.ctc_zero_infinity)
        return CausalLMOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def transcribe_ids(self, input_features, attention_mask=None) -> List[List[int]]:
        out = []
        for row in self(input_features, attention_mask).logits.argmax(-1).tolist():
            ids, last = [], None
            for t in row:
                if t != last and t != self.config.ctc_blank:
                    ids.append(t)
                last = t
            out.append(ids)
        return out
