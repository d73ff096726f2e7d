from transformers import LlamaConfig

PIPIT_TYPE = "pipit_embed"
VALID_POOLING = ["mean", "weightedmean", "eos_token", "latent"]


class PipitConfig(LlamaConfig):
    model_type = PIPIT_TYPE
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, pooling_type="mean", bidirectional=True, proj_dim=None, normalize=True,
                 instruction_prefix="Instruct: {}\nQuery: ", temperature=0.02, **kwargs):
        if pooling_type not in VALID_POOLING:
            raise ValueError(f"pooling_type {pooling_type} not in {VALID_POOLING}")
        self.pooling_type = pooling_type
        self.bidirectional = bidirectional
        self.proj_dim = proj_dim
        self.normalize = normalize
        self.instruction_prefix = instruction_prefix
        self.temperature = temperature
        super().__init__(**kwargs)
