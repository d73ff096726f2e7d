"""Read a folder for the ways in which remote code goes wrong. Nothing is imported or executed.

Each check is a function from a folder to findings; its code (P01, ...) and words stay the same from release to
release, so that they can be searched for. What an audit cannot see: what the code computes, and what it
does to a machine.
"""

import ast
import functools
import hashlib
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pinfold.publish.folder import RELATIVE_IMPORT, ModelFolder
from pinfold.publish.stage import PICKLES, PREPROCESSING, read_header

CONFIGS = ("config.json", "tokenizer_config.json", *PREPROCESSING)
FORBIDDEN_KEYS = ("trust_remote_code", "_attn_implementation_internal")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one sentence that says what to do."""

    code: str
    line: str

    def __str__(self) -> str:
        return f"{self.code} {self.line}"


def audit(directory: Path, folder: ModelFolder) -> list[Finding]:
    """All findings in a staged directory or a model folder; an empty list is a pass.

    Args:
        directory: holds config.json, weights and code.
        folder: the same directory as ``read_folder`` read it.
    """
    configs = {
        name: json.loads((directory / name).read_text(encoding="utf-8"))
        for name in CONFIGS
        if (directory / name).exists()
    }
    findings: list[Finding] = []
    for check in (_auto_map_complete, _auto_map_values, _model_type, _forbidden_keys):
        findings += check(configs, folder)
    for check in (_relative_imports, _transitive_helpers, _config_classes):
        findings += check(folder)
    return findings + list(_weights(directory))


def _auto_map_complete(configs: dict, folder: ModelFolder) -> Iterator[Finding]:
    auto_map = configs.get("config.json", {}).get("auto_map") or {}
    for auto, place in folder.auto_map().items():
        elsewhere = any(auto in (value.get("auto_map") or {}) for value in configs.values())
        if auto in auto_map or elsewhere:
            continue
        module, cls = place.split(".")
        yield Finding(
            "P01",
            f'config.json: auto_map has no "{auto}" entry although {module}.py defines {cls}. Users calling '
            f'{auto}.from_pretrained will get "Unrecognized configuration class". Add "{auto}": "{place}".',
        )


def _auto_map_values(configs: dict, folder: ModelFolder) -> Iterator[Finding]:
    for file, config in configs.items():
        for auto, value in (config.get("auto_map") or {}).items():
            values = value if auto == "AutoTokenizer" and isinstance(value, list) and len(value) == 2 else [value]
            for entry in values:
                if entry is None and len(values) == 2:
                    continue
                if isinstance(entry, str) and "--" in entry:
                    repo = entry.split("--")[0]
                    yield Finding(
                        "P03",
                        f'{file}: auto_map["{auto}"] points to another repository ({repo}). A pinned revision= does '
                        f'not pin that code. Copy the files here and drop "{repo}--".',
                    )
                elif why := _wrong_place(entry, folder):
                    yield Finding("P02", f'{file}: auto_map["{auto}"] = "{entry}" — {why}.')


def _wrong_place(entry: object, folder: ModelFolder) -> str | None:
    if not isinstance(entry, str) or not re.fullmatch(r"\w+\.\w+", entry):
        return 'must be "file.Class", not a list or a path'
    module, cls = entry.split(".")
    if module not in folder.modules:
        return "no such file"
    tree = folder.modules[module].tree
    imported = {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    if not any(isinstance(n, ast.ClassDef) and n.name == cls for n in ast.walk(tree)) and cls not in imported:
        return "no such class"
    return None


def _model_type(configs: dict, folder: ModelFolder) -> Iterator[Finding]:
    kind = configs.get("config.json", {}).get("model_type")
    if kind in _builtin_types():
        yield Finding(
            "P04",
            f'model_type "{kind}" is a built-in transformers type. Without trust_remote_code, users silently get the '
            f'stock model with random weights. Use "custom-{kind}".',
        )


@functools.cache
def _builtin_types() -> frozenset[str]:
    """Model types of the installed transformers, read from its tables without importing it."""
    tables = Path(importlib.util.find_spec("transformers").origin).parent / "models" / "auto"
    text = "".join(
        p.read_text() for p in (tables / "configuration_auto.py", tables / "auto_mappings.py") if p.exists()
    )
    return frozenset(re.findall(r"""\(\s*["']([\w.-]+)["'],\s*["']\w+Config["']""", text))


def _forbidden_keys(configs: dict, folder: ModelFolder) -> Iterator[Finding]:
    for file, config in configs.items():
        for key in FORBIDDEN_KEYS:
            if key in config:
                yield Finding(
                    "P05",
                    f'{file} must not contain "{key}" (trust_remote_code, _attn_implementation_internal): it can '
                    "change what code is run.",
                )


def _relative_imports(folder: ModelFolder) -> Iterator[Finding]:
    reachable = {m.name for m in folder.closure([p.split(".")[0] for p in folder.auto_map().values()])}
    for name in sorted(reachable):
        module = folder.modules[name]
        lines, good = module.source.splitlines(), set()
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom):
                top = (node.module or "").split(".")[0]
                if node.level == 1 and node.module and "." not in node.module and node.module in folder.modules:
                    good.add(node.lineno)
                elif node.level or top in folder.modules:
                    yield _unfindable(module.file, node.lineno, ast.unparse(node))
            elif isinstance(node, ast.Import) and any(a.name.split(".")[0] in folder.modules for a in node.names):
                yield _unfindable(module.file, node.lineno, ast.unparse(node))
        # the loader matches raw text, so a docstring that looks like an import is one to it
        inside_strings = {
            number
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
            for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        for match in RELATIVE_IMPORT.finditer(module.source):
            number = module.source.count("\n", 0, match.end() - 1) + 1
            sibling = next(n for n in match.groups() if n)
            if number in inside_strings and number not in good and sibling not in folder.modules:
                yield _unfindable(module.file, number, lines[number - 1].strip())


def _unfindable(file: str, line: int, statement: str) -> Finding:
    return Finding(
        "P06",
        f'{file}:{line}: "{statement}" cannot be found by the loader. Only "from .file import Name" with file.py in '
        "this folder works.",
    )


def _transitive_helpers(folder: ModelFolder) -> Iterator[Finding]:
    for entry in sorted({place.split(".")[0] for place in folder.auto_map().values()}):
        if entry not in folder.modules:
            continue
        direct = {entry, *folder.modules[entry].siblings()}
        for module in folder.closure([entry]):
            for helper in module.siblings():
                if module.name in direct and helper in folder.modules and helper not in direct:
                    line = next(i for i, t in enumerate(module.source.splitlines(), 1) if f".{helper}" in t)
                    yield Finding(
                        "P07",
                        f"{module.file}:{line}: helper {helper}.py is reached only through {module.file}; "
                        "transformers before 5.23 (tested up to 5.8) will not copy it from a local folder. "
                        f"Import it from {entry}.py as well.",
                    )


def _config_classes(folder: ModelFolder) -> Iterator[Finding]:
    auto_map = folder.auto_map()
    wanted = auto_map.get("AutoConfig", "").split(".")[-1]
    for cls in sorted({p.split(".")[-1] for a, p in auto_map.items() if a.startswith("AutoModel")}):
        given = folder.attribute(cls, "config_class")
        if given is None or ast.unparse(given).split(".")[-1] != wanted:
            yield Finding("P16", f"{cls}.config_class is missing or is not {wanted}.")


def _weights(directory: Path) -> Iterator[Finding]:
    for path in sorted(p for p in directory.rglob("*") if p.suffix in PICKLES):
        yield Finding("P19", f"{path.name} is a pickle ({path.suffix}); publish model.safetensors only.")
    for path in sorted(directory.glob("*.safetensors")):
        header = read_header(path)
        if (header.get("__metadata__") or {}).get("format") != "pt":
            yield Finding("P19b", f"{path.name}: safetensors metadata lacks format=pt.")
        yield from _twins(path, header)


def _twins(path: Path, header: dict) -> Iterator[Finding]:
    """Matrices with the same bytes. Vectors are often equal by chance of initialisation, and so are constants."""
    groups: dict[tuple, list[str]] = {}
    for name, entry in header.items():
        if name != "__metadata__" and len(entry["shape"]) >= 2:
            groups.setdefault((entry["dtype"], tuple(entry["shape"])), []).append(name)
    with open(path, "rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")

        def digest(name: str, limit: int | None) -> bytes | None:
            first, last = header[name]["data_offsets"]
            file.seek(start + first)
            hashed, left, varied = hashlib.sha256(), min(last - first, limit or last - first), False
            while left and (block := file.read(min(left, 1 << 20))):
                varied = varied or len(set(block[:4096])) > 8
                hashed.update(block)
                left -= len(block)
            return hashed.digest() if varied else None

        for names in (group for group in groups.values() if len(group) > 1):
            for limit in (4096, None):  # a look at the first page tells nearly all apart
                seen: dict[bytes | None, list[str]] = {}
                for name in names:
                    seen.setdefault(digest(name, limit), []).append(name)
                names = [n for key, same in seen.items() if key is not None and len(same) > 1 for n in same]
            for same in (s for key, s in seen.items() if key is not None and len(s) > 1):
                for other in sorted(same)[1:]:
                    yield Finding(
                        "P19c", f"{sorted(same)[0]} and {other} hold identical data; store the tied tensor once."
                    )
