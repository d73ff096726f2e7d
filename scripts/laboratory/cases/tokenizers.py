"""Tokenizers and processors."""

from cases.base import REMOVED, case
from cases.generation import NAMED_ONLY

WORDS = (
    '{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 0, "content": "[UNK]", '
    '"single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}], '
    '"normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null, "model": '
    '{"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2}, "unk_token": "[UNK]"}}'
)
TOKENIZER = '{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "[UNK]"'
INPUTS = ', "model_input_names": ["input_ids", "attention_mask"'
case(
    "P22b.class",
    files={"tokenizer.json": WORDS, "tokenizer_config.json": TOKENIZER + "}"},
    faulty_files={"tokenizer_config.json": '{"tokenizer_class": "TokenizersBackend", "unk_token": "[UNK]"}'},
    settings={"tokenizer_class": "PreTrainedTokenizerFast"},
    loads="AutoTokenizer",
)
case(
    "P22b.list",
    files={"tokenizer.json": WORDS, "tokenizer_config.json": TOKENIZER + ', "additional_special_tokens": ["<x>"]}'},
    faulty_files={"tokenizer_config.json": TOKENIZER + ', "extra_special_tokens": ["<x>"]}'},
    settings={"tokenizer_class": "PreTrainedTokenizerFast"},
    loads="AutoTokenizer",
)
case(
    "P22.no_class",
    files={"tokenizer.json": WORDS, "tokenizer_config.json": TOKENIZER + INPUTS + "]}"},
    settings={"tokenizer_class": "PreTrainedTokenizerFast"},
    faulty_settings={"tokenizer_class": REMOVED},
    pipeline=True,
)

for _name, _written in (("absent", ""), ("segments", INPUTS + ', "token_type_ids"]')):
    case(
        f"P39.inputs_{_name}",
        right=NAMED_ONLY,
        files={"tokenizer.json": WORDS, "tokenizer_config.json": TOKENIZER + INPUTS + "]}"},
        faulty_files={"tokenizer_config.json": TOKENIZER + _written + "}"},
        settings={"tokenizer_class": "PreTrainedTokenizerFast"},
        pipeline=True,
    )


# Processors

PICTURES = '{"image_processor_type": "ViTImageProcessor", "size": {"height": 8, "width": 8}}'
case(
    "P27.image_processor",
    files={"preprocessor_config.json": PICTURES},
    faulty_files={"preprocessor_config.json": None, "processor_config.json": '{"image_processor": ' + PICTURES + "}"},
    loads="AutoImageProcessor",
)
