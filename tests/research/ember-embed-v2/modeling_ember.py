"""Ember: Qwen3, read in both directions, gives one vector per text."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.qwen3.modeling_qwen3 import (
    Qwen3Attention,
    Qwen3DecoderLayer,
    Qwen3Model,
    Qwen3PreTrainedModel,
)
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs

from .configuration_ember import EmberConfig
from .pooling import Pool


@dataclass
class EmberOutput(ModelOutput):
    loss: torch.FloatTensor | None = None
    embeddings: torch.FloatTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None


class EmberAttention(Qwen3Attention):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.is_causal = False


class EmberLayer(Qwen3DecoderLayer):
    def __init__(self, config, layer_idx):
        super().__init__(config, layer_idx)
        self.self_attn = EmberAttention(config, layer_idx)


class EmberPreTrainedModel(Qwen3PreTrainedModel):
    config: EmberConfig
    config_class = EmberConfig
    _no_split_modules = ["EmberLayer"]
    _can_record_outputs = {"hidden_states": EmberLayer, "attentions": EmberAttention}

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        if isinstance(module, Pool) and module.kind == "weighted":
            init.zeros_(module.score.weight)
            init.zeros_(module.score.bias)


class EmberBackbone(EmberPreTrainedModel):
    def __init__(self, config: EmberConfig):
        super().__init__(config)
        inner = Qwen3Model(config)
        self.embed_tokens = inner.embed_tokens
        self.layers = nn.ModuleList([EmberLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = inner.norm
        self.rotary_emb = inner.rotary_emb
        self.gradient_checkpointing = False
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, inputs_embeds=None,
                **kwargs: Unpack[TransformersKwargs]):
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = torch.arange(x.shape[1], device=x.device).unsqueeze(0)
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=x, attention_mask=attention_mask)
        tables = self.rotary_emb(x, position_ids)
        for layer in self.layers:
            x = layer(x, attention_mask=mask, position_ids=position_ids, position_embeddings=tables, **kwargs)
        return BaseModelOutput(last_hidden_state=self.norm(x))


class EmberEmbedder(EmberPreTrainedModel):
    def __init__(self, config: EmberConfig):
        super().__init__(config)
        self.model = EmberBackbone(config)
        self.pool = Pool(config.hidden_size, config.pooling)
        self.project = nn.Linear(config.hidden_size, config.output_width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6))
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        instruction_lengths: torch.LongTensor | None = None,
        width: int | None = None,
        return_loss: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> EmberOutput:
        if attention_mask is None:
            attention_mask = torch.ones(
                (input_ids if input_ids is not None else inputs_embeds).shape[:2], device=self.device, dtype=torch.long
            )
        states = self.model(input_ids, attention_mask, inputs_embeds=inputs_embeds, **kwargs).last_hidden_state
        vectors = self.project(self.pool(states, attention_mask, instruction_lengths))
        loss = self.nested_loss(vectors) if return_loss else None
        if width is not None:
            vectors = vectors[:, :width]
        return EmberOutput(loss=loss, embeddings=F.normalize(vectors, dim=-1), last_hidden_state=states)

    def nested_loss(self, vectors):
        """Rows are pairs of a question and its answer; each width has to do on its own."""
        total = vectors.new_zeros(())
        for width in self.config.nested_widths:
            part = F.normalize(vectors[:, :width], dim=-1)
            questions, answers = part[0::2], part[1::2]
            scores = self.logit_scale.exp() * questions @ answers.T
            total = total + F.cross_entropy(scores, torch.arange(scores.shape[0], device=scores.device))
        return total / len(self.config.nested_widths)

    @torch.inference_mode()
    def encode(self, texts, tokenizer, instruction="", width=None, batch_size=32):
        head = len(tokenizer(instruction)["input_ids"]) if instruction else 0
        rows = []
        for start in range(0, len(texts), batch_size):
            batch = tokenizer([instruction + t for t in texts[start:start + batch_size]], padding=True, return_tensors="pt")
            batch = {k: v.to(self.device) for k, v in batch.items() if k in ("input_ids", "attention_mask")}
            skip = torch.full((len(batch["input_ids"]),), head, device=self.device)
            rows.append(self(**batch, instruction_lengths=skip, width=width).embeddings.float().cpu())
        return torch.cat(rows)


__all__ = ["EmberEmbedder", "EmberBackbone", "EmberPreTrainedModel"]
