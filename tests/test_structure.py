"""The directions in which parts of the repository may import each other, read from the source."""

import ast
import collections
import functools
import graphlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import ROOT, clean_environment

PACKAGE = ROOT / "pinfold"
MODEL_FOLDERS = sorted(p for p in ROOT.glob("*_model") if p.is_dir())
FIELD_LIBRARIES = {"resnet_model": {"timm"}}


# Which folders of pinfold a folder may import, itself aside: docs/architecture.md, "Who may import whom". Planned
# folders are listed too, so that they are built in their places.
STEPS = {"audit", "staging", "fence", "fenced", "verify", "card", "remote"}
MAY_IMPORT = {
    "common": set(),
    "folder": {"common"},
    "fenced": set(),
    "fence": {"common"},
    "audit": {"common", "folder"},
    "staging": {"common", "folder"},
    "convert": {"common", "folder", "fence", "audit"},
    "flatten": {"common", "folder", "audit", "staging"},
    "verify": {"common", "folder", "fence", "fenced", "staging"},
    "remote": {"common", "folder", "staging"},
    "card": {"common", "folder", "audit", "staging", "fenced"},
    "push": {"common", "folder", "convert", "flatten", *STEPS},
    "tokenizer": {"common", "folder", "fence", "verify"},
    "train": {"common", "folder", "tokenizer"},
    "summarize": {"common", "folder", "audit", "fence", "remote", "staging", "verify"},
    "hub": {"common", "folder"},
    "builder": {"common", "folder", "audit", "convert", "fence", "fenced", "staging", "summarize", "verify"},
    "export": {"common", "audit", "fence", "summarize", "verify"},
    # planned
    "new": {"common", "folder"},
    "port": {"common", "folder", "audit", "convert", "verify"},
    "watch": {"common", "folder", "audit", "card", "remote", "verify"},
}
MAY_IMPORT["cli"] = set(MAY_IMPORT)
# folders that may have more than 14 entries
LARGE = {"pinfold", "rules", "suite", "templates", "modular_users", "research", "cli"}  # cli: a file for each verb
VAGUE = {"found", "given", "told", "made", "wanted", "kept"}  # names that say when, not what


@functools.cache
def imports(path):
    """Absolute names of what a file imports, inside of functions too.

    Of `from pinfold.push import steps` the module alone, where that is one: the package's __init__.py gives nothing.
    """
    names, above = set(), path.relative_to(ROOT).parts[:-1] if path.is_relative_to(ROOT) else ()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.level == 0 or above[:1] == ("pinfold",)):
            start = [*above[: len(above) - node.level + 1]] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            named = {f"{module}.{alias.name}" for alias in node.names}
            names |= named if all(map(is_module, named)) else {module} | named
    return names


def is_module(name):
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def files(directory):
    return sorted(directory.rglob("*.py"))


@functools.cache
def modules():
    """Dotted name -> file, of the whole package; a package's name is that of its __init__.py."""
    named = {}
    for path in files(PACKAGE):
        parts = path.relative_to(ROOT).with_suffix("").parts
        named[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return named


@functools.cache
def edges():
    """(module, module that it imports) for every import in the package."""
    return [(name, other) for name, path in modules().items() for other in imports(path) & modules().keys()]


@pytest.mark.parametrize("folder", MODEL_FOLDERS, ids=lambda p: p.name)
def test_a_model_folder_imports_nothing_of_ours_and_one_field_library(folder):
    allowed = {"torch", "transformers", "numpy", "PIL", "safetensors"} | FIELD_LIBRARIES.get(folder.name, set())
    for path in files(folder):
        tops = {name.split(".")[0] for name in imports(path)}
        # a converter is not published; it reads what others wrote
        read = {"huggingface_hub", "yaml", "tensorflow"} if path.name.startswith("convert_") else set()
        assert tops - allowed - read - set(sys.stdlib_module_names) == set(), path


@pytest.mark.parametrize("folder", MODEL_FOLDERS, ids=lambda p: p.name)
def test_a_model_folders_package_file_is_empty(folder):
    assert (folder / "__init__.py").read_text() == ""


def test_the_tool_imports_no_model_folder():
    names = {folder.name for folder in MODEL_FOLDERS}
    for path in files(PACKAGE):
        assert not {name.split(".")[0] for name in imports(path)} & names, path


def folder_of(module):
    return module.split(".")[1]


def test_imports_go_down_the_table_only(capsys):
    found = collections.defaultdict(collections.Counter)
    for module, other in edges():
        if module.count(".") and other.count(".") and folder_of(module) != folder_of(other):
            found[folder_of(module)][folder_of(other)] += 1
    with capsys.disabled():
        print()
        for folder in MAY_IMPORT:
            uses = ", ".join(f"{other} {count}" for other, count in sorted(found[folder].items()))
            print(f"  {folder:<10} {uses or ('-' if (PACKAGE / folder).is_dir() else '(planned)')}")
    ours = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert ours <= MAY_IMPORT.keys()
    # the command line may import everything, whether or not there is a verb for it
    unused = {folder: MAY_IMPORT[folder] & ours - found[folder].keys() for folder in ours - {"cli"}}
    assert not any(unused.values()), unused
    wrong = [
        (module, other)
        for module, other in edges()
        if module.count(".") and other.count(".") and module != "pinfold.__main__"
        if folder_of(other) not in {folder_of(module), *MAY_IMPORT[folder_of(module)]}
    ]
    assert wrong == []


def test_the_page_lists_the_same_imports():
    """docs/architecture.md leaves out common and folder, and what those may import that a folder may import."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (listing,) = re.findall(r"## Who may import whom\n.*?((?:^    [^\n]+\n)+)", page, re.MULTILINE | re.DOTALL)
    listed = {}
    for entry in re.split(r"\s{3,}", listing.strip()):
        folders, _, others = entry.partition(";")[0].strip().partition(" -> ")
        known = {"nothing": set(), "all of these": set(listed), "everything": MAY_IMPORT["cli"]}
        for folder in folders.split(", "):
            listed[folder] = known.get(others, set(others.split(", ")))
    assert listed.keys() == {folder for folder in MAY_IMPORT if (PACKAGE / folder).is_dir()}
    for folder, direct in listed.items():
        reached, queue = {"common", "folder"}, list(direct)
        while queue:
            if (other := queue.pop()) not in reached:
                reached.add(other)
                queue += listed.get(other, ())
        assert direct <= MAY_IMPORT[folder] <= reached, folder


def test_what_runs_in_the_sandbox_imports_nothing_of_pinfold_but_itself():
    """By relative imports alone, as it is found under another name there."""
    for path in files(PACKAGE / "fenced"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert len(path.relative_to(PACKAGE / "fenced").parts) >= node.level, path
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
                assert not any(name.split(".")[0] == "pinfold" for name in names), path


def test_no_module_imports_itself_by_way_of_others():
    """Every import counts, those inside of functions and of TYPE_CHECKING too."""
    needs = collections.defaultdict(set)
    for module, other in edges():
        if module != other:
            needs[module].add(other)
    graph = graphlib.TopologicalSorter(needs)
    try:
        graph.prepare()
    except graphlib.CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_nobody_imports_the_embedded_hub_or_the_command_line():
    for module, other in edges():
        if other.startswith("pinfold.hub"):
            assert module.startswith(("pinfold.hub", "pinfold.cli")), (module, other)
        if other.startswith("pinfold.cli"):
            assert module.startswith("pinfold.cli") or module == "pinfold.__main__", (module, other)


def test_folders_are_small_enough_to_read():
    below = (path for top in (PACKAGE, ROOT / "tests") for path in top.rglob("*") if path.is_dir())
    for directory in (PACKAGE, *below):
        if directory.name not in LARGE and "__pycache__" not in directory.parts:
            entries = [path.name for path in directory.iterdir() if path.name != "__pycache__"]
            assert len(entries) <= 14, (directory, sorted(entries))


def test_names_say_what_they_hold():
    """At most one of the vague names in a function, and "found" in at most twenty of the package's.

    stand_ins is copied into generated folders, whose bytes stay; its names are transformers'. Files that the
    converter wrote have theirs from there as well.
    """
    with_found = []
    beside = [path for folder in (*MODEL_FOLDERS, ROOT / "benchmarks", ROOT / "scripts") for path in files(folder)]
    beside = [path for path in beside if not path.read_text().startswith("# Made by pinfold")]
    outside = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in beside}
    for name, path in (modules() | outside).items():
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
                vague = VAGUE & (
                    stored | {argument.arg for argument in ast.walk(function) if isinstance(argument, ast.arg)}
                )
                assert len(vague) <= 1 or ".stand_ins." in name, (name, function.name, vague)
                with_found += [f"{name}.{function.name}"] if "found" in vague and name not in outside else []
    assert len(with_found) <= 20, with_found


@pytest.mark.slow
def test_without_the_embedded_hub_every_other_module_still_imports(tmp_path):
    code = """
import importlib, pkgutil, sys
sys.modules["pinfold.hub"] = None
import pinfold
names = [m.name for m in pkgutil.walk_packages(pinfold.__path__, "pinfold.") if not m.name.startswith("pinfold.hub")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    environment = clean_environment(tmp_path / "home", PYTHONPATH=str(ROOT))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0 and int(done.stdout) > 10, done.stderr


@pytest.mark.parametrize(
    "verb", ["convert", "push", "check", "train", "tokenizer", "summarize", "export", "compare", "compat", "hub"]
)
def test_every_verb_explains_itself_with_an_example(pinfold, verb):
    done = pinfold(verb, "--help")
    assert done.returncode == 0 and f"pinfold {verb} " in done.stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["push", "--nonsense"], ["hub", "--port", "x"], ["compat"]])
def test_a_wrong_command_line_is_exit_code_2(pinfold, arguments):
    done = pinfold(*arguments)
    assert done.returncode == 2 and "Traceback" not in done.stderr


def test_push_py_is_pinfold_push(tmp_path):
    environment = clean_environment(tmp_path / "home")
    for command in ([str(ROOT / "push.py")], ["-m", "pinfold", "push"]):
        path = {"PYTHONPATH": str(ROOT)} if "-m" in command else {}
        done = subprocess.run(
            [sys.executable, *command, "nowhere"], cwd=tmp_path, env=environment | path, capture_output=True, text=True
        )
        assert done.returncode == 2 and "pinfold push: nowhere: no such folder" in done.stderr


def test_the_repository_speaks_of_the_project_alone():
    """No path of a machine in any file that is not ignored by git."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    homes = (str(Path.home()) + os.sep, str(ROOT) + os.sep)
    for name in listed.stdout.splitlines():
        text = (ROOT / name).read_bytes().decode(errors="replace")
        assert not any(home in text for home in homes if len(home) > 2), name
