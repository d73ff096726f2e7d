"""What acts under another name is reported on its line, three shapes or more of each kind; what is honest is not."""

import ast
from pathlib import Path

import pytest
from corpus.kinds import KINDS

from pinfold.audit.finding import ERROR, WARNING, by_harm, errors
from pinfold.audit.run import audit
from pinfold.audit.security.rules.pickles import hidden_pickles
from pinfold.audit.security.run import security_findings
from pinfold.audit.security.tables.library import reaches, read_table, resolve
from pinfold.folder.model_folder import ModelFolder, Module, read_modules

CASES = [(kind, number) for kind, (_, sources) in KINDS.items() for number in range(len(sources))]


def findings_of(source, settings=None):
    configs = {"config.json": settings} if settings else {}
    return security_findings(
        ModelFolder(Path("nowhere"), {}), [Module("m", Path("m.py"), source, ast.parse(source))], configs
    )


@pytest.mark.parametrize(("kind", "number"), CASES)
def test_each_shape_of_a_kind_is_reported_with_code_and_line(kind, number):
    code, sources = KINDS[kind]
    source = sources[number]
    line = next(n for n, text in enumerate(source.split("\n"), 1) if text.endswith("#!"))
    findings = findings_of(source)
    assert (code, line) in {(f.code, f.line) for f in findings}, [str(f) for f in findings]


def test_every_kind_has_three_shapes():
    assert len(KINDS) >= 32 and all(len(sources) >= 3 for _, sources in KINDS.values())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("random._os.system", "os.system"),
        ("huggingface_hub.hf_api.HfApi", "huggingface_hub.HfApi"),
        ("tokenize._builtin_open", "builtins.open"),
        ("torch.nn.Linear", "torch.nn.Linear"),
        ("unknown.os_like.name", "unknown.os_like.name"),
    ],
)
def test_a_name_is_resolved_to_the_one_that_rules_know(path, name):
    assert resolve(path) == name


@pytest.mark.parametrize(
    "start", ["W().start()", "w = W()\n        w.start()", "self.w = W()\n        self.w.start()"]
)
def test_an_act_in_a_thread_is_an_error_where_the_thread_is_started(start):
    source = "import threading, urllib.request\nclass W(threading.Thread):\n    def run(self):\n"
    source += '        urllib.request.urlopen("http://a/b")\nclass M:\n    def forward(self, x):\n        '
    assert [f.line for f in errors(findings_of(source + start))] == [4]
    assert errors(findings_of(source + "W()")) == []


@pytest.mark.parametrize(
    "source",
    [
        'open("/proc/" + x)',
        'open(f"/proc/{x}/status")',
        'print("see /proc/1/statm of " + x)',
        "class Late:\n    def __getattr__(self, key):\n        return open(self.root + key)\nLate().names",
        "class Late:\n    def __getattr__(self, key):\n        return getattr(self.inner, key)\nLate().environ",
    ],
)
def test_what_is_put_together_elsewhere_is_no_place_of_secrets(source):
    assert [f for f in errors(findings_of(source)) if f.code == "S08"] == []


def test_what_a_class_looks_up_by_its_own_getattr_is_followed():
    source = "import os\nclass Late:\n    def __getattr__(self, key):\n        return getattr(os, key)\n"
    assert ("S02", 5) in {(f.code, f.line) for f in errors(findings_of(source + "Late().system('id')"))}


@pytest.mark.parametrize(
    "line",
    [
        "c.execute(\"ATTACH ':memory:' AS other\")",
        "c.execute(\"ATTACH '' AS other\")",
        "c.execute('CREATE TABLE a(b)')",
        "c.execute('SELECT a FROM t WHERE b = ?', ('a',))",
        "c.execute(f'INSERT INTO t VALUES ({x})')",
        "c.execute('COPY t TO STDOUT')",
        "c.executemany('REPLACE INTO t VALUES (?, ?)', x)",
        "self.agent.execute('load model')",
        "self.prompt.text('Please copy this to that, and attach it')",
        "self.tree.query(x, k=3)",
        "import duckdb; duckdb.connect()",
        "import duckdb; duckdb.connect(':memory:').sql('SELECT 1')",
        "from sqlalchemy import create_engine; create_engine('sqlite://')",
    ],
)
def test_texts_for_a_database_that_stay_in_it_have_no_finding(line):
    source = "import sqlite3\nclass M:\n    def forward(self, x):\n        c = sqlite3.connect(':memory:')\n        "
    assert findings_of(source + line) == []


def test_the_table_says_what_it_was_made_from():
    made_from = read_table()["made_from"]
    assert {"python", "torch", "transformers", "huggingface_hub", "numpy"} <= made_from.keys()
    assert all(version[0].isdigit() for version in made_from.values())


EVERYDAY = (  # noqa: SIM905
    "torch.nn.Linear torch.load torch.compile torch.jit.script torch.nn.functional.softmax torch.einsum "
    "transformers.AutoModel.from_pretrained transformers.AutoConfig.from_pretrained collections.namedtuple "
    "dataclasses.dataclass functools.partial functools.wraps logging.getLogger transformers.utils.logging.get_logger "
    "inspect.signature importlib.util.find_spec ast.literal_eval ast.parse typing.Optional numpy.array "
    "json.loads re.compile warnings.warn abc.abstractmethod enum.Enum torch.no_grad torch.utils.checkpoint.checkpoint "
    "tokenizers.Tokenizer.from_file PIL.Image.fromarray timm.create_model"
).split()


@pytest.mark.parametrize("name", EVERYDAY)
def test_everyday_functions_run_nothing_of_what_they_are_given(name):
    assert {"text", "command", "import", "native", "pickle", "url"}.isdisjoint(reach.what for reach in reaches(name))


@pytest.mark.parametrize(
    "line",
    [
        "self.m = timm.create_model(config.backbone, pretrained=False, checkpoint_path=config.path)",
        "self.m = torch.load(config.path, weights_only=True)",
        "self.m = PIL.Image.open(config.path).convert('RGB')",
        "self.m = tokenizers.Tokenizer.from_file(config.path)",
        "self.m = pandas.read_csv(config.path)",
        "self.m = safetensors.torch.load_file(config.path)",
    ],
)
def test_loading_what_a_configuration_names_is_no_error(line):
    source = "import PIL.Image, pandas, safetensors.torch, timm, tokenizers, torch\n"
    source += f"class A(torch.nn.Module):\n    def __init__(self, config):\n        {line}\n"
    assert errors(findings_of(source)) == []


MARKED = "from transformers.integrations import {name}\n@{name}({arguments})\nclass Norm:\n    pass\n"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("use_kernel_forward_from_hub", '"RMSNorm"'),
        ("use_kernelized_func", "print"),
        ("use_kernel_func_from_hub", '"rotary_pos_emb"'),
        ("use_kernel_func_from_hub_with_fallback", '"causal_conv1d_fn", "causal_conv1d"'),
    ],
)
def test_a_mark_for_kernels_that_a_user_may_ask_for_is_no_error(name, arguments):
    assert errors(findings_of(MARKED.format(name=name, arguments=arguments))) == []


def test_what_a_decorator_made_is_not_the_decorator():
    source = "from transformers.integrations import use_kernel_func_from_hub_with_fallback as k\n"
    source += '@k("scan", "mamba_ssm")\ndef scan(x, place):\n    return x\n'
    source += "class A:\n    def forward(self, x):\n        return scan(x, self.config.place)\n"
    assert errors(findings_of(source)) == []


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("h.get_kernel(config.kernel)", "S05"),
        ("h.kernelize(self)", "S05"),
        ('h.use_kernel_func_from_hub_with_fallback("system", "os")(print)', "S04"),
    ],
)
def test_what_loads_a_kernel_or_imports_in_its_place_is_an_error(line, code):
    source = "import transformers.integrations.hub_kernels as h\nclass A:\n    def __init__(self, config):\n        "
    source += f"{line}\n"
    assert (code, 4) in {(f.code, f.line) for f in errors(findings_of(source))}


def test_a_write_that_nothing_reaches_at_a_place_of_the_callers_is_a_warning():
    log = "class A:\n    def log(self, path, text):\n        with open(path, 'a') as f:\n            f.write(text)\n"
    assert errors(findings_of(log)) == [] and [f.severity for f in findings_of(log)] == [WARNING]
    reached = log + "    def forward(self, x):\n        self.log(self.place, x)\n        return x\n"
    assert [f.code for f in errors(findings_of(reached))] == ["S07"]
    assert "reached from A.forward" in errors(findings_of(reached))[0].sentence
    assert [f.code for f in errors(findings_of(log.replace("(path, 'a')", "('/etc/a', 'a')")))] == ["S07"]


def test_an_error_says_from_where_it_is_reached():
    sources = {
        "import os\nos.system('id')": "when the file is imported",
        "import os\nclass A:\n    def forward(self, x):\n        os.system('id')": "in A.forward",
        "import os\ndef f():\n    os.system('id')": "not reached by a load or a call of the model",
    }
    for source, words in sources.items():
        assert words in errors(findings_of(source))[0].sentence


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def security_of(directory):
    folder = read_modules(directory, unreadable={})
    return [f for f in audit(directory, folder if folder.modules else None) if f.code.startswith("S")]


ACT = "import os\nos.system('id')\n"


@pytest.mark.parametrize(
    ("settings", "content"),
    [
        ("config.json", '{"auto_map": {"AutoModel": "deep/er/code.A"}}'),
        (
            "processor_config.json",
            '{"image_processor": {"x": [{"auto_map": {"AutoImageProcessor": "deep/er/code.A"}}]}}',
        ),
        ("part/config.json", '{"auto_map": {"AutoModel": "deep/er/code.A"}}'),
        ("config.4.0.0.json", '{"auto_map": {"AutoModel": ["deep/er/code.A", null]}}'),
    ],
)
def test_code_that_settings_at_any_depth_name_is_loaded_code(tmp_path, settings, content):
    write(tmp_path / settings, content)
    write(tmp_path / "deep/er/code.py", "from .helper import x\nclass A: pass\n")
    write(tmp_path / "deep/er/helper.py", "x = 1\n" + ACT)
    assert ("S02", "deep/er/helper.py", 3, ERROR) in {
        (f.code, f.file, f.line, f.severity) for f in security_of(tmp_path)
    }


@pytest.mark.parametrize("path", ["tools.py", "a/b/c/tools.py", "__pycache__/tools.py"])
def test_a_file_that_no_load_reaches_is_read_and_said_to_be_so(tmp_path, path):
    write(tmp_path / "config.json", "{}")
    write(tmp_path / path, ACT)
    (finding,) = [f for f in security_of(tmp_path) if f.code == "S02"]
    assert (finding.file, finding.line, finding.severity) == (path, 2, WARNING)
    assert finding.sentence.endswith("No load reaches this file.")


@pytest.mark.parametrize(
    "content",
    [
        b"# coding: utf-7\n+AGkAbQBwAG8AcgB0 os\nos.system('id')\n",
        b"#\r# -*- coding: utf-7 -*-\n+AGkAbQBwAG8AcgB0 os\nos.system('id')\n",
        b"\n# vim: set fileencoding=raw_unicode_escape :\n"
        b"x = '''\\u0027\\u0027\\u0027; import os; os.system('id'); x = '''y'''\n",
    ],
)
def test_the_text_that_is_read_is_the_text_that_python_runs(tmp_path, content):
    write(tmp_path / "config.json", '{"auto_map": {"AutoModel": "code.A"}}')
    write(tmp_path / "code.py", content)
    assert {("S02", ERROR)} <= {(f.code, f.severity) for f in security_of(tmp_path)}


@pytest.mark.parametrize("content", [b"x = '\xff'\n", b"# coding: no-such\nx = 1\n", b"x = (\n"])
def test_what_cannot_be_read_is_a_finding(tmp_path, content):
    write(tmp_path / "config.json", '{"auto_map": {"AutoModel": "code.A"}}')
    write(tmp_path / "code.py", content)
    assert ("S15", "code.py", ERROR) in {(f.code, f.file, f.severity) for f in security_of(tmp_path)}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("modules.json", '[{"type": "subprocess.Popen", "path": ""}]', "S14"),
        ("2_Router/router_config.json", '{"types": {"a": "os.system"}}', "S14"),
        ("1_Dense/config.json", '{"activation_function": "runpy.run_path"}', "S14"),
        ("model_index.json", '{"unet": ["subprocess", "Popen"]}', "S14"),
        ("adapter_config.json", '{"megatron_core": "antigravity"}', "S14"),
        ("config.json", '{"hook": {"target": "os:system"}}', "S14"),
        ("config.json", '{"x": ["~/.ssh/id_rsa"]}', "S08"),
        ("tokenizer_config.json", '{"vocab_file": "/proc/self/environ"}', "S08"),
        ("part/config.json", '{"data": "/etc/hostname"}', "S08"),
    ],
)
def test_settings_that_name_code_or_places_are_reported(tmp_path, name, content, code):
    write(tmp_path / name, content)
    assert (code, name) in {(f.code, f.file) for f in security_of(tmp_path)}


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("vocab.dat", b"\x80\x04\x95\x0b\x00", 1),
        ("notes.txt", b"cos\nsystem\n(S'id'\ntR.", 1),
        ("a.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False}", 1),
        ("pytorch_model.bin", b"\x80\x04\x95\x0b\x00", 0),
        ("notes.md", b"can\nyou\nread this\n", 0),
        ("spiece.model", b"\n\x0e\n\x05<unk>", 0),
    ],
)
def test_a_pickle_under_another_name_is_reported(tmp_path, name, content, code):
    write(tmp_path / name, content)
    assert len([f for f in security_of(tmp_path) if f.code == "S06"]) == code


def test_the_most_harmful_finding_comes_first():
    findings = sorted(
        findings_of("import os, torch\nos.environ['A'] = 'b'\ntorch.load = 1\nos.system('id')"), key=by_harm
    )
    assert [f.code for f in findings] == ["S02", "S11", "S09"]


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"PK\x03\x04" + b"x" * 600, b"PK\x03\x04data.pkl" + b"\0" * 99])
def test_an_archive_that_cannot_be_looked_into_is_said_to_be_one(tmp_path, content):
    (tmp_path / "rows.csv").write_bytes(content)
    (finding,) = hidden_pickles(tmp_path, ["rows.csv"])
    assert (finding.code, finding.severity, finding.file) == ("S06", "warning", "rows.csv")
    assert "begins as an archive and cannot be looked into" in finding.sentence


SETTINGS = {
    "picture": "https://h/a.png",
    "table": {"place": "s3://bucket/a.csv"},
    "hosts": ["http://host", "http://other"],
    "host": "h/",
    "picked": "system",
    "kind": "safe",
    "out": "scores.bin",
    "act": "gelu",
}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("transformers.image_utils.load_image(config.picture)", "S03"),
        ("transformers.image_utils.load_image(self.config.picture)", "S03"),
        ("pandas.read_csv(config.table['place'])", "S03"),
        ("pandas.read_json(getattr(config, 'picture'))", "S03"),
        ("numpy.genfromtxt(config.hosts[0] + '/a.txt')", "S03"),
        ("numpy.loadtxt(f'http://{config.host}a')", "S03"),
        ("self.reader.load(vars(config)['picture'])", "S03"),
        ("self.reader.load(config.to_dict().get('picture'))", "S03"),
        ("[self.reader.load(host) for host in config.hosts]", "S03"),
        ("getattr(platform.os, config.picked)('id')", "S02"),
        ("transformers.AutoModel.from_pretrained('a/b', **config.options)", "S04"),
        ("PIL.Image.open('a').save(config.out)", "S07"),
        ("numpy.zeros(3).dump(config.out)", "S07"),
    ],
)
def test_a_text_of_the_settings_is_what_the_code_takes_from_there(line, code):
    source = "import PIL.Image, numpy, pandas, platform, transformers\nfrom transformers import PreTrainedModel\n"
    source += f"class A(PreTrainedModel):\n    def __init__(self, config):\n        {line}\n"
    settings = {**SETTINGS, "options": {"trust_remote_code": True}}
    assert (code, 5) in {(f.code, f.line) for f in errors(findings_of(source, settings))}


def test_a_default_of_the_configuration_is_what_the_code_takes_from_there():
    source = (
        "from transformers import PretrainedConfig, PreTrainedModel\nfrom transformers.image_utils import load_image\n"
    )
    source += "class C(PretrainedConfig):\n    def __init__(self, logo='http://h/a.png', icon=None, **kwargs):\n"
    source += "        self.logo = logo\n        self.picture = icon or kwargs.pop('picture')\n"
    source += "class A(PreTrainedModel):\n    def __init__(self, c):\n"
    source += "        load_image(c.logo)\n        self.load(c)\n"
    source += "    def load(self, c):\n        load_image(c.picture)\n"
    assert {("S03", 9), ("S03", 12)} <= {(f.code, f.line) for f in errors(findings_of(source, SETTINGS))}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("importlib.import_module(config.kind)", "S04"),
        ("getattr(os, config.act)", "S15"),
        ("sys.modules[config.kind]", "S15"),
        ("open('a', config.act)", "S07"),
        ("os.environ.get(config.kind)", "S08"),
        ("importlib.import_module(f'{config.kind}x')", "S04"),
        ("importlib.import_module(config.kind.lower())", "S04"),
        ("importlib.import_module(''.join([config.kind, 'x']))", "S04"),
        ("importlib.import_module(config.kind[0])", "S04"),
    ],
)
def test_what_the_settings_say_today_lowers_nothing(line, code):
    source = f"import importlib, os, sys\nclass A:\n    def __init__(self, config):\n        {line}\n"
    assert (code, 4) in {(f.code, f.line) for f in errors(findings_of(source))}
    assert (code, 4) in {(f.code, f.line) for f in errors(findings_of(source, SETTINGS))}


@pytest.mark.parametrize(
    "line",
    [
        "self.act = getattr(torch.nn.functional, config.act)",
        "self.act = transformers.activations.ACT2FN[config.act]",
        "self.part = getattr(self, config.kind)",
        "self.m = torch.load(config.out, weights_only=True)",
        "self.name = config.act.upper()",
        "dist.all_reduce(self.x, op=dist.ReduceOp.SUM)",
        "os.environ.setdefault('TOKENIZERS_PARALLELISM', 'false')",
        "self.lines = open(os.path.join(os.environ.get('DATA', 'data'), config.out))",
        "self.lines = list(fileinput.input(config.out, inplace=False))",
        "self.home = sys.modules[type(self).__module__]; self.home.LAST = self",
        "self.place = inspect.getmodule(torch.nn.Linear).__file__",
        "self.slow = os.environ.get('SLOW', '0') == '1'",
    ],
)
def test_what_honest_code_does_with_its_settings_is_no_error(line):
    source = "import fileinput, inspect, os, sys, torch, transformers\nimport torch.distributed as dist\n"
    source += f"class A(torch.nn.Module):\n    def __init__(self, config):\n        {line}\n"
    assert errors(findings_of(source, SETTINGS)) == []


def test_weights_that_only_a_users_own_program_asks_for_are_a_warning():
    source = "from torch.hub import load_state_dict_from_url\ndef pretrained(m):\n"
    source += "    m.load_state_dict(load_state_dict_from_url('https://h/a.pth'))\n"
    assert errors(findings_of(source)) == [] and ("S03", 3) in {(f.code, f.line) for f in findings_of(source)}
    reached = source + "class A:\n    def forward(self, x):\n        return pretrained(self)(x)\n"
    assert ("S03", 3) in {(f.code, f.line) for f in errors(findings_of(reached))}


@pytest.mark.parametrize("tracker", ["wandb", "mlflow", "swanlab"])
def test_a_tracker_of_experiments_that_only_a_users_own_program_calls_is_a_warning(tracker):
    source = f"import {tracker}\ndef fit(m):\n    {tracker}.log({{'loss': m.loss}})\n"
    assert errors(findings_of(source)) == [] and ("S03", 3) in {(f.code, f.line) for f in findings_of(source)}
    reached = source + "class A:\n    def forward(self, x):\n        return fit(self)\n"
    assert ("S03", 3) in {(f.code, f.line) for f in errors(findings_of(reached))}


@pytest.mark.parametrize(
    ("code", "source"),
    [
        ("S07", "import os\nclass A:\n    __class_getitem__ = os.mkdir  #!\nA['x']\n"),
        ("S07", "import os\nclass A(B, notify=os.makedirs):  #!\n    pass\n"),
        ("S07", "import functools, os\nclass A(str):\n    ready = functools.cached_property(os.mkdir)  #!\n"),
        ("S07", "import os\ndef f(config):\n    config.to_json_file(os.path.expanduser('~/a.json'))  #!\n"),
        ("S07", "import os\ndef f(a):\n    a.save_pretrained(os.path.join(os.path.expanduser('~'), 'a'))  #!\n"),
        (
            "S07",
            "import numpy as n\nclass A:\n    def forward(self, p):\n        n.lib.format.open_memmap(p, 'w+')  #!\n",
        ),
        ("S08", "import torch\ndef f():\n    torch.UntypedStorage.from_file('/etc/x', False, 3)  #!\n"),
        ("S06", "from timm.models import load_state_dict as r\ndef f(p):\n    r(p, weights_only=False)  #!\n"),
        ("S06", "import strange\ndef f(p, safe):\n    strange.load(p, weights_only=safe)  #!\n"),
        ("S04", "import pandas as pd\ndef f():\n    pd.set_option('plotting.backend', 'a.b')  #!\n"),
        ("S04", "import matplotlib\ndef f():\n    matplotlib.use('module://a.b')  #!\n"),
        ("S04", "from matplotlib import pyplot as p\ndef f():\n    p.switch_backend('module://a')  #!\n"),
    ],
)
def test_what_another_hands_act_for_this_code_is_named(code, source):
    line = next(n for n, text in enumerate(source.split("\n"), 1) if text.endswith("#!"))
    assert (code, line) in {(f.code, f.line) for f in errors(findings_of(source))}


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def eval(self, x):\n        return x\n    __call__ = eval\n",
        "import os, torch\nclass A:\n    def __init__(self, c):\n        self.a = globals()[c.kind](c)\n",
        "import os\ndef prepare():\n    os.environ.setdefault('MASTER_PORT', '29500')\n",
        "import datasets\ndef examples():\n    return datasets.load_dataset('squad')\n",
        "import torch\ndef f(p):\n    return torch.load(p, weights_only=True)\n",
        "import matplotlib\ndef f():\n    matplotlib.use('Agg')\n",
        "import torch\nclass A:\n    def save_pretrained(self, d, save_function=torch.save):\n        return d\n",
    ],
)
def test_what_only_looks_like_it_is_no_error(source):
    assert errors(findings_of(source)) == []


def test_a_file_that_is_written_where_the_environment_says_is_a_warning_where_nothing_reaches_it():
    source = "import os\ndef keep(m):\n    open(os.environ['DEBUG_DIR'] + '/a', 'w')\n"
    assert errors(findings_of(source)) == [] and ("S07", 3) in {(f.code, f.line) for f in findings_of(source)}
    assert ("S07", 3) in {(f.code, f.line) for f in errors(findings_of(source.replace("DEBUG_DIR", "HOME")))}


def test_a_function_that_a_table_of_another_file_holds_is_reached(tmp_path):
    write(tmp_path / "config.json", '{"auto_map": {"AutoModel": "code.A"}}')
    write(tmp_path / "code.py", "from .middle import go\nclass A:\n    def forward(self, x):\n        go({})\n")
    write(tmp_path / "middle.py", "from .ends import TABLE\ndef go(spec):\n    TABLE[spec['kind']]('id')\n")
    write(tmp_path / "ends.py", "import os\ndef run(text):\n    os.system(text)\nTABLE = {'a': run}\n")
    (finding,) = [f for f in security_of(tmp_path) if f.file == "ends.py" and f.line == 3]
    assert "reached from A.forward" in finding.sentence


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("logging.config.dictConfig", "imports code by a name"),
        ("logging.handlers.RotatingFileHandler", "writes files"),
    ],
)
def test_the_words_say_what_the_logging_of_python_does(name, words):
    source = "import logging.config, logging.handlers\nclass A:\n    def forward(self, x):\n"
    assert words in errors(findings_of(f"{source}        {name}(self.a)\n"))[0].sentence
