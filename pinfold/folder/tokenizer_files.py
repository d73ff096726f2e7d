"""The files of a saved tokenizer, and what of its configuration is portable."""

TOKENIZER_CONFIG = "tokenizer_config.json"


NOTES = ("name_or_path", "is_local", "local_files_only")  # of a session, which 5 writes into a tokenizer's file


TOKENIZER = (  # noqa: SIM905
    "tokenizer.json tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json vocab.txt merges.txt "
    "spiece.model tokenizer.model sentencepiece.bpe.model chat_template.jinja chat_template.json"
).split()


def portable_tokenizer(config: dict) -> dict:
    """A tokenizer_config.json that transformers 4 reads as well as 5.

    5 writes a class name and a list that 4 refuses; ids are the same with the names that both know. Where it was
    loaded from, on this machine, is left out.
    """
    config = {key: value for key, value in config.items() if key not in NOTES}
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        config.pop("backend", None)
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    return config
