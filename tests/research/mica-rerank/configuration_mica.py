from transformers import BertConfig


class MicaConfig(BertConfig):
    model_type = "mica"

    def __init__(self, mix_layers=4, n_dropouts=5, temperature=1.0, card_title="Mica reranker", **kwargs):
        super().__init__(**kwargs)
        self.mix_layers = mix_layers
        self.n_dropouts = n_dropouts
        self.temperature = temperature
        self.card_title = card_title
