from dataclasses import dataclass
from typing import Dict, List, Optional, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .bidirectional_llama import LlamaBiModel
from .configuration_pipit import PipitConfig
from .pooling import POOLERS, LatentPooler

logger = logging.get_logger(__name__)


@dataclass
class PipitOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    embeddings: Optional[torch.FloatTensor] = None
    last_hidden_state: Optional[torch.FloatTensor] = None


class PipitPreTrainedModel(PreTrainedModel):
    config_class = PipitConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ModifiedLlamaDecoderLayer"]
    _supports_flash_attn_2 = True
    _supports_sdpa = True

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)


class PipitEmbedModel(PipitPreTrainedModel):
    def __init__(self, config: PipitConfig):
        super().__init__(config)
        self.model = LlamaBiModel(config)
        if config.pooling_type == "latent":
            self.pool = LatentPooler(config.hidden_size)
        else:
            self.pool = POOLERS[config.pooling_type]
        self.proj = nn.Linear(config.hidden_size, config.proj_dim, bias=False) if config.proj_dim else nn.Identity()
        self.post_init()

    def get_input_embeddings(self):
        return self.model.embed_tokens

    def set_input_embeddings(self, value):
        self.model.embed_tokens = value

    def forward(self, input_ids=None, attention_mask=None, position_ids=None, inputs_embeds=None,
                pool_mask: Optional[torch.Tensor] = None, labels=None, return_dict=True, **kwargs):
        kwargs.pop("token_type_ids", None)
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                         inputs_embeds=inputs_embeds, use_cache=False, return_dict=True)
        h = out.last_hidden_state
        if attention_mask is None:
            attention_mask = torch.ones(h.shape[:2], device=h.device, dtype=torch.long)
        emb = self.pool(h, pool_mask if pool_mask is not None else attention_mask)
        emb = self.proj(emb)
        if self.config.normalize:
            emb = F.normalize(emb, dim=-1)
        loss = None
        if labels is not None:
            # in-batch: even rows are queries, odd rows their passages
            q, p = emb[0::2], emb[1::2]
            loss = F.cross_entropy(q @ p.T / self.config.temperature, torch.arange(len(q), device=q.device))
        return PipitOutput(loss=loss, embeddings=emb, last_hidden_state=h)

    @torch.no_grad()
    def encode(self, sentences: Union[str, List[str]], tokenizer, batch_size=32, max_length=512, instruction=None,
               convert_to_numpy=True, show_progress_bar=False):
        single = isinstance(sentences, str)
        if single:
            sentences = [sentences]
        prefix = self.config.instruction_prefix.format(instruction) if instruction else ""
        order = np.argsort([-len(s) for s in sentences])
        outs = [None] * len(sentences)
        for i in range(0, len(order), batch_size):
            idx = order[i:i + batch_size]
            feats = tokenizer([prefix + sentences[j] for j in idx], padding=True, truncation=True,
                              max_length=max_length, return_tensors="pt").to(self.device)
            mask = feats["attention_mask"].clone()
            if prefix:
                n = len(tokenizer(prefix)["input_ids"])
                mask[:, :n] = 0
            emb = self(**feats, pool_mask=mask).embeddings
            for j, e in zip(idx, emb.float().cpu()):
                outs[j] = e
        outs = torch.stack(outs)
        if convert_to_numpy:
            outs = outs.numpy()
        return outs[0] if single else outs

    def similarity(self, a, b):
        return a @ b.T
