from transformers.configuration_utils import PretrainedConfig


class LichenConfig(PretrainedConfig):
    model_type = "lichen_codes"

    def __init__(self, codebooks=4, codes=1024, hidden_size=1024, num_hidden_layers=16, num_attention_heads=16,
                 max_frames=1500, dropout=0.0, pad_token_id=1024, **kwargs):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.codebooks = codebooks
        self.codes = codes
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_frames = max_frames
        self.dropout = dropout
