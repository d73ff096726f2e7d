"""Tessel: late interaction retrieval on top of a stock encoder."""
from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_tessel import TesselConfig
from .scoring_tessel import maxsim, maxsim_pairs, pool_neighbours, rank


@dataclass
class TesselOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    embeddings: Optional[torch.FloatTensor] = None
    token_mask: Optional[torch.BoolTensor] = None
    scores: Optional[torch.FloatTensor] = None
    hidden_states: Optional[Tuple[torch.FloatTensor]] = None


class TesselPreTrainedModel(PreTrainedModel):
    config_class = TesselConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class TesselForRetrieval(TesselPreTrainedModel):
    def __init__(self, config: TesselConfig):
        super().__init__(config)
        self.encoder = AutoModel.from_config(config.encoder_config)
        self.projection = nn.Linear(config.encoder_config.hidden_size, config.embedding_dim, bias=False)
        self.register_buffer(
            "skip", torch.zeros(config.encoder_config.vocab_size, dtype=torch.bool), persistent=False
        )
        if config.skiplist:
            self.skip[torch.tensor(config.skiplist)] = True
        self.post_init()

    def get_input_embeddings(self):
        return self.encoder.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.encoder.set_input_embeddings(value)

    def _tokens(self, input_ids, attention_mask, is_query):
        """mask of the tokens that have a vector in the end"""
        if is_query:
            expansion = input_ids == self.config.mask_token_id
            return attention_mask.bool() | expansion
        return attention_mask.bool() & ~self.skip[input_ids]

    def embed(self, input_ids, attention_mask=None, is_query=False, output_hidden_states=False):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        token_mask = self._tokens(input_ids, attention_mask, is_query)
        encoder_mask = attention_mask
        if is_query and self.config.attend_to_expansion:
            encoder_mask = token_mask.to(attention_mask.dtype)
        out = self.encoder(
            input_ids=input_ids, attention_mask=encoder_mask, output_hidden_states=output_hidden_states
        )
        e = self.projection(out.last_hidden_state)
        if self.config.similarity == "cosine":
            e = F.normalize(e, p=2, dim=-1)
        e = e * token_mask.unsqueeze(-1).to(e.dtype)
        return e, token_mask, out.hidden_states

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: Optional[torch.Tensor] = None,
        query_input_ids: Optional[torch.LongTensor] = None,
        query_attention_mask: Optional[torch.Tensor] = None,
        labels: Optional[torch.Tensor] = None,
        is_query: bool = False,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, TesselOutput]:
        """
        Vectors of `input_ids`. With `query_input_ids` the scores of each query with each document too, and with
        `labels` (the place of the right document, or the scores of a teacher) a loss.
        """
        return_dict = return_dict if return_dict is not None else True
        e, token_mask, hidden_states = self.embed(input_ids, attention_mask, is_query, bool(output_hidden_states))
        scores = loss = None
        if query_input_ids is not None:
            q, q_mask, _ = self.embed(query_input_ids, query_attention_mask, is_query=True)
            scores = maxsim(q, e, q_mask, token_mask)
            if labels is not None and labels.dim() == 1:
                loss = F.cross_entropy(scores / (self.config.temperature * q_mask.sum(-1, keepdim=True)), labels)
            elif labels is not None:
                teacher = labels.float().log_softmax(-1)
                loss = F.kl_div(scores.log_softmax(-1), teacher, reduction="batchmean", log_target=True)
        if not return_dict:
            return tuple(v for v in (loss, e, token_mask, scores) if v is not None)
        return TesselOutput(loss=loss, embeddings=e, token_mask=token_mask, scores=scores, hidden_states=hidden_states)

    # ---------------------------------------------------------------------------------- texts
    def _with_marker(self, ids, marker):
        if marker is None:
            return ids
        return torch.cat([ids[:, :1], torch.full_like(ids[:, :1], marker), ids[:, 1:]], dim=1)

    def prepare_queries(self, tokenizer, queries: List[str]):
        enc = tokenizer(
            queries,
            padding="max_length",
            truncation=True,
            max_length=self.config.query_length - int(self.config.query_marker_id is not None),
            return_tensors="pt",
        )
        ids, mask = enc["input_ids"], enc["attention_mask"]
        # query expansion: padding becomes [MASK]
        ids = torch.where(mask.bool(), ids, torch.full_like(ids, self.config.mask_token_id))
        if self.config.query_marker_id is not None:
            mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        return self._with_marker(ids, self.config.query_marker_id).to(self.device), mask.to(self.device)

    def prepare_documents(self, tokenizer, docs: List[str]):
        enc = tokenizer(
            docs,
            padding="longest",
            truncation=True,
            max_length=self.config.document_length - int(self.config.doc_marker_id is not None),
            return_tensors="pt",
        )
        ids, mask = enc["input_ids"], enc["attention_mask"]
        if self.config.doc_marker_id is not None:
            mask = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        return self._with_marker(ids, self.config.doc_marker_id).to(self.device), mask.to(self.device)

    @torch.inference_mode()
    def encode_queries(self, tokenizer, queries, batch_size=32):
        out = []
        for i in range(0, len(queries), batch_size):
            ids, mask = self.prepare_queries(tokenizer, queries[i : i + batch_size])
            out.append(self.embed(ids, mask, is_query=True)[0].float().cpu())
        return torch.cat(out)

    @torch.inference_mode()
    def encode_documents(self, tokenizer, docs, batch_size=32, pool_factor=None):
        factor = pool_factor or self.config.pool_factor
        out = []
        for i in range(0, len(docs), batch_size):
            ids, mask = self.prepare_documents(tokenizer, docs[i : i + batch_size])
            e, m, _ = self.embed(ids, mask)
            out += [pool_neighbours(v[k].float().cpu(), factor) for v, k in zip(e, m)]
        return out

    def rerank(self, tokenizer, query, docs, top_k=None):
        q = self.encode_queries(tokenizer, [query])[0]
        return rank(q, self.encode_documents(tokenizer, docs), top_k)

    def score_pairs(self, q_ids, q_mask, d_ids, d_mask):
        q, qm, _ = self.embed(q_ids, q_mask, is_query=True)
        d, dm, _ = self.embed(d_ids, d_mask)
        return maxsim_pairs(q, d, qm, dm)
