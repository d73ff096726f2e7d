"""PyTorch Ledgerform model: an encoder for documents that have been read by OCR."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, TokenClassifierOutput
from transformers.utils import logging

from .configuration_ledgerform import LedgerformConfig
from .crf_ledgerform import LinearChainCRF


logger = logging.get_logger(__name__)


@dataclass
class LedgerformTokenOutput(TokenClassifierOutput):
    predictions: torch.LongTensor | None = None


def relative_position_bucket(relative_position, num_buckets=32, max_distance=128):
    """both directions, exact when near and logarithmic when far"""
    num_buckets //= 2
    ret = (relative_position > 0).long() * num_buckets
    n = relative_position.abs()
    exact = num_buckets // 2
    far = exact + (
        torch.log(n.float().clamp_min(1) / exact) / math.log(max_distance / exact) * (num_buckets - exact)
    ).long()
    far = far.clamp_max(num_buckets - 1)
    return ret + torch.where(n < exact, n, far)


class LedgerformEmbeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        if config.coordinate_size * 6 != config.hidden_size:
            raise ValueError("six coordinate embeddings have to fill the hidden size")
        grid = config.max_2d_position_embeddings
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.x_position_embeddings = nn.Embedding(grid, config.coordinate_size)
        self.y_position_embeddings = nn.Embedding(grid, config.coordinate_size)
        self.h_position_embeddings = nn.Embedding(grid, config.coordinate_size)
        self.w_position_embeddings = nn.Embedding(grid, config.coordinate_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.register_buffer(
            "position_ids", torch.arange(config.max_position_embeddings).expand((1, -1)), persistent=False
        )

    def spatial(self, bbox):
        x0, y0, x1, y1 = bbox.unbind(-1)
        limit = self.x_position_embeddings.num_embeddings - 1
        try:
            parts = [
                self.x_position_embeddings(x0),
                self.y_position_embeddings(y0),
                self.x_position_embeddings(x1),
                self.y_position_embeddings(y1),
            ]
        except IndexError as e:
            raise IndexError(f"The `bbox` coordinate values should be within 0-{limit} range.") from e
        parts.append(self.h_position_embeddings((y1 - y0).clamp(0, limit)))
        parts.append(self.w_position_embeddings((x1 - x0).clamp(0, limit)))
        return torch.cat(parts, dim=-1)

    def forward(self, input_ids=None, bbox=None, inputs_embeds=None, position_ids=None):
        if inputs_embeds is None:
            inputs_embeds = self.word_embeddings(input_ids)
        length = inputs_embeds.shape[1]
        if position_ids is None:
            position_ids = self.position_ids[:, :length]
        x = inputs_embeds + self.position_embeddings(position_ids) + self.spatial(bbox)
        return self.dropout(self.LayerNorm(x))


class LedgerformRelativeBias(nn.Module):
    """one bias for the reading order, one each for x and y"""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.rel_pos_bias = nn.Linear(config.rel_pos_bins, config.num_attention_heads, bias=False)
        self.rel_pos_x_bias = nn.Linear(config.rel_2d_pos_bins, config.num_attention_heads, bias=False)
        self.rel_pos_y_bias = nn.Linear(config.rel_2d_pos_bins, config.num_attention_heads, bias=False)

    @staticmethod
    def _bias(layer, coord, bins, max_distance):
        rel = coord.unsqueeze(-2) - coord.unsqueeze(-1)
        bucket = relative_position_bucket(rel, num_buckets=bins, max_distance=max_distance)
        # the same as a one-hot times the weight
        return layer.weight.t()[bucket].permute(0, 3, 1, 2)

    def forward(self, position_ids, bbox):
        c = self.config
        return (
            self._bias(self.rel_pos_bias, position_ids, c.rel_pos_bins, c.max_rel_pos)
            + self._bias(self.rel_pos_x_bias, bbox[:, :, 0], c.rel_2d_pos_bins, c.max_rel_2d_pos)
            + self._bias(self.rel_pos_y_bias, bbox[:, :, 3], c.rel_2d_pos_bins, c.max_rel_2d_pos)
        )


class LedgerformAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout_p = config.attention_probs_dropout_prob

    def forward(self, x, bias):
        B, T, C = x.shape
        q, k, v = (
            p(x).view(B, T, self.num_heads, self.head_dim).transpose(1, 2) for p in (self.query, self.key, self.value)
        )
        out = F.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, dropout_p=self.dropout_p if self.training else 0.0
        )
        return self.dense(out.transpose(1, 2).reshape(B, T, C))


class LedgerformLayer(GradientCheckpointingLayer):
    def __init__(self, config):
        super().__init__()
        self.attention = LedgerformAttention(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.act = ACT2FN[config.hidden_act]
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states, bias=None):
        x = self.norm1(hidden_states + self.dropout(self.attention(hidden_states, bias)))
        return self.norm2(x + self.dropout(self.output(self.act(self.intermediate(x)))))


class LedgerformPreTrainedModel(PreTrainedModel):
    config: LedgerformConfig
    config_class = LedgerformConfig
    base_model_prefix = "ledgerform"
    supports_gradient_checkpointing = True
    _no_split_modules = ["LedgerformLayer", "LedgerformEmbeddings"]
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, LedgerformEmbeddings):
            init.copy_(module.position_ids, torch.arange(module.position_ids.shape[-1]).expand((1, -1)))
        elif isinstance(module, LinearChainCRF):
            for p in (module.start, module.end, module.transitions):
                init.uniform_(p, -0.1, 0.1)


class LedgerformModel(LedgerformPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = LedgerformEmbeddings(config)
        self.relative_bias = LedgerformRelativeBias(config)
        self.layers = nn.ModuleList([LedgerformLayer(config) for _ in range(config.num_hidden_layers)])
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value):
        self.embeddings.word_embeddings = value

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        bbox: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        **kwargs,
    ) -> BaseModelOutput:
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("You must specify exactly one of input_ids or inputs_embeds")
        shape = input_ids.shape if input_ids is not None else inputs_embeds.shape[:-1]
        device = input_ids.device if input_ids is not None else inputs_embeds.device
        if bbox is None:
            bbox = torch.zeros((*shape, 4), dtype=torch.long, device=device)
        if position_ids is None:
            position_ids = torch.arange(shape[1], device=device).expand(shape)
        x = self.embeddings(input_ids, bbox, inputs_embeds, position_ids)
        bias = self.relative_bias(position_ids, bbox)
        if attention_mask is not None:
            bias = bias.masked_fill(attention_mask[:, None, None, :] == 0, torch.finfo(bias.dtype).min)
        for layer in self.layers:
            x = layer(x, bias)
        return BaseModelOutput(last_hidden_state=x)


class LedgerformForTokenClassification(LedgerformPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.ledgerform = LedgerformModel(config)
        p = config.classifier_dropout if config.classifier_dropout is not None else config.hidden_dropout_prob
        self.dropout = nn.Dropout(p)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.crf = LinearChainCRF(config.num_labels) if config.use_crf else None
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        bbox: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        **kwargs,
    ) -> LedgerformTokenOutput:
        outputs = self.ledgerform(
            input_ids=input_ids,
            bbox=bbox,
            attention_mask=attention_mask,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
        )
        logits = self.classifier(self.dropout(outputs.last_hidden_state))
        mask = attention_mask if attention_mask is not None else torch.ones(logits.shape[:2], device=logits.device)
        loss = None
        if labels is not None:
            if self.crf is not None:
                loss = self.crf.neg_log_likelihood(logits.float(), labels, mask * (labels != -100))
            else:
                loss = F.cross_entropy(logits.view(-1, self.num_labels), labels.view(-1))
        predictions = None
        if not self.training:
            predictions = self.crf.viterbi(logits.float(), mask) if self.crf is not None else logits.argmax(-1)
        return LedgerformTokenOutput(loss=loss, logits=logits, predictions=predictions)

    @torch.no_grad()
    def extract_fields(self, tokenizer, words, boxes, max_length=512):
        """words and their boxes -> {field: text}"""
        ids, bbox, owner = [], [], []
        for i, (word, box) in enumerate(zip(words, boxes)):
            for t in tokenizer(word, add_special_tokens=False)["input_ids"]:
                ids.append(t)
                bbox.append(box)
                owner.append(i)
        ids, bbox = ids[:max_length], bbox[:max_length]
        out = self(
            input_ids=torch.tensor([ids], device=self.device), bbox=torch.tensor([bbox], device=self.device)
        )
        fields, last = {}, -1
        for i, p in zip(owner, out.predictions[0].tolist()):
            label = self.config.id2label[p]
            if i == last or label == "O":
                continue
            last = i
            fields.setdefault(label.split("-", 1)[1], []).append(words[i])
        return {k: " ".join(v) for k, v in fields.items()}


__all__ = ["LedgerformPreTrainedModel", "LedgerformModel", "LedgerformForTokenClassification"]
