from dataclasses import dataclass
from typing import List, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import BertModel, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_colpebble import ColPebbleConfig
from .index import FlatIndex, ResidualCodec

PUNCTUATION = ".,;:!?()[]{}'\"-"


@dataclass
class ColPebbleOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    scores: Optional[torch.FloatTensor] = None
    query_embeddings: Optional[torch.FloatTensor] = None
    doc_embeddings: Optional[torch.FloatTensor] = None


class ColPebblePreTrainedModel(PreTrainedModel):
    config_class = ColPebbleConfig
    base_model_prefix = "bert"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = ["BertLayer"]

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=0.02)


class ColPebbleModel(ColPebblePreTrainedModel):
    def __init__(self, config: ColPebbleConfig):
        super().__init__(config)
        self.bert = BertModel(config.backbone, add_pooling_layer=False)
        self.linear = nn.Linear(config.backbone.hidden_size, config.dim, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.bert.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.bert.set_input_embeddings(value)

    # -- text side ------------------------------------------------------------
    def augment(self, ids: torch.LongTensor) -> Tuple[torch.LongTensor, torch.LongTensor]:
        """pad queries with [MASK] up to query_maxlen"""
        n = self.config.query_maxlen
        ids = ids[:, :n]
        real = (ids != self.config.backbone.pad_token_id).long()
        ids = torch.where(real.bool(), ids, torch.full_like(ids, self.config.mask_token_id))
        if ids.shape[1] < n:
            extra = ids.new_full((len(ids), n - ids.shape[1]), self.config.mask_token_id)
            ids = torch.cat([ids, extra], 1)
            real = torch.cat([real, torch.zeros_like(extra)], 1)
        mask = torch.ones_like(real) if self.config.attend_to_mask_tokens else real
        return ids, mask

    def query(self, ids: torch.LongTensor) -> torch.Tensor:
        ids, mask = self.augment(ids)
        h = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        return F.normalize(self.linear(h), p=2, dim=2)

    def keep_mask(self, ids: torch.LongTensor) -> torch.Tensor:
        keep = ids != self.config.backbone.pad_token_id
        for s in self.config.skiplist:
            keep = keep & (ids != s)
        return keep

    def doc(self, ids: torch.LongTensor, keep_dims: bool = True):
        mask = (ids != self.config.backbone.pad_token_id).long()
        h = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state
        keep = self.keep_mask(ids)
        d = F.normalize(self.linear(h) * keep[..., None].to(h.dtype), p=2, dim=2)
        if keep_dims:
            return d, keep
        return [row[k] for row, k in zip(d, keep)]

    # -- scoring --------------------------------------------------------------
    def maxsim(self, q: torch.Tensor, d: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        if self.config.similarity == "l2":
            s = -torch.cdist(q[:, None].expand(-1, len(d), -1, -1), d[None]).pow(2)
        else:
            s = torch.einsum("qid,bjd->qbij", q, d)
        s = s.masked_fill(~keep[None, :, None, :], -9999.0)
        return s.amax(-1).sum(-1)

    def forward(
        self,
        query_ids: torch.LongTensor,
        doc_ids: torch.LongTensor,
        labels: Optional[torch.LongTensor] = None,
        teacher_scores: Optional[torch.FloatTensor] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, ColPebbleOutput]:
        q = self.query(query_ids)
        d, keep = self.doc(doc_ids)
        scores = self.maxsim(q, d, keep)
        loss = None
        if teacher_scores is not None:
            loss = F.kl_div(scores.log_softmax(-1), teacher_scores.log_softmax(-1), reduction="batchmean", log_target=True)
        elif labels is not None:
            loss = F.cross_entropy(scores, labels)
        return ColPebbleOutput(loss=loss, scores=scores, query_embeddings=q, doc_embeddings=d)

    # -- offline --------------------------------------------------------------
    @torch.no_grad()
    def index(self, batches, compress: bool = False, n_centroids: int = 256) -> FlatIndex:
        rows: List[torch.Tensor] = []
        for ids in batches:
            rows.extend(r.float().cpu() for r in self.doc(ids.to(self.device), keep_dims=False))
        codec = ResidualCodec.train(torch.cat(rows), n_centroids, self.config.nbits) if compress else None
        idx = FlatIndex(codec)
        idx.add(rows)
        return idx

    @torch.no_grad()
    def search(self, index: FlatIndex, query_ids: torch.LongTensor, k: int = 10):
        return [index.search(q.float().cpu(), k) for q in self.query(query_ids.to(self.device))]

    @torch.no_grad()
    def explain(self, query_ids, doc_ids):
        """which document token does every query token take"""
        q = self.query(query_ids)
        d, keep = self.doc(doc_ids)
        s = torch.einsum("qid,bjd->qbij", q, d).masked_fill(~keep[None, :, None, :], -9999.0)
        return s.max(-1)
