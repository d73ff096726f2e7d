"""What a card's page says beside the text: metadata, size, parameters, and which code loading the model runs."""

import contextlib
import json
import posixpath
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from pinfold.hub import card, lfs, web_tensors
from pinfold.hub.glance import remembered
from pinfold.hub.store import Missing, Repository
from pinfold.hub.web_page import Place

MAX_JSON = 2**20  # of a config.json; more is not read
MAX_CODE_FILES = 200
MAX_METRICS = 50
MAX_VALUES = 30  # of a list in the metadata
MAX_WEIGHT_FILES = 500
REMEMBERED = 5000
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_PICKLE = re.compile(r"(?i).*\.(?:bin|pt|pth|ckpt|pkl|pickle|joblib)")
# As transformers looks for what to download beside a module, and `from . import x`, which Python runs too.
_RELATIVE = re.compile(
    r"^[ \t]*(?:import[ \t]+(\.\S+)[ \t]*$|from[ \t]+(\.\S*)[ \t]+import[ \t]+(\([^)]*\)|[^\n#]*))", re.M
)
_PIN = re.compile(r"""revision=["']([0-9a-f]{40})["']""")
# Where transformers looks for classes of a repository's own.
_SETTINGS = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
_FIELDS = [
    ("Licence", "license"),
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
    code: tuple[str, ...] = ()  # Python files that loading runs
    missing: tuple[str, ...] = ()  # named by auto_map, and not there
    foreign: tuple[str, ...] = ()  # repositories that auto_map takes code from
    python: int = 0  # Python files in all
    pickles: tuple[str, ...] = ()
    pinned: str | None = None  # the commit that the card's own snippets name, where it holds the same files
    complete: bool = True  # no large file was missing: of a mirror, some may come later

    @property
    def parameters(self) -> int:
        return sum(self.dtypes.values())

    @property
    def task(self) -> str:
        found = self.metadata.get("pipeline_tag")
        return found[:60] if isinstance(found, str) else ""

    @property
    def rows(self) -> list[tuple[str, list[str]]]:
        """(label, values) of what the metadata has."""
        found = ((label, _texts(self.metadata.get(name))) for label, name in _FIELDS)
        return [(label, values) for label, values in found if values]

    @property
    def metrics(self) -> list[tuple[str, str, str]]:
        """(dataset, metric, value) of model-index."""
        found = []
        for result in _dicts(each.get("results") for each in _dicts([self.metadata.get("model-index")])):
            dataset = result.get("dataset")
            name = dataset.get("name") or dataset.get("type") if isinstance(dataset, dict) else ""
            for metric in _dicts([result.get("metrics")]):
                value = metric.get("value")
                value = f"{value:.6g}" if isinstance(value, float) else str(value)
                found.append((str(name)[:100], str(metric.get("name") or metric.get("type"))[:60], value[:40]))
        return found[:MAX_METRICS]


def of(repo: Repository, sha: str) -> Facts:
    """The facts of a commit, read once; for each repository, because whether it holds the large files differs."""
    key = (str(repo.path), sha)
    found = _facts.get(key) or _read(repo, sha)
    return remembered(_facts, REMEMBERED, key, lambda: found) if found.complete else found


def snippet(place: Place, facts: Facts) -> str:
    """The lines that load what is shown, at exactly this commit, or at that of the same files which the card pins."""
    pinned = f'"{place.repo.id}", revision="{facts.pinned or place.sha}"'
    if place.repo.kind == "datasets":
        return f"from datasets import load_dataset\n\ndataset = load_dataset({pinned})"
    auto_class = facts.auto_class
    if place.repo.kind != "models" or auto_class is None:
        kind = "" if place.repo.kind == "models" else f', repo_type="{place.repo.kind[:-1]}"'
        return f"from huggingface_hub import snapshot_download\n\nfolder = snapshot_download({pinned}{kind})"
    trust = ", trust_remote_code=True" if facts.code or facts.missing or facts.foreign else ""
    return f"from transformers import {auto_class}\n\nmodel = {auto_class}.from_pretrained({pinned}{trust})"


def _auto_class(config: dict[str, Any]) -> str | None:
    """The class to load with: the architecture's own before a head's, a head's before the bare model's."""
    named = {name: _references(value) for name, value in _mapping(config.get("auto_map")).items()}
    models = [name for name in named if re.fullmatch("AutoModel[A-Za-z0-9]*", name)]
    architectures = [each for each in _list(config.get("architectures")) if isinstance(each, str)]
    own = [name for name in models if any(each.rpartition(".")[2] in architectures for each in named[name])]
    if found := own or sorted(models, key=lambda name: name == "AutoModel"):
        return found[0]
    return "AutoModel" if isinstance(config.get("model_type"), str) else None


def _read(repo: Repository, sha: str) -> Facts:
    listed, sizes = repo.files(sha), {}
    for path, found in listed.items():  # one at a time: together they may not fit into memory
        sizes[path] = repo.load(path, *found).size

    def content(path: str) -> bytes:
        return (repo.load(path, *listed[path]).content if path in listed else None) or b""

    metadata, problem = {}, ""
    try:
        metadata = card.metadata(content("README.md").decode("utf-8", "replace"))
    except ValueError as error:
        problem = str(error)
    config = _json(content("config.json"))
    settings = [config, *(_json(content(name)) for name in _SETTINGS[1:])]
    code, missing, foreign = _closure([_mapping(each.get("auto_map")) for each in settings], sizes, content)
    dtypes, complete = Counter(), True
    for path in _weights(sizes)[:MAX_WEIGHT_FILES]:
        entry = repo.load(path, *listed[path])
        if entry.pointer and not lfs.owns(repo, entry.pointer):
            complete = False
            continue
        with contextlib.suppress(ValueError):  # the file's own page says what is wrong
            dtypes.update(web_tensors.read(repo, entry).dtypes)
    return Facts(
        problem=problem,
        metadata=metadata,
        size=sum(sizes.values()),
        files=len(sizes),
        dtypes=dict(dtypes.most_common()),
        auto_class=_auto_class(config),
        code=code,
        missing=missing,
        foreign=foreign,
        python=sum(path.endswith(".py") for path in sizes),
        pinned=_pinned(repo, listed, content("README.md").decode("utf-8", "replace")),
        complete=complete,
        pickles=tuple(sorted(path for path in sizes if _PICKLE.fullmatch(path)))[:20],
    )


def _pinned(repo: Repository, listed: dict[str, tuple[int, str]], text: str) -> str | None:
    """The one commit that a README pins, if every file but the README is the same there."""
    pins = set(_PIN.findall(text[:MAX_JSON]))
    with contextlib.suppress(Missing):
        if len(pins) == 1 and repo.resolve(sha := pins.pop()) == sha:
            there = repo.files(sha)
            return sha if there | {"README.md": None} == listed | {"README.md": None} else None
    return None


def _weights(paths: Collection[str]) -> list[str]:
    """The files that hold the model once: its own name, or its shards, or what else lies beside the config."""
    if "model.safetensors" in paths:
        return ["model.safetensors"]
    beside = sorted(path for path in paths if path.endswith(".safetensors") and "/" not in path)
    return [path for path in beside if _SHARD.fullmatch(path)] or beside


def _closure(
    maps: list[dict[str, Any]], paths: Collection[str], content: Callable[[str], bytes]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """(files, missing files, foreign repositories): what the auto_maps name, and what that imports from beside it."""
    pending, foreign, found, missing = [], [], [], []
    for value in (value for names in maps for value in names.values()):
        for reference in _references(value):
            elsewhere, _, local = reference.rpartition("--")
            if elsewhere:
                foreign.append(elsewhere)
            else:
                pending.append(local.partition(".")[0] + ".py")
    while pending and len(found) < MAX_CODE_FILES:
        path = pending.pop(0)
        if path in found or path in missing:
            continue
        if path not in paths:
            missing.append(path)
            continue
        found.append(path)
        pending += [each for each in _imported(path, content(path).decode("utf-8", "replace")) if each in paths]
    return tuple(found), tuple(missing), tuple(dict.fromkeys(foreign))


def _imported(path: str, source: str) -> list[str]:
    """Files that a module's relative imports may mean."""
    found = []
    for whole, module, names in _RELATIVE.findall(source[:MAX_JSON]):
        name = whole or module
        parts = name.lstrip(".").replace(".", "/")
        above = [".."] * (len(name) - len(name.lstrip(".")) - 1)
        base = posixpath.normpath(posixpath.join(posixpath.dirname(path), *above, parts or "."))
        # Of `from .a import b`, b is a module when a is a folder.
        found += [f"{base}.py", posixpath.normpath(posixpath.join(base, "__init__.py"))]
        found += [posixpath.normpath(posixpath.join(base, f"{each}.py")) for each in re.findall(r"\w+", names)]
    return found


def _references(value: Any) -> list[str]:
    """auto_map's values are "module.Class", or a list of them for slow and fast tokenizers."""
    return [each for each in _list(value) if isinstance(each, str) and len(each) < 300]


def _json(content: bytes) -> dict[str, Any]:
    try:
        return _mapping(json.loads(content)) if len(content) < MAX_JSON else {}
    except (ValueError, RecursionError):
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [each for value in values for each in _list(value) if isinstance(each, dict)]


def _texts(value: Any) -> list[str]:
    found = [str(each)[:100] for each in _list(value) if isinstance(each, str | int | float) and str(each).strip()]
    return [*found[:MAX_VALUES], f"and {len(found) - MAX_VALUES} more"] if len(found) > MAX_VALUES else found
