"""Mica: a cross-encoder for reranking."""
import json
import os
from pathlib import Path
from typing import Dict, List, Optional, Tuple, Union

import torch
from torch import nn
from transformers import AutoTokenizer, BertModel, BertPreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging

from .configuration_mica import MicaConfig
from .layers import LayerMixture, ManyDropouts, PairPooling

logger = logging.get_logger(__name__)

THRESHOLDS = "thresholds.json"

CARD = """---
library_name: transformers
tags:
- reranker
---

# {title}

Scores are divided by {temperature} before the sigmoid.

| use | threshold |
|---|---|
{rows}
"""


class MicaForReranking(BertPreTrainedModel):
    config_class = MicaConfig
    _keys_to_ignore_on_load_unexpected = [r"bert\.pooler\..*", r"cls\..*"]

    def __init__(self, config: MicaConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.bert = BertModel(config, add_pooling_layer=False)
        self.mixture = LayerMixture(config.mix_layers)
        self.pooling = PairPooling(config.hidden_size)
        self.score = ManyDropouts(nn.Linear(config.hidden_size, config.num_labels), config.n_dropouts)
        self.thresholds: Dict[str, float] = {"default": 0.5}
        self.post_init()

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        token_type_ids: Optional[torch.LongTensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.Tensor] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, SequenceClassifierOutput]:
        if attention_mask is None:
            shape = input_ids.shape if input_ids is not None else inputs_embeds.shape[:2]
            attention_mask = torch.ones(shape, dtype=torch.long, device=self.device)
        if token_type_ids is None:
            token_type_ids = torch.zeros_like(attention_mask)
        outputs = self.bert(
            input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            inputs_embeds=inputs_embeds,
            output_hidden_states=True,
            return_dict=True,
        )
        mixed = self.mixture(outputs.hidden_states)
        logits = self.score(self.pooling(mixed, attention_mask, token_type_ids)) / self.config.temperature
        loss = None
        if labels is not None:
            if labels.dim() == 2:  # one row for each query: its passages against each other
                scores = logits.view(labels.shape)
                loss = -(labels.softmax(-1) * scores.log_softmax(-1)).sum(-1).mean()
            else:
                loss = nn.functional.binary_cross_entropy_with_logits(logits.squeeze(-1), labels.float())
        return SequenceClassifierOutput(loss=loss, logits=logits, hidden_states=outputs.hidden_states)

    def save_pretrained(self, save_directory: Union[str, os.PathLike], **kwargs):
        super().save_pretrained(save_directory, **kwargs)
        place = Path(save_directory)
        (place / THRESHOLDS).write_text(json.dumps(self.thresholds, indent=2))
        rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in sorted(self.thresholds.items()))
        card = CARD.format(title=self.config.card_title, temperature=self.config.temperature, rows=rows)
        (place / "README.md").write_text(card)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        model = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        path = os.path.join(str(pretrained_model_name_or_path), THRESHOLDS)
        if os.path.isfile(path):
            with open(path) as handle:
                (model[0] if isinstance(model, tuple) else model).thresholds = json.load(handle)
        return model

    @torch.no_grad()
    def predict(self, pairs: List[Tuple[str, str]], tokenizer=None, batch_size: int = 32, max_length: int = 512):
        tokenizer = tokenizer or AutoTokenizer.from_pretrained(self.config._name_or_path)
        order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][0]) - len(pairs[i][1]))
        scores = torch.zeros(len(pairs))
        self.eval()
        for start in range(0, len(pairs), batch_size):
            rows = order[start : start + batch_size]
            batch = tokenizer(
                [pairs[i][0] for i in rows],
                [pairs[i][1] for i in rows],
                padding=True,
                truncation="only_second",
                max_length=max_length,
                return_tensors="pt",
            ).to(self.device)
            scores[rows] = self(**batch).logits.squeeze(-1).sigmoid().float().cpu()
        return scores

    def rank(self, query: str, documents: List[str], top_k: Optional[int] = None, use: str = "default", **kwargs):
        scores = self.predict([(query, d) for d in documents], **kwargs)
        limit = self.thresholds.get(use, 0.5)
        best = scores.argsort(descending=True)[: top_k or len(documents)]
        return [
            {"index": int(i), "score": float(scores[i]), "relevant": bool(scores[i] >= limit)} for i in best
        ]
