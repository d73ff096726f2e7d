"""Folders that break one rule each, and folders that break none: a published directory and edits of its text.

An edit is (file, old, new): every old text must be there, so that no case is empty. With old None the file is
written; new None deletes it. A dict instead of old and new changes keys of a JSON file (None removes one). A function
gets the directory.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy
from safetensors.numpy import save_file

C, L, M = "configuration_good.py", "layers_good.py", "modeling_good.py"

CONFIGURATION = '''"""Words in, words out."""

from transformers import PretrainedConfig

CODE_DIGEST = ""


class GoodConfig(PretrainedConfig):
    model_type = "custom-good"

    def __init__(
        self, vocab_size=32, width=8, depth=2, longest=16, pad_token_id=0, tie_word_embeddings=True, **kwargs
    ):
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.depth = depth
        self.longest = longest


GoodConfig.register_for_auto_class()
'''

LAYERS = '''"""Positions and blocks."""

import torch
from torch import nn


class Positions(nn.Module):
    def __init__(self, longest, width):
        super().__init__()
        self.table = nn.Embedding(longest, width)
        self.register_buffer("ids", torch.arange(longest)[None], persistent=False)

    def forward(self, x):
        return x + self.table(self.ids[:, : x.shape[1]])


class Block(nn.Module):
    def __init__(self, width, rate):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.ones(width))
        self.rate = rate

    def forward(self, x):
        return x + self.scale * self.inner(x).tanh()
'''

MODELING = '''"""A stack of blocks with a tied head and a classifier."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput, SequenceClassifierOutput

from .configuration_good import GoodConfig
from .layers_good import Block, Positions


class GoodPreTrainedModel(PreTrainedModel):
    config_class = GoodConfig
    base_model_prefix = "model"

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, Block):
            nn.init.ones_(module.scale)
        elif isinstance(module, Positions):
            with torch.no_grad():
                module.ids.copy_(torch.arange(module.ids.numel())[None])


class GoodModel(GoodPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width, padding_idx=config.pad_token_id)
        self.positions = Positions(config.longest, config.width)
        rates = [0.1 * i / max(1, config.depth - 1) for i in range(config.depth)]
        self.blocks = nn.ModuleList(Block(config.width, rate) for rate in rates)
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def set_input_embeddings(self, value):
        self.words = value

    def forward(self, input_ids, attention_mask=None, return_dict=None):
        x = self.positions(self.words(input_ids))
        for block in self.blocks:
            x = block(x)
        return BaseModelOutput(last_hidden_state=x)


class GoodForMaskedLM(GoodPreTrainedModel):
    _tied_weights_keys = {"head.weight": "model.words.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = GoodModel(config)
        self.head = nn.Linear(config.width, config.vocab_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.words

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, value):
        self.head = value

    def mark_tied_weights_as_initialized(self, *args):
        super().mark_tied_weights_as_initialized(*args)
        for info in args:
            if isinstance(getattr(info, "missing_keys", None), set):
                info.missing_keys |= {name for name in self.all_tied_weights_keys if self.get_parameter(name).is_meta}

    def forward(self, input_ids, attention_mask=None, labels=None, **loss_kwargs):
        logits = self.head(self.model(input_ids).last_hidden_state)
        count, loss = loss_kwargs.get("num_items_in_batch"), None
        if labels is not None:
            how = "mean" if count is None else "sum"
            loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction=how)
            loss = loss if count is None else loss / count
        return MaskedLMOutput(loss=loss, logits=logits)


class GoodForSequenceClassification(GoodPreTrainedModel):
    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.model = GoodModel(config)
        self.classifier = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        logits = self.classifier(self.model(input_ids).last_hidden_state.mean(1))
        loss = F.cross_entropy(logits, labels) if labels is not None else None
        return SequenceClassifierOutput(loss=loss, logits=logits)


GoodModel.register_for_auto_class("AutoModel")
GoodForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
GoodForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
'''

AUTO_MAP = {
    "AutoConfig": "configuration_good.GoodConfig",
    "AutoModel": "modeling_good.GoodModel",
    "AutoModelForMaskedLM": "modeling_good.GoodForMaskedLM",
    "AutoModelForSequenceClassification": "modeling_good.GoodForSequenceClassification",
}
CONFIG = {
    "model_type": "custom-good",
    "architectures": ["GoodForMaskedLM"],
    "auto_map": AUTO_MAP,
    "tie_word_embeddings": True,
    "tokenizer_class": "PreTrainedTokenizerFast",
    "torch_dtype": "float32",
}
README = """# Good

```python
from transformers import AutoModel

model = AutoModel.from_pretrained("me/good", revision="{sha}", trust_remote_code=True)
```
"""
SHA = "0123456789abcdef0123456789abcdef01234567"


def tensors(dtype=numpy.float32) -> dict:
    """Random weights under the model's names."""
    make = numpy.random.default_rng(0).standard_normal
    return {
        "head.bias": make(32).astype(dtype),
        "model.blocks.0.inner.weight": make((8, 8)).astype(dtype),
        "model.blocks.0.scale": make(8).astype(dtype),
        "model.blocks.1.inner.weight": make((8, 8)).astype(dtype),
        "model.words.weight": make((32, 8)).astype(dtype),
    }


def weights(changes=None, metadata=None, name="model.safetensors", dtype=numpy.float32) -> Callable:
    """An edit that writes a file of weights; ``changes`` adds tensors."""

    def edit(directory):
        metadata_ = {"format": "pt"} if metadata is None else metadata
        save_file({**tensors(dtype), **(changes or {})}, directory / name, metadata_ or None)

    return edit


def write(directory: Path, edits=()) -> Path:
    """Write the good directory, then apply the edits in order."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in ((C, CONFIGURATION), (L, LAYERS), (M, MODELING)):
        (directory / name).write_text(text)
    (directory / "config.json").write_text(json.dumps(CONFIG))
    (directory / "tokenizer.json").write_text("{}")
    (directory / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (directory / "README.md").write_text(README.format(sha=SHA))
    weights()(directory)
    for edit in edits:
        apply(directory, edit)
    return directory


def apply(directory: Path, edit) -> None:
    """One edit, as the module's docstring says."""
    if callable(edit):
        edit(directory)
        return
    path = directory / edit[0]
    if len(edit) == 2:
        value = json.loads(path.read_text()) if path.exists() else {}
        for key, new in edit[1].items():
            if isinstance(new, dict) and isinstance(value.get(key), dict):
                value[key] = {k: v for k, v in {**value[key], **new}.items() if v is not None}
            elif new is None:
                value.pop(key, None)
            else:
                value[key] = new
        path.write_text(json.dumps(value))
    elif edit[1] is None:
        path.write_text(edit[2])
    elif edit[2] is None:
        path.unlink()
    else:
        text = path.read_text()
        assert edit[1] in text, f"{edit[1]!r} is not in {path.name}"
        path.write_text(text.replace(edit[1], edit[2], 1))


def top(file: str, text: str) -> tuple:
    """An edit that adds lines below the docstring."""
    first = {C: '"""Words in, words out."""\n', L: '"""Positions and blocks."""\n'}
    head = first.get(file, '"""A stack of blocks with a tied head and a classifier."""\n')
    return (file, head, f"{head}{text}\n")


def bottom(file: str, text: str) -> Callable:
    """An edit that adds lines at the end."""

    def edit(directory):
        path = directory / file
        path.write_text(f"{path.read_text()}\n\n{text}\n")

    return edit


def init(text: str) -> tuple:
    """An edit that puts lines into GoodModel.__init__, before post_init."""
    lines = "".join(f"        {line}\n" for line in text.split("\n"))
    rates = "        rates = [0.1 * i"
    return (M, rates, f"{lines}{rates}")


def block(text: str) -> tuple:
    """An edit that puts lines into Block.__init__."""
    lines = "".join(f"        {line}\n" for line in text.split("\n"))
    return (L, "        self.rate = rate\n", f"        self.rate = rate\n{lines}")


def initialise(text: str) -> tuple:
    """An edit that puts a branch into _init_weights."""
    first = "        if isinstance(module, nn.Linear):\n"
    lines = "".join(f"        {line}\n" for line in text.split("\n"))
    return (M, first, f"{lines}{first}")


def submodule(text: str) -> list:
    """Edits that add a class to the layers and use it in the model."""
    return [
        bottom(L, text),
        (M, "import Block, Positions", "import Block, Extra, Positions"),
        init("self.extra = Extra()"),
    ]


@dataclass(frozen=True)
class Bad:
    """Edits, and what the audit must say: the code, words of its sentence, and where ("file", "text of the line")."""

    code: str
    edits: list
    words: str
    at: tuple[str, str] | None = None
    arguments: dict = field(default_factory=dict)
