"""A name counts as known only where it can be nothing else than the texts that are written out."""

import ast
from pathlib import Path

import pytest

from pinfold.audit.finding import ERROR, errors
from pinfold.audit.security.run import security_findings
from pinfold.folder.model_folder import ModelFolder, Module


def findings(source, configs=None):
    module = Module("m", Path("m.py"), source, ast.parse(source))
    return security_findings(ModelFolder(Path("nowhere"), {}), [module], configs or {})


MODEL = "import os\nfrom transformers import PreTrainedModel, PreTrainedTokenizer\nclass A(PreTrainedModel):\n"
CAN_BE_ANOTHER = {
    "a default that a call replaces": """\
    def run(self, name="getpid"):
        getattr(os, name)()
    def forward(self, x):
        self.run("".join(chr(c) for c in x))
""",
    "a default that a call replaces by its name": """\
    def run(self, *, name="getpid"):
        getattr(os, name)()
    def forward(self, x):
        self.run(name=x.text())
""",
    "arguments that are passed on": """\
    def run(self, name="getpid"):
        getattr(os, name)()
    def forward(self, x):
        self.run(*x.args)
""",
    "a second value": """\
    def forward(self, x):
        name = "getpid"
        name = x.text()
        getattr(os, name)()
""",
    "a second value that a library gives": """\
    def forward(self, x):
        name = "getpid"
        name = os.path.basename(x)
        getattr(os, name)()
""",
    "a text of a library": """\
    def forward(self, x):
        name = "pid"
        name = os.linesep
        getattr(os, f"get{name}")()
""",
    "a sum with what a library gives": """\
    def forward(self, x):
        name = "GETPID"
        name = os.path.basename(x)
        getattr(os, "" + name.lower())()
""",
    "an object of the folder": """\
    pass
class Text(str):
    pass
def f(x):
    name = "getpid"
    name = Text(x)
    getattr(os, name)()
""",
    "a second value that comes first": """\
    def forward(self, x):
        for _ in "ab":
            getattr(os, name)()
            name = x.text()
            name = "getpid"
""",
    "a text in which nothing is put": """\
    def forward(self, x):
        name = None
        for c in x:
            name = chr(int(c)) + (name or "")
        getattr(os, f"{name}")()
""",
    "a text in which such a name is put": """\
    def forward(self, x):
        name = "pid"
        name = x.text()
        getattr(os, f"get{name}")()
""",
    "a sum": """\
    def forward(self, x):
        name = "pid"
        name = x.text()
        getattr(os, "get" + name)()
""",
    "a method of such a name": """\
    def forward(self, x):
        name = "GETPID"
        name = x.text()
        getattr(os, name.lower())()
""",
    "an attribute": """\
    name = "getpid"
    def forward(self, x):
        self.name = x.text()
        getattr(os, self.name)()
""",
    "a condition": """\
    def forward(self, x):
        getattr(os, "getpid" if x is None else x.text())()
""",
    "or": """\
    def forward(self, x):
        getattr(os, x.text() or "getpid")()
""",
    "an element": """\
    def forward(self, x):
        for name in ["getpid", x.text()]:
            getattr(os, name)()
""",
    "an element of a pair": """\
    def forward(self, x):
        for name, _ in [("getpid", 1), (x.text(), 2)]:
            getattr(os, name)()
""",
    "an item": """\
    def forward(self, x):
        getattr(os, ["getpid", x.text()][x.index()])()
""",
    "an item of a dict": """\
    def forward(self, x):
        getattr(os, {"a": "getpid", "b": x.text()}[x.key()])()
""",
    "a default of a dict": """\
    def forward(self, x):
        getattr(os, {"a": "getpid"}.get(x.key(), x.text()))()
""",
    "what a function gives": """\
    def name(self, x):
        if x is None:
            return "getpid"
        return x.text()
    def forward(self, x):
        getattr(os, self.name(x))()
""",
    "what getattr gives instead": """\
    def forward(self, x):
        getattr(os, getattr(x, "name", "getpid"))()
""",
    "what the environment gives": """\
    def forward(self, x):
        getattr(os, os.environ.get("NAME_OF_IT", "getpid"))()
""",
    "a default of forward": """\
    def forward(self, x, name="getpid"):
        getattr(os, name)()
""",
    "a default of a tokenizer": """\
    pass
class B(PreTrainedTokenizer):
    def __init__(self, vocab_file, name="getpid", **kwargs):
        getattr(os, name)()
""",
    "an exception": """\
    def forward(self, x):
        name = "getpid"
        try:
            x()
        except ValueError as name:
            pass
        getattr(os, name)()
""",
    "a walrus": """\
    def forward(self, x):
        name = "getpid"
        if (name := x.text()):
            getattr(os, name)()
""",
    "more texts than are followed": """\
    def forward(self, x):
        name = "getpid"
"""
    + "".join(f'        name = "name_{number}"\n' for number in range(20))
    + '        name = "system"\n        getattr(os, name)()\n',
}


@pytest.mark.parametrize("shape", CAN_BE_ANOTHER)
def test_a_name_that_can_be_another_is_computed(shape):
    source = MODEL + CAN_BE_ANOTHER[shape]
    line = next(number for number, text in enumerate(source.split("\n"), 1) if "getattr(os" in text)
    assert ("S15", line, ERROR) in {(f.code, f.line, f.severity) for f in findings(source)}


def test_a_module_and_a_variable_are_computed_in_the_same_way():
    head = "import importlib, os\ndef f(x, name='math'):\n    name = x.text()\n"
    (finding,) = errors(findings(f"{head}    importlib.import_module(name)"))
    assert finding.code == "S04" and "computed at run time" in finding.sentence
    (finding,) = errors(findings(f"{head}    os.environ.get(name)"))
    assert finding.code == "S08" and "secrets" in finding.sentence


SURE = {
    "a parameter": """\
    def run(self, name):
        getattr(os, name)()
    def forward(self, x):
        self.run("getpid")
        self.run(name="getppid")
""",
    "a default": """\
    def run(self, name="getpid"):
        getattr(os, name)()
    def forward(self, x):
        self.run()
""",
    "two values": """\
    def forward(self, x):
        name = "getpid"
        if x is None:
            name = "getppid"
        getattr(os, f"{name}")()
        del name
""",
    "a condition": """\
    def forward(self, x):
        getattr(os, "get" + ("pid" if x is None else "ppid"))()
""",
    "elements": """\
    def forward(self, x):
        for name in ("getpid", "getppid"):
            getattr(os, name)()
""",
    "what a function gives": """\
    def name(self, n):
        return "getpid" if n else self.name(n + 1)
    def forward(self, x):
        getattr(os, self.name(0))()
""",
    "an item": """\
    names = {"a": "getpid", "b": "getppid"}
    def forward(self, x):
        getattr(os, self.names[x.key()])()
""",
    "a default of a configuration": """\
    pass
from transformers import PretrainedConfig
class C(PretrainedConfig):
    def __init__(self, name="getpid", **kwargs):
        getattr(os, name)()
""",
}


@pytest.mark.parametrize("shape", SURE)
def test_a_name_that_is_always_one_of_these_is_known(shape):
    assert [
        str(f) for f in findings(MODEL + SURE[shape], {"config.json": {"model_type": "x"}}) if f.code == "S15"
    ] == []
