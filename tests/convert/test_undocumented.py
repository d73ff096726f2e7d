"""Generated files print nothing when they are imported, whatever their author has not described."""

import ast
import contextlib
import importlib
import io
import sys
import textwrap

import pytest

from pinfold.cli.main import main
from pinfold.convert.write.undocumented import without_complaints

MODULAR = {
    "an argument of forward and a field": """
        from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
        from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

        class QuietConfig(Qwen3Config):
            model_type = "quiet"
            gate_scale: float = 1.0

        class QuietForCausalLM(Qwen3ForCausalLM):
            def forward(self, input_ids=None, heat=None, **kwargs):
                return super().forward(input_ids=input_ids, **kwargs)
    """,
    "an argument of a constructor": """
        from transformers.models.bert.modeling_bert import BertForSequenceClassification
        from transformers.models.bert.configuration_bert import BertConfig

        class QuietConfig(BertConfig):
            model_type = "quiet"

        class QuietForSequenceClassification(BertForSequenceClassification):
            def __init__(self, config, sharpness=1.0):
                super().__init__(config)
                self.sharpness = sharpness
    """,
    "all that is described": '''
        from transformers.models.qwen3.configuration_qwen3 import Qwen3Config
        from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

        class QuietConfig(Qwen3Config):
            r"""
            gate_scale (`float`, *optional*, defaults to 1.0):
                How strongly the gate acts.
            """
            model_type = "quiet"
            gate_scale: float = 1.0

        class QuietForCausalLM(Qwen3ForCausalLM):
            def forward(self, input_ids=None, heat=None, **kwargs):
                r"""
                heat (`float`, *optional*):
                    How warm it is.
                """
                return super().forward(input_ids=input_ids, **kwargs)
    ''',
}


@pytest.mark.parametrize("shape", MODULAR)
def test_an_import_prints_nothing(shape, tmp_path, monkeypatch):
    name = f"quiet_{list(MODULAR).index(shape)}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "modular_quiet.py").write_text(textwrap.dedent(MODULAR[shape]).lstrip())
    assert main(["convert", str(folder / "modular_quiet.py")]) == 0
    monkeypatch.syspath_prepend(str(tmp_path))
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        module = importlib.import_module(f"{name}.modeling_quiet")
    assert "[ERROR]" not in printed.getvalue()
    source = (folder / "modeling_quiet.py").read_text()
    described = "described" in shape
    head = next(node for node in ast.parse(source).body if getattr(node, "name", "").startswith("QuietFor"))
    method = {node.name: node for node in head.body if isinstance(node, ast.FunctionDef)}
    changed = method["__init__" if "constructor" in shape else "forward"]
    decorators = [ast.unparse(each) for each in (head if "constructor" in shape else changed).decorator_list]
    assert ("auto_docstring" in decorators) == described  # one that has nothing to say against it stays
    assert getattr(module, head.name).forward.__doc__
    for key in [key for key in sys.modules if key.split(".")[0] == name]:
        del sys.modules[key]


def test_what_is_left_is_python():
    text = textwrap.dedent("""
        from transformers.utils import auto_docstring, logging


        @auto_docstring
        class AModel(PreTrainedModel):
            @can_return_tuple
            @auto_docstring
            def forward(self, input_ids, odd=None) -> int:
                return 1

            @auto_docstring
            def other(self, strange=None):
                return 2


        @auto_docstring(checkpoint="a/b")
        class AConfig(PreTrainedConfig):
            odd: int = 1
    """)
    tree = ast.parse(without_complaints(text))
    model, config = tree.body[1:]
    forward, other = model.body
    assert [ast.unparse(each) for each in forward.decorator_list] == ["can_return_tuple"]
    assert ast.get_docstring(forward).startswith("Returns int.")
    assert other.decorator_list == [] and config.decorator_list == []
    assert [ast.unparse(each) for each in model.decorator_list] == ["auto_docstring"]
    nothing_to_do = text.replace("odd", "labels").replace("strange", "labels").split("@auto_docstring(check")[0]
    assert without_complaints(nothing_to_do) == nothing_to_do


def test_an_import_that_is_not_used_goes():
    first = "from transformers.utils import auto_docstring\n\n\n"
    text = f"{first}@auto_docstring\nclass XConfig(PreTrainedConfig):\n    odd: int = 1\n"
    assert "auto_docstring" not in without_complaints(text)
