from types import SimpleNamespace

from transformers.configuration_utils import PretrainedConfig

_TEXT = dict(vocab=32000, dim=1024, n_layers=12, n_heads=16, ff=2816, max_len=2048, cross_every=2)
_VISION = dict(dim=768, n_layers=12, n_heads=12, image=224, patch=16)


class MossKiteConfig(PretrainedConfig):
    model_type = "mosskite"

    def __init__(self, lm_config=None, vit_config=None, image_token_index=31999, vocab_size=32000, hidden_size=1024,
                 use_cache=True, **kwargs):
        # plain dicts: they must stay json-able, the modules read them through .text / .vision
        self.lm_config = {**_TEXT, **(lm_config or {})}
        self.vit_config = {**_VISION, **(vit_config or {})}
        self.image_token_index = image_token_index
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.use_cache = use_cache
        super().__init__(**kwargs)

    @property
    def text(self):
        return SimpleNamespace(**self.lm_config)

    @property
    def vision(self):
        return SimpleNamespace(**self.vit_config)
