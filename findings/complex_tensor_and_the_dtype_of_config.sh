#!/usr/bin/env bash
# A model with a buffer of complex numbers (rotary positions, kept with the weights), saved as safetensors.
#
# The common guess: a file that safetensors reads can be loaded by from_pretrained; the dtype in config.json is a matter
# of speed and memory.
#
# What happens: with safetensors 0.8 the file loads in transformers 4.48.3. In 4.57.6 from_pretrained raises "Cannot load
# safetensors of unknown dtype C64". In 5.24.0 it depends on config.json: with a dtype there the model loads, without one
# it raises the same error, as it looks for the dtype of the first tensors itself and its table has no complex ones.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.13.0" "numpy<3" "transformers==5.24.0" requests
"$place/venv/bin/pip" install -q --no-deps --target "$place/older" "transformers==4.57.6" "huggingface_hub==0.36.0" "tokenizers==0.22.1"

cat > "$place/run.py" <<'PYTHON'
import json
import pathlib
import sys
import tempfile

import safetensors
import torch
import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

transformers.logging.set_verbosity_error()


class TurnsConfig(PretrainedConfig):
    model_type = "turns"


class Turns(PreTrainedModel):
    config_class = TurnsConfig

    def __init__(self, config):
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(2))
        self.register_buffer("turn", torch.polar(torch.ones(4), torch.arange(4.0)))
        self.post_init()

    def forward(self, x):
        return torch.view_as_real(torch.view_as_complex(x) * self.turn)


seen = []
with tempfile.TemporaryDirectory() as folder:
    Turns(TurnsConfig()).save_pretrained(folder)
    path = pathlib.Path(folder, "config.json")
    config = json.loads(path.read_text())
    for key in ("dtype", "torch_dtype"):
        config.pop(key, None)
    for said in ({"torch_dtype": "float32"}, {}):
        path.write_text(json.dumps(config | said))
        try:
            Turns.from_pretrained(folder)
            seen.append("loads")
        except ValueError as error:
            seen.append(str(error))
        print(f"transformers {transformers.__version__}, safetensors {safetensors.__version__}, {said}: {seen[-1]}")
kinds = ["loads" if each == "loads" else "raises" for each in seen]
sys.exit(kinds != sys.argv[1:])
PYTHON

"$place/venv/bin/python" "$place/run.py" loads raises
PYTHONPATH="$place/older" "$place/venv/bin/python" "$place/run.py" raises raises
