"""What turns a conversion into files of a folder: header, lowest version, Auto classes, formatting, writing."""

import ast
import hashlib
import re
import subprocess
import sys
from pathlib import Path

import transformers

from pinfold import __version__
from pinfold.audit.rules.files import ALWAYS_THERE, distribution, required
from pinfold.common.errors import UserError, missing_extra
from pinfold.convert import files
from pinfold.convert.lowest.lower import lower
from pinfold.convert.lowest.version import declared_version, first_that_loads, lowest_version, version_guard
from pinfold.convert.read import modules
from pinfold.convert.read.workspace import Conversion
from pinfold.convert.write import couplings, inline
from pinfold.convert.write.registrations import registrations
from pinfold.convert.write.undocumented import without_complaints

FUTURE = "from __future__ import annotations"
NO_LINT = "# ruff: noqa"  # what there is to fix is in the modular file, or upstream


def finish(conversion: Conversion) -> dict[str, str]:
    """Texts of the folder's files: with header, Auto classes and the lowest version of transformers, formatted.

    Raises:
        UserError: ruff is missing, or a merged file is not Python.
    """
    for name, text in conversion.files.items():
        conversion.files[name] = couplings.apply(conversion, name.removesuffix(f"_{conversion.name}.py"), text)
    declared = declared_version(conversion)
    if declared is not None:
        for name, text in conversion.files.items():
            kind = name.removesuffix(f"_{conversion.name}.py")
            conversion.files[name] = lower(conversion, kind, text, declared)
    else:
        conversion.files = {name: without_complaints(text) for name, text in conversion.files.items()}
    lowest = declared or lowest_version(conversion)
    texts = with_auto_classes(conversion, lowest)
    if declared is None and (later := first_that_loads(texts, lowest)) != lowest:
        texts = with_auto_classes(conversion, lowest := later)
    finished = {}
    guarded = f"{'modeling' if conversion.inline else 'configuration'}_{conversion.name}.py"
    for name, text in texts.items():
        licence, body = leading_comment(formatted(name, text, conversion.path))
        # the file that AutoConfig reads first says which transformers it needs, before it imports anything late
        guard = version_guard(lowest) if name == guarded else ""
        if guard and body.lstrip().startswith(FUTURE):
            guard, body = f"{FUTURE}\n\n{guard}", body.replace(FUTURE, "", 1)
        # what the modular file, or else the first file that something was taken from, says about its licence
        licence = licence or upstream_licence(conversion)
        head = [f"{files.MARK}{conversion.path.name}: edit that file, and run main.py again."]
        head += [f"{files.OPTIONS}{files.INLINE}"] if conversion.inline else []
        head += [*provenance(conversion), NO_LINT, licence]
        finished[name] = "\n".join(head) + f"\n\n{guard}{body.lstrip()}".replace("\n\n\n\n", "\n\n\n")
    return finished


def with_auto_classes(conversion: Conversion, lowest: str) -> dict[str, str]:
    """The files' texts with the lines that register their classes, in one file where that was asked for."""
    texts = {}
    for name, text in conversion.files.items():
        kind = name.removesuffix(f"_{conversion.name}.py")
        lines = [*requirements(text, lowest), *registrations(conversion, kind, text, lowest)]
        texts[name] = with_config_class(text) + "\n".join(lines)
    return inline.inlined(texts, conversion.name, conversion.path) if conversion.inline else texts


def requirements(text: str, lowest: str) -> list[str]:
    """The line that declares the packages which the loader of remote code asks for beside transformers and torch.

    Without it a user meets them when the load fails, and a push refuses the file (P08).
    """
    major, minor = lowest.split(".")[:2]
    asked = {name for name, _ in required(ast.parse(text), (int(major), int(minor)))}
    names = sorted(distribution(name) for name in asked - ALWAYS_THERE - sys.stdlib_module_names)
    return ["", "", f"REQUIREMENTS = {tuple(names)!r}", ""] if names else []


def with_config_class(text: str) -> str:
    """`config: XConfig` of a base class says only to transformers 5 which configuration it has."""
    if re.search(r"^    config_class\b", text, re.MULTILINE):
        return text
    return re.sub(r"^(    config: (\w+Config))$", r"\1\n    config_class = \2", text, flags=re.MULTILINE)


def leading_comment(text: str) -> tuple[str, str]:
    lines = text.split("\n")
    count = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "\n".join(lines[:count]), "\n".join(lines[count:])


def upstream_licence(conversion: Conversion) -> str:
    for vendored in conversion.vendored.values():
        lines = [x for x in vendored.original.header.splitlines() if x.startswith("#")]
        if any("Copyright" in x for x in lines):
            at = next(i for i, x in enumerate(lines) if "Copyright" in x)
            return "\n".join(lines[at:])
    return ""


def provenance(conversion: Conversion) -> list[str]:
    """Versions, and the sha256 (its first 16 digits) of the source of every symbol that was taken."""
    lines = [f"# pinfold {__version__}, transformers {transformers.__version__}. Taken from there:"]
    for origin in sorted({d.origin for d in conversion.definitions.values() if d.origin}, key=modules.shown_symbol):
        lines.append(f"#   {modules.shown_symbol(origin)} {source_digest(conversion, origin)}")
    return lines if len(lines) > 1 else [lines[0].replace(" Taken from there:", "")]


def source_digest(conversion: Conversion, origin: str) -> str:
    module, _, name = origin.rpartition(".")
    item = conversion.workspace.load_module(module).items[name]
    return hashlib.sha256(item.text.encode()).hexdigest()[:16]


def require_ruff() -> None:
    """
    Raises:
        UserError: the formatter is missing; how to install it.
    """
    try:
        import ruff as installed  # noqa: F401
    except ImportError as error:
        raise missing_extra("convert", "convert", error) from None


def formatted(name: str, text: str, path: Path) -> str:
    require_ruff()
    base = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length", "119", "--target-version", "py310", "--stdin-filename", name, "-"]
    for command in (["check", "--select", "I", "--fix", "--quiet"], ["format", "--quiet"]):
        done = subprocess.run([*base, *command, *options], input=text, capture_output=True, text=True, timeout=60)
        if done.returncode > 1 or not done.stdout:
            raise UserError(
                f"{path}: {name} would not be Python ({done.stderr.strip().splitlines()[:1]}); nothing was written"
            )
        text = done.stdout
    return text
