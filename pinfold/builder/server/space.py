"""The page as a folder for a Hugging Face Space: gradio's server class takes the page's routes.

gradio is not needed here: the Space installs it. Everything that the page needs of this package lies in the folder, so
that the Space runs the code that was tested with it.
"""

import re
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from pinfold import __version__
from pinfold.builder.models import DECODER, ENCODER, folder_of
from pinfold.common.errors import UserError

GRADIO = "6.31.0"  # the release that the page was started in
PYTHON = "3.11"
NEEDED = ("torch", "transformers", "safetensors", "huggingface_hub", "starlette", "uvicorn", "ruff")
APP = '''"""The page of pinfold's builder. Folders are kept as long as this Space runs; download them."""

import tempfile
from pathlib import Path

from gradio import Server

from pinfold.builder.server.app import routes
from pinfold.builder.server.handlers import Builder

app = Server()
app.router.routes[:0] = routes(Builder(Path(tempfile.mkdtemp()), shared=True), policy=False)

if __name__ == "__main__":
    app.launch(show_error=True)
'''
FRONT = """---
title: pinfold builder
sdk: gradio
sdk_version: {gradio}
python_version: "{python}"
app_file: app.py
license: apache-2.0
short_description: Draw a model, compare its attention, download a folder
---

Draw an encoder or a decoder, compare kinds of attention, and download a folder that has been loaded. Made by
`pinfold builder --space`, pinfold {version}.
"""


def write_space(directory: Path) -> Iterator[str]:
    """Write app.py, requirements.txt, README.md, this package and its two model folders; yields what was written.

    Raises:
        UserError: the directory holds something else.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory} is not an empty directory; give a new one")
    lines = requirements()
    package = Path(__file__).resolve().parents[2]
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copytree(package, directory / "pinfold", ignore=shutil.ignore_patterns("__pycache__", "hub", "models"))
    for name in (ENCODER, DECODER):
        shutil.copytree(folder_of(name), directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    (directory / "app.py").write_text(APP, encoding="utf-8")
    (directory / "requirements.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    front = FRONT.format(gradio=GRADIO, python=PYTHON, version=__version__)
    (directory / "README.md").write_text(front, encoding="utf-8")
    yield f"{directory}: app.py, requirements.txt, README.md, pinfold, {ENCODER}, {DECODER}"
    yield f"publish it with: hf upload OWNER/NAME {directory} . --repo-type space"


def requirements() -> list[str]:
    """The releases that are installed here, pinned; gradio comes with the Space's sdk_version.

    Raises:
        UserError: one of them is missing.
    """
    lines = []
    for name in (*core(), *NEEDED):
        try:
            version = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            raise UserError(f"{name} is not installed; run: pip install 'pinfold[builder]'") from None
        lines.append(f"{name}=={version}")
    return sorted(set(lines))


def core() -> list[str]:
    """What this package asks pip for, without its extras."""
    listed = metadata.requires("pinfold") or []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in listed if "extra ==" not in line]
