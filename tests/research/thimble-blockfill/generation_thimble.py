"""Filling of blocks, from the surest token to the least sure one."""
import copy
import warnings
from dataclasses import dataclass
from typing import Optional

import torch
import torch.nn.functional as F
from transformers import GenerationConfig
from transformers.utils import ModelOutput, is_torchdynamo_compiling


@dataclass
class FillOutput(ModelOutput):
    sequences: torch.LongTensor = None
    history: Optional[tuple] = None


class ThimbleGenerationConfig(GenerationConfig):
    def __init__(self, **kwargs):
        self.steps = kwargs.pop("steps", 4)
        self.block_length = kwargs.pop("block_length", None)
        self.confidence = kwargs.pop("confidence", "prob")
        self.output_history = kwargs.pop("output_history", False)
        super().__init__(**kwargs)


def sample(logits, temperature, top_p=None):
    if temperature and temperature > 0:
        logits = logits / temperature
        if top_p is not None and top_p < 1:
            order = logits.sort(dim=-1, descending=True)
            cut = F.softmax(order.values, dim=-1).cumsum(-1) - F.softmax(order.values, dim=-1) > top_p
            logits = logits.masked_fill(cut.scatter(-1, order.indices, cut), torch.finfo(logits.dtype).min)
        probs = F.softmax(logits, dim=-1)
        picked = torch.multinomial(probs.flatten(0, -2), 1).view(probs.shape[:-1])
    else:
        probs = F.softmax(logits, dim=-1)
        picked = probs.argmax(-1)
    return picked, probs.gather(-1, picked.unsqueeze(-1)).squeeze(-1), probs


class BlockFiller:
    @torch.no_grad()
    def generate(self, inputs=None, generation_config: Optional[ThimbleGenerationConfig] = None, **kwargs):
        prompt = inputs if inputs is not None else kwargs.pop("input_ids")
        attention_mask = kwargs.pop("attention_mask", None)
        config, unused = self._fill_config(generation_config, **kwargs)
        if unused:
            warnings.warn(f"not used in filling: {sorted(unused)}")
        length = config.max_new_tokens or (config.max_length - prompt.shape[1])
        block = config.block_length or self.config.block_length
        mask_id = self.config.mask_token_id
        x = F.pad(prompt, (0, length), value=mask_id)
        if attention_mask is not None:
            attention_mask = F.pad(attention_mask, (0, length), value=1)
        history = []
        for start in range(prompt.shape[1], x.shape[1], block):
            end = min(start + block, x.shape[1])
            for step in range(config.steps):
                holes = x == mask_id
                holes[:, end:] = False
                if not holes.any():
                    break
                logits = self(input_ids=x, attention_mask=attention_mask).logits
                # the head sees the token before, as the model it began from
                logits = torch.cat([logits[:, :1], logits[:, :-1]], dim=1)
                picked, sure, probs = sample(logits, config.temperature if config.do_sample else 0.0, config.top_p)
                if config.confidence == "entropy":
                    sure = (probs * probs.clamp(min=1e-9).log()).sum(-1)
                sure = sure.masked_fill(~holes, float("-inf"))
                count = max(1, -(-int(holes.sum(1).max()) // (config.steps - step)))
                chosen = sure.topk(count, dim=1).indices
                write = torch.zeros_like(holes).scatter_(1, chosen, True) & holes
                x = torch.where(write, picked, x)
                if config.output_history:
                    history.append(x.clone())
        if config.return_dict_in_generate:
            return FillOutput(sequences=x, history=tuple(history))
        return x

    def _fill_config(self, generation_config, **kwargs):
        if generation_config is None:
            generation_config = ThimbleGenerationConfig.from_model_config(self.config)
        elif not is_torchdynamo_compiling():
            generation_config = copy.deepcopy(generation_config)
        unused = generation_config.update(**kwargs)
        return generation_config, unused
