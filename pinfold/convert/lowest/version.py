"""The lowest release of transformers that a folder runs in: declared by the modular file, or computed."""

import ast
import tempfile
from pathlib import Path

import transformers
from packaging.version import InvalidVersion, Version

from pinfold.audit.examine import harm_of
from pinfold.audit.run import audit
from pinfold.common.errors import UserError
from pinfold.convert.read.workspace import Conversion
from pinfold.folder import releases
from pinfold.folder.model_folder import read_modules

DECLARED = "MIN_TRANSFORMERS"


def declared_version(conversion: Conversion) -> str | None:
    """The lowest release that the modular file asks for, or None.

    Raises:
        UserError: it is not a version from 4.48 on.
    """
    item = conversion.module.items.get(DECLARED)
    if item is None:
        return None
    value = getattr(getattr(item.node, "value", None), "value", None)
    try:
        if Version(value) > Version(transformers.__version__):
            raise UserError(
                f"{conversion.path}:{item.line}: {DECLARED} is {value}, and this is transformers "
                f"{transformers.__version__}, which could not load the result; ask for at most this one"
            )
        if Version(value) >= Version(releases.OLDEST):
            return value
    except (InvalidVersion, TypeError):
        pass
    raise UserError(
        f'{conversion.path}:{item.line}: {DECLARED} must be a version from {releases.OLDEST} on, such as "4.57", not '
        f"{ast.unparse(item.node).partition(' = ')[2]}"
    )


def lowest_version(conversion: Conversion) -> str:
    """The first release from which every import of transformers in these files exists."""
    bad: set[str] = set()
    for text in conversion.files.values():
        for node in ast.parse(text).body:
            if (
                isinstance(node, ast.ImportFrom)
                and not node.level
                and (node.module or "").split(".")[0] == "transformers"
            ):
                for alias in node.names:
                    bad.update(releases.absent(node.module, alias.name))
    known = list(releases.RELEASES)
    last = max((known.index(r) for r in bad if r in known), default=-1)
    if last + 1 >= len(known):
        return transformers.__version__
    return known[last + 1]


def first_that_loads(texts: dict[str, str], lowest: str) -> str:
    """The first release from ``lowest`` on in which the audit knows of nothing that stops a load or forward.

    Names alone do not say it: @strict can be imported from huggingface_hub long before a configuration is a dataclass.

    Args:
        texts: the folder's Python files, name -> source.
    """
    with tempfile.TemporaryDirectory() as directory:
        for name, text in texts.items():
            (Path(directory) / name).write_text(text, encoding="utf-8")
        later = [release for release in releases.every_minor() if Version(release) >= Version(lowest)]
        harm = harm_of(audit(Path(directory), read_modules(directory)), later)
    first = next((release for release in later if harm.get(release) not in ("load", "forward")), lowest)
    return lowest if not later or first == later[0] else first


def version_guard(lowest: str) -> str:
    """Lines for the top of a configuration, which every load imports first; they need no package but transformers."""
    return f'''import re

import transformers

MIN_TRANSFORMERS = "{Version(lowest).base_version}"
if [*map(int, re.findall(r"\\d+", transformers.__version__)[:3])] < [*map(int, MIN_TRANSFORMERS.split("."))]:
    raise ImportError(
        f"this model needs transformers >= {{MIN_TRANSFORMERS}}, and this is {{transformers.__version__}}; "
        "run: pip install -U transformers"
    )

'''
