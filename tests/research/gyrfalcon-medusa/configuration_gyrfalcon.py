from transformers import LlamaConfig


class GyrfalconConfig(LlamaConfig):
    """Llama + medusa heads.

    medusa_num_heads: number of extra heads; head i predicts token t+i+2
    medusa_num_layers: residual blocks per head
    """

    model_type = "gyrfalcon_medusa"

    def __init__(self, medusa_num_heads=4, medusa_num_layers=1, medusa_heads_coefficient=0.1,
                 medusa_decay_coefficient=0.8, posterior_threshold=0.09, posterior_alpha=0.3, **kwargs):
        super().__init__(**kwargs)
        self.medusa_num_heads = medusa_num_heads
        self.medusa_num_layers = medusa_num_layers
        self.medusa_heads_coefficient = medusa_heads_coefficient
        self.medusa_decay_coefficient = medusa_decay_coefficient
        self.posterior_threshold = posterior_threshold
        self.posterior_alpha = posterior_alpha
