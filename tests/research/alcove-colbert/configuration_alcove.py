from transformers.models.bert.configuration_bert import BertConfig


class AlcoveConfig(BertConfig):
    def __init__(
        self,
        dim=128,
        query_maxlen=32,
        doc_maxlen=220,
        skip_tokens=None,
        similarity="cosine",
        mask_punctuation=True,
        nbits=2,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.dim = dim
        self.query_maxlen = query_maxlen
        self.doc_maxlen = doc_maxlen
        self.skip_tokens = skip_tokens or []
        self.similarity = similarity
        self.mask_punctuation = mask_punctuation
        self.nbits = nbits
