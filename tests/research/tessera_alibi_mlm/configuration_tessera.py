# SPDX-License-Identifier: Apache-2.0
from transformers import BertConfig as TransformersBertConfig


class TesseraConfig(TransformersBertConfig):
    model_type = "tessera-bert"

    def __init__(
        self,
        alibi_starting_size: int = 512,
        attention_probs_dropout_prob: float = 0.0,
        glu_bias: bool = False,
        **kwargs,
    ):
        """Configuration class for Tessera.

        Args:
            alibi_starting_size (int): Use `alibi_starting_size` to determine how large of an alibi tensor to
                create when initializing the model. You should be able to ignore this parameter in most cases.
                Defaults to 512.
            attention_probs_dropout_prob (float): By default, turn off attention dropout in Tessera
                (the triton kernel did not support it).
        """
        super().__init__(attention_probs_dropout_prob=attention_probs_dropout_prob, **kwargs)
        self.alibi_starting_size = alibi_starting_size
        self.glu_bias = glu_bias
