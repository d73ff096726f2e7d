from dataclasses import dataclass
from typing import List, Optional, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from .dunlin_config import DunlinConfig
from .losses import nested, spread


@dataclass
class DunlinOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    embeddings: Optional[torch.FloatTensor] = None
    last_hidden_state: Optional[torch.FloatTensor] = None


class SideProjection(nn.Module):
    """Query and passage get a small residual map each."""

    def __init__(self, size):
        super().__init__()
        self.query = nn.Linear(size, size)
        self.passage = nn.Linear(size, size)

    def forward(self, x, side):
        if side not in ("query", "passage"):
            raise ValueError(f"side is query or passage, not {side!r}")
        return x + torch.tanh(getattr(self, side)(x))


class DunlinModel(PreTrainedModel):
    config_class = DunlinConfig
    base_model_prefix = "dunlin"
    main_input_name = "input_ids"

    def __init__(self, config: DunlinConfig):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=0)
        self.places = nn.Embedding(config.positions, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.blocks = nn.ModuleList(
            [
                nn.TransformerEncoderLayer(
                    config.hidden_size,
                    config.heads,
                    config.feedforward,
                    dropout=config.dropout,
                    activation="gelu",
                    batch_first=True,
                    norm_first=True,
                )
                for _ in range(config.layers)
            ]
        )
        self.final = nn.LayerNorm(config.hidden_size)
        self.side = SideProjection(config.hidden_size)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            nn.init.xavier_uniform_(module.in_proj_weight)
            nn.init.zeros_(module.in_proj_bias)

    def get_input_embeddings(self):
        return self.words

    def set_input_embeddings(self, value):
        self.words = value

    def pool(self, x, mask):
        weight = mask[..., None].to(x.dtype)
        return (x * weight).sum(1) / weight.sum(1).clamp(min=1.0)

    def hidden(self, input_ids, attention_mask):
        where = torch.arange(input_ids.shape[1], device=input_ids.device)
        x = self.norm(self.words(input_ids) + self.places(where)[None])
        ignore = attention_mask == 0
        for block in self.blocks:
            x = block(x, src_key_padding_mask=ignore)
        return self.final(x)

    def forward(
        self,
        input_ids: torch.LongTensor,
        attention_mask: Optional[torch.Tensor] = None,
        passage_ids: Optional[torch.LongTensor] = None,
        passage_mask: Optional[torch.Tensor] = None,
        side: Optional[str] = None,
        **kwargs,
    ) -> DunlinOutput:
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        side = side or ("query" if passage_ids is not None else self.config.side)
        x = self.hidden(input_ids, attention_mask)
        embeddings = self.side(self.pool(x, attention_mask), side)
        loss = None
        if passage_ids is not None:
            if passage_mask is None:
                passage_mask = torch.ones_like(passage_ids)
            passages = self.side(self.pool(self.hidden(passage_ids, passage_mask), passage_mask), "passage")
            loss = nested(embeddings, passages, self.config.matryoshka, self.config.scale)
            loss = loss + 0.01 * spread(passages)
        return DunlinOutput(loss=loss, embeddings=F.normalize(embeddings, dim=-1), last_hidden_state=x)

    @torch.no_grad()
    def encode(
        self, texts: Union[str, List[str]], tokenizer, side="passage", size: Optional[int] = None, batch_size=64
    ) -> np.ndarray:
        single = isinstance(texts, str)
        texts = [texts] if single else list(texts)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        out = [None] * len(texts)
        for start in range(0, len(order), batch_size):
            some = order[start: start + batch_size]
            enc = tokenizer(
                [texts[i] for i in some],
                padding=True,
                truncation=True,
                max_length=self.config.positions,
                return_tensors="pt",
            ).to(self.device)
            vectors = self(enc["input_ids"], enc["attention_mask"], side=side).embeddings
            if size is not None:
                vectors = F.normalize(vectors[:, :size], dim=-1)
            for i, v in zip(some, vectors.float().cpu().numpy()):
                out[i] = v
        return out[0] if single else np.stack(out)
