"""Dormouse: BERT that reads long texts in chunks."""
import math
from dataclasses import dataclass
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.models.bert.modeling_bert import (
    BertEmbeddings,
    BertModel,
    BertPreTrainedModel,
    BertSelfAttention,
)
from transformers.utils import logging

from .configuration_dormouse import DormouseConfig
from .transitions import Chain

logger = logging.get_logger(__name__)


class ChunkedSelfAttention(BertSelfAttention):
    """Each chunk sees itself, the one before, and the first tokens of the text."""

    def __init__(self, config, position_embedding_type=None):
        super().__init__(config, position_embedding_type=position_embedding_type)
        self.chunk = config.chunk
        self.global_tokens = config.global_tokens
        self.local_bias = nn.Parameter(torch.zeros(self.num_attention_heads, 2 * config.chunk))

    def _cut(self, x):
        # (b, t, d) -> (b, heads, chunks, chunk, head)
        b, t, _ = x.shape
        x = x.view(b, t // self.chunk, self.chunk, self.num_attention_heads, self.attention_head_size)
        return x.permute(0, 3, 1, 2, 4)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: Optional[torch.FloatTensor] = None,
        head_mask: Optional[torch.FloatTensor] = None,
        encoder_hidden_states: Optional[torch.FloatTensor] = None,
        encoder_attention_mask: Optional[torch.FloatTensor] = None,
        past_key_value: Optional[Tuple[Tuple[torch.FloatTensor]]] = None,
        output_attentions: Optional[bool] = False,
    ) -> Tuple[torch.Tensor]:
        b, t, d = hidden_states.shape
        pad = (-t) % self.chunk
        x = F.pad(hidden_states, (0, 0, 0, pad))
        mask = attention_mask[:, 0, 0, :] if attention_mask is not None else x.new_zeros(b, t)
        mask = F.pad(mask, (0, pad), value=torch.finfo(x.dtype).min)
        q, k, v = self._cut(self.query(x)), self._cut(self.key(x)), self._cut(self.value(x))
        n = q.shape[2]
        lowest = torch.finfo(x.dtype).min

        def with_previous(y, fill=0.0):
            return torch.cat([F.pad(y, (0, 0, 0, 0, 1, -1), value=fill), y], dim=3)

        key, value = with_previous(k), with_previous(v)
        cut = mask.view(b, 1, n, self.chunk)
        local = torch.cat([F.pad(cut, (0, 0, 1, -1), value=lowest), cut], dim=3).unsqueeze(3)
        scores = q @ key.transpose(-1, -2) / math.sqrt(self.attention_head_size)
        scores = scores + self.local_bias[None, :, None, None, :] + local
        first = k.flatten(2, 3)[:, :, None, : self.global_tokens]
        far = q @ first.transpose(-1, -2) / math.sqrt(self.attention_head_size)
        far[:, :, :2] = lowest
        probs = self.dropout(torch.softmax(torch.cat([scores, far], dim=-1).clamp(min=lowest), dim=-1))
        if head_mask is not None:
            probs = probs * head_mask[:, :, None]
        near, distant = probs.split([2 * self.chunk, self.global_tokens], dim=-1)
        out = near @ value + distant @ v.flatten(2, 3)[:, :, None, : self.global_tokens]
        out = out.permute(0, 2, 3, 1, 4).reshape(b, t + pad, d)[:, :t]
        return (out, probs) if output_attentions else (out,)


class DormousePreTrainedModel(BertPreTrainedModel):
    config_class = DormouseConfig
    base_model_prefix = "dormouse"
    _supports_sdpa = False

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, Chain):
            module.moves.data.normal_(0.0, 0.02)
            module.first.data.zero_()


class DormouseModel(BertModel):
    config_class = DormouseConfig

    def __init__(self, config, add_pooling_layer=True):
        config._attn_implementation = "eager"
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        self.embeddings = BertEmbeddings(config)
        for layer in self.encoder.layer:
            layer.attention.self = ChunkedSelfAttention(config)
        self.post_init()

    def stretch(self, length):
        """Longer position table, filled by repeating the old one."""
        old = self.embeddings.position_embeddings.weight.data
        times = math.ceil(length / old.shape[0])
        new = nn.Embedding(length, old.shape[1])
        new.weight.data = old.repeat(times, 1)[:length].clone()
        self.embeddings.position_embeddings = new.to(old.device)
        self.embeddings.register_buffer("position_ids", torch.arange(length).expand((1, -1)), persistent=False)
        self.embeddings.register_buffer(
            "token_type_ids", torch.zeros(1, length, dtype=torch.long), persistent=False
        )
        self.config.max_position_embeddings = length


@dataclass
class ChainOutput(TokenClassifierOutput):
    path: Optional[torch.LongTensor] = None


class DormouseForTokenClassification(DormousePreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"pooler"]

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.dormouse = DormouseModel(config, add_pooling_layer=False)
        drop = config.classifier_dropout if config.classifier_dropout is not None else config.hidden_dropout_prob
        self.dropout = nn.Dropout(drop)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.chain = Chain(config.num_labels) if config.use_transitions else None
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, position_ids=None, labels=None,
                output_attentions=None, output_hidden_states=None, return_dict=None):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        outputs = self.dormouse(
            input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids, position_ids=position_ids,
            output_attentions=output_attentions, output_hidden_states=output_hidden_states, return_dict=return_dict,
        )
        logits = self.classifier(self.dropout(outputs[0]))
        loss = path = None
        if labels is not None:
            keep = labels.ne(-100)
            if self.chain is not None:
                loss = self.chain.loss(logits, labels.clamp(min=0), keep.float())
            else:
                loss = F.cross_entropy(logits.view(-1, self.num_labels), labels.view(-1))
        elif self.chain is not None:
            path = self.chain.best(logits)
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,) + outputs[2:]
        return ChainOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states, path=path)

    @torch.no_grad()
    def spans(self, text, tokenizer):
        encoded = tokenizer(text, return_offsets_mapping=True, return_tensors="pt")
        offsets = encoded.pop("offset_mapping")[0].tolist()
        path = self(**encoded.to(self.device)).path[0].tolist()
        found, start = [], None
        for number, ((left, right), label) in enumerate(zip(offsets, path)):
            name = self.config.id2label[label]
            if name.startswith("B-"):
                start = left
            elif name == "O" and start is not None:
                found.append(text[start:offsets[number - 1][1]])
                start = None
        return found
