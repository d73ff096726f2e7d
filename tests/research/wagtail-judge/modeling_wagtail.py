"""Wagtail: does this passage answer that question?"""
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Dict, List, Optional

import torch
from torch import nn
from transformers import AutoModel, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import logging

from .configuration_wagtail import WagtailConfig

logger = logging.get_logger(__name__)


class Recorder:
    """Keeps what the layers give; hooks live as long as the block that asked for them."""

    def __init__(self):
        self.seen: Dict[int, torch.Tensor] = {}

    def hook(self, number):
        def keep(module, args, output):
            self.seen[number] = output[0] if isinstance(output, tuple) else output

        return keep

    @contextmanager
    def on(self, layers, numbers):
        handles = [layers[n].register_forward_hook(self.hook(n)) for n in numbers]
        try:
            yield self
        finally:
            for handle in handles:
                handle.remove()


class Probe(nn.Module):
    """A few learned questions, each of which attends over the tokens."""

    def __init__(self, dim, heads, dropout):
        super().__init__()
        self.questions = nn.Parameter(torch.randn(heads, dim) * dim ** -0.5)
        self.norm = nn.LayerNorm(dim)
        self.mix = nn.Linear(heads * dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask):
        x = self.norm(x)
        scores = torch.einsum("btd,hd->bht", x, self.questions) / x.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask[:, None].bool(), torch.finfo(scores.dtype).min)
        pooled = torch.einsum("bht,btd->bhd", scores.softmax(-1), x)
        return torch.tanh(self.mix(self.dropout(pooled.flatten(1))))


@dataclass
class JudgeOutput(SequenceClassifierOutput):
    early_logits: Optional[torch.FloatTensor] = None


class WagtailPreTrainedModel(PreTrainedModel):
    config_class = WagtailConfig
    base_model_prefix = "backbone"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn_2 = True

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(0.0, 0.02)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, Probe):
            module.questions.data.normal_(0.0, module.questions.shape[-1] ** -0.5)


class WagtailJudge(WagtailPreTrainedModel):
    def __init__(self, config: WagtailConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        config.backbone_config._attn_implementation = config._attn_implementation
        self.backbone = AutoModel.from_config(config.backbone_config)
        self.backbone.config.use_cache = False
        self.early = Probe(config.hidden_size, config.probe_heads, config.dropout)
        self.late = Probe(config.hidden_size, config.probe_heads, config.dropout)
        self.score = nn.Linear(config.hidden_size, config.num_labels)
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("yes_bias", torch.tensor([0.0, config.yes_bias]), persistent=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.backbone.get_input_embeddings()

    def set_input_embeddings(self, value):
        self.backbone.set_input_embeddings(value)

    def _mask(self, input_ids, attention_mask):
        if attention_mask is not None:
            return attention_mask
        pad = self.config.pad_token_id
        return torch.ones_like(input_ids) if pad is None else input_ids.ne(pad).long()

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        labels: Optional[torch.LongTensor] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> JudgeOutput:
        mask = self._mask(input_ids, attention_mask)
        recorder = Recorder()
        exits: List[int] = [self.config.exit_layer - 1]
        with recorder.on(self.backbone.layers, exits):
            outputs = self.backbone(
                input_ids=input_ids, attention_mask=mask, position_ids=position_ids, inputs_embeds=inputs_embeds,
                use_cache=False, **kwargs,
            )
        late = self.score(self.late(outputs.last_hidden_state, mask)) / self.temperature + self.yes_bias
        early = self.score(self.early(recorder.seen[exits[0]], mask)) / self.temperature + self.yes_bias
        loss = None
        if labels is not None:
            loss = nn.functional.cross_entropy(late, labels) + 0.3 * nn.functional.cross_entropy(early, labels)
        return JudgeOutput(loss=loss, logits=late + 0.1 * early, early_logits=early, hidden_states=outputs.hidden_states)

    @torch.no_grad()
    def rank(self, tokenizer, question: str, passages: List[str], batch_size: int = 16) -> List[int]:
        scores: List[float] = []
        template = "question: {q}\npassage: {p}\nrelevant?"
        for start in range(0, len(passages), batch_size):
            texts = [template.format(q=question, p=p) for p in passages[start:start + batch_size]]
            batch = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").to(self.device)
            scores += self(**batch).logits.softmax(-1)[:, 1].tolist()
        return sorted(range(len(passages)), key=lambda i: -scores[i])
