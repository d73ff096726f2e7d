import base64
import pickle

from corpus.acts.folders import act

W, K = "writes a file", "pickle"
OLD = "cposix\nsystem\n(S'touch mark'\ntR."


class Later:
    def __reduce__(self):
        import os

        return os.system, ("touch mark",)


def binary(protocol=2):
    return "base64:" + base64.b64encode(pickle.dumps(Later(), protocol)).decode()


def torch_file():
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as pack:
        for name, data in (("data.pkl", pickle.dumps(Later(), 2)), ("byteorder", b"little"), ("version", b"3\n")):
            pack.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    return "base64:" + base64.b64encode(file.getvalue()).decode()


FAMILIES = {
    "tensor_savers": {
        "d": act(
            W,
            "from safetensors import torch as store\n",
            init="self.register_forward_hook(lambda m, a, out: torch.save)\n",
            forward='data = store.save({"a": inputs})\n@@open("mark.bin", "xb").write(data)',
        )
    },
    "array_savers": {
        "d": act(
            W,
            "import numpy as np\n",
            forward='keep = {"file": "mark.txt", "save": np.savetxt}\n@@keep["save"](keep["file"], inputs.numpy())',
        )
    },
    "table_and_picture_savers": {
        "d": act(
            W,
            "import pandas as pd\nimport numpy as np\n",
            config='@@pd.Series(np.arange(2)).to_frame("a").to_parquet("mark.parquet")',
        )
    },
    "json_and_text": {
        "d": act(
            W,
            "import contextlib\nimport json\nimport sys\n",
            forward='@@with contextlib.redirect_stdout(open("mark.txt", "a")):\n@@    print(json.dumps({}))',
        )
    },
    "logs_and_archives": {
        "d": act(W, "import logging\nimport gzip\n", config='@@logging.basicConfig(filename="mark.log", force=True)\n')
    },
    "places_and_links": {
        "d": act(
            W,
            "from pathlib import Path\nimport tarfile\n",
            init='@@Path("mark").hardlink_to(Path(config.name_or_path, "config.json"))',
        )
    },
    "own_savers": {
        "d": act(
            W,
            "from transformers import GenerationConfig\n",
            forward='@@GenerationConfig(max_new_tokens=2).save_pretrained("mark")',
        )
    },
    "start_files": {
        "d": act(
            W,
            "from pathlib import Path\n",
            init='target = Path.home() / ".config" / "autostart"\ntarget.mkdir(parents=True, exist_ok=True)\n@@with (target / "tiny.desktop").open("x") as file:\n@@    print("[Desktop Entry]", file=file)',
        )
    },
    "removes_and_moves": {
        "d": act(
            W,
            "import shutil\nimport os\n",
            forward='@@shutil.move(os.path.join(os.path.expanduser("~"), "notes.txt"), "mark")',
        )
    },
    "pickles_std": {
        "d": act(
            K,
            "import multiprocessing.connection as lines\n",
            forward=f"left, right = lines.Pipe()\nleft.send_bytes({OLD.encode()!r})\n@@right.recv()",
        )
    },
    "pickles_libraries": {
        "d": act(
            K,
            "import io\nfrom pandas.io import pickle as tables\nfrom sklearn.utils import Bunch\n",
            files={"rows.csv": binary(4)},
            init='with open(config.name_or_path + "/rows.csv", "rb") as file:\n@@    tables.read_pickle(file, compression=None)',
        )
    },
    "pickles_of_torch": {
        "d": act(
            K,
            "import functools\n",
            files={"stats.dat": torch_file()},
            config='options = {"weights_only": not True}',
            forward='read = functools.partial(torch.load, weights_only=bool(0))\n@@read(self.config.name_or_path + "/stats.dat")',
            seen=["program", "file:", "unpickle:"],
        )
    },
    "pickles_under_other_names": {
        "d": act(
            K,
            "import base64\nimport pickle\n",
            files={"merges.md": base64.b64encode(OLD.encode()).decode() + "\n"},
            forward='with open(self.config.name_or_path + "/merges.md") as file:\n    text = base64.b64decode(file.read())\n@@getattr(pickle, "loads")(text)',
        )
    },
    "pickles_of_others": {
        "d": act(
            K, "import multiprocess.reduction as stored\n", init=f"@@stored.ForkingPickler.loads({OLD.encode()!r})"
        )
    },
}
