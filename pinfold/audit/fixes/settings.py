"""Fixes of JSON files, at their top-level keys: auto_map, ties, dtype, and tokenizer classes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version

from pinfold.audit.fixes.files import Fix, read
from pinfold.audit.json_text import JsonText
from pinfold.audit.reachable import string
from pinfold.audit.rules.weights import stored_apart
from pinfold.common.errors import UserError
from pinfold.common.safetensors import DTYPES, read_tensors
from pinfold.folder.declared import is_declared, settings_file
from pinfold.folder.filenames import PREPROCESSING
from pinfold.folder.model_folder import ModelFolder, read_text
from pinfold.folder.releases import lowest_version
from pinfold.folder.tokenizer_files import TOKENIZER, portable_tokenizer

SETTINGS = 10_000_000  # bytes of a JSON file


def settings(directory: Path, folder: ModelFolder) -> Iterator[Fix]:
    """The changes to JSON files."""
    texts: dict[str, JsonText] = {}
    for name in ("config.json", "tokenizer_config.json", *PREPROCESSING):
        with contextlib.suppress(OSError, ValueError, RecursionError, UserError):  # the audit says what is wrong
            read_text(directory / name, directory, SETTINGS, "")
            texts[name] = JsonText(read(directory / name))
    codes: dict[str, set[str]] = {name: set() for name in texts}
    if "config.json" in texts:
        for name, cured in _auto_map(texts, folder).items():
            codes[name] |= cured
        codes["config.json"] |= _ties(texts["config.json"], folder, directory)
        codes["config.json"] |= _dtype(texts["config.json"], directory)
        codes["config.json"] |= _tokenizer_class(texts, directory)
    if Version(lowest_version(folder)) < Version("5.0"):
        for name, text in texts.items():
            keys = text.value if name == "tokenizer_config.json" else {"tokenizer_class"}
            tokenizer = {key: text.value[key] for key in keys if key in text.value}
            portable = portable_tokenizer(tokenizer)
            for key in [key for key in tokenizer if key not in portable]:
                text.remove(key)
            for key, value in portable.items():
                if value != text.value.get(key):
                    text.set(key, value)
            codes[name] |= {"P22b"} if portable != tokenizer else set()
    for name, text in texts.items():
        yield Fix(directory / name, text.before, text.text, sorted(codes[name]))


def _auto_map(texts: dict[str, JsonText], folder: ModelFolder) -> dict[str, set[str]]:
    """P01 and P02: an entry for each class of the folder, in the file in which its Auto class looks.

    Code in another repository stays there.

    Returns:
        File -> the codes that are cured in it.
    """
    config = texts["config.json"]
    existing = config.value.get("auto_map")
    entries = dict(existing) if isinstance(existing, dict) else {}
    if any("--" in str(place) for place in entries.values()):
        return {}
    codes: dict[str, set[str]] = {}
    for auto, place in folder.auto_map().items() if folder.modules else ():
        right: object = place
        if auto == "AutoTokenizer":
            right = [None, place] if "Fast" in place else [place, None]
        if auto in entries and not _leads_somewhere(entries[auto], auto, folder):
            _set_entry(config, "", auto, right)
            codes.setdefault("config.json", set()).add("P02")
        elif not is_declared({name: text.value for name, text in texts.items()}, auto):
            file, part = settings_file({name: text.value for name, text in texts.items()}, auto)
            _set_entry(texts[file], part, auto, right)
            codes.setdefault(file, set()).add("P01")
    return codes


def _set_entry(text: JsonText, part: str, auto: str, entry: object) -> None:
    """One entry of the auto_map of a file, or of a part in it."""
    settings = text.value[part] if part else text.value
    table = settings.get("auto_map")
    table = {**(table if isinstance(table, dict) else {}), auto: entry}
    if part:
        text.set(part, {**settings, "auto_map": table})
    else:
        text.set("auto_map", table)


def _leads_somewhere(value: object, auto: str, folder: ModelFolder) -> bool:
    places = [value]
    if auto == "AutoTokenizer" and isinstance(value, list) and len(value) == 2 and any(value):
        places = [place for place in value if place is not None]
    for place in places:
        module, _, cls = place.partition(".") if isinstance(place, str) else ("", "", "")
        if module not in folder.modules:
            return False
        if cls not in folder.modules[module].imports and (
            cls not in folder.classes or folder.classes[cls][0].name != module
        ):
            return False
    return True


def _ties(config: JsonText, folder: ModelFolder, directory: Path) -> set[str]:
    """P11b: what transformers 4 takes for granted and 5 does not; false where the file has a head of its own."""
    tied = [keys for name in folder.classes if (keys := folder.attribute(name, "_tied_weights_keys")) is not None]
    configs = [name for name in folder.classes if folder.kind(name) == "config"]
    says = any("tie_word_embeddings" in folder.classes[name][0].source for name in configs)
    if not tied or says or any(map(folder.is_stock, configs)) or "tie_word_embeddings" in config.value:
        return set()
    targets = [string(node) for keys in tied for node in getattr(keys, "keys", getattr(keys, "elts", ()))]
    config.set("tie_word_embeddings", not any(target and stored_apart(directory, target) for target in targets))
    return {"P11b"}


def _dtype(config: JsonText, directory: Path) -> set[str]:
    """P20: the dtype that all tensors have, under the name that all releases read."""
    declared = [config.value[key] for key in ("torch_dtype", "dtype") if config.value.get(key) is not None]
    if not declared or "quantization_config" in config.value or not all(isinstance(name, str) for name in declared):
        return set()
    weights = [p for p in sorted(directory.glob("*.safetensors")) if p.is_file()]
    try:
        stored = {DTYPES.get(tensor.dtype) for tensor in read_tensors(weights)} - {None}
    except UserError:  # the audit says what is wrong with them
        return set()
    if len(stored) != 1 or (declared[0] in ("auto", *stored) and "dtype" not in config.value):
        return set()
    config.remove("dtype")
    config.set("torch_dtype", stored.pop())
    return {"P20"}


def _tokenizer_class(texts: dict[str, JsonText], directory: Path) -> set[str]:
    """P22: what tokenizer_config.json says, or the class that reads any tokenizer.json."""
    config = texts["config.json"]
    files = {path.name for path in directory.iterdir()}
    if config.value.get("tokenizer_class") or not files & (set(TOKENIZER) - {"vocab.json"}):
        return set()
    saved = texts["tokenizer_config.json"].value if "tokenizer_config.json" in texts else {}
    name = portable_tokenizer(saved).get("tokenizer_class")
    name = name or ("PreTrainedTokenizerFast" if "tokenizer.json" in files else None)
    if not isinstance(name, str):
        return set()
    config.set("tokenizer_class", name)
    return {"P22"}
