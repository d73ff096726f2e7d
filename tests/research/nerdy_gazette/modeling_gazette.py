"""Gazette: tagging with relative positions and gazetteer features."""
import math
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import BaseModelOutput, QuestionAnsweringModelOutput, TokenClassifierOutput
from transformers.utils import ModelOutput

from .configuration_gazette import GazetteConfig
from .crf import CRF


@dataclass
class GazetteTaggerOutput(TokenClassifierOutput):
    tags: Optional[List[List[int]]] = None


class Embeddings(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.gaz = nn.Embedding(config.gazetteer_size + 1, config.hidden_size) if config.gazetteer_size > 0 else None
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, input_ids=None, gazetteer_ids=None, inputs_embeds=None):
        x = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if self.gaz is not None:
            if gazetteer_ids is None:
                gazetteer_ids = torch.zeros(x.shape[:2], dtype=torch.long, device=x.device)
            x = x + self.gaz(gazetteer_ids)
        return self.drop(self.norm(x))


class RelativeSelfAttention(nn.Module):
    """clipped distances, one embedding for keys"""

    def __init__(self, config):
        super().__init__()
        self.h = config.num_attention_heads
        self.d = config.hidden_size // self.h
        self.q = nn.Linear(config.hidden_size, config.hidden_size)
        self.k = nn.Linear(config.hidden_size, config.hidden_size)
        self.v = nn.Linear(config.hidden_size, config.hidden_size)
        self.o = nn.Linear(config.hidden_size, config.hidden_size)
        self.max_distance = config.max_distance
        self.distance = nn.Embedding(2 * config.max_distance + 1, self.d)
        self.drop = nn.Dropout(config.dropout)

    def split(self, t):
        return t.view(t.shape[0], t.shape[1], self.h, self.d).transpose(1, 2)

    def forward(self, x, mask=None, head_mask=None, output_attentions=False):
        n = x.shape[1]
        q, k, v = self.split(self.q(x)), self.split(self.k(x)), self.split(self.v(x))
        scores = q @ k.transpose(-1, -2)
        idx = torch.arange(n, device=x.device)
        rel = (idx[None, :] - idx[:, None]).clamp(-self.max_distance, self.max_distance) + self.max_distance
        scores = scores + torch.einsum("bhld,lrd->bhlr", q, self.distance(rel).to(q.dtype))
        scores = scores / math.sqrt(self.d)
        if mask is not None:
            scores = scores + mask
        probs = self.drop(scores.softmax(-1))
        if head_mask is not None:
            probs = probs * head_mask
        out = (probs @ v).transpose(1, 2).reshape(x.shape)
        return self.o(out), (probs if output_attentions else None)


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attention = RelativeSelfAttention(config)
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size)
        self.act = ACT2FN[config.hidden_act]
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.drop = nn.Dropout(config.dropout)

    def forward(self, x, mask, head_mask, output_attentions):
        a, p = self.attention(x, mask, head_mask, output_attentions)
        x = self.norm1(x + self.drop(a))
        x = self.norm2(x + self.drop(self.down(self.act(self.up(x)))))
        return x, p


class GazettePreTrainedModel(PreTrainedModel):
    config_class = GazetteConfig
    base_model_prefix = "encoder"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if isinstance(module, nn.Linear) and module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()
        elif isinstance(module, CRF):
            module.reset_parameters()


class GazetteModel(GazettePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.post_init()

    def get_input_embeddings(self):
        return self.embeddings.tokens

    def set_input_embeddings(self, v):
        self.embeddings.tokens = v

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        gazetteer_ids: Optional[torch.LongTensor] = None,
        head_mask: Optional[torch.Tensor] = None,
        inputs_embeds: Optional[torch.Tensor] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, BaseModelOutput]:
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        output_hidden_states = output_hidden_states if output_hidden_states is not None else self.config.output_hidden_states
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict

        x = self.embeddings(input_ids, gazetteer_ids, inputs_embeds)
        if attention_mask is None:
            attention_mask = torch.ones(x.shape[:2], device=x.device)
        mask = (1.0 - attention_mask[:, None, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        # Prepare head mask if needed, 1.0 in head_mask indicate we keep the head
        head_mask = self.get_head_mask(head_mask, self.config.num_hidden_layers)

        all_h, all_a = (), ()
        for i, layer in enumerate(self.layers):
            all_h += (x,)
            x, p = layer(x, mask, head_mask[i], output_attentions)
            all_a += (p,)
        all_h += (x,)
        if not return_dict:
            return (x, all_h if output_hidden_states else None, all_a if output_attentions else None)
        return BaseModelOutput(
            last_hidden_state=x,
            hidden_states=all_h if output_hidden_states else None,
            attentions=all_a if output_attentions else None,
        )


class GazetteForTokenClassification(GazettePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.encoder = GazetteModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.crf = CRF(config.num_labels) if config.use_crf else None
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, gazetteer_ids=None, head_mask=None, labels=None,
                output_attentions=None, output_hidden_states=None, return_dict=None):
        out = self.encoder(input_ids, attention_mask, gazetteer_ids, head_mask, output_attentions=output_attentions,
                           output_hidden_states=output_hidden_states, return_dict=True)
        logits = self.classifier(self.dropout(out.last_hidden_state))
        loss, tags = None, None
        if labels is not None:
            mask = labels != -100
            if self.crf is not None:
                loss = -self.crf(logits, labels.clamp(min=0), mask)
            else:
                loss = nn.functional.cross_entropy(logits.view(-1, self.num_labels), labels.view(-1))
        elif self.crf is not None:
            tags = self.crf.decode(logits, attention_mask if attention_mask is not None else torch.ones_like(input_ids))
        return GazetteTaggerOutput(loss=loss, logits=logits, hidden_states=out.hidden_states, attentions=out.attentions, tags=tags)

    def tag_names(self, tags):
        return [[self.config.id2label[t] for t in row] for row in tags]


class GazetteForQuestionAnswering(GazettePreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.encoder = GazetteModel(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, start_positions=None, end_positions=None, **kwargs):
        out = self.encoder(input_ids, attention_mask)
        start, end = self.qa_outputs(out[0]).split(1, dim=-1)
        start, end = start.squeeze(-1).contiguous(), end.squeeze(-1).contiguous()
        loss = None
        if start_positions is not None and end_positions is not None:
            ce = nn.CrossEntropyLoss(ignore_index=start.size(1))
            loss = (ce(start, start_positions) + ce(end, end_positions)) / 2
        return QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end)
