"""A small folder that is written with a line more or less, and what the audit finds in it."""

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
