"""From a class, wherever it lies, to the text of the files of a flat folder."""

import ast
import hashlib
import inspect
import keyword
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

from pinfold.audit.rules.files import ALWAYS_THERE, distribution, required
from pinfold.common.errors import UserError
from pinfold.flatten import sources as found_sources
from pinfold.flatten.collect import Collection
from pinfold.flatten.meanings import OwnModule, Place
from pinfold.flatten.sources import MAIN, Source, Sources
from pinfold.flatten.write import Part, Writer
from pinfold.folder.kinds import DEFAULT_AUTO, head
from pinfold.folder.model_folder import ModelFolder, read_modules
from pinfold.folder.outputs import auto_of_outputs

OLDEST = (4, 48)


@dataclass(frozen=True)
class Origin:
    """Where a class was taken from, for those who want to run it there.

    Args:
        path: what has to be on Python's path. module: dotted.
    """

    path: Path
    module: str
    cls: str


@dataclass
class Flat:
    """The files of a flat folder.

    Args:
        files: name -> text. name: what the folder is called where no one says it.
        asks: whether they come from a script or notebook, which nobody wrote to be published.
        left_out: lines about statements that act on what was taken, and that were not taken.
        origin: the class in its package; None of a script, which cannot be imported without running it.
    """

    files: dict[str, str]
    name: str
    where: str
    asks: bool
    left_out: list[str] = field(default_factory=list)
    origin: Origin | None = None


def flatten(target: str, auto_map: dict[str, str] | None = None) -> Flat:
    """Classes of a package, a script or a notebook as the files of a flat folder; nothing of it is imported.

    Args:
        target: ``my.package.module:Class``, ``train.py:Class`` or ``notebook.ipynb:Class``; more classes after commas.
        auto_map: Auto class -> "module.Class", as a checkpoint says it.

    Raises:
        UserError: no such module or class, or code that cannot be published; one line.
    """
    module, _, listed = target.rpartition(":")
    classes = [name.strip() for name in listed.split(",")]
    if not module or not all(name.isidentifier() for name in classes):
        raise UserError(f"--flatten={target!r}: write my.package.module:Class, or script.py:Class")
    if module.endswith((".py", ".ipynb")):
        own = found_sources.of_file(Path(module))
        module = MAIN
    else:
        own = found_sources.of_package(module)
    collection = Collection(own)
    if own.get(module) is None:
        raise UserError(f"--flatten={target!r}: no module {module} in {own.tops[module.split('.')[0]]}")
    places = [_place(collection, module, name) for name in classes]
    return _flatten(collection, places, _config(collection, places[0]), auto_map or {})


def flatten_live(model: Any, *others: Any) -> Flat | None:
    """The same for a model in memory, its tokenizer and its processor.

    Returns:
        None where the file of its class lies in a flat folder already.

    Raises:
        UserError: its class cannot be published from where it is; one line.
    """
    cls = type(model)
    if "." in cls.__qualname__:
        raise UserError(f"{cls.__qualname__} is defined within a function or class; define it at the top level")
    module = sys.modules.get(cls.__module__)
    own = _main(module, cls) if cls.__module__ == MAIN and module else _package(cls)
    if own is None:
        return None
    collection = Collection(own)
    others = tuple(type(other) for other in others if other is not None)
    instances = [cls, *(each for each in others if own.get(each.__module__) is not None)]
    places = [_place(collection, each.__module__, each.__name__) for each in instances]
    config = type(model.config)
    own_config = own.get(config.__module__) is not None
    return _flatten(
        collection, places, _place(collection, config.__module__, config.__name__) if own_config else None, {}
    )


def _main(module: ModuleType, cls: type) -> Sources:
    """The script that runs, or the cells that ran."""
    if vars(module).get(cls.__name__) is not cls:
        raise UserError(f"{cls.__name__} was defined again since the model was built; build the model again")
    if file := getattr(module, "__file__", None):
        spec = getattr(module, "__spec__", None)
        if spec is None or not spec.parent:
            return found_sources.of_file(Path(file))
        text = Path(file).read_text(encoding="utf-8-sig")
        return found_sources.of_text(text, file, Path.cwd(), spec.parent)
    cells = vars(module).get("In")
    if not isinstance(cells, list):
        raise UserError(f"{cls.__name__} was typed at a prompt, and its source is not kept; write it to a file")
    return found_sources.of_cells([str(cell) for cell in cells], Path.cwd())


def _package(cls: type) -> Sources | None:
    """The package of a class, unless the directory of its file is a flat folder that needs nothing outside of it."""
    try:
        file = Path(inspect.getfile(cls))
    except (TypeError, OSError):
        return None
    top = cls.__module__.split(".")[0]
    if _is_flat(file.parent, top):
        return None
    loaded = sys.modules[top]
    if paths := list(getattr(loaded, "__path__", [])):
        return Sources({top: Path(paths[0])})
    return Sources({}, beside=file.parent)


def _is_flat(directory: Path, top: str) -> bool:
    """Whether what is loaded from a directory imports nothing of the user's but ``from .file import``."""
    folder = read_modules(directory)
    for module in folder.loaded_modules():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ImportFrom):
                package = (node.module or "").split(".")[0]
                if node.level > 1 or (node.level == 1 and not node.module):
                    return False
                if not node.level and (package == top or _is_sibling(folder, package)):
                    return False
            elif isinstance(node, ast.Import):
                tops = {alias.name.split(".")[0] for alias in node.names}
                if top in tops or any(_is_sibling(folder, name) for name in tops):
                    return False
    return True


def _is_sibling(folder: ModelFolder, name: str) -> bool:
    return name in folder.modules and name not in sys.stdlib_module_names | ALWAYS_THERE


def _place(collection: Collection, module: str, name: str) -> Place:
    there = collection.meaning(module, name)
    if isinstance(there, Place):
        there = _aliased(collection, there)
        node = collection.source(there.module).tree.body[collection.defining(there)[0]]
        if isinstance(node, ast.ClassDef):
            return there
    source = collection.source(module)
    classes = [node.name for node in source.tree.body if isinstance(node, ast.ClassDef)]
    known = f"; it has {', '.join(classes[:8])}" if classes else ""
    raise UserError(f"{source.where} defines no class {name}{known}")


def _class(collection: Collection, place: Place) -> ast.ClassDef:
    """
    Raises:
        UserError: the name is bound otherwise than by a class statement.
    """
    source = collection.source(place.module)
    node = source.tree.body[collection.defining(place)[0]]
    if not isinstance(node, ast.ClassDef):
        raise UserError(
            f"{source.where}:{node.lineno}: {place.name} is not made by a class statement; define it with class at "
            "the top level of its module"
        )
    return node


def _aliased(collection: Collection, place: Place) -> Place:
    """Where ``Name = Other`` leads to."""
    for _ in range(10):
        node = collection.source(place.module).tree.body[collection.defining(place)[0]]
        if not isinstance(node, ast.Assign) or not isinstance(node.value, (ast.Name, ast.Attribute)):
            break
        there = _follow(collection, place.module, node.value)
        if not isinstance(there, Place) or there == place:
            break
        place = there
    return place


def _config(collection: Collection, model: Place) -> Place | None:
    """The configuration class that a model, or a base class of it, names; None where it is one of transformers'.

    Raises:
        UserError: it names none.
    """
    named: list[str] = []
    for owner in _lineage(collection, model):
        for value in _named_configs(_class(collection, owner)):
            chain = [part for part in (_follow(collection, owner.module, value),) if part is not None]
            if chain and isinstance(chain[0], Place):
                config = _aliased(collection, chain[0])
                _class(collection, config)
                return config
            named.append(ast.unparse(value))
    if named:
        return None
    raise UserError(f"{model.module}: {model.name} has no configuration class; set config_class = ... in its body")


def _named_configs(node: ast.ClassDef) -> Iterator[ast.expr]:
    """The value of config_class, then the annotations of config."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "config_class" for t in statement.targets
        ):
            yield statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if statement.target.id == "config_class" and statement.value:
                yield statement.value
            elif statement.target.id == "config":
                yield statement.annotation
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            yield from (a.annotation for a in statement.args.args if a.arg == "config" and a.annotation is not None)


def _follow(collection: Collection, module: str, value: ast.expr) -> object:
    """What a name or a chain of attributes stands for."""
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value.isidentifier():
        return collection.meaning(module, value.value)
    if isinstance(value, ast.Name):
        return collection.meaning(module, value.id)
    if isinstance(value, ast.Attribute):
        inner = _follow(collection, module, value.value)
        return collection.meaning(inner.module, value.attr) if isinstance(inner, OwnModule) else None
    return None


def _lineage(collection: Collection, place: Place) -> list[Place]:
    """A class and its bases that the user wrote, nearest first."""
    lineage: list[Place] = []
    queue = [place]
    while queue:
        owner = queue.pop(0)
        if owner in lineage:
            continue
        lineage.append(owner)
        for base in _class(collection, owner).bases:
            there = _follow(collection, owner.module, base)
            if isinstance(there, Place) and isinstance(
                collection.source(there.module).tree.body[collection.defining(there)[0]], ast.ClassDef
            ):
                queue.append(there)
    return lineage


def _flatten(collection: Collection, places: list[Place], config: Place | None, auto_map: dict[str, str]) -> Flat:
    model = places[0]
    of_config: set[int] = set()
    if config:
        collection.require(config)
        of_config = set(collection.taken[config.module])
    for place in places:
        collection.require(place)
    _check_lost_cells(collection)
    collection.require_side_effects({place.module for place in [*places, *([config] if config else [])]})
    name = _folder_name(collection, model, config)
    parts = _parts(collection, model, config, of_config, name)
    entry = next(part for part in parts if part.stem == _stem_of(parts, collection, model))
    writer = Writer(collection, parts, entry.stem)
    files = {f"{part.stem}.py": writer.text(part) for part in parts}
    _register(collection, files, [*([config] if config else []), *places], writer, auto_map)
    source = collection.source(model.module)
    origins = {f"{part.stem}.py": part.source.title for part in parts}
    if packages := _requirements(files):
        files["requirements.txt"] = "".join(f"{package}\n" for package in packages)
    own = collection.sources.tops.get(model.module.split(".")[0])
    origin = Origin(own.parent, model.module, model.name) if own and not source.strict else None
    return Flat(
        {
            file: f"{_provenance(origins.get(file, source.title), text)}\n{text}"
            for file, text in sorted(files.items())
        },
        f"{name}_model",
        source.where,
        any(collection.source(module).strict for module, taken in collection.taken.items() if taken),
        collection.left_out,
        origin,
    )


def _check_lost_cells(collection: Collection) -> None:
    """
    Raises:
        UserError: a cell that could not be read may define something that was taken from another cell.
    """
    main, lost = collection.sources.main, collection.sources.lost
    taken = collection.taken.get(MAIN, ()) if main and lost else ()
    for name in [getattr(main.tree.body[position], "name", None) for position in taken if main]:
        if name and any(re.search(rf"^\s*(?:class|def)\s+{name}\b", cell, re.MULTILINE) for cell in lost):
            raise UserError(
                f"a cell that defines {name} is not plain Python; put what is for the shell or for IPython into "
                "a cell of its own"
            )


def _provenance(where: str, text: str) -> str:
    """The first line of a file: where it is from, and what tells an edit of it."""
    return f"# Taken from {where} by pinfold push, which writes it anew (sha256 {digest(text)})."


def digest(text: str) -> str:
    """The first digits of a text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _folder_name(collection: Collection, model: Place, config: Place | None) -> str:
    """The model_type, as a name of files."""
    for owner in _lineage(collection, config) if config else ():
        for statement in _class(collection, owner).body:
            target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
            value = getattr(statement, "value", None)
            if isinstance(target, ast.Name) and target.id == "model_type" and isinstance(value, ast.Constant):
                return _as_stem(str(value.value))
    return _as_stem(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", model.name))


def _as_stem(text: str) -> str:
    """A text as the name of a Python file, without its ending."""
    stem = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return stem if re.match(r"[a-z]", stem) and not keyword.iskeyword(stem) else f"model_{stem}".rstrip("_")


def _parts(collection: Collection, model: Place, config: Place | None, of_config: set[int], name: str) -> list[Part]:
    """Which statements go into which file."""
    parts: list[Part] = []
    modeling = _stem("modeling", collection.source(model.module), name)
    configuration = _stem("configuration", collection.source(config.module), name) if config else ""
    for module in sorted(collection.taken, key=lambda module: (module != model.module, module)):
        source, positions = collection.source(module), sorted(collection.taken[module])
        if config and module == config.module == model.module:
            parts.append(Part(configuration, source, [p for p in positions if p in of_config]))
            parts.append(Part(modeling, source, [p for p in positions if p not in of_config]))
        elif module == model.module:
            parts.append(Part(modeling, source, positions))
        elif config and module == config.module:
            parts.append(Part(configuration, source, positions))
        else:
            taken = {part.stem for part in parts} | {modeling, configuration}
            parts.append(Part(_other_stem(source, taken), source, positions))
    return [part for part in parts if part.positions]


def _stem(kind: str, source: Source, name: str) -> str:
    last = source.last_name
    return last if source.name != MAIN and re.fullmatch(rf"{kind}_[a-z0-9_]+", last) else f"{kind}_{name}"


def _other_stem(source: Source, taken: set[str]) -> str:
    pieces = source.name.split(".") if source.name != MAIN else [source.last_name]
    stem = ""
    for piece in reversed(pieces):
        stem = _as_stem(f"{piece}_{stem}" if stem else piece)
        if stem not in taken and stem not in sys.stdlib_module_names | ALWAYS_THERE:
            return stem
    while stem in taken | ALWAYS_THERE | sys.stdlib_module_names:
        stem += "_more"
    return stem


def _stem_of(parts: list[Part], collection: Collection, place: Place) -> str:
    position = collection.defining(place)[0]
    return next(p.stem for p in parts if p.source.name == place.module and position in p.positions)


def _register(
    collection: Collection, files: dict[str, str], places: list[Place], writer: Writer, auto_map: dict[str, str]
) -> None:
    """End each file with the lines by which save_pretrained knows its classes."""
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        for name, text in files.items():
            Path(temporary, name).write_text(text, encoding="utf-8")
        folder = read_modules(temporary)
    said = _registered(collection)
    said |= {entry.split(".")[-1]: auto for auto, entry in auto_map.items() if isinstance(entry, str)}
    lines: dict[str, list[str]] = {}
    for place in dict.fromkeys(places):
        kind = folder.kind(place.name) or ("config" if place is places[0] and len(places) > 1 else "model")
        by_name = head(place.name) or auto_of_outputs(folder, place.name) if kind == "model" else None
        auto = said.get(place.name) or by_name or DEFAULT_AUTO[kind]
        argument = "" if kind == "config" else f'"{auto}"'
        lines.setdefault(writer.file_of(place), []).append(f"{place.name}.register_for_auto_class({argument})")
    for stem, calls in lines.items():
        files[f"{stem}.py"] += "\n\n" + "\n".join(calls) + "\n"


def _registered(collection: Collection) -> dict[str, str]:
    """Class -> Auto class, of every register line in the modules that were read, wherever it is."""
    said: dict[str, str] = {}
    for module in list(collection.taken):
        for node in ast.walk(collection.source(module).tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner, arguments = node.func.value, [*node.args, *(k.value for k in node.keywords)]
            if node.func.attr == "register_for_auto_class" and isinstance(owner, ast.Name) and arguments:
                if isinstance(arguments[0], ast.Constant) and re.fullmatch(r"Auto\w+", str(arguments[0].value)):
                    said[owner.id] = str(arguments[0].value)
            elif node.func.attr == "register" and isinstance(owner, ast.Name) and owner.id.startswith("AutoModel"):
                said |= {argument.id: owner.id for argument in arguments[1:2] if isinstance(argument, ast.Name)}
    return said


def _requirements(files: dict[str, str]) -> list[str]:
    """Packages, as pip calls them, without which the files cannot be imported."""
    stems = {Path(file).stem for file in files}
    packages = {package for text in files.values() for package, _ in required(ast.parse(text), OLDEST)}
    needed = packages - ALWAYS_THERE - sys.stdlib_module_names - stems
    # a name that is not installed may be a module of the author's own; an index may have another of that name
    return sorted(distribution(name) for name in needed if name in packages_distributions())
