from transformers.tokenization_utils import PreTrainedTokenizer

LETTERS = ["<cls>", "<pad>", "<eos>", "<unk>"] + list("LAGVSERTIDPKQNFYMHWCXBUZO.-") + ["<null_1>", "<mask>"]


class CobbleTokenizer(PreTrainedTokenizer):
    model_input_names = ["input_ids", "attention_mask"]

    def __init__(self, **kwargs):
        self.letters = list(LETTERS)
        self.places = {letter: place for place, letter in enumerate(self.letters)}
        super().__init__(cls_token="<cls>", pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", mask_token="<mask>", **kwargs)

    @property
    def vocab_size(self):
        return len(self.letters)

    def get_vocab(self):
        return self.places.copy()

    def _tokenize(self, text):
        return text.split() if " " in text else list(text)

    def _convert_token_to_id(self, token):
        return self.places.get(token, self.places["<unk>"])

    def _convert_id_to_token(self, index):
        return self.letters[index]

    def build_inputs_with_special_tokens(self, token_ids_0, token_ids_1=None):
        return [self.cls_token_id] + token_ids_0 + [self.eos_token_id]

    def save_vocabulary(self, save_directory, filename_prefix=None):
        return ()
