"""P15: a configuration class without a constructor, whose base in the folder has one.

From 5.4 on PreTrainedConfig.__init_subclass__ makes each subclass a dataclass, and Python then writes a constructor
for every class whose body has none: the one of its base does not run. What config.json holds is set all the same.
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ASSIGNMENTS, ReachableCode, assignments, chain, is_self_attribute
from pinfold.audit.rules.config import ALWAYS_SET
from pinfold.common.trees import every
from pinfold.folder.model_folder import assigned

CASE = "P15.constructor_of_base"


def constructor_of_base(code: ReachableCode) -> Iterator[Finding]:
    """P15: what the base's constructor sets, config.json does not hold, and the model reads."""
    for cls in _used(code):
        init = code.folder.method(cls, "__init__")
        if init is None or init[0] == cls or not (affected := harmed(CASE, code.lowest_version)):
            continue
        main = code.auto_map.get("AutoConfig", "").split(".")[-1] == cls
        stored = code.configs.get("config.json", {}) if main else {}
        lost = _set_by_constructor(init[1], stored) - _in_bodies(code, cls) - set(ALWAYS_SET)
        read = sorted(
            (node.lineno, node.attr, module.file)
            for module in code.modules
            for node in every(module.tree, ast.Attribute)
            if node.attr in lost and isinstance(node.ctx, ast.Load) and _of_config(node)
        )
        if read:
            line, name, file = read[0]
            yield code.finding(
                "P15",
                f"{cls} has no __init__, and that of {init[0]} does not run: {name}, which {file}:{line} reads, is "
                "not set.",
                cls,
                fix=f"Give {cls} a constructor: def __init__(self, **kwargs): super().__init__(**kwargs).",
                releases=affected,
                case=CASE,
            )


def _used(code: ReachableCode) -> list[str]:
    """Configuration classes that an entry or a model names."""
    named = {place.split(".")[-1] for place in code.auto_map.values()}
    named |= {code.folder.own_config(cls) or "" for cls in code.models}
    return [cls for cls in code.config_classes if cls in named and not code.folder.is_stock(cls)]


def _set_by_constructor(init: ast.FunctionDef, stored: dict) -> set[str]:
    """Attributes that config.json does not give: those that are computed, and arguments that it lacks."""
    return {
        target.attr
        for node in every(init, *ASSIGNMENTS)
        for target, value in assignments(node)
        if is_self_attribute(target)
        and not (isinstance(value, ast.Name) and value.id == target.attr and target.attr in stored)
    }


def _in_bodies(code: ReachableCode, cls: str) -> set[str]:
    """Names that the bodies of the classes give: attributes, methods and properties."""
    names: set[str] = set()
    for owner in code.folder.lineage(cls):
        for part in code.folder.classes[owner][1].body:
            names |= {target.id for target in assigned(part)[0] if isinstance(target, ast.Name)}
            names |= {part.name} if isinstance(part, ast.FunctionDef) else set()
    return names


def _of_config(node: ast.Attribute) -> bool:
    """config.name, self.config.name, config.text_config.name"""
    return any("config" in word.lower() for word in chain(node.value))
