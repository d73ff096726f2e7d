from transformers import LlamaConfig


class AssizeConfig(LlamaConfig):
    """A Llama configuration with the fields of the scoring heads."""

    model_type = "assize_rm"

    def __init__(
        self,
        attributes=None,
        ensemble_size: int = 4,
        gate_hidden: int = 1024,
        gate_temperature: float = 10.0,
        reply_token_id: int | None = None,
        score_scale: float = 1.0,
        head_dropout: float = 0.0,
        center_penalty: float = 0.01,
        **kwargs,
    ):
        kwargs.setdefault("num_labels", 1)
        super().__init__(**kwargs)
        self.attributes = list(attributes) if attributes is not None else ["correct", "helpful"]
        self.ensemble_size = ensemble_size
        self.gate_hidden = gate_hidden
        self.gate_temperature = gate_temperature
        self.reply_token_id = reply_token_id
        self.score_scale = score_scale
        self.head_dropout = head_dropout
        self.center_penalty = center_penalty
