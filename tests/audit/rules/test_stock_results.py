"""What modules of transformers return, and code that takes it apart as older or newer releases returned it (P55)."""

import time

import pytest
from corpus import net_folder
from corpus.net_folder import findings

from pinfold.audit.finding import ERROR, WARNING
from pinfold.folder.releases import MINORS, release_ranges

IMPORT = "from transformers.models.{model}.modeling_{model} import {names}\n"
LLAMA = IMPORT.format(model="llama", names="LlamaDecoderLayer, LlamaModel, LlamaForCausalLM")
STACK = """

class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        {build}

    def forward(self, x, mask=None, hidden=None):
        {forward}
        return x


"""
LAYERS = "self.layers = nn.ModuleList([LlamaDecoderLayer(config, n) for n in range(2)])"
LOOP = "for layer in self.layers:\n            "
ITEM = LOOP + "x = layer(x, attention_mask=mask)[0]"
BUILDS = "self.inside = Stack(config)"
TENSOR_SINCE_454 = "4.54-"


def up_to_newest(ranges):
    return ranges + MINORS[-1] * ranges.endswith("-")


def said(tmp_path, build=LAYERS, forward=ITEM, top=LLAMA, more="", builds=BUILDS):
    layers = top + STACK.format(build=build, forward=forward) + more
    return [(f.severity, release_ranges(f.releases)) for f in findings(tmp_path, "P55", layers, builds)]


@pytest.mark.parametrize(
    "build",
    [
        LAYERS,
        "self.layers = nn.ModuleList(LlamaDecoderLayer(config, n) for n in range(2))",
        "self.layers = nn.ModuleList()\n        for n in range(2):\n"
        "            self.layers.append(LlamaDecoderLayer(config, n))",
        "self.layers = nn.ModuleList([LlamaDecoderLayer(config, 0)] + [LlamaDecoderLayer(config, 1)])",
        "self.layers = self.made(config)",
        "self.layers = LlamaModel(config).layers",
        "self.layers = LlamaForCausalLM(config).model.layers[:1]",
    ],
)
def test_layers_of_transformers_however_they_are_built(tmp_path, build):
    if "made" in build:
        build += "\n\n    def made(self, config):\n        layers = [LlamaDecoderLayer(config, n) for n in range(2)]"
        build += "\n        return nn.ModuleList(layers)"
    assert said(tmp_path, build) == [(ERROR, up_to_newest(TENSOR_SINCE_454))]


@pytest.mark.parametrize(
    "forward",
    [
        LOOP + "out = layer(x)\n            x = out[0]",
        LOOP + "x, cache = layer(x)",
        LOOP + "x, *rest = layer(x)",
        LOOP + "out = layer(x)\n            x, states = out[0], (x,) + out[1:]",
        "for n, layer in enumerate(self.layers):\n            x = layer(x)[0]",
        "for n in range(2):\n            x = self.layers[n](x)[0]",
        "for layer, part in zip(self.layers, self.parts):\n            x = layer(x)[0]",
        "first = self.layers[0]\n        x = first.forward(x)[0]",
        LOOP + "x = self.of(layer(x))\n\n    def of(self, out):\n        x = out[0]",
        LOOP + "if self.training:\n                x = layer(x)\n            else:\n                x = layer(x)[0]",
    ],
)
def test_a_tuple_is_expected(tmp_path, forward):
    assert said(tmp_path, forward=forward) == [(ERROR, up_to_newest(TENSOR_SINCE_454))]


@pytest.mark.parametrize(
    "forward",
    [
        LOOP + "x = layer(x)",
        LOOP + "out = layer(x)\n            x = x + out",
        LOOP + "out = layer(x)\n            x = out.to(x.dtype)",
        LOOP + "out = layer(x)\n            x = out[:, 0]",
        LOOP + "out = layer(x)\n            x = self.norm(out)",
    ],
)
def test_a_tensor_is_expected(tmp_path, forward):
    build = LAYERS + "\n        self.norm = nn.LayerNorm(8)"
    assert said(tmp_path, build, forward) == [(ERROR, "4.48-4.53")]


@pytest.mark.parametrize(
    ("model", "names", "build", "forward", "ranges"),
    [
        ("bart", "BartAttention", "self.attend = BartAttention(8, 2)", "x, weights, past = self.attend(x)", "4.54-"),
        ("bart", "BartAttention", "self.attend = BartAttention(8, 2)", "x, weights = self.attend(x)", "4.48-4.53"),
        ("vit", "ViTLayer", "self.layer = ViTLayer(config)", "x = self.layer(x)[0]", "4.56-"),
        ("vit", "ViTLayer", "self.layer = ViTLayer(config)", "x = x + self.layer(x)", "4.48-4.55"),
    ],
)
def test_other_modules(tmp_path, model, names, build, forward, ranges):
    assert said(tmp_path, build, forward, IMPORT.format(model=model, names=names)) == [(ERROR, up_to_newest(ranges))]


GOES_ON = """class Own(LlamaDecoderLayer):
    def forward(self, hidden_states, **kwargs):
        out = super().forward(hidden_states, **kwargs)
        {body}


"""
TAKES_APART = "return (2 * out[0],) + out[1:]"
OF_OWN = "self.layers = nn.ModuleList([Own(config, n) for n in range(2)])"


@pytest.mark.parametrize(
    ("body", "severity"),
    [
        (TAKES_APART, ERROR),
        ("return 2 * out[0]", ERROR),
        ("if self.layer_idx == 0:\n            return out\n        " + TAKES_APART, ERROR),  # one of the others
        ("if hidden_states.sum() > 0:\n            return out\n        " + TAKES_APART, WARNING),
    ],
)
def test_a_class_that_goes_on_to_transformers(tmp_path, body, severity):
    top = LLAMA + "\n\n" + GOES_ON.format(body=body)
    (one,) = said(tmp_path, OF_OWN, LOOP + "x = layer(x)", top)[:1]
    assert one == (severity, up_to_newest(TENSOR_SINCE_454))


def test_a_class_that_derives_and_changes_nothing_returns_what_its_base_does(tmp_path):
    top = LLAMA + "\n\nclass Own(LlamaDecoderLayer):\n    pass\n\n\n"
    assert said(tmp_path, OF_OWN, top=top) == [(ERROR, up_to_newest(TENSOR_SINCE_454))]


def test_layers_of_the_base(tmp_path):
    own = "class Own(LlamaModel):\n    def forward(self, x):\n"
    layers = LLAMA + "\n\n" + own + "        for layer in self.layers:\n            x = layer(x)[0]\n"
    (finding,) = findings(tmp_path, "P55", layers, "self.inside = Own(config)")
    assert finding.severity == ERROR and finding.case == "P55.forward"
    assert "expects a tuple, and LlamaDecoderLayer returns a tensor" in finding.sentence


def test_a_module_that_is_imported_as_a_whole(tmp_path):
    expected = [(ERROR, up_to_newest(TENSOR_SINCE_454))]
    top = "from transformers.models.llama import modeling_llama as theirs\n"
    assert said(tmp_path, LAYERS.replace("Llama", "theirs.Llama"), top=top) == expected
    build = "self.layers = transformers.LlamaModel(config).layers"
    assert said(tmp_path, build, top="import transformers\n") == expected


@pytest.mark.parametrize(
    "forward",
    [
        LOOP + "out = layer(x)\n            x = out[0] if isinstance(out, tuple) else out",
        LOOP
        + "out = layer(x)\n            if isinstance(out, tuple):\n                out = out[0]\n            x = out",
        LOOP + "out = layer(x)\n            x = out if torch.is_tensor(out) else out[0]",
        LOOP + "out = layer(x)\n            x = self.of(out)\n\n"
        "    def of(self, out):\n        return out[0] if isinstance(out, (tuple, list)) else out",
        LOOP + "x = layer(x)[0] if OLD else layer(x)",
        LOOP + "if OLD:\n                x = layer(x)[0]\n            else:\n                x = layer(x)",
        LOOP
        + "try:\n                x = layer(x)[0]\n            except (IndexError, TypeError):\n                pass",
        LOOP + "hidden = layer(x)",
        "x = x[0]",
        LOOP + "x = layer.mlp(x)[0]",  # a tensor in all of them
    ],
)
def test_code_that_is_right_in_every_release(tmp_path, forward):
    top = LLAMA + "import transformers\nfrom packaging import version\n\n"
    top += "OLD = version.parse(transformers.__version__) < version.parse('4.54')\n"
    assert said(tmp_path, forward=forward, top=top) == []


@pytest.mark.parametrize(("lowest", "expected"), [("4.54", []), ("4.50", [(ERROR, "4.50-4.53")])])
def test_what_no_supported_release_does_is_not_said(tmp_path, monkeypatch, lowest, expected):
    monkeypatch.setattr(net_folder, "CONFIGURATION", net_folder.CONFIGURATION + f'MIN_TRANSFORMERS = "{lowest}"\n')
    assert said(tmp_path, forward=LOOP + "x = layer(x)") == expected


def test_a_folder_class_of_the_same_name_is_not_taken_for_transformers(tmp_path):
    own = "class LlamaDecoderLayer(nn.Module):\n    def __init__(self, config, n):\n        super().__init__()\n\n"
    own += "    def forward(self, x, **kwargs):\n        return (x,)\n\n\n"
    assert said(tmp_path, top="\n\n" + own) == []


def test_what_may_not_run_is_a_warning(tmp_path):
    forward = "if mask is not None and hidden is not None:\n            for layer in self.layers:\n"
    forward += "                x = layer(x)[0]"
    assert said(tmp_path, forward=forward) == [(WARNING, up_to_newest(TENSOR_SINCE_454))]
    assert said(tmp_path, builds="pass") == [(WARNING, up_to_newest(TENSOR_SINCE_454))]


def test_values_that_an_attention_returned_before_the_first_supported_release(tmp_path):
    own = GOES_ON.replace("super().forward(hidden_states, **kwargs)", "self.self_attn(hidden_states)")
    top = LLAMA + "\n\n" + own.format(body="x, weights, past = out\n        return x")
    assert said(tmp_path, OF_OWN, LOOP + "x = layer(x)", top) == [(ERROR, up_to_newest("4.48-"))]
    top = LLAMA + "\n\n" + own.format(body="x, weights = out\n        return x")
    assert said(tmp_path, OF_OWN, LOOP + "x = layer(x)", top) == []


@pytest.mark.parametrize(
    "forward",
    [
        "x = " + "self.norm(" * 150 + "x" + ")" * 150,
        "if x is None:\n            x = 1\n" + "        elif x == 2:\n            x = 3\n" * 150,
        "".join("\n" + "    " * (2 + depth) + "for layer in self.layers:" for depth in range(15)) + " x = layer(x)[0]",
    ],
)
def test_code_that_is_nested_deeply_is_read_in_time(tmp_path, forward):
    began = time.monotonic()
    said(tmp_path, forward=forward)
    assert time.monotonic() - began < 10
