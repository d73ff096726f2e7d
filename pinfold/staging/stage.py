"""Stage a push: a directory with the files exactly as they will be on the Hub, README.md apart.

How it works:
- Only recognised files are staged; everything else in the checkpoint is listed as left out, with the reason.
- config.json gets the auto_map that the checkpoint's settings declare, and an entry for every other class that the
  folder registers.
- Code is the closure of the registered classes' files, and its configuration file carries a digest of all of it.
- The same folder and checkpoint give the same bytes, so that a second push finds nothing to do.
"""

import ast
import json
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote

from packaging.version import Version

from pinfold.common.errors import UserError
from pinfold.common.files import cached_sha256, read_json, sha256_of_file, write_json
from pinfold.common.safetensors import DTYPES, read_header, read_tensors
from pinfold.folder import sentence
from pinfold.folder.contents import describes_model, has_tokenizer
from pinfold.folder.data_files import vocabulary_files
from pinfold.folder.declared import PARTS, PROCESSOR, declared_entries, declared_pipelines
from pinfold.folder.filenames import (
    GENERATE,
    INDEX,
    MANIFEST,
    PAPERS,
    PICKLES,
    PICTURES,
    PREPROCESSING,
    SENTENCE_FILES,
    WEIGHTS,
)
from pinfold.folder.model_folder import DIGEST_LINE, ModelFolder, Module, code_digest, read_modules
from pinfold.folder.outputs import auto_of_outputs, inputs_of
from pinfold.folder.releases import lowest_version
from pinfold.folder.tokenizer_files import TOKENIZER, TOKENIZER_CONFIG, portable_tokenizer
from pinfold.staging.checkpoint import CodeFrom, _check_type, find_weights, parse_size, read_config
from pinfold.staging.included import stage_included
from pinfold.staging.weights import _stage_weights

PLAIN_INPUTS = ("input_ids", "attention_mask")  # what transformers 5 gives where a tokenizer does not say


@dataclass
class Staged:
    """What will be uploaded, and what will not.

    Args:
        code: names of the code's files. left_out: (name, reason) of what stays here.
        included: (path, bytes) of the files that card.md lists.
        code_from: the repository that holds the code, where it is not published with the weights.
    """

    directory: Path
    folder: ModelFolder
    auto_map: dict[str, str]
    config: dict
    code: list[str]
    left_out: list[tuple[str, str]]
    included: list[tuple[str, int]] = field(default_factory=list)
    code_from: CodeFrom | None = None

    def qualified_entry(self, entry: str) -> str:
        """An auto_map entry as it is published: with the repository that holds the code, where that is another."""
        return f"{self.code_from.repo}--{entry}" if self.code_from else entry

    def check_unchanged(self) -> None:
        """Compare the staged files with the manifest: the folder's own code was run since.

        Raises:
            UserError: a file has changed.
        """
        listed = json.loads((self.directory / MANIFEST).read_text(encoding="utf-8"))["files"]
        changed = [name for name, hash_ in listed.items() if sha256_of_file(self.directory / name) != hash_]
        if changed or set(self.files) - set(listed) - {MANIFEST}:
            raise UserError(f"staged files changed while they were verified ({', '.join(changed[:3])}); run it again")

    @property
    def files(self) -> list[str]:
        """Every staged file but the card, relative, sorted."""
        names = (p.relative_to(self.directory).as_posix() for p in self.directory.rglob("*") if p.is_file())
        return sorted(name for name in names if name != "README.md")

    @property
    def weights(self) -> list[Path]:
        """The safetensors files."""
        return sorted(self.directory.glob("*.safetensors"))

    @property
    def tokenizer_only(self) -> bool:
        """Whether there is no model in it."""
        return not describes_model(self.directory)

    @property
    def architecture(self) -> str:
        """The class that the checkpoint was saved from; of a tokenizer alone, its own."""
        return self.config["architectures"][0]


def stage(
    folder: ModelFolder,
    checkpoint: Path,
    directory: Path,
    max_shard_size: str = "5GB",
    code_from: CodeFrom | None = None,
    words: Path | None = None,
) -> Staged:
    """Fill an empty directory with everything that will be uploaded, README.md apart.

    Args:
        code_from: the repository that ``folder`` was downloaded from; no code is staged then.
        words: where card.md and its pictures are; the folder by default.

    Raises:
        UserError: the checkpoint has no configuration or no safetensors weights.
    """
    config = read_config(checkpoint)
    folder = replace(
        folder,
        declared={**folder.declared, **declared_entries(checkpoint)},
        pipelines={**folder.pipelines, **declared_pipelines(checkpoint)},
        sentence_classes=sorted({*folder.sentence_classes, *sentence.own_classes(checkpoint)}),
    )
    _check_pipelines(folder, checkpoint)
    auto_map = folder.auto_map()
    _check_type(config, folder, checkpoint / "config.json")
    weights = find_weights(checkpoint)
    _stage_weights(weights, directory, parse_size(max_shard_size))
    if code_from:
        code = sorted(module.file for module in folder.loaded_modules(auto_map))
    else:
        code = _stage_code(folder, auto_map, directory)
    staged = Staged(directory, folder, auto_map, config, code, [], code_from=code_from)
    _stage_preprocessing(staged, checkpoint)
    if not code_from:
        _stage_custom_generate(staged, checkpoint)
    _stage_sentence_modules(checkpoint, directory)
    write_json(directory / "config.json", _published_config(staged, checkpoint))
    _stage_pictures(words or folder.path, directory)
    staged.included = stage_included(words or folder.path, checkpoint, directory)
    staged.left_out = _left_out(staged, checkpoint, {p.name for p in weights})
    write_manifest(staged)
    return staged


def stage_tokenizer(directory: Path, checkpoint: Path) -> Staged:
    """Fill an empty directory with a tokenizer and nothing else.

    Raises:
        UserError: it has code of its own, which is published with a model.
    """
    if code := sorted(path.name for path in checkpoint.glob("*.py")):
        raise UserError(
            f"{checkpoint} holds code ({', '.join(code[:3])}); publish a tokenizer that needs it with its model: "
            "pinfold push MODEL_FOLDER --checkpoint DIR"
        )
    staged = Staged(directory, ModelFolder(checkpoint, {}), {}, {}, [], [])
    original = read_json(checkpoint / TOKENIZER_CONFIG, "") if (checkpoint / TOKENIZER_CONFIG).exists() else {}
    _stage_preprocessing(staged, checkpoint)
    value = read_json(directory / TOKENIZER_CONFIG, "save_pretrained writes one")
    if "auto_map" in original:  # there is no code that it could name; the audit says so
        write_json(directory / TOKENIZER_CONFIG, {**value, "auto_map": original["auto_map"]})
    kind = str(value.get("tokenizer_class") or "PreTrainedTokenizerFast")
    staged.config["architectures"] = [kind]
    # transformers 5 asks for it, and up to 5.12 at least does not load a tokenizer offline that has none
    write_json(directory / "config.json", {"tokenizer_class": kind})
    _stage_pictures(checkpoint, directory)
    staged.left_out = [pair for pair in _left_out(staged, checkpoint, set()) if pair[0] != "card.md"]
    write_manifest(staged)
    return staged


def write_manifest(staged: Staged) -> None:
    """List every staged file with its sha256, once more after one was added."""
    sums = {name: cached_sha256(staged.directory / name) for name in staged.files if name != MANIFEST}
    write_json(staged.directory / MANIFEST, {"manifest": 1, "files": sums})


def _stage_code(folder: ModelFolder, auto_map: dict[str, str], directory: Path) -> list[str]:
    """Write the code closure with its digest; return the file names."""
    if "AutoConfig" not in auto_map:
        raise UserError(
            f"{folder.path}: no configuration class found for its models; set config_class on them, and end the "
            "configuration file with MyConfig.register_for_auto_class()"
        )
    modules: list[Module] = folder.loaded_modules(auto_map)
    sources = {module.file: module.source for module in modules}
    carrier = auto_map["AutoConfig"].split(".")[0] + ".py"
    if not DIGEST_LINE.search(sources[carrier]):
        reason = "# Tells this version of the code from others when two local copies are loaded in one process."
        sources[carrier] = f'{sources[carrier].rstrip()}\n\n{reason}\nCODE_DIGEST = ""\n'
    line = f'CODE_DIGEST = "{code_digest(sources)}"'
    sources[carrier] = DIGEST_LINE.sub(line, sources[carrier], count=1)
    package = folder.modules.get("__init__")
    if package and _only_docstring(package.tree):
        sources["__init__.py"] = package.source
    for name, source in sources.items():
        (directory / name).write_text(source, encoding="utf-8", newline="\n")
    return sorted(sources)


def _only_docstring(tree: ast.Module) -> bool:
    return not tree.body or (len(tree.body) == 1 and ast.get_docstring(tree) is not None)


def _stage_preprocessing(staged: Staged, checkpoint: Path) -> None:
    """Copy tokenizer, processor and generation files, with the folder's own entries for code."""
    for name in (*TOKENIZER, *_vocabularies(staged), "generation_config.json"):
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, staged.directory / name)
    for source in sorted(checkpoint.glob("additional_chat_templates/*.jinja")):
        (staged.directory / "additional_chat_templates").mkdir(exist_ok=True)
        shutil.copyfile(source, staged.directory / "additional_chat_templates" / source.name)
    for name in (*PREPROCESSING, "tokenizer_config.json"):
        if not (checkpoint / name).is_file():
            continue
        value = read_json(checkpoint / name, "")
        value.pop("auto_map", None)
        if name == TOKENIZER_CONFIG:
            kind = value.get("tokenizer_class")
            if "model_input_names" not in value and (names := _input_names(kind, staged)):
                value["model_input_names"] = names
            value = portable_tokenizer(value)
        if auto_map := _preprocessing_map(staged, value):
            value["auto_map"] = auto_map
        for part in (part for _, part in PARTS.values() if isinstance(value.get(part), dict)):
            value[part] = _with_entries(staged, value[part])
        write_json(staged.directory / name, value)
    _split_processor(staged)
    if has_tokenizer(staged.directory) and not (staged.directory / TOKENIZER_CONFIG).exists():
        write_json(staged.directory / TOKENIZER_CONFIG, {"tokenizer_class": "PreTrainedTokenizerFast"})


def _vocabularies(staged: Staged) -> list[str]:
    """The files that the folder's own tokenizer classes read.

    Raises:
        UserError: one of them is a pickle or code, which is not published as data.
    """
    names: list[str] = []
    for cls in staged.folder.classes:
        if staged.folder.kind(cls) == "tokenizer":
            names += vocabulary_files(staged.folder, cls)
    for name in names:
        if name.endswith((*PICKLES, ".py")):
            raise UserError(
                f"{staged.folder.path}: vocab_files_names has {name}, which is not published as data, and "
                "AutoTokenizer would fail without it; write the vocabulary as .json or .txt"
            )
    return names


def _check_pipelines(folder: ModelFolder, checkpoint: Path) -> None:
    """Refuse a pipeline whose code is not there: users would see an error about a missing file."""
    for task, place in folder.pipelines.items():
        module, _, name = place.partition(".")
        if module not in folder.modules or name not in folder.classes:
            raise UserError(
                f"{checkpoint / 'config.json'}: custom_pipelines names {place} for {task}, which is not in "
                f"{folder.path}; put {module}.py with that class there, or drop the entry"
            )


def _stage_custom_generate(staged: Staged, checkpoint: Path) -> None:
    """custom_generate/generate.py, which newer releases run in place of generate(), and what it imports beside it."""
    source = next((p for p in (staged.folder.path, checkpoint) if (p / GENERATE).is_file()), None)
    if source is None:
        return
    beside = read_modules((source / GENERATE).parent)
    target = (staged.directory / GENERATE).parent
    target.mkdir()
    for module in beside.closure([Path(GENERATE).stem]):
        (target / module.file).write_text(module.source, encoding="utf-8", newline="\n")
    for extra in ("requirements.txt", "README.md"):
        if (source / GENERATE).with_name(extra).is_file():
            shutil.copyfile((source / GENERATE).with_name(extra), target / extra)


def _with_entries(staged: Staged, part: dict) -> dict:
    """The settings of a part of a processor, with the folder's own entries for code."""
    part = {key: value for key, value in part.items() if key != "auto_map"}
    auto_map = _preprocessing_map(staged, part)
    return {**part, "auto_map": auto_map} if auto_map else part


def _split_processor(staged: Staged) -> None:
    """Put the parts that transformers 5 writes into processor_config.json into files of their own.

    4.x reads them from there, and hands a part that is still in the one file to the processor twice. 5 reads both.
    """
    path = staged.directory / PROCESSOR
    if not path.exists() or Version(lowest_version(staged.folder)) >= Version("5.0"):
        return
    processor = read_json(path, "")
    for own, part in PARTS.values():
        settings = processor.get(part)
        if isinstance(settings, dict):
            if not (staged.directory / own).exists():
                write_json(staged.directory / own, settings)
            del processor[part]
    write_json(path, processor)


def _input_names(kind: object, staged: Staged) -> list[str] | None:
    """What a tokenizer of this class gives where its file does not say; None where that is not known.

    The versions differ: 5 has another default than 4, and 5.0 takes TokenizersBackend for every class of transformers
    beside a model that is not transformers' own. PreTrainedTokenizerFast is saved by both, and gives token_type_ids
    in 4 alone: where no forward of the folder takes them, they are left out in both.
    """
    folder = staged.folder
    if kind == "TokenizersBackend":
        return list(PLAIN_INPUTS)
    if kind == "PreTrainedTokenizerFast":
        every = [takes[0] for cls in folder.classes if (takes := inputs_of(folder, cls))]
        known = bool(every) and inputs_of(folder, staged.architecture) is not None
        return None if not known or any("token_type_ids" in names for names in every) else list(PLAIN_INPUTS)
    if not isinstance(kind, str) or kind in folder.classes:
        return None
    import transformers

    try:
        names = getattr(transformers, kind).model_input_names
    except (AttributeError, ImportError):  # not there, or in need of a package that is not
        return None
    return list(names) if isinstance(names, (list, tuple)) else None


def _stage_sentence_modules(checkpoint: Path, directory: Path) -> None:
    """What sentence-transformers reads beside the model: its settings, and a directory for each further module."""
    for name in SENTENCE_FILES:
        if (checkpoint / name).is_file():
            shutil.copyfile(checkpoint / name, directory / name)
    for path, kind in sentence.places(checkpoint).items():
        source = checkpoint / path
        if kind.endswith(".Normalize") and not source.exists():
            continue  # an empty directory, which git does not keep
        if source.is_symlink() or not source.is_dir():
            raise UserError(f"{checkpoint / 'modules.json'}: {path} is not a directory here; save the model again")
        pickles = [p.name for p in source.iterdir() if p.suffix in PICKLES]
        if pickles and not (source / WEIGHTS).exists():
            raise UserError(f"{source / pickles[0]} is a pickle; save it again with sentence-transformers >= 2.3")
        for file in sorted(p for p in source.iterdir() if p.suffix in (".json", ".safetensors", ".txt")):
            if file.suffix == ".safetensors":
                read_header(file)
            (directory / path).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, directory / path / file.name)


def _preprocessing_map(staged: Staged, value: dict) -> dict:
    """The folder's classes that a tokenizer's or processor's JSON names, as its auto_map."""
    names = {value.get(key) for key in ("tokenizer_class", "processor_class", "image_processor_type")}
    names |= {value.get("feature_extractor_type"), value.get("video_processor_type")}
    auto_map: dict = {}
    for auto, entry in staged.auto_map.items():
        cls = entry.split(".")[-1]
        if auto.startswith("AutoModel") or auto == "AutoConfig" or cls not in names:
            continue
        published = staged.qualified_entry(entry)
        if auto != "AutoTokenizer":
            auto_map[auto] = published
        elif staged.folder.kind(cls) == "tokenizer" and "Fast" in entry:
            auto_map[auto] = [None, published]
        else:
            auto_map[auto] = [published, None]
    return auto_map


def _published_config(staged: Staged, checkpoint: Path) -> dict:
    """config.json as published; also fills in ``staged.config``."""
    config = staged.config
    for private in ("_name_or_path", "_attn_implementation_autoset", "auto_map"):
        config.pop(private, None)  # a path of the trainer's machine; a note to itself; derived anew
    # AutoConfig's map names models; tokenizers and processors are found there by older versions as well
    config["auto_map"] = {auto: staged.qualified_entry(entry) for auto, entry in staged.auto_map.items()}
    if tokenizer := config["auto_map"].get("AutoTokenizer"):
        fast = "Fast" in staged.auto_map["AutoTokenizer"]
        config["auto_map"]["AutoTokenizer"] = [None, tokenizer] if fast else [tokenizer, None]
    models = {v.split(".")[-1]: k for k, v in staged.auto_map.items() if k.startswith(("AutoModel", "AutoBackbone"))}
    _check_offered(staged, config, set(models), checkpoint)
    named = [name for name in config.get("architectures") or [] if name in models]
    if not named and len(models) > 1:
        raise UserError(
            f"{checkpoint / 'config.json'}: architectures={config.get('architectures')} names no class of "
            f"{staged.folder.path}; use one of {', '.join(sorted(models))}"
        )
    config["architectures"] = named or sorted(models)
    dtypes = {DTYPES.get(tensor.dtype) for tensor in read_tensors(staged.weights)} - {None}
    if len(dtypes) == 1:
        config.pop("dtype", None)  # transformers 5's name, which 4.48 does not read; both read this one
        config["torch_dtype"] = dtypes.pop()
    if config.get("tokenizer_class"):
        config["tokenizer_class"] = portable_tokenizer(config)["tokenizer_class"]
    elif has_tokenizer(staged.directory):
        value = read_json(staged.directory / TOKENIZER_CONFIG, "")
        config["tokenizer_class"] = value.get("tokenizer_class") or "PreTrainedTokenizerFast"
    return config


def _check_offered(staged: Staged, config: dict, offered: set[str], checkpoint: Path) -> None:
    """Refuse to publish another class than the one that the weights were saved from.

    Raises:
        UserError: it is in the folder, and no Auto class is known for it.
    """
    folder, saved = staged.folder, config.get("architectures")
    classes = [name for name in saved if isinstance(name, str)] if isinstance(saved, list) else []
    left = [name for name in classes if name in folder.classes and folder.kind(name) == "model"]
    if left and not offered & set(classes):
        auto = auto_of_outputs(folder, left[0]) or "AutoModel"
        raise UserError(
            f"{checkpoint / 'config.json'}: the weights are of {left[0]}, but {folder.path} registers no Auto class "
            f'for it; end {folder.classes[left[0]][0].file} with {left[0]}.register_for_auto_class("{auto}")'
        )


def _stage_pictures(words: Path, directory: Path) -> None:
    """The pictures, and the licence and its like, that card.md names; pictures may lie in folders beside it."""
    card = words / "card.md"
    text = unquote(card.read_text(encoding="utf-8", errors="replace")) if card.exists() else ""
    inside = words.resolve()
    for path in sorted(p for pattern in ("*", "*/*", "*/*/*") for p in words.glob(pattern)):
        name = path.relative_to(words).as_posix()
        publishable = path.suffix.lower() in PICTURES or ("/" not in name and PAPERS.fullmatch(name))
        if publishable and name in text and path.is_file() and path.resolve().is_relative_to(inside):
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, directory / name)


def _left_out(staged: Staged, checkpoint: Path, weights: set[str]) -> list[tuple[str, str]]:
    """What stays here, with the reason."""
    taken = {name.split("/")[0] for name in staged.files}
    taken |= {*weights, *sentence.places(checkpoint), INDEX, "config.json", "README.md", MANIFEST, "__pycache__"}
    if checkpoint.resolve() == staged.folder.path.resolve():
        taken |= {"card.md", "probe.json", "requirements.txt"}  # they were read, and the card says what they say
    left_out = []
    for path in sorted(checkpoint.iterdir()):
        if path.name in taken or path.name.startswith(".") or (path.is_dir() and path.name == "runs"):
            continue
        if path.suffix in PICKLES:
            reason = "a pickle"
        elif path.suffix == ".py":
            reason = f"code comes from {staged.code_from.repo if staged.code_from else 'the folder'}"
        else:
            reason = "not part of a published model"
        left_out.append((path.name + "/" * path.is_dir(), reason))
    if staged.code_from:
        return left_out
    listed = {name for name, _ in left_out}
    unreached = [module.file for module in staged.folder.modules.values() if module.file not in taken | listed]
    return [*left_out, *((file, "no registered class imports it") for file in unreached)]
