"""What differs between the releases of transformers that we support."""
import importlib

import transformers

try:
    from transformers import PreTrainedConfig
except ImportError:
    from transformers import PretrainedConfig as PreTrainedConfig

try:
    from transformers.generation import GenerationMixin
except ImportError:
    from transformers.generation.utils import GenerationMixin

V5 = int(transformers.__version__.split(".")[0]) >= 5


def tied(name, source):
    """Tied weights: a list until 4.57, a mapping since 5.0."""
    return {name: source} if V5 else [name]


def optional(module, attribute, default=None):
    try:
        return getattr(importlib.import_module(module), attribute, default)
    except ImportError:
        return default


def use_return_dict(config, asked):
    if asked is not None:
        return asked
    if hasattr(config, "use_return_dict"):
        return config.use_return_dict
    return getattr(config, "return_dict", True)
