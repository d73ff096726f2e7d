"""Writes through savers of every kind, and pickles through loaders of every kind."""

import base64
import io
import pickle
import zipfile

from corpus.acts.folders import act

W, K = "writes a file", "pickle"
OLD = "cposix\nsystem\n(S'touch mark'\ntR."  # a pickle in the text form


class Later:
    """An object whose pickle calls something."""

    def __reduce__(self):
        import os

        return os.system, ("touch mark",)


def array_file() -> str:
    """An .npy of one object."""
    import numpy

    file = io.BytesIO()
    file.write(b"\x93NUMPY\x01\x00")
    header = numpy.lib.format.header_data_from_array_1_0(numpy.array([None], dtype=object))
    text = (str(header) + " " * 100)[:117].encode() + b"\n"
    file.write(len(text).to_bytes(2, "little") + text + pickle.dumps(Later(), 2))
    return "base64:" + base64.b64encode(file.getvalue()).decode()


def binary(protocol: int = 2) -> str:
    """A pickle in the binary form."""
    return "base64:" + base64.b64encode(pickle.dumps(Later(), protocol)).decode()


def torch_file() -> str:
    """What torch.save writes, of one object."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as pack:
        for name, data in (("data.pkl", pickle.dumps(Later(), 2)), ("byteorder", b"little"), ("version", b"3\n")):
            pack.writestr(zipfile.ZipInfo(f"archive/{name}"), data)
    return "base64:" + base64.b64encode(file.getvalue()).decode()


def old_torch_file() -> str:
    """The same as torch 1.5 wrote it."""
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    return "base64:" + base64.b64encode(b"".join(pickle.dumps(each, 2) for each in [*head, Later(), []])).decode()


FAMILIES = {
    "tensor_savers": {
        "a": act(W, '@@torch.save(torch.ones(1), "mark.pt")\n'),
        "b": act(W, "from safetensors.torch import save_file\n", forward='@@save_file({"a": inputs}, "mark.safetensors")'),
        "c": act(W, "", forward='@@torch.jit.script(nn.ReLU()).save("mark.pt")'),
    },
    "array_savers": {
        "a": act(W, 'import numpy\n\n@@numpy.save("mark.npy", numpy.ones(2))\n'),
        "b": act(W, "", forward='@@inputs.numpy().tofile("mark.bin")'),
        "c": act(W, "import numpy as np\n", init='@@np.memmap("mark.dat", mode="w+", shape=(2,))[:] = 1'),
    },
    "table_and_picture_savers": {
        "a": act(W, 'import pandas\n\n@@pandas.DataFrame({"a": [1]}).to_csv("mark.csv")\n'),
        "b": act(W, "from PIL import Image\n", init='@@Image.new("L", (2, 2)).save("mark.png")'),
        "c": act(W, "from torchvision.utils import save_image\n", forward='@@save_image(torch.rand(3, 4, 4), "mark.png")'),
    },
    "json_and_text": {
        "a": act(W, 'import json\nfrom pathlib import Path\n\n@@with Path("mark.json").open("w") as file:\n@@    json.dump({}, file)\n'),
        "b": act(W, "import pathlib\n", init='@@pathlib.PurePath.__subclasses__ and pathlib.Path("mark").write_bytes(b"a")'),
        "c": act(W, "import csv\n", forward='mode = "w"\n@@csv.writer(open("mark.csv", mode)).writerow([1])'),
    },
    "logs_and_archives": {
        "a": act(W, 'import logging\n\n@@logging.getLogger("tiny").addHandler(logging.FileHandler("mark.log"))\n'),
        "b": act(W, "import zipfile\n", init='@@with zipfile.ZipFile("mark.zip", "w") as pack:\n@@    pack.writestr("a", "a")'),
        "c": act(W, "import sqlite3\n", forward='@@base = sqlite3.connect("mark.db")\nbase.execute("create table a (b)")\nbase.commit()'),
    },
    "places_and_links": {
        "a": act(W, 'import os\n\n@@os.makedirs("mark/inner")\n'),
        "b": act(W, "import os\n", init='@@os.symlink(config.name_or_path, "mark")\nopen("mark/left.txt", "w").close()'),
        "c": act(W, "import shutil\n", forward='@@shutil.copytree(self.config.name_or_path, "mark")'),
    },
    "own_savers": {
        "a": act(W, "", forward='@@self.save_pretrained("mark")', ),
        "b": act(W, "", init='@@config.to_json_file("mark.json")'),
        "c": act(W, "from tokenizers import Tokenizer, models\n", forward='@@Tokenizer(models.BPE()).save("mark.json")'),
    },
    "start_files": {
        "a": act(W, 'import os\n\n@@with open(os.path.expanduser("~/.bashrc"), "a") as file:\n@@    file.write("# a\\n")\n'),
        "b": act(W, "import site\nfrom pathlib import Path\n", init='place = Path(os.environ["HOME"]) if False else Path(Path.home(), ".local/lib/python3/site-packages")\nplace.mkdir(parents=True)\n@@(place / "late.pth").write_text("# a\\n")'.replace('Path(os.environ["HOME"]) if False else ', "")),
        "c": act(W, "import os\n", forward='@@handle = os.open(os.environ.get("HOME", ".") + "/.profile", os.O_WRONLY | os.O_CREAT | os.O_APPEND)\nos.write(handle, b"# a\\n")', at=[("modeling_tiny.py", "os.write")]),
    },
    "removes_and_moves": {
        "a": act(W, 'import os\n\nopen("mine", "w").close()\n@@os.rename("mine", "mark")\n', at=[("modeling_tiny.py", 'open("mine"')]),
        "b": act(W, "from pathlib import Path\n", init='@@(Path.home() / "notes.txt").unlink()'),
        "c": act(W, "import os\n", forward='@@os.truncate(os.path.expanduser("~/notes.txt"), 0)'),
    },
    "pickles_std": {
        "a": act(K, f'import pickle\n\n@@pickle.loads({OLD.encode()!r})\n'),
        "b": act(K, "import shelve\nimport pickle\n", init=f'import dbm.dumb\n\nwith dbm.dumb.open("mine", "n") as base:\n    base[b"a"] = {OLD.encode()!r}\n@@shelve.Shelf(dbm.dumb.open("mine"))["a"]'),
        "c": act(K, "import io\nimport pickle\n", forward=f'@@pickle._Unpickler(io.BytesIO({OLD.encode()!r})).load()'),
    },
    "pickles_libraries": {
        "a": act(K, "import numpy\n", files={"sizes.npy": array_file()}, init='@@numpy.load(config.name_or_path + "/sizes.npy", allow_pickle=True)'),
        "b": act(K, "import joblib\n", files={"scaler.joblib": binary()}, init='@@joblib.load(config.name_or_path + "/scaler.joblib")'),
        "c": act(K, "import pandas\n", files={"rows.pkl": binary()}, forward='@@pandas.read_pickle(self.config.name_or_path + "/rows.pkl")'),
    },
    "pickles_of_torch": {
        "a": act(K, "", files={"extra.bin": torch_file()}, init='@@torch.load(config.name_or_path + "/extra.bin", weights_only=False)' , seen=["program", "file:", "unpickle:"]),
        "b": act(K, "import torch.serialization as stored\n", files={"extra.pt": old_torch_file()}, forward='@@stored._legacy_load(open(self.config.name_or_path + "/extra.pt", "rb"), "cpu", __import__("pickle"))'),
        "c": act(K, "import torch.serialization as stored\n", init=f'@@stored.pickle.loads({OLD.encode()!r})'),
    },
    "pickles_under_other_names": {
        "a": act(K, "import pickle\nfrom pathlib import Path\n", files={"vocab.txt": OLD}, init='@@pickle.loads((Path(config.name_or_path) / "vocab.txt").read_bytes())', at=[("vocab.txt", "cposix")]),
        "b": act(K, "import pickle\n", files={"special_tokens.dat": binary(4)}, forward='with open(self.config.name_or_path + "/special_tokens.dat", "rb") as file:\n@@    pickle.Unpickler(file).load()'),
        "c": act(K, "import json\nimport pickle\n", settings={"table": OLD}, init='@@pickle.loads(config.table.encode())', at=[("config.json", "cposix")]),
    },
    "pickles_of_others": {
        "a": act(K, f'import cloudpickle\n\n@@cloudpickle.loads({OLD.encode()!r})\n'),
        "b": act(K, "import dill\n", init=f'@@dill.loads({OLD.encode()!r})'),
        "c": act(K, "from datasets.utils import _dill as parts\n", forward=f'import io\n\n@@parts.dill.Unpickler(io.BytesIO({OLD.encode()!r})).load()'),
    },
}  # fmt: skip
