"""Where a model has its words: what get_input_embeddings of transformers finds."""

import ast
from collections.abc import Iterator

from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    chain,
    own_nodes,
    string,
)
from pinfold.common.trees import every

HEAD = "lm_head"  # the name by which 4.54 to 4.57 find a head that no method gives


def assigned_modules(code: ReachableCode, cls: str) -> Iterator[tuple[str, ast.AST]]:
    """(attribute, where) of what a class and its bases make: self.lm_head = nn.Linear(...)."""
    for owner in code.folder.lineage(cls):
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS):
            for target, value in assignments(node):
                path = chain(target)
                if len(path) == 2 and path[0] == "self" and isinstance(value, ast.Call):
                    yield path[1], node


def has_input_embeddings(code: ReachableCode, cls: str, seen: frozenset[str] = frozenset()) -> bool:
    """Whether get_input_embeddings gives something: its own, embed_tokens, or that of the base model inside."""
    own = code.folder.method(cls, "get_input_embeddings")
    if own is not None:
        return not any(isinstance(node, ast.Raise) for node in own_nodes(own[1]))
    prefix = string(code.folder.attribute(cls, "base_model_prefix"))
    for name, node in assigned_modules(code, cls):
        if name == "embed_tokens":
            return True
        part = next((call_name(v) for _, v in assignments(node) if isinstance(v, ast.Call)), "")
        if part not in code.folder.classes or part in seen or name not in ("model", prefix):
            continue
        inner = {name for name, _ in assigned_modules(code, part)}
        if (name == "model" and "embed_tokens" in inner) or (
            name == prefix and has_input_embeddings(code, part, seen | {cls, part})
        ):
            return True
    return False
