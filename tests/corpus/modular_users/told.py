"""Docstrings and long strings: the parent's name in them, indentation that must stay, comments at odd places."""

from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP

TEMPLATE = """
first
    indented as LlamaMLP
  less
"""


class ToldConfig(LlamaConfig):
    """The configuration of a [`ToldForCausalLM`]."""

    model_type = "told"


class ToldMLP(LlamaMLP):
    """
    A part of Told.

        indented
    """

    # in front of an attribute
    words = """a
b
        c"""  # behind it

    def __init__(self, config):  # behind the head
        # in front of super
        super().__init__(config)
        # in front of an attribute
        self.text = (
            "# no comment"  # a comment
            """
    kept
"""
        )

    # in front of a method
    def forward(self, x):
        """What it does.

        And
            how.
        """
        text = """
no indentation at all
                much
"""
        return super().forward(x) * (text.count(" ") + len(self.words) + len(self.text) + len(TEMPLATE))


class ToldForCausalLM(LlamaForCausalLM):
    pass
