"""Secrets and the environment: tokens, files of the home, expansion of variables, /proc, secret places in JSON."""

from corpus.acts.folders import act

S, R, N = "secret", "reads a file", "network"
FAMILIES = {
    "hub_tokens": {
        "a": act(S, 'from huggingface_hub import get_token\n\n@@NOTE = get_token()\n'),
        "b": act(S, "from huggingface_hub.utils import build_hf_headers\n", init='@@self.note = build_hf_headers(library_name="x")["authorization"]'),
        "c": act(S, "import huggingface_hub.constants as places\n", forward='with open(places.HF_TOKEN_PATH) as file:\n@@    self.note = file.read()', at=[("modeling_tiny.py", "HF_TOKEN_PATH")]),
    },
    "hub_tokens_more": {
        "a": act(S, 'from huggingface_hub import HfApi\n\n@@NOTE = HfApi()._build_hf_headers()\n'),
        "b": act(S, "from huggingface_hub.utils import _auth as checks\n", init='@@self.note = checks._get_token_from_environment()'),
        "c": act(S, "from huggingface_hub.utils import _headers as headers\n", forward="@@self.note = headers.get_token_to_send(True)"),
    },
    "environment_values": {
        "a": act(S, 'import os\n\n@@NOTE = dict(os.environ)\n'),
        "b": act(S, "from os import getenv as look\n", init='@@self.note = look("AWS_SECRET_ACCESS_KEY")'),
        "c": act(S, "import os\n", forward='names = [n for n in os.environ if n.endswith("_TOKEN")]\n@@self.note = [os.environ[n] for n in names]'),
    },
    "environment_by_files": {
        "a": act(S, '@@with open("/proc/self/environ") as file:\n@@    NOTE = file.read()\n'),
        "b": act(S, "from pathlib import Path\nimport os\n", init='@@self.note = Path(f"/proc/{os.getpid()}/environ").read_bytes()'),
        "c": act(S, "import subprocess\n", forward='@@self.note = subprocess.getoutput("env")'),
    },
    "environment_by_objects": {
        "a": act(S, 'import posix\n\n@@NOTE = posix.environ.copy()\n'),
        "b": act(S, "import psutil\n", init='@@self.note = psutil.Process().environ()'),
        "c": act(S, "import os\n", forward='@@self.note = os.environb[b"HF_TOKEN"].decode()'),
    },
    "expansions": {
        "a": act(S, 'import os\n\n@@NOTE = os.path.expandvars("$HF_TOKEN")\n'),
        "b": act(S, "import os\nfrom string import Template\n", init='@@self.note = Template("${AWS_SECRET_ACCESS_KEY}").substitute(os.environ)'),
        "c": act(S, "import posixpath\n", forward='@@self.note = posixpath.expandvars("".join(["$", "HF_", "TOKEN"]))'),
    },
    "home_secrets": {
        "a": act(S, 'import os\n\n@@with open(os.path.expanduser("~/.ssh/id_rsa")) as file:\n    NOTE = file.read()\n'),
        "b": act(S, "from pathlib import Path\n", init='@@self.note = Path("~/.aws/credentials").expanduser().read_text()'),
        "c": act(S, "import netrc\n", forward='@@self.note = netrc.netrc().hosts'),
    },
    "home_secrets_more": {
        "a": act(S, 'import glob\nimport os\n\n@@NOTE = [open(n).read() for n in glob.glob(os.environ["HOME"] + "/.ssh/*")]\n'),
        "b": act(S, "import configparser\nimport os\n", init='parser = configparser.ConfigParser(allow_no_value=True, default_section="x")\n@@parser.read_string("[a]\\n" + open(os.path.join(os.path.expanduser("~"), ".git-credentials")).read())\nself.note = str(dict(parser["a"]))'),
        "c": act(S, "import linecache\nimport os\n", forward='import pwd\n\nhome = os.getenv("HOME") or pwd.getpwuid(os.getuid()).pw_dir\n@@self.note = linecache.getlines(f"{home}/.bash_history")'),
    },
    "secret_places_in_settings": {
        "a": act(S, "import os\n", settings={"vocab_path": "~/.aws/credentials"}, init='@@with open(os.path.expanduser(config.vocab_path)) as file:\n    self.note = file.read()', at=[("config.json", "vocab_path")]),
        "b": act(S, "from pathlib import Path\n", settings={"parts": [{"file": ".ssh/id_rsa"}]}, forward='@@self.note = (Path.home() / self.config.parts[0]["file"]).read_text()', at=[("config.json", ".ssh")]),
        "c": act(S, "import os\n", settings={"key_name": "HF_TOKEN"}, init='@@self.note = os.environ.get(config.key_name)', at=[("config.json", "HF_TOKEN")]),
    },
    "reads_outside": {
        "a": act(R, '@@with open("/etc/passwd") as file:\n    PEOPLE = file.readlines()\n'),
        "b": act(R, "from pathlib import Path\n", init='@@self.host = Path("/etc/hostname").read_text()'),
        "c": act(R, "import numpy\n", forward='@@self.note = numpy.fromfile("/etc/hostname", dtype="uint8")'),
    },
    "reads_outside_more": {
        "a": act(R, 'import fileinput\n\n@@LINES = list(fileinput.input("/etc/hosts"))\n'),
        "b": act(R, "import pandas\n", init='@@self.people = pandas.read_csv("/etc/passwd", sep=":", header=None)'),
        "c": act(R, "import os\n", forward='@@self.note = [name for _, _, names in os.walk("/etc/ssl") for name in names][:9]'),
    },
    "reads_by_descriptor": {
        "a": act(R, 'import os\n\n@@handle = os.open("/etc/hostname", os.O_RDONLY)\nHOST = os.read(handle, 99)\nos.close(handle)\n'),
        "b": act(R, "import mmap\n", init='@@with open("/etc/passwd", "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:\n    self.note = view[:9]'),
        "c": act(R, "import tokenize\n", forward='@@self.note = tokenize.open("/etc/hostname").read()'),
    },
}  # fmt: skip
