from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple, Union

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from transformers import Qwen2Model
from transformers.modeling_attn_mask_utils import _prepare_4d_attention_mask
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_quillwort import QuillwortConfig
from .latent_pooling import LatentPooler, last_token, masked_mean

try:
    from tqdm.auto import trange
except ImportError:
    trange = range

logger = logging.get_logger(__name__)


@dataclass
class QuillwortEmbeddingOutput(ModelOutput):
    sentence_embeddings: torch.FloatTensor = None
    last_hidden_state: Optional[torch.FloatTensor] = None
    hidden_states: Optional[Tuple[torch.FloatTensor, ...]] = None


class BidirectionalQwen2Model(Qwen2Model):
    """Qwen2 without the causal restriction."""

    def __init__(self, config):
        super().__init__(config)
        for layer in self.layers:
            layer.self_attn.is_causal = False

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None, **kwargs):
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if attention_mask is None:
            attention_mask = torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        if attention_mask.dim() == 2:
            attention_mask = _prepare_4d_attention_mask(attention_mask, inputs_embeds.dtype)
        kwargs["use_cache"] = False
        return super().forward(attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs)


class QuillwortPreTrainedModel(PreTrainedModel):
    config_class = QuillwortConfig
    base_model_prefix = "embedding_model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Qwen2DecoderLayer", "LatentPooler"]
    _supports_sdpa = True
    _supports_flash_attn_2 = False

    def _init_weights(self, module):
        std = getattr(self.config.text_config, "initializer_range", 0.02)
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=std)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()
        elif isinstance(module, nn.LayerNorm):
            module.weight.data.fill_(1.0)
            module.bias.data.zero_()
        elif isinstance(module, LatentPooler):
            module.latents.data.normal_(mean=0.0, std=1.0)


class QuillwortEmbeddingModel(QuillwortPreTrainedModel):
    def __init__(self, config: QuillwortConfig):
        super().__init__(config)
        self.embedding_model = BidirectionalQwen2Model(config.text_config)
        self.latent_attention_model = LatentPooler(config.latent_config) if config.pooling == "latent" else None
        self.tokenizer = None
        self.padding_side = config.padding_side
        self.is_mask_instruction = config.is_mask_instruction
        self.post_init()

    def get_input_embeddings(self):
        return self.embedding_model.embed_tokens

    def set_input_embeddings(self, value):
        self.embedding_model.embed_tokens = value

    def gradient_checkpointing_enable(self, *args, **kwargs):
        self.embedding_model.gradient_checkpointing_enable(*args, **kwargs)

    def add_tokenizer(self, tokenizer):
        # kept out of __init__ so that from_pretrained works without tokenizer files
        self.tokenizer = tokenizer
        self.tokenizer.padding_side = self.padding_side
        return self

    def _pool_mask(self, attention_mask, instruction_lens):
        if instruction_lens is None or not self.is_mask_instruction:
            return attention_mask
        mask = attention_mask.clone()
        for i, n in enumerate(instruction_lens):
            if self.padding_side == "left":
                start = int((attention_mask[i] == 0).sum())
                mask[i, start : start + int(n)] = 0
            else:
                mask[i, : int(n)] = 0
        return mask

    def forward(
        self,
        input_ids: Optional[torch.LongTensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        inputs_embeds: Optional[torch.FloatTensor] = None,
        instruction_lens: Optional[List[int]] = None,
        output_hidden_states: Optional[bool] = None,
        truncate_dim: Optional[int] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, QuillwortEmbeddingOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        if attention_mask is None:
            ref = input_ids if input_ids is not None else inputs_embeds[..., 0]
            attention_mask = torch.ones_like(ref, dtype=torch.long)

        outputs = self.embedding_model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            output_hidden_states=output_hidden_states,
            return_dict=True,
        )
        hidden = outputs.last_hidden_state
        pool_mask = self._pool_mask(attention_mask, instruction_lens)
        if self.latent_attention_model is not None:
            embeds = self.latent_attention_model(hidden, pool_mask)
        elif self.config.pooling == "mean":
            embeds = masked_mean(hidden, pool_mask)
        else:
            embeds = last_token(hidden, pool_mask)

        if truncate_dim is not None:
            if self.config.matryoshka_dims and truncate_dim not in self.config.matryoshka_dims:
                logger.warning_once(f"{truncate_dim} was not among the trained sizes {self.config.matryoshka_dims}")
            embeds = embeds[:, :truncate_dim]
        if self.config.normalize:
            embeds = F.normalize(embeds, p=2, dim=-1)
        if not return_dict:
            return (embeds, hidden)
        return QuillwortEmbeddingOutput(
            sentence_embeddings=embeds, last_hidden_state=hidden, hidden_states=outputs.hidden_states
        )

    def _tokenize(self, texts: List[str], prompt: str, max_length: int) -> Dict[str, torch.Tensor]:
        if self.tokenizer is None:
            raise ValueError("call `add_tokenizer` first")
        batch = self.tokenizer(
            [prompt + t + self.tokenizer.eos_token for t in texts],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        )
        n = len(self.tokenizer(prompt)["input_ids"]) if prompt else 0
        batch = {k: v.to(self.device) for k, v in batch.items() if k in ("input_ids", "attention_mask")}
        batch["instruction_lens"] = [n] * len(texts)
        return batch

    @torch.no_grad()
    def encode(
        self,
        texts: Union[str, List[str]],
        task: str = "document",
        batch_size: int = 16,
        max_length: int = 4096,
        truncate_dim: Optional[int] = None,
        convert_to_numpy: bool = False,
        show_progress_bar: bool = False,
    ) -> Union[torch.Tensor, np.ndarray]:
        single = isinstance(texts, str)
        texts = [texts] if single else texts
        prompt = self.config.prompts.get(task, "")
        order = np.argsort([-len(t) for t in texts])
        chunks = []
        it = trange(0, len(texts), batch_size) if show_progress_bar else range(0, len(texts), batch_size)
        for start in it:
            batch = self._tokenize([texts[i] for i in order[start : start + batch_size]], prompt, max_length)
            chunks.append(self(**batch, truncate_dim=truncate_dim).sentence_embeddings.float().cpu())
        out = torch.cat(chunks)[torch.from_numpy(np.argsort(order))]
        out = out[0] if single else out
        return out.numpy() if convert_to_numpy else out

    @staticmethod
    def similarity(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
