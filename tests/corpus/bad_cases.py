# ruff: noqa: E501 - the edits are data, one case to a line or block
"""What the audit must say, case by case: at least three variants of each rule and of each of its kinds."""

import numpy

from corpus.bad_folders import (
    AUTO_MAP,
    CONFIGURATION,
    README,
    SHA,
    Bad,
    C,
    L,
    M,
    block,
    bottom,
    init,
    initialise,
    submodule,
    tensors,
    top,
    weights,
)

J, T, P = "config.json", "tokenizer_config.json", "preprocessor_config.json"
POST = "        self.post_init()\n\n    def get_input_embeddings(self):\n        return self.words"
TIES = '    _tied_weights_keys = {"head.weight": "model.words.weight"}\n'
UNTIED = (M, TIES, "")
NO_FLAG = (
    C,
    "super().__init__(pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs)",
    "super().__init__(pad_token_id=pad_token_id, **kwargs)",
)
FILLED = "        elif isinstance(module, Positions):\n"
OUTPUT = "    def get_output_embeddings(self):\n        return self.head\n"
DRAWN = numpy.random.default_rng(0)
OWN = DRAWN.standard_normal((32, 8)).astype(numpy.float32)
OWN_HEAD = weights({"head.weight": OWN})
TWIN = DRAWN.standard_normal((8, 8)).astype(numpy.float32)


def named(auto, value):
    return (J, {"auto_map": {auto: value}})


def p10(edits, at="class GoodModel("):
    return Bad("P10", edits, "does not call self.post_init()", (M, at))


def p11c(edits):
    return Bad("P11c", edits, "weight shared by assignment in __init__; it is untied after loading.")


def p37(edits):
    return Bad("P37", edits, "are one module with weights: save_pretrained refuses")


def p12(edits, name):
    return Bad("P12", edits, f'registers non-persistent buffer "{name}" but _init_weights does not fill it')


def p13(text, at=None):
    return Bad("P13", [initialise(text)], "in _init_weights writes in place", (M, at or text.split("\n")[-1].strip()))


def p14(edits, at):
    return Bad("P14", edits, "reads a tensor value in __init__ and fails on the meta device", at)


def p14b(edits, at):
    return Bad("P14b", edits, "is a plain tensor attribute", at)


def buffer_class(line, extra=""):
    return submodule(
        "class Extra(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        f"        {line}\n\n    def forward(self, x):\n        return x\n\n"
        f"    def read(self):\n        return self.mask, self.second, self.ids\n{extra}"
    )


BAD = {
    # P01
    "P01 head": Bad("P01", [named("AutoModelForMaskedLM", None)], 'no "AutoModelForMaskedLM" entry although'),
    "P01 base": Bad("P01", [named("AutoModel", None)], "Unrecognized configuration class"),
    "P01 config": Bad("P01", [named("AutoConfig", None)], '"AutoConfig": "configuration_good.GoodConfig"'),
    "P01 no map": Bad("P01", [(J, {"auto_map": None})], 'Add "AutoModel": "modeling_good.GoodModel"'),
    "P01 processor": Bad(
        "P01",
        [
            (
                "image_processing_good.py",
                None,
                "from transformers import BaseImageProcessor\n\n\n"
                "class GoodProcessor(BaseImageProcessor):\n    pass\n",
            ),
        ],
        '"AutoImageProcessor": "image_processing_good.GoodProcessor"',
    ),
    # P02
    "P02 file": Bad("P02", [named("AutoModel", "ghost.GoodModel")], "no such file"),
    "P02 class": Bad("P02", [named("AutoModel", "modeling_good.Ghost")], "no such class"),
    "P02 list": Bad("P02", [named("AutoModel", ["modeling_good.GoodModel", None])], 'must be "file.Class"'),
    "P02 path": Bad("P02", [named("AutoModel", "code/modeling_good.GoodModel")], "not a list or a path"),
    "P02 number": Bad("P02", [(J, {"auto_map": 5})], "must be a table"),
    "P02 null": Bad(
        "P02",
        [lambda d: (d / J).write_text((d / J).read_text().replace('"auto_map": {', '"auto_map": null, "x": {'))],
        "must be a table",
    ),
    "P02 strings": Bad("P02", [(J, {"auto_map": ["AutoModel"]})], "must be a table"),
    "P02 entry null": Bad(
        "P02",
        [lambda d: (d / J).write_text((d / J).read_text().replace('"modeling_good.GoodModel"', "null"))],
        'must be "file.Class"',
    ),
    "P02 tokenizer": Bad("P02", [(T, {"auto_map": {"AutoTokenizer": ["ghost.Slow", None]}})], "tokenizer_config.json"),
    "P02 processor": Bad("P02", [(P, {"auto_map": {"AutoImageProcessor": "ghost.P"}})], "preprocessor_config.json"),
    "P02 composite": Bad(
        "P02", [("processor_config.json", {"auto_map": {"AutoProcessor": "modeling_good.G"}})], "no such class"
    ),
    # P03
    "P03 model": Bad(
        "P03", [named("AutoModel", "other/code--modeling_good.GoodModel")], "another repository (other/code)"
    ),
    "P03 config": Bad(
        "P03", [named("AutoConfig", "other/code--configuration_good.GoodConfig")], "does not pin that code"
    ),
    "P03 tokenizer": Bad(
        "P03", [(T, {"auto_map": {"AutoTokenizer": ["a/b--t.Slow", None]}})], "points to another repository (a/b)"
    ),
    "P03 third": Bad(
        "P03",
        [
            (
                J,
                {
                    "auto_map": {a: f"me/code--{p}" for a, p in AUTO_MAP.items()}
                    | {"AutoModel": "x/y--modeling_good.GoodModel"}
                },
            )
        ],
        "(x/y)",
        arguments={"code_from": "me/code"},
    ),
    # P04
    "P04 bert": Bad("P04", [(J, {"model_type": "bert"})], 'model_type "bert" is a built-in transformers type'),
    "P04 gpt2": Bad("P04", [(J, {"model_type": "gpt2"})], 'Use "custom-gpt2"'),
    "P04 newest": Bad("P04", [(J, {"model_type": "modernbert"})], "stock model with random weights"),
    "P04 class": Bad("P04", [(C, '"custom-good"', '"resnet"'), (J, {"model_type": "other"})], 'model_type "resnet"'),
    "P04 number": Bad("P04", [(J, {"model_type": 5})], "model_type 5 is not a name"),
    "P04 list": Bad("P04", [(J, {"model_type": ["bert"]})], "is not a name"),
    # P05
    "P05 trust": Bad("P05", [(J, {"trust_remote_code": True})], 'config.json must not contain "trust_remote_code"'),
    "P05 attention": Bad("P05", [(J, {"_attn_implementation_internal": "kernels/evil"})], "what code is run"),
    "P05 tokenizer": Bad("P05", [(T, {"trust_remote_code": True})], "tokenizer_config.json must not contain"),
    "P05 processor": Bad("P05", [("processor_config.json", {"trust_remote_code": True})], "processor_config.json"),
    "P05 nested": Bad(
        "P05",
        [(J, {"text_config": {"a": [{"_attn_implementation_internal": "x/y"}]}})],
        "_attn_implementation_internal",
    ),
    # P06
    "P06 dot": Bad(
        "P06", [top(M, "from . import layers_good")], "cannot be found by the loader", (M, "from . import")
    ),
    "P06 absolute": Bad(
        "P06", [top(M, "import layers_good")], "layers_good.py in this folder works", (M, "import layers_good")
    ),
    "P06 absolute from": Bad(
        "P06", [top(M, "from layers_good import Block as B")], "cannot be found", (M, "from layers_good")
    ),
    "P06 subpackage": Bad("P06", [top(M, "from .sub.deep import x")], "cannot be found", (M, "from .sub")),
    "P06 missing": Bad(
        "P06",
        [top(M, "try:\n    from .ghost import x\nexcept ImportError:\n    x = 1")],
        "ghost.py",
        (M, "from .ghost"),
    ),
    "P06 docstring": Bad(
        "P06", [bottom(L, 'NOTE = """\nfrom .ghost import x\n"""')], '"from .ghost import x"', (L, "from .ghost")
    ),
    "P06 parent": Bad("P06", [top(M, "from ..up import x")], "cannot be found", (M, "from ..up")),
    "P06 not first on its line": Bad(
        "P06",
        [("deep_good.py", None, "X = 1\n"), top(M, "A = 1; from .deep_good import X")],
        "cannot be found",
        (M, "deep_good"),
    ),
    "P06 over a backslash": Bad(
        "P06",
        [("deep_good.py", None, "X = 1\n"), top(M, "from .deep_good \\\n    import X")],
        "cannot be found",
        (M, "deep_good"),
    ),
    # P07
    "P07 helper": Bad(
        "P07",
        [("deep_good.py", None, "X = 1\n"), top(L, "from .deep_good import X")],
        "helper deep_good.py is reached only through layers_good.py",
        (L, "deep_good"),
    ),
    "P07 configuration's": Bad(
        "P07",
        [("deep_good.py", None, "X = 1\n"), top(C, "from .deep_good import X")],
        "Import it from modeling_good.py as well",
        (C, "deep_good"),
    ),
    "P07 in a function": Bad(
        "P07",
        [("deep_good.py", None, "X = 1\n"), bottom(L, "def late():\n    from .deep_good import X\n    return X")],
        "will not copy it",
        (L, "deep_good"),
    ),
    "P07 deeper": Bad(
        "P07",
        [
            ("a_good.py", None, "from .b_good import X\n"),
            ("b_good.py", None, "X = 1\n"),
            top(L, "from .a_good import X"),
        ],
        "helper b_good.py is reached only through a_good.py",
        ("a_good.py", "b_good"),
    ),
    # P08
    "P08 top": Bad("P08", [top(M, "import einops")], "import einops is a hard requirement", (M, "import einops")),
    "P08 function": Bad(
        "P08",
        [bottom(L, "def late(x):\n    from einops import rearrange\n    return rearrange(x)")],
        "even inside a function",
        (L, "from einops"),
    ),
    "P08 typing": Bad(
        "P08",
        [top(M, "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from xformers.ops import Bias")],
        "import xformers",
        (M, "from xformers"),
    ),
    "P08 suppressed": Bad(
        "P08",
        [top(M, "import contextlib\n\nwith contextlib.suppress(ImportError):\n    import triton")],
        "import triton",
        (M, "import triton"),
    ),
    "P08 other guard": Bad(
        "P08",
        [top(M, "try:\n    import triton\nexcept ValueError:\n    triton = None")],
        "import triton",
        (M, "import triton"),
    ),
    "P08 in the handler": Bad(
        "P08",
        [top(M, "try:\n    import fast\nexcept ImportError:\n    import slow as fast")],
        "import slow",
        (M, "import slow"),
    ),
    "P08 after the guard": Bad(
        "P08",
        [top(M, "try:\n    import fast\nexcept ImportError:\n    fast = None\nelse:\n    from fast import ops")],
        "import fast",
        (M, "from fast"),
    ),
    "P08 asked for": Bad(
        "P08",
        [top(M, "from transformers.utils import is_scipy_available\n\nif is_scipy_available():\n    import scipy")],
        "import scipy",
        (M, "import scipy"),
    ),
    "P08 after flash_attn": Bad(
        "P08",
        [
            top(
                M,
                "from transformers.utils import is_flash_attn_2_available\n\nif is_flash_attn_2_available():\n    from flash_attn import flash_attn_func\n    import einops",
            )
        ],
        "import einops",
        (M, "import einops"),
    ),
    "P08 docstring": Bad(
        "P08", [bottom(L, 'NOTE = """Example:\n    from PIL import Image\n"""')], "import PIL", (L, "from PIL")
    ),
    # P09
    "P09 masking": Bad(
        "P09",
        [top(M, "from transformers.masking_utils import create_causal_mask")],
        "does not exist in transformers 4.48",
        (M, "create_causal_mask"),
    ),
    "P09 new name": Bad(
        "P09",
        [top(C, "from transformers import PreTrainedConfig as Other")],
        "Use PretrainedConfig",
        (C, "PreTrainedConfig as"),
    ),
    "P09 old name": Bad(
        "P09",
        [top(M, "from transformers.pytorch_utils import find_pruneable_heads_and_indices")],
        "find_pruneable_heads_and_indices does not exist",
        (M, "find_prune"),
    ),
    # P10
    "P10 base": p10(
        [(M, POST, POST.replace("        self.post_init()\n", "        pass\n"))],
        "    def __init__(self, config):\n        super().__init__(config)\n        self.words",
    ),
    "P10 all": p10(
        [lambda d: (d / M).write_text((d / M).read_text().replace("        self.post_init()\n", ""))],
        "    def __init__(self, config):\n        super().__init__(config)\n        self.words",
    ),
    "P10 old name": p10(
        [(M, POST, POST.replace("post_init", "init_weights"))],
        "    def __init__(self, config):\n        super().__init__(config)\n        self.words",
    ),
    "P10 not called": p10(
        [(M, POST, POST.replace("self.post_init()", "self.post_init"))],
        "    def __init__(self, config):\n        super().__init__(config)\n        self.words",
    ),
    "P10 in a function": p10(
        [(M, POST, POST.replace("self.post_init()", "self.later = lambda: self.post_init()"))],
        "    def __init__(self, config):\n        super().__init__(config)\n        self.words",
    ),
    "P10 no __init__": p10(
        [bottom(M, "class Bare(GoodPreTrainedModel):\n    def forward(self, input_ids):\n        return input_ids")],
        "class Bare(",
    ),
    "P10 inherited": p10(
        [
            (M, POST, POST.replace("        self.post_init()\n", "        pass\n")),
            bottom(
                M,
                "class Child(GoodModel):\n    def __init__(self, config):\n        super().__init__(config)\n        self.more = 1",
            ),
        ],
        "    def __init__(self, config):\n        super().__init__(config)\n        self.more",
    ),
    # P11
    "P11 list": Bad(
        "P11",
        [(M, TIES, '    _tied_weights_keys = ["head.weight"]\n')],
        "_tied_weights_keys is a list; transformers 5 needs",
        (M, "_tied_weights_keys"),
    ),
    "P11 tuple": Bad(
        "P11", [(M, TIES, '    _tied_weights_keys = ("head.weight",)\n')], "is a tuple", (M, "_tied_weights_keys")
    ),
    "P11 set": Bad(
        "P11", [(M, TIES, '    _tied_weights_keys: set = {"head.weight"}\n')], "is a set", (M, "_tied_weights_keys")
    ),
    "P11 constant": Bad(
        "P11",
        [top(M, 'KEYS = ["head.weight"]\n'), (M, TIES, "    _tied_weights_keys = KEYS\n")],
        "is a list",
        (M, "_tied_weights_keys"),
    ),
    "P11 in __init__": Bad(
        "P11",
        [(M, "        self.head = nn", '        self._tied_weights_keys = ["head.weight"]\n        self.head = nn')],
        "is a list",
        (M, "self._tied_weights_keys"),
    ),
    "P11 comprehension": Bad(
        "P11", [(M, TIES, '    _tied_weights_keys = [f"head.{n}" for n in ("weight",)]\n')], "is a list"
    ),
    "P11 none": Bad(
        "P11",
        [UNTIED],
        "_tied_weights_keys is missing although get_output_embeddings is defined",
        (M, "class GoodForMaskedLM"),
    ),
    "P11b no flag": Bad(
        "P11b",
        [NO_FLAG, (J, {"tie_word_embeddings": None})],
        "config.json has no tie_word_embeddings: transformers 5 leaves head.weight random",
        (M, "class GoodForMaskedLM"),
    ),
    "P11b argument that is dropped": Bad(
        "P11b",
        [
            (C, ", tie_word_embeddings=tie_word_embeddings, **kwargs)", ", **kwargs)"),
            (J, {"tie_word_embeddings": None}),
        ],
        "leaves head.weight random",
    ),
    "P11b read only": Bad(
        "P11b",
        [
            NO_FLAG,
            (
                C,
                "        self.width = width\n",
                "        self.width = width\n        self.tied = tie_word_embeddings\n",
            ),
            (J, {"tie_word_embeddings": None}),
        ],
        "leaves head.weight random",
    ),
    "P11b a head of its own": Bad(
        "P11b",
        [NO_FLAG, (J, {"tie_word_embeddings": None}), OWN_HEAD],
        "transformers 4 ties head.weight, and what the checkpoint has for it is lost.",
        (M, "class GoodForMaskedLM"),
    ),
    "P11b a head that a tool wrote twice": Bad(
        "P11b",
        [NO_FLAG, (J, {"tie_word_embeddings": None}), weights({"head.weight": tensors()["model.words.weight"]})],
        "leaves head.weight random.",
    ),
    "P11 a head of its own": Bad(
        "P11",
        [UNTIED, OWN_HEAD],
        "transformers 4 ties the two, and what the checkpoint has for the head is lost.",
    ),
    "P11 a head of its own in a part": Bad(
        "P11",
        [UNTIED, (M, "return self.head\n", "return self.inside.head\n"), weights({"inside.head.weight": OWN})],
        "and what the checkpoint has for the head is lost",
    ),
    "P11b no output": Bad(
        "P11b", [(M, OUTPUT, "")], "get_output_embeddings is not defined: transformers 4 leaves head.weight random"
    ),
    "P11c weight": p11c(
        [
            (
                M,
                "        self.head = nn.Linear(config.width, config.vocab_size)\n",
                "        self.head = nn.Linear(config.width, config.vocab_size)\n        self.head.weight = self.model.words.weight\n",
            ),
            (M, '    _tied_weights_keys = {"head.weight": "model.words.weight"}\n', ""),
        ]
    ),
    "P11c local": p11c(
        [init("table = nn.Embedding(4, 4)\nself.a = table\nself.b = nn.Linear(4, 4)\nself.b.weight = table.weight")]
    ),
    "P11c local tensor": p11c(
        [block("self.other = nn.Linear(width, width)\nw = self.inner.weight\nself.other.weight = w")]
    ),
    "P11c setattr": p11c(
        [block('self.other = nn.Linear(width, width)\nsetattr(self.other, "weight", self.inner.weight)')]
    ),
    "P11c data": p11c(
        [block("self.other = nn.Linear(width, width)\nself.other.weight.data = self.inner.weight.data")]
    ),
    "P11c register": p11c([block('self.register_parameter("copy", self.inner.weight)')]),
    "P11c bias": p11c([block("self.bias = nn.Parameter(torch.zeros(width))\nself.inner.bias = self.bias")]),
    "P37 module": p37([block("self.other = self.inner")]),
    "P37 two homes": p37([block("layer = nn.Linear(width, width)\nself.a = layer\nself.b = layer")]),
    "P37 list": p37([block("self.many = nn.ModuleList([nn.Linear(width, width)] * 3)")]),
    "P37 comprehension": p37(
        [block("layer = nn.Linear(width, width)\nself.many = nn.ModuleList([layer for _ in range(3)])")]
    ),
    "P11c chained": p11c(
        [block("self.other = nn.Linear(width, width)\nself.x, self.other.weight = 1, self.inner.weight")]
    ),
    "P11d plain": Bad(
        "P11d",
        [
            (
                M,
                "    def get_output_embeddings",
                "    def tie_weights(self):\n        pass\n\n    def get_output_embeddings",
            )
        ],
        "tie_weights() is overridden.",
        (M, "def tie_weights"),
    ),
    "P11d one argument": Bad(
        "P11d",
        [
            (
                M,
                "    def get_output_embeddings",
                "    def tie_weights(self, missing_keys=None):\n        pass\n\n    def get_output_embeddings",
            )
        ],
        "tie_weights() is overridden.",
    ),
    "P11d base": Bad(
        "P11d",
        [
            (
                M,
                "    def _init_weights",
                "    def tie_weights(self, *args):\n        super().tie_weights()\n\n    def _init_weights",
            )
        ],
        "GoodPreTrainedModel: tie_weights()",
    ),
    # P12
    "P12 removed": p12(
        [
            (
                M,
                FILLED
                + "            with torch.no_grad():\n                module.ids.copy_(torch.arange(module.ids.numel())[None])\n",
                "",
            )
        ],
        "ids",
    ),
    "P12 position": p12(buffer_class('self.register_buffer("mask", torch.ones(3), False)'), "mask"),
    "P12 Buffer": p12(buffer_class("self.mask = nn.Buffer(torch.ones(3), persistent=False)"), "mask"),
    "P12 device": p12(
        buffer_class('self.register_buffer("mask", torch.ones(3, device="cpu"), persistent=False)'), "mask"
    ),
    "P12 loop": p12(
        buffer_class(
            'for name in ("first", "second"):\n            self.register_buffer(name, torch.ones(3), persistent=False)'
        ),
        "second",
    ),
    "P12 other class": p12(buffer_class('self.register_buffer("ids", torch.ones(3), persistent=False)'), "ids"),
    "P12 only read": p12(
        [
            *buffer_class('self.register_buffer("mask", torch.ones(3), persistent=False)'),
            initialise("size = getattr(module, 'depth', 0) or module.mask.numel() if hasattr(module, 'mask') else 0"),
        ],
        "mask",
    ),
    "P12 model": p12(
        [
            init('self.register_buffer("start", torch.zeros(1), persistent=False)'),
            bottom(M, "def start_of(model):\n    return model.start"),
        ],
        "start",
    ),
    "P12 rotary of its own": p12(
        submodule(
            'class Extra(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.register_buffer("inv_freq", 1.0 / 10.0 ** torch.arange(4), persistent=False)\n\n    def forward(self, x):\n        return x * self.inv_freq'
        ),
        "inv_freq",
    ),
    # P13
    "P13 data": p13("if isinstance(module, nn.Linear):\n    module.weight.data.normal_(0, 0.02)"),
    "P13 data item": p13("if isinstance(module, nn.Embedding):\n    module.weight.data[0].zero_()"),
    "P13 no_grad": p13(
        "if isinstance(module, nn.Linear):\n    with torch.no_grad():\n        module.weight.mul_(0.5)"
    ),
    "P13 assigned": p13("if isinstance(module, nn.Linear):\n    module.weight.data = torch.zeros(3)"),
    "P13 item": p13("if isinstance(module, nn.Embedding):\n    with torch.no_grad():\n        module.weight[0] = 0"),
    "P13 scaled": p13("for name, p in module.named_parameters():\n    if name == 'x':\n        p.data *= 0.5"),
    "P13 loop": p13("for p in module.parameters():\n    p.normal_()"),
    "P13 hand-made": p13("if isinstance(module, Block):\n    module.scale.data.fill_(1.0)"),
    "P13 new parameter": p13("if isinstance(module, Block):\n    module.scale = nn.Parameter(torch.ones(3))"),
    "P13 init on data": p13("if isinstance(module, nn.Linear):\n    nn.init.normal_(module.weight.data, std=0.02)"),
    "P13 imported by name": Bad(
        "P13",
        [
            top(M, "from torch.nn.init import normal_"),
            initialise("if isinstance(module, nn.Linear):\n    normal_(module.weight)"),
        ],
        "in _init_weights writes in place",
        (M, "    normal_(module.weight)"),
    ),
    "P13 local name": p13("w = getattr(module, 'weight', None)\nif w is not None:\n    w.data.normal_()"),
    "P13 function": Bad(
        "P13",
        [
            bottom(M, "def start(tensor):\n    tensor.data.normal_()"),
            initialise("if isinstance(module, nn.Linear):\n    start(module.weight)"),
        ],
        "in _init_weights writes in place",
        (M, "tensor.data.normal_()"),
    ),
    "P13 method": Bad(
        "P13",
        [
            bottom(L, "class Extra(nn.Linear):\n    def restart(self):\n        self.weight.data.normal_()"),
            initialise("if hasattr(module, 'restart'):\n    module.restart()"),
        ],
        "in _init_weights writes in place",
        (L, "self.weight.data.normal_()"),
    ),
    "P13 view": p13("if isinstance(module, nn.Embedding):\n    nn.init.zeros_(module.weight[module.padding_idx])"),
    # P14
    "P14 item": p14([init("rates = [x.item() for x in torch.linspace(0, 1, config.depth)]")], (M, "x.item()")),
    "P14 tolist": p14([init("rates = torch.linspace(0, 1, 3).tolist()")], (M, "tolist")),
    "P14 numpy": p14([init("rates = torch.arange(3).numpy()")], (M, "numpy()")),
    "P14 float": p14([init("scale = float(torch.tensor(2.0) ** 2)")], (M, "float(")),
    "P14 int": p14([block("self.most = int(self.scale.max())")], (L, "int(")),
    "P14 if": p14([block("if self.scale.sum() > 0:\n    self.positive = 1")], (L, "if self.scale")),
    "P14 not": p14([block("ready = torch.ones(1)\nif not ready:\n    self.positive = 1")], (L, "if not ready")),
    "P14 permutation": p14([init("order = torch.randperm(4).tolist()")], (M, "tolist")),
    "P14 function": p14(
        [bottom(L, "def slopes(n):\n    return torch.linspace(0, 1, n).tolist()"), block("self.slopes = slopes(3)")],
        (L, "tolist"),
    ),
    "P14 method": p14(
        [
            bottom(
                L,
                "class Extra(nn.Module):\n    def __init__(self):\n        super().__init__()\n        self.build()\n\n    def build(self):\n        self.n = torch.arange(3).sum().item()",
            )
        ],
        (L, ".item()"),
    ),
    "P14 array": p14(
        [top(L, "import numpy as np"), block("self.table = np.asarray(torch.ones(3))")], (L, "np.asarray")
    ),
    "P14b arange": p14b([block("self.order = torch.arange(6)")], (L, "self.order")),
    "P14b computed": p14b([block("self.order = 2 * torch.ones(6).cumsum(0) - 1")], (L, "self.order")),
    "P14b list": p14b([block("self.tables = [torch.zeros(2) for _ in range(3)]")], (L, "self.tables")),
    "P14b annotated": p14b([block("self.order: torch.Tensor = torch.zeros(3)")], (L, "self.order")),
    "P14b function": p14b(
        [bottom(L, "def table(n):\n    x = torch.arange(n)\n    return x * 2"), block("self.curve = table(3)")],
        (L, "self.curve"),
    ),
    "P14b table": p14b([block('self.tables = {"a": torch.eye(2)}')], (L, "self.tables")),
    "P14c model": Bad(
        "P14c",
        [top(M, "from transformers import AutoModel"), init('self.inner = AutoModel.from_pretrained("a/b")')],
        "loads a pretrained model in __init__",
        (M, "from_pretrained"),
    ),
    "P14c class": Bad(
        "P14c",
        [
            top(M, "from transformers import BertModel"),
            init("self.inner = BertModel.from_pretrained(config.base)"),
            (C, "        self.width = width\n", "        self.width = width\n        self.base = 'a/b'\n"),
        ],
        "loads a pretrained model",
        (M, "from_pretrained"),
    ),
    "P14c in a method": Bad(
        "P14c",
        [
            init("self.load(config)"),
            (
                M,
                "    def get_input_embeddings(self):\n        return self.words",
                "    def load(self, config):\n        self.teacher = type(self).from_pretrained('a/b')\n\n    def get_input_embeddings(self):\n        return self.words",
            ),
        ],
        "loads a pretrained model",
        (M, "from_pretrained"),
    ),
    # P15
    "P15 default": Bad(
        "P15",
        [(C, "self, vocab_size=32,", "self, vocab_size,")],
        'parameter "vocab_size" has no default',
        (C, "self, vocab_size,"),
    ),
    "P15 keyword": Bad("P15", [(C, "longest=16, pad", "*, longest, pad")], 'parameter "longest" has no default'),
    "P15 two": Bad(
        "P15", [(C, "self, vocab_size=32, width=8,", "self, vocab_size, width,")], 'parameter "width" has no default'
    ),
    "P15 field": Bad(
        "P15",
        [
            (
                C,
                CONFIGURATION[CONFIGURATION.index("    def __init__") : CONFIGURATION.index("GoodConfig.register")],
                "    vocab_size: int\n    width: int = 8\n    depth: int = 2\n    longest: int = 16\n    pad_token_id: int = 0\n    tie_word_embeddings: bool = True\n\n\n",
            )
        ],
        'parameter "vocab_size" has no default',
    ),
    "P15 no kwargs": Bad(
        "P15",
        [
            (C, "tie_word_embeddings=True, **kwargs\n", "tie_word_embeddings=True\n"),
            (C, "tie_word_embeddings, **kwargs)", "tie_word_embeddings)"),
        ],
        "no **kwargs",
        (C, "def __init__"),
    ),
    "P15 args only": Bad(
        "P15",
        [
            (C, "tie_word_embeddings=True, **kwargs\n", "tie_word_embeddings=True, *args\n"),
            (C, "tie_word_embeddings, **kwargs)", "tie_word_embeddings)"),
        ],
        "no **kwargs",
    ),
    "P15 kwargs dropped": Bad(
        "P15",
        [(C, "tie_word_embeddings=tie_word_embeddings, **kwargs)", "tie_word_embeddings=tie_word_embeddings)")],
        "**kwargs is not passed on",
    ),
    "P15 passed twice": Bad(
        "P15",
        [(C, "super().__init__(", "super().__init__(is_encoder_decoder=True, "), (J, {"is_encoder_decoder": True})],
        "passes is_encoder_decoder on beside **kwargs, which has it too, as config.json does",
        (C, "is_encoder_decoder=True"),
    ),
    "P15 passed twice, another popped": Bad(
        "P15",
        [
            (
                C,
                "        super().__init__(",
                '        kwargs.pop("head_count", None)\n        super().__init__(use_cache=False, ',
            ),
            (J, {"use_cache": False}),
        ],
        "passes use_cache on beside **kwargs",
    ),
    "P15 passed twice under another name": Bad(
        "P15",
        [
            (C, "tie_word_embeddings=True, **kwargs", "tie_word_embeddings=True, **more"),
            (
                C,
                "tie_word_embeddings=tie_word_embeddings, **kwargs",
                "tie_word_embeddings=tie_word_embeddings, num_labels=3, **more",
            ),
            (J, {"num_labels": 3}),
        ],
        "passes num_labels on beside **more",
    ),
    "P15 never set": Bad(
        "P15",
        [init("self.rate = config.dropout")],
        "GoodConfig.__init__: dropout is read by the model but never set",
        (M, "config.dropout"),
    ),
    "P15 pad": Bad("P15", [(C, "pad_token_id=pad_token_id, ", "")], "pad_token_id is read by the model but never set"),
    "P15 decoder": Bad(
        "P15", [init("self.causal = config.is_decoder")], "is_decoder is read by the model but never set"
    ),
    "P15 self.config": Bad(
        "P15",
        [
            (
                M,
                "        x = self.positions(",
                "        if self.config.use_cache:\n            pass\n        x = self.positions(",
            )
        ],
        "use_cache is read by the model but never set",
        (M, "use_cache"),
    ),
    "P15 getattr": Bad("P15", [init('self.rate = getattr(config, "dropout")')], "dropout is read by the model"),
    "P15 helper": Bad(
        "P15",
        [bottom(L, "def heads(config):\n    return config.width // config.heads")],
        "heads is read by the model",
        (L, "config.heads"),
    ),
    # P16
    "P16 missing": Bad(
        "P16",
        [(M, "    config_class = GoodConfig\n", "")],
        "GoodModel.config_class is missing or is not GoodConfig",
        (M, "class GoodModel"),
    ),
    "P16 other": Bad("P16", [(M, "config_class = GoodConfig", "config_class = PreTrainedModel")], "is not GoodConfig"),
    "P16 one head": Bad(
        "P16",
        [(M, TIES, TIES + "    config_class = dict\n")],
        "GoodForMaskedLM.config_class",
        (M, "class GoodForMaskedLM"),
    ),
    "P16 annotation": Bad(
        "P16", [(M, "    config_class = GoodConfig\n", "    config: GoodConfig\n")], "config_class is missing"
    ),
    # P17
    "P17 gamma": Bad(
        "P17",
        [block("self.gamma = nn.Parameter(torch.ones(width))")],
        'parameter "gamma" contains gamma/beta; transformers 4.46-4.48 renames it and loads nothing.',
        (L, "self.gamma"),
    ),
    "P17 beta": Bad(
        "P17", [block("self.layer_beta = nn.Parameter(torch.ones(width))")], "renames it and loads nothing"
    ),
    "P17 register": Bad(
        "P17", [block('self.register_parameter("gamma", nn.Parameter(torch.ones(width)))')], 'parameter "gamma"'
    ),
    "P17 module": Bad("P17", [block("self.to_beta = nn.Linear(width, width)")], 'parameter "to_beta"'),
    "P17 stored": Bad(
        "P17", [weights({"model.norm.gamma": numpy.ones(8, numpy.float32)})], 'parameter "model.norm.gamma"'
    ),
    # P18
    "P18 ignored": Bad(
        "P18",
        [(M, "    accepts_loss_kwargs = False\n", "")],
        "GoodForSequenceClassification.forward takes **kwargs but neither uses num_items_in_batch",
        (M, "labels=None, **kwargs"),
    ),
    "P18 passed to the body": Bad(
        "P18",
        [
            (M, "    accepts_loss_kwargs = False\n", ""),
            (
                M,
                "self.model(input_ids).last_hidden_state.mean(1)",
                "self.model(input_ids, **kwargs).last_hidden_state.mean(1)",
            ),
        ],
        "gradients are multiplied",
    ),
    "P18 beside transformers' own part": Bad(
        "P18",
        [
            top(M, "from transformers.models.llama.modeling_llama import LlamaPreTrainedModel"),
            (
                M,
                "class GoodForSequenceClassification(GoodPreTrainedModel)",
                "class GoodForSequenceClassification(LlamaPreTrainedModel)",
            ),
            (M, "    accepts_loss_kwargs = False\n", "    config_class = GoodConfig\n"),
        ],
        "GoodForSequenceClassification.forward takes **kwargs but neither uses num_items_in_batch",
    ),
    "P18 behind a base of its own": Bad(
        "P18",
        [
            top(M, "from transformers import BertPreTrainedModel"),
            (M, "class GoodPreTrainedModel(PreTrainedModel)", "class GoodPreTrainedModel(BertPreTrainedModel)"),
            (M, "    accepts_loss_kwargs = False\n", ""),
        ],
        "gradients are multiplied by gradient_accumulation_steps.",
    ),
    "P18 says True": Bad(
        "P18", [(M, "accepts_loss_kwargs = False", "accepts_loss_kwargs = True")], "accepts_loss_kwargs = False"
    ),
    "P18 other name": Bad(
        "P18",
        [
            (M, "    accepts_loss_kwargs = False\n", ""),
            (M, "attention_mask=None, labels=None, **kwargs", "attention_mask=None, labels=None, **loss_kwargs"),
        ],
        "takes **loss_kwargs",
    ),
    # P19
    "P19 bin": Bad(
        "P19", [lambda d: (d / "pytorch_model.bin").write_bytes(b"x")], "pytorch_model.bin is a pickle (.bin)"
    ),
    "P19 pt": Bad("P19", [lambda d: (d / "extra.pt").write_bytes(b"x")], "publish model.safetensors only"),
    "P19 nested": Bad(
        "P19", [lambda d: [(d / "sub").mkdir(), (d / "sub" / "a.pkl").write_bytes(b"x")]], "sub/a.pkl is a pickle"
    ),
    "P19b none": Bad("P19b", [weights(metadata={})], "model.safetensors: safetensors metadata lacks format=pt"),
    "P19b other": Bad("P19b", [weights(metadata={"format": "np"})], "lacks format=pt"),
    "P19b shard": Bad("P19b", [weights(metadata={"a": "b"}, name="model-2.safetensors")], "model-2.safetensors: "),
    "P19c tied": Bad(
        "P19c",
        [weights({"head.weight": tensors()["model.words.weight"]})],
        "head.weight and model.words.weight hold identical data",
    ),
    "P19c three": Bad(
        "P19c", [weights({"a": TWIN, "b": TWIN, "c": TWIN})], "a and c hold identical data; store the tied tensor once"
    ),
    "P19c large": Bad(
        "P19c",
        [weights(dict.fromkeys("ab", DRAWN.standard_normal((300, 300)).astype(numpy.float32)))],
        "a and b hold",
    ),
    "P19c shards": Bad(
        "P19c", [weights({"a": TWIN}), weights({"b": TWIN}, name="model-2.safetensors")], "a and b hold"
    ),
    # P20
    "P20 half": Bad(
        "P20",
        [(J, {"torch_dtype": "float16"})],
        "config.json torch_dtype is float16 but tensors are float32: transformers 5 would load float16",
    ),
    "P20 new name": Bad("P20", [(J, {"torch_dtype": None, "dtype": "bfloat16"})], "config.json dtype is bfloat16"),
    "P20 stored half": Bad("P20", [weights(dtype=numpy.float16)], "torch_dtype is float32 but tensors are float16"),
    "P20 number": Bad("P20", [(J, {"torch_dtype": 16})], "torch_dtype is 16"),
    # P21
    "P21 edited": Bad(
        "P21",
        [(C, 'CODE_DIGEST = ""', f'CODE_DIGEST = "sha256:{"0" * 64}"')],
        "code changed but CODE_DIGEST in configuration_good.py did not",
        (C, "CODE_DIGEST"),
    ),
    "P21 annotated": Bad(
        "P21",
        [(C, 'CODE_DIGEST = ""', f"CODE_DIGEST: str = 'sha256:{'1' * 64}'")],
        "stage the folder again",
        (C, "CODE_DIGEST"),
    ),
    "P21 other words": Bad("P21", [(C, 'CODE_DIGEST = ""', 'CODE_DIGEST = "v1"')], "stage the folder again"),
    "P21 in the model": Bad(
        "P21", [bottom(M, f'CODE_DIGEST = "sha256:{"2" * 64}"')], "CODE_DIGEST in modeling_good.py", (M, "CODE_DIGEST")
    ),
    # P22
    "P22 none": Bad(
        "P22", [(J, {"tokenizer_class": None})], "config.json has no tokenizer_class but tokenizer files are present"
    ),
    "P22 empty": Bad("P22", [(J, {"tokenizer_class": ""})], "pipeline() fails in transformers 4.48-4.53"),
    "P22 only words": Bad(
        "P22",
        [(J, {"tokenizer_class": None}), ("tokenizer.json", "{}", None), (T, '"', None), ("vocab.txt", None, "a")],
        "no tokenizer_class",
    ),
    "P22b class": Bad(
        "P22b",
        [(T, {"tokenizer_class": "TokenizersBackend"})],
        'tokenizer_class "TokenizersBackend" exists only in transformers 5',
    ),
    "P22b config": Bad("P22b", [(J, {"tokenizer_class": "TokenizersBackend"})], "use PreTrainedTokenizerFast"),
    "P22b list": Bad("P22b", [(T, {"extra_special_tokens": ["<a>"]})], "extra_special_tokens is a list"),
    # P23
    "P23 branch": Bad(
        "P23",
        [("README.md", SHA, "main")],
        'from_pretrained snippet has no revision="<40 hex>"',
        ("README.md", "from_pretrained("),
        {"commit": SHA},
    ),
    "P23 none": Bad(
        "P23",
        [("README.md", f'revision="{SHA}", ', "")],
        "no revision",
        ("README.md", "from_pretrained("),
        {"commit": SHA},
    ),
    "P23 short": Bad("P23", [("README.md", SHA, SHA[:12])], "no revision", arguments={"commit": SHA}),
    "P23 second": Bad(
        "P23",
        [
            (
                "README.md",
                None,
                README.format(sha=SHA)
                + "\n~~~\nfrom transformers import AutoTokenizer\nt = AutoTokenizer.from_pretrained('me/good')\n~~~\n",
            )
        ],
        "no revision",
        ("README.md", "AutoTokenizer.from_pretrained"),
        {"commit": SHA},
    ),
    "P23 not python": Bad(
        "P23",
        [
            (
                "README.md",
                None,
                "```\n$ python -c 'AutoModel.from_pretrained(\"me/good\", trust_remote_code=True)'\n```\n",
            )
        ],
        "no revision",
        arguments={"commit": SHA},
    ),
    "P23 code": Bad(
        "P23",
        [(J, {"auto_map": {a: f"me/code--{p}" for a, p in AUTO_MAP.items()}})],
        "no code_revision=",
        arguments={"commit": SHA, "code_from": "me/code"},
    ),
    # P24
    "P24 head": Bad("P24", [(M, '    base_model_prefix = "model"\n', "")], "GoodForMaskedLM has no base_model_prefix"),
    "P24 empty": Bad(
        "P24", [(M, 'base_model_prefix = "model"', 'base_model_prefix = ""')], "GoodForSequenceClassification has no"
    ),
    "P24 one head": Bad(
        "P24",
        [(M, TIES, TIES + '    base_model_prefix = ""\n')],
        "GoodForMaskedLM has no base_model_prefix",
        (M, "class GoodForMaskedLM"),
    ),
    # P25
    "P25 model": Bad(
        "P25",
        [top(M, "from transformers import AutoModel"), bottom(M, "AutoModel.register(GoodConfig, GoodModel)")],
        "modeling_good.py:",
        (M, "AutoModel.register("),
    ),
    "P25 head": Bad(
        "P25",
        [
            top(M, "import transformers"),
            bottom(
                M,
                "try:\n    transformers.AutoModelForMaskedLM.register(GoodConfig, GoodForMaskedLM, exist_ok=True)\nexcept ValueError:\n    pass",
            ),
        ],
        "Use GoodForMaskedLM.register_for_auto_class().",
        (M, "transformers.AutoModelForMaskedLM"),
    ),
    "P25 configuration": Bad(
        "P25",
        [top(C, "from transformers import AutoConfig as Auto"), bottom(C, 'Auto.register("custom-good", GoodConfig)')],
        'Auto.register("custom-good", GoodConfig) at import makes the loader take these classes for local code',
        (C, "Auto.register("),
    ),
}
