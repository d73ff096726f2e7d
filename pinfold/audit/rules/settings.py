"""Rules about JSON files: which code they name, and what they say about it (P01-P05, P20, P22)."""

import ast
import re
from collections.abc import Iterator

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, string
from pinfold.common.errors import printable
from pinfold.common.safetensors import DTYPES, Tensor
from pinfold.common.trees import walk
from pinfold.folder import releases
from pinfold.folder.declared import PARTS, PROCESSOR, is_declared, settings_file
from pinfold.folder.model_folder import ModelFolder
from pinfold.folder.tokenizer_files import TOKENIZER, portable_tokenizer

FORBIDDEN_KEYS = ("trust_remote_code", "_attn_implementation_internal")


def auto_map(config: dict) -> dict:
    """The entries of a file's auto_map; none where it is not a table."""
    table = config.get("auto_map")
    return table if isinstance(table, dict) else {}


def entries(auto: str, value: object) -> list:
    """The places that an entry names: AutoTokenizer's is a pair, slow and fast, one of which may be null."""
    if auto == "AutoTokenizer" and isinstance(value, list) and len(value) == 2:
        return [entry for entry in value if entry is not None]
    return [value]


def missing_entries(configs: dict, folder: ModelFolder, code_from: str | None) -> Iterator[Finding]:
    """P01: classes that no entry names.

    What the folder is, by its "architectures", has to be reached for a load. The Auto class of a further one raises
    beside an entry that leads to a model, and the model that is offered loads: no release is forecast to fail.
    """
    prefix = f"{code_from}--" if code_from else ""
    for auto, place in folder.auto_map().items():
        if is_declared(configs, auto):
            continue
        module, cls = place.split(".")
        file, part = settings_file(configs, auto)
        if part:
            file_and_part, cure = f"{file}: {part}", f'Add "auto_map": {{"{auto}": "{prefix}{place}"}} to it'
        else:
            file_and_part, cure = file, f'Add "{auto}": "{prefix}{place}"'
        if file != "config.json":
            cure += f", or call {cls}.register_for_auto_class() in {module}.py and save it again"
        beside = auto.startswith("AutoModel") and _reaches_its_model(configs.get("config.json", {}), cls, folder)
        yield Finding(
            "P01",
            f'{file_and_part}: auto_map has no "{auto}" entry although {module}.py defines {cls}. Users calling '
            f'{auto}.from_pretrained will get "Unrecognized configuration class". {cure}.',
            file,
            case="P01.further_class" if beside else "" if auto.startswith(("AutoModel", "AutoConfig")) else "P01.part",
        )


def _reaches_its_model(config: dict, cls: str, folder: ModelFolder) -> bool:
    """Whether entries lead to a model of the folder, and to the class where "architectures" names it."""
    places = [place for auto, place in auto_map(config).items() if auto.startswith("AutoModel")]
    reached = {place.split(".")[-1] for place in places if not _why(place, folder)}
    named = config.get("architectures")
    return bool(reached) and (cls in reached or not isinstance(named, list) or cls not in named)


def check_entries(configs: dict, folder: ModelFolder | None, code_from: str | None) -> Iterator[Finding]:
    """P02 and P03: entries that lead nowhere, or elsewhere."""
    for file, config in configs.items():
        if "auto_map" in config and not isinstance(config["auto_map"], dict):
            why = 'must be a table such as {"AutoModel": "file.Class"}'
            yield Finding("P02", f"{file}: auto_map = {_short(config['auto_map'])} — {why}.", file)
        for auto, value in auto_map(config).items():
            for entry in entries(auto, value):
                repo, _, place = entry.rpartition("--") if isinstance(entry, str) else ("", "", entry)
                if repo and repo != code_from:
                    yield Finding(
                        "P03",
                        f'{file}: auto_map["{_one_line(auto)}"] points to another repository ({_one_line(repo)}). A '
                        f"pinned revision= does not pin that code. Copy the files here and drop "
                        f'"{_one_line(repo)}--".',
                        file,
                    )
                elif code_from and not repo and isinstance(entry, str):
                    yield _wrong(file, auto, entry, f'no such file here; the code is in "{code_from}--"')
                elif nested := _nested(place, folder):
                    yield nested
                elif fault := _why(place, folder):
                    yield _wrong(file, auto, entry, fault)


def _wrong(file: str, auto: str, entry: object, why: str) -> Finding:
    shown = _one_line(entry) if isinstance(entry, str) else _short(entry)
    return Finding("P02", f'{file}: auto_map["{_one_line(auto)}"] = "{shown}" — {why}.', file)


def _why(place: object, folder: ModelFolder | None) -> str | None:
    if not isinstance(place, str) or not re.fullmatch(r"\w+\.\w+", place):
        return 'must be "file.Class", not a list or a path'
    module, cls = place.split(".")
    if folder is None or module not in folder.modules:
        return "no such file"
    known = {n for n in folder.modules[module].imports} | {
        c for c, (m, _) in folder.classes.items() if m.name == module
    }
    return None if cls in known or _defines(folder, module, cls) else "no such class"


def _defines(folder: ModelFolder, module: str, cls: str) -> bool:
    """Whether the class is somewhere in the file, inside of something else too."""
    tree = folder.modules[module].tree
    return any(isinstance(n, ast.ClassDef) and n.name == cls for n in walk(tree))


def _nested(place: object, folder: ModelFolder | None) -> Finding | None:
    """ "folder/file.Class" is right where a checkout keeps its model folders in subfolders, from 4.57 on."""
    match = re.fullmatch(r"((?:\w+/)+)(\w+)\.(\w+)", place) if isinstance(place, str) else None
    if not match or folder is None or any(folder.kind(name) for name in folder.classes):
        return None
    if not (folder.path / match[1] / f"{match[2]}.py").is_file():
        return None
    words = f'config.json: "{place}" is only found by transformers 4.57 and later. A published folder is flat.'
    return Finding("P02", words, "config.json", severity=WARNING)


def model_type(configs: dict, code: ReachableCode | None) -> Iterator[Finding]:
    """P04: the name of an architecture that transformers has itself."""
    config = configs.get("config.json")
    places = {"config.json": config.get("model_type")} if config is not None else {}
    if config is not None and not isinstance(places["config.json"], (str, type(None))):
        shown = _short(places["config.json"])
        yield Finding("P04", f'model_type {shown} is not a name. Use one such as "custom-model".', "config.json")
        return
    if code is not None:
        for cls in code.config_classes:
            given = string(code.folder.attribute(cls, "model_type"))
            if given and given not in places.values() and cls == code.auto_map.get("AutoConfig", "").split(".")[-1]:
                places[code.folder.classes[cls][0].file] = given
    for file, kind in places.items():
        if kind in releases.model_types():
            yield Finding(
                "P04",
                f'model_type "{kind}" is a built-in transformers type. Without trust_remote_code, users silently get '
                f'the stock model with random weights. Use "custom-{kind}".',
                file,
            )


def parts_of_processors(configs: dict, lowest: tuple[int, int]) -> Iterator[Finding]:
    """P27: parts of a processor that transformers 5 keeps in processor_config.json, where 4.x does not look."""
    processor = configs.get(PROCESSOR, {})
    for auto, (own, part) in PARTS.items() if lowest < (5, 0) else ():
        if isinstance(processor.get(part), dict):
            yield Finding(
                "P27",
                f"{PROCESSOR}: holds the settings of the {part}, as transformers 5 saves them; {auto} of transformers "
                f"4 looks for {own}.",
                PROCESSOR,
                fix=f"Move {part} out of it into {own}, which both read; pinfold push does that.",
            )


def forbidden_keys(configs: dict) -> Iterator[Finding]:
    """P05: keys that choose code, at any depth."""
    for file, config in configs.items():
        present: set[str] = set()
        pending: list[object] = [config]
        while pending:
            value = pending.pop()
            if isinstance(value, dict):
                present |= {key for key in FORBIDDEN_KEYS if key in value}
                pending += value.values()
            elif isinstance(value, list):
                pending += value
        for key in sorted(present):
            yield Finding(
                "P05",
                f'{file} must not contain "{key}" (trust_remote_code, _attn_implementation_internal): it can '
                "change what code is run.",
                file,
            )


def dtype(config: dict, tensors: list[Tensor]) -> Iterator[Finding]:
    """P20: a dtype in config.json that the tensors do not have."""
    stored = {DTYPES[tensor.dtype] for tensor in tensors if tensor.dtype in DTYPES}
    for key in ("torch_dtype", "dtype"):
        given = config.get(key)
        name = given.removeprefix("torch.") if isinstance(given, str) else given
        if isinstance(given, (dict, list)):  # one for each part of a composite model
            continue
        if given is None or not stored or name in stored or name == "auto" or "quantization_config" in config:
            continue
        are = " and ".join(sorted(stored))
        shown = _one_line(given) if isinstance(given, str) else _short(given)
        yield Finding(
            "P20",
            f"config.json {key} is {shown} but tensors are {are}: transformers 5 would load {shown}.",
            "config.json",
        )


def tokenizer(configs: dict, files: set[str], lowest: tuple[int, int], custom: bool) -> Iterator[Finding]:
    """P22 and P22b: a tokenizer that some release does not find."""
    config = configs.get("config.json")
    saved = configs.get("tokenizer_config.json", {})
    if (
        custom
        and config is not None
        and not config.get("tokenizer_class")
        and files & (set(TOKENIZER) - {"vocab.json"})
    ):
        yield Finding(
            "P22",
            "config.json has no tokenizer_class but tokenizer files are present: pipeline() fails in transformers "
            f"{releases.release_ranges(harmed('P22.no_class'))}.",
            "config.json",
            fix=f'Add "tokenizer_class": "{_one_line(str(_portable_class(saved)))}".',
        )
    if lowest >= (5, 0):
        return
    for file, value in configs.items():
        if value.get("tokenizer_class") == "TokenizersBackend":
            yield Finding(
                "P22b",
                f'tokenizer_class "TokenizersBackend" exists only in transformers 5; use PreTrainedTokenizerFast. '
                f"({file})",
                file,
            )
    if isinstance(saved.get("extra_special_tokens"), list):
        yield Finding(
            "P22b",
            "tokenizer_config.json: extra_special_tokens is a list, which transformers 4 cannot read; use "
            "additional_special_tokens.",
            "tokenizer_config.json",
        )


def _portable_class(saved: dict) -> object:
    """The tokenizer's class under a name that every release knows."""
    return portable_tokenizer(saved).get("tokenizer_class") or "PreTrainedTokenizerFast"


def _short(value: object) -> str:
    """Any JSON value, in a few characters and on one line."""
    return _one_line(
        f"a {type(value).__name__}" if isinstance(value, (dict, list)) and len(value) > 5 else f"{value!r:.80}"
    )


def _one_line(text: object) -> str:
    return printable(" ".join(str(text)[:200].split()))
