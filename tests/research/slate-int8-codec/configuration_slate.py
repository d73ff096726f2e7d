from transformers import PretrainedConfig


class SlateConfig(PretrainedConfig):
    model_type = "slate_codec"

    def __init__(self, codebook_size=1024, num_codebooks=8, hidden_size=1024, intermediate_size=4096,
                 num_hidden_layers=24, num_attention_heads=16, max_frames=1500, depth_layers=4, depth_hidden=512,
                 depth_heads=2, speaker_dim=192, int8=False, bos_code=None, initializer_range=0.02, norm_eps=1e-5,
                 **kwargs):
        self.codebook_size = codebook_size
        self.num_codebooks = num_codebooks
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_frames = max_frames
        self.depth_layers = depth_layers
        self.depth_hidden = depth_hidden
        self.depth_heads = depth_heads
        self.speaker_dim = speaker_dim
        self.int8 = int8
        self.bos_code = codebook_size if bos_code is None else bos_code
        self.initializer_range = initializer_range
        self.norm_eps = norm_eps
        super().__init__(**kwargs)
