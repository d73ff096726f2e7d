"""What public folders do and no load runs, and what only looks like an act, gives no error; the act beside it does."""

import ast
from pathlib import Path

import pytest

from pinfold.audit.finding import ERROR, WARNING, errors
from pinfold.audit.security.run import security_findings
from pinfold.folder.model_folder import ModelFolder, Module


def findings_of(*sources):
    names = ["m", *(f"module_{number}" for number in range(1, len(sources)))]
    modules = [Module(n, Path(f"{n}.py"), s, ast.parse(s)) for n, s in zip(names, sources, strict=True)]
    return security_findings(ModelFolder(Path("nowhere"), {}), modules, {})


def lines(*sources):
    return [(f.code, f.line) for f in errors(findings_of(*sources))]


HONEST = [
    "import pkg_resources\nV = pkg_resources.parse_version('1')\nW = pkg_resources.get_distribution('torch').version",
    "from pkg_resources import DistributionNotFound, get_distribution, parse_version\nget_distribution('a')",
    "import pkg_resources as p\ntry:\n    p.get_distribution('a')\nexcept p.DistributionNotFound:\n    pass",
    "from distutils.version import LooseVersion\nNEW = LooseVersion('1') > '2'",
    "import distutils.util\nON = distutils.util.strtobool('1')",
    "from distutils import log, version\nversion.StrictVersion('1.0')",
    "from transformers import LlamaConfig\ndef f(config: LlamaConfig = LlamaConfig):\n    config.device = 'cpu'",
    "import transformers\ndef f(c: transformers.LlamaConfig = transformers.LlamaConfig):\n    c.device = 'cpu'",
    "from transformers import CLIPConfig as C\nclass A:\n    def __init__(self, c: C = C):\n        c.device = 'cpu'",
    "x = eval('[(1, 3, 1)] + [(1, 3, 2)]')",
    'def f():\n    return eval(\'{"a": -1, "b": (2, 3)}\')',
    "x = [eval('1'), eval('None'), eval(' (1, 2) ')]",
    "# _*_coding:utf-8_*_\nx = '\u00e9'",
    "# -*- coding: UTF-8-unix -*-\nx = '\u00e9'",
    "#!/usr/bin/python\n# vim: set fileencoding=utf_8 :\nx = '\u00e9'",
    "# -*- coding: latin-1 -*-\nx = 1",
    "# -*- coding: ISO-8859-1-unix -*-\nx = 1",
    "import urllib.request\ndef f(u):\n    return urllib.request.Request('https://h/a', headers={})",
    "from urllib.request import Request\ndef f(u):\n    return Request(u)",
    "import urllib.request as r\nclass A(r.Request):\n    pass",
    "import gc, torch\ndef f():\n    return sum(torch.is_tensor(x) for x in gc.get_objects())",
    "import gc\ndef f():\n    for x in gc.get_objects():\n        print(type(x))",
    "from gc import get_referrers\ndef f(x):\n    return len(get_referrers(x))",
    "import transformers\nclass Phi9Processor:\n    pass\ntransformers.Phi9Processor = Phi9Processor",
    "import transformers\nsetattr(transformers, 'MyOwnConfig', 1)",
    "import transformers.models.llama.modeling_llama as m\nm.MyOwnLayer = 1",
]


@pytest.mark.parametrize("source", HONEST)
def test_what_is_honest_is_no_error(source):
    assert errors(findings_of(source)) == []


ACTS = [
    ("import pkg_resources\npkg_resources.load_entry_point('a', 'b', 'c')", "S04", 2),
    ("import pkg_resources\npkg_resources.get_distribution('a').run_script('b', {})", "S04", 2),
    ("from pkg_resources import iter_entry_points\nfor e in iter_entry_points('a'):\n    e.load()", "S04", 2),
    ("from distutils.spawn import spawn\nspawn(['id'])", "S02", 2),
    ("import distutils.util\ndistutils.util.execute(print, ())", "S02", 2),
    ("from distutils import dir_util\ndir_util.remove_tree('/a')", "S07", 2),
    ("from transformers import LlamaConfig\ndef f(c: object = LlamaConfig):\n    c.x = 1", "S11", 3),
    ("from transformers import LlamaModel as M\ndef f(m: M):\n    m.forward = 1\nf(M)", "S11", 3),
    ("from transformers import LlamaModel\ndef f(m: LlamaModel = LlamaModel):\n    m.forward = 1", "S11", 3),
    ("x = eval('os.x')", "S01", 1),
    ("x = eval('(lambda: 1)()')", "S01", 1),
    ("x = eval('9**9**9**9')", "S01", 1),
    ("def f(text):\n    return eval(text)", "S01", 2),
    ("# coding: utf-7\nx = 1", "S15", 1),
    ("# coding: utf8x\nx = 1", "S15", 1),
    ("# coding: latin-1\nx = '\u00e9'", "S15", 1),
    ("import urllib.request as r\nr.urlopen(r.Request('https://h/a'))", "S03", 2),
    ("from urllib.request import urlopen\ndef forward(u):\n    urlopen(u)", "S03", 3),
    ("import torch.hub\ntorch.hub.urlopen('https://h')", "S03", 2),
    ("import gc\ndef f():\n    for x in gc.get_objects():\n        x.load = 1", "S11", 4),
    ("import gc\ndef f(g):\n    gc.get_referrers(g)[0]['load'] = 1", "S11", 3),
    ("from gc import get_objects\nget_objects()[0]('id')", "S15", 2),
    ("import transformers\ntransformers.LlamaModel = 1", "S11", 2),
    ("import transformers.models.llama.modeling_llama as m\nm.apply_rotary_pos_emb = 1", "S11", 2),
    ("import transformers\ntransformers._import_structure = 1", "S11", 2),
    ('import numpy as np\nnp.fromfile(file="/home/u/x")', "S08", 2),
    ('import numpy as np\nnp.genfromtxt(fname="/home/u/x")', "S08", 2),
    ('import os\nlist(os.walk(top="/home/u"))', "S08", 2),
    ('import glob\nglob.glob("*", root_dir="/home/u")', "S08", 2),
    ('import shutil\nshutil.copyfile(src="/home/u/x", dst="a")', "S08", 2),
    ('import gzip\ngzip.open(filename="/home/u/x")', "S08", 2),
    ('import tarfile\ntarfile.open(name="/home/u/x")', "S08", 2),
    ('from pathlib import Path\nPath("a", "/home/u/x")', "S08", 2),
]


@pytest.mark.parametrize(("source", "code", "line"), ACTS)
def test_the_act_that_looks_like_it_stays_an_error(source, code, line):
    assert (code, line) in lines(source)


def test_a_thing_is_called_by_the_name_of_the_module_that_it_is_from():
    (finding,) = errors(findings_of("import urllib.request\ndef forward(u):\n    urllib.request.urlopen(u)"))
    assert "urllib.request.urlopen(...) reaches the network" in finding.sentence


MAIN = 'if __name__ == "__main__":\n'


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (f"{MAIN}    os.system('id')", "S02"),
        ("if '__main__' == __name__:\n    os.system('id')", "S02"),
        (f"{MAIN}    for _ in 'ab':\n        with open('/tmp/a', 'w') as f:\n            f.write('a')", "S07"),
        (f"def main():\n    pass\n{MAIN}    main()\n    import yaml\n    yaml.load('a')", "S06"),
        ("if __name__ == '__main__': os.system('id')", "S02"),
    ],
)
def test_what_stands_in_a_main_block_is_run_by_no_load(block, code):
    found = findings_of(f"import os\n{block}")
    assert {(f.code, f.severity) for f in found} == {(code, WARNING)}
    assert found[0].sentence.endswith("(not when the file is imported).")


def test_a_warning_in_a_main_block_is_nothing():
    assert findings_of(f"import os\n{MAIN}    os.getenv('WORLD_SIZE')\n    hf_hub_download('a/b', 'c')") == []


@pytest.mark.parametrize(
    "source",
    [
        f"import os\n__name__ = '__main__'\n{MAIN}    os.system('id')",
        f"import os\nglobals()['__name__'] = '__main__'\n{MAIN}    os.system('id')",
        f"import os\ng = globals()\ng |= {{'__name__': '__main__'}}\n{MAIN}    os.system('id')",
        f"import os, sys\nsys.modules[__name__].__name__ = '__main__'\n{MAIN}    os.system('id')",
        f"import os\nfor __name__ in ['__main__']:\n    pass\n{MAIN}    os.system('id')",
        f"import os\n{MAIN}    os.system('id')\nelse:\n    os.system('id')",
        f"import os, runpy\nrunpy.run_path(__file__, run_name='__main__')\n{MAIN}    os.system('id')",
        f"import os, sys, subprocess\nsubprocess.run([sys.executable, __file__])\n{MAIN}    os.system('id')",
        f"import os\nexec(open(__file__).read(), {{'__name__': '__main__'}})\n{MAIN}    os.system('id')",
        f"import os\nif __name__ != '__main__':\n    os.system('id')\n{MAIN}    os.system('id')",
    ],
)
def test_a_main_block_that_something_can_run_stays_an_error(source):
    last = max(number for number, text in enumerate(source.split("\n"), 1) if "os.system" in text)
    assert ("S02", last) in lines(source)


@pytest.mark.parametrize(
    ("head", "use", "code"),
    [
        ("from subprocess import run", "run('id')", "S02"),
        ("from subprocess import Popen as P", "with P('id') as p:\n            pass", "S02"),
        ("from transformers.integrations.hub_kernels import get_kernel", "get_kernel('a/b')", "S05"),
        ("from socket import create_connection", "create_connection(('h', 1))", "S03"),
    ],
)
def test_a_function_that_is_imported_and_called_acts_where_it_is_called(head, use, code):
    source = f"{head}\nclass A:\n    def forward(self, x):\n        {use}\n"
    (finding,) = [f for f in findings_of(source) if f.code == code]
    assert (finding.line, finding.severity) == (4, ERROR) and "in A.forward" in finding.sentence


@pytest.mark.parametrize("head", ["from threading import Thread", "from concurrent.futures import ThreadPoolExecutor"])
def test_a_thread_is_reported_where_it_is_made(head):
    source = f"{head} as T\ndef f(x):\n    T(x)\n"
    assert [(f.code, f.line, f.severity) for f in findings_of(source)] == [("S11", 3, WARNING)]


@pytest.mark.parametrize("use", ["", "x = [run]", "def f(g=run):\n    pass", "from .other import y"])
def test_a_function_that_is_imported_and_not_called_is_said_to_be_imported(use):
    findings = errors(findings_of(f"from subprocess import run\n{use}\n"))
    assert findings[0].line == 1 and findings[0].sentence.endswith(
        "imports subprocess.run, which starts another program."
    )
    assert not any("run starts another program (when the file" in f.sentence for f in findings)


def test_a_function_that_a_sibling_calls_is_reported_in_both_files():
    found = errors(findings_of("from .module_1 import run\nrun('id')", "from subprocess import run"))
    assert [(f.code, f.file) for f in found] == [("S02", "m.py"), ("S02", "module_1.py")]


WRITES = "class A:\n    def infer(self, output_path='', n=None):\n        {}\n"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("open(f'{output_path}/result.mmd', 'w')", 'writes files at "result.mmd" below a place that is computed (not'),
        ("open(output_path + '/result.mmd', 'w')", 'at "result.mmd" below a place that is computed'),
        ("open(f'{n}/result.mmd', 'w')", 'at "result.mmd" below a place that is computed'),
        ("open(f'{n}/{n}/log.txt', 'w')", 'at "log.txt" below a place that is computed'),
        ("open(f'{n}//log.txt', 'w')", 'at "log.txt" below a place that is computed'),
        ("open(f'{n}_log.txt', 'w')", 'at a place that is computed and ends with "_log.txt"'),
        ("open(f'runs/{n}/log.txt', 'w')", 'at "log.txt" below a place that is computed and begins with "runs/"'),
        ("open(f'runs/{n}', 'w')", 'at a place that is computed and begins with "runs/"'),
        ("open(output_path, 'w')", "at a place that is computed"),
        ("import os; os.makedirs(output_path)", "at a place that is computed"),
    ],
)
def test_a_place_that_the_caller_chooses_is_not_the_root_directory(line, words):
    (finding,) = findings_of(WRITES.format(line))
    assert (finding.code, finding.severity) == ("S07", WARNING) and words in finding.sentence


@pytest.mark.parametrize(
    "line",
    ["open('/result.mmd', 'w')", "open(f'{output_path}/etc/motd', 'w')", "open('/tmp/' + 'a', 'w')"],
)
def test_a_place_that_is_written_out_stays_one(line):
    assert lines(WRITES.format(line)) == [("S07", 3)]


def test_a_name_that_is_computed_with_an_empty_text_is_still_followed():
    assert ("S02", 3) in lines("import os\ndef f(file=''):\n    getattr(os, file + 'system')('id')")


@pytest.mark.parametrize("place", ["./data", "../weights", "-x/y", "./a"])
def test_a_place_on_the_disk_is_not_taken_for_a_repository(place):
    assert findings_of(f"import timm\ndef f():\n    return timm.create_model('{place}')") == []
    name = findings_of("import timm\ndef f():\n    return timm.create_model('some/model')")
    assert [(f.code, f.severity) for f in name] == [("S03", WARNING)]


@pytest.mark.parametrize(
    ("line", "severity"),
    [
        ("self.lin(batch.touch)", WARNING),
        ("x = [self.senses.touch, 1]", WARNING),
        ("f(a.b.unlink)", WARNING),
        ("f(a.b.write_text)", ERROR),
        ("f(a.rmdir)", ERROR),
        ("import pathlib\n        f(pathlib.Path('a').touch)", ERROR),
        ("import pathlib\n        f(pathlib.Path('a').unlink)", ERROR),
    ],
)
def test_a_short_word_of_an_unknown_object_is_a_warning(line, severity):
    source = f"class A:\n    def forward(self, batch, a, f):\n        {line}\n"
    assert {(f.code, f.severity) for f in findings_of(source)} == {("S07", severity)}


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ("path", 1),
        ("path, **kwargs", 0),
        ("*args, **kwargs", 0),
        ("path, *args", 0),
        ("*args, **{'token': 1}", 0),
        ("path, **{'token': 1}", 1),
    ],
)
def test_a_revision_can_be_among_arguments_that_are_passed_on(arguments, count):
    head = "from transformers import AutoModel\ndef f(path, *args, **kwargs):\n"
    source = f"{head}    AutoModel.from_pretrained({arguments})"
    assert len([f for f in findings_of(source) if "no revision pins" in f.sentence]) == count


@pytest.mark.parametrize(
    "source",
    [
        "import fsspec\nfsspec.open(urlpath='/home/u/x')",
        "import scipy.io\nscipy.io.netcdf_file(filename='/home/u/x')",
        "from fsspec import open as o\no(mode='rb', urlpath='/home/u/x')",
    ],
)
def test_a_file_that_a_library_opens_is_known_by_the_name_of_the_argument(source):
    assert "S08" in [f.code for f in errors(findings_of(source))]


@pytest.mark.parametrize("scheme", ["hf", "ssh", "git+https", "https", "s3"])
def test_an_address_of_which_the_end_is_computed_is_one_in_every_scheme(scheme):
    source = (
        f"from some import load\ndef f(name):\n    load(f'{scheme}://host/{{name}}')\n    load('{scheme}://host/x')"
    )
    assert [(f.code, f.line) for f in findings_of(source)] == [("S03", 3), ("S03", 4)]


@pytest.mark.parametrize("up", ["/..", "/../..", "//.."])
def test_a_place_above_a_computed_one_is_an_error_and_is_said_in_the_same_way(up):
    (finding,) = findings_of(WRITES.format(f"open(f'{{output_path}}{up}/log.txt', 'w')"))
    assert finding.severity == ERROR and 'files at "log.txt" below a place that is computed' in finding.sentence
