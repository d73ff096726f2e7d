"""What an architecture's classes begin with, and what they begin with in the generated folder."""

import os
import re
from collections import Counter

from pinfold.common.errors import UserError
from pinfold.convert.read import lookup, modules, names
from pinfold.convert.read.workspace import Conversion


def cased_prefix(conversion: Conversion, module: str, classes: list[str]) -> str | None:
    """How an architecture's classes begin: as its name, in its file or in another, else as its configuration does."""
    package = modules.package_of(module)
    every = conversion.workspace.classes(module) if os.path.isabs(module) else all_classes(module)
    prefix = names.cased_prefix(package, classes) or names.cased_prefix(package, every)
    if prefix is None:  # HunYuanDenseV1Config of hunyuan_v1_dense, Speech2TextConfig of speech_to_text
        others = [c for c in classes if "Config" not in c]
        configs = {c.removesuffix("Config") for c in every if c.endswith("Config")} - {""}
        alike = {c: sum(x.startswith(c) for x in others) for c in sorted(configs)}
        prefix = max(alike, key=alike.get, default=None)
        if prefix is not None and 2 * alike[prefix] < len(others):
            prefix = None
    return prefix


def all_classes(module: str) -> list[str]:
    """Classes of every file of an installed architecture."""
    path = modules.find(module)
    classes = []
    for file in sorted(path.parent.glob("*.py")):
        if not file.name.startswith(("modular_", "convert_", "__init__")):
            classes += re.findall(r"^class (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return classes


def find_prefixes(conversion: Conversion, bases: dict) -> None:
    pairs: dict[str, list] = {}
    for new, base in bases.items():
        if base is not None:
            pairs.setdefault(base[0], []).append((new, base[1]))
    of_package: dict[str, Counter] = {}
    default = names.cased_prefix(conversion.name, conversion.module.classes()) or ""
    for module, named in pairs.items():
        package = modules.package_of(module)
        classes = lookup.original(module, conversion).classes()
        old = cased_prefix(conversion, module, classes)
        prefix = names.infer(old, named, default, bool(conversion.module.package)) if old else None
        if prefix and default and prefix != default:
            # MyText for Llama, where there are classes LlamaText...: what comes along would get names of those
            before = prefix.replace(default, old)
            prefix = default if before != prefix and any(c.startswith(before) for c in classes) else prefix
        if prefix:
            two_prefixes(conversion, old, named)
            conversion.prefixes[module] = prefix
            of_package.setdefault(package, Counter())[prefix] += len(named)
    for package, counted in of_package.items():
        conversion.prefixes[package] = counted.most_common(1)[0][0]
    commonest = sum(of_package.values(), Counter()).most_common(1)
    conversion.prefixes[""] = default or (commonest[0][0] if commonest else names.camel(conversion.name))


def two_prefixes(conversion: Conversion, old: str, pairs: list[tuple[str, str]]) -> None:
    """`FooMLP(LlamaMLP)` and `BarAttention(LlamaAttention)`: which of them the rest of Llama is called after.

    Raises:
        UserError: as many classes say the one as the other, and the file's own name says neither.
    """
    if conversion.module.package:
        return
    counted: Counter = Counter()
    first: dict[str, str] = {}
    for new, parent in pairs:
        prefix = names.infer(old, [(new, parent)])
        if prefix:
            counted[prefix] += 1
            first.setdefault(prefix, new)
    most = [p for p, n in counted.items() if n == max(counted.values())]
    own = names.normalized(conversion.name)
    if len(most) < 2 or any(own.startswith(names.normalized(p)) or names.normalized(p).startswith(own) for p in most):
        return
    a = first[most[0]]
    b = first[most[1]]
    raise UserError(
        f"{conversion.path}:{conversion.module.items[b].line}: {a} and {b} give {old} two names, {most[0]} and "
        f"{most[1]}; begin both with one of them"
    )
