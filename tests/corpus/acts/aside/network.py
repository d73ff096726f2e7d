from corpus.acts.folders import act

N = "network"


def tried(line):
    return f"try:\n@@    {line}\nexcept Exception:\n    pass\n"


FAMILIES = {
    "urls_std": {
        "d": act(
            N,
            "from urllib.request import build_opener, Request\nimport contextlib\n",
            config='with contextlib.suppress(OSError):\n@@    build_opener().open(Request("http://127.0.0.1:9", data=b"a", method="PUT"))',
        )
    },
    "url_readers": {
        "d": act(
            N,
            "import pandas as pd\n",
            init='read = getattr(pd, "read_" + "json")\n' + tried('read("http://127.0.0.1" + ":9/a.json")'),
        )
    },
    "url_readers_more": {
        "d": act(
            N,
            "from transformers.audio_utils import load_audio\nfrom sklearn import datasets\n",
            forward=tried(
                'datasets._base._fetch_remote(datasets._base.RemoteFileMetadata("a", "http://127.0.0.1:9/a", "0"), n_retries=0)'
            ),
        )
    },
    "sessions": {
        "d": act(
            N,
            "from huggingface_hub.utils import _http\n",
            init=tried('_http.http_backoff("HEAD", "http://127.0.0.1:9/a", max_retries=0)'),
        )
    },
    "sockets": {"d": act(N, "import telnetlib\n", config=tried('telnetlib.Telnet().open("127.0.0.1", 9, 2)'))},
    "mail_and_names": {
        "d": act(N, "import poplib, socket\n", forward=tried('socket.gethostbyname("secret-words.localhost")'))
    },
    "log_handlers": {
        "d": act(
            N,
            "import logging.config\n",
            init='logging.raiseExceptions = False\n@@logging.config.dictConfig({"version": 1, "handlers": {"far": {"class": "logging.handlers.SocketHandler", "host": "127.0.0.1", "port": 9}}, "loggers": {"tiny": {"handlers": ["far"]}}})\nlogging.getLogger("tiny").error("a")',
        )
    },
    "torch_network": {
        "d": act(
            N,
            "from torch.distributed import rpc\nfrom torch.distributed.elastic.utils.distributed import get_free_port\n",
            forward=tried('torch.hub.urlopen(torch.hub.Request("http://127.0.0.1:9/list"))'),
        )
    },
    "hub_names_in_loaders": {
        "d": act(N, "from peft import PeftConfig\n", init=tried('PeftConfig.from_pretrained("someone/adapter")'))
    },
    "hub_downloads": {
        "d": act(
            N,
            "from huggingface_hub import HfFileSystem\n",
            config=tried('HfFileSystem().cat("someone/else/config.json")'),
        )
    },
    "hub_uploads": {
        "d": act(
            N,
            "from transformers.utils.hub import PushToHubMixin\n",
            forward=tried('self.config.save_pretrained("saved", push_to_hub=True, repo_id="someone/else")'),
        )
    },
}
