from transformers import WhisperConfig


class PuffinConfig(WhisperConfig):
    model_type = "puffin"

    def __init__(self, n_fft=400, hop=160, sample_rate=16000, chunk_seconds=10, adapter_dim=16, **kwargs):
        super().__init__(**kwargs)
        self.n_fft = n_fft
        self.hop = hop
        self.sample_rate = sample_rate
        self.chunk_seconds = chunk_seconds
        self.adapter_dim = adapter_dim
