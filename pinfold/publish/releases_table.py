"""Make releases.json: which names each transformers release has, read from released packages without importing them.

    pinfold compat make all && python -m pinfold.publish.releases_table

Run again when a new minor release is out. Read are the overlays in runs/overlays and the environment's own
transformers: one release per minor version, its newest patch.
"""

import ast
import datetime
import gc
import importlib.util
import json
import re
import sys
from importlib import metadata
from pathlib import Path

from packaging.version import Version

from pinfold.errors import UserError
from pinfold.publish.overlays import OVERLAYS
from pinfold.publish.releases import TABLE

# Not imported by anybody: command line, conversion scripts, and the sources that transformers' own converter reads.
LEFT_OUT = re.compile(r"(^|\.)(commands|cli|testing_utils|test_\w+|convert_\w+|modular_\w+|conversion_\w+)(\.|$)")
MEMBERS = ("PreTrainedModel", "DynamicCache", "GenerationMixin")


class Release:
    """One transformers package on disk."""

    def __init__(self, package: Path):
        self.files = {}
        for path in sorted(package.rglob("*.py")):
            parts = path.relative_to(package.parent).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            self.files[name] = path
        self.packages = {name for name, path in self.files.items() if path.name == "__init__.py"}
        self.trees = {name: _outline(name, path) for name, path in self.files.items()}
        self._names: dict[str, set[str]] = {}

    def table(self) -> dict[str, set[str]]:
        """Module -> names that can be imported from it."""
        found = {}
        for module in self.files:
            if not LEFT_OUT.search(module):
                names = self.names(module)
                inner = module.startswith("transformers.models.")
                found[module] = {n for n in names if n.isidentifier() and not n.startswith("__" if not inner else "_")}
        for old, new in self._renamed():
            found[old] = found[new]
            package, _, name = old.rpartition(".")
            found[package] |= {name}
        return found

    def _renamed(self) -> list[tuple[str, str]]:
        """Modules that an import finds under an earlier name."""
        text, found = self.text("transformers"), []
        for node in ast.walk(self.trees["transformers"]):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_LEGACY_MODULE_ALIASES":
                pairs = ast.literal_eval(node.value).items()
                found += [(f"transformers.{old}", f"transformers.{new}") for old, new in pairs]
        calls = re.findall(r"""_alias\(f"\{__name__\}\.(\w+)", "(\.\w+)"\)""", text)
        found += [(f"transformers.{old}", f"transformers{new}") for old, new in calls]
        if "_LEGACY_FAST_IMAGE_PROCESSOR_MODULE" in text or '_create_module_alias(f"{__name__}.models.' in text:
            pattern = re.compile(r"transformers\.models\.\w+\.image_processing_(?!pil_|auto)\w+(?<!_fast)")
            found += [(f"{m}_fast", m) for m in self.files if pattern.fullmatch(m) and f"{m}_fast" not in self.files]
        return found

    def text(self, module: str) -> str:
        """The module's source."""
        return self.files[module].read_text(encoding="utf-8")

    def names(self, module: str) -> set[str]:
        """What a module holds when it was imported: its definitions, and for a package its parts and exports."""
        if module not in self._names:
            self._names[module] = set()  # a circle of imports ends here
            tree = self.trees[module]
            lazy = module in self.packages and "sys.modules[__name__] = _LazyModule(" in self.text(module)
            found = set() if lazy else set(self._body(tree.body, module))
            if module in self.packages:
                found |= {m.rpartition(".")[2] for m in self.files if m.rpartition(".")[0] == module}
                found |= self._lazy(module)
            self._names[module] = found
        return self._names[module]

    def _body(self, body: list[ast.stmt], module: str):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield node.name
            elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    yield from (
                        n.id for n in ast.walk(target) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
                    )
            elif isinstance(node, ast.If):
                # where a module answers for names by __getattr__, its imports for type checkers list them
                answers = any(
                    isinstance(n, ast.FunctionDef) and n.name == "__getattr__" for n in self.trees[module].body
                )
                checking = ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING") and not answers
                yield from self._body([] if checking else node.body, module)
                yield from self._body(node.orelse, module)
            elif isinstance(node, ast.Try):
                yield from self._body([*node.body, *node.orelse, *node.finalbody], module)
                for handler in node.handlers:
                    yield from self._body(handler.body, module)
            elif isinstance(node, (ast.With, ast.For, ast.While)):
                yield from self._body(node.body, module)
            elif isinstance(node, ast.ImportFrom):
                source = self._absolute(node, module)
                if source.split(".")[0] != "transformers":
                    continue
                for alias in node.names:
                    if alias.name != "*":
                        yield alias.asname or alias.name
                    elif source in self.trees:
                        every = self._all(source)
                        yield from every if every else (n for n in self.names(source) if not n.startswith("_"))

    def _absolute(self, node: ast.ImportFrom, module: str) -> str:
        if not node.level:
            return node.module or ""
        parts = module.split(".")
        parts = parts[: len(parts) - node.level + (module in self.packages)]
        return ".".join([*parts, *([node.module] if node.module else [])])

    def _all(self, module: str) -> set[str]:
        for node in self.trees[module].body:
            if isinstance(node, (ast.Assign, ast.AugAssign)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if isinstance(target, ast.Name) and target.id == "__all__":
                    return {
                        c.value
                        for c in ast.walk(node.value)
                        if isinstance(c, ast.Constant) and isinstance(c.value, str)
                    }
        return set()

    def _lazy(self, module: str) -> set[str]:
        """Names that a package's lazy module answers for (transformers.utils.import_utils._LazyModule)."""
        tree, found = self.trees[module], set()
        if "_import_structure" in self.text(module):
            found |= self._import_structure(tree, module)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == "define_import_structure"
            ):
                root = module
                if "models" in ast.unparse(node.args[0]):
                    root = f"{module}.models"
                for name in self.files:
                    if (
                        name.startswith(root + ".")
                        and not LEFT_OUT.search(name[len(root) :])
                        and name not in self.packages
                    ):
                        found |= self._exports(name)
        return found

    def _exports(self, module: str) -> set[str]:
        found = set(self._all(module))
        for node in self.trees[module].body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and any(
                isinstance(d, ast.Call) and isinstance(d.func, ast.Name) and d.func.id in ("requires", "export")
                for d in node.decorator_list
            ):
                found.add(node.name)
        return found

    def _import_structure(self, tree: ast.Module, module: str) -> set[str]:
        """Names in the literal table from a part of the package to what it exports, as far as that part has them."""
        found: set[str] = set()

        def add(part: ast.expr | None, value: ast.expr) -> None:
            names, inner = (
                self._strings(value, module),
                f"{module}.{part.value}" if isinstance(part, ast.Constant) else "",
            )
            found.update(names & self.names(inner) if inner in self.trees else names)

        for node in ast.walk(tree):
            if isinstance(node, (ast.Assign, ast.AnnAssign)):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                if ast.unparse(target) == "_import_structure" and isinstance(node.value, ast.Dict):
                    for key, value in zip(node.value.keys, node.value.values, strict=True):
                        add(key, value)
                elif part := _part(target):
                    add(part, node.value)
            elif isinstance(node, ast.AugAssign) and (part := _part(node.target)):
                add(part, node.value)
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("append", "extend")
                and (part := _part(node.func.value))
            ):
                add(part, node.args[0])
        return found

    def _strings(self, node: ast.expr, module: str) -> set[str]:
        """Literal names; a comprehension over dir(module) means that module's public names."""
        found = {c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str)}
        for call in (c for c in ast.walk(node) if isinstance(c, ast.Call) and ast.unparse(c.func) == "dir"):
            inner = f"{module}.{ast.unparse(call.args[0])}"
            for candidate in (inner, f"transformers.utils.{ast.unparse(call.args[0])}"):
                if candidate in self.trees:
                    found |= {n for n in self.names(candidate) if not n.startswith("_")}
        return found - {"_"}  # of name.startswith("_") in such a comprehension

    def members(self, cls: str, seen: frozenset = frozenset()) -> set[str]:
        """Methods and attributes of a class, those of its bases in transformers included."""
        found: set[str] = set()
        for name in sorted(self.trees, key=lambda n: (".models." in n, n)):
            node = next((n for n in self.trees[name].body if isinstance(n, ast.ClassDef) and n.name == cls), None)
            if node is None or ".dummy_" in name or cls in seen:
                continue
            for item in ast.walk(node):
                if isinstance(item, ast.FunctionDef):
                    found.add(item.name)
                elif isinstance(item, ast.Attribute) and isinstance(item.ctx, ast.Store):
                    found |= {item.attr} if isinstance(item.value, ast.Name) and item.value.id == "self" else set()
            for item in node.body:
                for target in getattr(item, "targets", [getattr(item, "target", None)]):
                    found |= {target.id} if isinstance(target, ast.Name) else set()
            for base in node.bases:
                found |= self.members(ast.unparse(base).split(".")[-1], seen | {cls})
            return {n for n in found if not n.startswith("__")}
        return found

    def model_types(self) -> set[str]:
        """Keys of the table from model type to configuration class."""
        text = "".join(
            self.files[f"transformers.models.auto.{name}"].read_text(encoding="utf-8")
            for name in ("configuration_auto", "auto_mappings")
            if f"transformers.models.auto.{name}" in self.files
        )
        return set(re.findall(r"""\(\s*["']([\w.-]+)["'],\s*["']\w+Config["']""", text))


def _part(node: ast.expr) -> ast.expr | None:
    """The key in ``_import_structure[key]``."""
    named = (
        isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "_import_structure"
    )
    return node.slice if named else None


def _outline(name: str, path: Path) -> ast.Module:
    """The syntax tree of a module; of a model's, without what is inside its classes and functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if name.startswith("transformers.models."):
        for node in tree.body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                node.body = []
    return tree


def ranges(present: list[bool]) -> str:
    """Where a name exists, as positions in the list of releases: "0-9 12-33"."""
    found, start = [], None
    for position, there in enumerate([*present, False]):
        if there and start is None:
            start = position
        elif not there and start is not None:
            found.append(f"{start}-{position - 1}")
            start = None
    return " ".join(found)


def grouped(per_release: list[set[str]]) -> dict[str, str]:
    """Ranges of releases -> the names that exist in exactly those, separated by spaces."""
    groups: dict[str, list[str]] = {}
    for name in sorted(set().union(*per_release)):
        groups.setdefault(ranges([name in names for names in per_release]), []).append(name)
    return {key: " ".join(names) for key, names in sorted(groups.items())}


def main() -> int:
    """Read every package and write the table."""
    gc.disable()  # it would walk millions of syntax nodes over and over, and none of them forms a circle
    own = metadata.version("transformers")
    packages = {own: Path(importlib.util.find_spec("transformers").origin).parent}
    packages |= {p.name: p / "transformers" for p in OVERLAYS.glob("*.*.*") if (p / ".complete").exists()}
    newest = {Version(v).release[:2]: v for v in sorted(packages, key=Version)}
    releases = [version for minor, version in sorted(newest.items()) if minor >= (4, 48)]
    minors = [minor for minor in sorted(newest) if minor >= (4, 48)]
    if len(releases) < 2 or minors[0] != (4, 48):
        raise UserError(f"found {', '.join(releases)} in {OVERLAYS}; first run: pinfold compat make all")
    tables, members, types = [], {cls: [] for cls in MEMBERS}, []
    for version in releases:
        release = Release(packages[version])
        tables.append(release.table())
        types.append(release.model_types())
        for cls in MEMBERS:
            members[cls].append(release.members(cls))
        print(
            f"transformers {version}: {len(tables[-1])} modules, {sum(map(len, tables[-1].values()))} names",
            flush=True,
        )
    modules = sorted(set().union(*tables))
    value = {
        "made": f"python -m pinfold.publish.releases_table, {datetime.date.today()}",
        "releases": releases,
        "model_types": grouped(types),
        "members": {cls: grouped(found) for cls, found in members.items()},
        "modules": grouped([set(table) for table in tables]),
        "names": {m: grouped([table.get(m, set()) for table in tables]) for m in modules},
    }
    TABLE.write_text(json.dumps(value, indent=0, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{TABLE}: {TABLE.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
