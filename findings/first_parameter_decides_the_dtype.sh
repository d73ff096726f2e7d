#!/usr/bin/env bash
# torch_dtype of from_pretrained, for a model with one parameter that is made in float32 on purpose.
#
# The common guess: from_pretrained(torch_dtype=torch.bfloat16) casts the tensors of the file; at most the parameter
# that has a dtype of its own, such as nn.Parameter(torch.ones(4, dtype=torch.float32)), stays what it is.
#
# What happens in transformers 4.48: where that parameter is the model's first one, every parameter is float32 after
# the load, and torch_dtype has no effect at all; nothing warns. The loader compares the type of the first parameter
# with that of the file, and, where they agree, puts the file's tensors into the model as they are. The same two
# parameters in the other order load in bfloat16. In transformers 4.57 the order does not matter.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.13.0" "numpy<3" "transformers==4.48.3"
"$place/venv/bin/pip" install -q --target "$place/newer" "transformers==4.57.6"

cat > "$place/load.py" <<'PYTHON'
import sys
import tempfile

import torch
import transformers
from torch import nn

transformers.logging.set_verbosity_error()


class Config(transformers.PretrainedConfig):
    model_type = "lamp"


class ScaleFirst(transformers.PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.scale = nn.Parameter(torch.ones(4, dtype=torch.float32))
        self.weight = nn.Parameter(torch.zeros(4))


class ScaleLast(transformers.PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.weight = nn.Parameter(torch.zeros(4))
        self.scale = nn.Parameter(torch.ones(4, dtype=torch.float32))


seen = []
for cls in (ScaleFirst, ScaleLast):
    with tempfile.TemporaryDirectory() as directory:
        cls(Config()).save_pretrained(directory)
        model = cls.from_pretrained(directory, torch_dtype=torch.bfloat16)
    seen.append(str(model.weight.dtype))
print(f"transformers {transformers.__version__}: weight is {seen[0]} after scale, {seen[1]} before it")
sys.exit(seen != [f"torch.{name}" for name in sys.argv[1:]])
PYTHON

cd "$place"
"$place/venv/bin/python" load.py float32 bfloat16 || { echo "changed in the older release"; exit 1; }
PYTHONPATH="$place/newer" "$place/venv/bin/python" load.py bfloat16 bfloat16 || { echo "changed in the newer release"; exit 1; }
echo "seen: in 4.48.3 the first parameter decides the type of all"
