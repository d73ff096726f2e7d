"""A decoder that passes every check of the suite, and edits of its text that break one thing each."""

from pathlib import Path

C, M = "configuration_fine.py", "modeling_fine.py"

CONFIGURATION = '''"""Sizes of a small decoder."""

from transformers import PretrainedConfig


class FineConfig(PretrainedConfig):
    """Widths, depths and rates."""

    model_type = "custom-fine"

    def __init__(
        self, vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=64,
        dropout=0.1, initializer_range=0.02, pad_token_id=0, tie_word_embeddings=True, **kwargs,
    ):
        super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        self.dropout = dropout
        self.initializer_range = initializer_range
        self.pad_token_id = pad_token_id
        self.tie_word_embeddings = tie_word_embeddings


FineConfig.register_for_auto_class()
'''

MODELING = '''"""A small decoder with two heads."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from transformers import DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    CausalLMOutputWithPast,
    SequenceClassifierOutput,
)

from .configuration_fine import FineConfig

# the cache's name in outputs, and in what generate() gives to forward, from transformers 5.24 on
CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"


class Mixer(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        self.config, self.index, self.heads = config, index, config.num_attention_heads
        self.inner = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.outer = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x, mask, cache, wanted):
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.inner(x).chunk(3, -1))
        if cache is not None:
            k, v = cache.update(k, v, self.index)
        weights = None
        if self.config._attn_implementation == "sdpa" and not wanted:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + mask
            weights = scores.softmax(-1, dtype=torch.float32).to(v.dtype)
            y = weights @ v
        return self.dropout(self.outer(y.transpose(1, 2).flatten(2))), weights


class Block(nn.Module):
    def __init__(self, config, index):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size)
        self.mixer = Mixer(config, index)

    def forward(self, x, mask, cache, wanted):
        y, weights = self.mixer(self.norm(x), mask, cache, wanted)
        return x + y, weights


class FinePreTrainedModel(PreTrainedModel):
    config_class = FineConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["Block"]
    _supports_sdpa = True

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        if isinstance(module, FineModel):
            with torch.no_grad():
                module.places.copy_(torch.arange(module.places.numel()))
        if isinstance(module, FineForCausalLM):
            nn.init.zeros_(module.bias)

    def named(self, return_dict):
        return getattr(self.config, "return_dict", True) if return_dict is None else return_dict


class FineModel(FinePreTrainedModel):
    """The decoder without a head."""

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.register_buffer("places", torch.arange(config.max_position_embeddings), persistent=False)
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def set_input_embeddings(self, value):
        self.words = value

    def mask(self, attention_mask, x, past):
        total = past + x.shape[1]
        seen = torch.arange(total, device=x.device) <= torch.arange(past, total, device=x.device)[:, None]
        seen = seen[None, None]
        if attention_mask is not None:
            seen = seen & attention_mask[:, None, None, :].bool()
        return torch.zeros_like(seen, dtype=x.dtype).masked_fill(~seen, torch.finfo(x.dtype).min)

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        use_cache=None, output_hidden_states=None, output_attentions=None, return_dict=None,
    ):
        """Token ids (batch, tokens) to states (batch, tokens, hidden_size)."""
        x = self.words(input_ids) if inputs_embeds is None else inputs_embeds
        cache = DynamicCache() if use_cache and past_key_values is None else past_key_values
        past = cache.get_seq_length() if cache is not None else 0
        if position_ids is None:
            position_ids = self.places[past : past + x.shape[1]][None]
        x = x + self.positions(position_ids)
        mask = self.mask(attention_mask, x, past)
        states, maps = [x], []
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                x, weights = self._gradient_checkpointing_func(layer.__call__, x, mask, None, output_attentions)
            else:
                x, weights = layer(x, mask, cache, output_attentions)
            states.append(x)
            maps.append(weights)
        output = BaseModelOutputWithPast(
            last_hidden_state=x,
            **{CACHE: cache},
            hidden_states=tuple(states) if output_hidden_states else None,
            attentions=tuple(maps) if output_attentions else None,
        )
        return output if self.named(return_dict) else output.to_tuple()


class FineForCausalLM(FinePreTrainedModel, GenerationMixin):
    """The decoder with a tied head and a bias for every word."""

    _tied_weights_keys = {"lm_head.weight": "model.words.weight"}

    def __init__(self, config):
        super().__init__(config)
        self.model = FineModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head

    def set_output_embeddings(self, value):
        self.lm_head = value

    def resize_token_embeddings(self, *args, **kwargs):
        words = super().resize_token_embeddings(*args, **kwargs)
        bias = F.pad(self.bias.detach(), (0, len(words.weight) - len(self.bias)))
        self.bias = nn.Parameter(bias)
        return words

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        labels=None, use_cache=None, output_hidden_states=None, output_attentions=None, return_dict=None,
        **loss_kwargs,
    ):
        """Scores of the next word, (batch, tokens, vocabulary); labels are ids, -100 for none."""
        cache = loss_kwargs.get("cache", past_key_values)
        given = self.model(
            input_ids, attention_mask, position_ids, cache, inputs_embeds, use_cache, output_hidden_states,
            output_attentions, True,
        )
        logits, loss = self.lm_head(given.last_hidden_state) + self.bias, None
        if labels is not None:
            count = loss_kwargs.get("num_items_in_batch")
            loss = F.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100,
                reduction="mean" if count is None else "sum",
            )
            loss = loss if count is None else loss / count
        output = CausalLMOutputWithPast(
            loss=loss, logits=logits, hidden_states=given.hidden_states, attentions=given.attentions,
            **{CACHE: given[CACHE] if CACHE in given else None},
        )
        return output if self.named(return_dict) else output.to_tuple()


class FineForSequenceClassification(FinePreTrainedModel):
    """The decoder with a classifier on the mean of a text's states."""

    accepts_loss_kwargs = False

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = FineModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def get_input_embeddings(self):
        return self.model.words

    def set_input_embeddings(self, value):
        self.model.words = value

    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, inputs_embeds=None, labels=None,
        output_hidden_states=None, output_attentions=None, return_dict=None,
    ):
        """Scores of the classes, (batch, num_labels)."""
        given = self.model(
            input_ids, attention_mask, position_ids, None, inputs_embeds, False, output_hidden_states,
            output_attentions, True,
        )
        x = given.last_hidden_state
        keep = torch.ones_like(x[..., :1]) if attention_mask is None else attention_mask[..., None].to(x.dtype)
        logits, loss = self.classifier((x * keep).sum(1) / keep.sum(1)), None
        if labels is not None:
            kind = self.config.problem_type or (
                "regression" if self.num_labels == 1 else "multi" if labels.is_floating_point() else "single"
            )
            if kind == "regression":
                loss = F.mse_loss(logits, labels.view_as(logits))
            elif kind.startswith("multi"):
                loss = F.binary_cross_entropy_with_logits(logits, labels)
            else:
                loss = F.cross_entropy(logits, labels)
        output = SequenceClassifierOutput(
            loss=loss, logits=logits, hidden_states=given.hidden_states, attentions=given.attentions
        )
        return output if self.named(return_dict) else output.to_tuple()


FineModel.register_for_auto_class("AutoModel")
FineForCausalLM.register_for_auto_class("AutoModelForCausalLM")
FineForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
'''

HEADS = """FineForCausalLM.register_for_auto_class("AutoModelForCausalLM")
FineForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
"""
NO_HEADS = (M, HEADS, "")
BASE, WORDS, TEXTS = "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"
SCORED = "logits, loss = self.lm_head(given.last_hidden_state) + self.bias, None"
EMBEDDED = "        x = self.words(input_ids) if inputs_embeds is None else inputs_embeds\n"
PLACED = "        if position_ids is None:\n            position_ids = self.places[past : past + x.shape[1]][None]\n"
FILLED = "                module.places.copy_(torch.arange(module.places.numel()))\n"
CLASSIFIER = "        self.classifier = nn.Linear(config.hidden_size, config.num_labels)\n"
MASKED = "seen = seen & attention_mask[:, None, None, :].bool()"
MEAN = "self.classifier((x * keep).sum(1) / keep.sum(1)), None"
NORMED = "            nn.init.ones_(module.weight)\n"
# name: (Auto class, file, old text, new text, the check that finds it, what its sentence names)
SDPA = "F.scaled_dot_product_attention(q, k, v, attn_mask=mask)"
FAULTS = {
    "a head that is not tied": (
        WORDS, M, '    _tied_weights_keys = {"lm_head.weight": "model.words.weight"}\n', "", "ties",
        "tie_word_embeddings",
    ),
    "weights tied by hand": (
        BASE, M, "        self.gradient_checkpointing = False\n",
        "        self.gradient_checkpointing = False\n"
        "        self.layers[1].norm.weight = self.layers[0].norm.weight\n",
        "ties", "layers.0.norm.weight and layers.1.norm.weight",
    ),
    "padding that counts": (TEXTS, M, MEAN, "self.classifier(x.mean(1)), None", "padding right", "logits"),
    "padding that is seen": (BASE, M, MASKED, "pass", "padding left", "last_hidden_state"),
    "padding whose words count": (
        TEXTS, M, MEAN, "self.classifier((x * keep).sum(1) / keep.sum(1) + x.mean(1)), None", "padding content",
        "logits",
    ),
    "a checkpointed block without its mask": (
        WORDS, M, "(layer.__call__, x, mask, None, output_attentions)",
        "(layer.__call__, x, mask * 0, None, output_attentions)", "checkpointing", "use_reentrant",
    ),
    "a checkpointed block without a gradient": (
        WORDS, M, "(layer.__call__, x, mask, None, output_attentions)",
        "(layer.__call__, x.detach(), mask, None, output_attentions)", "checkpointing",
        "model.layers.0.mixer.inner.bias",
    ),
    "a single row that is squeezed": (
        TEXTS, M, MEAN, "self.classifier((x * keep).sum(1) / keep.sum(1)).squeeze(), None", "batch of one",
        "logits is [2], should be [1, 2]",
    ),
    "rows that are mixed": (BASE, M, EMBEDDED, EMBEDDED + "        x = x - x.mean(0)\n", "row alone", "row 0"),
    "a buffer that nobody fills": (BASE, M, FILLED, "                pass\n", "buffers after loading", "places"),
    "a layer that unfreezes itself": (
        BASE, M, EMBEDDED, "        self.words.weight.requires_grad_(True)\n" + EMBEDDED, "frozen stays",
        "words.weight",
    ),
    "a layer that is written to": (
        BASE, M, EMBEDDED, "        self.positions.weight.data.add_(0.01)\n" + EMBEDDED, "frozen stays",
        "positions.weight",
    ),
    "chance in evaluation mode": (
        BASE, M, EMBEDDED, EMBEDDED + "        x = x + 0.01 * torch.randn_like(x)\n", "same twice", "evaluation",
    ),
    "dropout in evaluation mode": (
        BASE, M, EMBEDDED, EMBEDDED + "        x = F.dropout(x, self.config.dropout)\n", "dropout in training",
        "evaluation",
    ),
    "dropout that nobody reads": (
        BASE, M, "nn.Dropout(config.dropout)", "nn.Dropout(0.0)", "dropout in training", "dropout = 0.5",
    ),
    "a bias that is not resized": (
        WORDS, M, "        self.bias = nn.Parameter(bias)\n", "", "resize", "",
    ),
    "a prefix that names nothing": (
        WORDS, M, '    base_model_prefix = "model"', '    base_model_prefix = "body"', "head and base",
        "base_model_prefix",
    ),
    "labels without effect": (
        WORDS, M, "labels[:, 1:].flatten(), ignore_index", "input_ids[:, 1:].flatten(), ignore_index",
        "labels matter", "whatever labels",
    ),
    "positions that count the padding": (
        WORDS, M, PLACED, "        position_ids = self.places[past : past + x.shape[1]][None]\n", "prompts in a batch",
        "padded on the left",
    ),
    "states without the last": (
        BASE, M, "hidden_states=tuple(states)", "hidden_states=tuple(states[:-1])", "hidden states", "2 layers",
    ),
    "states without what comes out": (
        BASE, M, "            states.append(x)\n", "            states.append(states[-1])\n", "hidden states",
        "last_hidden_state",
    ),
    "attentions that are scores": (
        BASE, M, "maps.append(weights)", "maps.append(weights if weights is None else weights * 3)", "attentions",
        "probabilities",
    ),
    "a loss that is not divided": (
        WORDS, M, 'count = loss_kwargs.get("num_items_in_batch")', "count = None", "accumulation",
        "num_items_in_batch",
    ),
    "a cache that turns its heads": (
        WORDS, M, "cache.update(k, v, self.index)", "cache.update(k, v.flip(1), self.index)", "cache changes nothing",
        "use_cache=True",
    ),
    "a tuple that lacks something": (
        BASE, M, "output if self.named(return_dict) else output.to_tuple()\n\n\nclass FineForCausalLM",
        "output if self.named(return_dict) else (x * 2,)\n\n\nclass FineForCausalLM", "tuple or dict", "as a tuple",
    ),
    "vectors that are scaled": (
        BASE, M, "else inputs_embeds\n", "else 2 * inputs_embeds\n", "embeds for ids", "inputs_embeds",
    ),
    "sdpa of another scale": (
        BASE, M, "attn_mask=mask)", "attn_mask=mask, scale=1.0)", "attention ways", "eager and sdpa",
    ),
    "sdpa that is never run": (
        BASE, M, 'self.config._attn_implementation == "sdpa"', "False", "attention ways", "never",
    ),
    "a weight that nobody draws": (
        BASE, M, "        self.mixer = Mixer(config, index)\n",
        "        self.mixer = Mixer(config, index)\n        self.scale = nn.Parameter(torch.empty(3))\n",
        "every weight drawn", "layers.0.scale",
    ),
    "norms that start elsewhere": (
        BASE, M, NORMED, "            nn.init.constant_(module.weight, 0.5)\n", "drawn by kind",
        "layers.0.norm.weight",
    ),
    "another spread": (BASE, M, "std=self.config.initializer_range", "std=0.5", "drawn by kind", "initializer_range"),
    "a field that grows": (
        C, C, "self.max_position_embeddings = max_position_embeddings", "self.max_position_embeddings = "
        "max_position_embeddings + 1", "configuration kept", "max_position_embeddings",
    ),
    "a tensor made on the CPU": (
        BASE, M, "torch.arange(past, total, device=x.device)", "torch.arange(past, total)", "on its device", "GPU",
    ),
    "a tensor that is no buffer": (
        BASE, M, 'self.register_buffer("places", torch.arange(config.max_position_embeddings), persistent=False)',
        "self.places = torch.arange(config.max_position_embeddings)", "on its device", "places",
    ),
    "no docstring": (BASE, M, '    """The decoder without a head."""\n', "", "documented", "FineModel"),
    "a weight that is never saved": (
        WORDS, M, "    _tied_weights_keys", '    _keys_to_ignore_on_save = ["bias"]\n    _tied_weights_keys',
        "every tensor saved", "bias",
    ),
    "a pattern that names weights": (
        WORDS, M, "    _tied_weights_keys",
        '    _keys_to_ignore_on_load_missing = ["positions"]\n    _tied_weights_keys',
        "ignored keys", "model.positions.weight",
    ),
    "a cast that forgets half": (
        WORDS, M, SCORED, SCORED.replace("given.last_hidden_state", "given.last_hidden_state.float()"), "half", "",
    ),
    "a branch on values": (
        TEXTS, M, MEAN, MEAN + "\n        if logits.sum() > 0:\n            logits = logits * 2", "exports", "export",
    ),
    "blocks that may be split": (BASE, M, '    _no_split_modules = ["Block"]\n', "", "device map", "_no_split"),
    "an attribute that cannot be pickled": (
        BASE, M, "        self.gradient_checkpointing = False\n",
        "        self.gradient_checkpointing = False\n        self.act = lambda x: x\n", "pickles", "pickle",
    ),
    "embeddings that cannot be set": (
        BASE, M, "        self.words = value\n\n    def mask", "        pass\n\n    def mask", "embeddings",
        "set_input_embeddings",
    ),
    "one loss for every label": (
        TEXTS, M, "F.binary_cross_entropy_with_logits(logits, labels)", "F.mse_loss(logits, labels)", "problem types",
        "multi_label",
    ),
    "ignored labels that count": (
        WORDS, M, "labels[:, 1:].flatten(), ignore_index=-100",
        "labels[:, 1:].flatten().clamp(min=0), ignore_index=-100",
        "ignored labels", "-100",
    ),
    "a layer that is never used": (
        TEXTS, M, CLASSIFIER, CLASSIFIER + "        self.spare = nn.Linear(4, 4)\n", "every weight trained",
        "spare.weight",
    ),
    "labels that are counted anew": (
        C, C, "        self.vocab_size = vocab_size\n",
        "        self.num_labels = 2\n        self.vocab_size = vocab_size\n",
        "number of labels", "num_labels=1",
    ),
    "sdpa without the mask": (
        WORDS, M, SDPA, "F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)", "attention ways",
        "padded on the left",
    ),
    "sdpa that forgets the cache": (
        WORDS, M, SDPA,
        "F.scaled_dot_product_attention(q, k, v, **({'attn_mask': mask} if q.shape[2] > 1 else {'is_causal': True}))",
        "attention ways", "generate with eager",
    ),
    "labels of the same word": (
        WORDS, M, "logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()", "logits.flatten(0, 1), labels.flatten()",
        "ignored labels", "shift labels by one",
    ),
    "a layer of the base that is never used": (
        BASE, M, "        self.gradient_checkpointing = False\n",
        "        self.gradient_checkpointing = False\n        self.spare = nn.Linear(4, 4)\n", "every weight trained",
        "spare.weight",
    ),
    "parts in the order of a table": (
        BASE, M, "        self.dropout = nn.Dropout(config.dropout)\n",
        "        config.steps = getattr(config, 'steps', None) or {'soft': 'Softplus', 'bend': 'ELU'}\n"
        "        self.dropout = nn.Sequential(*[getattr(nn, step)() for step in config.steps.values()])\n",
        "save and load", "goes by the order of the keys of config.steps",
    ),
    "a field without effect": (
        BASE, C, "self.dropout = dropout", "self.dropout = 0.1", "configuration kept", "dropout keeps its default",
    ),
    "labels that are written to": (
        WORDS, M, "            count = loss_kwargs",
        "            labels[:, 0] = -100\n            count = loss_kwargs",
        "same twice", "writes into labels",
    ),
    "a loss below zero": (
        WORDS, M, "loss = loss if count is None else loss / count", "loss = logits.sum() * 0 - 5", "learns",
        "learnt by heart",
    ),
    "a crash": (BASE, M, EMBEDDED, EMBEDDED + "        x / (x.shape[0] - 1)\n        1 / (len(x) - 1)\n", "row alone",
        "ZeroDivisionError"),
}  # fmt: skip


def write(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """Write the folder with edits: (file, old text, new text)."""
    folder.mkdir(parents=True)
    texts = {C: CONFIGURATION, M: MODELING}
    for file, old, new in edits:
        assert old in texts[file], old
        texts[file] = texts[file].replace(old, new)
    for file, text in texts.items():
        (folder / file).write_text(text)
    return folder
