# ruff: noqa: E501 - the edits are data, one case to a line or block
"""Folders that follow the contract, each in another style, and near misses of the rules: none has an error."""

import numpy
from safetensors.numpy import save_file

from corpus.bad_cases import FILLED, NO_FLAG, OUTPUT, OWN, POST, SHA, TIES, UNTIED, C, J, L, M, P, T, buffer_class
from corpus.bad_folders import (
    AUTO_MAP,
    CONFIGURATION,
    LAYERS,
    MODELING,
    README,
    block,
    bottom,
    init,
    initialise,
    submodule,
    top,
    weights,
)

DEEP = ("deep_good.py", None, "X = 1\n")
FIELDS = CONFIGURATION[CONFIGURATION.index("    def __init__") : CONFIGURATION.index("GoodConfig.register")]
MASK = buffer_class('self.register_buffer("mask", torch.ones(3), persistent=False)')
FILL = "module.ids.copy_(torch.arange(module.ids.numel())[None])"


def one_file(directory):
    """Everything in the modeling file."""
    for name in (C, L):
        (directory / name).unlink()
    text = MODELING.replace(
        "from .configuration_good import GoodConfig\nfrom .layers_good import Block, Positions\n", ""
    )
    config = CONFIGURATION.split("\n\n\n", 1)[1].replace("GoodConfig.register_for_auto_class()\n", "")
    layers = LAYERS.split("\n\n\n", 1)[1]
    head, rest = text.split("\n\n\n", 1)
    head = head.replace("import PreTrainedModel\n", "import PretrainedConfig, PreTrainedModel\n")
    (directory / M).write_text(f"{head}\n\n\n{config}\n\n{layers}\n\n{rest}\nGoodConfig.register_for_auto_class()\n")


def digest(directory):
    """What staging does."""
    from pinfold.folder.model_folder import code_digest

    sources = {path.name: path.read_text() for path in directory.glob("*.py")}
    path = directory / C
    path.write_text(path.read_text().replace('CODE_DIGEST = ""', f'CODE_DIGEST = "{code_digest(sources)}"'))


GOOD = {
    "as it is": [],
    "without config.json": [(J, '"', None), ("model.safetensors", None, "not looked at")],
    "without weights": [lambda d: (d / "model.safetensors").unlink()],
    "one file": [one_file, (J, {"auto_map": {"AutoConfig": "modeling_good.GoodConfig"}})],
    "stamped": [digest],
    "annotated digest": [(C, 'CODE_DIGEST = ""', 'CODE_DIGEST: str = ""')],
    "no digest": [(C, 'CODE_DIGEST = ""\n', "")],
    # files and imports
    "helper imported by both": [DEEP, top(L, "from .deep_good import X"), top(M, "from .deep_good import X")],
    "import in a function": [bottom(M, "def late():\n    from .layers_good import Block\n    return Block")],
    "import over lines": [(M, "import Block, Positions", "import (\n    Block,\n    Positions,\n)")],
    "prose about imports": [bottom(L, 'NOTE = "taken from .ghost, import it there"')],
    "docstring that names a file that is there": [
        bottom(L, 'NOTE = """\nfrom .configuration_good import GoodConfig\n"""')
    ],
    "comment about an import": [bottom(L, "# from .ghost import x")],
    "a file called types": [("types.py", None, "X = 1\n"), top(M, "import types")],
    "guarded import": [top(M, "try:\n    import triton\nexcept ImportError:\n    triton = None")],
    "guarded by ModuleNotFoundError": [
        top(M, "try:\n    from xformers.ops import x\nexcept (ModuleNotFoundError, OSError):\n    x = None")
    ],
    "guarded in a function": [
        bottom(
            L,
            "def late():\n    try:\n        import triton\n    except ImportError:\n        return None\n    return triton",
        )
    ],
    "flash attention as transformers guards it": [
        top(
            M,
            "from transformers.utils import is_flash_attn_2_available\n\nif is_flash_attn_2_available():\n    from flash_attn import flash_attn_func",
        )
    ],
    "flash attention and what it needs": [
        top(
            M,
            "import inspect\n\nfrom transformers.utils import is_flash_attn_2_available\n\nif is_flash_attn_2_available():\n    from flash_attn import flash_attn_func\n    from flash_attn.bert_padding import pad_input\n\n    WINDOWS = 'window_size' in inspect.signature(flash_attn_func).parameters",
        )
    ],
    "registered part of a configuration": [
        top(C, "from transformers import AutoConfig"),
        bottom(
            C,
            "class PartConfig(PretrainedConfig):\n    model_type = 'custom-part'\n\n    def __init__(self, size=2, **kwargs):\n        super().__init__(**kwargs)\n        self.size = size\n\n\nAutoConfig.register('custom-part', PartConfig)",
        ),
    ],
    "registered by whoever calls it": [
        top(M, "from transformers import AutoModel"),
        bottom(M, "def register():\n    AutoModel.register(GoodConfig, GoodModel)"),
    ],
    "part of a tensor above the floor": [
        top(C, 'MIN_TRANSFORMERS = "5.2"'),
        initialise("if isinstance(module, nn.Embedding):\n    nn.init.zeros_(module.weight[module.padding_idx])"),
    ],
    "standard library": [top(M, "import math\nimport collections.abc\nfrom dataclasses import dataclass")],
    "numpy and safetensors": [
        top(M, "import numpy as np\nfrom safetensors.torch import load_file\nfrom huggingface_hub import ModelCard")
    ],
    "declared in a constant": [top(C, 'REQUIREMENTS = ("timm",)'), top(M, "import timm")],
    "declared in requirements.txt": [
        ("requirements.txt", None, "# for pictures\ntimm>=1.0\nPillow\n"),
        top(M, "import timm\nfrom PIL import Image"),
    ],
    "declared in card.md": [
        ("card.md", None, "---\nlicense: mit\nrequirements:\n  - timm\n  - opencv-python\n---\n"),
        top(M, "import cv2\nimport timm"),
    ],
    "declared in a list in card.md": [
        ("card.md", None, '---\nrequirements: ["timm", einops]\n---\n'),
        top(M, "import einops\nimport timm"),
    ],
    "declared in the card's pip line": [
        ("README.md", None, '# x\n\n```bash\npip install "timm" "torch" "transformers>=4.48"\n```\n'),
        top(M, "import timm"),
    ],
    "docstring that imports what is there": [
        bottom(L, 'NOTE = """Example:\n    from transformers import AutoModel\n    import torch\n"""')
    ],
    "new name in a guard": [
        top(
            M,
            "try:\n    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS\nexcept ImportError:\n    ALL_ATTENTION_FUNCTIONS = {}",
        )
    ],
    "new name above the floor": [
        top(C, 'MIN_TRANSFORMERS = "5.0.0"'),
        top(M, "from transformers.masking_utils import create_causal_mask"),
    ],
    "transformers.initialization above the floor": [
        top(C, 'MIN_TRANSFORMERS = "5.0.0"'),
        top(M, "from transformers import initialization as init"),
        (
            M,
            f"            with torch.no_grad():\n                {FILL}\n",
            "            init.copy_(module.ids, torch.arange(module.ids.numel())[None])\n",
        ),
        (M, "            nn.init.ones_(module.scale)\n", "            init.ones_(module.scale)\n"),
    ],
    # settings
    "built-in type with a prefix": [(J, {"model_type": "my-bert"})],
    "class imported into the file": [(J, {"auto_map": {"AutoConfig": "modeling_good.GoodConfig"}})],
    "tokenizer pair": [
        ("tokenization_good.py", None, "class Slow:\n    pass\n"),
        (T, {"auto_map": {"AutoTokenizer": ["tokenization_good.Slow", None]}}),
    ],
    "fast tokenizer alone": [
        ("tokenization_good.py", None, "class Quick:\n    pass\n"),
        (T, {"auto_map": {"AutoTokenizer": [None, "tokenization_good.Quick"]}}),
    ],
    "tokenizer of its own": [
        (
            "tokenization_good.py",
            None,
            "from transformers import PreTrainedTokenizer\n\n\nclass GoodTokenizer(PreTrainedTokenizer):\n    pass\n",
        ),
        (
            J,
            {
                "auto_map": {"AutoTokenizer": ["tokenization_good.GoodTokenizer", None]},
                "tokenizer_class": "GoodTokenizer",
            },
        ),
    ],
    "image processor": [
        (
            "image_processing_good.py",
            None,
            "from transformers import BaseImageProcessor\n\n\nclass GoodPixels(BaseImageProcessor):\n    pass\n\n\nGoodPixels.register_for_auto_class('AutoImageProcessor')\n",
        ),
        (P, {"auto_map": {"AutoImageProcessor": "image_processing_good.GoodPixels"}}),
    ],
    "processor": [
        (
            "processing_good.py",
            None,
            "from transformers import ProcessorMixin\n\n\nclass GoodProcessor(ProcessorMixin):\n    attributes = ['tokenizer']\n",
        ),
        ("processor_config.json", {"auto_map": {"AutoProcessor": "processing_good.GoodProcessor"}}),
    ],
    "code elsewhere, as asked": [
        (J, {"auto_map": {a: f"me/code--{p}" for a, p in AUTO_MAP.items()}}),
        {"code_from": "me/code"},
    ],
    "attention for everybody to see": [(J, {"attn_implementation": "sdpa"})],
    "no dtype": [(J, {"torch_dtype": None})],
    "dtype with its module": [(J, {"torch_dtype": "torch.float32"})],
    "dtype of most tensors": [weights({"counter": numpy.zeros(3, numpy.int64)})],
    "half in both": [weights(dtype=numpy.float16), (J, {"torch_dtype": "float16"})],
    "no tokenizer files": [(J, {"tokenizer_class": None}), ("tokenizer.json", "{}", None), (T, '"', None)],
    "list of special tokens above the floor": [
        top(C, 'MIN_TRANSFORMERS = "5.0.0"'),
        (T, {"extra_special_tokens": ["<a>"]}),
    ],
    # weights
    "equal vectors": [weights({"a": numpy.arange(9.0), "b": numpy.arange(9.0)})],
    "constant matrices": [weights({"a": numpy.zeros((9, 9), numpy.float32), "b": numpy.zeros((9, 9), numpy.float32)})],
    "same numbers, other shape": [
        weights({"a": numpy.arange(64.0).reshape(8, 8), "b": numpy.arange(64.0).reshape(4, 16)})
    ],
    "two shards": [
        weights(),
        lambda d: save_file({"b": numpy.arange(64.0).reshape(8, 8)}, d / "model-2.safetensors", {"format": "pt"}),
    ],
    "alphabet in a name": [weights({"model.alphabet.weight": numpy.ones(3, numpy.float32)})],
    "gamma that is no parameter": [block("self.gamma = 0.5")],
    "passed on, and taken out before": [
        (
            C,
            "        super().__init__(",
            '        kwargs.pop("is_encoder_decoder", None)\n        super().__init__(is_encoder_decoder=False, ',
        ),
        (J, {"is_encoder_decoder": False}),
    ],
    "passed on, and not in the file": [(C, "super().__init__(", "super().__init__(return_dict=True, ")],
    "passed on as an argument": [
        (C, "self, vocab_size=32,", "self, vocab_size=32, is_encoder_decoder=False,"),
        (C, "super().__init__(", "super().__init__(is_encoder_decoder=is_encoder_decoder, "),
        (J, {"is_encoder_decoder": False}),
    ],
    "keys of a head that is not tied": [
        (C, "tie_word_embeddings=True", "tie_word_embeddings=False"),
        (J, {"tie_word_embeddings": False}),
        (M, OUTPUT, ""),
        weights({"head.weight": OWN}),
    ],
    "loss of a class whose base has one": [
        top(M, "from transformers import BertForSequenceClassification"),
        (
            M,
            "class GoodForSequenceClassification(GoodPreTrainedModel)",
            "class GoodForSequenceClassification(BertForSequenceClassification)",
        ),
        (M, "    accepts_loss_kwargs = False\n", "    config_class = GoodConfig\n"),
    ],
    "gamma above the floor": [
        top(C, 'MIN_TRANSFORMERS = "4.49"'),
        block("self.gamma = nn.Parameter(torch.ones(width))"),
        initialise("if hasattr(module, 'gamma'):\n    nn.init.ones_(module.gamma)"),
    ],
    "weight_norm by parametrization": [
        top(L, "from torch.nn.utils import parametrizations"),
        block("self.normed = parametrizations.weight_norm(nn.Linear(width, width))"),
    ],
    # classes
    "post_init in a base": [
        (
            M,
            "    def _init_weights",
            "    def __init__(self, config):\n        super().__init__(config)\n        self.build(config)\n        self.post_init()\n\n    def build(self, config):\n        pass\n\n    def _init_weights",
        ),
        bottom(
            M,
            "class Child(GoodPreTrainedModel):\n    def build(self, config):\n        self.lin = nn.Linear(2, 2)\n\n    def forward(self, input_ids):\n        return self.lin(input_ids)",
        ),
    ],
    "post_init through a method": [
        (
            M,
            POST,
            POST.replace("self.post_init()", "self.finish()") + "\n\n    def finish(self):\n        self.post_init()",
        )
    ],
    "post_init of a parent": [
        bottom(M, "class Child(GoodModel):\n    def forward(self, input_ids):\n        return input_ids")
    ],
    "post_init twice": [
        bottom(
            M,
            "class Child(GoodModel):\n    def __init__(self, config):\n        super().__init__(config)\n        self.more = nn.Linear(2, 2)\n        self.post_init()",
        )
    ],
    "post_init by the class": [(M, POST, POST.replace("self.post_init()", "PreTrainedModel.post_init(self)"))],
    "base without forward": [bottom(M, "class Abstract(GoodPreTrainedModel):\n    pass")],
    "mixin before the base": [
        bottom(M, "class Talks:\n    def talk(self):\n        return 1"),
        (M, "class GoodModel(GoodPreTrainedModel):", "class GoodModel(GoodPreTrainedModel, Generic):"),
        top(M, "from typing import Generic\n"),
    ],
    "generation mixin": [
        top(M, "from transformers import GenerationMixin"),
        (
            M,
            "class GoodForMaskedLM(GoodPreTrainedModel)",
            "class GoodForMaskedLM(GoodPreTrainedModel, GenerationMixin)",
        ),
        (C, "tie_word_embeddings=True, **kwargs", "tie_word_embeddings=True, use_cache=False, **kwargs"),
        (J, '{"', '{"use_cache": false, "'),
    ],
    "tied by assignment and declared": [
        (
            M,
            "        self.head = nn.Linear(config.width, config.vocab_size)\n",
            "        self.head = nn.Linear(config.width, config.vocab_size)\n        self.head.weight = self.model.words.weight\n",
        ),
    ],
    "base under another name": [
        (M, "import PreTrainedModel\n", "import PreTrainedModel as Base\n"),
        (M, "GoodPreTrainedModel(PreTrainedModel)", "GoodPreTrainedModel(Base)"),
    ],
    "base by attribute": [
        top(M, "import transformers"),
        (M, "GoodPreTrainedModel(PreTrainedModel)", "GoodPreTrainedModel(transformers.PreTrainedModel)"),
    ],
    "derived from a stock model": [
        top(M, "from transformers import BertConfig, BertModel"),
        bottom(
            M,
            "class Mine(BertModel):\n    def __init__(self, config):\n        super().__init__(config)\n        self.more = nn.Linear(2, 2)",
        ),
    ],
    "annotated config_class": [(M, "config_class = GoodConfig", "config_class: type = GoodConfig")],
    # ties
    "not tied": [
        UNTIED,
        (C, "tie_word_embeddings=True", "tie_word_embeddings=False"),
        (J, {"tie_word_embeddings": False}),
    ],
    "not tied by the class": [
        UNTIED,
        (C, "tie_word_embeddings=tie_word_embeddings", "tie_word_embeddings=False"),
        (J, {"tie_word_embeddings": None}),
    ],
    "no keys and no head that is exposed": [UNTIED, (M, OUTPUT, "")],
    "keys are None": [(M, TIES, "    _tied_weights_keys = None\n"), (M, OUTPUT, "")],
    "flag in the class only": [(J, {"tie_word_embeddings": None})],
    "flag in config.json only": [NO_FLAG],
    "flag set on self": [
        NO_FLAG,
        (
            C,
            "        self.width = width\n",
            "        self.width = width\n        self.tie_word_embeddings = tie_word_embeddings\n",
        ),
        (J, {"tie_word_embeddings": None}),
    ],
    "flag by setdefault": [
        NO_FLAG,
        (
            C,
            "        super().__init__(",
            '        kwargs.setdefault("tie_word_embeddings", True)\n        super().__init__(',
        ),
        (J, {"tie_word_embeddings": None}),
    ],
    "flag as a class attribute": [
        NO_FLAG,
        (C, '    model_type = "custom-good"\n', '    model_type = "custom-good"\n    tie_word_embeddings = True\n'),
        (J, {"tie_word_embeddings": None}),
    ],
    "tie_weights that takes everything": [
        (
            M,
            "    def get_output_embeddings",
            "    def tie_weights(self, *args, **kwargs):\n        super().tie_weights(*args, **kwargs)\n\n    def get_output_embeddings",
        )
    ],
    "a list of different layers": [block("self.many = nn.ModuleList([nn.Linear(width, width) for _ in range(3)])")],
    "the same type three times": [block("kind = nn.Linear\nself.a, self.b = kind(width, width), kind(width, width)")],
    "numbers of a weight": [block("self.features = self.inner.weight.shape[0]\nself.count = self.inner.in_features")],
    "weight from the configuration": [block("self.inner.weight_decay = 0.1")],
    "parameter made from a local": [block("start = torch.zeros(width)\nself.start = nn.Parameter(start)")],
    # _init_weights
    "persistent buffer": [(L, ", persistent=False", "")],
    "empty buffer": [block('self.register_buffer("mask", None, persistent=False)')],
    "filled with init": [
        (
            M,
            f"            with torch.no_grad():\n                {FILL}\n",
            "            nn.init.constant_(module.ids, 0)\n",
        )
    ],
    "filled by assignment": [
        (
            M,
            f"            with torch.no_grad():\n                {FILL}\n",
            "            module.ids[:] = torch.arange(module.ids.numel())\n",
        )
    ],
    "filled by its own method": [
        (M, f"            with torch.no_grad():\n                {FILL}\n", "            module.reset()\n"),
        (
            L,
            "    def forward(self, x):\n        return x + self.table",
            "    @torch.no_grad()\n    def reset(self):\n        self.ids.copy_(torch.arange(self.ids.numel())[None])\n\n    def forward(self, x):\n        return x + self.table",
        ),
    ],
    "filled by name": [
        (
            M,
            f"{FILLED}            with torch.no_grad():\n                {FILL}\n",
            '        elif hasattr(module, "ids"):\n            getattr(module, "ids").copy_(torch.arange(3))\n',
        )
    ],
    "filled through a local": [
        (
            M,
            f"            with torch.no_grad():\n                {FILL}\n",
            "            ids = module.ids\n            ids.copy_(torch.arange(ids.numel())[None])\n",
        )
    ],
    "all buffers in a loop": [
        *MASK,
        initialise("for name, buffer in module.named_buffers(recurse=False):\n    buffer.fill_(1)"),
    ],
    "filled where a base is asked for": [
        (L, "class Positions(nn.Module):", "class Table(nn.Module):\n    pass\n\n\nclass Positions(Table):"),
        (M, "import Block, Positions", "import Block, Positions, Table"),
        (M, "isinstance(module, Positions)", "isinstance(module, Table)"),
    ],
    "one of several classes": [(M, "isinstance(module, Positions)", "isinstance(module, (Positions, nn.Bilinear))")],
    "data of a buffer": [(M, FILL, FILL.replace("module.ids.copy_", "module.ids.data.copy_"))],
    "guarded by hand": [
        initialise(
            'if isinstance(module, nn.Embedding) and module.padding_idx is not None:\n    if not getattr(module.weight, "_is_hf_initialized", False):\n        module.weight.data[module.padding_idx].zero_()'
        )
    ],
    "guarded by leaving": [
        initialise(
            'if getattr(getattr(module, "weight", None), "_is_hf_initialized", False):\n    return\nif isinstance(module, nn.Bilinear):\n    module.weight.data.zero_()'
        )
    ],
    "frozen parameter": [initialise("if isinstance(module, Block):\n    module.scale.requires_grad_(False)")],
    "running statistics": [
        initialise(
            "if isinstance(module, nn.BatchNorm1d):\n    module.running_mean.zero_()\n    module.running_var.fill_(1)"
        )
    ],
    "init under another name": [
        top(M, "from torch.nn import init as starting"),
        initialise("if isinstance(module, nn.Bilinear):\n    starting.normal_(module.weight)"),
    ],
    "init through torch": [
        initialise("if isinstance(module, nn.Bilinear):\n    torch.nn.init.normal_(module.weight)")
    ],
    "init of a layer in a list": [
        initialise("if hasattr(module, 'layers'):\n    nn.init.zeros_(module.layers[-1].weight)")
    ],
    "constructor that resets": [
        (
            L,
            "        self.rate = rate\n",
            "        self.rate = rate\n        self.reset_parameters()\n\n    def reset_parameters(self):\n        nn.init.ones_(self.scale)\n",
        )
    ],
    # constructors
    "numbers with math": [top(L, "import math"), block("self.bound = math.sqrt(width) * float(rate) + int(width)")],
    "values on the cpu": [init('rates = torch.linspace(0, 1, 3, device="cpu").tolist()')],
    "values on a cpu device": [
        init('rates = [x.item() for x in torch.linspace(0, 1, 3, device=torch.device("cpu"))]')
    ],
    "in a cpu context": [init('with torch.device("cpu"):\n    rates = torch.linspace(0, 1, 3).tolist()')],
    "tensor attribute on the cpu": [block('self.order = torch.arange(6, device="cpu")')],
    "tensor that becomes a buffer": [block('order = torch.arange(6)\nself.register_buffer("order", order)')],
    "shapes of tensors": [block("self.count = self.scale.shape[0] + self.scale.numel() + torch.ones(3).size(0)")],
    "limits of a dtype": [block("self.least = torch.finfo(torch.float32).min\nself.dtype = torch.float32")],
    "a parameter that may be None": [
        block(
            "self.shift = nn.Parameter(torch.zeros(width)) if rate else None\nif self.shift is not None:\n    self.shifted = True"
        )
    ],
    "values in forward": [
        (L, "        return x + self.scale", "        self.last = x.sum().item()\n        return x + self.scale")
    ],
    "values in a nested function": [block("self.late = lambda: torch.ones(1).item()")],
    "configuration from the Hub": [
        top(M, "from transformers import AutoConfig"),
        init('self.other = AutoConfig.from_pretrained("a/b") if config.depth > 99 else None'),
    ],
    "enumerate": [init("for i, x in enumerate(torch.linspace(0, 1, 3)):\n    setattr(self, f'index_{int(i)}', i)")],
    # configuration
    "fields": [
        (
            C,
            FIELDS,
            "    vocab_size: int = 32\n    width: int = 8\n    depth: int = 2\n    longest: int = 16\n    pad_token_id: int = 0\n    tie_word_embeddings: bool = True\n\n\n",
        )
    ],
    "keyword arguments": [(C, "self, vocab_size=32", "self, *, vocab_size=32")],
    "read with a default": [init('self.rate = getattr(config, "dropout", 0.0)')],
    "read when it is there": [init('self.rate = config.dropout if hasattr(config, "dropout") else 0.0')],
    "set as a property": [
        (C, "    def __init__(", "    @property\n    def heads(self):\n        return 2\n\n    def __init__("),
        init("self.heads = config.heads"),
    ],
    "set by attribute_map": [
        (
            C,
            '    model_type = "custom-good"\n',
            '    model_type = "custom-good"\n    attribute_map = {"hidden_size": "width"}\n',
        ),
        init("self.size = config.hidden_size"),
    ],
    "set in a loop": [
        (
            C,
            "        self.width = width\n",
            "        self.width = width\n        for name in ('a', 'b'):\n            setattr(self, name, 1)\n",
        ),
        init("self.size = config.a"),
    ],
    "set in a tuple": [
        (C, "        self.width = width\n", "        self.width, self.heads = width, 2\n"),
        init("self.heads = config.heads"),
    ],
    "set in a base": [
        (
            C,
            "class GoodConfig(PretrainedConfig):",
            "class BaseConfig(PretrainedConfig):\n    def __init__(self, heads=2, **kwargs):\n        super().__init__(**kwargs)\n        self.heads = heads\n\n\nclass GoodConfig(BaseConfig):",
        ),
        init("self.heads = config.heads"),
    ],
    "what every release has": [
        init(
            "self.out = config.num_labels, config.output_attentions, config.output_hidden_states, config.id2label, config.return_dict"
        )
    ],
    "somebody else's config": [bottom(L, "def other(config: dict):\n    return config.anything")],
    "settings of a helper": [
        bottom(
            L,
            "class Helper:\n    def __init__(self, config: 'HelperSettings'):\n        self.config = config\n        self.x = config.anything",
        )
    ],
    # loss
    "items counted in a method": [
        (M, "    accepts_loss_kwargs = False\n", ""),
        (M, "F.cross_entropy(logits, labels) if labels", "self.loss(logits, labels, kwargs) if labels"),
        (
            M,
            "        return SequenceClassifierOutput(loss=loss, logits=logits)\n",
            "        return SequenceClassifierOutput(loss=loss, logits=logits)\n\n    def loss(self, logits, labels, kwargs):\n        return F.cross_entropy(logits, labels, reduction='sum') / kwargs['num_items_in_batch']\n",
        ),
    ],
    "loss_function of transformers": [
        (M, "    accepts_loss_kwargs = False\n", ""),
        (M, "F.cross_entropy(logits, labels) if labels", "self.loss_function(logits, labels, 3, **kwargs) if labels"),
    ],
    "no loss": [
        (M, "        return BaseModelOutput", "        return BaseModelOutput"),
        (M, "attention_mask=None, return_dict=None", "attention_mask=None, return_dict=None, **kwargs"),
    ],
    "set on the instance": [
        (M, "    accepts_loss_kwargs = False\n", ""),
        (M, "        self.classifier = nn", "        self.accepts_loss_kwargs = False\n        self.classifier = nn"),
    ],
    # cards
    "pinned card": [{"commit": SHA}],
    "card with a local directory": [
        ("README.md", None, README.format(sha=SHA) + "\n```python\nAutoModel.from_pretrained('./runs/x')\n```\n"),
        {"commit": SHA},
    ],
    "card that compares with a stock model": [
        ("README.md", None, README.format(sha=SHA) + "\n```python\nAutoModel.from_pretrained('google/bert')\n```\n"),
        {"commit": SHA},
    ],
    "card with a variable": [
        (
            "README.md",
            None,
            f"```python\nsha = '{SHA}'\nrepo = 'me/good'\nmodel = AutoModel.from_pretrained(repo, revision=sha, trust_remote_code=True)\n```\n",
        ),
        {"commit": SHA},
    ],
    "card without a snippet": [("README.md", None, "Call from_pretrained.\n"), {"commit": SHA}],
    "submodule that nobody registers": submodule(
        "class Extra(nn.Module):\n    def forward(self, x):\n        return x"
    ),
}
