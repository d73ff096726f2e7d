"""P54: a processor's template of a chat that a load leaves out.

From 4.53 on a load hands a processor only what the arguments of its own ``__init__`` name: chat_template goes into no
**kwargs, and ProcessorMixin's ``__init__``, which names nothing, gets it neither. 4.49 to 4.52 raise a TypeError where
there is no **kwargs. Measured with the template in chat_template.jinja, in 4.48 to 5.24.
"""

import ast
from collections.abc import Iterator

from packaging.version import Version

from pinfold.audit.finding import Finding
from pinfold.audit.reachable import ReachableCode, is_self_attribute
from pinfold.audit.rules.generation import releases_of
from pinfold.common.trees import walk
from pinfold.folder.releases import release_ranges

TEMPLATE = "chat_template"
FILES = ("chat_template.jinja", "chat_template.json")
LEFT_OUT_FROM, REFUSED_FROM = Version("4.53"), Version("4.49")


def lost_template(code: ReachableCode, files: set[str]) -> Iterator[Finding]:
    """P54: the processor that a load takes, beside a template that it does not name."""
    stored = next((name for name in FILES if name in files), "")
    if not stored and TEMPLATE in code.configs.get("processor_config.json", {}):
        stored = "processor_config.json"
    cls = code.auto_map.get("AutoProcessor", "").split(".")[-1]
    if not stored or cls not in code.folder.classes:
        return
    definition = code.folder.method(cls, "__init__")
    if definition is None and not _plain(code, cls):
        return  # one of transformers' own processors, which name it
    takes_all = definition is None or definition[1].args.kwarg is not None
    if definition and _names(definition[1]):
        return
    if any(_sets(part) for owner in code.folder.lineage(cls) for part in code.folder.classes[owner][1].body):
        return
    lowest = LEFT_OUT_FROM if takes_all else REFUSED_FROM
    if affected := releases_of(code, lambda release: release >= lowest):
        yield code.finding(
            "P54",
            f"{cls}.__init__ has no argument {TEMPLATE}: transformers {release_ranges(affected)} do not hand it "
            f"{stored}, and apply_chat_template raises a ValueError.",
            definition[0] if definition else cls,
            definition[1] if definition else None,
            fix=f"Take {TEMPLATE}=None in __init__, and pass {TEMPLATE}={TEMPLATE} to super().__init__.",
            releases=affected,
        )


def _plain(code: ReachableCode, cls: str) -> bool:
    """Whether its classes end with ProcessorMixin itself."""
    bases = [base for owner in code.folder.lineage(cls) for base, _ in code.folder.bases(owner)]
    return all(base == "ProcessorMixin" or base in code.folder.classes for base in bases)


def _names(init: ast.FunctionDef) -> bool:
    """Whether the template can go in by its place; transformers does not count arguments by keyword alone."""
    placed = {argument.arg for argument in (*init.args.posonlyargs, *init.args.args)}
    return TEMPLATE in placed or any(is_self_attribute(node) and node.attr == TEMPLATE for node in walk(init))


def _sets(part: ast.stmt) -> bool:
    """Whether a class has a template of its own, as an attribute or a property."""
    targets = (
        part.targets if isinstance(part, ast.Assign) else [part.target] if isinstance(part, ast.AnnAssign) else []
    )
    named = {target.id for target in targets if isinstance(target, ast.Name)}
    named |= {part.name} if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) else set()
    return bool(named & {TEMPLATE, "apply_chat_template", "from_pretrained", "from_args_and_dict"})
