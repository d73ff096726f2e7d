"""A tiny model folder that is not part of the repository, written where a test wants it."""

from pathlib import Path

CONFIGURATION = '''"""A bag of words, for tests."""

from transformers import PretrainedConfig


class TinyConfig(PretrainedConfig):
    model_type = "outside-tiny"

    def __init__(self, vocab_size=40, width=8, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size, self.width = vocab_size, width


TinyConfig.register_for_auto_class()
'''

LAYERS = '''"""The one layer."""

from torch import nn


class Mixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, width)

    def forward(self, x):
        return x + self.inner(x).tanh()
'''

MODELING = '''"""A bag of words with a head, for tests."""

from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from .configuration_tiny import TinyConfig
from .layers_tiny import Mixer


class TinyPreTrainedModel(PreTrainedModel):
    config_class = TinyConfig
    base_model_prefix = "tiny"

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.5)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


class TinyModel(TinyPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.mixer = Mixer(config.width)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        return BaseModelOutput(last_hidden_state=self.mixer(self.embedding(input_ids)))


class TinyForSequenceClassification(TinyPreTrainedModel):
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.tiny = TinyModel(config)
        self.classifier = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None):
        hidden = self.tiny(input_ids, attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(hidden) if attention_mask is not None else hidden.new_ones(())
        logits = self.classifier((hidden * mask).mean(1))
        loss = F.cross_entropy(logits, labels) if labels is not None else None
        return SequenceClassifierOutput(loss=loss, logits=logits)


TinyModel.register_for_auto_class("AutoModel")
TinyForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
'''

CARD = """---
license: mit
pipeline_tag: text-classification
language: en
---
## Intended uses

Tests.
"""

FILES = {
    "configuration_tiny.py": CONFIGURATION,
    "layers_tiny.py": LAYERS,
    "modeling_tiny.py": MODELING,
    "card.md": CARD,
}


def write_folder(path: Path, **changes: str | None) -> Path:
    """Write the folder. ``changes`` replace a file's text by its stem (None leaves the file out)."""
    path.mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        text = changes.get(name.split(".")[0], text)
        if text is not None:
            (path / name).write_text(text)
    return path


def save_checkpoint(folder: Path, path: Path, cls: str = "TinyForSequenceClassification", **config) -> Path:
    """Save a freshly initialised model of the folder, as a user's training would."""
    import importlib
    import sys
    import types

    import torch

    name = f"tiny_{abs(hash(str(folder)))}"
    package = types.ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
    configuration = importlib.import_module(f"{name}.configuration_tiny").TinyConfig(**config)
    torch.manual_seed(0)
    getattr(importlib.import_module(f"{name}.modeling_tiny"), cls)(configuration).save_pretrained(path)
    return path
