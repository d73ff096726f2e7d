#!/usr/bin/env bash
# An output class of one's own, derived from ModelOutput, with a field called past_key_values.
#
# The common guess: transformers 5.24 calls the cache "cache" and keeps the older name readable and writable, so a
# dataclass that declares past_key_values itself works as before.
#
# What happens: the constructor of every subclass of ModelOutput renames the keyword past_key_values to cache before the
# dataclass sees it. A class that declares past_key_values and no cache raises a TypeError for its own field, passed by
# name. Passed by position it is accepted, and the field reads as None, since reading the name is redirected as well. In
# transformers 5.23 both hold what they were given.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.13.0" "numpy<3" "transformers==5.24.0"
"$place/venv/bin/pip" install -q --target "$place/older" "transformers==5.23.0"

cat > "$place/build.py" <<'PYTHON'
import sys
from dataclasses import dataclass

import torch
import transformers
from transformers.utils import ModelOutput

transformers.logging.set_verbosity_error()


@dataclass
class Scores(ModelOutput):
    logits: torch.Tensor | None = None
    past_key_values: tuple | None = None


past = (torch.ones(1),)
try:
    by_name = "kept" if Scores(logits=torch.ones(1), past_key_values=past).past_key_values is past else "lost"
except TypeError as error:
    by_name = f"TypeError: {error}"
by_place = "kept" if Scores(torch.ones(1), past).past_key_values is past else "lost"
print(f"transformers {transformers.__version__}: by name: {by_name}; by position: {by_place}")
expected = sys.argv[1:]
sys.exit([by_name.split(":")[0], by_place] != expected)
PYTHON

"$place/venv/bin/python" "$place/build.py" TypeError lost
PYTHONPATH="$place/older" "$place/venv/bin/python" "$place/build.py" kept kept
