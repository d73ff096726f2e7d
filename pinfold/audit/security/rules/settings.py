"""What the JSON files of a folder choose: code, places on the disk, names that a library imports; and templates."""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.rules.files import PRIVATE
from pinfold.audit.security.rules.templates import sandbox_escape
from pinfold.audit.security.tables.names import DOTTED, WATCHED_MODULES, acts, canonical
from pinfold.audit.security.tables.secrets import SECRET_PLACES
from pinfold.audit.security.values import printable_excerpt

KERNEL = re.compile(r"^[^/:]+/[^/:]+(?:@[^/:]+)?(?::[^/:]+)?$")  # what transformers takes for a repository of kernels
RUNS_CODE = ("trust_remote_code", "_attn_implementation_internal")
MOST_ENTRIES = 200_000
MOST_FINDINGS = 200  # of one file
LONGEST_VALUE = 500  # characters of a text that can be a place or a name
LONGEST_PROGRAM = 20_000
# Calls that act, in a text that is a program; and the first letters of a pickle in base64.
ACTS = re.compile(
    r"\b(?:__import__|exec|eval|compile|open)\s*\(|\b(?:os|posix)\s*\.\s*(?:system|popen|exec|spawn|remove|environ)"
    r"|\b(?:subprocess|socket|shutil|ctypes|importlib|urllib)\s*\."
)
PICKLE = re.compile(r"gA[IMQRSTU][A-Za-z0-9+/_-]{12,}={0,2}$")
CACHES = re.compile(r"cache[/\\]huggingface(?![/\\](?:token|stored_tokens))")
# Where a library writes down from where something was loaded or saved; nobody opens these.
REMEMBERED = frozenset("_name_or_path name_or_path".split())
# What sentence-transformers and diffusers import by the names in their settings, these aside.
OWN_LIBRARIES = ("sentence_transformers.", "torch.", "transformers.", "diffusers.", "pylate.", "timm.", "peft.")
IMPORTED_KEYS = frozenset(
    "activation_function activation_fn sbert_ce_default_activation_function module_class tokenizer_class_path "
    "similarity_fn loss_class _target_".split()
)
Effect: TypeAlias = tuple[str, str]  # what a key does, in words, and the severity


def setting_findings(
    configs: Mapping[str, object], top: bool, text_of: Callable[[str], str] = lambda file: ""
) -> Iterator[Finding]:
    """Keys that choose code, and values that lead out of the folder.

    Args:
        configs: file name -> its parsed JSON.
        top: leave the own keys of a file that P03 and P05 name to them.
        text_of: the text of such a file, for the number of a line.
    """
    for file, config in configs.items():
        for name, finding in itertools.islice(_of_config(file, config, top), MOST_FINDINGS):
            yield _with_line(finding, name, text_of(file))


def _with_line(finding: Finding, word: str, text: str) -> Finding:
    """The same with the line on which a key or a value is written first."""
    position = text.find(json.dumps(word))
    if position < 0:
        position = text.find(json.dumps(word, ensure_ascii=False))
    if position < 0:
        return finding
    line = text.count("\n", 0, position) + 1
    sentence = f"{finding.file}:{line}{finding.sentence.removeprefix(finding.file)}"
    return replace(finding, line=line, sentence=sentence)


def _of_config(file: str, config: object, top: bool) -> Iterator[tuple[str, Finding]]:
    """(key or value, finding) of one file."""
    yield from _of_file(file, config)
    queue: list[tuple[str, object, bool]] = [("", config, top)]
    for _ in range(MOST_ENTRIES):
        if not queue:
            break
        path, value, own = queue.pop()
        if isinstance(value, str):
            yield from _text_findings(file, path, value)
        if isinstance(value, list):
            queue += [(path, item, False) for item in value if isinstance(item, (dict, list, str))]
        if not isinstance(value, dict):
            continue
        for key, inner in value.items():
            key_path = f"{path}.{key}" if path else str(key)
            if effect := _effect(str(key), inner, own and file != "generation_config.json"):
                words, severity = effect
                sentence = f"{file}: {printable_excerpt(key_path)} {words}"
                yield inner if isinstance(inner, str) else str(key), Finding("S14", sentence, file, severity=severity)
            if isinstance(inner, (dict, list, str)):
                queue.append((key_path, inner, False))


def _text_findings(file: str, path: str, value: str) -> Iterator[tuple[str, Finding]]:
    """A value that is the place of a secret, a place outside the folder, or the name of something dangerous."""
    key = path.rpartition(".")[2]
    if key not in ("chat_template", "template") and len(value) <= LONGEST_PROGRAM and (what := _hidden_in(value)):
        words = f'= "{printable_excerpt(value)}" is {what}, which code may run.'
        yield value, Finding("S14", f"{file}: {printable_excerpt(path)} {words}", file, severity=WARNING)
    if len(value) > LONGEST_VALUE or key in ("chat_template", "template"):
        return
    place = f"{file}: {printable_excerpt(path)}"
    if SECRET_PLACES.search(value) and not CACHES.search(value):
        words = f'= "{printable_excerpt(value)}" is where passwords or keys are kept.'
        yield value, Finding("S08", f"{place} {words}", file)
    elif PRIVATE.match(value) and key not in REMEMBERED:
        words = f'= "{printable_excerpt(value)}" leads to files outside its folder.'
        yield value, Finding("S08", f"{place} {words}", file, severity=WARNING)
    if DOTTED.match(value) and acts(value):
        words = (
            f'= "{printable_excerpt(value)}" is the name of something that acts: a library that imports it runs it.'
        )
        yield value, Finding("S14", f"{place} {words}", file)


def _hidden_in(value: str) -> str:
    """What a text holds that does something when code runs it; "" for any other."""
    if PICKLE.match(value):
        return "a pickle"
    if not ACTS.search(value):
        return ""
    try:
        ast.parse(value.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    return "a program"


def _of_file(file: str, config: object) -> Iterator[tuple[str, Finding]]:
    """Classes that a library imports by the names in a file of its own."""
    name = file.rpartition("/")[2]
    imported: list[str] = []
    if name == "modules.json" and isinstance(config, list):
        imported = [str(each.get("type")) for each in config if isinstance(each, dict)]
    if name == "router_config.json" and isinstance(config, dict) and isinstance(config.get("types"), dict):
        imported = [str(each) for each in config["types"].values()]
    if name == "model_index.json" and isinstance(config, dict):
        pairs = [v for v in config.values() if isinstance(v, list) and len(v) == 2 and isinstance(v[0], str)]
        imported = [f"{library}.{cls}" for library, cls in pairs]
    for each in dict.fromkeys(imported):
        if effect := _import_by_name(each):
            words, severity = effect
            written = each if name != "model_index.json" else each.rpartition(".")[0]
            yield written, Finding("S14", f"{file}: {words}", file, severity=severity)


def _import_by_name(name: str, installed: bool = False) -> Effect | None:
    """A class that a library imports; one of two parts may be of a file beside it, which the report lists.

    Args:
        installed: it is taken from installed packages only.
    """
    module = name.replace(":", ".").rpartition(".")[0]
    if not module or name.startswith(OWN_LIBRARIES):
        return None
    severe = acts(name) or canonical(module) in WATCHED_MODULES or module.split(".")[0] in WATCHED_MODULES
    if not severe and not installed and name.count(".") == 1:
        return None
    return f'"{printable_excerpt(name)}" makes a library import that by name.', ERROR if severe else WARNING


def _effect(key: str, value: object, top: bool) -> Effect | None:
    """What a key does with this value; ``top``: it is one of the file's own keys."""
    if key in RUNS_CODE and not top:
        return "decides for the user which code is run.", ERROR
    if key in IMPORTED_KEYS and isinstance(value, str) and DOTTED.match(value):
        return _import_by_name(value, installed=True)
    if key not in EFFECTS or (key == "auto_map" and top):
        return None
    return EFFECTS[key](value)


def _kernel(value: object) -> Effect | None:
    for name in value.values() if isinstance(value, dict) else [value]:
        if isinstance(name, str) and KERNEL.match(name):
            return f'= "{printable_excerpt(name)}" downloads a compiled kernel from there and runs it.', ERROR
    return None


def _auto_map(value: object) -> Effect | None:
    for name in value.values() if isinstance(value, dict) else []:
        for each in name if isinstance(name, list) else [name]:
            if isinstance(each, str) and "--" in each:
                return f'= "{printable_excerpt(each)}" runs code of another repository.', ERROR
    return None


def _pipelines(value: object) -> Effect | None:
    if not isinstance(value, dict) or not value:
        return None
    if "--" in str([v.get("impl") for v in value.values() if isinstance(v, dict)])[:2000]:
        return "makes pipeline() run code of another repository.", ERROR
    return "makes pipeline() run classes of this folder.", WARNING


def _template(value: object) -> Effect | None:
    if isinstance(value, str) and (match := sandbox_escape(value)):
        return f'holds "{printable_excerpt(match[1])}", with which a template breaks out of its sandbox.', ERROR
    return None


def _adapter_library(value: object) -> Effect | None:
    library = str(value.get("parent_library") or "transformers") if isinstance(value, dict) else "transformers"
    if library.split(".")[0] in ("transformers", "transformers_modules"):
        return None
    return f'= "{printable_excerpt(library)}" makes peft import that package by name.', ERROR


def _megatron(value: object) -> Effect | None:
    if not isinstance(value, str) or not value or value.startswith("megatron.core"):
        return None
    return f'= "{printable_excerpt(value)}" makes peft import that package by name.', ERROR


def _adapter_base(value: object) -> Effect | None:
    if not isinstance(value, str) or not value:
        return None
    return f'= "{printable_excerpt(value)}" makes from_pretrained load that repository instead.', WARNING


EFFECTS: dict[str, Callable[[object], Effect | None]] = {
    "attn_implementation": _kernel,
    "_attn_implementation": _kernel,
    "_attn_implementation_internal": _kernel,
    "experts_implementation": _kernel,
    "_experts_implementation": _kernel,
    "auto_map": _auto_map,
    "custom_pipelines": _pipelines,
    "chat_template": _template,
    "template": _template,
    "auto_mapping": _adapter_library,
    "megatron_core": _megatron,
    "base_model_name_or_path": _adapter_base,
}


def template_files(directory: Path) -> Iterator[Finding]:
    """Templates beside the settings, which transformers reads and runs."""
    for path in sorted([*directory.glob("*.jinja"), *directory.glob("additional_chat_templates/*.jinja")]):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                text = file.read(1 << 20)
        except OSError:
            continue
        if match := sandbox_escape(text):
            line = text.count("\n", 0, match[0]) + 1
            what = f'holds "{printable_excerpt(match[1])}", with which a template breaks out of its sandbox.'
            yield Finding("S14", f"{path.name}:{line}: {what}", path.name, line)
