import math

import numpy as np
from transformers import PretrainedConfig


class BrooksideCodecConfig(PretrainedConfig):
    """Neural codec: strided convolutions, an LSTM, and residual vector quantization.

    `downsampling_ratios` from the waveform to the latent; the decoder goes back the same way.
    """

    model_type = "brookside_codec"

    def __init__(
        self,
        num_filters=32,
        hidden_size=128,
        downsampling_ratios=(2, 4, 5, 8),
        dilations=(1, 3, 9),
        kernel_size=7,
        last_kernel_size=7,
        num_quantizers=8,
        codebook_size=1024,
        codebook_dim=8,
        quantizer_kind="ema",
        ema_decay=0.99,
        commitment_weight=0.25,
        sampling_rate=16000,
        use_lstm=True,
        use_weight_norm=True,
        **kwargs,
    ):
        self.num_filters = num_filters
        self.hidden_size = hidden_size
        self.downsampling_ratios = list(downsampling_ratios)
        self.dilations = list(dilations)
        self.kernel_size = kernel_size
        self.last_kernel_size = last_kernel_size
        self.num_quantizers = num_quantizers
        self.codebook_size = codebook_size
        self.codebook_dim = codebook_dim
        self.quantizer_kind = quantizer_kind
        self.ema_decay = ema_decay
        self.commitment_weight = commitment_weight
        self.sampling_rate = sampling_rate
        self.use_lstm = use_lstm
        self.use_weight_norm = use_weight_norm
        super().__init__(**kwargs)

    @property
    def hop_length(self) -> int:
        return int(np.prod(self.downsampling_ratios))

    @property
    def frame_rate(self) -> int:
        return math.ceil(self.sampling_rate / self.hop_length)

    @property
    def bits_per_second(self) -> float:
        return self.frame_rate * self.num_quantizers * math.log2(self.codebook_size)
