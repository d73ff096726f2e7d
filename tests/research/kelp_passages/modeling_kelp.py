"""Kelp: late-interaction retrieval on the encoder of T5."""
import copy
import os
from dataclasses import dataclass
from typing import Optional

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.t5.modeling_t5 import T5LayerNorm, T5PreTrainedModel, T5Stack
from transformers.utils import ModelOutput, logging

from .configuration_kelp import KelpConfig
from .scoring import in_batch_loss, late_interaction, normalise

logger = logging.get_logger(__name__)


@dataclass
class KelpOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    scores: torch.FloatTensor = None
    query_vectors: Optional[torch.FloatTensor] = None
    passage_vectors: Optional[torch.FloatTensor] = None


class KelpStack(T5Stack):
    """T5's encoder, with learned marks in front that say whether it reads a query or a passage."""

    def __init__(self, config, embed_tokens=None):
        super().__init__(config, embed_tokens)
        self.marks = nn.Parameter(torch.zeros(2, config.mark_tokens, config.d_model))
        self.mark_norm = T5LayerNorm(config.d_model, eps=config.layer_norm_epsilon)

    def forward(self, input_ids=None, attention_mask=None, side=0, inputs_embeds=None, **kwargs):
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        batch = inputs_embeds.shape[0]
        marks = self.mark_norm(self.marks[side]).unsqueeze(0).expand(batch, -1, -1)
        inputs_embeds = torch.cat([marks, inputs_embeds], dim=1)
        if attention_mask is not None:
            ones = attention_mask.new_ones(batch, marks.shape[1])
            attention_mask = torch.cat([ones, attention_mask], dim=1)
        output = super().forward(attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs)
        if not kwargs.get("return_dict", True):
            return (output[0][:, marks.shape[1]:],) + output[1:]
        return BaseModelOutput(
            last_hidden_state=output.last_hidden_state[:, marks.shape[1]:],
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


class KelpPreTrainedModel(T5PreTrainedModel):
    config_class = KelpConfig
    base_model_prefix = "encoder"

    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, KelpStack):
            module.marks.data.normal_(mean=0.0, std=self.config.initializer_factor * 0.5)
        elif isinstance(module, KelpHead):
            for linear in (module.inner, module.outer):
                linear.weight.data.normal_(mean=0.0, std=self.config.initializer_factor * self.config.d_model ** -0.5)
            module.inner.bias.data.zero_()


class KelpHead(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inner = nn.Linear(config.d_model, config.d_model)
        self.act = nn.Tanh()
        self.outer = nn.Linear(config.d_model, config.projection_dim, bias=False)

    def forward(self, x):
        return self.outer(x + self.act(self.inner(x)))


class KelpRetriever(KelpPreTrainedModel):
    _tied_weights_keys = ["encoder.embed_tokens.weight"]
    _keys_to_ignore_on_load_unexpected = [r"decoder", r"lm_head"]

    def __init__(self, config: KelpConfig):
        super().__init__(config)
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        encoder_config = copy.deepcopy(config)
        encoder_config.is_decoder = False
        encoder_config.use_cache = False
        self.encoder = KelpStack(encoder_config, self.shared)
        self.head = KelpHead(config)
        self.passage_scale = nn.Parameter(torch.ones(config.projection_dim))
        self.post_init()
        self.model_parallel = False
        self.device_map = None

    def get_input_embeddings(self):
        return self.shared

    def set_input_embeddings(self, new_embeddings):
        self.shared = new_embeddings
        self.encoder.set_input_embeddings(new_embeddings)

    def get_encoder(self):
        return self.encoder

    def _prune_heads(self, heads_to_prune):
        for layer, heads in heads_to_prune.items():
            self.encoder.block[layer].layer[0].SelfAttention.prune_heads(heads)

    def _mask(self, ids, mask):
        return mask if mask is not None else ids.ne(self.config.pad_token_id).long()

    def encode_queries(self, input_ids, attention_mask=None):
        attention_mask = self._mask(input_ids, attention_mask)
        states = self.encoder(input_ids, attention_mask=attention_mask, side=0).last_hidden_state
        return normalise(self.head(states), self.config.similarity), attention_mask

    def encode_passages(self, input_ids, attention_mask=None):
        attention_mask = self._mask(input_ids, attention_mask)
        states = self.encoder(input_ids, attention_mask=attention_mask, side=1).last_hidden_state
        return normalise(self.head(states) * self.passage_scale, self.config.similarity), attention_mask

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        passage_ids=None,
        passage_mask=None,
        return_loss: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ):
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        queries, q_mask = self.encode_queries(input_ids, attention_mask)
        passages = scores = loss = None
        if passage_ids is not None:
            passages, p_mask = self.encode_passages(passage_ids, passage_mask)
            scores = late_interaction(queries, passages, q_mask, p_mask, self.config.similarity)
            if return_loss:
                loss = in_batch_loss(scores, self.config.temperature)
        if not return_dict:
            return tuple(v for v in (loss, scores, queries, passages) if v is not None)
        return KelpOutput(loss, scores, queries, passages)

    @torch.no_grad()
    def index(self, tokenizer, passages, batch_size=32, max_length=180, device=None):
        """Vectors of passages, packed, with the number of each."""
        device = device or self.device
        packed, counts = [], []
        for start in range(0, len(passages), batch_size):
            batch = tokenizer(
                passages[start:start + batch_size], padding=True, truncation=True, max_length=max_length,
                return_tensors="pt",
            ).to(device)
            vectors, mask = self.encode_passages(batch["input_ids"], batch["attention_mask"])
            for row, keep in zip(vectors, mask.bool()):
                packed.append(row[keep].half().cpu())
                counts.append(int(keep.sum()))
        return torch.cat(packed), counts

    @torch.no_grad()
    def search(self, tokenizer, query, packed, counts, top_k=10):
        inputs = tokenizer([query], return_tensors="pt").to(self.device)
        vectors, mask = self.encode_queries(inputs["input_ids"], inputs["attention_mask"])
        found, start = [], 0
        for number, count in enumerate(counts):
            passage = packed[start:start + count].to(vectors)[None]
            full = torch.ones(1, count, device=vectors.device)
            found.append((float(late_interaction(vectors, passage, mask, full, self.config.similarity)), number))
            start += count
        return sorted(found, reverse=True)[:top_k]

    def save_pretrained(self, save_directory, *args, **kwargs):
        super().save_pretrained(save_directory, *args, **kwargs)
        if kwargs.get("is_main_process", True):
            # the C++ searcher reads the projection alone
            target = os.path.join(save_directory, "projection.bin")
            torch.save({"outer": self.head.outer.weight.detach().cpu(), "scale": self.passage_scale.detach().cpu()}, target)
