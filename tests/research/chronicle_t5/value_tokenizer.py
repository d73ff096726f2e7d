"""Mean scaling + uniform bins."""
from dataclasses import dataclass
from typing import Optional, Tuple

import torch


@dataclass
class BinSpec:
    low_limit: float
    high_limit: float
    n_tokens: int
    n_special_tokens: int = 2
    pad_token_id: int = 0
    eos_token_id: int = 1


class MeanScaleUniformBins:
    def __init__(self, spec: BinSpec) -> None:
        self.spec = spec
        n = spec.n_tokens - spec.n_special_tokens - 1
        self.centers = torch.linspace(spec.low_limit, spec.high_limit, n)
        self.boundaries = torch.concat(
            (
                torch.tensor([-1e20]),
                (self.centers[1:] + self.centers[:-1]) / 2,
                torch.tensor([1e20]),
            )
        )

    def scale_of(self, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        scale = torch.nansum(torch.abs(context) * mask, dim=-1) / torch.nansum(mask, dim=-1)
        scale[~(scale > 0)] = 1.0
        return scale

    def encode(self, context: torch.Tensor, scale: Optional[torch.Tensor] = None) -> Tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mask = ~torch.isnan(context)
        if scale is None:
            scale = self.scale_of(context, mask)
        scaled = context / scale.unsqueeze(-1)
        ids = torch.bucketize(scaled, self.boundaries.to(scaled.device), right=True) + self.spec.n_special_tokens
        ids.clamp_(0, self.spec.n_tokens - 1)
        ids[~mask] = self.spec.pad_token_id
        eos = torch.full((ids.shape[0], 1), self.spec.eos_token_id, dtype=ids.dtype, device=ids.device)
        ids = torch.concat((ids, eos), dim=1)
        mask = torch.concat((mask, torch.ones_like(eos, dtype=torch.bool)), dim=1)
        return ids, mask, scale

    def decode(self, samples: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        idx = torch.clamp(samples - self.spec.n_special_tokens - 1, min=0, max=len(self.centers) - 1)
        return self.centers.to(samples.device)[idx] * scale.unsqueeze(-1).unsqueeze(-1)

    def left_pad(self, series):
        n = max(len(s) for s in series)
        out = torch.full((len(series), n), float("nan"))
        for row, s in zip(out, series):
            row[n - len(s):] = torch.as_tensor(s, dtype=torch.float32)
        return out
