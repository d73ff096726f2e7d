"""Pewter: which sounds are in this recording?"""
import copy
import math
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2FeatureProjection
from transformers.utils import logging

from .configuration_pewter import PewterConfig
from .sinc import SincBank

logger = logging.get_logger(__name__)


class ConvStack(nn.Module):
    def __init__(self, config):
        super().__init__()
        widths = [config.sinc_filters] + config.conv_dim
        self.convs = nn.ModuleList()
        for number, (kernel, stride) in enumerate(zip(config.conv_kernel, config.conv_stride)):
            conv = nn.Conv1d(widths[number], widths[number + 1], kernel, stride=stride, bias=False)
            self.convs.append(nn.utils.weight_norm(conv) if number else conv)
        self.norm = nn.GroupNorm(4, config.conv_dim[0])

    def forward(self, x):
        for number, conv in enumerate(self.convs):
            x = conv(x)
            if number == 0:
                x = self.norm(x)
            x = F.gelu(x)
        return x


class RelativeAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.hidden_size)
        self.span = config.chunk_frames
        self.bias = nn.Embedding(2 * self.span - 1, self.heads)
        steps = torch.arange(self.span)
        self.register_buffer("distance", steps[None, :] - steps[:, None] + self.span - 1, persistent=False)

    def forward(self, x, keep=None):
        n, t, d = x.shape
        q, k, v = self.qkv(x).view(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.bias(self.distance[:t, :t]).permute(2, 0, 1)[None]
        if keep is not None:
            bias = bias.masked_fill(~keep[:, None, None, :], -1e4)
        x = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.expand(n, -1, -1, -1).to(q.dtype))
        return self.out(x.transpose(1, 2).reshape(n, t, d))


class PewterLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = RelativeAttention(config)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, keep=None):
        x = x + self.dropout(self.attention(self.norm1(x), keep))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)))))


class PewterPreTrainedModel(PreTrainedModel):
    config_class = PewterConfig
    base_model_prefix = "pewter"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, LabelQueries):
            nn.init.normal_(module.labels, std=1.0 / math.sqrt(module.labels.shape[-1]))


class PewterModel(PewterPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.bank = SincBank(config.sinc_filters, config.sinc_width, config.sample_rate)
        self.convs = ConvStack(config)
        self.feature_projection = Wav2Vec2FeatureProjection(config)
        self.layers = nn.ModuleList([PewterLayer(config) for _ in range(config.num_hidden_layers)])
        self.carry = nn.GRUCell(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def frames(self, samples):
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride):
            samples = (samples - kernel) // stride + 1
        return samples

    def forward(self, input_values, attention_mask=None, **kwargs) -> BaseModelOutput:
        features = self.convs(self.bank(input_values)).transpose(1, 2)
        x, _ = self.feature_projection(features)
        b, t, d = x.shape
        size = self.config.chunk_frames
        lengths = torch.full((b,), t, device=x.device)
        if attention_mask is not None:
            lengths = self.frames(attention_mask.sum(-1))
        x = F.pad(x, (0, 0, 0, (-t) % size))
        keep = torch.arange(x.shape[1], device=x.device)[None] < lengths[:, None]
        state = x.new_zeros(b, d)
        outputs = []
        for start in range(0, x.shape[1], size):
            piece, alive = x[:, start:start + size], keep[:, start:start + size]
            piece = piece + state[:, None]
            for layer in self.layers:
                piece = layer(piece, alive)
            state = self.carry(piece.mean(1), state)
            outputs.append(piece)
        return BaseModelOutput(last_hidden_state=self.norm(torch.cat(outputs, dim=1)[:, :t]))


class LabelQueries(nn.Module):
    def __init__(self, labels, dim):
        super().__init__()
        self.labels = nn.Parameter(torch.empty(labels, dim))
        self.score = nn.Parameter(torch.ones(labels, dim))
        self.bias = nn.Parameter(torch.zeros(labels))
        nn.init.normal_(self.labels, std=dim ** -0.5)

    def forward(self, x):
        weights = torch.softmax(x @ self.labels.T, dim=1)
        pooled = weights.transpose(1, 2) @ x
        return (pooled * self.score).sum(-1) + self.bias


@dataclass
class PewterOutput(SequenceClassifierOutput):
    teacher_logits: Optional[torch.FloatTensor] = None


class PewterForAudioClassification(PewterPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.pewter = PewterModel(config)
        self.head = LabelQueries(config.num_labels, config.hidden_size)
        self.teacher = None
        if config.teacher_decay is not None:
            self.teacher = copy.deepcopy(self.head).requires_grad_(False)
        self.post_init()

    @torch.no_grad()
    def follow(self):
        """The teacher moves a little towards the head."""
        for theirs, ours in zip(self.teacher.parameters(), self.head.parameters()):
            theirs.mul_(self.config.teacher_decay).add_(ours, alpha=1 - self.config.teacher_decay)

    def forward(self, input_values, attention_mask=None, labels=None, return_dict=None, **kwargs):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        states = self.pewter(input_values, attention_mask).last_hidden_state
        logits = self.head(states)
        teacher = self.teacher(states) if self.teacher is not None else None
        loss = None
        if labels is not None:
            loss = F.binary_cross_entropy_with_logits(logits, labels.float())
            if teacher is not None:
                loss = loss + F.mse_loss(torch.sigmoid(logits), torch.sigmoid(teacher))
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,)
        return PewterOutput(loss=loss, logits=logits, teacher_logits=teacher)

    def remove_weight_norm(self) -> Tuple[int, int]:
        done = 0
        for conv in self.pewter.convs.convs:
            if hasattr(conv, "weight_g"):
                nn.utils.remove_weight_norm(conv)
                done += 1
        return done, len(self.pewter.convs.convs)
