#!/usr/bin/env bash
# A configuration that takes rope_scaling=None and assigns it, self.rope_scaling = rope_scaling, as those written for
# transformers 4 do.
#
# The common guess: transformers 5 keeps rope_scaling as another name of rope_parameters, so the assignment works there
# too, and what was given at first comes back when the configuration is saved and read again.
#
# What happens: to_dict() of transformers 5 writes the settings under rope_parameters alone. When they are read again they
# arrive in **kwargs, super().__init__(**kwargs) sets them, and the assignment that follows, of a default of None, takes
# them away. The FutureWarning that is printed speaks of the name; a model then turns its positions without the scaling.
# Passed on, super().__init__(rope_scaling=rope_scaling, **kwargs), they stay. In transformers 4.57.6 both ways keep them.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "numpy<3" "transformers==5.24.0"
"$place/venv/bin/pip" install -q --target "$place/older" "transformers==4.57.6"

cat > "$place/config.py" <<'PYTHON'
import sys

import transformers
from transformers import PretrainedConfig

transformers.logging.set_verbosity_error()


class Assigns(PretrainedConfig):
    model_type = "assigns"

    def __init__(self, max_position_embeddings=64, rope_scaling=None, **kwargs):
        self.max_position_embeddings = max_position_embeddings
        super().__init__(**kwargs)
        self.rope_scaling = rope_scaling


class PassesOn(PretrainedConfig):
    model_type = "passes_on"

    def __init__(self, max_position_embeddings=64, rope_scaling=None, **kwargs):
        self.max_position_embeddings = max_position_embeddings
        super().__init__(rope_scaling=rope_scaling, **kwargs)


seen = []
for cls in (Assigns, PassesOn):
    first = cls(rope_scaling={"rope_type": "yarn", "factor": 4.0}, rope_theta=10000.0)
    again = cls.from_dict(first.to_dict())
    kept = bool(again.rope_scaling) and again.rope_scaling["factor"] == 4.0
    seen.append("kept" if kept else "lost")
    print(f"transformers {transformers.__version__}: {cls.__name__}: {first.rope_scaling} -> {again.rope_scaling}")
sys.exit(seen != sys.argv[1:])
PYTHON

"$place/venv/bin/python" "$place/config.py" lost kept
PYTHONPATH="$place/older" "$place/venv/bin/python" "$place/config.py" kept kept
