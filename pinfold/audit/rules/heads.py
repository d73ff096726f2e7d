"""Heads that one release ties and another does not (P11e, P11f): of a part, or found by their name."""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    chain,
    is_none,
    string,
)
from pinfold.audit.rules.embeddings import assigned_modules, has_input_embeddings
from pinfold.audit.rules.ties import ties
from pinfold.common.trees import every

TIE_BY_HAND = ("get_output_embeddings", "tie_weights", "_tie_weights")


def head_by_name(code: ReachableCode) -> Iterator[Finding]:
    """P11f: a head that transformers 4.54 to 4.57 finds by its name, lm_head, and ties where nothing says otherwise.

    get_output_embeddings of EmbeddingAccessMixin (modeling_utils.py, 4.57.6) gives lm_head where the model has input
    embeddings. tie_word_embeddings is True unless the configuration sets it; transformers 5 ties declared keys only.
    """
    affected = harmed("P11f.lm_head", code.lowest_version)
    if not affected or ties(code) is not None or "tie_word_embeddings" in code.configs.get("config.json", {}):
        return
    for cls in code.models:
        keys, folder = code.folder.attribute(cls, "_tied_weights_keys"), code.folder
        declared = keys is not None and not is_none(keys)
        if declared or folder.is_stock(cls) or folder.method(cls, "get_output_embeddings"):
            continue
        head = next((node for name, node in assigned_modules(code, cls) if name == "lm_head"), None)
        if head is not None and has_input_embeddings(code, cls):
            yield code.finding(
                "P11f",
                f"{cls} has an lm_head and no get_output_embeddings: transformers 4.54 to 4.57 take it for the head "
                "that is tied to the input embeddings, and what was stored for it is lost.",
                cls,
                head,
                fix="Take tie_word_embeddings=False in the configuration's __init__ and pass it to super().__init__; "
                "or, where the two are tied, declare it: _tied_weights_keys and get_output_embeddings.",
                releases=affected,
            )


def parts_that_tie(code: ReachableCode) -> Iterator[Finding]:
    """P11e: a part that ties its own weights. Before 4.56 only what get_output_embeddings of the whole gives is tied.

    Every release of transformers 4 also calls _tie_weights of each part, which therefore helps too (modeling_utils.py,
    tie_weights).
    """
    if (
        not harmed("P11e.part_ties", code.lowest_version)
        or ties(code) is False
        or _said_untied(code.configs.get("config.json", {}))
    ):
        return
    for cls in code.models:
        if code.folder.is_stock(cls) or any(code.folder.method(cls, name) for name in TIE_BY_HAND):
            continue
        for node, attribute, part, key in _tying_parts(code, cls):
            yield code.finding(
                "P11e",
                f"{part} ties its weights, and {cls}, which holds it, has no get_output_embeddings: transformers "
                f"before 4.56 leaves {attribute}.{key} random.",
                cls,
                node,
                fix=f"Define get_output_embeddings there, and let it return self.{attribute}.get_output_embeddings().",
            )


def _tying_parts(code: ReachableCode, cls: str) -> Iterator[tuple[ast.AST, str, str, str]]:
    """Of each part that only its own class ties: where it is made, its attribute, its class, the tied weight."""
    for owner in code.folder.lineage(cls):
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS):
            for target, value in assignments(node):
                path, part = chain(target), call_name(value) if isinstance(value, ast.Call) else ""
                if len(path) != 2 or path[0] != "self" or part == cls or part not in code.folder.classes:
                    continue
                keys = code.folder.attribute(part, "_tied_weights_keys")
                if code.folder.kind(part) != "model" or code.folder.method(part, "_tie_weights"):
                    continue
                if isinstance(keys, ast.Dict) and keys.keys:
                    yield node, path[1], part, string(keys.keys[0]) or "its target"


def _said_untied(config: dict) -> bool:
    """Whether config.json, or a part of it, says that words are not tied."""
    parts = [config, *(value for value in config.values() if isinstance(value, dict))]
    return any(part.get("tie_word_embeddings") is False for part in parts)
