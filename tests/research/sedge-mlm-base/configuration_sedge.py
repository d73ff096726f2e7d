from transformers import BertConfig


class SedgeConfig(BertConfig):
    model_type = "sedge-bert"

    def __init__(
        self,
        alibi_starting_size: int = 512,
        attention_probs_dropout_prob: float = 0.0,
        use_flash: bool = True,
        **kwargs,
    ):
        """
        alibi_starting_size: length for which the alibi bias is made at first; it grows when a longer input comes.
        """
        super().__init__(attention_probs_dropout_prob=attention_probs_dropout_prob, **kwargs)
        self.alibi_starting_size = alibi_starting_size
        self.use_flash = use_flash
