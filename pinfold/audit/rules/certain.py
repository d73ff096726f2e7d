"""Calls that a load, forward or generate comes to for certain, through methods and functions of the folder too."""

import ast
import functools
from collections.abc import Iterator
from typing import Any

from pinfold.audit.reachable import (
    ReachableCode,
    assignments,
    call_name,
    defaults,
    defined_functions,
    is_none,
    is_self_attribute,
    is_try,
    parameters,
)
from pinfold.audit.rules.decided import settings
from pinfold.audit.rules.handed import makes_no_cache
from pinfold.audit.rules.members import GENERATES, Asks, built, mains, once, taken_from_config
from pinfold.audit.rules.names import CACHE
from pinfold.common.trees import below, every
from pinfold.folder.model_folder import Module

LOAD, FORWARD, GENERATE = "load", "forward", "generate"
MAY_NOT_RUN = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.While, ast.Lambda)
NO_CACHES = {"use_cache", "cache_position"}  # names that are like that of a cache
DEEP = 4  # methods and functions that are followed from one to the next


class CertainCalls:
    """Which calls run whenever a model is loaded, computes or writes text: call -> the first of these three."""

    def __init__(self, code: ReachableCode):
        self.code = code
        self._stage: dict[ast.Call, str] = {}
        self._seen: set[tuple[str, ast.AST]] = set()

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """What is known of the configuration."""
        return settings(self.code)

    @functools.cached_property
    def own_caches(self) -> frozenset[str]:
        """Classes of the folder that derive from a cache: what generate hands over at first is of none of them."""
        folder = self.code.folder
        return frozenset(c for c in folder.classes if any(b.endswith("Cache") for b, _ in folder.bases(c)))

    @functools.cached_property
    def stage(self) -> dict[ast.Call, str]:
        """The table; it is made when a rule asks."""
        parts = built(self.code)
        config = self.code.auto_map.get("AutoConfig", "").split(".")[-1]
        for cls in (*parts, *([config] if config in self.code.config_classes else [])):
            self._method(cls, "__init__", LOAD, 0)
        for module in self.code.modules:
            for statement in module.tree.body:
                self._statements(module, "", [statement], LOAD, Asks(self.settings, {}, {}, None), 0)
        for cls in parts:
            self._method(cls, "forward", FORWARD, 0)
        for cls in mains(self.code):
            for name in GENERATES:
                self._method(cls, name, GENERATE, 0)
        return self._stage

    def _method(self, cls: str, name: str, stage: str, depth: int, handed: frozenset[str] = frozenset()) -> None:
        definition = self.code.folder.method(cls, name)
        if definition and definition[0] in self.code.folder.classes:
            self._function(self.code.folder.classes[definition[0]][0], cls, definition[1], stage, depth, handed)

    def _function(
        self,
        module: Module,
        cls: str,
        function: ast.FunctionDef,
        stage: str,
        depth: int,
        handed: frozenset[str] = frozenset(),
    ) -> None:
        """Follow a function; ``handed`` are the arguments that may hold the cache of whoever calls it."""
        if depth > DEEP or (cls, function) in self._seen:
            return
        self._seen.add((cls, function))
        values = taken_from_config(function, self.settings)
        # forward is called without a cache; what generate hands over is not the same in all releases
        cached = False if stage == FORWARD or (stage == GENERATE and makes_no_cache(self.code, cls)) else None
        taken, left = _taken(function, handed), _caches(function, handed)
        # up to where a name of the cache is given to something else: past = self.own_cache(past)
        lost = taken - left - NO_CACHES
        rebound = [number for number, statement in enumerate(function.body) if _bound(statement) & lost]
        first = rebound[0] + 1 if rebound else 0
        for body, caches in ((function.body[:first], taken), (function.body[first:], left)):
            asks = Asks(self.settings, values, once(function), cached, caches, self.own_caches)
            if self._statements(module, cls, body, stage, asks, depth):
                return

    def _statements(self, module: Module, cls: str, body: list[ast.stmt], stage: str, asks: Asks, depth: int) -> bool:
        """Note the calls of statements; True where the function may end in them."""
        for statement in body:
            branch = body_of(statement, asks)
            for call in _calls_of(statement, asks):
                self._stage.setdefault(call, stage)
                self._follow(module, cls, call, stage, depth, asks)
            self._statements(module, cls, branch, stage, asks, depth)
            if isinstance(statement, (ast.Return, ast.Raise)) or _may_end(statement, branch, asks):
                return True
        return False

    def _follow(self, module: Module, cls: str, call: ast.Call, stage: str, depth: int, asks: Asks) -> None:
        """self.method(...), super().method(...) and function(...), where that is of the folder."""
        if is_self_attribute(call.func) and cls:
            method = self.code.folder.method(cls, call_name(call))
            handed = _handed(method[1], call, asks.caches, 1) if method else frozenset()
            self._method(cls, call_name(call), stage, depth + 1, handed)
        elif isinstance(call.func, ast.Name):
            place, name = module.imports.get(call.func.id, ("", call.func.id))
            there = self.code.folder.modules.get(place.lstrip("."), module) if place.startswith(".") else module
            if function := defined_functions(there).get(name):
                self._function(there, "", function, stage, depth + 1, _handed(function, call, asks.caches, 0))


def _handed(function: ast.FunctionDef, call: ast.Call, caches: frozenset[str], first: int) -> frozenset[str]:
    """Arguments of a function to which a call hands a cache as it is; the first of a method is its object."""
    names = [each.arg for each in parameters(function)][first:]
    pairs = [*zip(names, call.args, strict=False), *((k.arg, k.value) for k in call.keywords if k.arg)]
    return frozenset(name for name, value in pairs if isinstance(value, ast.Name) and value.id in caches)


def _taken(function: ast.FunctionDef, handed: frozenset[str]) -> frozenset[str]:
    """Arguments that may hold a cache."""
    return handed | {name for name, value in defaults(function).items() if is_none(value) and CACHE.search(name)}


def _bound(statement: ast.stmt) -> set[str]:
    """Names that a statement assigns."""
    return {target.id for target, _ in assignments(statement) if isinstance(target, ast.Name)}


def _caches(function: ast.FunctionDef, handed: frozenset[str]) -> frozenset[str]:
    """Arguments that may hold a cache, and names that are one of them: cache = past if cache is None else cache."""
    names = _taken(function, handed)
    for statement in function.body:
        for target, value in assignments(statement):
            if isinstance(target, ast.Name):
                branches = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
                branches = list(value.values) if isinstance(value, ast.BoolOp) else branches
                same = all(isinstance(each, ast.Name) and each.id in names for each in branches)
                names = names | {target.id} if same else names - {target.id}
    return frozenset(names)


def body_of(statement: ast.stmt, asks: Asks) -> list[ast.stmt]:
    """What a statement runs of the statements in it."""
    if isinstance(statement, ast.If):
        holds = asks.holds(statement.test)
        return [] if holds is None else statement.body if holds else statement.orelse
    return list(statement.body) if isinstance(statement, (ast.For, ast.With)) else []


def _may_end(statement: ast.stmt, branch: list[ast.stmt], asks: Asks) -> bool:
    """Whether a function can end in a statement of which not all is known to run."""
    if isinstance(statement, ast.If) and asks.holds(statement.test) is not None:
        return any(every(each, ast.Return) for each in branch)
    return (is_try(statement) or isinstance(statement, (ast.If, ast.For, ast.While, ast.With, ast.Match))) and bool(
        every(statement, ast.Return)
    )


def _calls_of(statement: ast.stmt, asks: Asks) -> Iterator[ast.Call]:
    """Calls that a statement makes by itself, without those of the statements in it and those behind conditions."""
    pending: list[ast.AST] = [statement]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.IfExp):
            holds = asks.holds(node.test)
            pending += [node.test] if holds is None else [node.body if holds else node.orelse, node.test]
            continue
        if isinstance(node, MAY_NOT_RUN) or is_try(node):
            continue
        if isinstance(node, ast.Call):
            yield node
        children = node.values[:1] if isinstance(node, ast.BoolOp) else below(node)
        pending += [child for child in children if not isinstance(child, ast.stmt)]
