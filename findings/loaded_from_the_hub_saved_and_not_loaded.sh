#!/usr/bin/env bash
# Remote code whose model registers itself and whose configuration does not: loaded, saved, and loaded again.
#
# The common guess: register_for_auto_class of the model is what save_pretrained needs to copy the code; the configuration
# follows by config_class. A test with a directory says so too: load, save, load again.
#
# What happens in transformers 4.48 to 4.52: a load from a directory registers the configuration, and a load from a
# repository does not. What is saved after the latter names the configuration of the repository, without a revision,
# beside the model's own copied file. In 4.48 loading that raises ValueError: the config_class of the model is another
# class than that of the configuration, as each came from another place. 4.49 to 4.52 compare names alone, and run the
# newest configuration of the repository. From 4.53 on both loads register it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.13.0" "numpy<3" "transformers==4.48.3"

cat > "$place/save.py" <<'PYTHON'
import json
import os
import pathlib
import sys

root = pathlib.Path(sys.argv[1])
os.environ |= {"HF_HOME": str(root / "home"), "HF_HUB_OFFLINE": "1"}
import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

CONFIGURATION = '''
from transformers import PretrainedConfig


class NetConfig(PretrainedConfig):
    model_type = "net-of-mine"
'''
MODELING = '''
from torch import nn
from transformers import PreTrainedModel
from .configuration_net import NetConfig


class NetModel(PreTrainedModel):
    config_class = NetConfig

    def __init__(self, config):
        super().__init__(config)
        self.first = nn.Linear(2, 2)
        self.post_init()

    def forward(self, x):
        return self.first(x)


NetModel.register_for_auto_class("AutoModel")
'''
SHA = "a" * 40
PLACES = {"AutoConfig": "configuration_net.NetConfig", "AutoModel": "modeling_net.NetModel"}


def write(files, registers):
    files.mkdir(parents=True)
    more = "\n\nNetConfig.register_for_auto_class()\n" if registers else ""
    (files / "configuration_net.py").write_text(CONFIGURATION + more)
    (files / "modeling_net.py").write_text(MODELING)
    (files / "config.json").write_text(json.dumps({"model_type": "net-of-mine", "auto_map": PLACES}))
    tensors = {"first.weight": torch.ones(2, 2), "first.bias": torch.zeros(2)}
    save_file(tensors, files / "model.safetensors", metadata={"format": "pt"})


seen = {}
for registers in (False, True):
    # a repository as a download leaves it in the cache
    repo = root / "home" / "hub" / f"models--owner--net{registers:d}"
    files = repo / "snapshots" / SHA
    write(files, registers)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(SHA)
    for where in (str(files), f"owner/net{registers:d}"):
        on_disk = where == str(files)
        model = transformers.AutoModel.from_pretrained(where, trust_remote_code=True)
        saved = root / f"saved{registers:d}{on_disk:d}"
        model.save_pretrained(saved)
        try:
            transformers.AutoModel.from_pretrained(saved, trust_remote_code=True)
            result = "loads"
        except ValueError as error:
            result = f"ValueError: {str(error)[:60]}"
        seen[registers, on_disk] = json.loads((saved / "config.json").read_text())["auto_map"]["AutoConfig"], result
print(f"transformers {transformers.__version__}")
for (registers, on_disk), (names, result) in seen.items():
    print(f"  configuration {'registers' if registers else 'does not'}, loaded from {'a directory' if on_disk else 'a repository'}")
    print(f"    saved config.json names {names}: {result}")
good = "configuration_net.NetConfig", "loads"
bad = seen.pop((False, False))
sys.exit(any(each != good for each in seen.values()) or "--" not in bad[0] or not bad[1].startswith("ValueError"))
PYTHON
"$place/venv/bin/python" "$place/save.py" "$place/data" 2>/dev/null
