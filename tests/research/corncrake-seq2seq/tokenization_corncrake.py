"""Character + frequent-syllable tokenizer for the low resource languages (slow, no dependencies)."""
import json
import os
import re
import unicodedata
from typing import Dict, List, Optional, Tuple

from transformers import PreTrainedTokenizer

VOCAB_FILES_NAMES = {"vocab_file": "syllables.json"}


def nfkc(text: str) -> str:
    text = unicodedata.normalize("NFKC", text)
    return re.sub(r"\s+", " ", text).strip()


class CorncrakeTokenizer(PreTrainedTokenizer):
    vocab_files_names = VOCAB_FILES_NAMES
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, vocab_file=None, source_lang: Optional[str] = None, target_lang: Optional[str] = None,
                 bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", **kwargs):
        if vocab_file is not None and os.path.isfile(vocab_file):
            with open(vocab_file, encoding="utf-8") as handle:
                self.encoder: Dict[str, int] = json.load(handle)
        else:
            self.encoder = {pad_token: 0, bos_token: 1, eos_token: 2, unk_token: 3}
            for c in "abcdefghijklmnopqrstuvwxyz .,'-?!":
                self.encoder.setdefault(c, len(self.encoder))
        self.decoder = {i: t for t, i in self.encoder.items()}
        self.longest = max(map(len, self.encoder))
        self.source_lang, self.target_lang = source_lang, target_lang
        super().__init__(bos_token=bos_token, eos_token=eos_token, unk_token=unk_token, pad_token=pad_token, **kwargs)

    @property
    def vocab_size(self):
        return len(self.encoder)

    def get_vocab(self):
        return dict(self.encoder, **self.added_tokens_encoder)

    def _tokenize(self, text: str, **kwargs) -> List[str]:
        # greedy longest match
        text = nfkc(text)
        out, i = [], 0
        while i < len(text):
            for n in range(min(self.longest, len(text) - i), 0, -1):
                piece = text[i:i + n]
                if piece in self.encoder:
                    out.append(piece)
                    i += n
                    break
            else:
                out.append(self.unk_token)
                i += 1
        return out

    def _convert_token_to_id(self, token: str) -> int:
        return self.encoder.get(token, self.encoder[self.unk_token])

    def _convert_id_to_token(self, index: int) -> str:
        return self.decoder.get(index, self.unk_token)

    def convert_tokens_to_string(self, tokens: List[str]) -> str:
        return "".join(t for t in tokens if t not in self.all_special_tokens)

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        prefix = []
        if self.target_lang is not None and f"<2{self.target_lang}>" in self.encoder:
            prefix = [self.encoder[f"<2{self.target_lang}>"]]
        if token_ids_1 is None:
            return prefix + token_ids_0 + [self.eos_token_id]
        return prefix + token_ids_0 + token_ids_1 + [self.eos_token_id]

    def save_vocabulary(self, save_directory: str, filename_prefix: Optional[str] = None) -> Tuple[str]:
        name = (filename_prefix + "-" if filename_prefix else "") + VOCAB_FILES_NAMES["vocab_file"]
        path = os.path.join(save_directory, name)
        with open(path, "w", encoding="utf-8") as handle:
            json.dump(self.encoder, handle, ensure_ascii=False, indent=0)
        return (path,)


def learn_syllables(lines: List[str], size: int = 400, max_len: int = 4) -> Dict[str, int]:
    """counts n-grams that do not cross a space, keeps those saving most characters"""
    counts: Dict[str, int] = {}
    chars = set()
    for line in lines:
        for word in nfkc(line).split(" "):
            chars.update(word)
            for n in range(2, max_len + 1):
                for i in range(len(word) - n + 1):
                    g = word[i:i + n]
                    counts[g] = counts.get(g, 0) + 1
    vocab = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, " ": 4}
    for c in sorted(chars):
        vocab.setdefault(c, len(vocab))
    for g, c in sorted(counts.items(), key=lambda kv: -kv[1] * (len(kv[0]) - 1)):
        if len(vocab) >= size:
            break
        vocab.setdefault(g, len(vocab))
    return vocab
