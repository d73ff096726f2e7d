#!/usr/bin/env bash
# A language model that keeps no cache. Its configuration class says so, use_cache=False, as a default of the
# constructor; config.json has only the fields that its author wrote.
#
# The common guess: generate() reads model.config.use_cache, so the default of the class counts like a field of the file.
#
# What happens: without a generation_config.json, from_pretrained of transformers 5 makes the generation settings from
# the text of config.json and not from the configuration that was built from it. model.config.use_cache is False,
# model.generation_config.use_cache is None, and None counts as True: each step gets the last token alone, and other
# text is written, without a warning. transformers 4.57.6 hands over the whole text. With "use_cache": false in
# config.json, which save_pretrained writes, both do.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.13.0" "numpy<3" "transformers==5.24.0" requests
"$place/venv/bin/pip" install -q --no-deps --target "$place/older" "transformers==4.57.6" "huggingface_hub==0.36.0" "tokenizers==0.22.1"

mkdir "$place/counts_words"
cat > "$place/counts_words/modeling_counts.py" <<'PYTHON'
import torch
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast


class CountsConfig(PretrainedConfig):
    model_type = "counts-words"

    def __init__(self, vocab_size=50, num_hidden_layers=1, use_cache=False, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size, self.num_hidden_layers = vocab_size, num_hidden_layers
        self.use_cache = use_cache


class CountsForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = CountsConfig

    def __init__(self, config):
        super().__init__(config)
        self.one = nn.Linear(1, 1)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        length = torch.full(input_ids.shape, input_ids.shape[1])  # the next word is how many there are
        return CausalLMOutputWithPast(logits=nn.functional.one_hot(length, self.config.vocab_size).float())
PYTHON
cat > "$place/run.py" <<'PYTHON'
import json
import pathlib
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

transformers.logging.set_verbosity_error()
folder = pathlib.Path(__file__).with_name("counts_words")
save_file({"one.weight": torch.ones(1, 1), "one.bias": torch.ones(1)}, folder / "model.safetensors", {"format": "pt"})
names = {"AutoConfig": "CountsConfig", "AutoModelForCausalLM": "CountsForCausalLM"}
config = {"model_type": "counts-words", "auto_map": {key: f"modeling_counts.{name}" for key, name in names.items()}}
seen = []
for said in ({}, {"use_cache": False}):
    (folder / "config.json").write_text(json.dumps(config | said))
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
    written = model.generate(torch.tensor([[9, 9, 9]]), max_new_tokens=3, do_sample=False, pad_token_id=0)[0].tolist()
    print(
        f"transformers {transformers.__version__}, config.json with {said}: model.config.use_cache "
        f"{model.config.use_cache}, generation_config.use_cache {model.generation_config.use_cache}, writes {written}"
    )
    seen.append("right" if written == [9, 9, 9, 3, 4, 5] else "wrong")
sys.exit(seen != sys.argv[1:])
PYTHON

"$place/venv/bin/python" "$place/run.py" wrong right
PYTHONPATH="$place/older" "$place/venv/bin/python" "$place/run.py" right right
