"""Further habits: settings that are read, files that a caller names, text that looks like more than it is."""

import json

from corpus.acts.folders import harmless, model_file

FOLDERS = {
    "words_that_look": harmless('"""This module replaces os.system(), subprocess and pickle.loads in the paper\'s code."""\n\nNOTE = "import os; os.system(\'ls\')"\n'),
    "named_like_modules": harmless("class Subprocess(nn.Module):\n    def forward(self, x):\n        return x\n\n    def run(self, x):\n        return self(x)\n", init="self.subprocess = Subprocess()", forward="inputs = self.subprocess.run(inputs)"),
    "eval_and_compile_names": harmless("import re\n\nPATTERN = re.compile(r'(\\d+)')\n", init="self.eval()\nself.linear.eval()", forward="PATTERN.match('2')"),
    "popped_settings": harmless(config="kwargs.pop('trust_remote_code', None)\nself.rope = dict(kwargs.pop('rope', None) or {'type': 'default'})"),
    "sub_configuration": harmless("class InnerConfig(PreTrainedConfig):\n    model_type = 'tiny-inner'\n\n    def __init__(self, depth=1, **kwargs):\n        self.depth = depth\n        super().__init__(**kwargs)\n", config="self.inner = InnerConfig(**(kwargs.pop('inner', None) or {})).to_dict()"),
    "attribute_map": harmless("", model=model_file().replace('model_type = "tiny-corpus"', 'model_type = "tiny-corpus"\n    attribute_map = {"hidden_size": "width"}\n    keys_to_ignore_at_inference = ["past_key_values"]')),
    "save_at_path": harmless("import numpy as np\n", methods="def export_embeddings(self, texts, path):\n    rows = np.stack([np.full(2, len(t), dtype=np.float32) for t in texts])\n    np.save(path, rows)\n    return path"),
    "csv_of_caller": harmless("import csv\n", methods="def write_scores(self, rows, file):\n    writer = csv.writer(file)\n    writer.writerows(rows)"),
    "log_file_of_caller": harmless("import logging\n\nlogger = logging.getLogger(__name__)\n", methods="def log_to(self, path):\n    handler = logging.FileHandler(path)\n    logger.addHandler(handler)\n    return handler"),
    "pbar": harmless("try:\n    from tqdm.auto import tqdm\nexcept ImportError:\n    tqdm = lambda x, **kwargs: x\n", methods="def run_all(self, batches):\n    return [self(batch) for batch in tqdm(batches, desc='run', leave=False)]"),
    "seeds": harmless("import random\n\nimport numpy as np\n\n\ndef seed_everything(seed):\n    random.seed(seed)\n    np.random.seed(seed)\n    torch.manual_seed(seed)\n    if torch.cuda.is_available():\n        torch.cuda.manual_seed_all(seed)\n"),
    "typed": harmless("from __future__ import annotations\n\nfrom typing import TYPE_CHECKING, Any, Optional, Union\n\nif TYPE_CHECKING:\n    from collections.abc import Iterable\n".replace("from __future__ import annotations\n\n", ""), methods="def join(self, parts: 'Iterable[Any]', sep: Optional[str] = None) -> Union[str, None]:\n    return (sep or ' ').join(map(str, parts))"),
    "add_start_docstrings": harmless("from transformers.utils import add_start_docstrings\n\nDOC = r'''\n    Parameters:\n        config: the settings.\n'''\n\n\n@add_start_docstrings('A block.', DOC)\nclass Block(nn.Module):\n    def forward(self, x):\n        return x\n", init="self.block = Block()"),
    "partial_of_init": harmless("from functools import partial\n\n\ndef init_weights(module, std=0.02):\n    if isinstance(module, nn.Conv1d):\n        nn.init.trunc_normal_(module.weight, std=std)\n", methods="def reset(self):\n    self.apply(partial(init_weights, std=0.01))"),
    "abstract_base": harmless("from abc import ABC, abstractmethod\n\n\nclass Encoder(ABC, nn.Module):\n    @abstractmethod\n    def encode(self, x): ...\n\n\nclass Identity(Encoder):\n    def encode(self, x):\n        return x\n", init="self.encoder = Identity()", forward="inputs = self.encoder.encode(inputs)"),
    "task_table": harmless(files={"tasks.json": json.dumps({"classify": {"prefix": "classify: "}, "search": {"prefix": "search: "}})}, top="import json\nimport pathlib\n", init='path = pathlib.Path(config.name_or_path, "tasks.json")\nself.tasks = json.loads(path.read_text()) if path.is_file() else {}'),
    "mel_filters": harmless("import math\n\n\ndef hz_to_mel(f):\n    return 2595.0 * math.log10(1.0 + f / 700.0)\n\n\ndef filters(n, rate=16000):\n    low, high = hz_to_mel(0), hz_to_mel(rate / 2)\n    return torch.linspace(low, high, n + 2)\n", forward="filters(4)"),
    "operators_of_torch": harmless("import operator\nfrom itertools import chain\n", forward="total = operator.add(inputs, 0)\nlist(chain([total], [inputs]))"),
    "inspect_signature": harmless("import inspect\n", forward="parameters = inspect.signature(self.linear.forward).parameters\nassert 'input' in parameters"),
    "class_attribute_lookup": harmless("LAYERS = {'linear': nn.Linear, 'identity': nn.Identity}\n", settings={"head": "identity"}, init="self.head = LAYERS[config.head]()\nself.pool = getattr(nn, 'Identity')()", forward="inputs = self.pool(self.head(inputs))"),
}  # fmt: skip
