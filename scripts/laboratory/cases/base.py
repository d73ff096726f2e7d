"""What all cases are written with: the table, what a case says, and lines of the sources that many of them exchange."""

# ruff: noqa: E501 (lines of programs)

from collections.abc import Callable
from dataclasses import dataclass, field

from sources import CONFIGURATION, MODELING, PLAIN

C, M = CONFIGURATION, MODELING
REMOVED = object()  # a setting that config.json does not have
Edit = tuple[str, str, str]  # file, text, what stands there instead


@dataclass(frozen=True)
class Case:
    """One fault.

    Args:
        fault: what makes the faulty folder of the right one. right: what makes the right one of the base.
        base: the sources. files: further files of both. faulty_files: of the faulty one alone; None for one that it
            does not have.
        settings, faulty_settings: of config.json, in both and in the faulty one.
        keys: tensor's name in the right folder -> in the faulty one, "" where it has none. copies: tensor of both ->
            the one that it equals. tensors: name -> what the faulty folder stores of it. loads: "model", or an Auto
            class of a part.
        pipeline: a pipeline is tried too.
    """

    fault: tuple[Edit, ...] = ()
    right: tuple[Edit, ...] = ()
    base: dict[str, str] = field(default_factory=lambda: PLAIN)
    files: dict[str, str] = field(default_factory=dict)
    faulty_files: dict[str, str | None] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    faulty_settings: dict[str, object] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, Callable] = field(default_factory=dict)
    loads: str = "model"
    pipeline: bool = False


IMPORTS = "from .configuration_lab import LabConfig\n"
HELPER = {"helper_lab.py": "SCALE = 1.0\n"}
SUPER = "        super().__init__(config)\n        self.embed"
POST = "        self.post_init()\n"
ARGUMENTS = "        tie_word_embeddings=False,\n"
SUPER_CONFIG = "super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)"
LAST_SET = "        self.use_cache = use_cache\n"
MIX_INNER = "        self.inner = nn.Linear(size, size)\n"
SUM = "self.inner(x.cumsum(1) / steps)"
INIT_LINEAR = "            nn.init.normal_(module.weight, std=0.5)\n"
INIT_END = "            nn.init.zeros_(module.bias)\n"
CLASS_BODY = "    _supports_cache_class = True\n"
TIED = '    _tied_weights_keys = {"head.weight": "embed.weight"}\n'
EXPOSED = """    def get_output_embeddings(self):
        return self.head

    def set_output_embeddings(self, new):
        self.head = new

"""
GET_INPUT = "    def get_input_embeddings(self):\n"
INIT = "    def _init_weights(self, module):\n"
# transformers 5.3 takes the tied weights of remote code for loaded, and leaves them empty.
PUT_BACK = """    def mark_tied_weights_as_initialized(self, *args):
        super().mark_tied_weights_as_initialized(*args)
        for info in args:
            if isinstance(getattr(info, "missing_keys", None), set):
                info.missing_keys |= {name for name in self.all_tied_weights_keys if self.get_parameter(name).is_meta}

"""
TIE = (
    (M, INIT, PUT_BACK + INIT),
    (M, CLASS_BODY, CLASS_BODY + TIED),
    (M, GET_INPUT, EXPOSED + GET_INPUT),
    (C, ARGUMENTS, "        tie_word_embeddings=True,\n"),
)
NO_FLAG = ((C, ARGUMENTS, ""), (C, "tie_word_embeddings=tie_word_embeddings, ", ""))
TAKES_CACHE = "past_key_values=None, cache=None, use_cache=None"
CACHE_OF = "        cache = past_key_values if cache is None else cache\n"
TIED_SETTINGS = {"tie_word_embeddings": True}

CASES: dict[str, Case] = {}
OF_FIXES: dict[str, Case] = {}  # further ones that only fixed.py loads


def case(name: str, *fault: Edit, **rest) -> None:
    CASES[name] = Case(fault, **rest)
