import math
import os
from functools import partial
from typing import List, Optional, Union

import numpy as np
import torch
import torch.nn.functional as F
import torch.nn.utils.parametrize as parametrize
from torch import nn
from transformers.utils import logging

from .configuration_quillfern import QuillfernConfig
from .modeling_quillfern import QuillfernModel, QuillfernPreTrainedModel
from .rotary import RotaryEmbedding  # noqa: F401

logger = logging.get_logger(__name__)


class LoRAParametrization(nn.Module):
    """
    Low-rank adapters of one weight, all tasks in one tensor. As a parametrization it is the identity: the weight
    of a task is asked for by `lora_forward`.
    """

    def __init__(self, fan_in, fan_out, is_embedding, num_adaptations, rank=4, dropout_p=0.0, alpha=1.0):
        super().__init__()
        # embeddings are (num, dim) and so the other way round
        fan_in_fan_out = is_embedding
        a_shape, b_shape = ((rank, fan_in), (fan_out, rank))
        if fan_in_fan_out:
            a_shape, b_shape = (fan_in, rank), (rank, fan_out)
        self.is_embedding = is_embedding
        self.lora_A = nn.Parameter(torch.zeros(num_adaptations, *a_shape))
        self.lora_B = nn.Parameter(torch.zeros(num_adaptations, *b_shape))
        self.reset_parameters()
        self.scaling = alpha / rank
        self.lora_dropout = nn.Dropout(dropout_p) if dropout_p > 0 else nn.Identity()

    def reset_parameters(self):
        if self.is_embedding:
            nn.init.zeros_(self.lora_A)
            nn.init.normal_(self.lora_B)
        else:
            nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
            nn.init.zeros_(self.lora_B)

    def lora_forward(self, weight, task):
        a, b = self.lora_A[task], self.lora_B[task]
        delta = torch.matmul(self.lora_dropout(a), b) if self.is_embedding else torch.matmul(b, self.lora_dropout(a))
        return weight + delta.view(weight.shape) * self.scaling

    def forward(self, weight):
        return weight

    @classmethod
    def add_to_layer(cls, layer, num_adaptations, rank, dropout_p, alpha):
        if isinstance(layer, nn.Linear):
            fan_out, fan_in = layer.weight.shape
            parametrize.register_parametrization(
                layer, "weight", cls(fan_in, fan_out, False, num_adaptations, rank, dropout_p, alpha)
            )

            def new_forward(self, x, task_id=None):
                weight = self.weight
                if task_id is not None:
                    weight = self.parametrizations.weight[0].lora_forward(weight, task_id)
                return F.linear(x, weight, self.bias)

        elif isinstance(layer, nn.Embedding):
            fan_in, fan_out = layer.weight.shape
            parametrize.register_parametrization(
                layer, "weight", cls(fan_in, fan_out, True, num_adaptations, rank, dropout_p, alpha)
            )

            def new_forward(self, x, task_id=None):
                weight = self.weight
                if task_id is not None:
                    weight = self.parametrizations.weight[0].lora_forward(weight, task_id)
                return F.embedding(x, weight, self.padding_idx)

        else:
            return
        layer.forward = new_forward.__get__(layer, layer.__class__)


class QuillfernLoRA(QuillfernPreTrainedModel):
    def __init__(self, config: QuillfernConfig, roberta: Optional[QuillfernModel] = None, add_pooling_layer=False):
        super().__init__(config)
        self.roberta = QuillfernModel(config, add_pooling_layer=add_pooling_layer) if roberta is None else roberta
        if not isinstance(config.lora_adaptations, list) or len(config.lora_adaptations) < 1:
            raise ValueError("`lora_adaptations` must be a list and contain at least one element")
        self._task_instructions = config.task_instructions or {}
        self._adaptation_map = {name: i for i, name in enumerate(config.lora_adaptations)}
        self.roberta.apply(
            partial(
                LoRAParametrization.add_to_layer,
                num_adaptations=len(config.lora_adaptations),
                rank=config.lora_rank,
                dropout_p=config.lora_dropout_p,
                alpha=config.lora_alpha,
            )
        )
        self.main_params_trainable = config.lora_main_params_trainable

    @property
    def main_params_trainable(self):
        return self._main_params_trainable

    @main_params_trainable.setter
    def main_params_trainable(self, val: bool):
        self._main_params_trainable = val
        for name, param in super().named_parameters():
            if "lora" not in name:
                param.requires_grad_(val)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Optional[Union[str, os.PathLike]],
        *model_args,
        config: Optional[QuillfernConfig] = None,
        rotary_emb_base: Optional[float] = None,
        use_flash_attn: Optional[bool] = None,
        **kwargs,
    ):
        if config is None:
            config = QuillfernConfig.from_pretrained(pretrained_model_name_or_path)
        if use_flash_attn is not None:
            config.use_flash_attn = use_flash_attn
        if rotary_emb_base is not None:
            config.rotary_emb_base = rotary_emb_base
        if config.load_trained_adapters:  # adapters are already in the checkpoint
            return super().from_pretrained(pretrained_model_name_or_path, *model_args, config=config, **kwargs)
        dtype = kwargs.get("torch_dtype", None)
        if dtype is None or dtype == "auto":
            kwargs["torch_dtype"] = config.torch_dtype
        return super().from_pretrained(
            pretrained_model_name_or_path, *model_args, config=config, use_safetensors=kwargs.pop("use_safetensors", None),
            **kwargs,
        )

    def get_input_embeddings(self):
        return self.roberta.get_input_embeddings()

    def _task_index(self, task):
        if task is None:
            return None
        if task not in self._adaptation_map:
            raise ValueError(f"Unsupported task '{task}'. Supported tasks are: {', '.join(self._adaptation_map)}.")
        return self._adaptation_map[task]

    def forward(self, input_ids, attention_mask=None, task: Optional[str] = "text-matching", **kwargs):
        return self.roberta(input_ids, attention_mask=attention_mask, task=self._task_index(task), **kwargs)

    def mean_pooling(self, token_embeddings, attention_mask):
        m = attention_mask.unsqueeze(-1).expand(token_embeddings.size()).float()
        return torch.sum(token_embeddings * m, 1) / torch.clamp(m.sum(1), min=1e-9)

    @torch.inference_mode()
    def encode(
        self,
        sentences: Union[str, List[str]],
        *,
        tokenizer=None,
        task: Optional[str] = None,
        batch_size: int = 32,
        convert_to_numpy: bool = True,
        normalize_embeddings: bool = True,
        truncate_dim: Optional[int] = None,
        **tokenizer_kwargs,
    ):
        """Embeddings of texts. `task` picks the adapter and, for retrieval, the instruction in front of the text."""
        is_training = self.training
        self.eval()
        if tokenizer is None:
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(self.name_or_path, trust_remote_code=True)
        single = isinstance(sentences, str)
        sentences = [sentences] if single else list(sentences)
        prefix = self._task_instructions.get(task, "") if task else ""
        order = np.argsort([-len(s) for s in sentences])
        tokenizer_kwargs = {"padding": True, "max_length": 8192, "truncation": True, **tokenizer_kwargs}
        chunks = []
        for i in range(0, len(sentences), batch_size):
            batch = [prefix + sentences[j] for j in order[i : i + batch_size]]
            enc = tokenizer(batch, return_tensors="pt", **tokenizer_kwargs).to(self.device)
            hidden = self.forward(enc["input_ids"], enc["attention_mask"], task=task)[0].float()
            chunks.append(self.mean_pooling(hidden, enc["attention_mask"]))
        out = torch.cat(chunks)[torch.from_numpy(np.argsort(order)).to(self.device)]
        truncate_dim = truncate_dim or self.config.truncate_dim
        if truncate_dim:
            if self.config.matryoshka_dimensions and truncate_dim not in self.config.matryoshka_dimensions:
                logger.warning(f"{truncate_dim} is not one of {self.config.matryoshka_dimensions}")
            out = out[:, :truncate_dim]
        if normalize_embeddings:
            out = F.normalize(out, p=2, dim=1)
        self.train(is_training)
        out = out.cpu().numpy() if convert_to_numpy else out
        return out[0] if single else out
