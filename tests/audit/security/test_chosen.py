"""Calls of what the code chooses at run time: named beside what acts, and not in honest code."""

# ruff: noqa: E501 (lines of programs)

import ast
from pathlib import Path

import pytest

from pinfold.audit.finding import WARNING, errors
from pinfold.audit.security.run import security_findings
from pinfold.folder.model_folder import ModelFolder, Module

TABLE = "import os\nOPS = {'make': os.makedirs, 'link': os.symlink}\n"


def findings_of(source):
    module = Module("m", Path("m.py"), source, ast.parse(source))
    return security_findings(ModelFolder(Path("nowhere"), {}), [module], {})


ACTING = {
    "a table by a name of the settings": TABLE
    + "def run(steps):\n    for step in steps:\n        OPS[step[0]](step[1])",
    "pairs of a generator": TABLE + "def pairs(steps):\n    for s in steps:\n        yield OPS[s.name], s.places\n\n"
    "def run(steps):\n    for step, places in pairs(steps):\n        step(*places)",
    "what reduce gives": "import functools, pydoc\n\ndef run(name, stages=(pydoc.locate,)):\n"
    "    target = functools.reduce(lambda got, stage: stage(got), stages, name)\n    target(1)",
    "a method by a name of the settings": "from huggingface_hub.utils import get_session\n\ndef run(config):\n"
    "    send = getattr(get_session(), config.verb)\n    send(config.place)",
    "an object that looks names up": "import operator, sys\n\nclass Late:\n    table = {'go': ('os', 'spawn' + 'lp')}\n\n"
    "    def __getattr__(self, name):\n        module, attribute = type(self).table[name]\n"
    "        return operator.attrgetter(attribute)(sys.modules[module])\n\ndef run(late=Late()):\n    late.go('ls')",
    "a proxy of another machine": "import xmlrpc.client\n\ndef run(numbers):\n"
    "    far = xmlrpc.client.ServerProxy('http://127.0.0.1:1')\n    far.statistics.keep(numbers)",
}


@pytest.mark.parametrize("case", ACTING)
def test_the_call_of_what_was_chosen_is_named_on_its_line(case):
    source = ACTING[case]
    assert any(finding.line == source.count("\n") + 1 for finding in findings_of(source)), findings_of(source)


HONEST = (
    "import torch\nACTS = {'relu': torch.relu, 'tanh': torch.tanh}\n\ndef run(name, x):\n    return ACTS[name](x)",
    "class M:\n    def forward(self, x):\n        for layer in self.layers:\n            x = layer(x)\n        return x",
    "def apply(function, x):\n    return function(x)",
    "class Late:\n    def __getattr__(self, name):\n        return lambda x: x\n\ndef run(x):\n    return Late().go(x)",
    "import torch\n\ndef run(x, kind):\n    act = getattr(torch.nn.functional, kind)\n    return act(x)",
    "import os, torch\n\nclass M:\n    OPS = {'a': torch.relu, 'b': lambda x: x}\n    WIPE = {'a': os.remove}\n"
    "    def forward(self, x, kind):\n        return self.OPS[kind](x)",
    "import os\n\nclass M:\n    def forward(self, x, kind):\n        return {'a': self.one, 'b': self.two}[kind](x)\n"
    "    def one(self, x):\n        return x\n    def two(self, x):\n        return x\n"
    "    def save(self, x):\n        os.remove(x)",
)


@pytest.mark.parametrize("source", HONEST)
def test_a_choice_among_what_only_computes_has_no_finding(source):
    assert [finding for finding in findings_of(source) if "chooses at run time" in finding.sentence] == []


def test_layers_of_a_model_beside_what_acts_are_not_named():
    source = TABLE + "class M:\n    def forward(self, x):\n        for i, block in enumerate(self.blocks):\n"
    source += "            x = block(x)\n        return self.heads[0](x)\n"
    assert {finding.line for finding in findings_of(source)} == {2}


def test_so_many_are_named_in_a_file_and_no_more():
    source = TABLE + "def run(steps, x):\n" + "    steps[x]()\n" * 30
    chosen = [finding for finding in findings_of(source) if "chooses at run time" in finding.sentence]
    assert len(chosen) == 5
    assert {(finding.severity, finding.code) for finding in chosen} == {(WARNING, "S07")}
    assert all("see line 2, where S07 says what it can be" in finding.sentence for finding in chosen)


WALKS = "import functools, os\nfrom functools import reduce\nclass M:\n    def part(self, path):\n        return "


@pytest.mark.parametrize(
    ("walk", "severities"),
    [
        ("functools.reduce(getattr, path.split('.'), self)", [WARNING]),
        ("reduce(getattr, ['layers', 'first'], self)", []),
        ("reduce(getattr, ('__init__', '__globals__'), self)", ["error"]),
        ("reduce(getattr, path.split('.'), os)", ["error"]),
        ("reduce(getattr, path.split('.'), self.other)", ["error"]),
        ("reduce(lambda a, b: a + b, path, self)", []),
    ],
)
def test_a_walk_from_an_object_of_the_folder_is_a_warning(walk, severities):
    assert [finding.severity for finding in findings_of(WALKS + walk)] == severities


@pytest.mark.parametrize(
    "place", ["':memory:'", "''", "'file::memory:?cache=shared', uri=True", "'file:a?mode=memory', uri=True"]
)
def test_a_database_in_memory_has_no_finding(place):
    source = (
        f"import sqlite3\n\ndef index(rows):\n    base = sqlite3.connect({place})\n    return base.execute('select 1')"
    )
    assert findings_of(source) == []
    attached = findings_of(source.replace("select 1", "attach ? as a"))
    assert [(finding.code, finding.line) for finding in attached] == [("S07", 5)]
    assert findings_of(source.replace(place, "'/var/lib/a.db'"))


@pytest.mark.parametrize(
    "line",
    [
        "    size = property(lambda self: urlopen('http://a/b'))",
        "    size: object = property(fget=lambda self: urlopen('http://a/b'))",
        "    size = {'a': {'b': lambda: urlopen('http://a/b')}}",
        "    size = staticmethod(lambda: urlopen('http://a/b'))",
    ],
)
def test_a_lambda_of_a_class_is_reached_by_its_name(line):
    source = f"from urllib.request import urlopen\nclass M:\n{line}\n    def forward(self, x):\n        "
    assert [f.line for f in errors(findings_of(source + "return self.size"))] == [3]
    assert errors(findings_of(source + "return self.weight")) == []
