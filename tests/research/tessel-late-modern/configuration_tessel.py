from typing import Any, Dict, List, Optional, Union

from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto import CONFIG_MAPPING


class TesselConfig(PretrainedConfig):
    """
    One vector for each token (late interaction).

    encoder_config: config of the encoder, of any type that `AutoModel` knows
    embedding_dim:  size of the vectors
    skiplist:       tokens of documents (punctuation) that get no vector
    pool_factor:    above one, neighbouring vectors of a document are merged when an index is built
    """

    model_type = "tessel"
    is_composition = True
    sub_configs = {"encoder_config": AutoConfig}

    def __init__(
        self,
        encoder_config: Optional[Union[Dict[str, Any], PretrainedConfig]] = None,
        embedding_dim: int = 128,
        query_length: int = 32,
        document_length: int = 512,
        query_marker_id: Optional[int] = None,
        doc_marker_id: Optional[int] = None,
        mask_token_id: int = 50284,
        attend_to_expansion: bool = False,
        skiplist: Optional[List[int]] = None,
        similarity: str = "cosine",
        pool_factor: int = 1,
        temperature: float = 0.02,
        **kwargs,
    ):
        if isinstance(encoder_config, dict):
            encoder_config = dict(encoder_config)
            kind = encoder_config.pop("model_type", "modernbert")
            encoder_config = CONFIG_MAPPING[kind](**encoder_config)
        elif encoder_config is None:
            encoder_config = CONFIG_MAPPING["modernbert"]()
        self.encoder_config = encoder_config
        self.embedding_dim = embedding_dim
        self.query_length = query_length
        self.document_length = document_length
        self.query_marker_id = query_marker_id
        self.doc_marker_id = doc_marker_id
        self.mask_token_id = mask_token_id
        self.attend_to_expansion = attend_to_expansion
        self.skiplist = skiplist or []
        self.similarity = similarity
        self.pool_factor = pool_factor
        self.temperature = temperature
        super().__init__(**kwargs)

    @property
    def hidden_size(self):
        return self.encoder_config.hidden_size

    def get_text_config(self, *args, **kwargs):
        return self.encoder_config
