from transformers import LlamaConfig


class LlametteConfig(LlamaConfig):
    """LlamaConfig and what the differential heads need."""

    model_type = "llamette"

    def __init__(
        self,
        lambda_init=0.8,
        lambda_per_layer=True,
        confidence_bins=5,
        sub_norm_eps=1e-5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.lambda_init = lambda_init
        self.lambda_per_layer = lambda_per_layer
        self.confidence_bins = confidence_bins
        self.sub_norm_eps = sub_norm_eps
