"""What a folder's code could do to a machine is reported with its line; ordinary model code has no finding."""

import ast
import importlib.util
import random
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from corpus.malicious import HARMLESS, MALICIOUS
from helpers.processes import ROOT, clean_environment
from helpers.tiny import write_folder

from pinfold.audit.finding import ERROR, WARNING, Finding, errors
from pinfold.audit.security.run import CODES, UNSEEN, accepted, security_findings
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import ModelFolder, Module, read_folder

TRANSFORMERS = Path(importlib.util.find_spec("transformers").origin).parent

# Every finding in transformers' own modeling and configuration files, and why it is right.
EXPECTED = {
    ("modeling_bart.py", "S13"): "two deprecated bases warn in __init_subclass__: code that runs without being called",
    ("modeling_layoutlmv2.py", "S11"): "it puts a function of its own into a class of detectron2",
}


def audit(*sources, configs=None, path="nowhere"):
    """Findings of modules with these texts; the first is modeling_x.py, the others module_1.py, ..."""
    names = ["modeling_x", *(f"module_{number}" for number in range(1, len(sources)))]
    modules = [Module(n, Path(f"{n}.py"), s, ast.parse(s)) for n, s in zip(names, sources, strict=True)]
    return security_findings(ModelFolder(Path(path), {}), modules, configs or {})


@pytest.mark.parametrize("name", MALICIOUS)
def test_a_malicious_snippet_is_reported_with_code_and_line(name):
    code, source = MALICIOUS[name]
    line = next(number for number, text in enumerate(source.split("\n"), 1) if text.endswith("#!"))
    findings = audit(source)
    expected = [f for f in findings if (f.code, f.line, f.file) == (code, line, "modeling_x.py")]
    assert expected, [str(f) for f in findings]
    assert expected[0].sentence.startswith(f"modeling_x.py:{line}: ") and expected[0].sentence.endswith(".")
    assert "\n" not in expected[0].sentence and expected[0].sentence.isprintable()


def test_the_corpus_is_large_and_covers_every_code_that_programs_can_have():
    assert len(MALICIOUS) >= 60 and len(HARMLESS) >= 40
    assert {code for code, _ in MALICIOUS.values()} == set(CODES) - {"S14"}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_harmless_near_miss_has_no_error(name):
    assert errors(audit(HARMLESS[name])) == []


def test_published_files_of_the_resnet_have_no_finding():
    folder = read_folder(ROOT / "resnet_model")
    assert (
        security_findings(folder, [m for m in folder.modules.values() if not m.name.startswith("convert_")], {}) == []
    )


def test_the_tiny_folder_has_no_finding(tmp_path):
    folder = read_folder(write_folder(tmp_path / "tiny"))
    assert security_findings(folder, folder.modules.values(), {"config.json": {"model_type": "outside-tiny"}}) == []


@pytest.mark.slow
def test_a_hundred_files_of_transformers_have_only_the_expected_findings():
    files = sorted([*TRANSFORMERS.glob("models/*/modeling_*.py"), *TRANSFORMERS.glob("models/*/configuration_*.py")])
    for path in random.Random(0).sample([f for f in files if f.parent.name != "auto"], 100):
        source = path.read_text(encoding="utf-8")
        for finding in security_findings(
            ModelFolder(Path("nowhere"), {}), [Module(path.stem, path, source, ast.parse(source))], {}
        ):
            assert (finding.file, finding.code) in EXPECTED, str(finding)


@pytest.mark.parametrize(("file", "code"), EXPECTED)
def test_an_expected_finding_in_transformers_still_occurs_and_is_explained(file, code):
    assert EXPECTED[file, code]
    for path in TRANSFORMERS.glob(f"models/*/{file}"):
        source = path.read_text(encoding="utf-8")
        findings = security_findings(
            ModelFolder(Path("nowhere"), {}), [Module(path.stem, path, source, ast.parse(source))], {}
        )
        assert code in {f.code for f in findings}


def test_names_are_followed_from_one_file_of_the_folder_to_another():
    findings = audit(
        'from .module_1 import o, helper\no.system("id")\nhelper()', "import os as o\ndef helper():\n    o.popen('id')"
    )
    places = {(f.code, f.file, f.line) for f in findings}
    assert {("S02", "modeling_x.py", 2), ("S02", "module_1.py", 3), ("S12", "modeling_x.py", 3)} <= places


def test_a_star_import_of_a_sibling_and_a_module_import_of_it_are_followed():
    helper = "import os as o"
    assert "S02" in {f.code for f in audit("from .module_1 import *\no.system('id')", helper)}
    assert "S02" in {f.code for f in audit("from . import module_1\nmodule_1.o.system('id')", helper)}


def test_the_path_that_a_function_receives_decides_about_its_writes():
    saving = HARMLESS["saving by a function"]
    assert audit(saving) == []
    findings = audit(saving + "\ndef forward(x):\n    dump({}, '/etc/motd')")
    assert [f.code for f in errors(findings)] == ["S07"]


def test_a_deletion_below_the_given_directory_is_a_warning():
    source = (
        "import os\nclass T:\n    def save_pretrained(self, save_directory):\n"
        "        os.remove(os.path.join(save_directory, 'a'))"
    )
    assert [(f.code, f.severity) for f in audit(source)] == [("S07", WARNING)]


def test_severity_follows_what_can_be_done():
    assert [f.severity for f in audit("import os\nos.getenv('WORLD_SIZE')")] == [WARNING]
    assert [f.severity for f in audit("import os\nos.getenv('HF_TOKEN')")] == [ERROR]
    assert {f.severity for f in audit("import importlib\nimportlib.import_module('einops')")} == {WARNING}
    assert {f.severity for f in audit("class A:\n    def __reduce__(self):\n        return A, ()")} == {WARNING}


def test_no_comment_of_the_audited_file_silences_the_audit():
    source = "import yaml, tarfile\ntarfile.open(p).extractall()  # nosec # noqa\nyaml.load(t)  # nosec B506"
    assert {(f.code, f.line) for f in errors(audit(source))} == {("S07", 2), ("S06", 3)}


# bandit's rules about what a program can do, each with calls that it reports -> our code.
BANDIT = {
    "B103": ("S07", ["import os\nos.chmod(p, 0o777)", "from pathlib import Path\nPath(p).chmod(0o666)"]),
    "B202": (
        "S07",
        ["import tarfile\ntarfile.open(p).extractall(d)", "import zipfile\nzipfile.ZipFile(p).extractall()"],
    ),
    "B301": (
        "S06",
        ["import dill\ndill.loads(p)", "import shelve\nshelve.open(p)", "import pandas\npandas.read_pickle(p)"],
    ),
    "B302": ("S06", ["import marshal\nmarshal.load(p)"]),
    "B306": ("S07", ["import tempfile\ntempfile.mktemp()"]),
    "B310": (
        "S03",
        [
            "from urllib.request import urlretrieve as r\nr(u)",
            "from six.moves.urllib.request import urlopen\nurlopen(u)",
        ],
    ),
    "B312": ("S03", ["import telnetlib\ntelnetlib.Telnet(u)"]),
    "B321": ("S03", ["import ftplib\nftplib.FTP(u)"]),
    "B323": ("S03", ["import ssl\nssl._create_unverified_context()"]),
    "B501": ("S03", ["import requests\nrequests.get(u, verify=False)", "import httpx\nhttpx.Client(verify=False)"]),
    "B506": ("S06", ["import yaml\nyaml.load(t)", "import yaml\nyaml.load(t, Loader=yaml.UnsafeLoader)"]),
    "B507": ("S03", ["import paramiko\nparamiko.SSHClient().set_missing_host_key_policy(paramiko.AutoAddPolicy)"]),
    "B601": (
        "S02",
        ["import paramiko\nclient = paramiko.SSHClient()\nclient.exec_command(x)", "client.exec_command(x)"],
    ),
    "B602": ("S02", ["from subprocess import run as go\ngo(x, shell=True)"]),
    "B604": ("S02", ["runner(x, shell=True)", "tools['start'](x, shell=True)"]),
    "B605": ("S02", ["import os\nos.popen(x)", "import subprocess\nsubprocess.getoutput(x)"]),
    "B606": ("S02", ["import os\nos.execl(x)", "import os\nos.spawnlp(0, x)", "import os\nos.startfile(x)"]),
    "B607": ("S02", ["import subprocess\nsubprocess.run(['ls'])"]),
    "B609": ("S02", ["import subprocess\nsubprocess.Popen('chown -R a *', shell=True)"]),
    "B614": ("S06", ["from torch import load\nload(x)", "import torch\ntorch.load(x, weights_only=False)"]),
    "B615": (
        "S03",
        [
            "from transformers import AutoModel\nAutoModel.from_pretrained(n)",
            "from transformers import AutoModel\nAutoModel.from_pretrained('a/b')",
            "from datasets import load_dataset\nload_dataset('a/b')",
            "from huggingface_hub import snapshot_download\nsnapshot_download('a/b')",
        ],
    ),
}


@pytest.mark.parametrize("rule", BANDIT)
def test_what_a_rule_of_bandit_finds_is_found_on_its_line(rule):
    code, sources = BANDIT[rule]
    for source in sources:
        *imports, last = source.split("\n")
        for text in (source, "\n".join([*imports, "def f(p, d, u, t, x, n, client, runner, tools):", f"    {last}"])):
            assert (code, text.count("\n") + 1) in {(f.code, f.line) for f in audit(text)}, text


def test_a_loader_that_gets_a_revision_has_no_finding():
    for argument in ("revision=r", "n, revision='9' * 40"):
        assert (
            audit(f"from transformers import AutoModel\ndef f(n, r):\n    AutoModel.from_pretrained({argument})") == []
        )
    own = "from transformers import PreTrainedModel\nclass A(PreTrainedModel):\n    @classmethod\n"
    own += "    def from_pretrained(cls, *args, **kwargs):\n        return super().from_pretrained(*args, **kwargs)"
    assert audit(own) == []


def test_a_shell_that_is_turned_off_has_no_finding():
    assert audit("def f(runner, x):\n    runner(x, shell=False)\n    runner(x, shell=x)") == []


CONFIGS = [
    ("config.json", {"text_config": {"trust_remote_code": True}}, ERROR),
    ("generation_config.json", {"trust_remote_code": True}, ERROR),
    ("config.json", {"attn_implementation": "someone/kernel"}, ERROR),
    ("config.json", {"_attn_implementation": "someone/kernel@main:layer"}, ERROR),
    ("config.json", {"vision_config": {"_attn_implementation": {"": "someone/kernel"}}}, ERROR),
    ("config.json", {"text_config": {"auto_map": {"AutoModel": "someone/code--modeling.A"}}}, ERROR),
    ("config.json", {"custom_pipelines": {"a": {"impl": "someone/code--pipe.A"}}}, ERROR),
    ("config.json", {"custom_pipelines": {"a": {"impl": "pipe.A"}}}, WARNING),
    ("tokenizer_config.json", {"chat_template": "{{ ''.__class__.__mro__ }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": [{"name": "a", "template": "{{ x|attr('y') }}"}]}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{{ x['__cla' ~ 'ss__'] }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{{ x['\\x5f\\x5fclass\\x5f\\x5f'] }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{{ x['\\u005f_cl' ~ ('ass_' + '_')] }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{{ x[['__', 'class', '__'] | join] }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{{ x['__ssalc__' | reverse] }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{{ x['__' ~ name ~ '__'] }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{{ x[name ~ 'ass__'] }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{% set a='__cla' %}{% set b='ss__' %}{{ x[a ~ b] }}"}, ERROR),
    ("tokenizer_config.json", {"chat_template": "{{ xs | map(attribute='__gl' ~ 'obals__') | list }}"}, ERROR),
    ("adapter_config.json", {"base_model_name_or_path": "someone/model"}, WARNING),
]


@pytest.mark.parametrize(("file", "config", "severity"), CONFIGS)
def test_a_key_that_changes_what_is_run_is_reported(file, config, severity):
    findings = audit("x = 1", configs={file: config})
    assert [(f.code, f.file, f.severity) for f in findings] == [("S14", file, severity)]


def test_ordinary_configurations_have_no_finding():
    template = "{{ '<|' ~ m['role'] ~ '|>\\n' ~ messages[loop.index0 + 1]['content'] ~ tool['mcp__' ~ 'a'] ~ '__' }}"
    template += "{% set content = '\\u4f60' ~ x['tool_' ~ kind] + names['a'~'_b'] %}"
    template += "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content | trim }}{% endfor %}{{ eos_token }}"
    configs = {
        "config.json": {
            "attn_implementation": "sdpa",
            "_attn_implementation": None,
            "auto_map": {"AutoModel": "a.B"},
            "x": [{"y": [1]}],
        },
        "tokenizer_config.json": {"chat_template": template},
        "generation_config.json": {"max_length": 5},
    }
    assert audit("x = 1", configs=configs) == []


def test_templates_beside_the_configurations_are_read(tmp_path):
    (tmp_path / "chat_template.jinja").write_text("a\n{{ x.__globals__ }}")
    findings = audit("x = 1", path=tmp_path)
    assert {(f.file, f.line) for f in findings} == {("chat_template.jinja", 2)}


def test_a_maintainer_accepts_by_code_or_by_code_and_file():
    findings = [Finding("S05", "a.", "a.py", 1), Finding("S05", "b.", "b.py", 1), Finding("P10", "c.", "a.py", 1)]
    everywhere = accepted(findings, {"S05": "It loads the kernel\nthat the paper is about."})
    assert [f.severity for f in everywhere] == [WARNING, WARNING, ERROR]
    assert everywhere[0].reason == "It loads the kernel that the paper is about."
    in_one_file = accepted(findings, {"S05 b.py": "reason"})
    assert [f.severity for f in in_one_file] == [ERROR, WARNING, ERROR] and accepted(findings, {}) == findings


@pytest.mark.parametrize("accept", [{"P10": "x"}, {"S99": "x"}, {"": "x"}, {"S05": ""}, {"S05": "  "}, {"S05": None}])
def test_the_message_about_what_cannot_be_accepted_is_one_line(accept):
    with pytest.raises(UserError) as error:
        accepted([], accept)
    assert "\n" not in str(error.value)


def test_text_of_the_audited_file_is_quoted_without_control_characters():
    findings = audit(
        'import os\nos.getenv("A\\n\\x1b[31mTOKEN" + "x" * 500)',
        configs={"config.json": {"a\n": {"trust_remote_code": 1}}},
    )
    assert findings and all(f.sentence.isprintable() and len(f.sentence) < 250 for f in findings)


def test_names_of_the_audited_files_are_quoted_without_control_characters(tmp_path):
    name = "a\x1b[2J\nb.jinja"
    (tmp_path / name).write_text("{{ x.__class__ }}")
    source = "eval('1')\nimport pickle\npickle.loads(x)"
    module = Module("a", Path("modeling\x1b[31m\nx.py"), source, ast.parse(source))
    findings = security_findings(
        ModelFolder(tmp_path, {}), [module], {"c\nd.json": {"a": {"trust_remote_code": True}}}
    )
    assert {f.code for f in findings} == {"S01", "S06", "S14"} and len({f.file for f in findings}) == 3
    assert all((f.sentence + f.file + str(f)).isprintable() for f in findings)


@pytest.mark.parametrize("text", ["{{", "{{ ' ' ~", "a[", "{{ '\\", "{{" + " ' '" + " " * 2000, "{{ '_' }}", "|   "])
def test_hostile_templates_are_read_in_bounded_time(text):
    start = time.monotonic()
    audit("x = 1", configs={"tokenizer_config.json": {"chat_template": text * (2_000_000 // len(text))}})
    assert time.monotonic() - start < 20


def test_the_audit_says_what_it_cannot_see():
    assert 2 <= len(UNSEEN.splitlines()) <= 3 and "run time" in UNSEEN


HOSTILE = {
    "a string of 10 MB": "x = '" + "a" * 10_000_000 + "'",
    "numbers and texts that would fill the memory": (
        "a = 'a' * 10**9\nb = 10**10**10\nc = '%1000000000d' % 1\nd = '{:1000000000}'.format(1)\n"
        "e = f'{1:1000000000}'\ng = [0] * 10**9\nh = 'a'.zfill(10**9)\ni = bytes(10**9)\nj = 1 << 10**9\n"
        "k = list(range(10**9))\nl = 'a'.join(['b' * 60000] * 2000)\nm = ('a' * 60000).replace('a', 'b' * 60000)"
    ),
    "doubling": "x = [1]\ny = 'a'\n" + "x = [x, x]\ny = y + y\n" * 500,
    "names of names": "import torch\nx = torch\n" + "\n".join(f"x = x.a{i}" for i in range(1000)),
    "comprehensions in comprehensions": "x = [[[chr(c) for c in range(999)] for a in range(999)] for b in '12345678']",
    "functions that call each other": "def f(x):\n    return g([x])\ndef g(x):\n    return f([x])\nf(1)",
    "a class that is its own base": "class A(A):\n    x = A.y\nA.x.y()",
    "thousands of findings": "import os\n" + "os.system('a')\n" * 2000,
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.slow
def test_hostile_programs_are_read_in_bounded_time_and_memory(name):
    tree = ast.parse(HOSTILE[name])
    module = Module("modeling_x", Path("modeling_x.py"), HOSTILE[name], tree)
    tracemalloc.start()
    start = time.monotonic()
    findings = security_findings(ModelFolder(Path("nowhere"), {}), [module], {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - start < 60 and peak < 300 << 20 and len(findings) <= 60


@pytest.mark.parametrize("limit", [1000, 5000])  # torch's compiler raises it
@pytest.mark.parametrize("deep", ["-" * 900 + "1", "a" + ".b" * 900, "a" + "()" * 900, "not " * 900 + "1"])
def test_what_is_nested_too_deeply_is_a_finding_and_the_rest_is_read(deep, limit):
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        findings = audit(f"import os\nx = {deep}\nos.system('id')")
    finally:
        assert sys.getrecursionlimit() == limit
        sys.setrecursionlimit(before)
    assert {("S15", 2), ("S02", 3)} <= {(f.code, f.line) for f in findings}


@pytest.mark.slow
def test_thirty_thousand_statements_take_seconds():
    source = "import os\n" + "\n".join(f"x{i} = foo(bar.baz({i}), z='a')" for i in range(30_000))
    tree = ast.parse(source)
    start = time.monotonic()
    security_findings(ModelFolder(Path("nowhere"), {}), [Module("m", Path("m.py"), source, tree)], {})
    assert time.monotonic() - start < 20  # 1 s on an idle core


@pytest.mark.slow
def test_a_folder_is_read_in_the_time_in_which_python_compiles_one_large_file_thirty_times():
    # seconds of a machine that does other things too say little; what Python itself takes beside it is the measure
    code = f"""
import inspect, time, typing
source = inspect.getsource(typing)
start = time.process_time()
from pinfold.folder.model_folder import read_folder
from pinfold.audit.security.run import security_findings
folder = read_folder({str(ROOT / "resnet_model")!r})
security_findings(folder, folder.modules.values(), {{}})
print(time.process_time() - start)
start = time.process_time()
for _ in range(30):
    compile(source, "typing.py", "exec")
print(time.process_time() - start)
"""
    environment = clean_environment(ROOT / "runs", PYTHONPATH=str(ROOT))
    times = [
        [float(line) for line in subprocess.check_output([sys.executable, "-c", code], env=environment).split()]
        for _ in range(3)
    ]
    assert min(reads for reads, _ in times) < min(compiles for _, compiles in times), times
