from transformers import PretrainedConfig
from labpkg.utils.misc import default

class VisConfig(PretrainedConfig):
    model_type = "labvis"

    def __init__(self, dim=8, depth=2, drop=None, **kwargs):
        self.dim = default(dim, 8)
        self.depth = depth
        self.drop = drop
        super().__init__(**kwargs)
