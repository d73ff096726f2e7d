"""What turns a conversion into files of a folder: header, lowest version, Auto classes, formatting, writing."""

import ast
import functools
import hashlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import transformers
from packaging.version import Version

from pinfold import __version__
from pinfold.common.errors import UserError, missing_extra
from pinfold.convert import couplings, floor, inline, source
from pinfold.convert.build import Conversion, Definition
from pinfold.convert.files import INLINE, MARK, OPTIONS
from pinfold.folder import releases

FUTURE = "from __future__ import annotations"
NO_LINT = "# ruff: noqa"  # what there is to mend is in the modular file, or upstream


def finish(conversion: Conversion) -> dict[str, str]:
    """Texts of the folder's files: with header, Auto classes and the lowest version of transformers, formatted.

    Raises:
        UserError: ruff is missing, or a merged file is not Python.
    """
    for name, text in conversion.files.items():
        conversion.files[name] = couplings.apply(conversion, name.removesuffix(f"_{conversion.name}.py"), text)
    declared = floor.declared(conversion)
    if declared is not None:
        for name, text in conversion.files.items():
            kind = name.removesuffix(f"_{conversion.name}.py")
            conversion.files[name] = floor.lower(conversion, kind, text, declared)
    lowest = declared or lowest_version(conversion)
    texts, found = {}, {}
    for name, text in conversion.files.items():
        kind = name.removesuffix(f"_{conversion.name}.py")
        texts[name] = with_config_class(text) + "\n".join(registrations(conversion, kind, text, lowest))
    if conversion.inline:
        texts = inline.inlined(texts, conversion.name, conversion.path)
    guarded = f"{'modeling' if conversion.inline else 'configuration'}_{conversion.name}.py"
    for name, text in texts.items():
        licence, body = leading_comment(ruff(name, text, conversion.path))
        # the file that AutoConfig reads first says which transformers it needs, before it imports anything late
        guard = version_guard(lowest) if name == guarded else ""
        if guard and body.lstrip().startswith(FUTURE):
            guard, body = f"{FUTURE}\n\n{guard}", body.replace(FUTURE, "", 1)
        # what the modular file, or else the first file that something was taken from, says about its licence
        licence = licence or upstream_licence(conversion)
        head = [f"{MARK}{conversion.path.name}: edit that file, and run main.py again."]
        head += [f"{OPTIONS}{INLINE}"] if conversion.inline else []
        head += [*provenance(conversion), NO_LINT, licence]
        found[name] = "\n".join(head) + f"\n\n{guard}{body.lstrip()}".replace("\n\n\n\n", "\n\n\n")
    return found


def with_config_class(text: str) -> str:
    """`config: XConfig` of a base class tells transformers 5 alone which configuration it has."""
    if re.search(r"^    config_class\b", text, re.MULTILINE):
        return text
    return re.sub(r"^(    config: (\w+Config))$", r"\1\n    config_class = \2", text, flags=re.MULTILINE)


def leading_comment(text: str) -> tuple[str, str]:
    lines = text.split("\n")
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(lines[:count]), "\n".join(lines[count:])


def upstream_licence(conversion: Conversion) -> str:
    for vendored in conversion.vendored.values():
        lines = [x for x in vendored.original.header.splitlines() if x.startswith("#")]
        if any("Copyright" in x for x in lines):
            at = next(i for i, x in enumerate(lines) if "Copyright" in x)
            return "\n".join(lines[at:])
    return ""


def provenance(conversion: Conversion) -> list[str]:
    """Versions, and the sha256 (its first 16 digits) of the source of every symbol that was taken."""
    lines = [f"# pinfold {__version__}, transformers {transformers.__version__}. Taken from there:"]
    for made in sorted({d.origin for d in conversion.definitions.values() if d.origin}, key=shown):
        lines.append(f"#   {shown(made)} {digest(made)}")
    return lines if len(lines) > 1 else [lines[0].replace(" Taken from there:", "")]


def shown(origin: str) -> str:
    """The same wherever the repository lies: bert_model.modeling_bert.BERTLayer."""
    module, _, name = origin.rpartition(".")
    return f"{source.shown(module)}.{name}"


def digest(origin: str) -> str:
    module, _, name = origin.rpartition(".")
    item = source.load(source.find(module), module.rpartition(".")[0]).items[name]
    return hashlib.sha256(item.text.encode()).hexdigest()[:16]


def lowest_version(conversion: Conversion) -> str:
    """The first release from which every import of transformers in these files exists."""
    bad: set[str] = set()
    for text in conversion.files.values():
        for node in ast.parse(text).body:
            if (
                isinstance(node, ast.ImportFrom)
                and not node.level
                and (node.module or "").split(".")[0] == "transformers"
            ):
                for alias in node.names:
                    bad.update(releases.absent(node.module, alias.name))
    known = list(releases.RELEASES)
    last = max((known.index(r) for r in bad if r in known), default=-1)
    if last + 1 >= len(known):
        return transformers.__version__
    return known[last + 1]


def version_guard(lowest: str) -> str:
    """Lines for the top of a configuration, which every load imports first; they need no package but transformers."""
    return f'''import re

import transformers

MIN_TRANSFORMERS = "{Version(lowest).base_version}"
if [*map(int, re.findall(r"\\d+", transformers.__version__)[:3])] < [*map(int, MIN_TRANSFORMERS.split("."))]:
    raise ImportError(
        f"this model needs transformers >= {{MIN_TRANSFORMERS}}, and this is {{transformers.__version__}}; "
        "run: pip install -U transformers"
    )

'''


@functools.lru_cache(maxsize=1)
def auto_classes() -> tuple[dict[str, list[str]], dict[str, str]]:
    """Auto classes of each built-in class, and of each end of a name such as ForCausalLM, by the commonest use."""
    from transformers.models.auto import modeling_auto

    exact: dict[str, list[str]] = {}
    ends: dict[str, Counter] = {}
    autos = {n: getattr(a, "_model_mapping", None) for n, a in vars(modeling_auto).items() if isinstance(a, type)}
    tables = {n: mapping._model_mapping for n, mapping in autos.items() if mapping is not None}
    # a class saves itself for the Auto class that it was registered for last: AutoModel, or else what lists the fewest
    for name, table in sorted(tables.items(), key=lambda pair: (pair[0] == "AutoModel", -len(pair[1]), pair[0])):
        for listed in table.values():
            for cls in [listed] if isinstance(listed, str) else listed:
                if name == "AutoModelForPreTraining" and not cls.endswith("ForPreTraining"):
                    continue
                if name not in exact.setdefault(cls, []):
                    exact[cls].append(name)
                if "For" in cls:
                    ends.setdefault("For" + cls.rpartition("For")[2], Counter())[name] += 1
    return exact, {end: counted.most_common(1)[0][0] for end, counted in ends.items()}


def registrations(conversion: Conversion, kind: str, text: str, lowest: str) -> list[str]:
    """`X.register_for_auto_class(...)` for every class of this file that has an Auto class in these releases."""
    exact, ends = auto_classes()
    lines: list[str] = []
    root = root_configuration(conversion)
    models: dict[str, list[tuple[bool, str]]] = {}  # Auto class -> (whether it is the whole model's, class)
    classes = {n.name: n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)}
    for node in classes.values():
        if node.name not in conversion.module.items:
            continue
        made = conversion.definitions.get(node.name)
        if kind == "configuration":
            if any(isinstance(n, (ast.Assign, ast.AnnAssign)) and "model_type" in ast.unparse(n) for n in node.body):
                lines.append(f"{node.name}.register_for_auto_class()")
        elif kind == "modeling" and not node.name.endswith("PreTrainedModel"):
            if root and (couplings.config_of(classes, node) or root) != root:
                continue  # a tower: config.json is the whole model's
            autos = exact.get(made.origin.rpartition(".")[2], []) if made and made.origin else []
            if not autos and is_model(conversion, made):
                auto = next((a for e, a in ends.items() if node.name.endswith(e)), None)
                auto = auto or ("AutoModel" if node.name.endswith("Model") else None)
                autos = [auto] if auto else []
            everywhere = [a for a in autos if not releases.absent(source.TRANSFORMERS, a, lowest)]
            for auto in everywhere or autos[-1:]:
                models.setdefault(auto, []).append((is_whole(made, auto), node.name))
    lines.sort(key=lambda line: line.partition(".")[0] == root)  # the last one is AutoConfig's
    # of several classes for one Auto class (the towers of CLIP and CLIP itself) the whole model's; else the first
    first = {auto: next((name for whole, name in found if whole), found[0][1]) for auto, found in models.items()}
    chosen: dict[str, list[str]] = {}
    for auto, name in first.items():
        chosen.setdefault(name, []).append(auto)
    lines += [f'{name}.register_for_auto_class("{auto}")' for name, autos in chosen.items() for auto in autos]
    return ["\n", *lines, ""] if lines else []


def is_whole(made: Definition | None, auto: str) -> bool:
    """Whether a class is what an Auto class gives for its architecture's own model type."""
    from transformers.models.auto import modeling_auto

    if made is None or not made.origin:
        return False
    module, _, name = made.origin.rpartition(".")
    package = source.package_of(module)
    table = getattr(modeling_auto, auto)._model_mapping._model_mapping
    listed = [table.get(package), table.get(package.replace("_", "-"))]
    return any(name in ([x] if isinstance(x, str) else x or ()) for x in listed)


def root_configuration(conversion: Conversion) -> str | None:
    """The configuration of the architecture itself, not of a part of it, where it is made from one of transformers."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    for name in conversion.module.items:
        module, _, old = conversion.definitions[name].origin.rpartition(".")
        if module.startswith(f"{source.TRANSFORMERS}."):
            package = module.split(".")[2]
            if old in (CONFIG_MAPPING_NAMES.get(package), CONFIG_MAPPING_NAMES.get(package.replace("_", "-"))):
                return name
    return None


def is_model(conversion: Conversion, made: Definition | None) -> bool:
    """Whether a class has PreTrainedModel among its ancestors, as far as this file shows them."""
    if made is None or made.kind != "class":
        return False
    for base in ast.parse(made.text).body[0].bases:
        name = ast.unparse(base)
        if name == "PreTrainedModel" or is_model(conversion, conversion.definitions.get(name)):
            return True
    return False


def require_ruff() -> None:
    """
    Raises:
        UserError: the formatter is missing; how to install it.
    """
    try:
        import ruff as installed  # noqa: F401
    except ImportError as error:
        raise missing_extra("convert", "convert", error) from None


def ruff(name: str, text: str, path: Path) -> str:
    require_ruff()
    base = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length", "119", "--target-version", "py310", "--stdin-filename", name, "-"]
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        done = subprocess.run([*base, *command, *options], input=text, capture_output=True, text=True, timeout=60)
        if done.returncode > 1 or not done.stdout:
            raise UserError(
                f"{path}: {name} would not be Python ({done.stderr.strip().splitlines()[:1]}); nothing was written"
            )
        text = done.stdout
    return text
