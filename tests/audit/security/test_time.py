"""A program takes the time that its length asks for, however its names and classes hang together."""

import ast
import time
from pathlib import Path

import pytest

from pinfold.audit.finding import errors
from pinfold.audit.security.run import security_findings
from pinfold.audit.security.state import LONGEST_LINEAGE
from pinfold.folder.model_folder import ModelFolder, Module

ACT = "import os\nos.system('id')\n"
SHAPES = {
    "one name for a thousand functions": "def f():\n    f()\n" * 1000,
    "one name for three thousand methods": "class A:\n" + "    def go(self, x):\n        return self.go(x)\n" * 3000,
    "one name in three thousand classes": "".join(
        f"class A{i}:\n    def forward(self, x):\n        return self.forward(x)\n" for i in range(3000)
    ),
    "five thousand functions in a circle": "".join(
        f"def f{i}(x):\n    return f{(i + 1) % 5000}(x)\n" for i in range(5000)
    ),
    "functions in functions": "".join("    " * i + f"def f{i}():\n" for i in range(90)) + "    " * 90 + "f0()\n",
    "a long line of classes": "class C0: pass\n"
    + "".join(f"class C{i}(C{i - 1}):\n    def f(self):\n        return self.go()\n" for i in range(1, 1500)),
    "objects of a long line of classes": "class C0: pass\n"
    + "".join(f"class C{i}(C{i - 1}): pass\nx{i} = C{i}()\nx{i}.go()\n" for i in range(1, 1500)),
    "classes of two bases each": "class C0: pass\nclass D0: pass\n"
    + "".join(
        f"class C{i}(C{i - 1}, D{i - 1}):\n    def f(self):\n        return self.go()\n"
        f"class D{i}(C{i - 1}, D{i - 1}): pass\n"
        for i in range(1, 700)
    ),
}


def findings_of(source):
    module = Module("m", Path("m.py"), source, ast.parse(source))
    return security_findings(ModelFolder(Path("nowhere"), {}), [module], {})


@pytest.mark.parametrize("shape", SHAPES)
def test_names_and_classes_that_hang_together_take_seconds(shape):
    start = time.process_time()
    findings = findings_of(ACT + SHAPES[shape])
    assert time.process_time() - start < 15  # 1 to 4 s on an idle core
    assert ("S02", 2) in {(f.code, f.line) for f in findings}


@pytest.mark.parametrize("calls", ["f()", "x.f()", "y = f", "[f for _ in x]"])
def test_every_function_of_a_name_is_reached_where_one_is_named(calls):
    source = (
        "import os\n"
        + "def f():\n    os.system('id')\n" * 3
        + f"class A:\n    def forward(self, x):\n        {calls}\n"
    )
    assert [f.line for f in errors(findings_of(source)) if "reached from A.forward" in f.sentence] == [3, 5, 7]


@pytest.mark.parametrize("count", [LONGEST_LINEAGE - 1, LONGEST_LINEAGE + 20])
def test_classes_that_derive_from_too_many_are_said_not_to_be_followed(count):
    source = "import os\nclass C0:\n    go = os.system\n"
    source += "".join(f"class C{i}(C{i - 1}): pass\n" for i in range(1, count + 1))
    source += f"C{count}().go('id')\n"
    found = {(f.code, f.line) for f in errors(findings_of(source))}
    assert ("S02" if count < LONGEST_LINEAGE else "S15", count + (4 if count < LONGEST_LINEAGE else 3)) in found
