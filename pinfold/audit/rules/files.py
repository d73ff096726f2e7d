"""Rules about files: what the loader copies, what it imports, and which version of the code it is (P06-P08, P21)."""

import ast
import contextlib
import functools
import importlib.metadata
import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, call_name, is_try, string
from pinfold.common.errors import UserError
from pinfold.common.front_matter import split_front_matter
from pinfold.common.trees import below, every, walk
from pinfold.folder.model_folder import DIGEST_LINE, ModelFolder, Module, assigned, code_digest, located, read_text
from pinfold.folder.releases import every_minor, lowest_version

# As in transformers.dynamic_module_utils.get_relative_imports, but for the beginning of a line (see RELATIVE_IMPORT).
LOADED_TEXT = re.compile(r"^[^\S\n]*(?:from\s+\.(\S+)\s+import|import\s+\.(\S+)[^\S\n]*$)", re.MULTILINE)
# As in get_imports of 4.48, which reads text and not the syntax tree.
IMPORTED_TEXT = re.compile(r"^[^\S\n]*(?:from\s+([^.\s]\S*)\s+import|import\s+([^.\s]\S*)[^\S\n]*$)", re.MULTILINE)
READS_SYNTAX = (4, 57)  # the first release of which it is known here that get_imports reads the syntax tree
# What every supported transformers, or torch, brings along.
ALWAYS_THERE = {"torch", "transformers", "numpy", "safetensors", "huggingface_hub", "tokenizers", "packaging", "yaml"}
ALWAYS_THERE |= {"regex", "tqdm", "filelock", "typing_extensions", "jinja2", "fsspec", "sympy", "networkx"}
# Distributions whose module has another name.
MODULES = {
    "pillow": "PIL",
    "opencv_python": "cv2",
    "opencv_python_headless": "cv2",
    "scikit_learn": "sklearn",
    "scikit_image": "skimage",
    "pyyaml": "yaml",
    "protobuf": "google",
    "beautifulsoup4": "bs4",
    "python_dateutil": "dateutil",
}
LEVELS = 6  # directories above a folder in which its author's own package is looked for
# What statements are in: an import is never a part of an expression.
HOLD_STATEMENTS = (ast.stmt, ast.ExceptHandler, ast.match_case)
CATCHES_IMPORT = {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"}
SENTENCES = "sentence_transformers"


def relative_imports(code: ReachableCode) -> Iterator[Finding]:
    """P06: imports of siblings that the loader cannot follow."""
    here = set(code.folder.modules)
    ours = here - sys.stdlib_module_names - ALWAYS_THERE  # a file called types.py does not hide Python's own
    for module in code.modules:
        seen = {name for pair in LOADED_TEXT.findall(module.source) for name in pair if name}
        asked = _asked_for(module, code.lowest_version)
        lines = set()
        for node in every(module.tree, ast.ImportFrom, ast.Import):
            if isinstance(node, ast.ImportFrom):
                lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
                name = node.module or ""
                findable = node.level == 1 and name in here and name in seen
                if node.level > 1 and (package := package_above(code.home)):
                    yield _of_package(code, module, node, "P06", package)
                elif not findable and (node.level or (name.split(".")[0] in ours and node in asked)):
                    yield _unfindable(module.file, node.lineno, module.text(node), name, asked.get(node, ()))
            elif node in asked:
                names = [alias.name for alias in node.names if alias.name.split(".")[0] in ours]
                if names:
                    yield _unfindable(module.file, node.lineno, module.text(node), names[0], asked[node])
        # the loader matches raw text, so a docstring that looks like an import is one to it
        for match in LOADED_TEXT.finditer(module.source):
            sibling, start = _captured(match)
            line = module.line(start)
            if line not in lines and sibling not in here:
                yield _unfindable(module.file, line, module.lines[line - 1].strip()[:120], sibling)


def _captured(match: re.Match[str]) -> tuple[str, int]:
    """The name that one of a pattern's alternatives holds, and where it begins."""
    return next((name, match.start(group)) for group, name in enumerate(match.groups(), 1) if name)


def _asked_for(module: Module, lowest: tuple[int, int]) -> dict[ast.AST, tuple[str, ...]]:
    """Absolute imports that a load asks for -> the releases that do; nothing for all.

    An import below ``except ImportError`` is asked for by those that read the text and not the syntax tree.
    """
    by_syntax = {statement for _, statement in required(module.tree, READS_SYNTAX)}
    by_text = {statement for _, statement in required(module.tree, lowest)} - by_syntax
    return dict.fromkeys(by_syntax, ()) | dict.fromkeys(by_text, harmed("P06.absolute_in_except", lowest))


def _unfindable(file: str, line: int, statement: str, name: str, releases: tuple[str, ...] = ()) -> Finding:
    sibling = name if name.isidentifier() else "file"
    return Finding(
        "P06",
        f'{file}:{line}: "{statement}" cannot be found by the loader. Only "from .file import Name" with '
        f"{sibling}.py in this folder works.",
        file,
        line,
        releases=releases,
    )


def helpers(code: ReachableCode) -> Iterator[Finding]:
    """P07: files that only other helpers import."""
    folder = code.folder
    for entry in sorted({place.split(".")[0] for place in code.auto_map.values()} & set(folder.modules)):
        direct = {entry, *folder.modules[entry].siblings()}
        reported: set[str] = set()
        for module in folder.closure([entry]):
            for helper in module.siblings():
                if helper in folder.modules and helper not in direct | reported:
                    reported.add(helper)
                    line = next((i for i, text in enumerate(module.lines, 1) if f".{helper}" in text), 1)
                    yield Finding(
                        "P07",
                        f"{module.file}:{line}: helper {helper}.py is reached only through {module.file}; "
                        "transformers before 5.23 (tested up to 5.8) will not copy it from a local folder. "
                        f"Import it from {entry}.py as well.",
                        module.file,
                        line,
                    )


def requirements(code: ReachableCode) -> Iterator[Finding]:
    """P08: packages that have to be installed and that the folder does not declare."""
    declared = declared_packages(code)
    allowed = ALWAYS_THERE | sys.stdlib_module_names | set(code.folder.modules) | declared
    # what modules.json names is loaded by that library alone
    of_sentences = {place.split(".")[0] for place in code.folder.sentence_classes}
    for module in code.modules:
        for name, node in required(module.tree, code.lowest_version):
            if name not in ALWAYS_THERE | sys.stdlib_module_names and (above := holder_of(code.home, name)):
                if name not in code.folder.modules:
                    yield _of_package(code, module, node, "P08", above / name)
            elif name in declared and (place := installed_from(name)):
                yield _only_here(module.file, node.lineno, name, place)
            elif name not in allowed and not (name == SENTENCES and module.name in of_sentences):
                yield _hard(module.file, node.lineno, name)
        if code.lowest_version < READS_SYNTAX:
            for name, line in _in_strings(module):
                if name not in allowed | {"requests"}:  # 4.x brings requests
                    yield _hard(module.file, line, name)


def _hard(file: str, line: int, package: str) -> Finding:
    return Finding(
        "P08",
        f"{file}:{line}: import {package} is a hard requirement even inside a function or TYPE_CHECKING. Wrap it in "
        "try/except ImportError or remove it.",
        file,
        line,
        fix=f'Or declare it: REQUIREMENTS = ("{distribution(package)}",) in a Python file, or requirements.txt.',
    )


def package_above(folder: Path) -> Path | None:
    """The outermost directory with an __init__.py that a folder lies in, the folder itself included."""
    outermost = None
    for directory in (folder.resolve(), *folder.resolve().parents):
        if not (directory / "__init__.py").is_file():
            break
        outermost = directory
    return outermost


def holder_of(folder: Path, name: str) -> Path | None:
    """The directory above a folder that holds a package or module of this name: it is the author's own."""
    above = folder.resolve()
    for directory in [above, *above.parents][1 : 1 + LEVELS]:
        package = directory / name
        own = package == above or package in above.parents or (package / "__init__.py").is_file()
        if own or (directory / f"{name}.py").is_file():
            return directory
        if (directory / ".git").exists() or directory == Path.home():
            break
    return None


def _of_package(code: ReachableCode, module: Module, node: ast.stmt, rule: str, package: Path) -> Finding:
    """An import of what lies outside of the folder, in the author's own package."""
    holder, inside = package.parent, code.home.resolve()
    above = inside.relative_to(holder).parts if inside.is_relative_to(holder) else ()
    places = [place for auto, place in code.auto_map.items() if auto.startswith("AutoModel")]
    model, _, cls = (places[0] if places else f"{module.name}.CLASS").partition(".")
    return Finding(
        rule,
        f'{module.file}:{node.lineno}: "{module.text(node)}" imports from {package.name}, which is outside this '
        f"folder; whoever loads the model does not have {package.name}.",
        module.file,
        node.lineno,
        fix='Write "from .file import Name" with file.py in this folder, or let pinfold write such a folder: pinfold '
        f"push --flatten {'.'.join([*above, model])}:{cls} --checkpoint DIR, in {holder}.",
    )


def installed_from(package: str) -> str | None:
    """The directory or file that an installed package says it was installed from (PEP 610); None for an index."""
    return _from_files().get(package)


@functools.cache
def _from_files() -> Mapping[str, str]:
    """Imported name -> where it was installed from, of all distributions that did not come from an index.

    Only these are looked into: to ask what every installed distribution holds takes most of a second.
    """
    places: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        try:
            origin = json.loads(distribution.read_text("direct_url.json") or "{}")
        except ValueError:
            continue
        url = origin.get("url") if isinstance(origin, dict) else None
        if isinstance(url, str) and url.startswith("file:"):
            places.update(dict.fromkeys(_imported_names(distribution), url.removeprefix("file://")))
    return places


def _imported_names(distribution: importlib.metadata.Distribution) -> set[str]:
    """What can be imported from a distribution: as it declares it, or else its files at the top."""
    if declared := (distribution.read_text("top_level.txt") or "").split():
        return set(declared)
    return {path.parts[0].removesuffix(".py") for path in distribution.files or () if path.suffix == ".py"}


def _only_here(file: str, line: int, package: str, place: str) -> Finding:
    return Finding(
        "P08",
        f"{file}:{line}: import {package}: the folder declares it, but it is installed here from {place}, and pip "
        "would not find it elsewhere.",
        file,
        line,
        fix="Publish it to an index and install it from there, or put the code that is needed into this folder.",
    )


def distribution(package: str) -> str:
    """The name for pip of what is imported as ``package``."""
    return next((name.replace("_", "-") for name, module in MODULES.items() if module == package), package)


def required(tree: ast.Module, lowest: tuple[int, int]) -> Iterator[tuple[str, ast.stmt]]:
    """Packages that check_imports of some release asks for, with the statement."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, guarded = stack.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)) and not guarded:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if not getattr(node, "level", 0):
                yield from ((name.split(".")[0], node) for name in names)
        elif is_try(node):
            inside = guarded or any(_catches_import(handler) for handler in node.handlers)
            # 4.48 cuts out what lies between try and except and keeps the rest
            after = inside if lowest >= READS_SYNTAX else guarded
            stack += [(child, inside) for child in node.body]
            stack += [(child, after) for child in (*node.handlers, *node.orelse, *node.finalbody)]
        elif isinstance(node, ast.If):
            inside = guarded or _asks_for_package(node, lowest)
            cut = _cut_out(node)
            stack += [(child, inside or i < cut) for i, child in enumerate(node.body)]
            stack += [(child, guarded) for child in node.orelse]
        else:
            stack += [(child, guarded) for child in below(node) if isinstance(child, HOLD_STATEMENTS)]


def packages_asked_for(folder: ModelFolder, modules: list[Module]) -> tuple[list[str], list[str]]:
    """Packages that a load asks for, and those that the code does without, by the names that are imported.

    What transformers itself brings along, the standard library and the folder's own files are left out.
    """
    major, minor = lowest_version(folder).split(".")[:2]
    lowest = int(major), int(minor)
    known = ALWAYS_THERE | sys.stdlib_module_names | set(folder.modules)
    needed = {name for module in modules for name, _ in required(module.tree, lowest)} - known
    imported = {
        name.split(".")[0]
        for module in modules
        for node in every(module.tree, ast.Import, ast.ImportFrom)
        if not getattr(node, "level", 0)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    return sorted(needed), sorted(imported - known - needed)


def _catches_import(handler: ast.ExceptHandler) -> bool:
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(t is None or (isinstance(t, ast.Name) and t.id in CATCHES_IMPORT) for t in types)


def _asks_for_package(node: ast.If, lowest: tuple[int, int]) -> bool:
    """``if is_scipy_available():`` guards what it holds, but not yet in 4.48."""
    asked = {call_name(call) for call in every(node.test, ast.Call)}
    return lowest >= READS_SYNTAX and any(name.startswith("is_") and name.endswith("_available") for name in asked)


def _cut_out(node: ast.If) -> int:
    """How many statements 4.48 cuts out: those from flash_attn right after ``if is_flash_attn...available()``.

    Whatever follows them in the body is read like any other line.
    """
    asked = (call_name(call) for call in every(node.test, ast.Call))
    if not any(name.startswith("is_flash_attn") and name.endswith("available") for name in asked):
        return 0
    flash = [isinstance(n, ast.ImportFrom) and (n.module or "").startswith("flash_attn") for n in node.body]
    return [*flash, False].index(False)


def _in_strings(module: Module) -> Iterator[tuple[str, int]]:
    """Imports in docstrings: to 4.48 they are imports like any other."""
    docstring_lines: set[int] = set()
    for node in every(module.tree, ast.Constant):
        if string(node) is not None:
            place = located(node)
            if place.end_lineno != place.lineno:
                docstring_lines |= set(range(place.lineno, place.end_lineno + 1))
    for match in IMPORTED_TEXT.finditer(module.source) if docstring_lines else ():
        path, start = _captured(match)
        line = module.line(start)
        name = path.split(".")[0]
        if line in docstring_lines and name.isidentifier():
            yield name, line


def declared_packages(code: ReachableCode) -> frozenset[str]:
    """Packages, by the names that are imported, that the folder asks its users to install.

    They are in requirements.txt, in ``REQUIREMENTS = ("timm", "pillow")`` in a Python file (which is published with
    the code), in the front matter of card.md or README.md as ``requirements: [timm]``, or in a pip line of the card.
    """
    names = declared_requirements(code.folder, code.directory, code.home)  # neither file is in what is staged
    names = {re.split(r"[^\w.-]", name)[0].replace("-", "_").replace(".", "_") for name in names}
    return frozenset(names | {MODULES.get(name.lower(), name.lower()) for name in names})


def declared_requirements(folder: ModelFolder, *directories: Path) -> set[str]:
    """What a folder asks pip for, as it is written: "timm", "einops>=0.7"."""
    names: set[str] = set()
    for path in dict.fromkeys((folder.path, *directories)):
        if (path / "requirements.txt").exists():
            text = read_text(path / "requirements.txt", path, 100_000, "list one package per line")
            names |= {line.strip() for line in re.findall(r"^[ \t]*([A-Za-z0-9][^#;\r\n]*)", text, re.MULTILINE)}
        for card in ("card.md", "README.md"):
            with contextlib.suppress(UserError):  # a card that cannot be read declares nothing
                names |= _declared_in_card(read_text(path / card, path, 1_000_000, "write the card as text"))
    for module in folder.modules.values():
        for node in module.tree.body:
            targets, value = assigned(node)
            first = targets[0] if targets else None
            if isinstance(first, ast.Name) and first.id == "REQUIREMENTS" and value is not None:
                names |= {package for n in walk(value) if (package := string(n)) is not None}
    return names


def asked_of_transformers(folder: ModelFolder, *directories: Path) -> SpecifierSet:
    """Which releases of transformers a folder asks for: "!=5.3.*"; empty where it has no wish, or none can be met."""
    asked = SpecifierSet()
    for text in sorted(declared_requirements(folder, *directories)):
        with contextlib.suppress(InvalidRequirement):  # an address, or a word that pip would not take
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) == "transformers":
                asked &= requirement.specifier
    return asked if any(map(asked.contains, every_minor())) else SpecifierSet()


def _declared_in_card(card: str) -> set[str]:
    """Packages in a card's front matter and in its pip lines."""
    names: set[str] = set()
    for line in re.findall(r"^[ $%!]*(?:python3? -m )?pip3? install +(.+)$", card, re.MULTILINE):
        names |= {word.strip("\"'`") for word in line.split() if not word.startswith("-")}
    block, _ = split_front_matter(card)
    listed = re.search(r"^requirements:[ \t]*(\[.*\]|(?:\n[ \t]*-.*)+)", block, re.MULTILINE)
    return names | (set(re.findall(r"[\[,\-][ \t]*[\"']?([A-Za-z0-9][\w.-]*)", listed[1])) if listed else set())


def outdated_digest(code: ReachableCode) -> Iterator[Finding]:
    """P21: code that was edited after it was staged."""
    modules = code.folder.loaded_modules()
    sources = {module.file: module.source for module in modules}
    for module in modules:
        declaration = DIGEST_LINE.search(module.source)
        if declaration is None:
            continue
        declared = re.search(r"=\s*[\"']([^\"']*)[\"']", declaration[0])
        if declared is None or not declared[1]:
            continue
        if declared[1] != code_digest(sources):
            line = module.line(declaration.start())
            yield Finding(
                "P21",
                f"code changed but CODE_DIGEST in {module.file} did not: stage the folder again.",
                module.file,
                line,
            )
