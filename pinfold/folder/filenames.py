"""Names of the files that a published repository may hold, and what each kind of file is recognised by."""

import re

# What a push writes into a repository: the names and checksums of its files, so that a later push removes no others.
MANIFEST = "pinfold.json"

# save_pretrained's names: one file, or the table of which shard holds which tensor.
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

# Endings of weight files whose loading can run code, or that from_pretrained of PyTorch does not read.
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")

# Settings of image processors, feature extractors and processors.
PREPROCESSING = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")

# What sentence-transformers writes beside a model.
SENTENCE_FILES = ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json")

# A function that transformers runs in place of generate(), from 4.53 on, and files beside it.
GENERATE = "custom_generate/generate.py"

# Pictures that a card can show.
PICTURES = (".png", ".svg", ".jpg", ".jpeg", ".webp", ".gif")

# Licences and the like, which go with the code.
PAPERS = re.compile(r"(?i)(licen[cs]e|notice|copying|citation)(\.(md|txt|cff))?")

# Endings of text files that an audit reads.
READ = (".py", ".json", ".md", ".jinja", ".txt", ".toml", ".cfg")
