from typing import List

from transformers import PretrainedConfig


class CrumbTokConfig(PretrainedConfig):
    model_type = "crumbtok"

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        ch: int = 128,
        ch_mult: List[int] = [1, 1, 2, 2, 4],
        num_res_blocks: int = 2,
        attn_levels: List[int] = [4],
        z_channels: int = 256,
        embed_dim: int = 256,
        codebook_size: int = 8192,
        n_codebooks: int = 1,
        beta: float = 0.25,
        decay: float = 0.99,
        resolution: int = 256,
        dropout: float = 0.0,
        **kwargs,
    ):
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.ch = ch
        self.ch_mult = ch_mult
        self.num_res_blocks = num_res_blocks
        self.attn_levels = attn_levels
        self.z_channels = z_channels
        self.embed_dim = embed_dim
        self.codebook_size = codebook_size
        self.n_codebooks = n_codebooks
        self.beta = beta
        self.decay = decay
        self.resolution = resolution
        self.dropout = dropout
        super().__init__(**kwargs)
