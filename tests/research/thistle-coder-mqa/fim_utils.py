"""Fill-in-the-middle formats. Only needs numpy, so that the data pipeline can import it too."""
from typing import List, Optional, Sequence, Tuple

import numpy as np

PSM = "psm"
SPM = "spm"


def build_fim_prompt(
    prefix_ids: Sequence[int],
    suffix_ids: Sequence[int],
    config,
    mode: str = PSM,
) -> List[int]:
    """prefix-suffix-middle (default) or suffix-prefix-middle order"""
    prefix_ids, suffix_ids = list(prefix_ids), list(suffix_ids)
    if mode == PSM:
        return (
            [config.fim_prefix_id] + prefix_ids + [config.fim_suffix_id] + suffix_ids + [config.fim_middle_id]
        )
    if mode == SPM:
        return (
            [config.fim_prefix_id, config.fim_suffix_id] + suffix_ids + [config.fim_middle_id] + prefix_ids
        )
    raise ValueError(f"unknown FIM mode {mode!r}")


def truncate_context(prefix_ids, suffix_ids, budget, prefix_share=0.6):
    # the text next to the cursor is worth more than the text far from it
    keep_p = min(len(prefix_ids), int(budget * prefix_share))
    keep_s = min(len(suffix_ids), budget - keep_p)
    keep_p = min(len(prefix_ids), budget - keep_s)
    return list(prefix_ids)[len(prefix_ids) - keep_p :], list(suffix_ids)[:keep_s]


def permute_document(
    ids: Sequence[int],
    config,
    rng: np.random.RandomState,
    fim_rate: float = 0.5,
    spm_rate: float = 0.5,
) -> List[int]:
    """The training-time transformation of one document."""
    ids = list(ids)
    if len(ids) < 3 or rng.binomial(1, fim_rate) == 0:
        return ids
    lo, hi = sorted(rng.randint(0, len(ids) + 1, size=2).tolist())
    prefix, middle, suffix = ids[:lo], ids[lo:hi], ids[hi:]
    mode = SPM if rng.binomial(1, spm_rate) else PSM
    return build_fim_prompt(prefix, suffix, config, mode=mode) + middle


def split_completion(ids: Sequence[int], config) -> Tuple[List[int], Optional[List[int]]]:
    ids = list(ids)
    if config.fim_middle_id not in ids:
        return ids, None
    at = len(ids) - 1 - ids[::-1].index(config.fim_middle_id)
    middle = ids[at + 1 :]
    stops = {config.eos_token_id, config.fim_pad_id, config.fim_prefix_id, config.fim_suffix_id}
    for i, t in enumerate(middle):
        if t in stops:
            middle = middle[:i]
            break
    return ids[: at + 1], middle
