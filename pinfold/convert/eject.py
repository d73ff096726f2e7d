"""`--eject llama my_llama/`: a built-in model as a self-contained folder, with the modular file that changes it.

How it works
- The name is looked up among transformers' model types, spelled in any way.
- modular_my_llama.py subclasses every public class of the model under a prefix; the converter does the rest.
- Everything is made in a folder beside the target and moved there at the end: all of it or nothing.
"""

import ast
import difflib
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.convert import files
from pinfold.convert.convert import new_workspace
from pinfold.convert.read import modules, names, sources
from pinfold.convert.read.model import kind_of
from pinfold.convert.read.prefixes import all_classes
from pinfold.convert.read.workspace import Conversion
from pinfold.convert.write import parts
from pinfold.convert.write.facts import config_of, model_type_of
from pinfold.convert.write.finish import formatted

EXTRAS = {
    "tokenizer": ("tokenization_",),
    "processor": ("processing_",),
    "image_processor": ("image_processing_",),
    "feature_extractor": ("feature_extraction_",),
}
OTHER_NAMES = {"gpt": "openai-gpt", "gpt1": "openai-gpt", "openai": "openai-gpt", "wave2vec2": "wav2vec2"}


@dataclass
class Base:
    """A built-in model: its folder of transformers.models, type, and the modules with its classes."""

    package: str
    model_type: str
    stem: str  # modeling_<stem>.py
    configurations: list[str]

    def module(self, kind: str, stem: str = "") -> str:
        return f"transformers.models.{self.package}.{kind}_{stem or self.stem}"


def models_folder() -> Path:
    return modules.find("transformers.models").parent


def stems() -> dict[str, str]:
    """modeling_<stem>.py -> package, of every built-in model."""
    packages = {}
    for path in sorted(models_folder().glob("*/modeling_*.py")):
        if path.parent.name != "auto" and not path.stem.startswith(("modeling_tf_", "modeling_flax_")):
            packages[path.stem.removeprefix("modeling_")] = path.parent.name
    return packages


def find_base(name: str) -> Base:
    """The model that a user means.

    Raises:
        UserError: transformers does not have it, with the nearest names; or it has only a tokenizer or a processor.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES, model_type_to_module_name

    packages_of_files = stems()
    folders = sorted({*packages_of_files.values()})
    known = {names.normalized(x): x for x in [*folders, *packages_of_files, *CONFIG_MAPPING_NAMES]}
    key = names.normalized(name)
    key = names.normalized(OTHER_NAMES.get(key, name))
    if key not in known:
        near = difflib.get_close_matches(key, known, 5, 0.6)
        near += [k for k in known if key and (key in k or (k in key and len(k) > 3)) and k not in near]
        shown = ", ".join(dict.fromkeys(known[k] for k in near[:5]))
        nearest = f"the nearest: {shown}" if shown else "no name is similar; transformers' documentation lists them"
        raise UserError(f"{name!r} is not a model of this transformers; {nearest}")
    known_name = known[key]
    types = {t: c for t, c in CONFIG_MAPPING_NAMES.items() if names.normalized(t) == key}
    if known_name in packages_of_files and not types:
        return of_file(known_name, packages_of_files[known_name])
    model_type = next(iter(types), "")
    package = model_type_to_module_name(model_type) if model_type else known_name
    cls = types.get(model_type, "")
    here = [s for s, p in packages_of_files.items() if p == package]
    if not here:
        raise UserError(f"{name!r} has no model in transformers, only a tokenizer or a processor")
    configuration = modules.public_classes().get(cls, "").rpartition(".configuration_")[2]
    if configuration in here:
        stem = configuration
    elif package in here or len(here) == 1:
        stem = package if package in here else here[0]
    else:
        raise UserError(f"{name!r} is several models: {', '.join(here)}; name one of them")
    return of_file(stem, package, model_type)


def of_file(stem: str, package: str, model_type: str = "") -> Base:
    """The base that modeling_<stem>.py holds."""
    folder = models_folder() / package
    available = [p.stem.removeprefix("configuration_") for p in sorted(folder.glob("configuration_*.py"))]
    chosen = [stem] if stem in available else [s for s in available if stem.startswith(s) or s == package] or available
    return Base(package, model_type or stem, stem, chosen)


def public(module: str) -> list[str]:
    """Classes of a module that it exports, or all but the private ones."""
    path = modules.find(module)
    if path is None:
        return []
    file = sources.load(path, module.rpartition(".")[0])
    listed = file.exported if file.exported is not None else [c for c in file.classes() if not c.startswith("_")]
    return [n for n in listed if n in file.items and file.items[n].kind == "class"]


def prefix_of(out: Path, base: Base) -> str:
    """`My` for my_llama/; a folder that is not called after the model gives `My` too."""
    plain = names.normalized(out.name)
    package = names.normalized(base.package)
    if plain.endswith(package) and len(plain) > len(package):
        return names.camel(re.split(r"_?" + re.escape(base.package), out.name)[0]) or "My"
    return "My"


def others(base: Base, kinds: list[str]) -> dict[str, list[str]]:
    """Module -> classes of the files that --with asks for.

    Raises:
        UserError: this model has none of that kind.
    """
    classes_of: dict[str, list[str]] = {}
    for kind in kinds:
        if kind not in EXTRAS:
            raise UserError(f"--with {kind}: give any of {', '.join(EXTRAS)}, separated by commas")
        module_names = []
        for path in sorted((models_folder() / base.package).glob(f"{EXTRAS[kind][0]}*.py")):
            module_names.append(f"transformers.models.{base.package}.{path.stem}")
        if not module_names:
            module_names = shared_module(base, kind)
        if not module_names:
            raise UserError(
                f"--with {kind}: {base.model_type} has none in transformers; leave it out, the stock one "
                "is loaded by name"
            )
        for module in module_names:
            classes = [c for c in public(module) if not c.endswith("Kwargs")]
            if classes:
                classes_of[module] = classes
    return classes_of


def shared_module(base: Base, kind: str) -> list[str]:
    """The file of another model whose tokenizer, say, this one uses: deit has vit's picture processor."""
    from transformers.models.auto import (
        feature_extraction_auto,
        image_processing_auto,
        processing_auto,
        tokenization_auto,
    )

    table = {
        "tokenizer": tokenization_auto.TOKENIZER_MAPPING_NAMES,
        "processor": processing_auto.PROCESSOR_MAPPING_NAMES,
        "image_processor": image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES,
        "feature_extractor": feature_extraction_auto.FEATURE_EXTRACTOR_MAPPING_NAMES,
    }[kind]
    value = table.get(base.model_type)
    listed = list(value.values()) if isinstance(value, dict) else [value] if isinstance(value, str) else []
    return list(dict.fromkeys(m for m in (modules.public_classes().get(c) for c in listed) if m))


def parts_elsewhere(base: Base) -> dict[str, list[str]]:
    """Module -> classes that an Auto class makes for a type of this architecture, in another of its modeling files.

    MaskFormer's Swin is one: it is reached through AutoBackbone alone, and no import names it.
    """
    text = modules.find(base.module("modeling")).read_text(encoding="utf-8")
    autos = set(re.findall(r"\b(Auto\w+)\._?from_config\(", text))
    classes_of: dict[str, list[str]] = {}
    for path in sorted((models_folder() / base.package).glob("configuration_*.py")) if autos else ():
        for item in sources.load(path, f"transformers.models.{base.package}").items.values():
            kind = model_type_of(item.text) if item.kind == "class" else None
            for auto in autos if kind and item.name in text else ():
                cls = parts.auto_tables().get(auto, {}).get(kind, "")
                module = modules.public_classes().get(cls, base.module("modeling"))
                if modules.package_of(module) == base.package and module != base.module("modeling"):
                    classes_of.setdefault(module, []).append(cls)
    return classes_of


def modular(base: Base, prefix: str, kinds: list[str]) -> tuple[str, str]:
    """Name and text of the modular file."""
    name = f"{names.lower(prefix)}_{base.package}"
    configuration_and_model = [base.module("configuration", s) for s in base.configurations] + [
        base.module("modeling")
    ]
    taken = {m: public(m) for m in configuration_and_model} | parts_elsewhere(base) | others(base, kinds)
    package_classes = all_classes(base.module("modeling"))
    old = names.cased_prefix(base.package, package_classes) or ""
    renaming = names.Renaming(base.package, old, name, prefix + old) if old else None
    imports = []
    classes = []
    seen = set()
    new_names = set()
    for module, listed in taken.items():
        listed = [c for c in listed if c not in seen]
        seen |= set(listed)
        if not listed:
            continue
        imports.append(f"from {module} import {', '.join(sorted(listed))}")
        file = sources.load_module(module)
        for cls in listed:
            new = renaming.word(cls) if renaming else cls
            new = new if new != cls else prefix + cls
            if new in new_names:  # an older spelling of the same name, kept upstream for those who import it
                continue
            new_names.add(new)
            body = "    pass"
            kind = model_type_of(file.items[cls].text) if kind_of(cls) == "configuration" else None
            if kind:
                changed = renaming.word(kind) if renaming else kind
                changed = changed if changed != kind else f"{names.lower(prefix)}_{kind}"
                body = f'    model_type = "{changed}"'
            classes.append(f"class {new}({cls}):\n{body}\n")
    text = (
        f'"""{prefix}{old}: transformers\' {old or base.model_type} under a name of its own.\n\n'
        "Change it here: a method or an attribute that a class below defines replaces the original's, and\n"
        "super().method(...) stands for the original's body. A class that is not listed is changed by adding\n"
        f"`class {prefix}{old}MLP({old}MLP)` with its import. Then run main.py to write the files beside it.\n"
        '"""\n\n' + "\n".join(imports) + "\n\n\n" + "\n\n".join(classes)
    )
    return name, text


def card(base: Base, name: str) -> str:
    title = base.model_type
    return f"""---
license: apache-2.0
tags:
  - {base.package.replace("_", "-")}
---

## Intended uses

A copy of transformers' {title} under a name of its own ({name}), to be changed and trained. Say here what this model
is for, and on what data it was trained.

## Limits

- What the original cannot do, this copy cannot either, until modular_{name}.py changes it.
- Say here on what the model fails, and for what it must not be used.

## Citation

Please cite the paper of {title}; transformers' documentation of the model names it.
"""


TEST = '''"""{name}: a small model of random weights gives the same numbers after saving and loading."""

import sys
from pathlib import Path

import torch
import transformers

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent))
SMALL = {{
    "vocab_size": 99, "hidden_size": 32, "d_model": 32, "n_embd": 32, "num_hidden_layers": 2, "num_layers": 2,
    "num_decoder_layers": 2, "encoder_layers": 2, "decoder_layers": 2, "n_layer": 2, "n_layers": 2,
    "num_attention_heads": 4, "num_heads": 4, "encoder_attention_heads": 4, "decoder_attention_heads": 4, "n_head": 4,
    "n_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, "d_ff": 64, "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64, "hidden_dim": 64, "projection_dim": 32, "d_kv": 8, "dim": 32, "image_size": 32,
    "patch_size": 8, "embedding_size": 32, "num_experts": 4, "num_local_experts": 4, "head_dim": 8,
}}  # fmt: skip


def small(config):
    """The configuration with less of everything, and that of its parts as well."""
    for key, value in SMALL.items():
        if isinstance(getattr(config, key, None), int) and getattr(config, key) > value:
            setattr(config, key, value)
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if isinstance(getattr(config, key, None), int) and getattr(config, key) >= 99:
            setattr(config, key, 1)
    for value in list(vars(config).values()):
        if isinstance(value, transformers.PretrainedConfig):
            small(value)
    return config


def inputs(model):
    """Random inputs of the names that this model's main one has."""
    main, config = model.main_input_name, model.config
    torch.manual_seed(0)
    pictures = getattr(config, "vision_config", config)
    size = getattr(pictures, "image_size", 32)
    size = (size, size) if isinstance(size, int) else tuple(size)
    made = {{"input_ids": torch.arange(3, 11)[None].repeat(2, 1)}}
    if main == "pixel_values" or hasattr(config, "vision_config"):
        made["pixel_values"] = torch.rand(2, getattr(pictures, "num_channels", 3), *size)
    if main == "input_values":
        made = {{"input_values": torch.rand(2, 4000)}}
    elif main == "pixel_values" and not hasattr(config, "text_config"):
        del made["input_ids"]
    if config.is_encoder_decoder:
        made["decoder_input_ids"] = made["input_ids"]
    return made


def test_saved_and_loaded_it_gives_the_same_numbers(tmp_path):
    from {folder}.configuration_{name} import {config}
    from {folder}.modeling_{name} import {model}

    torch.manual_seed(0)
    model = {model}(small({config}())).eval()
    assert all(torch.isfinite(p).all() for p in model.parameters())
    model.save_pretrained(tmp_path / "saved")
    again = {auto}.from_pretrained(tmp_path / "saved", trust_remote_code=True).eval()
    for (key, old), new in zip(model.state_dict().items(), again.state_dict().values(), strict=True):
        assert torch.equal(old, new), key
    assert again.config.model_type == "{type}"
{forward}'''
FORWARD = """    with torch.no_grad():
        old, new = model(**inputs(model)), again(**inputs(model))
    assert torch.equal(old[0], new[0]) and torch.isfinite(old[0]).all()
"""


def test_text(conversion: Conversion, folder: str, modeling: str) -> str:
    """A test file for the main class of the folder."""
    registered = re.findall(r'^(\w+)\.register_for_auto_class\("(AutoModel\w*)"\)', modeling, re.MULTILINE)
    order = [x for x in registered if x[1] == "AutoModel"] + registered
    if not order:
        return ""
    model, auto = order[0]
    classes = {n.name: n for n in ast.parse(modeling).body if isinstance(n, ast.ClassDef)}
    config = config_of(classes, classes[model])
    text = next((d.text for d in conversion.definitions.values() if d.name == config), None)
    if config is None or text is None:
        return ""
    return TEST.format(
        name=conversion.name, folder=folder, config=config, model=model, auto=f"transformers.{auto}",
        type=model_type_of(text) or conversion.name, forward=FORWARD,
    )  # fmt: skip


def make(base: Base, prefix: str, kinds: list[str], folder: str, into: Path) -> Conversion:
    """Write all files of an ejected model into an empty folder."""
    name, text = modular(base, prefix, kinds)
    path = into / f"modular_{name}.py"
    path.write_text(formatted(path.name, text, path), encoding="utf-8")
    generated = new_workspace().convert(path)
    conversion = generated.conversion
    texts = generated.texts
    files.write(texts, into)
    (into / "card.md").write_text(card(base, name), encoding="utf-8")
    test = test_text(conversion, folder, texts.get(f"modeling_{name}.py", ""))
    if test:
        (into / f"test_{name}.py").write_text(test, encoding="utf-8")
    return conversion


def eject(name: str, out: Path, prefix: str | None = None, kinds: tuple[str, ...] = ()) -> Conversion:
    """Write a built-in model as a self-contained folder.

    Args:
        name: a model type, in any spelling.
        out: the folder; it must not exist, or be empty.
        prefix: what new class names begin with; default from the folder's name, or My.
        kinds: which of EXTRAS come along.

    Raises:
        UserError: the name is unknown, or the folder is not free.
    """
    base = find_base(name)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} already exists, and nothing was written; give a folder that does not exist")
    if not re.fullmatch(r"[A-Za-z_]\w*", out.name):
        raise UserError(f"{out.name!r} is not a name of a Python package; give a folder such as my_{base.package}")
    prefix = prefix if prefix is not None else prefix_of(out, base)
    if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", prefix):
        raise UserError(f"--prefix {prefix!r} must begin class names: a capital, then letters and digits, as in My")
    parent = out.resolve().parent
    if not parent.is_dir():
        raise UserError(f"{parent} does not exist; make it, or give a folder in one that does")
    try:
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=parent))
    except OSError as error:
        raise UserError(f"{parent} cannot be written ({error.strerror}); nothing was changed") from None
    try:
        conversion = make(base, prefix, list(kinds), out.name, work)
        work.chmod(0o755)
        if out.is_dir():
            out.rmdir()
        os.replace(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return conversion
