"""What a card's page says beside the text: metadata, size, parameters, and which code loading the model runs."""

import contextlib
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from pinfold.common.values import as_dict, in_list
from pinfold.folder.loaded_code import LoadedCode, auto_map_texts, find_loaded_code, read_settings
from pinfold.hub.api import card_tags
from pinfold.hub.pages.page import Place
from pinfold.hub.pages.runs import CommitFiles
from pinfold.hub.storage import lfs
from pinfold.hub.storage.errors import Missing
from pinfold.hub.storage.glance import remembered
from pinfold.hub.storage.lfs import tensor_header
from pinfold.hub.storage.repository import Repository

MAX_README = 2**20  # bytes that are searched for a pinned commit
MAX_METRICS = 50
MAX_VALUES = 30  # of a list in the metadata
MAX_WEIGHT_FILES = 500
REMEMBERED = 5000
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_VARIANT = re.compile(r"model(?:-\d+-of-\d+)?\.(\w+)(?:-\d+-of-\d+)?\.safetensors")
_PICKLE = re.compile(r"(?i).*\.(?:bin|pt|pth|ckpt|pkl|pickle|joblib)")
_PIN = re.compile(r"""revision=["']([0-9a-f]{40})["']""")
_FIELDS = [
    ("License", "license"),
    ("Task", "pipeline_tag"),
    ("Library", "library_name"),
    ("Language", "language"),
    ("Base model", "base_model"),
    ("Datasets", "datasets"),
    ("Metrics", "metrics"),
    ("Tags", "tags"),
]
_facts: dict = {}


@dataclass(frozen=True)
class Facts:
    """Everything here follows from one commit."""

    problem: str = ""  # with the front matter
    metadata: dict[str, Any] = field(default_factory=dict)
    size: int = 0
    files: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    auto_class: str | None = None
    code: LoadedCode = field(default_factory=LoadedCode)  # what loading runs
    python: int = 0  # Python files in all
    pickles: tuple[str, ...] = ()
    pinned: str | None = None  # the commit that the card's own snippets name, where it holds the same files
    complete: bool = True  # no large file was missing: of a mirror, some may come later

    @property
    def parameters(self) -> int:
        return sum(self.dtypes.values())

    @property
    def task(self) -> str:
        pipeline_tag = self.metadata.get("pipeline_tag")
        return pipeline_tag[:60] if isinstance(pipeline_tag, str) else ""

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """(label, values) of what the metadata has."""
        labelled = ((label, _texts(self.metadata.get(name))) for label, name in _FIELDS)
        return [(label, values) for label, values in labelled if values]

    @property
    def metrics(self) -> list[tuple[str, str, str]]:
        """(dataset, metric, value) of model-index."""
        metrics = []
        for result in _dicts(each.get("results") for each in _dicts([self.metadata.get("model-index")])):
            dataset = result.get("dataset")
            name = dataset.get("name") or dataset.get("type") if isinstance(dataset, dict) else ""
            for metric in _dicts([result.get("metrics")]):
                value = metric.get("value")
                value = f"{value:.6g}" if isinstance(value, float) else str(value)
                metrics.append((str(name)[:100], str(metric.get("name") or metric.get("type"))[:60], value[:40]))
        return metrics[:MAX_METRICS]


def facts_of(repo: Repository, sha: str) -> Facts:
    """The facts of a commit, read once; for each repository, because whether it holds the large files differs."""
    key = (str(repo.path), sha)
    facts = _facts.get(key) or _read(repo, sha)
    return remembered(_facts, REMEMBERED, key, lambda: facts) if facts.complete else facts


def snippet(place: Place, facts: Facts) -> str:
    """The lines that load what is shown, at exactly this commit, or at that of the same files which the card pins."""
    pinned = f'"{place.repo.id}", revision="{facts.pinned or place.sha}"'
    if place.repo.kind == "datasets":
        return f"from datasets import load_dataset\n\ndataset = load_dataset({pinned})"
    auto_class = facts.auto_class
    if place.repo.kind != "models" or auto_class is None:
        kind = "" if place.repo.kind == "models" else f', repo_type="{place.repo.kind[:-1]}"'
        return f"from huggingface_hub import snapshot_download\n\nfolder = snapshot_download({pinned}{kind})"
    trust = ", trust_remote_code=True" if facts.code.any else ""
    return f"from transformers import {auto_class}\n\nmodel = {auto_class}.from_pretrained({pinned}{trust})"


def _auto_class(config: dict[str, Any]) -> str | None:
    """The class to load with: the architecture's own before a head's, a head's before the bare model's."""
    named = {name: auto_map_texts(value) for name, value in as_dict(config.get("auto_map")).items()}
    models = [name for name in named if re.fullmatch("AutoModel[A-Za-z0-9]*", name)]
    architectures = [each for each in in_list(config.get("architectures")) if isinstance(each, str)]
    own = [name for name in models if any(each.rpartition(".")[2] in architectures for each in named[name])]
    if likeliest := own or sorted(models, key=lambda name: name == "AutoModel"):
        return likeliest[0]
    return "AutoModel" if isinstance(config.get("model_type"), str) else None


def _read(repo: Repository, sha: str) -> Facts:
    listed, sizes = repo.files(sha), {}
    for path, where in listed.items():  # one at a time: together they may not fit into memory
        sizes[path] = repo.load(path, *where).size

    def content(path: str) -> bytes:
        return (repo.load(path, *listed[path]).content if path in listed else None) or b""

    metadata, problem = {}, ""
    try:
        metadata = card_tags.metadata(content("README.md").decode("utf-8", "replace"))
    except ValueError as error:
        problem = str(error)
    files = CommitFiles(repo, listed)
    code = find_loaded_code(files)
    config = as_dict(read_settings(files, "config.json") if "config.json" in files else None)
    dtypes, complete = Counter(), files.complete
    for path in _weights(sizes)[:MAX_WEIGHT_FILES]:
        entry = repo.load(path, *listed[path])
        if entry.pointer and not lfs.owns(repo, entry.pointer):
            complete = False
            continue
        with contextlib.suppress(ValueError):  # the file's own page says what is wrong
            dtypes.update(tensor_header(repo, entry).dtypes)
    return Facts(
        problem=problem,
        metadata=metadata,
        size=sum(sizes.values()),
        files=len(sizes),
        dtypes=dict(dtypes.most_common()),
        auto_class=_auto_class(config),
        code=code,
        python=sum(path.endswith(".py") for path in sizes),
        pinned=_pinned(repo, listed, content("README.md").decode("utf-8", "replace")),
        complete=complete,
        pickles=tuple(sorted(path for path in sizes if _PICKLE.fullmatch(path)))[:20],
    )


def _pinned(repo: Repository, listed: dict[str, tuple[int, str]], text: str) -> str | None:
    """The one commit that a README pins, if every file but the README is the same there."""
    pins = set(_PIN.findall(text[:MAX_README]))
    with contextlib.suppress(Missing):
        if len(pins) == 1 and repo.resolve(sha := pins.pop()) == sha:
            there = repo.files(sha)
            return sha if there | {"README.md": None} == listed | {"README.md": None} else None
    return None


def _weights(paths: Collection[str]) -> list[str]:
    """The files that hold the model once: its own name, or its shards, or one variant, or what else lies there."""
    if "model.safetensors" in paths:
        return ["model.safetensors"]
    beside = sorted(path for path in paths if path.endswith(".safetensors") and "/" not in path)
    variants = {path: match[1] for path in beside if (match := _VARIANT.fullmatch(path))}
    first = [path for path, variant in variants.items() if variant == next(iter(variants.values()))]
    return [path for path in beside if _SHARD.fullmatch(path)] or first or beside


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [each for value in values for each in in_list(value) if isinstance(each, dict)]


def _texts(value: Any) -> list[str]:
    texts = [str(each)[:100] for each in in_list(value) if isinstance(each, str | int | float) and str(each).strip()]
    return [*texts[:MAX_VALUES], f"and {len(texts) - MAX_VALUES} more"] if len(texts) > MAX_VALUES else texts
