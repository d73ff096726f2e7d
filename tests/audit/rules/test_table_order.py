"""P69: code that goes by the order of a table of the configuration, and code that only looks things up in one."""

import pytest
from corpus.net_folder import findings

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

SET = "        self.vision_config = vision_config\n"
OR_TABLE = 'self.sizes = sizes or {"user": 5, "item": 3}'
TABLES = "self.tables = nn.ModuleDict({n: nn.Embedding(k, 4) for n, k in config.sizes.items()})"
JOINED = "def joined(self, x):\n        return torch.cat([part(x[n]) for n, part in self.tables.items()], 1)\n"


def judged(tmp_path, build=TABLES, more="", sets=OR_TABLE, arguments="sizes=None, ", layers="", files=()):
    findings(tmp_path, "P69", build=build, more=more, arguments=arguments, layers=layers)
    path = tmp_path / "configuration_net.py"
    text = path.read_text()
    assert SET in text
    path.write_text(text.replace(SET, f"{SET}        {sets}\n"))
    for name, content in files:
        (tmp_path / name).write_text(content)
    return [f for f in audit(tmp_path, read_modules(tmp_path)) if f.code == "P69"]


@pytest.mark.parametrize(
    ("sets", "arguments"),
    [
        (OR_TABLE, "sizes=None, "),
        ("self.sizes = sizes", 'sizes={"user": 5, "item": 3}, '),
        ("if sizes is None:\n            sizes = dict(user=5, item=3)\n        self.sizes = sizes", "sizes=None, "),
        ('self.sizes = {"user": 5, "item": 3} if sizes is None else sizes', "*, sizes=None, "),
        ('self.sizes = dict(sizes or {"user": 5, "item": 3})', "sizes: dict = None, "),
        ('self.sizes = kwargs.pop("sizes", {"user": 5, "item": 3})', ""),
    ],
)
def test_tables_that_are_not_sorted(tmp_path, sets, arguments):
    (finding,) = judged(tmp_path, sets=sets, arguments=arguments, more=JOINED)
    assert (finding.severity, finding.case) == (ERROR, "P69.table_order")
    assert "config.sizes" in finding.sentence and "user, item come back as item, user" in finding.sentence


LOOP = "def joined(self, x):\n        columns = []\n        for name, table in self.tables.items():\n"
ORDERED = {
    "a list that is joined": (
        TABLES,
        LOOP + "            columns.append(table(x[name]))\n        return torch.cat(columns, 1)\n",
    ),
    "a list with more": (
        TABLES,
        LOOP + "            columns += [table(x[name])]\n        return torch.stack(columns + [x], 1)\n",
    ),
    "names that are kept": (
        "self.names = list(config.sizes)",
        "def joined(self, x):\n        return torch.cat([x[name] for name in self.names], 1)\n",
    ),
    "columns by number": (
        TABLES,
        "def joined(self, x):\n        return sum(self.tables[n](x[:, i]) for i, n in enumerate(self.config.sizes))\n",
    ),
    "numbers of names": ("self.ids = {name: i for i, name in enumerate(config.sizes)}", ""),
    "pairs by place": (TABLES, "def named(self, x):\n        return dict(zip(self.tables, x.unbind(1)))\n"),
    "a list of modules": ("self.parts = nn.ModuleList([nn.Linear(8, n) for n in config.sizes.values()])", ""),
    "one after the other": ("self.parts = nn.Sequential(*(nn.Linear(8, n) for n in config.sizes.values()))", ""),
    "a list that grows": (
        "self.parts = nn.ModuleList()\n        for name, n in config.sizes.items():\n"
        "            self.parts.append(nn.Linear(8, n))",
        "",
    ),
    "offsets": (
        "start = 0\n        self.starts = {}\n        for name, n in config.sizes.items():\n"
        "            self.starts[name] = start\n            start += n",
        "",
    ),
    "widths of a split": (
        TABLES,
        "def parts(self, x):\n        return x.split(list(self.config.sizes.values()), -1)\n",
    ),
    "one part upon another": (
        "self.parts = nn.ModuleDict()\n        for name, n in config.sizes.items():\n"
        "            self.parts[name] = nn.Linear(n, n)",
        "def run(self, x):\n        for part in self.parts.values():\n            x = part(x)\n        return x\n",
    ),
    "a method between": (
        TABLES,
        "def columns(self, x):\n        return [self.tables[n](x[n]) for n in self.config.sizes]\n\n"
        "    def joined(self, x):\n        return torch.cat(self.columns(x), 1)\n",
    ),
    "the first": ("self.first = next(iter(config.sizes))", ""),
}


@pytest.mark.parametrize("shape", ORDERED)
def test_code_that_goes_by_the_order(tmp_path, shape):
    build, more = ORDERED[shape]
    assert [f.severity for f in judged(tmp_path, build, more)] == [ERROR]


PART = """
class Tables(nn.Module):
    def __init__(self, sizes, width):
        super().__init__()
        self.tables = nn.ModuleDict({n: nn.Embedding(k, width) for n, k in sizes.items()})

    def forward(self, x):
        return torch.cat([table(x[n]) for n, table in self.tables.items()], JOINED)
"""


def test_a_part_that_gets_its_parts_from_outside(tmp_path):
    layers = PART.replace("JOINED", "1").replace("sizes.items()", "[]")
    build = f"self.part = Tables({{}}, 4)\n        {TABLES.replace('self.tables', 'self.part.tables')}"
    (finding,) = judged(tmp_path, build, layers=layers)
    assert finding.severity == ERROR
    assert judged(tmp_path, build.replace("config.sizes.items()", "[]"), layers=layers) == []


@pytest.mark.parametrize(
    "arguments", ["config.sizes, 4", "sizes=config.sizes, width=4", "dict(config.sizes), width=4"]
)
def test_a_part_that_is_handed_the_table(tmp_path, arguments):
    (finding,) = judged(tmp_path, f"self.part = Tables({arguments})", layers=PART.replace("JOINED", "1"))
    assert finding.severity == ERROR


HARMLESS = {
    "by name": (TABLES, "def one(self, x):\n        return self.tables['user'](x)\n"),
    "names from elsewhere": (
        TABLES,
        "def joined(self, x):\n        return torch.cat([self.tables[n](x) for n in ('user', 'item')], 1)\n",
    ),
    "a sum": (TABLES, "def total(self, x):\n        return sum(table(x[n]) for n, table in self.tables.items())\n"),
    "a sum in a loop": (
        TABLES,
        "def total(self, x):\n        y = 0\n        for n, table in self.tables.items():\n"
        "            y = y + table(x[n])\n        return y\n",
    ),
    "a number of them": ("self.wide = nn.Linear(8 * len(config.sizes), sum(config.sizes.values()))", ""),
    "a table of results": (
        TABLES,
        "def all(self, x):\n        return {n: table(x[n]) for n, table in self.tables.items()}\n",
    ),
    "sorted": (
        "self.tables = nn.ModuleDict({n: nn.Embedding(k, 4) for n, k in sorted(config.sizes.items())})",
        JOINED,
    ),
    "sorted names": (
        TABLES,
        "def joined(self, x):\n"
        "        return torch.cat([self.tables[n](x[n]) for n in sorted(self.config.sizes)], 1)\n",
    ),
    "a stack that is summed": (
        TABLES,
        "def total(self, x):\n        return torch.stack([table(x[n]) for n, table in self.tables.items()]).sum(0)\n",
    ),
    "weights of losses": (
        TABLES,
        "def loss(self, x):\n        loss = 0.0\n        for n, w in self.config.sizes.items():\n"
        "            loss += w * x[n]\n        return loss\n",
    ),
}


@pytest.mark.parametrize("shape", HARMLESS)
def test_code_that_does_not(tmp_path, shape):
    build, more = HARMLESS[shape]
    assert judged(tmp_path, build, more) == []


@pytest.mark.parametrize(
    ("sets", "arguments"),
    [
        ('self.sizes = sizes or [["user", 5], ["item", 3]]', "sizes=None, "),
        ('self.sizes = sizes or {"item": 5, "user": 3}', "sizes=None, "),
        ('self.sizes = {"user": 5, "item": 3}', ""),
    ],
)
def test_settings_that_come_back_as_they_were(tmp_path, sets, arguments):
    build = "self.tables = nn.ModuleDict({n: nn.Embedding(k, 4) for n, k in config.sizes})"
    assert judged(tmp_path, build, JOINED, sets=sets, arguments=arguments) == []


@pytest.mark.parametrize(("arguments", "build"), [("sizes=None, ", TABLES), ("sizes: dict = None, ", TABLES)])
def test_a_table_of_which_nothing_is_known(tmp_path, arguments, build):
    (finding,) = judged(tmp_path, build, JOINED, sets="self.sizes = sizes or {}", arguments=arguments)
    assert finding.severity == WARNING


@pytest.mark.parametrize(
    "call", ['NetConfig(sizes={"user": 5, "item": 3})', "NetConfig(40, sizes=dict(user=5, item=3))"]
)
def test_a_table_that_a_script_hands_over(tmp_path, call):
    script = ("fit.py", f"from configuration_net import NetConfig\n\nCONFIG = {call}\n")
    (finding,) = judged(tmp_path, TABLES, JOINED, sets="self.sizes = sizes", files=[script])
    assert finding.severity == ERROR
