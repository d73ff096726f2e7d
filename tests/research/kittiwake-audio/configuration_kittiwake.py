import torch
from transformers import PretrainedConfig


class KittiwakeConfig(PretrainedConfig):
    model_type = "kittiwake"

    def __init__(
        self,
        sampling_rate=32000,
        n_fft=1024,
        hop_length=320,
        num_mel_bins=128,
        fmin=50.0,
        fmax=None,
        hidden_size=256,
        num_layers=6,
        num_attention_heads=8,
        conv_kernel=9,
        dropout=0.0,
        labels=None,
        precision="float32",
        **kwargs,
    ):
        self.sampling_rate = sampling_rate
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.num_mel_bins = num_mel_bins
        self.fmin = fmin
        self.fmax = fmax
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.num_attention_heads = num_attention_heads
        self.conv_kernel = conv_kernel
        self.dropout = dropout
        self.labels = labels or ["unknown"]
        # the dtype in which the model was trained; the mel filters are always float32
        self.precision = getattr(torch, precision) if isinstance(precision, str) else precision
        kwargs.setdefault("id2label", {i: name for i, name in enumerate(self.labels)})
        kwargs.setdefault("label2id", {name: i for i, name in enumerate(self.labels)})
        super().__init__(**kwargs)

    def to_dict(self):
        output = super().to_dict()
        output["precision"] = str(self.precision).split(".")[-1]
        return output
