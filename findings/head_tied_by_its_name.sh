#!/usr/bin/env bash
# A language model with an output layer that is not tied to its embeddings, and that defines get_input_embeddings only.
#
# The common guess: weights are tied where get_output_embeddings is defined, or _tied_weights_keys says so. This class
# does neither, so its head is its own in every release.
#
# What happens: from 4.54 to 4.57 transformers has a get_output_embeddings of its own, which gives any attribute called
# lm_head. tie_word_embeddings is True by default, so from_pretrained puts the embeddings in the head's place, without a
# word: the head that was stored is lost. The same layer under the name "head" is loaded as it was stored. transformers
# 4.53.3 and 5.24.0 load both as they were stored.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.13.0" "numpy<3" "transformers==5.24.0"
"$place/venv/bin/pip" install -q --target "$place/4.57" --no-deps "transformers==4.57.6" "huggingface_hub==0.36.0" "tokenizers==0.22.1"
"$place/venv/bin/pip" install -q --target "$place/4.53" --no-deps "transformers==4.53.3" "huggingface_hub==0.36.0" "tokenizers==0.21.4"
"$place/venv/bin/pip" install -q requests

cat > "$place/load.py" <<'PYTHON'
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

transformers.logging.set_verbosity_error()


class Config(PretrainedConfig):
    model_type = "tiny"
    vocab_size = 5


class Model(PreTrainedModel):
    config_class = Config
    name = "lm_head"

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(5, 3)
        setattr(self, self.name, nn.Linear(3, 5, bias=False))
        self.post_init()

    def get_input_embeddings(self):
        return self.words


class OtherName(Model):
    name = "head"


seen = []
for cls in (Model, OtherName):
    with tempfile.TemporaryDirectory() as directory:
        torch.manual_seed(0)
        model = cls(Config())
        # as a training ends: a head of its own
        setattr(model, cls.name, nn.Linear(3, 5, bias=False))
        stored = {"words.weight": model.words.weight.detach().clone()}
        stored[f"{cls.name}.weight"] = getattr(model, cls.name).weight.detach().clone()
        model.config.save_pretrained(directory)
        from safetensors.torch import save_file

        save_file(stored, f"{directory}/model.safetensors", {"format": "pt"})
        loaded = cls.from_pretrained(directory)
        head = getattr(loaded, cls.name).weight
        seen.append("kept" if torch.equal(head, load_file(f"{directory}/model.safetensors")[f"{cls.name}.weight"]) else "lost")
        tied = torch.equal(head, loaded.words.weight)
        print(f"transformers {transformers.__version__}: {cls.name}: {seen[-1]}, the same as the embeddings: {tied}")
sys.exit(seen != sys.argv[1:])
PYTHON

"$place/venv/bin/python" "$place/load.py" kept kept
PYTHONPATH="$place/4.57" "$place/venv/bin/python" "$place/load.py" lost kept
PYTHONPATH="$place/4.53" "$place/venv/bin/python" "$place/load.py" kept kept
