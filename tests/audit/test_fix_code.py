"""Fixes of P12 to P15: what they write, which findings go, and where they are left because it is not plain."""

import pytest
from helpers import tiny

from pinfold.audit.fixes import files, fix
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

INIT_TOP = "    def _init_weights(self, module):\n"
NORMAL = "            nn.init.normal_(module.weight, std=0.5)\n"
MARK = '"_is_hf_initialized", False)'
TORCH = "import torch\nfrom torch import nn\n"


def fixed(tmp_path, rule, modeling=tiny.MODELING, **files_of):
    """The texts of a folder after its fixes, whether the rule is silent then, and the reasons for what is left."""
    modeling = modeling.replace("from torch import nn\n", TORCH, 1)
    folder = tiny.write_folder(tmp_path / "folder", modeling_tiny=modeling, **files_of)
    (folder / "config.json").write_text("{}")
    assert rule in {finding.code for finding in audit(folder, read_modules(folder))}
    found = fix.propose(folder, read_modules(folder))
    files.apply([each for each in found.changes if each.path.suffix == ".py"])
    cured = rule not in {finding.code for finding in audit(folder, read_modules(folder))}
    return {path.stem: path.read_text() for path in folder.glob("*.py")}, cured, found.reasons


def lines(body, indent=8):
    return "".join(f"{' ' * indent}{line}\n" if line else "\n" for line in body.split("\n"))


WRITES = {
    "module.weight.data.normal_(mean=0.0, std=0.02)": "nn.init.normal_(module.weight, mean=0.0, std=0.02)",
    "module.weight.data.normal_(0.0, self.config.width)  # small": (
        "nn.init.normal_(module.weight, 0.0, self.config.width)  # small"
    ),
    "module.weight.data.normal_(\n    mean=0.0,\n    std=0.02,\n)": (
        "nn.init.normal_(\n    module.weight,\n    mean=0.0,\n    std=0.02,\n)"
    ),
    "module.weight.data.zero_()": "nn.init.zeros_(module.weight)",
    "module.weight.data.fill_(1.0)": "nn.init.ones_(module.weight)",
    "module.weight.data.fill_(self.config.width)": "nn.init.constant_(module.weight, self.config.width)",
    "module.weight.data.uniform_(-0.1, 0.1)": "nn.init.uniform_(module.weight, -0.1, 0.1)",
    "nn.init.xavier_uniform_(module.weight.data, gain=2)": "nn.init.xavier_uniform_(module.weight, gain=2)",
    "torch.nn.init.zeros_(module.weight.data)": "torch.nn.init.zeros_(module.weight)",
    "for p in module.parameters():\n    p.data.normal_()": "for p in module.parameters():\n    nn.init.normal_(p)",
    "w = getattr(module, 'weight', None)\nif w is not None:\n    w.data.zero_()": (
        "w = getattr(module, 'weight', None)\nif w is not None:\n    nn.init.zeros_(w)"
    ),
    "module.weight.data[0].zero_()": f"if not getattr(module.weight, {MARK}:\n    module.weight.data[0].zero_()",
    "module.weight.data = torch.ones(\n    3,\n)": (
        f"if not getattr(module.weight, {MARK}:\n    module.weight.data = torch.ones(\n        3,\n    )"
    ),
    "if module.bias is not None:\n    module.weight.data[0] = 0": (
        f"if module.bias is not None and not getattr(module.weight, {MARK}:\n    module.weight.data[0] = 0"
    ),
    "if module.bias is None or self.config.width:\n    module.weight.data[0] = 0": (
        f"if module.bias is None or self.config.width:\n    if not getattr(module.weight, {MARK}:\n"
        "        module.weight.data[0] = 0"
    ),
    "with torch.no_grad():\n    module.weight.mul_(0.5)": (
        f"with torch.no_grad():\n    if not getattr(module.weight, {MARK}:\n        module.weight.mul_(0.5)"
    ),
    "for p in module.parameters():\n    p.data /= 2": (
        f"for p in module.parameters():\n    if not getattr(p, {MARK}:\n        p.data /= 2"
    ),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_in_place_asks_whether_the_tensor_was_loaded(tmp_path, write):
    old = f"{INIT_TOP}        if isinstance(module, (nn.Linear, nn.Embedding)):\n{NORMAL}"
    body = INIT_TOP + "        if isinstance(module, nn.Linear):\n            width = 1\n"
    texts, cured, reasons = fixed(tmp_path, "P13", tiny.MODELING.replace(old, body + lines(write, 12)))
    assert body + lines(WRITES[write], 12) in texts["modeling_tiny"]
    assert cured and reasons == []


NOT_PLAIN = {
    "a view under a name": "w = module.weight[0]\nw.data.zero_()",
    "an argument": "reset(module.weight)",
    "a used result": "module.scale = module.weight.data.normal_()",
}


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_a_write_whose_tensor_is_not_plain_is_left_with_a_reason(tmp_path, case):
    text = tiny.MODELING.replace(NORMAL, lines(NOT_PLAIN[case], 12))
    text += "\n\ndef reset(tensor):\n    tensor.data.zero_()\n"
    texts, cured, reasons = fixed(tmp_path, "P13", text)
    assert texts["modeling_tiny"] == text.replace("from torch import nn\n", TORCH, 1) and not cured
    assert any("not clear which tensor" in reason for reason in reasons)


def test_a_function_that_was_imported_by_its_name_is_called_through_its_module(tmp_path):
    text = tiny.MODELING.replace("nn.init.normal_(", "normal_(").replace(
        "from .layers", "from torch.nn.init import normal_\n\nfrom .layers"
    )
    texts, cured, _ = fixed(tmp_path, "P13", text)
    assert NORMAL in texts["modeling_tiny"] and cured


ROTARY = '''from torch import nn
import torch


class Rotary(nn.Module):
    """Tables."""

    def __init__(self, dim, base=10000, *, longest=8, device=None):
        super().__init__()
        self.dim = dim
        freqs = 1.0 / base ** (torch.arange(0, dim, 2, device=device) / dim)
        self.register_buffer("freqs", freqs, persistent=False)
        self.tables(longest)

    def tables(self, longest):
        self.register_buffer("cos", torch.outer(torch.arange(longest), self.freqs).cos(), persistent=False)


class Scaled(Rotary):
    def __init__(self, dim, factor, device=None):
        super().__init__(dim, device=device)
        self.factor = factor


class Mixer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.rotary = Scaled(width, 2)
        EXTRA

    def forward(self, x):
        return x + self.inner(x).tanh()
'''
KNOWN = tiny.MODELING.replace("import Mixer", "import Mixer, Rotary, Scaled")
FILLED = """        # transformers 5 leaves buffers that no file holds without values
        if isinstance(module, Scaled):
            rebuilt = Scaled(dim=module.dim, factor=module.factor)
            module.freqs.copy_(rebuilt.freqs)
            module.cos.copy_(rebuilt.cos)
        elif isinstance(module, Rotary):
            rebuilt = Rotary(dim=module.dim, base=module.base, longest=module.longest)
            module.freqs.copy_(rebuilt.freqs)
            module.cos.copy_(rebuilt.cos)
"""


def test_tables_are_computed_again_from_what_they_were_computed_from(tmp_path):
    texts, cured, reasons = fixed(tmp_path, "P12", KNOWN, layers_tiny=ROTARY.replace("EXTRA", "pass"))
    assert (
        INIT_TOP + FILLED + "        if isinstance(module, (nn" in texts["modeling_tiny"] and cured and reasons == []
    )
    kept = "        super().__init__()\n        self.base = base\n        self.longest = longest\n"
    assert kept in texts["layers_tiny"].replace(
        "        self.longest = longest\n        self.base = base\n",
        "        self.base = base\n        self.longest = longest\n",
    )


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("torch.zeros(width)", "module.mask.zero_()"),
        ("torch.full((width,), -1e4)", "module.mask.fill_(-10000.0)"),
        ("torch.tensor(3)", "module.mask.fill_(3)"),
        ("torch.ones(width)", "module.mask.fill_(1)"),
    ],
)
def test_a_buffer_of_one_number_is_filled_with_it(tmp_path, value, line):
    layers = tiny.LAYERS.replace("from torch import nn", "import torch\nfrom torch import nn").replace(
        "width, width)\n", f'width, width)\n        self.register_buffer("mask", {value}, persistent=False)\n'
    )
    texts, cured, _ = fixed(tmp_path, "P12", layers_tiny=layers)
    assert f"        if isinstance(module, Mixer):\n            {line}\n" in texts["modeling_tiny"] and cured


def test_a_buffer_that_may_not_be_there_is_asked_for(tmp_path):
    layers = ROTARY.replace(
        "        self.tables(longest)\n", "        if longest:\n            self.tables(longest)\n"
    )
    texts, cured, _ = fixed(tmp_path, "P12", KNOWN, layers_tiny=layers.replace("EXTRA", "pass"))
    asked = '            if getattr(module, "cos", None) is not None:\n                module.cos.copy_(rebuilt.cos)\n'
    assert asked in texts["modeling_tiny"] and cured


NOT_BUILT_AGAIN = {
    "it has weights": ("self.tables(longest)\n", "self.tables(longest)\n        self.w = nn.Parameter(freqs)\n"),
    "any arguments": (
        "device=None):\n        super().__init__()",
        "device=None, **more):\n        super().__init__()",
    ),
    "a changed argument": ("self.dim = dim", "self.dim = dim\n        base = base * 2"),
    "no call above": (
        "        super().__init__()\n        self.dim",
        "        nn.Module.setup(self)\n        self.dim",
    ),
    "built with a tensor": ("Scaled(width, 2)", "Scaled(width, torch.tensor(2))"),
    "the name is taken": ("    def tables(self", "    def base(self):\n        return 1\n\n    def tables(self"),
}


@pytest.mark.parametrize("case", NOT_BUILT_AGAIN)
def test_a_class_that_cannot_be_built_again_is_left_with_a_reason(tmp_path, case):
    old, new = NOT_BUILT_AGAIN[case]
    assert ROTARY.count(old) == 1
    layers = ROTARY.replace(old, new).replace("EXTRA", "pass")
    texts, cured, reasons = fixed(tmp_path, "P12", KNOWN, layers_tiny=layers)
    assert texts["layers_tiny"] == layers and "rebuilt" not in texts["modeling_tiny"] and not cured
    assert any("has a buffer without values" in reason for reason in reasons)


def test_a_file_that_does_not_know_the_class_is_left(tmp_path):
    _, cured, reasons = fixed(tmp_path, "P12", layers_tiny=ROTARY.replace("EXTRA", "pass"))
    assert not cured and any("no file with an _init_weights knows" in reason for reason in reasons)


READS = {
    "self.rates = [x.item() for x in torch.linspace(0, 1, 3)]": (
        'self.rates = [x.item() for x in torch.linspace(0, 1, 3, device="cpu")]'
    ),
    "steps = torch.arange(3)\nself.last = int(steps[-1])": (
        'steps = torch.arange(3, device="cpu")\nself.last = int(steps[-1])'
    ),
    "self.sign = 1 if torch.ones(\n    1,\n) > 0 else 2": (
        'self.sign = 1 if torch.ones(\n    1, device="cpu",\n) > 0 else 2'
    ),
}


@pytest.mark.parametrize("read", READS)
def test_a_tensor_that_is_read_is_made_on_the_cpu(tmp_path, read):
    layers = ROTARY.replace("        EXTRA\n", "{}").replace("self.rotary = Scaled(width, 2)", "pass")
    texts, cured, _ = fixed(tmp_path, "P14", KNOWN, layers_tiny=layers.replace("{}", lines(read)))
    assert lines(READS[read]) in texts["layers_tiny"] and cured


def test_a_plain_tensor_is_made_on_the_cpu_and_one_that_comes_from_a_parameter_is_left(tmp_path):
    layers = ROTARY.replace(
        "EXTRA", "self.steps = torch.arange(width) * 2\n        self.w = self.inner.weight.sum() * 2"
    )
    texts, _, reasons = fixed(tmp_path, "P14b", KNOWN, layers_tiny=layers)
    assert 'self.steps = torch.arange(width, device="cpu") * 2' in texts["layers_tiny"]
    assert "self.w = self.inner.weight.sum() * 2" in texts["layers_tiny"]
    assert any("it is not clear from which tensors" in reason for reason in reasons)


MOVES = {
    'self.inner.to("cuda")\n        self.a = 1': "self.a = 1",
    "if width > 3:\n            self.inner.cuda()": "if width > 3:\n            pass",
    'self.outer = self.inner.to("cpu")': "self.outer = self.inner",
}


@pytest.mark.parametrize("move", MOVES)
def test_a_move_to_a_device_goes(tmp_path, move):
    layers = ROTARY.replace("EXTRA", move)
    texts, cured, _ = fixed(tmp_path, "P14d", KNOWN, layers_tiny=layers)
    assert f"        {MOVES[move]}\n\n    def forward" in texts["layers_tiny"] and cured


@pytest.mark.parametrize(
    ("move", "elsewhere"), [('self.inner.to("cuda", torch.half)', "x"), ("self.inner.cuda()", 'x.to("cuda")')]
)
def test_a_move_that_more_depends_on_is_left_with_a_reason(tmp_path, move, elsewhere):
    layers = ROTARY.replace("EXTRA", move).replace("self.inner(x)", f"self.inner({elsewhere})")
    texts, cured, reasons = fixed(tmp_path, "P14d", KNOWN, layers_tiny=layers)
    assert move in texts["layers_tiny"] and not cured and any("layers_tiny.py" in reason for reason in reasons)


FIELDS = {
    "pad_token_id": ("vocab_size=40, width=8, pad_token_id=None, **kwargs", "pad_token_id=pad_token_id, **kwargs"),
    "is_decoder": ("vocab_size=40, width=8, is_decoder=False, **kwargs", "is_decoder=is_decoder, **kwargs"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_transformers_4_is_taken_and_passed_on(tmp_path, name):
    modeling = tiny.MODELING.replace(
        "        self.post_init()\n", f"        self.a = config.{name}\n        self.post_init()\n", 1
    )
    texts, cured, _ = fixed(tmp_path, "P15", modeling)
    taken, passed = FIELDS[name]
    assert (
        f"def __init__(self, {taken}):\n        super().__init__({passed})\n" in texts["configuration_tiny"] and cured
    )


def test_a_setting_of_generate_is_read_with_its_default_wherever_it_is_read(tmp_path):
    modeling = tiny.MODELING.replace(
        "        self.post_init()\n", "        self.a = config.top_k\n        self.post_init()\n"
    )
    texts, cured, _ = fixed(tmp_path, "P15", modeling)
    assert texts["modeling_tiny"].count('self.a = getattr(config, "top_k", 50)\n') == 2 and cured
    assert texts["configuration_tiny"] == tiny.CONFIGURATION


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("**kwargs)\n        self", "**{**kwargs})\n        self", "TinyConfig does not set pad_token_id"),
        ("width=8, **kwargs", "width=8, pad=0, **kwargs", ""),
    ],
)
def test_a_configuration_of_another_shape(tmp_path, old, new, reason):
    modeling = tiny.MODELING.replace(
        "        self.post_init()\n", "        self.a = config.pad_token_id\n        self.post_init()\n", 1
    )
    configuration = tiny.CONFIGURATION.replace(old, new)
    assert configuration != tiny.CONFIGURATION
    texts, cured, reasons = fixed(tmp_path, "P15", modeling, configuration_tiny=configuration)
    assert cured == (not reason) and (texts["configuration_tiny"] == configuration) == bool(reason)
    assert not reason or any(reason in each for each in reasons)


@pytest.mark.parametrize(
    ("arguments", "passed", "taken"),
    [
        ("width=8, **kwargs", "is_decoder=True, **kwargs", "width=8, is_decoder=True, **kwargs"),
        ("width=8, **rest", 'problem_type="regression", **rest', 'width=8, problem_type="regression", **rest'),
        (
            "width=8,\n        **kwargs,\n    ",
            "**kwargs, is_decoder=True",
            "width=8,\n        is_decoder=True,\n        **kwargs,\n    ",
        ),
        ("width=8, **kwargs", "is_decoder=width > 4, **kwargs", ""),
    ],
)
def test_what_goes_up_beside_keyword_arguments_is_taken_once(tmp_path, arguments, passed, taken):
    configuration = tiny.CONFIGURATION.replace("width=8, **kwargs", arguments)
    configuration = configuration.replace("super().__init__(**kwargs)", f"super().__init__({passed})")
    folder = tiny.write_folder(tmp_path / "folder", configuration_tiny=configuration)
    (folder / "config.json").write_text('{"is_decoder": true, "problem_type": "regression"}')
    proposal = fix.propose(folder, read_modules(folder))
    files.apply([each for each in proposal.changes if each.path.suffix == ".py"])
    new = (folder / "configuration_tiny.py").read_text()
    said = [f for f in audit(folder, read_modules(folder)) if "on beside" in str(f)]
    if not taken:
        assert new == configuration and said and "goes up beside **kwargs" in "".join(proposal.reasons)
    else:
        name = "problem_type" if "problem" in passed else "is_decoder"
        assert taken in new and f"{name}={name}" in new and not said


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [
        ("vocab_size=40, width=8", "vocab_size=40, width=8, **kwargs", "**kwargs"),
        ("vocab_size=40, width=8, **rest", "vocab_size=40, width=8, **rest", "**rest"),
        (
            "\n        vocab_size=40,\n        width=8,\n    ",
            "\n        vocab_size=40,\n        width=8,\n        **kwargs,\n    ",
            "**kwargs",
        ),
    ],
)
def test_keyword_arguments_are_passed_on(tmp_path, before, after, passed):
    configuration = tiny.CONFIGURATION.replace("vocab_size=40, width=8, **kwargs", before)
    configuration = configuration.replace("super().__init__(**kwargs)", "super().__init__()")
    texts, cured, _ = fixed(tmp_path, "P15", configuration_tiny=configuration)
    wanted = configuration.replace(before, after).replace("super().__init__()", f"super().__init__({passed})")
    assert texts["configuration_tiny"] == wanted and cured
