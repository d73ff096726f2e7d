#!/usr/bin/env bash
# transformers.utils.auto_docstring in a file of one's own.
#
# The common guess: a decorator that writes docstrings is harmless in published model code; at most it logs a warning,
# which set_verbosity_error or TRANSFORMERS_VERBOSITY silences.
#
# What happens: each field or argument that the author has not described is an "[ERROR] ..." line on standard output,
# by print(), whenever the file is imported. No level of verbosity changes that, so that a program whose standard output
# is read by another, as JSON for one, gives broken output as soon as it loads such a model. The line names the path of
# the file on the machine that imports it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "transformers==5.24.0"

cat > "$place/configuration_lamp.py" <<'PYTHON'
from transformers import PreTrainedConfig
from transformers.utils import auto_docstring


@auto_docstring(checkpoint="someone/lamp")
class LampConfig(PreTrainedConfig):
    model_type = "lamp"
    brightness: float = 1.0
PYTHON

cd "$place"
export TRANSFORMERS_VERBOSITY=error
"$place/venv/bin/python" - > stdout.txt 2> stderr.txt <<'PYTHON'
import json
import transformers

transformers.logging.set_verbosity_error()
from configuration_lamp import LampConfig

print(json.dumps({"transformers": transformers.__version__, "brightness": LampConfig().brightness}))
PYTHON

echo "standard output of a program that prints one line of JSON:"
sed "s#$place#PLACE#g" stdout.txt
grep -q '^\[ERROR\] `brightness` is part of LampConfig' stdout.txt || { echo "changed: nothing is printed"; exit 1; }
if "$place/venv/bin/python" -m json.tool stdout.txt > /dev/null 2>&1; then echo "changed: the output is JSON"; exit 1; fi
echo "seen: the line is on standard output, in spite of the verbosity, and the output is not JSON"
