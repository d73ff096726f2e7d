import copy
import warnings
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple, Union

import torch
import torch.distributions as dists
from torch.nn import functional as F
from transformers import __version__
from transformers.generation.configuration_utils import GenerationConfig
from transformers.utils import ModelOutput, is_torchdynamo_compiling, logging

logger = logging.get_logger(__name__)


def top_p_logits(logits, top_p=None):
    sorted_logits, sorted_indices = torch.sort(logits, descending=True)
    cumulative_probs = torch.cumsum(F.softmax(sorted_logits, dim=-1), dim=-1)
    remove = cumulative_probs > top_p
    remove[..., 1:] = remove[..., :-1].clone()
    remove[..., 0] = 0
    mask = torch.zeros_like(logits, dtype=torch.bool).scatter_(-1, sorted_indices, remove)
    return logits.masked_fill(mask, torch.finfo(logits.dtype).min)


def sample_tokens(logits, temperature=0.0, top_p=None, margin_confidence=False, neg_entropy=False):
    if temperature > 0:
        logits = logits / temperature
    if top_p is not None and top_p < 1:
        logits = top_p_logits(logits, top_p)
    probs = torch.softmax(logits, dim=-1)
    if temperature > 0:
        x0 = dists.Categorical(probs=probs).sample()
        confidence = torch.gather(probs, -1, x0.unsqueeze(-1)).squeeze(-1)
    else:
        confidence, x0 = probs.max(dim=-1)
    if margin_confidence:
        s, _ = torch.sort(probs, dim=-1, descending=True)
        confidence = s[:, 0] - s[:, 1]
    if neg_entropy:
        confidence = torch.sum(probs * torch.log(probs + 1e-10), dim=-1)
    return confidence, x0


@dataclass
class NightjarModelOutput(ModelOutput):
    sequences: torch.LongTensor = None
    history: Optional[Tuple[torch.FloatTensor]] = None


class NightjarGenerationConfig(GenerationConfig):
    def __init__(self, **kwargs):
        self.temperature: float = kwargs.pop("temperature", 0.0)
        self.top_p: Optional[float] = kwargs.pop("top_p", None)
        self.top_k: Optional[int] = kwargs.pop("top_k", None)
        self.max_length = kwargs.pop("max_length", 20)
        self.max_new_tokens = kwargs.pop("max_new_tokens", None)
        # diffusion specific params
        self.eps: float = kwargs.pop("eps", 1e-3)
        self.steps: int = kwargs.pop("steps", 8)
        self.alg: str = kwargs.pop("alg", "maskgit_plus")
        self.alg_temp: Optional[float] = kwargs.pop("alg_temp", None)
        # Parameters that define the output variables of `generate`
        self.num_return_sequences: int = kwargs.pop("num_return_sequences", 1)
        self.return_dict_in_generate: bool = kwargs.pop("return_dict_in_generate", False)
        self.output_history: bool = kwargs.pop("output_history", False)
        # Special tokens that can be used at generation time
        self.mask_token_id = kwargs.pop("mask_token_id", None)
        self.pad_token_id = kwargs.pop("pad_token_id", None)
        self.bos_token_id = kwargs.pop("bos_token_id", None)
        self.eos_token_id = kwargs.pop("eos_token_id", None)
        # Wild card
        self.generation_kwargs = kwargs.pop("generation_kwargs", {})
        self._from_model_config = kwargs.pop("_from_model_config", False)
        self._commit_hash = kwargs.pop("_commit_hash", None)
        self.transformers_version = kwargs.pop("transformers_version", __version__)
        if not self._from_model_config:
            for key, value in kwargs.items():
                try:
                    setattr(self, key, value)
                except AttributeError as err:
                    logger.error(f"Can't set {key} with value {value} for {self}")
                    raise err
        self.validate(is_init=True)

    def validate(self, is_init=False):
        pass


class NightjarGenerationMixin:
    def _prepare_generation_config(self, generation_config: Optional[GenerationConfig], **kwargs):
        using_model_generation_config = False
        if generation_config is None:
            generation_config = NightjarGenerationConfig.from_model_config(self.config)
            using_model_generation_config = True
        if not is_torchdynamo_compiling():
            generation_config = copy.deepcopy(generation_config)
            generation_config.update(**kwargs)
            if not using_model_generation_config:
                for k in ("bos_token_id", "eos_token_id", "pad_token_id", "mask_token_id"):
                    if getattr(generation_config, k, None) is None:
                        setattr(generation_config, k, getattr(self.generation_config, k))
        if generation_config.mask_token_id is None:
            generation_config.mask_token_id = self.config.mask_token_id
        return generation_config

    def _prepare_generated_length(self, generation_config, has_default_max_length, input_ids_length):
        if generation_config.max_new_tokens is not None:
            generation_config.max_length = generation_config.max_new_tokens + input_ids_length
        elif has_default_max_length:
            generation_config.max_length = min(generation_config.max_length + input_ids_length,
                                               self.config.max_position_embeddings)
        return generation_config

    @torch.no_grad()
    def generate(self, input_ids=None, generation_config: Optional[NightjarGenerationConfig] = None, **kwargs):
        attention_mask = kwargs.pop("attention_mask", None)
        kwargs.pop("do_sample", None)
        generation_config = self._prepare_generation_config(generation_config, **kwargs)
        has_default_max_length = kwargs.get("max_length") is None and generation_config.max_length is not None
        generation_config = self._prepare_generated_length(generation_config, has_default_max_length,
                                                           input_ids.shape[-1])
        return self._sample(input_ids, attention_mask, generation_config)

    def _sample(self, input_ids, attention_mask, generation_config):
        c = generation_config
        steps = getattr(c, "steps", 8)
        eps, alg = getattr(c, "eps", 1e-3), getattr(c, "alg", "maskgit_plus")
        x = F.pad(input_ids, (0, c.max_length - input_ids.shape[1]), value=c.mask_token_id)
        timesteps = torch.linspace(1, eps, steps + 1, device=x.device)
        histories = []
        for i in range(steps):
            mask_index = x == c.mask_token_id
            if not mask_index.any():
                break
            logits = self(x).logits
            logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)
            mask_logits = logits[mask_index]
            t, s = timesteps[i], timesteps[i + 1]
            confidence, x0 = sample_tokens(mask_logits, getattr(c, "temperature", 0.0) or 0.0 if alg == "origin" else 0.0,
                                           neg_entropy=alg == "entropy", margin_confidence=alg == "topk_margin")
            num_mask_token = mask_index.sum() / mask_index.shape[0]
            n = int(num_mask_token * (1 - s / t)) if i < steps - 1 else int(num_mask_token)
            if n > 0:
                _, transfer_index = torch.topk(confidence, n)
                x0_ = torch.zeros_like(x0) + c.mask_token_id
                x0_[transfer_index] = x0[transfer_index].clone()
                x[mask_index] = x0_
            histories.append(x.clone())
        if getattr(c, "return_dict_in_generate", False):
            return NightjarModelOutput(sequences=x, history=tuple(histories))
        return x
