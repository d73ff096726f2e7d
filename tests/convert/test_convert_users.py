"""Modular files as users write them: what is generated behaves as an oracle that knows nothing of the converter.

The oracle of a model is the modular file itself, run by Python as the subclasses that it is, with each class, function
and constant put where transformers has the one that it replaces. That is what a modular file means, and neither the
merging nor the renaming takes part in it. What Python cannot say that way (attributes that are removed, arguments that
a modular file shares with its parent) has its expectation written by hand.
"""

import ast
import asyncio
import contextlib
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from pinfold.common.errors import UserError
from pinfold.convert import files
from pinfold.convert.convert import new_workspace
from pinfold.convert.merge.classes import merge_class
from pinfold.convert.merge.members import split_class

USERS = Path(__file__).resolve().parents[1] / "corpus" / "modular_users"
IDS = torch.arange(20).view(2, 10) % 13 + 3
TEXT = {"input_ids": IDS}
LABELLED = {"input_ids": IDS, "labels": IDS}
PAIR = {"input_ids": IDS, "decoder_input_ids": IDS.flip(1)[:, :6]}
PICTURE = torch.linspace(-1, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
BERT = {
    "vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48,
    "max_position_embeddings": 40,
}  # fmt: skip
LLAMA = BERT | {"num_key_value_heads": 2}
GPT2 = {
    "vocab_size": 50,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 40,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
T5 = {
    "vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
    "decoder_start_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
BART = {
    "vocab_size": 50, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 40,
    "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
VIT = {k: v for k, v in BERT.items() if k not in ("vocab_size", "max_position_embeddings")} | {
    "image_size": 32, "patch_size": 16,
}  # fmt: skip
WAV2VEC = BERT | {"conv_dim": [8, 8], "conv_stride": [4, 4], "conv_kernel": [8, 8], "num_conv_pos_embeddings": 4} | {
    "num_conv_pos_embedding_groups": 2, "num_feat_extract_layers": 2, "mask_time_prob": 0.0,
}  # fmt: skip
SOUND = torch.linspace(-1, 1, 2 * 400).view(2, 400).sin()
FEATURES = torch.linspace(-1, 1, 2 * 8 * 40).view(2, 8, 40)
HELPING = "FACTOR = 3\n\n\ndef halve(x):\n    return x / 2\n"


@dataclass
class Case:
    """One modular file.

    Args:
        models: the classes to compare, with their inputs.
        config: the configuration's class.
        sizes: its arguments.
        expect: more to hold, given the generated modeling and configuration modules and the first model.
        without: a line that has a meaning in a modular file alone, which the oracle leaves out.
        helpers: further files of the folder.
        places: classes that take the place of another architecture's, such as {"llama.LlamaMLP": "MixtureMLP"}.
    """

    models: dict[str, dict]
    config: str
    sizes: dict = field(default_factory=lambda: LLAMA)
    expect: Callable | None = None
    without: str = ""
    helpers: dict[str, str] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


def convert(folder: Path, name: str, text: str, helpers: dict[str, str] | None = None) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    for file, helper in (helpers or {}).items():
        (folder / file).write_text(helper, encoding="utf-8")
    path = folder / f"modular_{name}.py"
    path.write_text(text, encoding="utf-8")
    texts = new_workspace().convert(path).texts
    files.write(texts, folder)
    return texts


@contextlib.contextmanager
def importable(folder: Path):
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def replacements(oracle, places: dict[str, str]) -> list[tuple[object, str, object]]:
    """(module of transformers, name, what the modular file has in its place)."""
    found, parents = [], set()
    for value in list(vars(oracle).values()):
        if isinstance(value, type) and value.__module__ == oracle.__name__:
            for base in value.__bases__:
                if base.__module__.startswith("transformers.models."):
                    parents.add(base.__module__)
                    found.append((sys.modules[base.__module__], base.__name__, value))
    for name, value in list(vars(oracle).items()):
        own = getattr(value, "__module__", oracle.__name__) == oracle.__name__ and not isinstance(value, type)
        for parent in parents:
            there = vars(sys.modules[parent]).get(name)
            if own and there is not None and not name.startswith("__") and there is not value:
                found.append((sys.modules[parent], name, value))
    for place, name in places.items():
        model, _, there = place.partition(".")
        found.append(
            (importlib.import_module(f"transformers.models.{model}.modeling_{model}"), there, vars(oracle)[name])
        )
    return found


@contextlib.contextmanager
def in_place(oracle, places: dict[str, str]):
    """transformers with the modular file's classes in place of its own."""
    changed = replacements(oracle, places)
    before = [(module, name, getattr(module, name)) for module, name, _ in changed]
    try:
        for module, name, value in changed:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in reversed(before):
            setattr(module, name, value)


def tensors(output) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    if hasattr(output, "to_tuple"):
        output = output.to_tuple()
    return [t for part in output for t in tensors(part)] if isinstance(output, (tuple, list)) else []


def default_config(model):
    return next(c.config_class for c in type.mro(model) if c.__dict__.get("config_class"))


def rich_config(modeling, configuration, model):
    made = configuration.RichConfig.small(more=5, flavour="plain")
    assert (made.dim, made.depth, made.total_depth, made.more) == (32, 2, 6, 5)
    assert (made.vocab_size, made.rms_norm_eps, made.intermediate_size, made.hidden_act) == (99, 1e-5, 64, "silu")
    assert made.keys_to_ignore_at_inference == ["cache", "extras"]
    again = configuration.RichConfig.from_dict(made.to_dict())
    assert again.flavour == "plain" and again.depth_factor == 3
    for wrong in ({"depth_factor": 0}, {"hidden_size": 33}, {"flavour": "bitter"}, {"initializer_range": 2.0}):
        with pytest.raises(Exception, match=r"depth_factor|multiple|flavour|initializer_range"):
            configuration.RichConfig(**{"hidden_size": 32, "num_attention_heads": 4} | wrong)


def smaller(modeling, configuration, model):
    assert "validate_architecture" not in vars(configuration.SmallerConfig)
    assert not hasattr(configuration.SmallerConfig(), "pretraining_tp")
    assert "extra_repr" not in vars(modeling.SmallerRMSNorm)
    assert not hasattr(model.model.layers[0].mlp, "hidden_size") and "_tp_plan" not in vars(
        modeling.SmallerForCausalLM
    )


def marked(modeling, configuration, model):
    assert modeling.MarkedMLP.label == "mine" and modeling.MarkedMLP.forward.twice
    # RoPE's decorator and the one that switches gradients off come from the parent
    angles = modeling.MarkedRotaryEmbedding(model.config)
    assert not angles(torch.ones(1, 2, 32, requires_grad=True), torch.arange(2)[None])[0].requires_grad


def awkward(modeling, configuration, model):
    layer = model.model.layers[0]
    assert layer.seen == 1 and repr(layer.input_layernorm).startswith("AwkwardRMSNorm(awkward, (32,)")
    assert modeling.AwkwardRMSNorm(4, 1.0).variance_epsilon == 1e-6 and modeling.AwkwardRMSNorm(4, 1.0).loose


def syntax(modeling, configuration, model):
    mlp, x = model.model.layers[0].mlp, torch.randn(2, 3, 32)
    with torch.no_grad():
        plain = mlp.forward(x) / 2
        assert torch.equal(torch.cat(list(mlp.parts(x))), torch.cat(asyncio.run(mlp.later(x))))
        assert torch.allclose(torch.cat(list(mlp.parts(x))), plain, atol=1e-6)  # two batches of one, or one of two

        async def first():
            return await anext(mlp.stream(x))

        assert torch.equal(asyncio.run(first())["y"], plain)
    with pytest.raises(ValueError, match=r"y.ndim = 1: three are needed"):
        mlp(torch.zeros(32))


def told(modeling, configuration, model):
    mlp = modeling.ToldMLP
    assert mlp.words == "a\nb\n        c" and model.model.layers[0].mlp.text == "# no comment\n    kept\n"
    assert modeling.TEMPLATE == "\nfirst\n    indented as LlamaMLP\n  less\n"
    assert mlp.__doc__.split() == ["A", "part", "of", "Told.", "indented"] and "how." in mlp.forward.__doc__


def mixed(modeling, configuration, model):
    assert model.model.count == 1 and model.counted() == 1
    assert modeling.MixedModel.__bases__[0] is modeling.Counting


def classy(modeling, configuration, model):
    encoder = model.question_encoder
    assert type(encoder).__name__ == "ClassyEncoder" and encoder.embeddings_size == 32 and encoder.twice(3) == 6


CASES = {
    "scaled_bert": Case(
        {"ScaledBertModel": TEXT, "ScaledBertForSequenceClassification": TEXT | {"labels": torch.tensor([0, 1])}},
        "ScaledBertConfig",
        BERT,
    ),
    "squared_roberta": Case(
        {"SquaredRobertaModel": TEXT, "SquaredRobertaForMaskedLM": LABELLED}, "SquaredRobertaConfig", BERT
    ),
    "gated_deberta": Case(
        {"GatedDebertaModel": TEXT, "GatedDebertaForMaskedLM": LABELLED}, "GatedDebertaConfig", BERT
    ),
    "glu_gpt2": Case({"GluGPT2Model": TEXT, "GluGPT2LMHeadModel": LABELLED}, "GluGPT2Config", GPT2),
    "soft_llama": Case({"SoftLlamaForCausalLM": LABELLED, "SoftLlamaModel": TEXT}, "SoftLlamaConfig"),
    "clipped_neox": Case({"ClippedNeoXModel": TEXT, "ClippedNeoXForCausalLM": LABELLED}, "ClippedNeoXConfig", BERT),
    "wide_t5": Case({"WideT5Model": PAIR, "WideT5ForConditionalGeneration": LABELLED}, "WideT5Config", T5),
    "prenorm_bart": Case(
        {"PrenormBartModel": PAIR, "PrenormBartForConditionalGeneration": LABELLED}, "PrenormBartConfig", BART
    ),
    "shifted_pegasus": Case(
        {"ShiftedPegasusModel": PAIR, "ShiftedPegasusForConditionalGeneration": LABELLED}, "ShiftedPegasusConfig", BART
    ),
    "tutorial": Case({"TutorialForCausalLM": LABELLED, "TutorialModel": TEXT}, "TutorialConfig"),
    "normed_qwen": Case({"NormedQwenForCausalLM": LABELLED}, "NormedQwenConfig"),
    "adapter_llama": Case({"AdapterLlamaForCausalLM": LABELLED}, "AdapterLlamaConfig"),
    "two_towers": Case(
        {"TowersModel": {"input_ids": IDS, "pixel_values": PICTURE}},
        "TowersConfig",
        {"text_config": LLAMA, "vision_config": VIT},
    ),
    "smaller": Case(
        {"SmallerForCausalLM": LABELLED}, "SmallerConfig", LLAMA, smaller, without="_tp_plan = AttributeError()"
    ),
    "mixture": Case(
        {"MixtureForCausalLM": LABELLED},
        "MixtureConfig",
        places={
            "llama.LlamaMLP": "MixtureMLP",
            "llama.LlamaRMSNorm": "MixtureRMSNorm",
            "llama.LlamaAttention": "MixtureAttention",
        },
    ),
    "turned": Case({"TurnedForCausalLM": LABELLED}, "TurnedConfig", BERT | {"attn_implementation": "eager"}),
    "marked": Case({"MarkedForCausalLM": LABELLED}, "MarkedConfig", LLAMA, marked),
    "sam": Case({"SamForCausalLM": LABELLED}, "SamConfig"),
    "my": Case({"MyForCausalLM": LABELLED}, "MyConfig"),
    "rich_config": Case({"RichForCausalLM": LABELLED}, "RichConfig", LLAMA, rich_config),
    "ordered": Case({"OrderedLMHeadModel": LABELLED}, "OrderedConfig", GPT2),
    "early": Case(
        {"EarlyModel": {"input_values": SOUND}, "EarlyForCTC": {"input_values": SOUND}}, "EarlyConfig", WAV2VEC
    ),
    "awkward": Case({"AwkwardForCausalLM": LABELLED}, "AwkwardConfig", LLAMA, awkward),
    "elder": Case({"ElderForCausalLM": LABELLED}, "ElderConfig"),
    "passed_on": Case({"PassedOnForCausalLM": LABELLED, "PassedOnModel": TEXT}, "PassedOnConfig"),
    "syntax": Case({"SyntaxForCausalLM": LABELLED}, "SyntaxConfig", LLAMA, syntax),
    "told": Case({"ToldForCausalLM": LABELLED}, "ToldConfig", LLAMA, told),
    "helped": Case({"HelpedForCausalLM": LABELLED}, "HelpedConfig", helpers={"helping.py": HELPING}),
    "alone": Case({"AloneModel": TEXT}, "AloneConfig"),
    "mixed": Case({"MixedForCausalLM": LABELLED}, "MixedConfig", LLAMA, mixed),
    "shadow": Case({"ShadowForCausalLM": LABELLED}, "ShadowConfig"),
    "after": Case({"AfterForCausalLM": LABELLED}, "AfterConfig"),
    "sparse": Case({"SparseForCausalLM": LABELLED}, "SparseConfig"),
    "patchy": Case({"PatchyForImageClassification": {"pixel_values": PICTURE}}, "PatchyConfig", VIT),
    "sharpclip": Case(
        {"SharpCLIPModel": {"input_ids": IDS, "pixel_values": PICTURE}},
        "SharpCLIPConfig",
        {"text_config": BERT | {"eos_token_id": 2}, "vision_config": VIT, "projection_dim": 8},
    ),
    "whispered": Case(
        {"WhisperedForConditionalGeneration": {"input_features": FEATURES, "labels": IDS}},
        "WhisperedConfig",
        BART | {"num_mel_bins": 8, "max_source_positions": 20, "max_target_positions": 20},
    ),
    "classy": Case({"ClassyQuestionEncoder": TEXT}, "ClassyConfig", BERT, classy),
    "guarded": Case({"GuardedForCausalLM": LABELLED}, "GuardedConfig"),
    "numbers_2b": Case({"Numbers2bForCausalLM": LABELLED}, "Numbers2bConfig", LLAMA | {"head_dim": 8}),
    "longer": Case({"LongerLlamaForCausalLM": LABELLED}, "LongerLlamaConfig"),
    "twin": Case({"TwinForScoring": TEXT}, "TwinConfig", BERT),
}


# One more architecture each, beside an encoder, decoders and a pair of both that every run converts.
FURTHER = {"gated_deberta", "clipped_neox", "normed_qwen", "prenorm_bart", "shifted_pegasus"}


# An encoder, a decoder, both, towers, experts, pictures, and the two that ask for most.
QUICK = {"scaled_bert", "soft_llama", "glu_gpt2", "wide_t5", "two_towers", "mixture", "patchy", "awkward", "syntax"}


def marked_cases():
    for name in CASES:
        marks = pytest.mark.sweep if name in FURTHER else () if name in QUICK else pytest.mark.slow
        yield pytest.param(name, marks=marks)


@pytest.mark.parametrize("name", marked_cases())
def test_the_folder_does_what_the_modular_file_says(name, tmp_path):
    case, text = CASES[name], (USERS / f"{name}.py").read_text(encoding="utf-8")
    made, own = tmp_path / f"made_{name}", tmp_path / f"own_{name}"
    convert(made, name, text, case.helpers)
    own.mkdir()
    (own / "__init__.py").touch()
    for file, helper in case.helpers.items():
        (own / file).write_text(helper, encoding="utf-8")
    (own / f"modular_{name}.py").write_text(
        text.replace(case.without, "pass") if case.without else text, encoding="utf-8"
    )
    with importable(tmp_path):
        modeling = importlib.import_module(f"made_{name}.modeling_{name}")
        configuration = importlib.import_module(f"made_{name}.configuration_{name}")
        oracle = importlib.import_module(f"own_{name}.modular_{name}")
    first = None
    for model, inputs in case.models.items():
        ours_class, theirs_class = getattr(modeling, model), getattr(oracle, model)
        config = getattr(oracle, case.config, None) or default_config(theirs_class)
        torch.manual_seed(0)
        with in_place(oracle, case.places), torch.no_grad():
            theirs = theirs_class(config(**case.sizes)).eval()
            for parameter in theirs.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)  # zeros and ones would hide a part left out
            ours = ours_class(getattr(configuration, case.config)(**case.sizes)).eval()
            # an attribute that is called as the architecture is renamed with it: bert.encoder, my_bert.encoder
            old, new = theirs.base_model_prefix, ours.base_model_prefix
            renamed = {re.sub(rf"^{old}\b", new, n) if old else n: w for n, w in theirs.state_dict().items()}
            assert list(renamed) == list(ours.state_dict())
            ours.load_state_dict(renamed)
            want = tensors(theirs(**inputs))
        with torch.no_grad():
            got = tensors(ours(**inputs))
        assert len(got) == len(want) > 0
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True)), model
        assert not [m for m in type(ours).__mro__ if m.__module__.startswith("transformers.models.")]
        first = first or ours
    if case.expect:
        case.expect(modeling, configuration, first)


# Pairs whose merged class does what Python does: parent, subclass, what is asked of an instance.
PAIRS = {
    "swapped": (
        "def f(self, a, b):\n        return a - b",
        "def f(self, a, b):\n        return super().f(b, a)",
        "f(5, 2)",
    ),
    "by keyword": (
        "def f(self, a, b):\n        return a - b",
        "def f(self, x, y):\n        return super().f(b=x, a=y)",
        "f(5, 2)",
    ),
    "default": ("def f(self, a, k=3):\n        return a * k", "def f(self, a):\n        return super().f(a)", "f(5)"),
    "star": (
        "def f(self, a, k=3):\n        return a * k",
        "def f(self, *args):\n        return super().f(*args)",
        "f(5, 4)",
    ),
    "keywords": (
        "def f(self, a, k=3):\n        return a * k",
        "def f(self, **kw):\n        return super().f(**kw)",
        "f(a=5, k=4)",
    ),
    "local": (
        "def f(self, a):\n        n = a + 1\n        self.n = n",
        "def f(self, a):\n        n = 7\n        super().f(a)\n        return n, self.n",
        "f(1)",
    ),
    "attribute": ("x = 4", "x = 5\n\n    def f(self):\n        return super().x + self.x", "f()"),
    "property": (
        "@property\n    def p(self):\n        return 4",
        "@property\n    def p(self):\n        return super().p + 1",
        "p",
    ),
    "class method": (
        "@classmethod\n    def f(cls, a):\n        return cls.__name__, a",
        "@classmethod\n    def f(cls, a):\n        return [super().f(a)]",
        "f(3)",
    ),
    "not called": (
        "def f(self):\n        return 4",
        "def f(self):\n        g = super().f\n        return g() + 1",
        "f()",
    ),
    "generator": (
        "def f(self):\n        yield 1\n        yield 2",
        "def f(self):\n        yield from super().f()\n        yield 3",
        "f()",
    ),
    "twice assigned": (
        "def f(self):\n        self.x = [1]",
        "def f(self):\n        super().f()\n        self.x = self.x + [2]\n        return self.x",
        "f()",
    ),
    "set from a later local": (
        "def f(self):\n        self.x = 1",
        "def f(self):\n        super().f()\n        n = 3\n        self.x = n\n        return self.x",
        "f()",
    ),
    "deleted after use": (
        "def f(self):\n        self.x = 1\n        self.y = self.x + 1",
        "def f(self):\n        super().f()\n        del self.x\n        return self.y, hasattr(self, 'x')",
        "f()",
    ),
    "branch": (
        "def f(self, a):\n        return a",
        "def f(self, a):\n        if a:\n            return super().f(a) + 1\n        return 0",
        "f(2)",
    ),
    "async": (
        "async def f(self, a):\n        return a",
        "async def f(self, a):\n        return await super().f(a) + 1",
        "f(2)",
    ),
}


@pytest.mark.parametrize("pair", PAIRS)
def test_a_merged_class_does_what_the_subclass_does(pair):
    parent, child, asked = PAIRS[pair]
    parent, child = f"class A(B):\n    {parent}", f"class C(A):\n    {child}"

    def answer(text: str):
        space: dict = {"B": type("B", (), {})}
        exec(text, space)
        found = eval(f"C().{asked}", space)
        if inspect.iscoroutine(found):
            return asyncio.run(found)
        return list(found) if hasattr(found, "__next__") else found

    merged = merge_class(split_class(child), split_class(parent)).text()
    assert answer(merged) == answer(f"{parent}\n\n\n{child}")


PLAIN = """from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaMLP


class PlainConfig(LlamaConfig):
    model_type = "plain"


class PlainMLP(LlamaMLP):
    def forward(self, x):
        return super().forward(x) * 2


class PlainForCausalLM(LlamaForCausalLM):
    pass
"""


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return convert(tmp_path_factory.mktemp("plain"), "plain", PLAIN)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: b"\xef\xbb\xbf" + t.encode(),
        lambda t: t.replace("\n", "\r\n").encode(),
        lambda t: t.replace("    ", "\t").encode(),
        lambda t: t.replace("    ", "  ").encode(),
        lambda t: t.replace("x):\n        return", "x): return").encode(),
    ],
    ids=["mark of byte order", "CRLF", "tabs", "two spaces", "one line"],
)
@pytest.mark.slow
def test_how_a_file_is_typed_does_not_matter(change, plain, tmp_path):
    (tmp_path / "modular_plain.py").write_bytes(change(PLAIN))
    typed = new_workspace().convert(tmp_path / "modular_plain.py").texts
    assert typed == plain


LLAMA_FILE = "from transformers.models.llama.modeling_llama import "
BAD = {
    "unknown parent": (
        b"from transformers.models.lama.modeling_lama import A\nclass B(A):\n    pass\n",
        "does not exist",
    ),
    "unknown symbol": (f"{LLAMA_FILE}LlamaMPL\nclass B(LlamaMPL):\n    pass\n".encode(), "nearest: LlamaMLP"),
    "syntax": (b"x = 1\nclass A(:\n", "modular_x.py:2: "),
    "not UTF-8": ("x = 1\ny = 'é'\n".encode("latin-1"), "modular_x.py:2: this is not UTF-8"),
    "folder above": (b"import torch\nfrom ..a import b\n", "modular_x.py:2: from ..a import b"),
    "no file": (b"from . import b\n", "modular_x.py:1: from . import b"),
    "__init__ of a configuration": (
        b"from transformers.models.llama.modeling_llama import LlamaConfig\n\n\nclass XConfig(LlamaConfig):\n"
        b"    def __init__(self, extra=3, **kwargs):\n        super().__init__(**kwargs)\n"
        b"        self.extra = extra\n",
        "modular_x.py:4: XConfig has an __init__, but LlamaConfig is a dataclass",
    ),
    "two prefixes": (
        f"{LLAMA_FILE}LlamaMLP, LlamaAttention\nclass FooMLP(LlamaMLP):\n    pass\n"
        "class BarAttention(LlamaAttention):\n    pass\n".encode(),
        "modular_x.py:4: FooMLP and BarAttention give Llama two names, Foo and Bar",
    ),
    "one name, two meanings": (
        f"{LLAMA_FILE}LlamaForCausalLM\n"
        "from transformers.models.gemma2.modeling_gemma2 import Gemma2DecoderLayer\n"
        "class XDecoderLayer(Gemma2DecoderLayer):\n    pass\n"
        "class XForCausalLM(LlamaForCausalLM):\n    pass\n".encode(),
        "both bring a XAttention, and they differ; say which is meant: class XAttention(",
    ),
    "two model bases": (
        f"{LLAMA_FILE}LlamaMLP, LlamaAttention\nclass XMLP(LlamaMLP, LlamaAttention):\n    pass\n".encode(),
        "modular_x.py:2: ",
    ),
    "a base that nobody imports": (
        b"class XMLP(LlamaMLP):\n    pass\n",
        "add: from transformers.models.llama.modeling_llama import LlamaMLP",
    ),
    "one class twice": (
        b"class X:\n    pass\n\n\nclass X:\n    pass\n",
        "modular_x.py:5: class X is in line 1 as well",
    ),
    "no class": (b"x = 1\n", "modular_x.py:1: it has no class"),
    "a class in an if": (b"if True:\n    class X:\n        pass\n", "modular_x.py:2: class X is inside another"),
    "zero byte": (b"\nx = 1\0\n", "modular_x.py:2: "),
    "too deep": (b"x = " + b"(" * 500 + b")" * 500 + b"\n", "modular_x.py:"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_mistake_is_one_line_with_file_and_line(name, tmp_path):
    text, told = BAD[name]
    path = tmp_path / "modular_x.py"
    path.write_bytes(text)
    with pytest.raises(UserError) as error:
        new_workspace().convert(path)
    assert told in str(error.value) and len(str(error.value).splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["modular_x.py"]


@pytest.mark.slow
def test_functions_of_one_name_from_two_architectures_are_both_there(tmp_path):
    """ViT's attention knows nothing of shared keys, which Llama's repeats."""
    text = convert(tmp_path, "two_towers", (USERS / "two_towers.py").read_text())["modeling_two_towers.py"]
    functions = {n.name: ast.unparse(n) for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)}
    assert "repeat_kv" in functions["llama_eager_attention_forward"]
    assert "repeat_kv" not in functions["eager_attention_forward"]
    attention = next(n for n in ast.parse(text).body if getattr(n, "name", "") == "TowersTextAttention")
    assert "llama_eager_attention_forward" in ast.unparse(attention)
