"""`**super_kwargs` for the parent's parameters."""

from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaForCausalLM, LlamaModel


class PassedOnConfig(LlamaConfig):
    model_type = "passed_on"


class PassedOnModel(LlamaModel):
    def forward(self, **super_kwargs):
        """Says something else."""
        return super().forward(**super_kwargs)


class PassedOnForCausalLM(LlamaForCausalLM):
    def forward(self, **super_kwargs):
        r"""
        Example:

            indented

        >>> LlamaForCausalLM, PassedOnForCausalLM
        """
        return super().forward(**super_kwargs)
