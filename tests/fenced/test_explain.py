"""What is said of an exception of a folder's code: where in the folder, and what to do."""

import types

import pytest
import torch
from transformers import PretrainedConfig

from pinfold.fenced.verify.explain import explain


def folder(text):
    """A module that a load would have imported."""
    module = types.ModuleType("transformers_modules.x.modeling_x")
    exec(compile(text, "/cache/modeling_x.py", "exec"), vars(module))
    return module


def said(function):
    with pytest.raises(Exception) as caught:
        function()
    return explain(caught.value)


CONFIG = "from transformers import PretrainedConfig\nclass C(PretrainedConfig):\n    model_type = 'x'\n"


def test_a_field_that_nobody_sets_is_named_with_its_class():
    module = folder(CONFIG + "def read(config):\n    return config.depth\n")
    line = said(lambda: module.read(module.C()))
    assert line.startswith("AttributeError: ") and "(modeling_x.py:5)" in line
    assert line.endswith("; take depth as an argument of C.__init__, with a default, and set it")


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        ("length=8, ", "; set self.length before super().__init__(), which reads it"),
        (
            "",
            "; take length as an argument of C.__init__, with a default, and set it before super().__init__(), which",
        ),
    ],
)
def test_a_field_that_the_base_class_reads_has_to_be_set_before(arguments, cure):
    base = "class B(PretrainedConfig):\n    def __init__(self, **kwargs):\n        self.length + 1\n"
    scope = {"PretrainedConfig": PretrainedConfig}
    exec(base, scope)
    text = f"class C(B):\n    def __init__(self, {arguments}**kwargs):\n        super().__init__(**kwargs)\n"
    module = types.ModuleType("transformers_modules.x.configuration_x")
    module.B = scope["B"]
    exec(compile(text, "/cache/configuration_x.py", "exec"), vars(module))
    line = said(module.C)
    assert "(configuration_x.py:3)" in line and cure in line


def test_a_field_that_the_class_itself_reads_too_early_is_not_blamed_on_the_base_class():
    text = (
        CONFIG
        + "    def __init__(self, **kwargs):\n        super().__init__(**kwargs)\n        self.twice = self.depth\n"
    )
    line = said(folder(text).C)
    assert line.endswith("; take depth as an argument of C.__init__, with a default, and set it")


def test_an_attribute_of_another_object_has_no_such_cure():
    line = said(lambda: folder("def read(x):\n    return x.depth\n").read(1))
    assert line == "AttributeError: 'int' object has no attribute 'depth' (modeling_x.py:2)"


@pytest.mark.parametrize(
    "body",
    ["self.first = sizes[0]", "self.kind = (sizes or {})['kind']", "self.first = sizes.pop()"],
)
def test_a_configuration_has_to_work_without_arguments(body):
    text = (
        CONFIG + f"    def __init__(self, sizes=None, **kwargs):\n        super().__init__(**kwargs)\n        {body}\n"
    )
    module = folder(text)
    compares = vars(types.ModuleType("transformers.configuration_utils"))
    exec("def to_diff_dict(cls):\n    return cls()\ndef from_dict(cls):\n    return cls()\n", compares)
    line = said(lambda: compares["to_diff_dict"](module.C))
    assert "(modeling_x.py:6); C() has to work without arguments" in line
    assert "without arguments" not in said(lambda: compares["from_dict"](module.C)), "what is stored is wrong there"


@pytest.mark.parametrize(
    "line", ["return part.to('cpu')", "return part.weight.tolist()", "return part.weight.sum().item()"]
)
def test_a_tensor_that_init_reads_or_moves(line):
    module = folder(f"def build(part):\n    {line}\n")
    with torch.device("meta"):
        part = torch.nn.Linear(2, 2)
    line = said(lambda: module.build(part))
    assert "modeling_x.py:2" in line and "__init__ must not move tensors or read them" in line


def test_an_exception_of_transformers_alone_has_neither_place_nor_cure():
    assert said(lambda: PretrainedConfig.from_dict(5)).count("(") <= 1
    assert explain(ValueError("a")) == "ValueError: a"


def test_a_field_that_transformers_reads_may_have_another_name():
    stock = vars(types.ModuleType("transformers.generation.utils"))
    exec("def generate(config):\n    return config.num_hidden_layers\n", stock)
    line = said(lambda: stock["generate"](folder(CONFIG).C()))
    assert line.endswith(
        "; take num_hidden_layers as an argument of C.__init__, with a default, and set it; or name the field that "
        'holds it in its body: attribute_map = {"num_hidden_layers": "..."}'
    )


@pytest.mark.parametrize(
    ("argument", "cure"),
    [
        ("return_dict", "; take return_dict=None in M.forward"),
        ("token_type_ids", "; take token_type_ids=None in M.forward"),
        ("cache", "; take past_key_values=None and cache=None in M.forward, use the one that is given"),
        ("past_key_values", "; take past_key_values=None and cache=None in M.forward, use the one that is given"),
    ],
)
def test_an_argument_that_forward_does_not_take(argument, cure):
    module = folder("class M:\n    def forward(self, input_ids):\n        pass\n")
    assert cure in said(lambda: module.M().forward(input_ids=1, **{argument: 2}))


@pytest.mark.parametrize(
    "line",
    [
        "return past_key_values[0][0].shape",
        "k, v = past_key_values[0]",
        "return [k.shape[2] for k, v, *_ in past_key_values][0]",
    ],
)
def test_a_cache_that_is_read_as_tuples(line):
    from transformers import DynamicCache

    module = folder(f"def forward(past_key_values):\n    {line}\n")
    cure = "define in the model: @classmethod def _supports_default_dynamic_cache(cls): return False"
    assert cure in said(lambda: module.forward(DynamicCache()))
    assert cure not in said(lambda: module.forward(3))


def test_a_part_without_the_name_of_its_input():
    module = folder("import torch\nclass Encoder(torch.nn.Module):\n    pass\n")
    line = said(lambda: module.Encoder().main_input_name)
    assert line.endswith(
        "; generate reads it: set main_input_name in the body of Encoder, to forward's first argument"
    )
