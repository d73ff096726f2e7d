"""The network: readers that take a URL, sessions, handlers, hub names inside another library's loader."""

from corpus.acts.folders import act

N = "network"


def tried(line: str) -> str:
    """The act, in a shell that hides that the port is closed."""
    return f"try:\n@@    {line}\nexcept Exception:\n    pass\n"


FAMILIES = {
    "urls_std": {
        "a": act(N, "import urllib.request\n\n" + tried('urllib.request.urlopen("http://127.0.0.1:9/a")')),
        "b": act(N, "import http.client\n", init=tried('http.client.HTTPConnection("127.0.0.1", 9, timeout=2).request("GET", "/")')),
        "c": act(N, "import xmlrpc.client\n", forward=tried('xmlrpc.client.ServerProxy("http://127.0.0.1:9").greet()')),
    },
    "url_readers": {
        "a": act(N, "import pandas\n\n" + tried('pandas.read_csv("http://127.0.0.1:9/rows.csv")')),
        "b": act(N, "import numpy as np\n", init=tried('np.lib.npyio.DataSource(".").open("http://127.0.0.1:9/a.npy")')),
        "c": act(N, "", forward=tried('torch.hub.load_state_dict_from_url("http://127.0.0.1:9/w.pt", model_dir=".")')),
    },
    "url_readers_more": {
        "a": act(N, "from transformers.image_utils import load_image\n\n" + tried('load_image("http://127.0.0.1:9/a.png")')),
        "b": act(N, "import fsspec\n", init=tried('fsspec.open("ftp://127.0.0.1:9/a.json").open()')),
        "c": act(N, "from torchvision.datasets import utils\n", forward=tried('utils.download_url("http://127.0.0.1:9/a.zip", ".")')),
    },
    "sessions": {
        "a": act(N, "from huggingface_hub.utils import get_session\n\n" + tried('get_session().get("http://127.0.0.1:9/a")')),
        "b": act(N, "import httpx2\n", init=tried('httpx2.Client(trust_env=False).post("http://127.0.0.1:9/a", json={})')),
        "c": act(N, "import urllib3\n", forward=tried('urllib3.PoolManager(retries=False).urlopen("GET", "http://127.0.0.1:9/a")')),
    },
    "sockets": {
        "a": act(N, "import socket\n\n" + tried('socket.create_connection(("127.0.0.1", 9), 2)')),
        "b": act(N, "import asyncio\n", init='async def reach():\n    try:\n@@        await asyncio.open_connection("127.0.0.1", 9)\n    except OSError:\n        pass\n\nasyncio.run(reach())'),
        "c": act(N, "from multiprocessing.connection import Client\n", forward=tried('Client(("127.0.0.1", 9))')),
    },
    "mail_and_names": {
        "a": act(N, "import smtplib\n\n" + tried('smtplib.SMTP("127.0.0.1", 9, timeout=2)')),
        "b": act(N, "import ftplib\n", init=tried('ftplib.FTP("127.0.0.1:9") if False else ftplib.FTP().connect("127.0.0.1", 9)').replace('ftplib.FTP("127.0.0.1:9") if False else ', "")),
        "c": act(N, "import socket\n", forward=tried('socket.getaddrinfo("data.localhost", 80)')),
    },
    "log_handlers": {
        "a": act(N, 'import logging.handlers\n\n@@logging.handlers.SysLogHandler(("127.0.0.1", 9)).emit(logging.makeLogRecord({"msg": "a"}))\n'),
        "b": act(N, "import logging\nfrom logging import handlers\n", init='log = logging.getLogger("tiny")\nlog.propagate = False\nlogging.raiseExceptions = False\n@@log.addHandler(handlers.HTTPHandler("127.0.0.1:9", "/x"))\nlog.warning("a")', at=[("modeling_tiny.py", "log.warning")]),
        "c": act(N, "import logging.handlers\n", forward='handler = logging.handlers.DatagramHandler("127.0.0.1", 9)\n@@handler.send(b"a")', at=[("modeling_tiny.py", "DatagramHandler")]),
    },
    "torch_network": {
        "a": act(N, tried('torch.hub.list("someone/tiny:main", trust_repo=True)')),
        "b": act(N, "", init=tried('torch.hub.download_url_to_file("http://127.0.0.1:9/w.pt", "w.pt", progress=False)')),
        "c": act(N, "import torch.hub as hub\n", forward=tried('hub.load("someone/tiny", "tiny", trust_repo=True)')),
    },
    "hub_names_in_loaders": {
        "a": act(N, "from transformers import AutoTokenizer\n\n" + tried('AutoTokenizer.from_pretrained("someone/else", trust_remote_code=True)')),
        "b": act(N, "import timm\n", init=tried('timm.create_model("hf-hub:someone/tiny", pretrained=True)')),
        "c": act(N, "from sentence_transformers import SentenceTransformer\n", forward=tried('SentenceTransformer("someone/words", trust_remote_code=True)')),
    },
    "hub_downloads": {
        "a": act(N, "from huggingface_hub import hf_hub_download\n\n" + tried('hf_hub_download("someone/else", "code.py")')),
        "b": act(N, "from transformers.utils import cached_file\n", init=tried('cached_file("someone/else", "pytorch_model.bin")')),
        "c": act(N, "from datasets import load_dataset\n", forward=tried('load_dataset("json", data_files="http://127.0.0.1:9/a.json", cache_dir=".")')),
    },
    "hub_uploads": {
        "a": act(N, "from huggingface_hub import HfApi\n\n" + tried('HfApi().upload_file(path_or_fileobj=b"a", path_in_repo="a", repo_id="some/one")')),
        "b": act(N, "", forward=tried('self.push_to_hub("someone/else")')),
        "c": act(N, "import huggingface_hub as hub\n", init=tried('hub.create_repo("someone/new")')),
    },
}  # fmt: skip
