"""What the pages say, without running their commands: links, targets, files, options, front matter."""

import argparse
import re
import subprocess

import pytest
import yaml
from helpers.pages import PAGES, SHA, block, blocks
from helpers.processes import ROOT
from packaging.version import Version

from pinfold.cli.main import VERBS
from pinfold.common.front_matter import read_front_matter
from pinfold.folder import releases
from pinfold.verify import matrix

each_page = pytest.mark.parametrize("page", PAGES)
# the pages for users, and those for people who work on pinfold or report a fault
FILES = ["README.md", *(f"docs/{page}.md" for page in PAGES if page != "README")]
FILES += ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "pinfold/hub/README.md"]
each_file = pytest.mark.parametrize("name", FILES)
# what these are the same as, for people who have not installed the package
SCRIPTS = {"push.py": "pinfold push", "main.py": "pinfold convert"}


def test_the_front_matter_makes_the_checkout_a_repository():
    front = read_front_matter(PAGES["README"])
    assert (
        PAGES["README"].startswith("---\n")
        and front["license"] == "apache-2.0"
        and front["library_name"] == "transformers"
    )
    assert yaml.safe_load(yaml.safe_dump(front)) == front


def test_the_first_page_is_short():
    assert len(PAGES["README"].splitlines()) <= 200


@each_page
def test_every_snippet_is_pinned_or_local(page):
    for text in blocks(page, "python"):
        for call in re.findall(r"from_pretrained\((.*?)\)", text):
            assert call.startswith(('"."', '"runs/')) or SHA.search(call), call


@each_page
def test_every_make_target_that_is_named_exists(page):
    targets = set(re.findall(r"(?<!compat )(?:`|^|\b(?:or|and) )make ([a-z-]+)", PAGES[page], re.MULTILINE))
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, target


def test_every_make_target_that_contributors_read_of_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"`make ([a-z-]+)`", text))
    assert {"quick", "test", "test-all", "durations", "lint"} <= targets
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, target


@each_file
def test_every_link_leads_somewhere(name):
    file = ROOT / name
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)", file.read_text(encoding="utf-8")):
        path = (file.parent / target).resolve() if target else file
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in headings], anchor


@each_file
def test_every_path_of_the_repository_exists(name):
    """As text names it, from the top: `pinfold/audit/run.py`."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for path in re.findall(r"`((?:pinfold|tests|docs|benchmarks|scripts|\.ci)/[\w./-]*)`", text):
        assert (ROOT / path).exists(), path


def test_every_page_is_reached_from_the_first():
    assert set(re.findall(r"\(docs/([\w-]+)\.md", PAGES["README"])) == set(PAGES) - {"README"}


def test_every_file_in_the_tree_exists():
    tree = re.search(r"## The tree\n\n(.*?)\n\n[A-Z]", PAGES["architecture"], re.DOTALL)[1]
    folders = set()
    for line in tree.splitlines():
        if line.startswith(" " * 20):  # the rest of a description
            continue
        inner = line.startswith("        ")
        for name in re.split(r"\s{2,}", line.strip())[0].split():
            assert (ROOT / ("pinfold" if inner else "") / name).exists(), name
            folders |= {name.rstrip("/")} if inner else set()
    ours = {path.name for path in (ROOT / "pinfold").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == ours


def test_every_command_and_option_in_a_bash_block_exists():
    """`pinfold push --tag`, as each page writes it, is an option of that verb or of one of its actions."""
    for page in PAGES:
        for line in "\n".join(blocks(page, "bash")).splitlines():
            command = re.sub(r"(?<![\w/])(push|main)\.py", lambda script: SCRIPTS[script[0]], line.split("  #")[0])
            match = re.search(r"pinfold ?([a-z]*)(.*)", command)
            if not match or match[1] not in VERBS:
                continue
            known = options(match[1])
            for option in re.findall(r"(?<=\s)--[a-z][a-z0-9-]*", match[2]):
                assert option in known, (page, line)


def test_every_option_in_a_table_of_options_exists():
    for page, verb in (("publish", "push"), ("convert", "convert")):
        table = re.search(r"^\| option \|.*?\n\n", PAGES[page], re.MULTILINE | re.DOTALL)[0]
        assert set(re.findall(r"`(--[a-z-]+)", table)) <= options(verb), page


def options(verb: str) -> set[str]:
    """Every option of a verb, its actions' too."""
    from importlib import import_module

    parser = argparse.ArgumentParser()
    import_module(VERBS[verb][0]).add_arguments(parser)
    parsers, known = [parser], set()
    while parsers:
        each = parsers.pop()
        known |= set(each._option_string_actions)
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    return known


def test_the_table_of_versions_is_the_one_that_compat_writes():
    """Its header and its claim; the hashes come from a sweep of minutes (make compat)."""

    table = re.search(r"^\| transformers \| checks passed .*?\n\n", PAGES["measured"], re.MULTILINE | re.DOTALL)[
        0
    ].splitlines()
    rows = [matrix.Row(v, {"AutoModel": "0", "AutoModelForImageClassification": "1"}, "", 1.0) for v in ("5.0.0",)]
    assert table[:2] == matrix.brief(rows)[:2] and len(table) == 4
    newest, count = re.search(r"4\.48-([\d.]+) \((\d+) releases\)", table[2]).groups()
    assert int(count) == len([v for v in releases.every_minor() if Version(v).release[:2] <= Version(newest).release])


def test_the_lines_for_windows_are_those_of_the_makefile():
    windows = block("install", "powershell", "py -m venv")
    makefile = (ROOT / "Makefile").read_text()
    assert '-m pip install -e ".[dev]"' in windows and 'pip install -e ".[dev]"' in makefile
    assert "train resnet_model --data digits" in windows and "train resnet_model --data digits" in makefile


def test_the_extras_that_the_pages_install_exist():
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = [block("README", "bash", "pip install"), block("publish", "bash", "pip install")]
    for line in lines:
        extras = re.search(r"pip install \"[\w./]+\[([a-z,]+)\]\"", line)[1].split(",")
        assert extras and all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras)


def test_the_type_checker_reads_the_same_before_a_commit_and_in_make_lint():
    (typed,) = re.findall(r"^TYPED := \$\(addprefix pinfold/,(.+)\)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (entry,) = [hook["entry"] for hook in hooks if hook["id"] == "mypy"]
    assert entry.split()[1:] == [f"pinfold/{folder}" for folder in typed.split()]
