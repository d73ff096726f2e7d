"""The folders of the embedded Hub import each other in the order that its README gives."""

import ast

from helpers.processes import ROOT

HUB = ROOT / "pinfold" / "hub"
BELOW = {  # folder: what it may import; modules beside the folders put them together
    "storage": set(),
    "server": {"storage"},
    "api": {"storage", "server"},
    "pages": {"storage", "server", "api"},
    "admin": {"storage", "server"},
}


def test_no_folder_imports_what_is_above_it():
    assert {path.name for path in HUB.iterdir() if (path / "__init__.py").exists()} == BELOW.keys()
    for folder, below in BELOW.items():
        for path in (HUB / folder).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    names = [f"{node.module}.{each.name}" for each in node.names]
                    used = {name.split(".")[2] for name in names if name.startswith("pinfold.hub.")}
                    assert used <= below | {folder}, (path.name, names)


def test_the_readme_gives_the_same_order():
    text = (HUB / "README.md").read_text()
    assert "`storage` <- `server` <- `api` <- `pages`, and `storage` <- `server` <- `admin`" in text
