"""Forecasts of pandas-like tables, without pandas."""
from typing import Dict, List, Optional, Sequence

import torch

FREQUENCIES = {"H": 0, "T": 0, "D": 0, "B": 0, "W": 1, "M": 1, "Q": 2, "Y": 2}


class OrreryPipeline:
    def __init__(self, model, batch_size: int = 64):
        self.model = model.eval()
        self.batch_size = batch_size

    @classmethod
    def from_pretrained(cls, name: str, **kwargs) -> "OrreryPipeline":
        from transformers import AutoModel

        return cls(AutoModel.from_pretrained(name, trust_remote_code=True, **kwargs))

    def _batch(self, series: Sequence[Sequence[float]]) -> torch.Tensor:
        longest = max(len(s) for s in series)
        batch = torch.full((len(series), longest), float("nan"))
        for i, s in enumerate(series):
            batch[i, longest - len(s) :] = torch.as_tensor(s, dtype=torch.float32)
        return batch.to(self.model.device)

    def predict(self, series: List[Sequence[float]], steps: int, freq: str = "D") -> List[Dict[str, List[float]]]:
        rows = []
        quantiles = [f"{q:g}" for q in self.model.config.quantiles]
        for start in range(0, len(series), self.batch_size):
            batch = self._batch(series[start : start + self.batch_size])
            code = torch.full((batch.shape[0],), FREQUENCIES.get(freq.upper()[:1], 0), device=batch.device)
            output = self.model.forecast(batch, steps, freq=code)
            for mean, q in zip(output.mean_preds, output.quantile_preds):
                row = {"mean": mean.tolist()}
                row.update({name: q[:, i].tolist() for i, name in enumerate(quantiles)})
                rows.append(row)
        return rows
