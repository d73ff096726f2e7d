"""A repository on a Hub, as much of it as is needed to read it: no weights are downloaded and nothing is run."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import hf_hub_url
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, get_session

from pinfold.common.errors import UserError
from pinfold.common.safetensors import header_length
from pinfold.folder.filenames import PICKLES, READ
from pinfold.folder.model_folder import ModelFolder, read_folder
from pinfold.folder.tokenizer_files import TOKENIZER
from pinfold.remote.client import Remote
from pinfold.staging.checkpoint import find_weights
from pinfold.staging.stage import Staged

TEXT = 20_000_000  # bytes of a text file that is still read
HEADER = 25_000_000  # bytes of a safetensors header, the Hub's own limit


@dataclass(frozen=True)
class Snapshot:
    """What a repository holds at a commit.

    Args:
        directory: its text files, safetensors with their header and a hole for the data, pickles as empty files.
        sizes: path -> bytes, of every file.
        unread: files that are too large to be read here.
    """

    directory: Path
    sizes: dict[str, int]
    unread: list[str]


def outline(remote: Remote, sha: str, directory: Path) -> Snapshot:
    """Download what an audit reads.

    Raises:
        UserError: the Hub cannot be reached, or names files that lie outside of the repository.
    """
    with remote.saying("reading the files"):
        entries = list(remote.api.list_repo_tree(remote.repo, revision=sha, recursive=True))
    sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
    for name in sizes:
        if name.startswith("/") or "\\" in name or {"..", ""} & set(name.split("/")):
            raise UserError(f"{remote.repo}: {name!r} is not a valid path in a repository; do not use this repository")
    # a vocabulary is large and nothing in it runs; of a tokenizer the settings are enough
    data = set(TOKENIZER) - {"tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"}
    wanted = [n for n in sizes if n.endswith(READ) and n.rsplit("/", 1)[-1] not in data]
    unread = [name for name in wanted if sizes[name] > TEXT]
    directory.mkdir(parents=True, exist_ok=True)
    with remote.saying("downloading the text files"):
        remote.api.snapshot_download(
            remote.repo,
            revision=sha,
            local_dir=directory,
            allow_patterns=[n for n in wanted if n not in unread] or [" "],
        )
    shutil.rmtree(directory / ".cache", ignore_errors=True)
    for name, size in sizes.items():
        path = directory / name
        if name.endswith(".safetensors"):
            path.parent.mkdir(parents=True, exist_ok=True)
            _header_only(remote, sha, name, size, path)
        elif name.endswith(PICKLES) or (name.rsplit("/", 1)[-1] in data and not path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return Snapshot(directory, sizes, unread)


def _header_only(remote: Remote, sha: str, name: str, size: int, path: Path) -> None:
    """A file of the same size with the same header; its data is a hole that takes no room on the disk."""
    start = _bytes(remote, sha, name, 0, min(size, 100_000))
    if len(start) >= 8:
        length = header_length(start)
        if 8 + length > len(start) and length <= HEADER:
            start += _bytes(remote, sha, name, len(start), min(size, 8 + length))
        start = start[: 8 + length]
    with open(path, "wb") as file:
        file.write(start)
        file.truncate(size)


def _bytes(remote: Remote, sha: str, name: str, first: int, end: int) -> bytes:
    """Bytes ``first`` to ``end`` (without it) of a file, by an HTTP range request."""
    if end <= first:
        return b""
    url = hf_hub_url(remote.repo, name, revision=sha, endpoint=remote.destination.endpoint)
    headers = build_hf_headers(token=remote.destination.token) | {"Range": f"bytes={first}-{end - 1}"}
    with remote.saying(f"reading the header of {name}"):
        answer = get_session().get(url, headers=headers, timeout=60)
        answer.raise_for_status()
        content = answer.content
    return content[: end - first] if answer.status_code == 206 else content[first:end]


def real_files(snapshot: Path, directory: Path) -> Path:
    """A cache's snapshot without its links: the same files in a directory of their own, sharing the disk's blocks."""
    for source in sorted(p for p in snapshot.rglob("*") if p.is_file()):
        target = directory / source.relative_to(snapshot)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source.resolve(), target)
        except OSError:
            shutil.copyfile(source, target)
    return directory


def adopt(directory: Path, folder: ModelFolder | None = None) -> Staged:
    """A directory that was published already, in the form that verification takes.

    Its own auto_map counts, as far as it names classes that are there: that is what its users call.

    Args:
        folder: the code, where it lies in another directory than config.json and the weights.

    Raises:
        UserError: no configuration, no code or no safetensors.
    """
    folder = folder or read_folder(directory)
    path = directory / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        given = dict(config.get("auto_map") or {})
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        raise UserError(
            f"{path} is missing or not a JSON object; give a directory that a push or save_pretrained wrote"
        ) from None
    find_weights(directory)
    places = {auto: value.split("--")[-1] for auto, value in given.items() if isinstance(value, str)}
    auto_map = {auto: place for auto, place in places.items() if place.split(".")[-1] in folder.classes}
    if not any(auto.startswith("AutoModel") for auto in auto_map):
        auto_map = folder.auto_map()
    classes = [place.split(".")[-1] for auto, place in sorted(auto_map.items()) if auto.startswith("AutoModel")]
    named = [name for name in config.get("architectures") or [] if name in classes]
    config["architectures"] = named or classes[-1:]
    code = folder.loaded_modules(auto_map)
    return Staged(directory, folder, auto_map, config, [module.file for module in code], [])
