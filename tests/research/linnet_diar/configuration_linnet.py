from transformers import Wav2Vec2Config


class LinnetConfig(Wav2Vec2Config):
    model_type = "linnet_diar"

    def __init__(
        self,
        sinc_filters=40,
        sinc_kernel=251,
        sample_rate=16000,
        max_speakers=4,
        attractor_size=None,
        pit_loss=True,
        existence_weight=0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sinc_filters = sinc_filters
        self.sinc_kernel = sinc_kernel
        self.sample_rate = sample_rate
        self.max_speakers = max_speakers
        self.attractor_size = attractor_size or self.hidden_size
        self.pit_loss = pit_loss
        self.existence_weight = existence_weight
