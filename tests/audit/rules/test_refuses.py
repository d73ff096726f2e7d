"""P68: code that refuses releases of transformers itself; other findings for these releases say nothing then."""

import pytest
from corpus.net_folder import findings

from pinfold.audit.examine import examine
from pinfold.audit.finding import Finding
from pinfold.audit.rules.refuses import met

PARSED = "import transformers\nfrom packaging import version\n\n"
REFUSES = {
    "a raise": PARSED
    + 'if version.parse(transformers.__version__) >= version.parse("4.54"):\n    raise ImportError("pin it")\n',
    "numbers": "from transformers import __version__\n\n"
    'OLD = tuple(int(p) for p in __version__.split(".")[:2]) < (4, 54)\n'
    'if not OLD:\n    raise RuntimeError("pin it")\n',
    "two conditions": PARSED + "CURRENT = version.parse(transformers.__version__)\n"
    'if CURRENT > version.parse("4.53.99") and CURRENT != version.parse("1.0"):\n    raise ImportError("pin it")\n',
    "a helper of transformers": "from transformers.utils.versions import require_version\n\n"
    'require_version("transformers<4.54")\n',
    "an assert": PARSED + 'assert version.parse(transformers.__version__) < version.parse("4.54"), "pin it"\n',
}
ACCEPTS = {
    "a warning": PARSED + "import warnings\n\n"
    'if version.parse(transformers.__version__) >= version.parse("4.54"):\n    warnings.warn("untested")\n',
    "another package": "import torch\nfrom packaging import version\n\n"
    'if version.parse(torch.__version__) >= version.parse("1.0"):\n'
    '    raise ImportError("pin it")\n',
    "releases that are older still": PARSED
    + 'if version.parse(transformers.__version__) < version.parse("4.30"):\n    raise ImportError("too old")\n',
    "more than the version decides": PARSED + "import os\n\n"
    'if version.parse(transformers.__version__) >= version.parse("4.54") and os.path.exists("/x"):\n'
    '    raise ImportError("x")\n',
    "texts beside numbers": "from transformers import __version__\n\n"
    'if tuple(int(p) for p in __version__.split(".")[:2]) >= ("4", "54"):\n    raise ImportError("pin it")\n',
    "a condition of itself": PARSED + "OLD = OLD\nX = X < 1\nif X < OLD or not X:\n    raise ImportError('x')\n",
    "a function that nothing calls": PARSED + "def check():\n"
    '    if version.parse(transformers.__version__) >= version.parse("4.54"):\n        raise ImportError("pin it")\n',
}


@pytest.mark.parametrize("shape", REFUSES)
def test_newer_releases_are_refused(tmp_path, shape):
    (finding,) = findings(tmp_path, "P68", REFUSES[shape])
    assert {"4.54.1", "4.57.6", "5.24.0"} <= set(finding.releases) and "4.53.3" not in finding.releases


@pytest.mark.parametrize("shape", ACCEPTS)
def test_nothing_is_refused(tmp_path, shape):
    assert findings(tmp_path, "P68", ACCEPTS[shape]) == []


def test_the_major_number(tmp_path):
    text = 'import transformers\n\nassert int(transformers.__version__.split(".")[0]) < 5\n'
    (finding,) = findings(tmp_path, "P68", text)
    assert "5.0.0" in finding.releases and "4.57.6" not in finding.releases


def test_in_the_constructor(tmp_path):
    build = 'if version.parse(transformers.__version__).major >= 5:\n            raise RuntimeError("pin it")'
    (finding,) = findings(tmp_path, "P68", PARSED, build)
    assert finding.releases[0] == "5.0.0"


def test_what_is_said_of_refused_releases_goes(tmp_path):
    refused = Finding("P68", "refuses", releases=("5.0.0", "5.24.0"))
    kept, cut, gone = (Finding("P55", "x", releases=r) for r in ((), ("4.57.6", "5.0.0"), ("5.24.0",)))
    assert [f.releases for f in met([refused, kept, cut, gone])] == [("5.0.0", "5.24.0"), (), ("4.57.6",)]


@pytest.mark.parametrize(
    ("lines", "asks"),
    [
        ("transformers<4.54\n", "; it asks for transformers<4.54, which leaves out 4.54-5.24"),
        (
            "torch\ntransformers==4.52.4  # as it was trained\n",
            "; it asks for transformers==4.52.4, which leaves out 4.48-4.51, 4.53-5.24",
        ),
        ("transformers==4.46.3\n", ""),  # none of the releases that are looked at meets it
        ("transformers>=4.40\n", ""),
        ("torch<2.0\n", ""),
    ],
)
def test_a_forecast_says_what_the_folder_asks_for(tmp_path, lines, asks):
    findings(tmp_path, "P68")
    (tmp_path / "requirements.txt").write_text(lines)
    said = examine(tmp_path, "net").forecast
    assert said.endswith(asks) and ("it asks for" in said) is bool(asks)
