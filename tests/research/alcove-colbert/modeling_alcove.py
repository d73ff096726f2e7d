"""AlcoveColBERT: late interaction over BERT."""
import string
from typing import List, Optional, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import AutoTokenizer, BertModel, BertPreTrainedModel

from .configuration_alcove import AlcoveConfig
from .residual_codec import ResidualCodec
from .training_utils import distillation_loss, pairwise_loss

QUERY_MARK = "[unused0]"
DOC_MARK = "[unused1]"


class AlcoveColBERT(BertPreTrainedModel):
    config_class = AlcoveConfig
    _keys_to_ignore_on_load_unexpected = [r"cls"]

    def __init__(self, config):
        super().__init__(config)
        self.dim = config.dim
        self.linear = nn.Linear(config.hidden_size, config.dim, bias=False)
        self.bert = BertModel(config)
        self.skiplist = {token: True for token in config.skip_tokens}
        self.codec: Optional[ResidualCodec] = None
        self.init_weights()

    def learn_skiplist(self, tokenizer):
        if self.config.mask_punctuation:
            for symbol in string.punctuation:
                ids = tokenizer.encode(symbol, add_special_tokens=False)
                if ids:
                    self.skiplist[ids[0]] = True
            self.config.skip_tokens = sorted(self.skiplist)

    def mask(self, input_ids, skiplist):
        mask = [[(x not in skiplist) and (x != 0) for x in d] for d in input_ids.cpu().tolist()]
        return torch.tensor(mask, device=input_ids.device)

    def query(self, input_ids, attention_mask):
        Q = self.linear(self.bert(input_ids, attention_mask=attention_mask)[0])
        return F.normalize(Q, p=2, dim=2)

    def doc(self, input_ids, attention_mask, keep_dims=True):
        D = self.linear(self.bert(input_ids, attention_mask=attention_mask)[0])
        mask = self.mask(input_ids, skiplist=self.skiplist).unsqueeze(2).to(D.dtype)
        D = F.normalize(D * mask, p=2, dim=2)
        if keep_dims is False:
            return [d[m.squeeze(-1).bool()] for d, m in zip(D, mask)]
        return D

    def score(self, Q, D):
        if self.config.similarity == "cosine":
            return (Q @ D.permute(0, 2, 1)).max(2).values.sum(1)
        assert self.config.similarity == "l2"
        return (-1.0 * ((Q.unsqueeze(2) - D.unsqueeze(1)) ** 2).sum(-1)).max(-1).values.sum(-1)

    def forward(
        self,
        input_ids=None,
        attention_mask=None,
        doc_input_ids=None,
        doc_attention_mask=None,
        labels=None,
        nway=None,
    ):
        if doc_input_ids is None:
            return self.doc(input_ids, attention_mask)
        Q = self.query(input_ids, attention_mask)
        D = self.doc(doc_input_ids, doc_attention_mask)
        nway = nway or D.shape[0] // Q.shape[0]
        scores = self.score(Q.repeat_interleave(nway, dim=0), D)
        if labels is not None:
            return distillation_loss(scores, labels, nway)
        if self.training:
            return pairwise_loss(scores, nway)
        return scores

    @torch.no_grad()
    def encode(self, texts: Union[str, List[str]], is_query: bool, tokenizer=None, batch_size: int = 32):
        texts = [texts] if isinstance(texts, str) else texts
        tokenizer = tokenizer or AutoTokenizer.from_pretrained(self.config._name_or_path)
        mark = QUERY_MARK if is_query else DOC_MARK
        length = self.config.query_maxlen if is_query else self.config.doc_maxlen
        vectors = []
        for start in range(0, len(texts), batch_size):
            batch = tokenizer(
                [f"{mark} {t}" for t in texts[start : start + batch_size]],
                padding="max_length" if is_query else "longest",
                truncation=True,
                max_length=length,
                return_tensors="pt",
            ).to(self.device)
            if is_query:
                batch["input_ids"][batch["input_ids"] == 0] = tokenizer.mask_token_id
                vectors.extend(self.query(batch["input_ids"], batch["attention_mask"]))
            else:
                vectors.extend(self.doc(batch["input_ids"], batch["attention_mask"], keep_dims=False))
        return vectors
