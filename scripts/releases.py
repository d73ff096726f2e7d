"""Make releases.json.gz: the names that each transformers release has, read from its package without importing it.

    python scripts/releases.py

Run it again when a new minor release is out: it asks the package index which there are, reads the newest patch of
each from this environment or from runs/overlays, and fetches what is in neither.

How it works:
- A file gives facts (names that it binds, what it imports, what it exports); equal files of releases are read once.
- A package that replaces itself by a lazy module holds what its import structure lists, and nothing else.
- Names of other libraries count as well: ``from transformers.modeling_utils import nn`` works.
"""

import ast
import datetime
import gzip
import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from packaging.version import Version

from pinfold.common.errors import UserError
from pinfold.fence.overlays import HERE

TABLE = Path(__file__).resolve().parents[1] / "pinfold" / "folder" / "releases.json.gz"
OLDEST = (4, 48)
# Not imported by anybody: the command line, conversion scripts, and what transformers generates its own models from.
LEFT_OUT = re.compile(r"^transformers\.(commands|cli)\b|^transformers\.models\..*\.(convert|modular|conversion)_\w+$")
MEMBERS = ("PreTrainedModel", "DynamicCache", "GenerationMixin")
# Stand-ins for what these bring along name nothing that is there when they are, and everybody has them.
ALWAYS = ("dummy_pt_objects", "dummy_tokenizers_objects")
TYPE_CHECKING = ("TYPE_CHECKING", "typing.TYPE_CHECKING")
Said = TypeVar("Said")


@dataclass
class Facts:
    """What one file says.

    Args:
        bound: names bound at its top, by definitions, assignments and imports of whole modules.
        imported: (relative level, module, name there, name here) of each ``from ... import``.
        exports: ``__all__``, and classes and functions under @requires or @export.
        structure: part -> names in ``_import_structure``; "" where the part is not told. dummies: modules whose names
            it takes over with dir().
        scans: where ``define_import_structure`` looks: "" for its own directory.
        lazy: replaces itself by a lazy module. redirects: (alias, target) of modules that stand for others.
        answers: endings and tokenizers for which a lazy module finds another name.
        fast_aliases: what the modules begin with for which one with "_fast" at its end stands.
        classes: class -> (members, bases), for those in MEMBERS and what they derive from.
    """

    bound: set[str] = field(default_factory=set)
    imported: list[tuple[int, str, str, str]] = field(default_factory=list)
    exports: set[str] = field(default_factory=set)
    structure: dict[str, set[str]] = field(default_factory=dict)
    dummies: set[str] = field(default_factory=set)
    scans: set[str] = field(default_factory=set)
    lazy: bool = False
    redirects: list[tuple[str, str]] = field(default_factory=list)
    answers: set[str] = field(default_factory=set)
    fast_aliases: str = ""
    classes: dict[str, tuple[set[str], list[str]]] = field(default_factory=dict)


def facts_of(source: str) -> Facts:
    """Read one file. Conditions at its top count on both sides, apart from those for type checkers."""
    tree = ast.parse(source)
    facts = Facts()
    for node in _statements(tree.body):
        _read_statement(node, tree, facts)
    facts.lazy = "_LazyModule(" in source and "sys.modules[__name__] =" in source
    if "_import_structure" in source:
        _structure(tree, facts)
    if "define_import_structure(" in source:
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if _called(call) == "define_import_structure" and call.args:
                facts.scans.add("models" if '"models"' in ast.unparse(call).replace("'", '"') else "")
    facts.redirects = _redirects(tree, source)
    facts.answers = {w for w in ("TokenizerFast", "ImageProcessorFast") if f'name.endswith("{w}")' in source}
    facts.answers |= _keys(tree, {"SLOW_TO_FAST_CONVERTERS"})
    if "{_module}_fast" in source:
        facts.fast_aliases = "image_processing_"
    elif "_LEGACY_FAST_IMAGE_PROCESSOR_MODULE" in source:
        facts.fast_aliases = "image_processing_(?!pil_)"
    return facts


def _read_statement(node: ast.stmt, tree: ast.Module, facts: Facts) -> None:
    """What one statement at the top of a file binds, imports or exports."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        facts.bound.add(node.name)
        if any(_called(decorator) in ("requires", "export") for decorator in node.decorator_list):
            facts.exports.add(node.name)
        if isinstance(node, ast.ClassDef) and (node.name in MEMBERS or node.name.endswith(("Mixin", "Cache"))):
            facts.classes[node.name] = _members(node), [ast.unparse(base).split(".")[-1] for base in node.bases]
        if node.name == "__getattr__":  # finds the keys of tables at the top of the file
            facts.bound |= _keys(tree, {n.id for n in ast.walk(node) if isinstance(n, ast.Name)})
    elif isinstance(node, ast.Import):
        facts.bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
        for alias in node.names:
            facts.imported.append((node.level, node.module or "", alias.name, alias.asname or alias.name))
    elif isinstance(node, ast.Delete):
        facts.bound -= {target.id for target in node.targets if isinstance(target, ast.Name)}
    else:
        _bind(node, facts)


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that are run when a file is imported, in its conditions, guards and loops too."""
    for node in body:
        if isinstance(node, ast.If):
            yield from _statements([] if ast.unparse(node.test) in TYPE_CHECKING else node.body)
            yield from _statements(node.orelse)
            continue
        yield node
        for name in (
            ("body", "orelse", "finalbody") if isinstance(node, (ast.Try, ast.With, ast.For, ast.While)) else ()
        ):
            yield from _statements(getattr(node, name, []))
        for handler in getattr(node, "handlers", []):
            yield from _statements(handler.body)


def _bind(node: ast.stmt, found: Facts) -> None:
    """Names that an assignment or a loop binds."""
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    targets += [item.optional_vars for item in getattr(node, "items", [])]
    for target in (t for t in targets if t is not None):
        names = {n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        if isinstance(node, ast.AnnAssign) and node.value is None:
            continue
        found.bound |= names
        if "__all__" in names:
            found.exports |= _strings(node.value)
        if "__getattr__" in names:
            found.bound |= _strings(node.value)
    call = node.value if isinstance(node, ast.Expr) else None
    if isinstance(call, ast.Call) and ast.unparse(call.func).startswith("__all__."):
        found.exports |= _strings(call)


def _called(node: ast.expr) -> str:
    """The name of what a call calls, without what stands in front of it."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _strings(node: ast.AST) -> set[str]:
    return {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}


def _keys(tree: ast.Module, names: set[str]) -> set[str]:
    """Keys of the tables at the top of a file that have one of these names."""
    found = set()
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Dict):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id in names:
                found |= {word for key in node.value.keys if key for word in _strings(key)}
    return found


def _structure(tree: ast.Module, found: Facts) -> None:
    """The literal names of ``_import_structure``, and the modules that it copies with dir()."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            holder, value = ast.unparse(target), node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            holder, value = ast.unparse(node.func.value), node.args[-1]
        else:
            continue
        if not re.match(r"_?import_structure\b", holder):
            continue
        entries = [("".join(re.findall(r"""\[['"](.*?)['"]\]""", holder)), value)]
        if isinstance(value, ast.Dict):
            entries = [(part, v) for k, v in zip(value.keys, value.values, strict=True) if k for part in _strings(k)]
        for part, names in entries:
            copied = {ast.unparse(c.args[0]) for c in ast.walk(names) if _called(c) == "dir" and c.args}
            found.dummies |= copied
            found.structure.setdefault(part, set()).update(set() if copied else _strings(names))


def _redirects(tree: ast.Module, source: str) -> list[tuple[str, str]]:
    """Old module names that lead to new ones: those made one by one, and those in a table."""
    found = []
    for node in ast.walk(tree) if "_alias" in source.lower() else ():
        if re.fullmatch(r"_create_\w*alias", _called(node)) and len(node.args) == 2:
            alias, target = (_strings(argument) for argument in node.args)
            if len(alias) == len(target) == 1:
                found.append((alias.pop().strip("."), target.pop().strip(".")))
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_LEGACY_MODULE_ALIASES":
            found += ast.literal_eval(node.value).items()
    return found


def _members(node: ast.ClassDef) -> set[str]:
    """Methods and attributes that a class gives its instances."""
    found = {n.name for n in node.body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for item in node.body:
        for target in getattr(item, "targets", [getattr(item, "target", None)]):
            found |= {target.id} if isinstance(target, ast.Name) else set()
    for item in ast.walk(node):
        if isinstance(item, ast.Attribute) and isinstance(item.ctx, ast.Store) and ast.unparse(item.value) == "self":
            found.add(item.attr)
    return {name for name in found if not name.startswith("__")}


def read_files(
    texts: dict[str, str], read: dict[bytes, Said], reader: Callable[[str, str], Said], without: str = "$^"
) -> tuple[dict[str, Said], set[str]]:
    """What each file of a package says, by module, and which modules are packages.

    Args:
        texts: file -> source, with names such as "transformers/utils/__init__.py".
        read: what was read, by digest of the source; releases share it.
        reader: reads a source; it gets the name of the module too.
        without: modules that are left out, as a regular expression.
    """
    said: dict[str, Said] = {}
    packages: set[str] = set()
    for file, text in sorted(texts.items()):
        name = file.removesuffix(".py").replace("/", ".")
        if name.endswith(".__init__"):
            name = name.removesuffix(".__init__")
            packages.add(name)
        if re.search(without, name):
            continue
        digest = hashlib.sha256(text.encode()).digest()
        if digest not in read:
            read[digest] = reader(text, name)
        said[name] = read[digest]
    return said, packages


class Release:
    """One transformers package.

    Args:
        texts: file -> source, with names such as "transformers/utils/__init__.py".
        read: facts by digest of the source, shared between releases.
    """

    def __init__(self, texts: dict[str, str], read: dict[bytes, Facts]):
        self.facts, self.packages = read_files(texts, read, lambda text, name: facts_of(text))
        self.parts: dict[str, set[str]] = {}
        for name in self.facts:
            self.parts.setdefault(name.rpartition(".")[0], set()).add(name.rpartition(".")[2])
        self.answers = {"TokenizerFast", "ImageProcessorFast"} & self._facts("utils.import_utils").answers
        self.tokenizers = self._facts("convert_slow_tokenizer").answers if "TokenizerFast" in self.answers else set()
        self._names: dict[str, set[str]] = {}
        self.aliases = self._aliases()
        texts_of_auto = [
            texts.get(f"transformers/models/auto/{n}.py", "") for n in ("configuration_auto", "auto_mappings")
        ]
        self.model_types = {kind for text in texts_of_auto for kind in _model_types(ast.parse(text))}

    def _facts(self, module: str) -> Facts:
        return self.facts.get(f"transformers.{module}", Facts())

    def table(self) -> dict[str, set[str]]:
        """Module -> names that can be imported from it."""
        found = {module: self.names(module) for module in self.facts}
        for alias, (target, fast) in self.aliases.items():
            found[alias] = set(self.names(target))
            found[alias] |= {f"{n}Fast" for n in found[alias] if n.endswith("ImageProcessor")} if fast else set()
            package, _, last = alias.rpartition(".")
            found[package] = found[package] | {last}
        listed = {module: names for module, names in found.items() if not LEFT_OUT.search(module)}
        return {m: {n for n in names if n.isidentifier() and not n.startswith("__")} for m, names in listed.items()}

    def names(self, module: str) -> set[str]:
        """What a module holds when it was imported: its definitions, and for a package its parts and exports."""
        if module not in self._names:
            self._names[module] = set()  # a circle of imports ends here
            own = self.facts[module]
            found = self._lazy(module, own) if own.lazy else set(own.bound)
            for level, place, name, here in [] if own.lazy else own.imported:
                if name != "*":
                    found.add(here)
                    continue
                source = self._absolute(level, place, module)
                if source in self.facts:
                    public = {n for n in self.names(source) if not n.startswith("_")}
                    found |= self.facts[source].exports or public
            self._names[module] = found | self.parts.get(module, set())
        return self._names[module]

    def _absolute(self, level: int, place: str, module: str) -> str:
        parts = module.split(".")
        above = parts[: len(parts) - level + (module in self.packages)] if level else []
        return ".".join([*above, *([place] if place else [])])

    def _lazy(self, module: str, own: Facts) -> set[str]:
        """Names that a lazy module answers for (transformers.utils.import_utils._LazyModule)."""
        found = {part.split(".")[0] for part in own.structure if part}
        for part, listed in own.structure.items():
            held = self.names(f"{module}.{part}") if f"{module}.{part}" in self.facts else listed
            # some listed names are long gone from the part that should have them
            found |= {n for n in listed if n in held or n.removesuffix("Fast") in held}
        for scan in own.scans:
            root = f"{module}.{scan}." if scan else f"{module}."
            for name in (n for n in self.facts if n.startswith(root) and n not in self.packages):
                if not name.rpartition(".")[2].startswith(("convert_", "modular_")):
                    found |= self.facts[name].exports
        for copied in own.dummies - set(ALWAYS):
            for place in (f"{module}.{copied}", f"transformers.utils.{copied}"):
                if place in self.facts:
                    found |= {name for name in self.names(place) if not name.startswith("_")}
        for ending in self.answers:
            found |= {f"{name}Fast" for name in found if name.endswith(ending.removesuffix("Fast"))}
        if module == "transformers":
            found |= self.tokenizers | {f"{name}Fast" for name in self.tokenizers}
        return found

    def answers_for(self, module: str, name: str) -> bool:
        """Whether a lazy module finds a tokenizer under a name that it does not list."""
        return self.facts[module].lazy and name.removesuffix("Fast") in self.tokenizers

    def _aliases(self) -> dict[str, tuple[str, bool]]:
        """Modules that stand for others: alias -> (module, whether its image processors have their old names)."""
        own = self.facts["transformers"]
        found = {f"transformers.{alias}": (f"transformers.{target}", False) for alias, target in own.redirects}
        for module in self.facts if own.fast_aliases else ():
            last = module.rpartition(".")[2]
            if module.startswith("transformers.models.") and re.match(own.fast_aliases, last):
                found[f"{module}_fast"] = (module, True)
        return {alias: target for alias, target in found.items() if target[0] in self.facts}

    def members(self, cls: str, seen: frozenset = frozenset()) -> set[str]:
        """Methods and attributes of a class, those of its bases in transformers included."""
        order = sorted(
            (m for m in self.facts if ".models." not in m and ".dummy_" not in m), key=lambda m: (m.count("."), m)
        )
        module = next((m for m in order if cls in self.facts[m].classes), None)
        if module is None or cls in seen:
            return set()
        found, bases = self.facts[module].classes[cls]
        return found.union(*(self.members(base, seen | {cls}) for base in bases))


def _model_types(tree: ast.Module) -> Iterator[str]:
    """Keys of the tables from model type to configuration class."""
    for node in ast.walk(tree):
        pairs = zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ()
        pairs = [node.elts] if isinstance(node, ast.Tuple) and len(node.elts) == 2 else pairs
        for key, value in pairs:
            words = [part.value if isinstance(part, ast.Constant) else None for part in (key, value)]
            if all(isinstance(word, str) for word in words) and words[1].endswith("Config"):
                yield words[0]


def grouped(per_release: list[set[str]], minors: list[str]) -> dict[str, str]:
    """Where names exist -> the names that exist in exactly those releases, separated by spaces.

    >>> grouped([{"a"}, {"a", "b"}, {"b"}], ["4.48", "4.49", "5.0"])
    {'4.48-4.49': 'a', '4.49-': 'b'}
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(set().union(*per_release)):
        groups.setdefault(_ranges([name in names for names in per_release], minors), []).append(name)
    return {key: " ".join(names) for key, names in sorted(groups.items())}


def _ranges(present: list[bool], minors: list[str]) -> str:
    """Runs of releases; one that reaches the newest has no end, so that a further release changes few lines."""
    found, start = [], None
    for position, there in enumerate([*present, False]):
        if there and start is None:
            start = position
        elif not there and start is not None:
            found.append(f"{minors[start]}-{minors[position - 1] if position < len(present) else ''}")
            start = None
    return " ".join(found)


def sources(version: str) -> dict[str, str]:
    """The Python files of a release: this environment's, an overlay's, or those of a wheel that pip fetches."""
    places = {metadata.version("transformers"): Path(importlib.util.find_spec("transformers").origin).parent}
    places |= {p.name: p / "transformers" for p in HERE.glob("*.*.*") if (p / ".complete").exists()}
    if version in places:
        root = places[version]
        files = {f"transformers/{p.relative_to(root).as_posix()}": p for p in root.rglob("*.py")}
        return {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--only-binary=:all:"]
        result = subprocess.run(
            [*command, f"--dest={directory}", f"transformers=={version}"], capture_output=True, text=True
        )
        if result.returncode:
            last = (result.stderr.strip() or "no message").splitlines()[-1]
            raise UserError(f"cannot fetch transformers {version}: {last}")
        with zipfile.ZipFile(next(Path(directory).glob("*.whl"))) as wheel:
            names = [n for n in wheel.namelist() if n.startswith("transformers/") and n.endswith(".py")]
            return {name: wheel.read(name).decode("utf-8") for name in names}


def newest_patches() -> list[str]:
    """The newest patch of every minor on the package index, from the oldest supported one on."""
    command = [sys.executable, "-m", "pip", "index", "versions", "transformers"]
    result = subprocess.run(command, capture_output=True, text=True)
    match = re.search(r"^Available versions: (.*)$", result.stdout, re.MULTILINE)
    if result.returncode or not match:
        raise UserError("pip index versions transformers gave no list; is the package index within reach?")
    found = sorted(Version(text) for text in match[1].split(", "))
    return [str(v) for v in {v.release[:2]: v for v in found if v.release[:2] >= OLDEST}.values()]


def ordinary() -> tuple[set[str], set[str]]:
    """Names that every torch module has, and those that tensors and containers have: they are never missing."""
    import torch

    holders = (torch.Tensor, dict, list, tuple, set, str)
    return set(dir(torch.nn.Module())), {name for holder in holders for name in dir(holder)}


def make(versions: list[str]) -> dict:
    """The table, for releases in ascending order."""
    read: dict[bytes, Facts] = {}
    releases = []
    for version in versions:
        releases.append(Release(sources(version), read))
        print(f"transformers {version}: {len(releases[-1].facts)} files", flush=True)
    tables = [release.table() for release in releases]
    minors = [".".join(version.split(".")[:2]) for version in versions]
    modules = sorted(set().union(*tables))
    names = {}
    for module in modules:
        per_release = [table.get(module, set()) for table in tables]
        every = set().union(*per_release)
        for release, table, found in zip(releases, tables, per_release, strict=True):
            if module in table and module in release.facts:
                found |= {name for name in every if release.answers_for(module, name)}
        names[module] = grouped(per_release, minors)
    of_modules, of_containers = ordinary()
    dropped = {"PreTrainedModel": of_modules, "GenerationMixin": of_modules, "DynamicCache": of_containers}
    return {
        "made": f"python scripts/releases.py, {datetime.date.today()}",
        "releases": versions,
        "model_types": grouped([release.model_types for release in releases], minors),
        "members": {c: grouped([r.members(c) - dropped[c] for r in releases], minors) for c in MEMBERS},
        "modules": grouped([set(table) for table in tables], minors),
        "names": names,
    }


def main() -> int:
    """Read every release and write the table."""
    value = make(newest_patches())
    text = json.dumps(value, indent=0) + "\n"
    TABLE.write_bytes(gzip.compress(text.encode(), mtime=0))  # no time: the same table gives the same bytes
    print(f"{TABLE}: {TABLE.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
