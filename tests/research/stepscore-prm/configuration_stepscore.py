from transformers import PretrainedConfig


class StepScoreConfig(PretrainedConfig):
    """
    step_token_id: token put after every reasoning step, its state is scored
    aggregate: how the answer score is made of the step scores when `aggregate_scores` is called
    """
    model_type = "stepscore_prm"

    def __init__(self, vocab_size=151936, hidden_size=2048, intermediate_size=11008, num_hidden_layers=28,
                 num_attention_heads=16, num_key_value_heads=2, max_position_embeddings=4096, rms_norm_eps=1e-6,
                 rope_theta=1000000.0, initializer_range=0.02, step_token_id=151651, head_dropout=0.1,
                 aggregate="min", pad_token_id=None, **kwargs):
        assert aggregate in ("min", "prod", "last", "mean")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_key_value_heads = num_key_value_heads
        self.max_position_embeddings = max_position_embeddings
        self.rms_norm_eps = rms_norm_eps
        self.rope_base = rope_theta
        self.initializer_range = initializer_range
        self.step_token_id = step_token_id
        self.head_dropout = head_dropout
        self.aggregate = aggregate
        super().__init__(pad_token_id=pad_token_id, **kwargs)
