"""Model folders that follow the contract, as text: what verification has to let pass, and what others break."""

import importlib
import sys
import types
from pathlib import Path

CONFIGURATION = '''"""Sizes."""

from transformers import PretrainedConfig


class {Name}Config(PretrainedConfig):
    model_type = "corpus-{name}"

    def __init__(
        self,
        vocab_size=23,
        width=8,
        max_position_embeddings=10,
        pad_token_id=0,
        num_channels=3,
        image_size=16,
        tie_word_embeddings=True,
        **kwargs,
    ):
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.vocab_size, self.width, self.max_position_embeddings = vocab_size, width, max_position_embeddings
        self.num_channels, self.image_size = num_channels, image_size
        self.pad_token_id = pad_token_id
        self.tie_word_embeddings = tie_word_embeddings


{Name}Config.register_for_auto_class()
'''

TOP = '''"""A model of the corpus."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import *

from .configuration_{name} import {Name}Config


class {Name}PreTrainedModel(PreTrainedModel):
    config_class = {Name}Config
    base_model_prefix = "{name}"
    main_input_name = "{input}"
    accepts_loss_kwargs = False

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)):
            nn.init.normal_(module.weight, std=0.3)
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
            nn.init.zeros_(module.bias)
'''

BERT = (
    TOP
    + """        if isinstance(module, Positions):
            with torch.no_grad():
                module.ids.copy_(torch.arange(module.ids.numel())[None])


class Positions(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.register_buffer("ids", torch.arange(config.max_position_embeddings)[None], persistent=False)
        self.table = nn.Embedding(config.max_position_embeddings, config.width)

    def forward(self, x):
        return x + self.table(self.ids[:, : x.shape[1]])


class Mixing(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inner = nn.Linear(config.width, 3 * config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, x, bias):
        q, k, v = self.inner(x).chunk(3, -1)
        scores = q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])
        return self.norm(x + (scores if bias is None else scores + bias).softmax(-1) @ v)


class {Name}Model({Name}PreTrainedModel):
    def __init__(self, config, with_pooler=True):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.positions = Positions(config)
        self.mixing = Mixing(config)
        self.pooler = nn.Linear(config.width, config.width) if with_pooler else None
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def set_input_embeddings(self, value):
        self.words = value

    def forward(self, input_ids, attention_mask=None):
        x = self.positions(self.words(input_ids))
        bias = None
        if attention_mask is not None:
            bias = (1 - attention_mask[:, None, :].to(x.dtype)) * torch.finfo(x.dtype).min
        x = self.mixing(x, bias)
        pooled = None if self.pooler is None else self.pooler(x[:, 0]).tanh()
        return BaseModelOutputWithPooling(last_hidden_state=x, pooler_output=pooled)


class {Name}ForMaskedLM({Name}PreTrainedModel):
    _tied_weights_keys = {"head.weight": "{name}.words.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.{name} = {Name}Model(config, with_pooler=False)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, value):
        self.head = value

    def forward(self, input_ids, attention_mask=None, labels=None):
        logits = self.head(self.{name}(input_ids, attention_mask).last_hidden_state)
        loss = None if labels is None else F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return MaskedLMOutput(loss=loss, logits=logits)


class {Name}ForSequenceClassification({Name}PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.{name} = {Name}Model(config)
        self.classifier = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, labels=None):
        logits = self.classifier(self.{name}(input_ids, attention_mask).pooler_output)
        loss = None
        if labels is not None and self.config.num_labels == 1:
            loss = F.mse_loss(logits[:, 0], labels.to(logits.dtype))
        elif labels is not None:
            loss = F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


class {Name}ForQuestionAnswering({Name}PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.{name} = {Name}Model(config, with_pooler=False)
        self.outputs = nn.Linear(config.width, 2)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, start_positions=None, end_positions=None):
        start, end = self.outputs(self.{name}(input_ids, attention_mask).last_hidden_state).unbind(-1)
        loss = None
        if start_positions is not None:
            loss = F.cross_entropy(start, start_positions) + F.cross_entropy(end, end_positions)
        return QuestionAnsweringModelOutput(loss=loss, start_logits=start, end_logits=end)


{Name}Model.register_for_auto_class("AutoModel")
{Name}ForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
{Name}ForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
{Name}ForQuestionAnswering.register_for_auto_class("AutoModelForQuestionAnswering")
"""
)

CAUSAL = (
    TOP
    + """

class {Name}Model({Name}PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.inner = nn.Linear(config.width, config.width)
        self.scale = nn.Parameter(torch.ones(config.width))
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def set_input_embeddings(self, value):
        self.words = value

    def forward(self, input_ids):
        x = self.words(input_ids)
        return BaseModelOutput(last_hidden_state=x.cumsum(1) * self.scale + self.inner(x).tanh())


class {Name}ForCausalLM({Name}PreTrainedModel):
    _tied_weights_keys = {"head.weight": "{name}.words.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.{name} = {Name}Model(config)
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, value):
        self.head = value

    def forward(self, input_ids, labels=None):
        logits = self.head(self.{name}(input_ids).last_hidden_state)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)


{Name}Model.register_for_auto_class("AutoModel")
{Name}ForCausalLM.register_for_auto_class("AutoModelForCausalLM")
"""
)

LSTM = (
    TOP
    + """        if isinstance(module, nn.LSTM):
            for parameter in module.parameters():
                nn.init.uniform_(parameter, -0.3, 0.3)


class {Name}Classifier({Name}PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width, padding_idx=config.pad_token_id)
        self.recurrent = nn.LSTM(
            config.width, config.width, num_layers=2, batch_first=True, dropout=0.1, bidirectional=True
        )
        self.classifier = nn.Linear(2 * config.width, config.num_labels)
        self.post_init()

    def forward(self, input_ids, labels=None, **loss_kwargs):
        logits = self.classifier(self.recurrent(self.words(input_ids))[0][:, -1])
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


{Name}Classifier.register_for_auto_class("AutoModelForSequenceClassification")
"""
)

CNN = (
    TOP
    + """        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            nn.init.zeros_(module.running_mean)
            nn.init.ones_(module.running_var)
            nn.init.zeros_(module.num_batches_tracked)


class {Name}Model({Name}PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.convolution = nn.Conv2d(config.num_channels, config.width, 3, padding=1)
        self.norm = nn.BatchNorm2d(config.width)
        self.post_init()

    def forward(self, pixel_values):
        return BaseModelOutput(last_hidden_state=self.norm(self.convolution(pixel_values)).relu())


class {Name}ForImageClassification({Name}PreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.{name} = {Name}Model(config)
        self.classifier = nn.Linear(config.width, config.num_labels)
        self.post_init()

    def forward(self, pixel_values, labels=None):
        logits = self.classifier(self.{name}(pixel_values).last_hidden_state.mean((2, 3)))
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return ImageClassifierOutput(loss=loss, logits=logits)


{Name}Model.register_for_auto_class("AutoModel")
{Name}ForImageClassification.register_for_auto_class("AutoModelForImageClassification")
"""
)

MODELS = {"bert": BERT, "causal": CAUSAL, "lstm": LSTM, "cnn": CNN}
# The class that a checkpoint is saved from, and what its configuration is given.
SAVED = {
    "bert": ("BertForMaskedLM", {}),
    "causal": ("CausalForCausalLM", {}),
    "lstm": ("LstmClassifier", {"num_labels": 3}),
    "cnn": ("CnnForImageClassification", {"num_labels": 4}),
}


def text(template: str, name: str) -> str:
    """A folder's file from its template."""
    given = "pixel_values" if name == "cnn" else "input_ids"
    return template.replace("{Name}", name.title()).replace("{name}", name).replace("{input}", given)


def write_model(path: Path, name: str, edits: dict[str, str] | None = None) -> Path:
    """Write a folder; ``edits`` replace text that must be in one of its two files."""
    path.mkdir(parents=True, exist_ok=True)
    files = {f"configuration_{name}.py": text(CONFIGURATION, name), f"modeling_{name}.py": text(MODELS[name], name)}
    for old, new in (edits or {}).items():
        found = [file for file in files if old in files[file]]
        assert found, f"{name} has no text {old!r}"
        for file in found:
            files[file] = files[file].replace(old, new)
    for file, content in files.items():
        (path / file).write_text(content)
    return path


def save_model(folder: Path, name: str, path: Path, cls: str | None = None, **config) -> Path:
    """Save a model of the folder that was trained a little: none of its tensors is as a constructor makes it."""
    import torch

    package = types.ModuleType(f"corpus_{len(sys.modules)}")
    package.__path__ = [str(folder)]
    sys.modules[package.__name__] = package
    configuration = importlib.import_module(f"{package.__name__}.configuration_{name}")
    modeling = importlib.import_module(f"{package.__name__}.modeling_{name}")
    torch.manual_seed(0)
    configuration = getattr(configuration, f"{name.title()}Config")(**{**SAVED[name][1], **config})
    model = getattr(modeling, cls or SAVED[name][0])(configuration)
    with torch.no_grad():
        for tensor in (*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())):
            tensor += 0.1 + torch.rand_like(tensor) / 5
    model.save_pretrained(path)
    return path
