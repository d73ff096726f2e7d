"""Folders of remote code around one snippet each, as the families of this directory and of harmless/ describe them.

A folder is {"files": {name: text}, "expect": {...}}. A line that acts begins with @@ in the snippets; the mark is
taken out, and its place is what a finding has to name. Payloads leave a mark in the directory that they run in.
"""

import base64
import hashlib
import importlib
import json
import struct
from pathlib import Path

HERE = Path(__file__).parent
MARK = "@@"
MODEL = """import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
{top}

class TinyConfig(PreTrainedConfig):
    model_type = "tiny-corpus"

    def __init__(self, width=2, **kwargs):
        self.width = width
        {config}
        super().__init__(**kwargs)


class TinyModel(PreTrainedModel):
    config_class = TinyConfig
    {body}

    def __init__(self, config):
        super().__init__(config)
        self.linear = nn.Linear(config.width, 2)
        {init}
        self.post_init()

    def forward(self, inputs):
        {forward}
        return self.linear(inputs)
    {methods}
"""
TOKENIZER = """from transformers import PreTrainedTokenizer
{top}

class TinyTokenizer(PreTrainedTokenizer):
    def __init__(self, **kwargs):
        self.words = {{"a": 0, "b": 1, "<unk>": 2}}
        {init}
        super().__init__(unk_token="<unk>", **kwargs)

    @property
    def vocab_size(self):
        return len(self.words)

    def get_vocab(self):
        return dict(self.words)

    def _tokenize(self, text):
        return text.split()

    def _convert_token_to_id(self, token):
        return self.words.get(token, 2)

    def _convert_id_to_token(self, index):
        return list(self.words)[index]

    def save_vocabulary(self, save_directory, filename_prefix=None):
        return ()
    {methods}
"""
ENTRIES = {"AutoConfig": "modeling_tiny.TinyConfig", "AutoModel": "modeling_tiny.TinyModel"}


def indented(text: str, template: str, name: str) -> str:
    """The lines of a snippet, as deep as its place in the template."""
    (line,) = (line for line in template.split("\n") if line.strip() == f"{{{name}}}")
    return text.strip("\n").replace("\n", "\n" + line[: line.index("{")])


def fill(template: str, **parts: str) -> str:
    """A template with its parts; lines that stay empty go."""
    deep = {name: indented(text, template, name) if text else "\x00" for name, text in parts.items()}
    lines = template.format(**deep).split("\n")
    return "\n".join(line for line in lines if line.strip() != "\x00")


def model_file(top="", *, config="", body="", init="", forward="", methods="") -> str:
    """A module with TinyConfig and TinyModel, and snippets in their places."""
    return fill(MODEL, top=top, config=config, body=body, init=init, forward=forward, methods=methods)


def tokenizer_file(top="", *, init="", methods="") -> str:
    """A module with a TinyTokenizer that needs no file."""
    return fill(TOKENIZER, top=top, init=init, methods=methods)


def settings_file(more: dict | None = None, entries: dict | None = None) -> str:
    """A config.json of TinyModel."""
    start = {"model_type": "tiny-corpus", "architectures": ["TinyModel"], "auto_map": entries or ENTRIES}
    return json.dumps({**start, "width": 2, **(more or {})}, indent=2) + "\n"


def act(what: str, top="", *, settings=None, files=None, model=None, loads=(), seen=(), at=(), **parts) -> dict:
    """One acting folder.

    Args:
        what: one plain word for the act. top, parts: snippets of the model's module.
        settings: more keys of config.json. model: the text of modeling_tiny.py as a whole.
        files: more files, or others in their place. loads: what is done beside AutoConfig, AutoModel and one call.
        seen: the evidence that shows the act, where `what` does not say it. at: (file, part of a line) that count too.
    """
    texts = {"config.json": settings_file(settings), "modeling_tiny.py": model or model_file(top, **parts)}
    texts |= files or {}
    places = []
    for name, text in texts.items():
        if text is None:
            continue
        places += [[name, number] for number, line in enumerate(text.split("\n"), 1) if MARK in line]
        texts[name] = text.replace(MARK, "")
    texts = {name: text for name, text in texts.items() if text is not None}
    for name, piece in at:
        places += [[name, number] for number, line in enumerate(texts[name].split("\n"), 1) if piece in line]
    assert places, "no line of the folder is marked"
    expect = {"what": what, "file": places[0][0], "line": places[0][1], "places": places, "seen": list(seen)}
    return {"files": texts, "loads": list(loads), "expect": expect}


def harmless(top="", *, settings=None, files=None, model=None, loads=(), **parts) -> dict:
    """One folder that only computes."""
    texts = {"config.json": settings_file(settings), "modeling_tiny.py": model or model_file(top, **parts)}
    texts |= files or {}
    return {"files": {name: text for name, text in texts.items() if text is not None}, "loads": list(loads)}


def digest(folder: dict) -> str:
    """sha256 of a folder's canonical JSON: its files, keys sorted."""
    canonical = json.dumps(folder["files"], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def weights() -> bytes:
    """model.safetensors of a TinyModel."""
    header = {
        "linear.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "linear.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [8, 24]},
        "__metadata__": {"format": "pt"},
    }
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + struct.pack("<6f", 0.5, -0.5, 1, 2, 3, 4)


def write(folder: dict, directory: Path) -> Path:
    """The folder on disk, weights included."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in folder["files"].items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = base64.b64decode(text[7:]) if text.startswith("base64:") else text.encode()
        path.write_bytes(data)
    if not (directory / "model.safetensors").exists():
        (directory / "model.safetensors").write_bytes(weights())
    return directory


def gather(directory: Path, attribute: str) -> dict:
    """The dictionaries of a directory's modules, put together: family or name -> entry."""
    together: dict = {}
    for path in sorted(directory.glob("*.py")):
        if path.name in ("__init__.py", "folders.py"):
            continue
        spec = importlib.util.spec_from_file_location(f"corpus_{directory.name}_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for name, entry in getattr(module, attribute).items():
            together.setdefault(name, {}).update(entry) if attribute == "FAMILIES" else together.update({name: entry})
    return together


def families(directory: Path = HERE) -> dict[str, dict[str, dict]]:
    """Family -> letter -> folder; another directory, or aside/ in this one, has those that were put aside."""
    every = gather(directory, "FAMILIES")
    for name, entry in gather(directory / "aside", "FAMILIES").items():
        every.setdefault(name, {}).update(entry)
    return every


def harmless_folders() -> dict[str, dict]:
    """Name -> folder."""
    return gather(HERE.parent / "harmless", "FOLDERS")
