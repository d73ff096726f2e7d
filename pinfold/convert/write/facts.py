"""What of a conversion the couplings depend on."""

import ast
from dataclasses import dataclass, field

from pinfold.convert.edits import last_name
from pinfold.convert.read.model import kind_of
from pinfold.convert.read.workspace import Conversion


@dataclass
class Facts:
    """What of a conversion the couplings depend on."""

    name: str = ""  # of the modular file: my_llama
    classes: dict[str, str] = field(default_factory=dict)  # new name -> the class upstream that it was made from
    types: dict[str, str] = field(default_factory=dict)  # new model_type -> the one upstream
    configs: frozenset[str] = frozenset()  # new names of configuration classes
    of_type: dict[str, str] = field(default_factory=dict)  # new model_type -> configuration class
    lows: dict[str, str] = field(default_factory=dict)  # new lower-case prefix -> upstream's, of copies


def coupling_facts(conversion: Conversion) -> Facts:
    """Read them from a conversion."""
    facts = Facts(conversion.name)
    configs = set()
    for name, definition in conversion.definitions.items():
        if definition.kind != "class" or name != definition.name:
            continue
        if definition.origin:
            facts.classes[name] = definition.origin.rpartition(".")[2]
        if kind_of(name) != "configuration":
            continue
        configs.add(name)
        new = model_type_of(definition.text)
        if new is None:
            continue
        facts.of_type[new] = name
        if definition.origin:
            module, _, old = definition.origin.rpartition(".")
            item = conversion.workspace.load_module(module).items.get(old)
            before = model_type_of(item.text) if item else None
            if before and before != new:
                facts.types[new] = before
    facts.configs = frozenset(configs)
    for vendored in conversion.vendored.values():
        renaming = vendored.renaming
        if renaming is not None and renaming.new_lower.endswith(f"_{renaming.old_lower}"):
            facts.lows[renaming.new_lower] = renaming.old_lower
    return facts


def model_type_of(text: str) -> str | None:
    for node in ast.parse(text).body[0].body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if (
            isinstance(target, ast.Name)
            and target.id == "model_type"
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            return node.value.value
    return None


def config_of(classes: dict[str, ast.ClassDef], node: ast.ClassDef | None) -> str | None:
    """Which configuration a model's class has, by itself or by its bases in the same file."""
    while node is not None:
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and last_name(part.target) == "config":
                return ast.unparse(part.annotation).strip("\"'")
            if isinstance(part, ast.Assign) and last_name(part.targets[0]) == "config_class":
                return ast.unparse(part.value)
        node = next((classes[b.id] for b in node.bases if isinstance(b, ast.Name) and b.id in classes), None)
    return None
