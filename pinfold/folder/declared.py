"""What the settings of a repository say that a load runs: its auto_map tables, in the files where transformers looks.

An Auto class reads one file after the other (transformers.models.auto, 4.48 to 5.24): AutoConfig and the models
config.json; a tokenizer its own file, then config.json; a processor and its parts their own files, in which
transformers 5 also keeps the settings of the parts, each with an auto_map of its own.
"""

import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from pinfold.folder.filenames import PREPROCESSING
from pinfold.folder.tokenizer_files import TOKENIZER_CONFIG

LARGEST = 10_000_000  # bytes of a file of settings
DEEPEST = 20  # levels of nesting; a processor has two
CONFIG = "config.json"
# The parts of a processor: the Auto class, the file of its own, and its name in processor_config.json.
PARTS = {
    "AutoImageProcessor": ("preprocessor_config.json", "image_processor"),
    "AutoFeatureExtractor": ("preprocessor_config.json", "feature_extractor"),
    "AutoVideoProcessor": ("video_preprocessor_config.json", "video_processor"),
}
PROCESSOR = "processor_config.json"


def declared_entries(directory: Path) -> dict[str, str]:
    """Auto class -> "module.Class", as the settings in a directory declare it, without the repository's name.

    What cannot be read declares nothing: the audit says what is wrong with it.
    """
    entries: dict[str, str] = {}
    for name in (CONFIG, TOKENIZER_CONFIG, PROCESSOR, *PREPROCESSING):
        settings = _read(directory / name)
        for auto, value in _tables(settings, everywhere=name != CONFIG):
            entry = _entry(value)
            if entry and _looks_there(auto, name):
                entries.setdefault(auto, entry)
    return entries


def declared_pipelines(directory: Path) -> dict[str, str]:
    """Task -> "module.Class" of the pipelines that config.json brings along, without the repository's name."""
    settings = _read(directory / CONFIG)
    pipelines = settings.get("custom_pipelines") if isinstance(settings, dict) else None
    entries: dict[str, str] = {}
    for task, pipeline in pipelines.items() if isinstance(pipelines, dict) else ():
        if entry := _entry(pipeline.get("impl") if isinstance(pipeline, dict) else None):
            entries[str(task)] = entry
    return entries


def is_declared(configs: dict[str, dict], auto: str) -> bool:
    """Whether any file in which an Auto class looks has an entry for it.

    Args:
        configs: the JSON files that are there, by name.
    """
    return any(
        auto == declared
        for name, settings in configs.items()
        for declared, value in _tables(settings, everywhere=name != CONFIG)
        if value is not None
    )


def settings_file(configs: dict[str, dict], auto: str) -> tuple[str, str]:
    """(file, part of it) in which an Auto class looks first, of those that are there; the part is "" for the whole."""
    if auto in PARTS:
        own, part = PARTS[auto]
        if own in configs:
            return own, ""
        if isinstance(configs.get(PROCESSOR, {}).get(part), dict):
            return PROCESSOR, part
    if auto == "AutoProcessor":
        for name in (PROCESSOR, *PREPROCESSING):
            if name in configs:
                return name, ""
    if auto == "AutoTokenizer" and TOKENIZER_CONFIG in configs:
        return TOKENIZER_CONFIG, ""
    return CONFIG, ""


def _looks_there(auto: str, file: str) -> bool:
    """Whether an entry in a file is one that this Auto class finds."""
    is_model = auto in ("AutoConfig", "AutoBackbone") or auto.startswith("AutoModel")
    return file == CONFIG if is_model else True


def _tables(settings: object, everywhere: bool) -> Iterator[tuple[str, object]]:
    """Entries of auto_map tables: of the file, or also of the parts in it."""
    pending: deque[tuple[object, int]] = deque([(settings, 0)])
    while pending:
        value, depth = pending.popleft()
        if not isinstance(value, dict) or depth > DEEPEST:
            continue
        table = value.get("auto_map")
        if isinstance(table, dict):
            yield from ((str(auto), entry) for auto, entry in table.items())
        if everywhere:
            pending += [(part, depth + 1) for key, part in value.items() if key != "auto_map"]


def _entry(value: object) -> str | None:
    """The "module.Class" of an entry; of a tokenizer's pair the fast one, which is loaded where it is there."""
    values = value[::-1] if isinstance(value, list) else [value]
    text = next((each for each in values if isinstance(each, str)), None)
    if text is None:
        return None
    place = text.rpartition("--")[2]
    module, _, name = place.partition(".")
    return place if module.isidentifier() and name.isidentifier() else None


def _read(path: Path) -> object:
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
