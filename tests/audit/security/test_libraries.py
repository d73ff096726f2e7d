"""What libraries do by themselves and keep; what is bound before, and what only gets the name of another function."""

import ast
from pathlib import Path

import pytest

from pinfold.audit.finding import ERROR, WARNING, errors
from pinfold.audit.security.run import security_findings, settings_findings
from pinfold.audit.security.tables.library import does
from pinfold.audit.security.tables.names import canonical
from pinfold.folder.model_folder import ModelFolder, Module

HEAD = "import functools\nfrom functools import partial, update_wrapper, wraps\nimport torch\n"
HEAD += "from transformers import AutoModel, PreTrainedModel\n"


def findings_of(source):
    module = Module("m", Path("m.py"), HEAD + source, ast.parse(HEAD + source))
    return security_findings(ModelFolder(Path("nowhere"), {}), [module], {})


@pytest.mark.parametrize(
    "source",
    [
        "class M(PreTrainedModel):\n    @functools.wraps(PreTrainedModel.save_pretrained)\n"
        "    def save_pretrained(self, *a, **k):\n        return super().save_pretrained(*a, **k)",
        "class M(PreTrainedModel):\n    @wraps(torch.save)\n    def keep(self, *a):\n        return a",
        "def keep(self, place):\n    return place\n\nclass M(PreTrainedModel):\n"
        "    save_pretrained = update_wrapper(keep, PreTrainedModel.save_pretrained)",
        "def timed(f):\n    @wraps(f)\n    def inner(*a):\n        return f(*a)\n    return inner\n\n"
        "class M(PreTrainedModel):\n    @timed\n    def forward(self, x):\n        return x",
    ],
)
def test_a_function_that_gets_the_name_of_another_does_not_call_it(source):
    assert findings_of(source) == []


def test_what_a_wrapped_function_does_is_still_reported():
    source = "import shutil\n@wraps(print)\ndef wipe(place):\n    shutil.rmtree(place)\n\nwipe('/tmp/a')"
    assert {(f.code, f.line) for f in errors(findings_of(source))} == {("S07", 8), ("S12", 10)}


@pytest.mark.parametrize(
    "source",
    [
        "load = partial(torch.load, weights_only=True)\ndef f(x):\n    return load(x)",
        "def f(x):\n    return functools.partial(torch.load, weights_only=True, map_location='cpu')(x)",
        "act = partial(torch.nn.functional.gelu, approximate='tanh')\ndef f(x):\n    return act(x)",
        "class M(PreTrainedModel):\n    def __init__(self, c):\n"
        "        self.norm = partial(torch.nn.LayerNorm, eps=1e-6)",
    ],
)
def test_what_is_bound_before_counts_at_the_call(source):
    assert findings_of(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "load = partial(torch.load)\ndef f(x):\n    return load(x)",
        "load = partial(torch.load, map_location='cpu')",
        "load = partial(torch.load, weights_only=False)\ndef f(x):\n    return load(x)",
        "def chain(f):\n    for _ in range(9):\n        f = partial(f, 1)\n    return f\n\nchain(torch.load)",
    ],
)
def test_a_load_without_weights_only_stays_an_error_when_it_is_bound(source):
    assert "S06" in {f.code for f in errors(findings_of(source))}


@pytest.mark.parametrize(
    "source",
    [
        "from pathlib import Path\nHERE = Path(__file__).resolve().parent\ndef f():\n"
        "    return (HERE / 'a').read_text()",
        "from pathlib import Path\ndef f(x):\n    return sorted(Path(x, 'a').glob('*.txt'))",
        "from transformers.utils import add_start_docstrings\n@add_start_docstrings('x')\n"
        "class M(PreTrainedModel):\n    x = 1",
        "class M(PreTrainedModel):\n    config_class = None\nAutoModel.register(None, M)\n"
        "M.register_for_auto_class('AutoModel')",
        "class M(PreTrainedModel):\n    def __init__(self, c):\n        self.register_buffer('x', torch.ones(1))\n"
        "        self.layer.register_forward_hook(self.note)\n    def note(self, *a):\n        return None",
        "from transformers import set_seed\ndef f():\n    set_seed(1)\n    torch.set_num_threads(1)\n"
        "    torch.set_float32_matmul_precision('high')",
        "class M(PreTrainedModel):\n    def __init__(self, config):\n        config._attn_implementation = 'eager'\n"
        "        self.inner = AutoModel.from_config(config, attn_implementation='sdpa')",
        "class M(PreTrainedModel):\n    def save_pretrained(self, place):\n        super().save_pretrained(place)\n"
        "        self.config.save_pretrained(place)",
        "class M(PreTrainedModel):\n    def forward(self, x):\n        with torch.autocast('cpu'):\n"
        "            return x",
        "import platform\ndef f(x):\n    platform.system()\n    return x",
    ],
)
def test_everyday_code_has_no_finding(source):
    assert findings_of(source) == []


def test_a_cache_in_the_home_directory_is_a_warning_and_a_token_there_is_not():
    source = "import os\ndef f():\n    return open(os.path.expanduser('~/.cache/{}'))"
    assert {f.severity for f in findings_of(source.format("tiny/a"))} == {WARNING}
    assert {f.severity for f in findings_of(source.format("huggingface/token")) if f.code == "S08"} == {ERROR}


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("huggingface_hub.model_info", "network"),
        ("huggingface_hub.hf_api.list_models", "network"),
        ("transformers.pipelines.audio_utils.ffmpeg_microphone", "program"),
        ("huggingface_hub.try_to_load_from_cache", ""),
        ("platform.system", ""),
        ("transformers.AutoModel.from_pretrained", ""),
        ("torch.compile", ""),
        ("torch.nn.Linear", ""),
    ],
)
def test_what_a_function_does_whatever_it_is_given(name, what):
    assert does(canonical(name)) == what


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("__import__('os').system('id')", "a program"),
        ("lambda x: open('/tmp/a', 'w')", "a program"),
        ("import os\nos.remove('a')", "a program"),
        ("gASVIgAAAAAAAACMBXBvc2l4lIwGc3lzdGVtlJOUjAJpZJSFlFKULg==", "a pickle"),
    ],
)
def test_a_value_of_the_settings_that_acts_when_it_is_run_is_a_warning(value, words):
    (finding,) = settings_findings({"config.json": {"text_config": {"rule": value}}}, Path("nowhere"))
    assert (finding.code, finding.severity) == (
        "S14",
        WARNING,
    ) and f"is {words}, which code may run" in finding.sentence


@pytest.mark.parametrize(
    "value", ["gelu", "please open (the door)", "x + 1", "lambda x: x * 2", "gAMma", "a.b/c", "open("]
)
def test_a_value_of_the_settings_that_only_computes_has_no_finding(value):
    assert settings_findings({"config.json": {"rule": value}}, Path("nowhere")) == []


@pytest.mark.parametrize("key", ["experts_implementation", "_experts_implementation", "_attn_implementation"])
def test_a_repository_of_kernels_in_the_settings_is_an_error(key):
    (finding,) = settings_findings({"config.json": {"text_config": {key: "someone/kernel"}}}, Path("nowhere"))
    assert (finding.code, finding.severity) == ("S14", ERROR)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("self.load_custom_generate('a/b', trust_remote_code=True)", "S04"),
        ("super().generate(x, custom_generate='a/b', trust_remote_code=True)", "S04"),
        ("torch.serialization._package_registry.append(x)", "S11"),
        ("return [open(p) for p in map(os.path.expanduser, ('~/a', '~/b')) if p]", "S08"),
        ("return {n: os.environ.get(n) for n in ('HF_TOKEN', 'A')}", "S08"),
        ("return open(pwd.getpwuid(0).pw_dir + '/a')", "S08"),
        ("return jinja2.Environment().from_string(x).render(m=self)", "S01"),
    ],
)
def test_what_acts_is_named_on_its_line(line, code):
    source = f"import jinja2, os, pwd\nclass M(PreTrainedModel):\n    def forward(self, x):\n        {line}\n"
    assert (code, 8) in {(f.code, f.line) for f in findings_of(source)}
