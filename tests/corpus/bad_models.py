"""Folders that break the contract in one place each, and what verification has to say of them.

Each is a folder of good_models.py with edits. The version is that in which the fault shows; None is the newest.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HEAD = "        self.head = nn.Linear(config.width, config.vocab_size, bias=False)\n        self.post_init()\n"
NO_HEAD_INIT = """        if isinstance(module, (nn.Linear, nn.Embedding, nn.Conv2d)):
            nn.init.normal_(module.weight, std=0.3)
        if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
            nn.init.zeros_(module.bias)
"""
DATA_INIT = """        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(std=0.3)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.data.zero_()
"""
REBUILT = """        if isinstance(module, Positions):
            with torch.no_grad():
                module.ids.copy_(torch.arange(module.ids.numel())[None])
"""
TIED = '    _tied_weights_keys = {"head.weight": "causal.words.weight"}\n'
FLAG = "tie_word_embeddings=tie_word_embeddings, **kwargs"
NORM = "        self.norm = nn.BatchNorm2d(config.width)\n"
INNER = "        self.inner = nn.Linear(config.width, config.width)\n"
INNER_INIT = "        self.post_init()\n\n    def get_input_embeddings"
REGISTERED = [
    'CausalModel.register_for_auto_class("AutoModel")\n',
    'CausalForCausalLM.register_for_auto_class("AutoModelForCausalLM")\n',
]
ONLY_GET = """
    def set_output_embeddings(self, value):
        self.head = value

    def forward(self, input_ids, labels=None):"""
LOGITS = "logits = self.head(self.causal(input_ids).last_hidden_state)\n"
TRUNK = "return BaseModelOutput(last_hidden_state=x.cumsum(1) * self.scale + self.inner(x).tanh())"


POST, ASSIGNED = "        self.post", "        self.head.weight = self.causal.words.weight\n"
WORDS = "        self.words = nn.Embedding(config.vocab_size, config.width)\n"
BASE_INIT = "    def __init__(self, config):\n        super().__init__(config)\n" + WORDS
EXTRA = "        self.extra = nn.Linear(2, 2, bias=False) if alone else None\n"


@dataclass(frozen=True)
class Bad:
    """One folder: its edits, and the check and the words that have to refuse it."""

    name: str
    check: str
    words: str
    edits: dict[str, str] = field(default_factory=dict)
    model: str = "causal"
    version: str | None = None
    part: str | None = None
    built_in: str | None = None  # where the expected numbers come from, if the newest cannot build it
    saved: dict = field(default_factory=dict)  # given to save_model
    from_itself: bool = False  # the checkpoint comes from the broken folder
    after: Callable[[Path], None] | None = None  # changes what is staged; it is then taken for somebody else's


def config(**values) -> Callable[[Path], None]:
    """Fields of the published config.json; None removes one."""

    def change(directory: Path) -> None:
        path = directory / "config.json"
        given = json.loads(path.read_text()) | values
        path.write_text(json.dumps({k: v for k, v in given.items() if v is not None}))

    return change


def without_digest(directory: Path) -> None:
    """As somebody else publishes, who stages nothing."""
    for path in directory.glob("*.py"):
        path.write_text(re.sub(r"(# Tells this version.*\n)?CODE_DIGEST.*\n", "", path.read_text()))


def old_digest_elsewhere(directory: Path) -> None:
    """A digest, but not in the file that transformers tells versions apart by."""
    without_digest(directory)
    path = next(directory.glob("modeling_*.py"))
    path.write_text(path.read_text() + '\nCODE_DIGEST = ""\n')


def in_init(text: str) -> dict[str, str]:
    """Lines at the end of the causal model's constructor."""
    return {INNER: INNER + text}


def after_loading(statement: str) -> dict[str, str]:
    """A causal model whose own from_pretrained does something to ``model``."""
    return {
        "    def get_output_embeddings": f"""    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        found = super().from_pretrained(*args, **kwargs)
        model = found[0] if isinstance(found, tuple) else found
        {statement}
        return found

    def get_output_embeddings"""
    }


def tensors(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    """Other tensors in the published file."""

    def rewrite(directory: Path) -> None:
        from safetensors.torch import load_file, save_file

        path = directory / "model.safetensors"
        found = {k: v.clone() for k, v in load_file(path).items()}
        save_file(change(found), path, {"format": "pt"})

    return rewrite


def _without(found: dict, *names: str) -> dict:
    return {k: v for k, v in found.items() if k not in names}


OWN_BUFFER = {
    INNER: "        self.inner = Own(config.width)\n",
    "class CausalModel": """class Own(nn.Linear):
    def __init__(self, width):
        super().__init__(width, width)
        self.register_buffer("steps", torch.ones(width), persistent=False)


class CausalModel""",
}

# A module that owns a buffer is initialised once more by transformers 5, whatever it holds besides.
PARENT = {INNER: INNER + '        self.register_buffer("steps", torch.ones(config.width), persistent=False)\n'}
PARENT_INIT = """        if isinstance(module, CausalModel):
            nn.init.ones_(module.steps)
"""

BAD = [
    # D01: it does not load
    Bad(
        "no post_init",
        "D01",
        "all_tied_weights_keys",
        {"num_labels)\n        self.post_init()\n": "num_labels)\n"},
        model="cnn",
    ),
    Bad(
        "tied keys as a list",
        "D01",
        "'list' object has no attribute",
        {TIED: '    _tied_weights_keys = ["head.weight"]\n'},
    ),
    Bad(
        "tied keys as a list, numbers from 4.57",
        "D01",
        "loading in transformers NEWEST failed: AttributeError: 'list'",
        {TIED: '    _tied_weights_keys = ["head.weight"]\n'},
        built_in="4.57.6",
    ),
    Bad(
        "tie_weights overridden",
        "D01",
        "unexpected keyword argument",
        {TIED: TIED + "\n    def tie_weights(self):\n        self.head.weight = self.causal.words.weight\n"},
        built_in="4.57.6",
    ),
    Bad("reads a tensor in __init__", "D01", "meta", in_init("        self.rates = torch.randperm(3).numpy()\n")),
    Bad(
        "reads one number in __init__",
        "D01",
        "meta",
        in_init("        self.rate = torch.linspace(0, 1, 3)[1].item()\n"),
        version="5.0.0",
    ),
    Bad(
        "raises on import",
        "D01",
        "OSError: not today",
        {"import math\n": "import math\n\nraise OSError('not today')\n"},
    ),
    Bad("no kwargs", "D01", "unexpected keyword argument", {", **kwargs)": ")", "        **kwargs,\n": ""}),
    Bad(
        "an argument without default",
        "D01",
        "missing 1 required positional argument",
        {"vocab_size=23,": "vocab_size,"},
        version="4.48.3",
        saved={"vocab_size": 23},
    ),
    Bad("no config_class", "D01", "CausalModel.config_class is missing", {"    config_class = CausalConfig\n": ""}),
    Bad(
        "text that looks like an import",
        "D01",
        "ghost",
        {'"""A model of the corpus.': '"""A model.\n\nfrom .ghost import X\n'},
    ),
    # D02: names
    Bad(
        "tied without the flag",
        "D02",
        "missing keys head.weight",
        {FLAG: "**kwargs", "        self.tie_word_embeddings = tie_word_embeddings\n": ""},
    ),
    Bad(
        "tied without the flag, numbers from 4.57",
        "D02",
        "missing keys head.weight",
        {FLAG: "**kwargs", "        self.tie_word_embeddings = tie_word_embeddings\n": ""},
        built_in="4.57.6",
        after=config(tie_word_embeddings=None),
    ),
    Bad("tied by output embeddings alone", "D02", "missing keys head.weight", {TIED: ""}, built_in="4.57.6"),
    Bad(
        "a tensor that the file lacks",
        "D02",
        "missing keys causal.inner.bias",
        after=tensors(lambda t: _without(t, "causal.inner.bias")),
    ),
    Bad(
        "a tensor without a place",
        "D02",
        "unexpected keys more",
        after=tensors(lambda t: {**t, "more": t["causal.scale"].clone()}),
    ),
    Bad(
        "no prefix",
        "D02",
        "AutoModel: missing keys",
        {'    base_model_prefix = "causal"\n': ""},
    ),
    Bad(
        "a layer that only the base has",
        "D02",
        "AutoModel: missing keys extra.weight",
        {
            BASE_INIT: BASE_INIT.replace("config):", "config, alone=True):").replace(WORDS, EXTRA + WORDS),
            "self.causal = CausalModel(config)": "self.causal = CausalModel(config, alone=False)",
        },
    ),
    Bad(
        "gamma",
        "D02",
        "missing keys",
        {"self.scale": "self.gamma"},
        version="4.48.3",
        from_itself=True,
    ),
    Bad(
        "tied by assignment",
        "D02",
        "missing keys head.weight",
        {
            TIED: "",
            HEAD: HEAD.replace(POST, ASSIGNED + POST),
            "def get_output_embeddings": "def the_output_embeddings",
        },
    ),
    Bad(
        "tied by assignment, in 4.48",
        "D02",
        "missing keys head.weight",
        {
            TIED: "",
            HEAD: HEAD.replace(POST, ASSIGNED + POST),
            "def get_output_embeddings": "def the_output_embeddings",
        },
        version="4.48.3",
    ),
    # D03: numbers
    Bad(
        "draws at random",
        "D03",
        "differs from the model in memory: max |d|",
        {LOGITS: LOGITS + "        logits = logits + __import__('time').time_ns() % 1000003\n"},
    ),
    Bad(
        "depends on the version",
        "D03",
        "output differs between NEWEST and 4.57.6: max |d|",
        {LOGITS: LOGITS + "        logits = logits * (1 + int(__import__('transformers').__version__[0]))\n"},
        version="4.57.6",
    ),
    Bad(
        "counts its constructions",
        "D03",
        "differs from the model in memory: max |d|",
        {
            **in_init("        CausalModel.made = self.number = getattr(CausalModel, 'made', 0) + 1\n"),
            TRUNK: TRUNK.replace("self.scale", "self.scale * self.number"),
        },
    ),
    Bad(
        "another loss in each version",
        "D03",
        "loss differs from the model in memory",
        part="loss",
        version="5.0.0",
        edits={
            "        return CausalLMOutput": "        if '5.0.' in __import__('transformers').__version__:\n"
            "            loss = 2 * loss if labels is not None else None\n        return CausalLMOutput"
        },
    ),
    Bad(
        "frozen when loaded",
        "D03",
        "gradients that only one of the loaded model and the model in memory has",
        part="loss",
        edits=after_loading("model.causal.inner.requires_grad_(False)"),
    ),
    Bad(
        "ignores num_items_in_batch",
        "P18",
        "gradients are multiplied by gradient_accumulation_steps",
        part="accumulation",
        edits={"    accepts_loss_kwargs = False\n": "", "labels=None):": "labels=None, **kwargs):"},
    ),
    # D04: buffers
    Bad(
        "a buffer that nobody fills",
        "D04",
        "buffer positions.ids differs from a fresh constructor",
        {REBUILT: ""},
        model="bert",
    ),
    Bad(
        "a buffer that nobody fills, in 5.0",
        "D04",
        "buffer positions.ids differs from a fresh constructor",
        {REBUILT: ""},
        model="bert",
        version="5.0.0",
    ),
    Bad(
        "zeros that memory may hold by luck",
        "D04",
        "buffer mask differs from a fresh constructor",
        in_init("        self.register_buffer('mask', torch.zeros(64, 64), persistent=False)\n"),
    ),
    Bad(
        "ones of another size",
        "D04",
        "buffer inner.steps differs from a fresh constructor",
        OWN_BUFFER,
    ),
    Bad(
        "a plain tensor",
        "D04",
        "buffer rates differs from a fresh constructor: it has no memory",
        in_init("        self.rates = torch.arange(6)\n"),
    ),
    Bad(
        "plain tensors in a list",
        "D04",
        "buffer rates.0 differs from a fresh constructor",
        in_init("        self.rates = [torch.arange(6)]\n"),
    ),
    Bad(
        "a head that nobody draws",
        "D04",
        "holds memory that no code wrote",
        {NO_HEAD_INIT: "        pass\n"},
        version="4.48.3",
        saved={"cls": "CnnModel"},
        model="cnn",
    ),
    # D05: tensors
    Bad(
        "fills through data",
        "D05",
        "a parameter differs from the file after loading: inner.weight",
        {
            **OWN_BUFFER,
            NO_HEAD_INIT: "        if isinstance(module, Own):\n            module.weight.data.fill_(0.5)\n"
            "            nn.init.ones_(module.steps)\n",
        },
    ),
    Bad(
        "draws through data, in 5.0",
        "D05",
        "a parameter differs from the file after loading: ",
        {NO_HEAD_INIT: DATA_INIT},
        version="5.0.0",
    ),
    Bad(
        "draws through data, loaded by class",
        "D05",
        "CausalModel.from_pretrained: a parameter differs from the file after loading: ",
        {NO_HEAD_INIT: DATA_INIT, **dict.fromkeys(REGISTERED, "")},
        version="5.0.0",
    ),
    Bad(
        "a parent writes to its child",
        "D05",
        "a parameter differs from the file after loading: ",
        PARENT | {NO_HEAD_INIT: PARENT_INIT + "            module.inner.weight.data.zero_()\n"},
    ),
    Bad(
        "scales in place",
        "D05",
        "a parameter differs from the file after loading: ",
        PARENT
        | {
            NO_HEAD_INIT: PARENT_INIT
            + "            with torch.no_grad():\n                module.inner.weight.mul_(0.5)\n"
        },
    ),
    Bad(
        "float16 in config.json",
        "D05",
        "(torch.float32 in the file, torch.float16 after loading)",
        after=config(torch_dtype="float16", dtype=None),
    ),
    Bad(
        "the state begins with integers",
        "D05",
        "steps (torch.int64), and then transformers up to 4.50 leaves all weights as they are in the file",
        {NORM: NORM + '        self.register_buffer("steps", torch.arange(config.width))\n'},
        version="4.48.3",
        model="cnn",
        part="bf16",
        from_itself=True,
    ),
    Bad(
        "rounds after loading",
        "D05",
        "a parameter differs from the file after loading: ",
        after_loading("model.head.weight.data = model.head.weight.data.round()"),
        version="4.57.6",
    ),
    # D06: save and load again
    Bad(
        "loses the number of labels",
        "D06",
        "save → reload failed",
        model="cnn",
        saved={"num_labels": 2},
        edits={
            "    model_type =": "    attribute_map = {'num_classes': 'num_labels'}\n    model_type =",
            "        super().__init__(pad": "        if 'id2label' not in kwargs:\n"
            "            kwargs.setdefault('num_labels', 1000)\n        super().__init__(pad",
        },
        after=config(id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1}),
    ),
    Bad(
        "registers itself as local code",
        "D06",
        "the saved folder lacks",
        {
            REGISTERED[0]: "from transformers import AutoConfig, AutoModel, AutoModelForCausalLM\n\n"
            "AutoConfig.register('corpus-causal', CausalConfig)\nAutoModel.register(CausalConfig, CausalModel)\n",
            REGISTERED[1]: "AutoModelForCausalLM.register(CausalConfig, CausalForCausalLM)\n",
        },
    ),
    Bad(
        "a field that changes when it is read",
        "D06",
        "config.steps differs",
        {
            "        self.pad_token_id =": "        self.steps = kwargs.get('steps', 0) + 1\n"
            "        self.pad_token_id =",
        },
    ),
    Bad(
        "saves other numbers",
        "D06",
        "save → reload",
        {
            "    def get_output_embeddings": "    def save_pretrained(self, *args, **kwargs):\n"
            "        self.causal.scale.data.mul_(2)\n        super().save_pretrained(*args, **kwargs)\n\n"
            "    def get_output_embeddings",
        },
    ),
    # D07: two folders of one name
    Bad(
        "no digest",
        "D07",
        "two copies with the same folder name in one process gave the same class",
        after=without_digest,
    ),
    Bad(
        "no digest, another model",
        "D07",
        "two copies with the same folder name in one process gave the same class",
        after=without_digest,
        model="cnn",
    ),
    Bad(
        "a digest in the wrong file",
        "D07",
        "two copies with the same folder name in one process gave the same class",
        after=old_digest_elsewhere,
    ),
]
