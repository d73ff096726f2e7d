"""Which names each transformers release has: P09, the built-in model types of P04, and the floor of a folder.

The table (releases.json) is made by releases_table.py from released packages; the newest patch of each minor stands
for all of it.
"""

import ast
import functools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.version import InvalidVersion, Version

from pinfold.errors import UserError
from pinfold.publish.finding import Finding
from pinfold.publish.folder import ModelFolder, Module

TABLE = Path(__file__).with_name("releases.json")
FLOOR = "4.48"
# What to write instead of a name that is not everywhere. Each of these is right from 4.48 on.
REPLACEMENTS = {
    "PreTrainedConfig": "PretrainedConfig",
    "AdamW": "torch.optim.AdamW",
    "AutoModelForVision2Seq": "AutoModelForImageTextToText",
    "HybridCache": "DynamicCache",
    "SlidingWindowCache": "DynamicCache",
    "LossKwargs": "plain **loss_kwargs",
    "TransformersKwargs": "plain **kwargs",
    "FlashAttentionKwargs": "plain **kwargs",
    "RopeParameters": "a plain dict",
    "auto_docstring": "a docstring of your own",
    "can_return_tuple": "return_dict, read in forward",
    "check_model_inputs": "no decorator",
    "GradientCheckpointingLayer": "nn.Module, with self._gradient_checkpointing_func in the stack",
    "create_causal_mask": "mask code of your own",
    "create_bidirectional_mask": "mask code of your own",
    "is_torch_fx_available": "no such check",
    "find_pruneable_heads_and_indices": "a copy of it in this file",
    "prune_linear_layer": "a copy of it in this file",
    "OnnxConfig": "torch.onnx.export",
    "get_head_mask": "no head mask",
    "get_usable_length": "get_seq_length",
    "seen_tokens": "get_seq_length()",
    "key_cache": "what update() returns",
    "value_cache": "what update() returns",
    "to_legacy_cache": "the cache itself",
    "from_legacy_cache": "DynamicCache()",
    "get_extended_attention_mask": "mask code of your own",
    "invert_attention_mask": "mask code of your own",
}
GUARDS = {"ImportError", "ModuleNotFoundError", "Exception", "AttributeError", "BaseException"}
PAST = re.compile(r"past|cache", re.IGNORECASE)


@functools.cache
def _table() -> dict:
    return json.loads(TABLE.read_text(encoding="utf-8"))


RELEASES: tuple[str, ...] = tuple(_table()["releases"])


def _expand(ranges: str) -> tuple[str, ...]:
    found: list[str] = []
    for part in ranges.split():
        first, last = part.split("-")
        found += RELEASES[int(first) : int(last) + 1]
    return tuple(found)


@functools.cache
def _names(kind: str, owner: str) -> dict[str, tuple[str, ...]]:
    """Name -> releases that have it, for one module ("names") or class ("members")."""
    return {name: _expand(key) for key, names in _table()[kind].get(owner, {}).items() for name in names.split()}


@functools.cache
def _flat(kind: str) -> dict[str, tuple[str, ...]]:
    return {name: _expand(key) for key, names in _table()[kind].items() for name in names.split()}


def exists(module: str, name: str) -> tuple[str, ...]:
    """Releases in which ``from module import name`` works; all of them where the table does not know the module."""
    if module not in _flat("modules"):
        return RELEASES
    return _names("names", module).get(name, ())


def absent(module: str, name: str, floor: str = FLOOR) -> tuple[str, ...]:
    """Releases from the floor on in which it does not."""
    there = exists(module, name)
    return tuple(release for release in _from(floor) if release not in there)


def model_types(release: str | None = None) -> frozenset[str]:
    """Model types that transformers brings along: of one release, or of any."""
    types = _flat("model_types")
    return frozenset(name for name, releases in types.items() if release is None or release in releases)


def describe(releases: Iterable[str]) -> str:
    """Releases as ranges of minor versions.

    >>> describe(["4.48.3", "4.49.0", "4.50.3", "5.0.0"])
    '4.48-4.50, 5.0'
    """
    minors = [".".join(release.split(".")[:2]) for release in releases]
    every = [".".join(release.split(".")[:2]) for release in RELEASES]
    every += [minor for minor in minors if minor not in every]
    parts: list[list[str]] = []
    for minor in sorted(dict.fromkeys(minors), key=Version):
        if parts and every.index(minor) == every.index(parts[-1][-1]) + 1:
            parts[-1].append(minor)
        else:
            parts.append([minor])
    return ", ".join(part[0] if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _from(floor: str) -> list[str]:
    lowest = Version(floor).release[:2]
    return [release for release in RELEASES if Version(release).release[:2] >= lowest]


def floor(folder: ModelFolder) -> str:
    """The lowest transformers release that a folder declares: MIN_TRANSFORMERS in a configuration file.

    Raises:
        UserError: it is no version.
    """
    for module in sorted(folder.modules.values(), key=lambda m: not m.name.startswith("configuration")):
        for node in module.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if not any(isinstance(t, ast.Name) and t.id == "MIN_TRANSFORMERS" for t in targets):
                continue
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            try:
                return str(max(Version(FLOOR), Version(value)))
            except (InvalidVersion, TypeError):
                raise UserError(
                    f"{module.path}:{node.lineno}: MIN_TRANSFORMERS must be a version in quotes, such as "
                    f'"{RELEASES[-1]}"; mend it'
                ) from None
    return FLOOR


def symbols(folder: ModelFolder, files: Iterable[Module], floor: str = FLOOR) -> Iterator[Finding]:
    """P09: names of transformers that are missing in a release from the floor on, unless the code allows for that."""
    for module in files:
        seen: set[tuple[str, str]] = set()
        for line, place, name in sorted(_used(folder, module)):
            owner = place.removeprefix("member ")
            missing = _missing_members(owner, name, floor) if owner != place else absent(place, name, floor)
            if not missing or (place, name) in seen:
                continue
            seen.add((place, name))
            symbol = f"{owner}.{name}" if owner != place or not name else name
            yield Finding(
                "P09",
                f"{module.file}:{line}: {symbol} does not exist in transformers {describe(missing)}. "
                f"{_advice(place, name, floor)}",
                module.file,
                line,
                releases=missing,
            )


def _missing_members(cls: str, name: str, floor: str) -> tuple[str, ...]:
    there = _names("members", cls).get(name)
    return () if there is None else tuple(release for release in _from(floor) if release not in there)


def _advice(place: str, name: str, floor: str) -> str:
    if name in REPLACEMENTS:
        return f"Use {REPLACEMENTS[name]}."
    if name.endswith("FeatureExtractor") and not absent("transformers", f"{name[:-16]}ImageProcessor", floor):
        return f"Use {name[:-16]}ImageProcessor."
    everywhere = ("transformers", "transformers.utils", "transformers.modeling_utils", "transformers.generation")
    other = next((m for m in everywhere if m != place and not absent(m, name, floor)), None)
    if other:
        return f"Use from {other} import {name}."
    if place.startswith("member "):
        return "Use code of your own."
    return "Use a copy in this folder, or guard the import with try/except ImportError."


def _used(folder: ModelFolder, module: Module) -> Iterator[tuple[int, str, str]]:
    """(line, module or "member Class", name) of everything that is taken from transformers without a guard."""
    aliases = _aliases(module)
    probed = _probed(module.tree)
    models = {node for name, (_, node) in folder.classes.items() if folder.kind(name) == "model"}
    generating = {node for name, (_, node) in folder.classes.items() if "GenerationMixin" in _all_bases(folder, name)}
    own = {s.name for _, node in folder.classes.values() for s in node.body if isinstance(s, ast.FunctionDef)}
    nodes = [node for m in folder.modules.values() for node in ast.walk(m.tree)]
    own |= {n.attr for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)}
    queue: list[tuple[ast.AST, bool, ast.ClassDef | None]] = [(module.tree, False, None)]
    while queue:
        node, guarded, cls = queue.pop()
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            queue += [(child, guarded, cls) for child in node.orelse]
            continue
        if isinstance(node, ast.Try):
            caught = any(_catches(handler) for handler in node.handlers)
            queue += [(child, guarded or caught, cls) for child in node.body]
            queue += [(child, guarded, cls) for h in node.handlers for child in h.body]
            queue += [(child, guarded, cls) for child in (*node.orelse, *node.finalbody)]
            continue
        if not guarded:
            if isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
                for alias in node.names:
                    if alias.name != "*" and f"{node.module}.{alias.name}" not in _flat("modules"):
                        yield (node.lineno, node.module, alias.name)
                    elif alias.name != "*":
                        yield (node.lineno, *_as_module(f"{node.module}.{alias.name}"))
                    else:  # where the module is missing, so are its names; of a star only the module is known
                        yield (node.lineno, *_as_module(node.module))
            elif isinstance(node, ast.Import):
                for alias in (a for a in node.names if _ours(a.name)):
                    yield (node.lineno, *_as_module(alias.name))
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                yield from _attribute(node, aliases, probed, own, cls, cls in models, cls in generating)
        if isinstance(node, ast.ClassDef) and node in {n for _, n in folder.classes.values()}:
            cls = node
        queue += [(child, guarded, cls) for child in ast.iter_child_nodes(node)]


def _as_module(name: str) -> tuple[str, str]:
    """A module as a name of the package that holds it, which is how the table knows what exists."""
    package, _, last = name.rpartition(".")
    return (package, last) if package else (name, "PreTrainedModel")


def _attribute(node, aliases, probed, own, cls, is_model, generates) -> Iterator[tuple[int, str, str]]:
    text, name = _dotted(node.value), node.attr
    if text in aliases and aliases[text] in _flat("modules"):
        if f"{aliases[text]}.{name}" not in _flat("modules") and name not in probed:
            yield (node.lineno, aliases[text], name)
    elif name in probed or name in own:
        return
    elif text == "self" and is_model:
        if not (generates and name in _names("members", "GenerationMixin")):
            yield (node.lineno, "member PreTrainedModel", name)
    elif text != "self" and not name.startswith("_") and PAST.search(text.rsplit(".", 1)[-1]):
        yield (node.lineno, "member DynamicCache", name)


def _dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _ours(module: str | None) -> bool:
    return (module or "").split(".")[0] == "transformers"


def _aliases(module: Module) -> dict[str, str]:
    """What stands for a module of transformers in this file: dotted text -> module."""
    found: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in (a for a in node.names if _ours(a.name)):
                if alias.asname:
                    found[alias.asname] = alias.name
                else:
                    parts = alias.name.split(".")
                    found |= {".".join(parts[: i + 1]): ".".join(parts[: i + 1]) for i in range(len(parts))}
        elif isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in _flat("modules"):
                    found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _probed(tree: ast.Module) -> set[str]:
    """Names that the file asks for with hasattr or getattr: it knows that they may be missing."""
    return {
        node.args[1].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in ("hasattr", "getattr")
        and len(node.args) >= 2
        and isinstance(node.args[1], ast.Constant)
        and isinstance(node.args[1].value, str)
    }


def _all_bases(folder: ModelFolder, name: str) -> list[str]:
    return [base for cls in folder.lineage(name) for base, _ in folder.bases(cls)]


def _is_type_checking(test: ast.expr) -> bool:
    return _dotted(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _catches(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(_dotted(t).rsplit(".", 1)[-1] in GUARDS for t in types)
