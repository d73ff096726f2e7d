from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.utils.checkpoint
from torch import nn
from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss
from transformers.file_utils import ModelOutput
from transformers.modeling_outputs import BaseModelOutputWithPoolingAndCrossAttentions, SequenceClassifierOutput
from transformers.models.bert.modeling_bert import BertEmbeddings, BertEncoder, BertModel, BertPreTrainedModel
from transformers.pytorch_utils import apply_chunking_to_forward
from transformers.utils import logging

from .configuration_briony import BrionyConfig
from .pooling import Pooler, masked_mean

logger = logging.get_logger(__name__)


@dataclass
class BrionyOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    logits: torch.FloatTensor = None
    pooled: torch.FloatTensor = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None
    attentions: Optional[Tuple[torch.FloatTensor]] = None


class BrionyEmbeddings(BertEmbeddings):
    """BERT's, with an embedding of the distance to the border between the two segments."""

    def __init__(self, config):
        super().__init__(config)
        self.border = config.max_segment_distance
        self.distance_embeddings = nn.Embedding(2 * self.border + 1, config.hidden_size)

    def distances(self, token_type_ids):
        length = token_type_ids.shape[1]
        where = torch.arange(length, device=token_type_ids.device)[None]
        first = torch.where(token_type_ids.bool(), where, length).min(1, keepdim=True).values
        return (where - first).clamp(-self.border, self.border) + self.border

    def forward(
        self, input_ids=None, token_type_ids=None, position_ids=None, inputs_embeds=None, past_key_values_length=0
    ):
        length = input_ids.size(1) if input_ids is not None else inputs_embeds.size(1)
        if position_ids is None:
            position_ids = self.position_ids[:, past_key_values_length: length + past_key_values_length]
        if token_type_ids is None:
            token_type_ids = torch.zeros((1, length), dtype=torch.long, device=position_ids.device)
        if inputs_embeds is None:
            inputs_embeds = self.word_embeddings(input_ids)
        x = inputs_embeds + self.token_type_embeddings(token_type_ids)
        if self.position_embedding_type == "absolute":
            x = x + self.position_embeddings(position_ids)
        x = x + self.distance_embeddings(self.distances(token_type_ids))
        return self.dropout(self.LayerNorm(x))


class BrionyPreTrainedModel(BertPreTrainedModel):
    config_class = BrionyConfig
    base_model_prefix = "briony"
    _keys_to_ignore_on_load_missing = [r"position_ids"]

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, BrionyEmbeddings):
            module.distance_embeddings.weight.data.mul_(0.1)


class BrionyModel(BertModel):
    config_class = BrionyConfig
    base_model_prefix = "briony"

    def __init__(self, config, add_pooling_layer=False):
        super().__init__(config, add_pooling_layer=add_pooling_layer)
        self.embeddings = BrionyEmbeddings(config)
        self.encoder = BertEncoder(config)
        self.mix = nn.Parameter(torch.zeros(config.num_hidden_layers + 1))
        self.post_init()

    def forward(
        self,
        input_ids: Optional[torch.Tensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        token_type_ids: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.Tensor] = None,
        head_mask: Optional[torch.Tensor] = None,
        inputs_embeds: Optional[torch.Tensor] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ):
        output_attentions = output_attentions if output_attentions is not None else self.config.output_attentions
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if input_ids is not None:
            self.warn_if_padding_and_no_attention_mask(input_ids, attention_mask)
            input_shape = input_ids.size()
            device = input_ids.device
        else:
            input_shape = inputs_embeds.size()[:-1]
            device = inputs_embeds.device
        if attention_mask is None:
            attention_mask = torch.ones(input_shape, device=device)
        extended = self.get_extended_attention_mask(attention_mask, input_shape)
        head_mask = self.get_head_mask(head_mask, self.config.num_hidden_layers)

        x = self.embeddings(
            input_ids=input_ids,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
        )
        out = self.encoder(
            x,
            attention_mask=extended,
            head_mask=head_mask,
            output_attentions=output_attentions,
            output_hidden_states=True,
            return_dict=True,
        )
        # scalar mix of all layers, as in our 2019 parser
        weights = self.mix.softmax(0)
        mixed = sum(w * h for w, h in zip(weights, out.hidden_states))
        pooled = masked_mean(mixed, attention_mask)
        if not return_dict:
            return (mixed, pooled, out.hidden_states)
        return BaseModelOutputWithPoolingAndCrossAttentions(
            last_hidden_state=mixed,
            pooler_output=pooled,
            hidden_states=out.hidden_states if output_hidden_states else None,
            attentions=out.attentions,
        )


class ScoreHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.chunk_size_feed_forward = config.chunk_size_feed_forward
        self.dropout = nn.Dropout(config.score_dropout)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.out = nn.Linear(config.hidden_size, config.num_labels)

    def inner(self, x):
        return self.out(torch.relu(self.dense(self.dropout(x))))

    def forward(self, pooled):
        return apply_chunking_to_forward(self.inner, self.chunk_size_feed_forward, 0, pooled)


class BrionyForPairScoring(BrionyPreTrainedModel):
    _keys_to_ignore_on_load_unexpected = [r"teacher\."]

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.briony = BrionyModel(config)
        self.pooler = Pooler(config.poolers, config.hidden_size)
        self.head = ScoreHead(config)
        self.init_weights()

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        head_mask=None,
        inputs_embeds=None,
        labels=None,
        group_size=None,
        output_attentions=None,
        output_hidden_states=None,
        return_dict=None,
    ) -> Union[Tuple, BrionyOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if attention_mask is None:
            attention_mask = (input_ids != self.config.pad_token_id).long()
        out = self.briony(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        pooled = self.pooler(out.last_hidden_state, attention_mask)
        logits = self.head(pooled)
        loss = None
        if labels is not None:
            if group_size is not None:
                scores = logits.view(-1, group_size) / self.config.temperature
                loss = CrossEntropyLoss()(scores, labels.view(-1))
            else:
                loss = BCEWithLogitsLoss()(logits.view(-1), labels.float().view(-1))
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits, pooled)
        return BrionyOutput(
            loss=loss, logits=logits, pooled=pooled, hidden_states=out.hidden_states, attentions=out.attentions
        )

    @torch.no_grad()
    def rank(self, tokenizer, query: str, texts: List[str], batch_size: int = 32, max_length: int = 256):
        scores = []
        for start in range(0, len(texts), batch_size):
            some = texts[start: start + batch_size]
            enc = tokenizer([query] * len(some), some, padding=True, truncation=True, max_length=max_length,
                            return_tensors="pt").to(self.device)
            scores.extend(self(**enc).logits[:, 0].tolist())
        order = sorted(range(len(texts)), key=lambda i: -scores[i])
        return [(i, scores[i]) for i in order]
