"""P30, P45 and P46: what a class says of itself, and that raises where it is used."""

import ast
import re
from collections.abc import Iterator

from packaging.version import Version

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    is_self_attribute,
    parameters,
    string,
)
from pinfold.audit.rules.generation import releases_of
from pinfold.audit.rules.model import builds_model
from pinfold.common.trees import every, walk
from pinfold.folder.releases import release_ranges

LAYER = re.compile(
    "(Layer|Block|Encoder|Decoder|Stage)$"
)  # what classes of transformers with checkpointing are called
# The first releases whose own set_input_embeddings looks there.
IN_THE_MODEL = Version("4.54")
IN_A_PART = {"model": Version("4.54"), "embeddings": Version("5.0")}
OF_LANGUAGE_MODEL = Version("5.9")


def kept_precise(code: ReachableCode) -> Iterator[Finding]:
    """P45: names in _keep_in_fp32_modules that no part of the model has: post_init of some releases raises."""
    names = {part for module in code.modules for node in walk(module.tree) for part in _named_by(node)}
    for cls in code.models:
        value = code.folder.attribute(cls, "_keep_in_fp32_modules")
        if code.folder.is_stock(cls) or _holds_foreign_model(code) or not isinstance(value, (ast.List, ast.Tuple)):
            continue
        absent = [text for node in value.elts if (text := string(node)) and text not in names]
        if absent:
            yield code.finding(
                "P45",
                f'{cls}._keep_in_fp32_modules names "{absent[0]}", and no part of the model is called so.',
                cls,
                value,
                fix=f'Take "{absent[0]}" out of the list.',
                releases=harmed("P45.absent_name", code.lowest_version),
                case="P45.absent_name",
            )


def taken_for_a_model(code: ReachableCode) -> Iterator[Finding]:
    """P46: a part of torch's own kind with a method _init_weights, by which some releases take it for a model."""
    affected = harmed("P46.part_initialises", code.lowest_version)
    used: set[str] = set()
    for module in code.modules:  # called, or asked for a class method that builds it; a base alone is not built
        bases = {id(base) for node in every(module.tree, ast.ClassDef) for base in node.bases}
        used |= {name.id for name in every(module.tree, ast.Name) if id(name) not in bases}
    for cls in code.torch_modules if affected else ():
        own = code.folder.method(cls, "_init_weights")
        if (
            own
            and cls in used
            and code.folder.kind(cls) != "model"
            and not code.folder.method(cls, "_initialize_weights")
        ):
            yield code.finding(
                "P46",
                f"{cls} is a part with a method _init_weights: transformers {release_ranges(affected)} takes it for a "
                "model, and raises while it initialises.",
                cls,
                own[1],
                fix="Call the method otherwise, such as init_parameters.",
                releases=affected,
                case="P46.part_initialises",
            )


def _named_by(node: ast.AST) -> Iterator[str]:
    """Names that a node gives to parts: self.name = ..., and texts in calls and tables, such as a ModuleDict's."""
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        yield node.attr
    if isinstance(node, (ast.Call, ast.Dict)):
        parts = node.args if isinstance(node, ast.Call) else [key for key in node.keys if key is not None]
        yield from (text for part in parts for text in [string(part)] if text)
    if isinstance(node, ast.keyword) and node.arg:
        yield node.arg


def says_too_much(code: ReachableCode) -> Iterator[Finding]:
    """P30: what a class says that it can do, or does by half, and that raises where it is used.

    In all releases from 4.48 to 5.24, gradient_checkpointing_enable raises a ValueError where no module has an
    attribute gradient_checkpointing, and resize_token_embeddings calls set_input_embeddings (modeling_utils.py).
    Which modules that finds by itself depends on the release.
    """
    folder = code.folder
    if _holds_foreign_model(code):
        return
    checkpoints = _checkpoints(code)
    for cls in code.models:
        if folder.is_stock(cls):
            continue
        says = folder.attribute(cls, "supports_gradient_checkpointing")
        if isinstance(says, ast.Constant) and says.value is True and not checkpoints:
            yield code.finding(
                "P30",
                f"{cls} sets supports_gradient_checkpointing, but nothing in it has gradient_checkpointing: Trainer "
                "with gradient_checkpointing=True raises a ValueError.",
                cls,
                says,
                fix="Remove the line, or set self.gradient_checkpointing = False in the module with the layers and "
                "let it call self._gradient_checkpointing_func(layer.__call__, ...) where that is True and it trains.",
                severity=WARNING,
            )
        words = folder.method(cls, "get_input_embeddings")
        if words and not folder.method(cls, "set_input_embeddings") and _reads_words(code, cls):
            since = _first_to_set(code, cls)
            affected = tuple(r for r in releases_of(code, lambda _: True) if since is None or Version(r) < since)
            if affected:
                before = f" before transformers {since}" if since else ""
                yield code.finding(
                    "P30",
                    f"{cls} has get_input_embeddings and no set_input_embeddings: resize_token_embeddings, which a "
                    # what PreTrainedModel.set_input_embeddings raises where it does not find them
                    f"tokenizer with new words needs, raises NotImplementedError{before}.",
                    words[0],
                    words[1],
                    fix="Define set_input_embeddings(self, new) beside it, which sets the same attribute.",
                    severity=WARNING,
                    releases=affected,
                )


def _holds_foreign_model(code: ReachableCode) -> bool:
    """Whether some class builds a model of transformers' own, whose layers are not seen here."""
    return any(
        builds_model(code, module.imports, call) and call_name(call) not in code.folder.classes
        for module in code.modules
        for call in calls(module.tree)
    )


def _checkpoints(code: ReachableCode) -> bool:
    """Whether something has the attribute, or is a layer of transformers.

    Layers of transformers bring it, those of Llama from 4.52 on and those of BERT and GPT-2 from 4.53 on; encoders of
    BERT, which have it in all releases, are called layers here too.
    """
    for module in code.modules:
        for node in walk(module.tree):
            words = {getattr(node, "attr", ""), getattr(node, "id", ""), string(node) or "", getattr(node, "name", "")}
            if words & {"gradient_checkpointing", "GradientCheckpointingLayer", "_set_gradient_checkpointing"}:
                return True
            path = chain(node) if isinstance(node, (ast.Name, ast.Attribute)) else []
            source, name = module.imports.get(path[0], ("", "")) if path else ("", "")
            last = path[-1] if len(path) > 1 else name
            if source.split(".")[0] == "transformers" and LAYER.search(last):
                return True
    return False


def _reads_words(code: ReachableCode, cls: str) -> bool:
    forward = code.folder.method(cls, "forward")
    return forward is not None and "input_ids" in {argument.arg for argument in parameters(forward[1])}


def _first_to_set(code: ReachableCode, cls: str, seen: frozenset = frozenset()) -> Version | None:
    """The first release whose own set_input_embeddings finds the words of a class; None for none.

    Measured in 4.48.3 to 5.24.0: all set those of what base_model_prefix names, if it has the method. From 4.54 on
    they set embed_tokens, or what _input_embed_layer names, of the model and of self.model; from 5.0 on that of
    self.embeddings too; from 5.9 on those of self.language_model.
    """
    prefix = string(code.folder.attribute(cls, "base_model_prefix"))
    name = string(code.folder.attribute(cls, "_input_embed_layer")) or "embed_tokens"
    first: list[Version] = []
    for owner in code.folder.lineage(cls):
        module, definition = code.folder.classes[owner]
        for node in every(definition, *ASSIGNMENTS):
            for target, value in assignments(node):
                if not is_self_attribute(target):
                    continue
                if target.attr == name:
                    first.append(IN_THE_MODEL)
                    continue
                built = call_name(value) if isinstance(value, ast.Call) else ""
                if target.attr in IN_A_PART and built in code.folder.classes and _has_attribute(code, built, name):
                    first.append(IN_A_PART[target.attr])
                if target.attr in (prefix, "language_model") and isinstance(value, ast.Call):
                    inner = _sets(code, module.imports, value, seen | {cls})
                    least = Version("4.48") if target.attr == prefix else OF_LANGUAGE_MODEL
                    first += [max(inner, least)] if inner else []
    return min(first, default=None)


def _sets(
    code: ReachableCode, imports: dict[str, tuple[str, str]], value: ast.Call, seen: frozenset
) -> Version | None:
    """The first release in which what a call builds sets its words; None where it does in none."""
    built, folder = call_name(value), code.folder
    if built not in folder.classes:
        return Version("4.48") if builds_model(code, imports, value) else None
    if folder.method(built, "set_input_embeddings") or folder.is_stock(built):
        return Version("4.48")
    return _first_to_set(code, built, seen) if folder.kind(built) == "model" and built not in seen else None


def _has_attribute(code: ReachableCode, cls: str, name: str) -> bool:
    return any(
        is_self_attribute(target) and target.attr == name
        for owner in code.folder.lineage(cls)
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS)
        for target, _ in assignments(node)
    )
