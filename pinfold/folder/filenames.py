"""Names of the files that a published repository may hold, and what each kind of file is recognised by."""

import re

MANIFEST = "pinfold.json"


WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")


PREPROCESSING = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")


SENTENCE_FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")


PICTURES = (".png", ".svg", ".jpg", ".jpeg", ".webp", ".gif")


PAPERS = re.compile(r"(?i)(licen[cs]e|notice|copying|citation)(\.(md|txt|cff))?")


READ = (".py", ".json", ".md", ".jinja", ".txt", ".toml", ".cfg")
