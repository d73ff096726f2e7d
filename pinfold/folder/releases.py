"""Which names each transformers release has: P09, the built-in model types of P04, and the floor of a folder.

The table (releases.json) is made by benchmarks/releases.py from released packages; the newest patch of each minor
stands for all of it.
"""

import ast
import functools
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.version import Version

from pinfold.errors import UserError
from pinfold.publish.finding import Finding
from pinfold.publish.folder import ModelFolder, Module

TABLE = Path(__file__).with_name("releases.json")
FLOOR = "4.48"
MEMBER = "member "  # in front of a class whose attribute is taken, where otherwise a module stands
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
    "create_sliding_window_causal_mask": "mask code of your own",
    "masking_utils": "mask code of your own",
    "initialization": "torch.nn.init",
    "is_torch_fx_available": "no such check",
    "is_torch_fx_proxy": "no such check",
    "find_pruneable_heads_and_indices": "a copy of it in this file",
    "prune_linear_layer": "a copy of it in this file",
    "prune_heads": "no head pruning",
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
# Where a name that moved is looked for, most usual place first.
PLACES = (  # noqa: SIM905
    "transformers transformers.utils transformers.modeling_utils transformers.generation transformers.utils.generic "
    "transformers.utils.import_utils transformers.pytorch_utils transformers.cache_utils transformers.activations "
    "transformers.image_utils transformers.processing_utils transformers.tokenization_utils_base"
).split()
MISSING_IMPORT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
MISSING_ATTRIBUTE = {"AttributeError", "Exception", "BaseException"}
CACHE = re.compile(r"past|cache", re.IGNORECASE)


@functools.cache
def _table() -> dict:
    return json.loads(TABLE.read_text(encoding="utf-8"))


RELEASES: tuple[str, ...] = tuple(_table()["releases"])
MINORS: tuple[str, ...] = tuple(".".join(release.split(".")[:2]) for release in RELEASES)


@functools.cache
def _expand(ranges: str) -> tuple[str, ...]:
    """Releases of such ranges as "4.48-4.52 5.0-"; the last goes up to the newest."""
    found: list[str] = []
    for part in ranges.split():
        first, last = part.split("-")
        found += RELEASES[MINORS.index(first) : MINORS.index(last) + 1 if last else None]
    return tuple(found)


@functools.cache
def _names(kind: str, owner: str) -> dict[str, tuple[str, ...]]:
    """Name -> releases that have it, for one module ("names") or class ("members")."""
    groups = _table().get(kind, {}).get(owner, {})
    return {name: _expand(ranges) for ranges, names in groups.items() for name in names.split()}


@functools.cache
def _flat(kind: str) -> dict[str, tuple[str, ...]]:
    return {name: _expand(ranges) for ranges, names in _table().get(kind, {}).items() for name in names.split()}


def exists(module: str, name: str) -> tuple[str, ...]:
    """Releases in which ``from module import name`` works; none for a module that the table does not know."""
    if name.startswith("__"):
        return _flat("modules").get(module, ())
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
    """Releases as ranges of minor versions; a range goes on as long as no minor is left out.

    >>> describe(["4.48.3", "4.49.0", "4.50.3", "5.0.0"])
    '4.48-4.50, 5.0'
    """
    minors = {".".join(release.split(".")[:2]) for release in releases}
    every = sorted(minors.union(MINORS), key=Version)
    parts: list[list[int]] = []
    for position in (every.index(minor) for minor in sorted(minors, key=Version)):
        if parts and position == parts[-1][-1] + 1:
            parts[-1].append(position)
        else:
            parts.append([position])
    ends = [(every[part[0]], every[part[-1]]) for part in parts]
    return ", ".join(first if first == last else f"{first}-{last}" for first, last in ends)


def suggest(module: str, name: str, floor: str = FLOOR) -> str | None:
    """What to use instead, in words that follow "Use": it works in every release from the floor on.

    >>> suggest("transformers", "PreTrainedConfig")
    'PretrainedConfig'
    """
    if name in REPLACEMENTS:
        return REPLACEMENTS[name]
    if module.startswith(MEMBER):
        return None
    extractor, processor = "FeatureExtractor", name.replace("FeatureExtractor", "ImageProcessor")
    if name.endswith(extractor) and not absent("transformers", processor, floor):
        return processor
    place = next(
        (m for m in PLACES if m != module and name in _names("names", m) and not absent(m, name, floor)), None
    )
    return f"from {place} import {name}" if place else None


def _from(floor: str) -> list[str]:
    lowest = Version(floor).release[:2]
    return [release for release in RELEASES if Version(release).release[:2] >= lowest]


def floor(folder: ModelFolder) -> str:
    """The lowest transformers release that a folder declares: MIN_TRANSFORMERS in a configuration file.

    Raises:
        UserError: it is no release such as "4.57".
    """
    for module in sorted(folder.modules.values(), key=lambda m: not m.name.startswith("configuration")):
        for node in module.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            if not any(isinstance(t, ast.Name) and t.id == "MIN_TRANSFORMERS" for t in targets):
                continue
            value = node.value.value if isinstance(node.value, ast.Constant) else None
            if not (isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?", value)):
                raise UserError(
                    f"{module.path}:{node.lineno}: MIN_TRANSFORMERS = {module.text(node.value, 40)} is no release; "
                    f'write one in quotes, such as "{FLOOR}"'
                    if node.value is not None
                    else f'{module.path}:{node.lineno}: MIN_TRANSFORMERS has no value; write one such as "{FLOOR}"'
                )
            return max(FLOOR, value, key=Version)
    return FLOOR


def symbols(folder: ModelFolder, files: Iterable[Module], floor: str = FLOOR) -> Iterator[Finding]:
    """P09: names of transformers that are missing in a release from the floor on, unless the code allows for that.

    It does so with try/except, with hasattr, or by asking for the version. What an ``except`` holds is judged by the
    releases in which its ``try`` fails. Members of PreTrainedModel and of caches are judged where the receiver is
    plain: ``self`` in a model class, a variable that is named after a cache.
    """
    known = _Known(folder)
    for module in files:
        seen: set[tuple[str, str]] = set()
        for line, place, name, missing in sorted(_Uses(folder, module, known, frozenset(_from(floor))).found()):
            if (place, name) in seen:
                continue
            seen.add((place, name))
            symbol = f"{place.removeprefix(MEMBER)}.{name}" if place.startswith(MEMBER) else name
            if f"{place}.{name}" in _flat("modules") and (place == "transformers" or name not in REPLACEMENTS):
                symbol = f"{place}.{name}"
            other = suggest(place, name, floor)
            advice = f"Use {other}." if other else "Guard the import with try/except ImportError."
            if not other and place.startswith(MEMBER):
                advice = "Use code of your own."
            words = f"{module.file}:{line}: {symbol} does not exist in transformers {describe(missing)}. {advice}"
            yield Finding("P09", words, module.file, line, releases=missing)


class _Known:
    """Names that the folder gives to its own classes and objects, whatever transformers calls so."""

    def __init__(self, folder: ModelFolder):
        self.names: set[str] = set()
        for module in folder.modules.values():
            for node in ast.walk(module.tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    self.names.add(node.name)
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                    self.names.add(node.attr)
                elif isinstance(node, ast.Call) and node.args:  # register_buffer("x", ...), setattr(self, "x", ...)
                    words = [
                        a.value for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)
                    ]
                    self.names.update(words)
                elif isinstance(node, ast.ClassDef):
                    for item in node.body:
                        for target in getattr(item, "targets", [getattr(item, "target", None)]):
                            self.names |= {target.id} if isinstance(target, ast.Name) else set()


class _Uses:
    """Everything that one file takes from transformers, with the releases in which it is not there."""

    def __init__(self, folder: ModelFolder, module: Module, known: _Known, releases: frozenset[str]):
        self.folder, self.module, self.known, self.releases = folder, module, known, releases
        self.aliases = _aliases(module)
        self.asked = {
            target.id
            for node in module.tree.body
            if isinstance(node, ast.Assign) and _asks(node.value, set())
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.models = {node: name for name, (_, node) in folder.classes.items() if folder.kind(name) == "model"}

    def found(self) -> Iterator[tuple[int, str, str, tuple[str, ...]]]:
        """(line, module or "member Class", name, releases without it).

        Args of the walk: a node, the releases in which it runs unguarded as an import and as an attribute, and the
        model class around it.
        """
        queue: list[tuple[ast.AST, frozenset, frozenset, str]] = [
            (child, self.releases, self.releases, "") for child in self.module.tree.body
        ]
        nothing: frozenset[str] = frozenset()
        while queue:
            node, imports, attributes, cls = queue.pop()
            if isinstance(node, (ast.If, ast.IfExp)) and _is_type_checking(node.test):
                orelse = node.orelse if isinstance(node.orelse, list) else [node.orelse]
                queue += [(child, imports, attributes, cls) for child in orelse]
                continue
            if isinstance(node, (ast.If, ast.IfExp, ast.BoolOp)) and _asks(node, self.asked):
                continue
            if isinstance(node, (ast.Try, getattr(ast, "TryStar", ast.Try))):
                failing = self.failing(node.body)
                inner = (nothing if _catches(node.handlers, MISSING_IMPORT) else imports,)
                inner += (nothing if _catches(node.handlers, MISSING_ATTRIBUTE) else attributes,)
                queue += [(child, *inner, cls) for child in node.body]
                for handler in node.handlers:
                    there = failing if failing and _catches([handler], MISSING_IMPORT) else self.releases
                    queue += [(child, imports & there, attributes & there, cls) for child in handler.body]
                rest = self.releases - failing if inner[0] == nothing else self.releases
                queue += [(child, imports & rest, attributes & rest, cls) for child in node.orelse]
                queue += [(child, imports, attributes, cls) for child in node.finalbody]
                continue
            if isinstance(node, ast.With) and (caught := _suppressed(node)):
                imports = nothing if caught & MISSING_IMPORT else imports
                attributes = nothing if caught & MISSING_ATTRIBUTE else attributes
            for place, name in self.taken(node, cls):
                loaded = isinstance(node, ast.Attribute)
                scope, there = attributes if loaded else imports, _there(place, name, loaded)
                if missing := tuple(r for r in RELEASES if r in scope and r not in there):
                    yield node.lineno, place, name, missing
            if isinstance(node, ast.ClassDef):
                cls = self.models.get(node, "")
            queue += [(child, imports, attributes, cls) for child in ast.iter_child_nodes(node)]

    def failing(self, body: list[ast.stmt]) -> frozenset[str]:
        """Releases in which an import at the top of a ``try`` fails."""
        found = {
            release
            for statement in body
            if isinstance(statement, (ast.Import, ast.ImportFrom))
            for place, name in self.taken(statement, "")
            for release in self.releases.difference(_there(place, name))
        }
        return frozenset(found)

    def taken(self, node: ast.AST, cls: str) -> Iterator[tuple[str, str]]:
        """(module or "member Class", name) that a node takes from transformers."""
        if isinstance(node, ast.Import):
            yield from (_as_name(alias.name) for alias in node.names if _ours(alias.name) and "." in alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
            named = [alias.name for alias in node.names if alias.name != "*"]
            if node.module not in _flat("modules") or not named:
                yield from [_as_name(node.module)] if "." in node.module else []
            else:
                yield from ((node.module, name) for name in named)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            yield from self.attribute(node, cls)

    def attribute(self, node: ast.Attribute, cls: str) -> Iterator[tuple[str, str]]:
        """The same, for ``owner.name``: modules, ``self`` of a model, and caches."""
        owner, name = _dotted(node.value), node.attr
        if owner in self.aliases or owner.split(".")[0] in self.aliases:
            first, _, rest = owner.partition(".")
            module = self.aliases.get(owner) or ".".join([self.aliases[first], *([rest] if rest else [])])
            if module in _flat("modules") and f"{module}.{name}" not in _flat("modules") and name not in self.probed:
                yield module, name
        elif not owner or name in self.known.names or name in self.probed or name.startswith("__"):
            return
        elif owner == "self":
            generates = cls and any(base == "GenerationMixin" for base, _ in self.bases(cls))
            if cls and not (generates and name in _names("members", "GenerationMixin")):
                yield f"{MEMBER}PreTrainedModel", name
        elif (owner == "DynamicCache" or CACHE.search(owner.rsplit(".", 1)[-1])) and not name.startswith("_"):
            yield f"{MEMBER}DynamicCache", name

    def bases(self, cls: str) -> list[tuple[str, str]]:
        return [base for owner in self.folder.lineage(cls) for base in self.folder.bases(owner)]

    @functools.cached_property
    def probed(self) -> set[str]:
        """Names that the file asks for with hasattr or getattr: it knows that they may be missing."""
        return {
            node.args[1].value
            for node in ast.walk(self.module.tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("hasattr", "getattr")
            and len(node.args) >= 2
            and isinstance(node.args[1], ast.Constant)
            and isinstance(node.args[1].value, str)
        }


def _there(place: str, name: str, loaded: bool = False) -> Iterable[str]:
    """Releases that have it; all of them for what the table leaves out, and for what needs no word of its own.

    Args:
        loaded: the module was imported, which is judged where that is written.
    """
    if place.startswith(MEMBER):
        return _names("members", place.removeprefix(MEMBER)).get(name, RELEASES)
    if place not in _flat("modules"):
        return RELEASES
    without = (release for release in RELEASES if loaded and release not in _flat("modules")[place])
    return {*exists(place, name), *without}


def _as_name(module: str) -> tuple[str, str]:
    """A module as a name of the nearest package that the table knows, which is how it knows what exists."""
    package, _, last = module.rpartition(".")
    while package not in _flat("modules") and "." in package:
        package, _, last = package.rpartition(".")
    return package, last


def _dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _ours(module: str | None) -> bool:
    return (module or "").split(".")[0] == "transformers"


def _aliases(module: Module) -> dict[str, str]:
    """What stands for a module of transformers in this file: name -> module."""
    found: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in (a for a in node.names if _ours(a.name)):
                found[alias.asname or "transformers"] = alias.name if alias.asname else "transformers"
        elif isinstance(node, ast.ImportFrom) and not node.level and _ours(node.module):
            for alias in node.names:
                if f"{node.module}.{alias.name}" in _flat("modules"):
                    found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _is_type_checking(test: ast.expr) -> bool:
    return _dotted(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _asks(node: ast.AST, asked: set[str]) -> bool:
    """Whether a condition asks for the version, or for whether something is there."""
    node = getattr(node, "test", node)
    for part in ast.walk(node):
        word = part.id if isinstance(part, ast.Name) else getattr(part, "attr", "")
        if word in asked or "version" in word.lower() or word in ("hasattr", "find_spec"):
            return True
    return False


def _catches(handlers: list[ast.ExceptHandler], errors: set[str]) -> bool:
    for handler in handlers:
        types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
        if any(t is None or _dotted(t).rsplit(".", 1)[-1] in errors for t in types):
            return True
    return False


def _suppressed(node: ast.With) -> set[str]:
    """Exceptions that ``with suppress(...)`` swallows."""
    calls = [item.context_expr for item in node.items if isinstance(item.context_expr, ast.Call)]
    named = [call for call in calls if _dotted(call.func).rsplit(".", 1)[-1] == "suppress"]
    return {_dotted(argument).rsplit(".", 1)[-1] for call in named for argument in call.args}
