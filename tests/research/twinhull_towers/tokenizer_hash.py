"""Hash tokenizer for smoke tests of the text tower."""
import zlib

import torch


class HashTokenizer:
    def __init__(self, vocab_size, context_length, eot_token_id):
        self.vocab_size, self.context_length, self.eot = vocab_size, context_length, eot_token_id

    def __call__(self, texts, **ignored):
        rows = []
        for t in [texts] if isinstance(texts, str) else texts:
            ids = [1] + [2 + zlib.crc32(w.encode()) % (self.vocab_size - 4) for w in t.lower().split()]
            ids = [i if i != self.eot else i - 1 for i in ids][: self.context_length - 1] + [self.eot]
            rows.append(ids + [0] * (self.context_length - len(ids)))
        return {"input_ids": torch.tensor(rows)}
