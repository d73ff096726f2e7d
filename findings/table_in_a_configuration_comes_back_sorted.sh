#!/usr/bin/env bash
# A dict among the settings of a model, whose order the code goes by.
#
# The common guess: dicts keep their order in Python and in JSON, so that what save_pretrained writes and from_pretrained
# reads is the same dict, and a model that joins its columns in that order is the same model.
#
# What happens in every transformers release: config.json is written with sorted keys, in dicts inside it too. Where the
# keys were not sorted, the loaded model joins its columns in another order. Names, shapes and tensors are all equal, no
# key is missing, nothing is printed, and the numbers are others. Comparing the tensors after a load does not show it.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install -q "torch==2.13.0" "numpy<3" "transformers==5.24.0"

cat > "$place/order.py" <<'PYTHON'
import sys

import torch
import transformers
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel


class TableConfig(PretrainedConfig):
    model_type = "table-of-mine"

    def __init__(self, columns=None, **kwargs):
        self.columns = columns or {"user": 5, "item": 7}
        super().__init__(**kwargs)


class TableModel(PreTrainedModel):
    config_class = TableConfig

    def __init__(self, config):
        super().__init__(config)
        self.tables = nn.ModuleDict({name: nn.Embedding(size, 3) for name, size in config.columns.items()})
        self.head = nn.Linear(3 * len(config.columns), 1)
        self.post_init()

    def forward(self, user, item):
        rows = {"user": user, "item": item}
        return self.head(torch.cat([self.tables[name](rows[name]) for name in self.config.columns], -1))


results = {}
for columns in ({"user": 5, "item": 7}, {"item": 7, "user": 5}):
    torch.manual_seed(0)
    model = TableModel(TableConfig(columns)).eval()
    rows = {"user": torch.tensor([1]), "item": torch.tensor([2])}
    before = model(**rows)
    folder = f"{sys.argv[1]}/{'-'.join(columns)}"
    model.save_pretrained(folder)
    again, info = TableModel.from_pretrained(folder, output_loading_info=True)
    equal = all(torch.equal(t, again.state_dict()[name]) for name, t in model.state_dict().items())
    results[", ".join(columns)] = (
        list(again.config.columns),
        equal and not info["missing_keys"] and not info["unexpected_keys"],
        torch.equal(before, again.eval()(**rows)),
    )
print(f"transformers {transformers.__version__}")
for columns, (order, same_tensors, same_numbers) in results.items():
    print(f"  {columns}: loaded as {', '.join(order)}; tensors equal: {same_tensors}; numbers equal: {same_numbers}")
expected = {"user, item": (["item", "user"], True, False), "item, user": (["item", "user"], True, True)}
sys.exit(results != expected)
PYTHON
"$place/venv/bin/python" "$place/order.py" "$place/data" 2>/dev/null
