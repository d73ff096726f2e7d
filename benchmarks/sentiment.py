"""sentiment_model against the naive LSTM that runs over padding, in one run: python benchmarks/sentiment.py

The naive one is the usual textbook model with as many weights: whole rows, both directions in one call, and the last
step of the batch. It reads padding, so its logits are not those of the texts alone.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from sentiment_model import modeling_sentiment
from sentiment_model.configuration_sentiment import SentimentConfig
from sentiment_model.modeling_sentiment import SentimentAnalyzer

PAIRS = 9
BATCHES = {
    "padded": [16, 64, 150, 220, 280, 340, 400, 512, 512, 330],
    "long tail": [*[16 + 4 * i for i in range(15)], 512],
    "full": [256] * 8,
}


class Naive(nn.Module):
    """Embedding, nn.LSTM, the last step, a classifier."""

    def __init__(self, like: SentimentAnalyzer):
        super().__init__()
        self.embedding, self.classifier = like.sentiment.embedding, like.classifier
        width, hidden, layers = like.config.embedding_dim, like.config.hidden_dim, like.config.num_layers
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=True)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.lstm(self.embedding(ids))[0][:, -1])


def main() -> None:
    torch.manual_seed(0)
    model = SentimentAnalyzer(SentimentConfig(dropout=0.0))
    naive = Naive(model)
    print(
        f"{platform.machine()}, {torch.get_num_threads()} threads, float32, torch {torch.__version__}, transformers "
        f"{transformers.__version__}, medians of {PAIRS} alternating pairs, {model.num_parameters() / 1e6:.1f} M "
        "parameters (the defaults)"
    )
    for name, lengths in BATCHES.items():
        mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
        ids = torch.randint(1, 10000, mask.shape) * mask

        chosen = modeling_sentiment.is_packed
        for path, rule in (("as it chooses", chosen), ("always packed", lambda *_: True)):
            modeling_sentiment.is_packed = rule
            for kind in ("forward", "training step"):
                functions = (lambda i=ids, m=mask: model(i, attention_mask=m).logits, lambda i=ids: naive(i))
                ours, naives = median_seconds(functions, kind != "forward")
                case = f"{name} (fill {mask.float().mean().item():.2f}), {kind}, {path}:"
                print(f"  {case:<52} {naives * 1e3:5.0f} -> {ours * 1e3:5.0f} ms {naives / ours:6.2f}x", flush=True)
        modeling_sentiment.is_packed = chosen


def median_seconds(functions: tuple[Callable[[], torch.Tensor], ...], training: bool) -> list[float]:
    """Median seconds of functions that take turns, after a round to warm up."""
    seconds: list[list[float]] = [[] for _ in functions]
    for turn in range(PAIRS + 1):
        for function, measured in zip(functions, seconds, strict=True):
            started = time.perf_counter()
            with torch.set_grad_enabled(training):
                logits = function()
                if training:
                    logits.square().sum().backward()
            if turn:
                measured.append(time.perf_counter() - started)
    return [statistics.median(measured) for measured in seconds]


if __name__ == "__main__":
    main()
