"""A small folder that is written with a line more or less, and what the audit finds in it."""

import json

from pinfold.audit.finding import ERROR
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

CONFIGURATION = """
from transformers import PretrainedConfig


class NetConfig(PretrainedConfig):
    model_type = "net-tiny"

    def __init__(self, vocab_size=40, width=8, vision_config=None, {arguments}**kwargs):
        {first}super().__init__({passed}**kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.vision_config = vision_config


NetConfig.register_for_auto_class()
"""
MODELING = """
from argparse import Namespace

import torch
from torch import nn
from transformers import PreTrainedModel

from .configuration_net import NetConfig

{layers}

class NetModel(PreTrainedModel):
    config_class = NetConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        {build}
        self.post_init()

    {more}

    def forward(self, input_ids=None, **kwargs):
        return (self.words(input_ids),)


NetModel.register_for_auto_class("AutoModel")
"""
LAYER = """
class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.a = config.depth


"""
OUTER = LAYER.replace("Layer", "Outer").replace("config.depth", "Layer(config)")
WORDS = "def get_input_embeddings(self):\n        return self.words\n"
INNER = (
    "class Inner(PreTrainedModel):\n    config_class = NetConfig\n\n    def __init__(self, config):\n"
    "        super().__init__(config)\n        self.embed_tokens = nn.Embedding(9, 9)\n        self.post_init()\n\n\n"
)


def findings(tmp_path, code, layers="", build="pass", more="", arguments="", passed="", first=""):
    text = CONFIGURATION.format(arguments=arguments, passed=passed, first=first)
    (tmp_path / "configuration_net.py").write_text(text)
    (tmp_path / "modeling_net.py").write_text(MODELING.format(layers=layers, build=build, more=more))
    return [f for f in audit(tmp_path, read_modules(tmp_path)) if f.code == code]


# A folder of a model that writes text, in the same manner
TEXT_CONFIGURATION = """
from transformers import PretrainedConfig


class TextConfig(PretrainedConfig):
    model_type = "text-tiny"

    def __init__(self, vocab_size=40, width=8, num_hidden_layers=1, rope_scaling=None, **kwargs):
{before}
        super().__init__(tie_word_embeddings=False, {passed}**kwargs)
        self.num_hidden_layers = num_hidden_layers
        self.vocab_size = vocab_size
        self.width = width
        self.use_cache = {cache}
{after}

TextConfig.register_for_auto_class()
"""
TEXT_MODELING = """
import torch
from torch import nn
from transformers import AutoConfig, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_text import TextConfig
{top}

class Text{name}({base}{mixin}):
    {config_class}
    base_model_prefix = "model"
    accepts_loss_kwargs = False
{body}
    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
{init}
        self.post_init()
{more}
    def forward(self, input_ids=None, attention_mask=None, {takes}):
{forward}
        return CausalLMOutputWithPast(logits=self.words(input_ids))


Text{name}.register_for_auto_class("AutoModel{name}")
"""
# a cache that nothing reads is a fault of its own
READS = "kept = past_key_values if cache is None else cache"
TEXT_SETTINGS = {"model_type": "text-tiny", "vocab_size": 40, "width": 8, "use_cache": True}


def indented(text, depth):
    return "\n".join(" " * depth + line for line in text.splitlines())


def errors_of(tmp_path, config=None, tokenizer=None, **parts):
    """Codes of the errors of a folder with these parts."""
    return [f.code for f in text_findings(tmp_path, config, tokenizer, **parts) if f.severity == ERROR]


def text_findings(tmp_path, config=None, tokenizer=None, **parts):
    """What the audit finds in a folder with these parts.

    Args:
        config, tokenizer: of config.json, and tokenizer_config.json. renamed: what the configuration class is called.
        configuration: the file as a whole. files: further ones.
    """
    directory = tmp_path / "text"
    directory.mkdir()
    name, called = parts.get("name", "ForCausalLM"), parts.get("renamed", "TextConfig")
    forward = parts.get("forward", "")
    takes = parts.get("takes", "past_key_values=None, cache=None, **kwargs")
    if "past_key_values" in takes and "past_key_values" not in forward:
        forward = f"{READS if 'cache=None' in takes else 'kept = past_key_values'}\n{forward}"
    configuration = TEXT_CONFIGURATION.format(
        passed=parts.get("passed", ""),
        before=indented(parts.get("before", ""), 8),
        after=indented(parts.get("after", ""), 8),
        cache=parts.get("cache", True),
    )
    modeling = TEXT_MODELING.format(
        top=parts.get("top", ""),
        body=indented(parts.get("body", ""), 4),
        init=indented(parts.get("init", ""), 8),
        more=indented(parts.get("more", ""), 4),
        forward=indented(forward, 8),
        takes=takes,
        config_class=parts.get("config_class", "config_class = TextConfig"),
        name=name,
        mixin=parts.get("mixin", ", GenerationMixin"),
        base=parts.get("base", "PreTrainedModel"),
    )
    auto_map = {"AutoConfig": f"configuration_text.{called}", f"AutoModel{name}": f"modeling_text.Text{name}"}
    files = {
        "configuration_text.py": parts.get("configuration", configuration).replace("TextConfig", called),
        "modeling_text.py": modeling.replace("TextConfig", called),
        "config.json": json.dumps({**TEXT_SETTINGS, "auto_map": auto_map, **(config or {})}),
        **({} if tokenizer is None else {"tokenizer_config.json": json.dumps(tokenizer)}),
        **parts.get("files", {}),
    }
    for file, text in files.items():
        (directory / file).write_text(text)
    return findings_of(directory)


def findings_of(directory):
    """What the audit finds in a folder that is written."""
    return audit(directory, read_modules(directory))
