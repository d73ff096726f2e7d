from transformers import GPT2Config


class NettleConfig(GPT2Config):
    model_type = "nettle_lookup"

    def __init__(self, ngram_orders=(2, 3), ngram_table=200003, ngram_width=None, ngram_seed=11, **kwargs):
        super().__init__(**kwargs)
        self.ngram_orders = list(ngram_orders)
        self.ngram_table = ngram_table
        self.ngram_width = ngram_width if ngram_width is not None else self.n_embd
        self.ngram_seed = ngram_seed
