import os
from typing import List, Optional, Tuple

from transformers.tokenization_utils import AddedToken, PreTrainedTokenizer
from transformers.utils import logging

logger = logging.get_logger(__name__)

VOCAB_FILES_NAMES = {"vocab_file": "vocab.txt"}


class TanagerTokenizer(PreTrainedTokenizer):
    """Characters, plus two marks for the turns."""

    vocab_files_names = VOCAB_FILES_NAMES
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(
        self,
        vocab_file,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        add_bos_token=True,
        add_eos_token=False,
        **kwargs,
    ):
        with open(vocab_file, encoding="utf-8") as handle:
            lines = [line.rstrip("\n") for line in handle]
        self.token_to_id = {token: number for number, token in enumerate(lines)}
        self.id_to_token = {number: token for token, number in self.token_to_id.items()}
        self.vocab_file = vocab_file
        self.add_bos_token = add_bos_token
        self.add_eos_token = add_eos_token
        super().__init__(
            bos_token=AddedToken(bos_token, lstrip=False, rstrip=False),
            eos_token=AddedToken(eos_token, lstrip=False, rstrip=False),
            unk_token=unk_token,
            pad_token=pad_token,
            additional_special_tokens=["<|user|>", "<|bot|>"],
            **kwargs,
        )

    @property
    def vocab_size(self):
        return len(self.token_to_id)

    def get_vocab(self):
        vocab = dict(self.token_to_id)
        vocab.update(self.added_tokens_encoder)
        return vocab

    def _tokenize(self, text):
        return list(text.lower())

    def _convert_token_to_id(self, token):
        return self.token_to_id.get(token, self.token_to_id["<unk>"])

    def _convert_id_to_token(self, index):
        return self.id_to_token.get(index, "<unk>")

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)

    def build_inputs_with_special_tokens(self, token_ids_0: List[int], token_ids_1: Optional[List[int]] = None):
        start = [self.bos_token_id] if self.add_bos_token else []
        end = [self.eos_token_id] if self.add_eos_token else []
        output = start + token_ids_0 + end
        if token_ids_1 is not None:
            output = output + start + token_ids_1 + end
        return output

    def save_vocabulary(self, save_directory, filename_prefix: Optional[str] = None) -> Tuple[str]:
        if not os.path.isdir(save_directory):
            logger.error(f"{save_directory} is not a directory")
            return
        path = os.path.join(save_directory, (filename_prefix + "-" if filename_prefix else "") + "vocab.txt")
        with open(path, "w", encoding="utf-8") as handle:
            for token, _ in sorted(self.token_to_id.items(), key=lambda pair: pair[1]):
                handle.write(token + "\n")
        return (path,)
