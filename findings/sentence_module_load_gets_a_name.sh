#!/usr/bin/env bash
# A module of one's own in modules.json of sentence-transformers: what its load() is handed.
#
# The common guess: load(path, **kwargs) is load(path) that is ready for what comes; path is a directory with the
# module's files, on disk or downloaded.
#
# What happens in sentence-transformers 6.2: the number of parameters decides. load(path) gets a directory, and its files
# are downloaded first. With one parameter more, if only **kwargs, the same load gets the name of the repository, as
# "owner/name", and subfolder beside it, and has to download by itself. From a directory both work, so a test before the
# upload passes, and the first user's load of the repository fails with FileNotFoundError.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.13.0" "numpy<3" "transformers==5.24.0" "sentence-transformers==6.2.0"

cat > "$place/load.py" <<'PYTHON'
import json
import os
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
os.environ |= {"HF_HOME": str(root / "home"), "HF_HUB_OFFLINE": "1"}
import sentence_transformers  # noqa: E402

MODULE = '''
import json
import os
import torch


class Shift(torch.nn.Module):
    def __init__(self, by=0.0):
        super().__init__()
        self.by = by

    def forward(self, features):
        return features

    @classmethod
    def load(cls, path{}):
        with open(os.path.join(path{}, "config.json")) as file:
            return cls(**json.load(file))
'''
SHAPES = {"one": ("", ""), "more": (', subfolder="", **kwargs', ", subfolder")}
SHA = "a" * 40
seen = {}
for name, parts in SHAPES.items():
    # a repository as a download leaves it in the cache
    repo = root / "home" / "hub" / f"models--owner--{name}"
    files = repo / "snapshots" / SHA
    (files / "0_Shift").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(SHA)
    (files / "shift.py").write_text(MODULE.format(*parts))
    (files / "0_Shift" / "config.json").write_text('{"by": 2.0}')
    modules = [{"idx": 0, "name": "0", "path": "0_Shift", "type": "shift.Shift"}]
    (files / "modules.json").write_text(json.dumps(modules))
    for where in (str(files), f"owner/{name}"):
        try:
            model = sentence_transformers.SentenceTransformer(where, trust_remote_code=True, device="cpu")
            seen[name, where == str(files)] = f"by={model[0].by}"
        except Exception as error:
            seen[name, where == str(files)] = type(error).__name__
print(f"sentence-transformers {sentence_transformers.__version__}")
for (name, on_disk), result in seen.items():
    print(f"  load with {name:<4} parameter(s), {'a directory' if on_disk else 'a repository':<12}: {result}")
expected = {("one", True): "by=2.0", ("one", False): "by=2.0"}
sys.exit(seen != expected | {("more", True): "by=2.0", ("more", False): "FileNotFoundError"})
PYTHON
"$place/venv/bin/python" "$place/load.py" "$place/data" 2>/dev/null
