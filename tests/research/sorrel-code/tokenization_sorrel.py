"""Bytes, with runs of blanks as tokens."""
import json
import os
import re
from typing import Optional, Tuple

from transformers.tokenization_utils import PreTrainedTokenizer

SPECIAL = ["<pad>", "<bos>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<eos>"]
RUNS = [2, 4, 8, 16]


class SorrelTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "sorrel_vocab.json"}
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file=None, unk_token="<pad>", pad_token="<pad>", eos_token="<eos>", **kwargs):
        pieces = SPECIAL + [f"<blank{n}>" for n in RUNS] + [f"<{b:02x}>" for b in range(256)]
        self.encoder = {p: i for i, p in enumerate(pieces)}
        self.decoder = {i: p for p, i in self.encoder.items()}
        super().__init__(unk_token=unk_token, pad_token=pad_token, eos_token=eos_token, **kwargs)

    @property
    def vocab_size(self):
        return len(self.encoder)

    def get_vocab(self):
        return dict(self.encoder, **self.added_tokens_encoder)

    def _tokenize(self, text, **kwargs):
        tokens = []
        for part in re.split(r"( {2,})", text):
            if part.isspace() and len(part) > 1 and set(part) == {" "}:
                left = len(part)
                for n in reversed(RUNS):
                    tokens += [f"<blank{n}>"] * (left // n)
                    left %= n
                tokens += ["<20>"] * left
            else:
                tokens += [f"<{b:02x}>" for b in part.encode("utf-8")]
        return tokens

    def _convert_token_to_id(self, token):
        return self.encoder.get(token, 0)

    def _convert_id_to_token(self, index):
        return self.decoder.get(index, "<pad>")

    def convert_tokens_to_string(self, tokens):
        data = bytearray()
        for t in tokens:
            if t.startswith("<blank"):
                data += b" " * int(t[6:-1])
            elif t not in SPECIAL:
                data += bytes([int(t[1:-1], 16)])
        return data.decode("utf-8", errors="replace")

    def save_vocabulary(self, save_directory: str, filename_prefix: Optional[str] = None) -> Tuple[str]:
        path = os.path.join(save_directory, (filename_prefix + "-" if filename_prefix else "") + "sorrel_vocab.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.encoder, f)
        return (path,)
