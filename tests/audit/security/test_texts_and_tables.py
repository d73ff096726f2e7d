"""Addresses put together from parts, tables that write, pickles inside libraries, what only a user's program calls."""

import ast
import json
from pathlib import Path

import pytest

from pinfold.audit.finding import WARNING, errors
from pinfold.audit.rules.sentence import modules
from pinfold.audit.security.run import security_findings
from pinfold.folder.model_folder import ModelFolder, Module


def findings_of(source):
    return security_findings(
        ModelFolder(Path("nowhere"), {}), [Module("m", Path("m.py"), source, ast.parse(source))], {}
    )


def error_lines(source):
    return [(finding.code, finding.line) for finding in errors(findings_of(source))]


IN_FORWARD = "import os, torch\nimport numpy as np\nimport pandas as pd\ndef forward(x):\n    "


@pytest.mark.parametrize(
    "line",
    [
        "np.genfromtxt('http://h/{node}.txt'.format(node=x))",
        "np.loadtxt('https://h/{}'.format(x))",
        "pd.read_csv('http://h/%s.csv' % x)",
        "pd.read_json('https://h/%(day)s' % {'day': x})",
        "pd.read_csv('ftp://h/{0}'.format(x[0]))",
        "pd.read_csv('http://h/{a}/{b}'.format_map(x))",
    ],
)
def test_an_address_with_a_field_that_is_not_known_is_read_over_the_network(line):
    assert ("S03", 5) in error_lines(IN_FORWARD + line), line


@pytest.mark.parametrize(
    "line",
    ["np.load('{}.npy'.format(x))", "pd.read_csv('%s/a.csv' % x)", "print('see http://h/{}'.format(x))", "x % 2"],
)
def test_other_texts_with_fields_are_no_address(line):
    assert error_lines(IN_FORWARD + line) == []


@pytest.mark.parametrize(
    "call",
    [
        "to_string(place)",
        "to_html(buf=place)",
        "assign(a=1).to_markdown(place)",
        "head().to_json(path_or_buf=place)",
        "to_parquet(place)",
        "describe().to_excel(excel_writer=place)",
    ],
)
def test_a_table_that_gets_a_place_writes_there(call):
    assert error_lines(f"{IN_FORWARD}place = os.path.join('/srv', str(x))\n    pd.DataFrame(x).{call}") == [("S07", 6)]


@pytest.mark.parametrize(
    "call",
    [
        "to_string()",
        "to_html(None)",
        "to_json(orient='records')",
        "to_csv()",
        "to_csv(path_or_buf=None)",
        "to_numpy()",
    ],
)
def test_a_table_that_gets_no_place_gives_its_text_back(call):
    assert error_lines(f"{IN_FORWARD}return pd.DataFrame(x).{call}") == []


@pytest.mark.parametrize(
    "source",
    [
        "import posixpath\ndef forward(x):\n    posixpath.os.system(x)",
        "import os.path as places\ndef forward(x):\n    places.os.system(x)",
        "import sys\ndef forward(x):\n    sys.modules['posixpath'].os.system(x)",
        "from safetensors.torch import sys as runtime\nNAMES = {'paths': 'ntpath'}\n"
        "def forward(x): runtime.modules[NAMES['paths']].os.system(x)",
    ],
)
def test_os_is_found_through_its_own_part(source):
    assert error_lines(source) == [("S02", 3)]


def test_a_function_that_is_called_as_its_module_stays_that():
    assert error_lines("import time, copy\ndef forward(x):\n    return copy.copy(x), time.time()") == []


@pytest.mark.parametrize(
    "line",
    [
        "torch._dynamo.config.load_config(x)",
        "torch._inductor.config.load_config(open('a', 'rb').read())",
        "torch.distributed.distributed_c10d._tensor_to_object(x, 8, None)",
        "torch.distributed.checkpoint.FileSystemReader('a').read_metadata()",
        "torch.distributed.checkpoint.load(x, checkpoint_id='a')",
        "torch.distributed.checkpoint.format_utils.dcp_to_torch_save('a', 'b')",
    ],
)
def test_pickles_inside_of_torchs_own_formats_are_named(line):
    assert ("S06", 5) in error_lines(IN_FORWARD + line)


ACTS = {
    "urllib": "import urllib.request\ndef fetch(m):\n    return urllib.request.urlopen(m.place)",
    "requests": "import requests\ndef fetch(m):\n    return requests.post('https://h', data=m.x)",
    "socket": "import socket\ndef fetch(m):\n    return socket.create_connection((m.host, 80))",
}


@pytest.mark.parametrize("name", ACTS)
def test_the_network_in_a_function_that_only_a_users_program_calls_is_a_warning(name):
    source = ACTS[name]
    by_line = {(f.code, f.line): f for f in findings_of(source)}
    assert error_lines(source) == [] and by_line["S03", 3].severity == WARNING
    assert "not reached by a load or a call of the model" in by_line["S03", 3].sentence
    for user in (
        "class A:\n    def forward(self, x):\n        return fetch(self)",
        "class A:\n    def __init__(self):\n        self.get = fetch",
        "DATA = fetch(3)",
    ):
        assert ("S03", 3) in error_lines(f"{source}\n{user}\n"), user


def write_modules(folder, *kinds):
    entries = [{"idx": n, "name": str(n), "path": f"{n}_M" if n else "", "type": kind} for n, kind in enumerate(kinds)]
    (folder / "modules.json").write_text(json.dumps(entries))
    return [finding.sentence for finding in modules(folder)]


def test_a_module_of_sentence_transformers_may_be_a_class_of_a_file_beside(tmp_path):
    (tmp_path / "whiten.py").write_text("class Whiten: pass\n")
    transformer = "sentence_transformers.models.Transformer"
    assert write_modules(tmp_path, transformer, "whiten.Whiten") == []
    for kind in ("other.Whiten", "whiten", "a.whiten.Whiten", "owner/name--whiten.Whiten", "os.system", "", None, 3):
        (sentence,) = write_modules(tmp_path, transformer, kind)
        assert "[1].type" in sentence and "file.Class of a .py file beside modules.json" in sentence
    (tmp_path / "1_M").mkdir()
    (tmp_path / "1_M" / "router_config.json").write_text(json.dumps({"types": {"a": "whiten.Whiten", "b": "x.Y"}}))
    (sentence,) = write_modules(tmp_path, transformer, "sentence_transformers.models.Router")
    assert "types.b" in sentence


def test_settings_of_an_own_module_are_its_own_matter(tmp_path):
    (tmp_path / "whiten.py").write_text("class Whiten: pass\n")
    (tmp_path / "1_M").mkdir()
    (tmp_path / "1_M" / "config.json").write_text('{"activation_function": "gelu"}')
    transformer = "sentence_transformers.models.Transformer"
    assert write_modules(tmp_path, transformer, "whiten.Whiten") == []
    (sentence,) = write_modules(tmp_path, transformer, "sentence_transformers.models.Dense")
    assert "activation_function" in sentence
