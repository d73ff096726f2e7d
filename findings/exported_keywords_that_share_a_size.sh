#!/usr/bin/env bash
# torch.export of a module whose forward takes **kwargs, with sizes left open.
#
# The common guess: inputs may be named in the signature or be gathered by **kwargs; dynamic_shapes has a form for both,
# and torch.export.export takes both without a word.
#
# What happens: with two inputs in **kwargs that share an open size (rows, say), the export succeeds and the program fails
# whenever it is called, at its own sizes too: the check that the sizes are equal is written into the program in terms of
# a name, L, that only exists while it is traced. One input in **kwargs, or both named in the signature, and it runs.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.14.1" "numpy==2.4.6"

cat > "$place/sizes.py" <<'PYTHON'
import torch

OPEN = {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}


class Gathered(torch.nn.Module):
    def forward(self, **tensors):
        return sum(each.sum(1) for each in tensors.values())


class Named(torch.nn.Module):
    def forward(self, words, mask):
        return words.sum(1) + mask.sum(1)


def outcome(module, inputs, sizes):
    program = torch.export.export(module, (), inputs, dynamic_shapes=sizes)
    try:
        return f"runs, shape {list(program.module()(**inputs).shape)}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


two = {"words": torch.ones(2, 12), "mask": torch.ones(2, 12)}
one = {"words": torch.ones(2, 12)}
print("torch", torch.__version__.split("+")[0])
print("one gathered:", outcome(Gathered(), one, {"tensors": {"words": OPEN}}))
print("two gathered:", outcome(Gathered(), two, {"tensors": {"words": OPEN, "mask": OPEN}}))
print("two named:", outcome(Named(), two, {"words": OPEN, "mask": OPEN}))
PYTHON
cd "$place"
"$place/venv/bin/python" sizes.py 2>/dev/null | tee seen.txt
cat > expected.txt <<'TEXT'
torch 2.14.1
one gathered: runs, shape [2]
two gathered: NameError: name 'L' is not defined
two named: runs, shape [2]
TEXT
if ! diff expected.txt seen.txt; then
  echo "it has changed"
  exit 1
fi
echo "as described"
