"""The directions in which parts of the repository may import each other, read from the source."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import ROOT, clean_environment

PACKAGE = ROOT / "pinfold"
MODEL_FOLDERS = sorted(p for p in ROOT.glob("*_model") if p.is_dir())
FIELD_LIBRARIES = {"resnet_model": {"timm"}}


def imports(path):
    """Absolute names of what a file imports, inside functions too."""
    found, above = set(), path.relative_to(ROOT).parts[:-1] if path.is_relative_to(ROOT) else ()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.level == 0 or above[:1] == ("pinfold",)):
            place = [*above[: len(above) - node.level + 1]] if node.level else []
            module = ".".join([*place, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def files(directory):
    return sorted(directory.rglob("*.py"))


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


@pytest.mark.parametrize("part", ["hub", "publish", "convert", "builder"])
def test_stages_do_not_import_each_other(part):
    others = {"hub", "publish", "convert", "builder"} - {part}
    # conversion asks which release has a name, and runs what it made behind the fence: facts and a tool, no stage
    shared = ("pinfold.publish.releases", "pinfold.publish.fence") if part == "convert" else ()
    for path in files(PACKAGE / part):
        for name in imports(path):
            if name != "pinfold.publish" and not name.startswith(shared):
                assert not any(name.startswith(f"pinfold.{other}") for other in others), (path, name)


def test_nobody_imports_the_embedded_hub():
    for path in files(PACKAGE):
        if PACKAGE / "hub" not in path.parents:
            assert not any(name.startswith("pinfold.hub") for name in imports(path)), path


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


@pytest.mark.parametrize("verb", ["convert", "push", "check", "train", "tokenizer", "compat", "hub"])
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
