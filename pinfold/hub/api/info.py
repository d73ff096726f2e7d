"""What is said about a repository: the fields that clients read, from its card, its configuration and its files."""

import contextlib
import json
import os
from typing import Any

from pinfold.hub.api import card_tags
from pinfold.hub.storage import lfs
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.repository import Entry, Repository
from pinfold.hub.storage.times import date

# Fields that clients may ask for by name. What is not known here (nothing runs, nothing is counted) is left out.
_COMMON = (
    "author cardData createdAt disabled gated lastModified likes private resourceGroup sha siblings tags "
    "trendingScore usedStorage xetEnabled"
)
EXPANDABLE = {
    "models": f"{_COMMON} baseModels childrenModelCount config downloads downloadsAllTime evalResults gguf inference "
    "inferenceProviderMapping library_name mask_token model-index pipeline_tag safetensors spaces transformersInfo "
    "widgetData",
    "datasets": f"{_COMMON} citation description downloads downloadsAllTime mainSize paperswithcode_id",
    "spaces": f"{_COMMON} datasets models region runtime sdk subdomain",
}
MAX_JSON = 16 * 2**20  # bytes of a config.json or an index that are looked at
MAX_SHARDS = 500
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"


def repo_payload(
    repo: Repository, sha: str, *, siblings: bool = False, blobs: bool = False, details: bool = False
) -> dict[str, Any]:
    """The description of a revision; `details` adds what costs reading more files."""
    files = repo.files(sha)
    content = _card(repo, files)
    info = {
        "_id": repo.id,
        "id": repo.id,
        "author": repo.namespace,
        "sha": sha,
        "private": repo.private,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": card_tags.tags(content, repo.kind),
        "cardData": content or None,
        "createdAt": date(repo.created),
        "lastModified": date(repo.commit(sha).commit_time),
        **_OF_KIND[repo.kind](repo, content),
    }
    if blobs:
        info["siblings"] = [sibling(repo.load(path, *where)) for path, where in sorted(files.items())]
    elif siblings:
        info["siblings"] = [{"rfilename": path} for path in sorted(files)]
    if details and repo.kind == "models":
        info |= _model_details(repo, files)
    return info


def expanded_payload(repo: Repository, sha: str, names: list[str]) -> dict[str, Any]:
    """Only the fields asked for by name."""
    allowed = EXPANDABLE[repo.kind].split()
    if unknown := [name for name in names if name not in allowed]:
        raise Refused(400, f"expand {unknown[0][:60]!r} is not a field; use {', '.join(allowed)}")
    info = repo_payload(repo, sha, siblings="siblings" in names, details=True)
    if "usedStorage" in names:
        info["usedStorage"] = stored_bytes(repo)
    if "baseModels" in names and (models := card_tags.texts((info["cardData"] or {}).get("base_model"))):
        info["baseModels"] = {"relation": (info["cardData"] or {}).get("base_model_relation"), "models": models}
    asked_fields = {name: info[name] for name in names if info.get(name) is not None}
    return {"_id": repo.id, "id": repo.id, **({"modelId": repo.id} if repo.kind == "models" else {}), **asked_fields}


def _card(repo: Repository, files: dict[str, tuple[int, str]]) -> dict[str, Any]:
    readme = repo.load("README.md", *files["README.md"]).content if "README.md" in files else b""
    try:
        return card_tags.metadata((readme or b"").decode("utf-8", "replace"))
    except ValueError:
        return {}  # an invalid card hides its metadata and nothing else


def _model(repo: Repository, content: dict[str, Any]) -> dict[str, Any]:
    names = {name: content.get(name) for name in ("library_name", "pipeline_tag")}
    index = content.get("model-index")
    return {"modelId": repo.id, **names, **({"model-index": index} if isinstance(index, list) else {})}


def _dataset(repo: Repository, content: dict[str, Any]) -> dict[str, Any]:
    return {"description": content.get("pretty_name")}


def _space(repo: Repository, content: dict[str, Any]) -> dict[str, Any]:
    sdk = (repo.settings.get("space") or {}).get("sdk") or content.get("sdk")
    linked = {name: card_tags.texts(content.get(name)) for name in ("models", "datasets")}
    return {"sdk": sdk, "subdomain": repo.id.replace("/", "-").lower(), **linked}


_OF_KIND = {"models": _model, "datasets": _dataset, "spaces": _space}


def _model_details(repo: Repository, files: dict[str, tuple[int, str]]) -> dict[str, Any]:
    details = {}
    if config := read_json(repo, files, "config.json"):
        known = ("architectures", "model_type", "auto_map", "quantization_config")
        with contextlib.suppress(ValueError):  # nested too deep to be passed on
            details["config"] = card_tags.as_json({name: config[name] for name in known if name in config})
        if info := _transformers_info(config):
            details["transformersInfo"] = info
    if weights := safetensors(repo, files):
        details["safetensors"] = weights
    return details


def _transformers_info(config: dict[str, Any]) -> dict[str, Any] | None:
    """How transformers loads it: the class of the repository's own code behind the most specific Auto class."""
    mapping = config.get("auto_map")
    if not isinstance(mapping, dict):
        return None
    names = sorted((each for each in mapping if each.startswith("AutoModel")), key=len, reverse=True)
    if not names or not isinstance(mapping[names[0]], str):
        return None
    return {"auto_model": names[0], "custom_class": mapping[names[0]]}


def stored_bytes(repo: Repository) -> int:
    """What it takes on the disk."""
    total = 0
    for at, _, names in os.walk(repo.path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a temporary file, of a commit that goes on meanwhile
                total += os.lstat(os.path.join(at, name)).st_size
    return total


def safetensors(repo: Repository, files: dict[str, tuple[int, str]]) -> dict[str, Any] | None:
    """Parameters of each dtype and in all, from the headers alone."""
    parameters: dict[str, int] = {}
    try:
        for path in [_SINGLE] if _SINGLE in files else shards(repo, files, _INDEX):
            for dtype, count in lfs.tensor_header(repo, repo.load(path, *files[path])).dtypes.items():
                parameters[dtype] = parameters.get(dtype, 0) + count
    except (ValueError, KeyError, OSError):
        return None  # a damaged file hides the count and nothing else
    return {"parameters": parameters, "total": sum(parameters.values())} if parameters else None


def shards(repo: Repository, files: dict[str, tuple[int, str]], index: str) -> list[str]:
    """The weight files that an index names."""
    mapping = (read_json(repo, files, index) or {}).get("weight_map")
    if not isinstance(mapping, dict):
        return []
    directory = index.rpartition("/")[0]
    names = {each for each in mapping.values() if isinstance(each, str)}
    paths = sorted(f"{directory}/{name}".lstrip("/") for name in names)
    return paths[:MAX_SHARDS]


def read_json(repo: Repository, files: dict[str, tuple[int, str]], path: str) -> dict[str, Any] | None:
    """A JSON object of a revision, or None where there is none."""
    entry = repo.load(path, *files[path]) if path in files else None
    if entry is None or entry.content is None or entry.size > MAX_JSON:
        return None
    try:
        with lfs.open_entry(repo, entry) as file:
            content = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def sibling(entry: Entry) -> dict[str, Any]:
    """A file in a description."""
    described = {"rfilename": entry.path, "blobId": entry.oid, "size": entry.size}
    if entry.pointer:
        described["lfs"] = {
            "sha256": entry.pointer.oid,
            "size": entry.size,
            "pointerSize": len(entry.pointer.text()),
        }
    return described
