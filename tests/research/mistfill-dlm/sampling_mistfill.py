"""The reverse process: from a text of masks to a text."""
from dataclasses import dataclass
from typing import Callable, List, Optional

import torch
import torch.nn.functional as F
from transformers.utils import ModelOutput


@dataclass
class MistfillSamples(ModelOutput):
    sequences: torch.LongTensor = None
    history: Optional[List[torch.LongTensor]] = None
    nfe: int = None


def gumbel_argmax(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    if temperature == 0:
        return logits.argmax(dim=-1)
    # in double, otherwise the tail of the noise is cut off
    logits = logits.to(torch.float64)
    noise = -torch.log(-torch.log(torch.rand_like(logits).clamp_(1e-20, 1.0)))
    return (logits / temperature + noise).argmax(dim=-1)


def transfer_counts(mask_index: torch.Tensor, steps: int) -> torch.Tensor:
    """How many places are filled in each step, as evenly as it goes: [B, steps]"""
    total = mask_index.sum(dim=1, keepdim=True)
    base, rest = total // steps, total % steps
    counts = base.expand(-1, steps).clone()
    counts += (torch.arange(steps, device=mask_index.device)[None] < rest).to(counts.dtype)
    return counts


def confidence(logits: torch.Tensor, picked: torch.Tensor, how: str) -> torch.Tensor:
    if how == "random":
        return torch.rand(picked.shape, device=picked.device)
    probs = F.softmax(logits.float(), dim=-1)
    if how == "low_confidence":
        return probs.gather(-1, picked.unsqueeze(-1)).squeeze(-1)
    if how == "margin":
        top2 = probs.topk(2, dim=-1).values
        return top2[..., 0] - top2[..., 1]
    if how == "entropy":
        return (probs * probs.clamp_min(1e-12).log()).sum(-1)
    raise NotImplementedError(how)


@torch.no_grad()
def reverse_process(
    forward_fn: Callable,
    prompt: torch.LongTensor,
    mask_id: int,
    gen_length: int = 32,
    block_length: int = 32,
    steps: int = 32,
    temperature: float = 0.0,
    cfg_scale: float = 0.0,
    how: str = "low_confidence",
    keep_history: bool = False,
    attention_mask: Optional[torch.Tensor] = None,
):
    B, P = prompt.shape
    assert gen_length % block_length == 0, "gen_length has to be a multiple of block_length"
    blocks = gen_length // block_length
    steps_per_block = max(1, steps // blocks)

    x = torch.full((B, P + gen_length), mask_id, dtype=torch.long, device=prompt.device)
    x[:, :P] = prompt
    given = torch.zeros_like(x, dtype=torch.bool)
    given[:, :P] = True
    if attention_mask is not None:
        attention_mask = torch.cat([attention_mask, attention_mask.new_ones(B, gen_length)], dim=1)

    history, nfe = [], 0
    for b in range(blocks):
        lo, hi = P + b * block_length, P + (b + 1) * block_length
        counts = transfer_counts(x[:, lo:hi] == mask_id, steps_per_block)
        for s in range(steps_per_block):
            masked = x == mask_id
            if cfg_scale > 0.0:
                un_x = x.masked_fill(given, mask_id)
                am = None if attention_mask is None else torch.cat([attention_mask, attention_mask])
                logits, un_logits = forward_fn(torch.cat([x, un_x]), am).chunk(2, dim=0)
                logits = un_logits + (cfg_scale + 1) * (logits - un_logits)
            else:
                logits = forward_fn(x, attention_mask)
            nfe += 1
            logits[..., mask_id] = torch.finfo(logits.dtype).min
            x0 = gumbel_argmax(logits, temperature)
            conf = confidence(logits, x0, how)
            conf[:, hi:] = float("-inf")
            conf = conf.masked_fill(~masked, float("-inf"))
            for i in range(B):
                n = int(counts[i, s])
                if n:
                    at = conf[i].topk(n).indices
                    x[i, at] = x0[i, at]
            if keep_history:
                history.append(x.clone())
    return MistfillSamples(sequences=x, history=history if keep_history else None, nfe=nfe)
