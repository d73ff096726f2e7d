from typing import List, Optional

from transformers import BertConfig, PretrainedConfig


class ColPebbleConfig(PretrainedConfig):
    model_type = "colpebble"
    sub_configs = {"backbone": BertConfig}

    def __init__(self, backbone: Optional[dict] = None, dim: int = 128, query_maxlen: int = 32, doc_maxlen: int = 300, mask_token_id: int = 103,
                 attend_to_mask_tokens: bool = True, skiplist: Optional[List[int]] = None, similarity: str = "cosine", nbits: int = 2, **kwargs):
        if backbone is None:
            backbone = BertConfig()
        elif isinstance(backbone, dict):
            backbone = BertConfig(**backbone)
        self.backbone = backbone
        self.dim = dim
        self.query_maxlen = query_maxlen
        self.doc_maxlen = doc_maxlen
        self.mask_token_id = mask_token_id
        self.attend_to_mask_tokens = attend_to_mask_tokens
        self.skiplist = skiplist or []
        self.similarity = similarity
        self.nbits = nbits
        super().__init__(**kwargs)
