from transformers import LlamaConfig


class HeronConfig(LlamaConfig):
    """LlamaConfig with the few sizes of the token mixer."""

    model_type = "heron"
    keys_to_ignore_at_inference = ["past_key_values", "mixer_state"]

    def __init__(self, mixer_width=4, gated_layers=None, gate_bias=2.0, mixer_dropout=0.0, **kwargs):
        super().__init__(**kwargs)
        if mixer_width < 2:
            raise ValueError("mixer_width has to be 2 or more")
        self.mixer_width = mixer_width
        self.gated_layers = list(gated_layers) if gated_layers is not None else list(range(self.num_hidden_layers))
        self.gate_bias = gate_bias
        self.mixer_dropout = mixer_dropout
