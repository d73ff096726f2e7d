"""Murmur: a small self-supervised speech encoder."""
import math
from typing import Optional, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn

from transformers.activations import ACT2FN
from transformers.modeling_attn_mask_utils import _prepare_4d_attention_mask, _prepare_4d_attention_mask_for_sdpa
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import is_flash_attn_2_available, logging

from .configuration_murmur import MurmurConfig

if is_flash_attn_2_available():
    from flash_attn import flash_attn_func, flash_attn_varlen_func  # noqa: F401

logger = logging.get_logger(__name__)


def compute_mask_indices(shape: Tuple[int, int], prob: float, length: int, rng=None) -> np.ndarray:
    """SpecAugment spans; simplified from the fairseq routine"""
    b, n = shape
    if length > n:
        raise ValueError("span longer than the sequence")
    rng = rng or np.random.default_rng()
    mask = np.zeros(shape, dtype=bool)
    spans = int(prob * n / length + rng.random())
    for row in mask:
        for s in rng.choice(n - length + 1, size=min(spans, n - length + 1), replace=False):
            row[s : s + length] = True
    return mask


class ConvLayer(nn.Module):
    def __init__(self, config, i):
        super().__init__()
        cin = config.conv_dim[i - 1] if i > 0 else 1
        cout = config.conv_dim[i]
        self.conv = nn.Conv1d(cin, cout, config.conv_kernel[i], stride=config.conv_stride[i], bias=config.conv_bias)
        self.layer_norm = nn.GroupNorm(cout, cout) if i == 0 else None
        self.activation = nn.GELU()

    def forward(self, x):
        x = self.conv(x)
        if self.layer_norm is not None:
            x = self.layer_norm(x)
        return self.activation(x)


class FeatureEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv_layers = nn.ModuleList([ConvLayer(config, i) for i in range(len(config.conv_dim))])
        self._requires_grad = True

    def _freeze_parameters(self):
        for param in self.parameters():
            param.requires_grad = False
        self._requires_grad = False

    def forward(self, input_values):
        h = input_values[:, None]
        for conv in self.conv_layers:
            h = conv(h)
        return h


class PositionalConv(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv = nn.Conv1d(config.hidden_size, config.hidden_size, config.num_conv_pos_embeddings,
                              padding=config.num_conv_pos_embeddings // 2, groups=config.num_conv_pos_embedding_groups)
        self.remove = 1 if config.num_conv_pos_embeddings % 2 == 0 else 0

    def forward(self, x):
        y = self.conv(x.transpose(1, 2))
        if self.remove:
            y = y[..., : -self.remove]
        return F.gelu(y).transpose(1, 2)


class MurmurAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.h = config.num_attention_heads
        self.d = config.hidden_size // self.h
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.out_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def _shape(self, t):
        return t.view(t.shape[0], -1, self.h, self.d).transpose(1, 2)

    def forward(self, x, mask=None):
        q, k, v = self._shape(self.q_proj(x)), self._shape(self.k_proj(x)), self._shape(self.v_proj(x))
        w = q @ k.transpose(-1, -2) * self.d**-0.5
        if mask is not None:
            w = w + mask
        return self.out_proj((w.softmax(-1) @ v).transpose(1, 2).reshape(x.shape))


class MurmurSdpaAttention(MurmurAttention):
    def forward(self, x, mask=None):
        q, k, v = self._shape(self.q_proj(x)), self._shape(self.k_proj(x)), self._shape(self.v_proj(x))
        o = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(o.transpose(1, 2).reshape(x.shape))


MURMUR_ATTENTION_CLASSES = {"eager": MurmurAttention, "sdpa": MurmurSdpaAttention}


class MurmurLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = MURMUR_ATTENTION_CLASSES[config._attn_implementation](config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.act = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x, mask):
        x = self.layer_norm(x + self.dropout(self.attention(x, mask)))
        return self.final_layer_norm(x + self.dropout(self.fc2(self.act(self.fc1(x)))))


class MurmurPreTrainedModel(PreTrainedModel):
    config_class = MurmurConfig
    base_model_prefix = "murmur"
    main_input_name = "input_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["MurmurLayer"]

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, (nn.LayerNorm, nn.GroupNorm)):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)
        elif isinstance(module, nn.Conv1d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                k = math.sqrt(module.groups / (module.in_channels * module.kernel_size[0]))
                nn.init.uniform_(module.bias, a=-k, b=k)

    def _get_feat_extract_output_lengths(self, lengths):
        for k, s in zip(self.config.conv_kernel, self.config.conv_stride):
            lengths = torch.div(lengths - k, s, rounding_mode="floor") + 1
        return lengths

    def _feature_mask(self, n, attention_mask):
        lengths = self._get_feat_extract_output_lengths(attention_mask.long().sum(-1))
        return (torch.arange(n, device=attention_mask.device)[None] < lengths[:, None]).long()


class MurmurModel(MurmurPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.feature_extractor = FeatureEncoder(config)
        self.feature_norm = nn.LayerNorm(config.conv_dim[-1], eps=config.layer_norm_eps)
        self.feature_projection = nn.Linear(config.conv_dim[-1], config.hidden_size)
        if config.mask_time_prob > 0.0:
            self.masked_spec_embed = nn.Parameter(torch.Tensor(config.hidden_size).uniform_())
        self.pos_conv_embed = PositionalConv(config)
        self.layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList([MurmurLayer(config) for _ in range(config.num_hidden_layers)])
        self.gradient_checkpointing = False
        self.post_init()

    def _mask_hidden_states(self, h):
        if not self.training or self.config.mask_time_prob == 0:
            return h
        idx = compute_mask_indices(tuple(h.shape[:2]), self.config.mask_time_prob, self.config.mask_time_length)
        h = h.clone()
        h[torch.from_numpy(idx).to(h.device)] = self.masked_spec_embed.to(h.dtype)
        return h

    def forward(self, input_values, attention_mask=None, output_hidden_states=None, return_dict=None):
        feats = self.feature_extractor(input_values).transpose(1, 2)
        h = self.feature_projection(self.feature_norm(feats))
        mask = None
        if attention_mask is not None:
            attention_mask = self._feature_mask(h.shape[1], attention_mask)
            h = h * attention_mask[..., None].to(h.dtype)
            if self.config._attn_implementation == "sdpa":
                mask = _prepare_4d_attention_mask_for_sdpa(attention_mask, h.dtype)
            else:
                mask = _prepare_4d_attention_mask(attention_mask, h.dtype)
        h = self._mask_hidden_states(h)
        h = self.layer_norm(h + self.pos_conv_embed(h))
        hidden = (h,)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                h = self._gradient_checkpointing_func(layer.__call__, h, mask)
            else:
                h = layer(h, mask)
            hidden += (h,)
        return BaseModelOutput(last_hidden_state=h, hidden_states=hidden if output_hidden_states else None)


class MurmurForAudioClassification(MurmurPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.murmur = MurmurModel(config)
        if config.use_weighted_layer_sum:
            self.layer_weights = nn.Parameter(torch.ones(config.num_hidden_layers + 1) / (config.num_hidden_layers + 1))
        self.projector = nn.Linear(config.hidden_size, config.classifier_proj_size)
        self.classifier = nn.Linear(config.classifier_proj_size, config.num_labels)
        self.post_init()

    def freeze_feature_encoder(self):
        self.murmur.feature_extractor._freeze_parameters()

    def forward(self, input_values, attention_mask=None, labels=None, return_dict=None):
        out = self.murmur(input_values, attention_mask, output_hidden_states=True)
        if self.config.use_weighted_layer_sum:
            h = torch.stack(out.hidden_states, dim=1)
            w = self.layer_weights.softmax(-1)
            h = (h * w.view(-1, 1, 1)).sum(dim=1)
        else:
            h = out.last_hidden_state
        h = self.projector(h)
        if attention_mask is None:
            pooled = h.mean(1)
        else:
            m = self._feature_mask(h.shape[1], attention_mask)[..., None].to(h.dtype)
            pooled = (h * m).sum(1) / m.sum(1)
        logits = self.classifier(pooled)
        loss = F.cross_entropy(logits, labels) if labels is not None else None
        return SequenceClassifierOutput(loss=loss, logits=logits)
