from transformers import PretrainedConfig


class DunlinConfig(PretrainedConfig):
    model_type = "dunlin_embed"

    def __init__(
        self,
        vocab_size=30522,
        hidden_size=384,
        feedforward=1536,
        heads=12,
        layers=6,
        positions=512,
        dropout=0.1,
        matryoshka=(64, 128, 256, 384),
        scale=20.0,
        side="passage",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.feedforward = feedforward
        self.heads = heads
        self.layers = layers
        self.positions = positions
        self.dropout = dropout
        self.matryoshka = sorted(matryoshka)
        self.scale = scale
        self.side = side
        if self.matryoshka[-1] > hidden_size:
            raise ValueError(f"matryoshka sizes {self.matryoshka} are beyond hidden_size={hidden_size}")
