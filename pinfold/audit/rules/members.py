"""P09's members: where the code uses one that a release lacks, and what fails for certain there.

A missing name of a module fails when the file is imported. A missing member fails when the line runs: in forward, in a
method that generate calls, or on some condition, which a load decides.
"""

import ast
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pinfold.audit.reachable import (
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    combined,
    defaults,
    is_combined,
    is_config,
    is_none,
    is_self_attribute,
    is_try,
    parameters,
    string,
    word,
)
from pinfold.audit.rules.decided import UNKNOWN, decide, settings
from pinfold.audit.rules.generation import generates_itself, writes_text
from pinfold.common.trees import every, walk
from pinfold.folder.model_folder import Module

IN_FORWARD, WHILE_GENERATING = "P09.forward", "P09.generate"
GENERATES = ("prepare_inputs_for_generation", "_update_model_kwargs_for_generation")
CACHE = "past_key_values"
CACHE_CLASSES = ("Cache", "DynamicCache")
KEPT = "is_updated"  # of an EncoderDecoderCache: what it has of the encoder's layer is used again
BLOCKS = (
    ast.FunctionDef,
    ast.ClassDef,
    ast.For,
    ast.While,
    ast.With,
    ast.Match,
)  # what is in them may not run, or elsewhere
# A loaded model is in evaluation; checkpointing and what is returned is asked for by a caller.
MOST_ASKED = 8  # names that lead from one to the next
USUAL = {"training": False, "gradient_checkpointing": False}
USES = "use_cache"
FILLED = (["check_model_inputs"], ["merge_with_config_defaults"])  # decorators that take it from the configuration


class Members:
    """Where the members of transformers' classes are used that a load, forward and generate run for certain."""

    def __init__(self, code: ReachableCode):
        self.code = code
        self.settings = settings(code)
        self.certain: dict[tuple[str, str], str] = {}
        for cls in built(code):
            self._look(cls, "forward", IN_FORWARD)
        for cls in mains(code):
            for name in GENERATES:
                self._look(cls, name, WHILE_GENERATING)

        self._look_at_layers()

    def _look_at_layers(self) -> None:
        """What layers of a decoder read of the cache that they keep of the encoder: each step but the first does."""
        if not any(writes_text(self.code, cls) and not generates_itself(self.code, cls) for cls in mains(self.code)):
            return
        for cls in self.code.torch_modules:
            forward = self.code.folder.method(cls, "forward")
            if forward is None or self.code.folder.kind(cls) == "model" or forward[0] != cls:
                continue
            for node in every(forward[1], ast.If):
                if any(word(n) == KEPT or getattr(n, "id", "") == KEPT for n in walk(node.test)):
                    for name in (name for statement in node.body for name in _read(statement)):
                        self.certain.setdefault((self.code.folder.classes[cls][0].name, name), WHILE_GENERATING)

    def case(self, module: Module, name: str) -> str:
        """What fails for certain where a member that a file uses is missing: a case; "" where a load decides."""
        return self.certain.get((module.name, name), "")

    def _look(self, cls: str, method: str, case: str) -> None:
        found = self.code.folder.method(cls, method)
        if found is None or found[0] not in self.code.folder.classes:
            return
        module = self.code.folder.classes[found[0]][0]
        cached = None if case == WHILE_GENERATING and not self._passes_its_class(cls) else case == WHILE_GENERATING
        asks = Asks(self.settings, taken_from_config(found[1], self.settings), once(found[1]), cached)
        for name in _runs(found[1].body, asks.holds):
            self.certain.setdefault((module.name, name), case)

    def _passes_its_class(self, cls: str) -> bool:
        """Whether generate gives the class a cache object in every release: 4.48 to 4.53 do where it says so."""
        says = self.code.folder.attribute(cls, "_supports_cache_class")
        keeps = self.settings.get("use_cache", True)
        return isinstance(says, ast.Constant) and says.value is True and keeps is not False


def mains(code: ReachableCode) -> list[str]:
    """What a load builds: the class that "architectures" names, else the one to which most entries lead."""
    named = code.configs.get("config.json", {}).get("architectures")
    entries = [place.split(".")[-1] for auto, place in code.auto_map.items() if auto.startswith("AutoModel")]
    listed = [cls for cls in named if cls in entries and cls in code.models] if isinstance(named, list) else []
    counted = Counter(cls for cls in entries if cls in code.models).most_common(2)
    alone = len(counted) == 1 or (len(counted) == 2 and counted[0][1] > counted[1][1])
    return listed or [cls for cls, _ in counted[:1] if alone]


def built(code: ReachableCode) -> list[str]:
    """The same, and the classes of the folder that their constructors build without a condition."""
    pending, seen = mains(code), []
    while pending:
        cls = pending.pop()
        if cls in seen:
            continue
        seen.append(cls)
        init = code.folder.method(cls, "__init__")
        for statement in _that_run(init[1].body if init else []):
            if isinstance(statement, (ast.Assign, ast.AnnAssign)):
                pending += [call_name(c) for c in calls(statement) if call_name(c) in code.folder.classes]
                pending += [part for c in calls(statement) if (part := _from_config(code, c))]
    return seen


def _from_config(code: ReachableCode, call: ast.Call) -> str:
    """The class of the folder that AutoModel.from_config(config.part) builds: the one registered for its type."""
    path = chain(call.args[0]) if call_name(call) == "from_config" and call.args else []
    part = code.configs.get("config.json", {}).get(path[-1]) if len(path) > 1 else None
    kind = part.get("model_type") if isinstance(part, dict) else None
    for module in code.modules if isinstance(kind, str) else ():
        for each in every(module.tree, ast.Call):
            if call_name(each) != "register" or chain(each.func)[:1] != chain(call.func)[:1]:
                continue
            config, model, *_ = [*(getattr(argument, "id", "") for argument in each.args), "", ""]
            if model in code.folder.classes and _model_type(code, config) == kind:
                return model
    return ""


def _model_type(code: ReachableCode, config: str) -> str | None:
    """The type that a configuration class declares, also through a name at the top of its file."""
    value = code.folder.attribute(config, "model_type") if config in code.folder.classes else None
    if isinstance(value, ast.Name):
        for owner in code.folder.lineage(config):
            for statement in code.folder.classes[owner][0].tree.body:
                for target, text in assignments(statement):
                    if isinstance(target, ast.Name) and target.id == value.id:
                        return string(text)
    return string(value)


def _that_run(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements, and those of loops: a loop over layers has one at least."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.For, ast.With)):
            yield from _that_run(statement.body)


def taken_from_config(function: ast.FunctionDef, values: dict[str, Any]) -> dict[str, Any]:
    """Arguments that nobody has to give, with what they become: x = self.config.x if x is None else x."""
    free = {name for name, value in defaults(function).items() if is_none(value)}
    taken = {}
    if USES in free and any(chain(_called(each))[-1:] in FILLED for each in function.decorator_list):
        taken[USES] = values.get(USES, UNKNOWN)
    for node in walk(function):
        for target, value in assignments(node):
            if not isinstance(target, ast.Name) or target.id not in free or not isinstance(value, ast.IfExp):
                continue
            instead = value.body if isinstance(value.orelse, ast.Name) else value.orelse
            if isinstance(instead, ast.Constant):
                taken[target.id] = instead.value
            elif isinstance(instead, ast.Attribute) and is_config(instead.value) and instead.attr == target.id:
                taken[target.id] = values.get(instead.attr, UNKNOWN)
    return taken


def _called(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def once(function: ast.FunctionDef) -> dict[str, ast.expr]:
    """Local names that one assignment sets, to a comparison or a question, with it."""
    values: dict[str, list[ast.expr | None]] = {}
    for node in walk(function):
        for target, value in assignments(node):
            if isinstance(target, ast.Name):
                values.setdefault(target.id, []).append(value)
    asks = (ast.Compare, ast.UnaryOp, ast.Call)
    given = {each.arg for each in parameters(function)}  # they have a value before
    known = {name: parts[0] for name, parts in values.items() if len(parts) == 1 and name not in given}
    return {name: value for name, value in known.items() if isinstance(value, asks)}


def _runs(body: list[ast.stmt], asks: Callable[[ast.expr], bool | None]) -> Iterator[str]:
    """Attributes that are read whenever the statements run, up to where they may end."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _read(statement.test)
            holds = asks(statement.test)
            branch = [] if holds is None else statement.body if holds else statement.orelse
            yield from _runs(branch, asks)
            if _ends(statement if holds is None else ast.Module(branch, [])):
                return
        elif is_try(statement) or isinstance(statement, BLOCKS):
            if _ends(statement):
                return
        else:
            yield from _read(statement)
            if isinstance(statement, (ast.Return, ast.Raise)):
                return


def _ends(node: ast.AST) -> bool:
    return any(isinstance(part, ast.Return) for part in ast.walk(node))


def _read(node: ast.AST) -> Iterator[str]:
    """Attributes of self and of caches that an expression reads for certain: not those behind a condition in it."""
    if isinstance(node, (ast.IfExp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return
    if isinstance(node, ast.BoolOp):
        yield from _read(node.values[0])
        return
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
        yield node.attr
    for child in ast.iter_child_nodes(node):
        yield from _read(child)


@dataclass(frozen=True)
class Asks:
    """What conditions come to in an ordinary call.

    Args:
        settings: of the configuration. names: arguments that are taken from it. once: locals that are set once, with
            what they are. cached: whether a cache of transformers' class is there; None where that is not known.
        caches: the names that would hold it. own: classes of the folder that no cache of transformers is of.
    """

    settings: dict[str, Any]
    names: dict[str, Any]
    once: dict[str, ast.expr]
    cached: bool | None
    caches: frozenset[str] = frozenset({CACHE})
    own: frozenset[str] = frozenset()

    def holds(self, test: ast.expr, asking: frozenset[str] = frozenset()) -> bool | None:
        """Whether a condition holds; None where that is not known.

        Args:
            asking: names whose value is being asked for: one can be set from itself.
        """
        if is_combined(test):
            return combined(test, lambda part: self.holds(part, asking))
        if isinstance(test, ast.Name) and test.id in self.once:
            if test.id in asking or len(asking) >= MOST_ASKED:
                return None
            return self.holds(self.once[test.id], asking | {test.id})
        if isinstance(test, ast.Name):
            value = self.names.get(test.id, UNKNOWN)
            return None if value is UNKNOWN else bool(value)
        if is_self_attribute(test) and test.attr in USUAL:
            return USUAL[test.attr]
        if _is_of(test, self.caches, self.own):
            return False
        asked = None if self.cached is None else _of_the_cache(test, self.cached, self.caches)
        return decide(test, self.settings) if asked is None else asked


def _of_the_cache(test: ast.expr, there: bool, names: frozenset[str]) -> bool | None:
    """What a question about the cache is answered with: one of transformers' own class, or none."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and _is_one_of(test.left, names):
        return isinstance(test.ops[0], ast.IsNot) == there if is_none(test.comparators[0]) else None
    if not (isinstance(test, ast.Call) and call_name(test) == "isinstance" and len(test.args) == 2):
        return None
    if _is_one_of(test.args[0], names):
        return there if not there or chain(test.args[-1])[-1:] in ([name] for name in CACHE_CLASSES) else None
    return None


def _is_of(test: ast.expr, names: frozenset[str], classes: frozenset[str]) -> bool:
    """isinstance(past_key_values, OwnCache)"""
    if not (isinstance(test, ast.Call) and call_name(test) == "isinstance" and len(test.args) == 2):
        return False
    return _is_one_of(test.args[0], names) and chain(test.args[1])[-1:] in ([name] for name in classes)


def _is_one_of(node: ast.expr, names: frozenset[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names
