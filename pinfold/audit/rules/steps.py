"""P59, P60 and P70: what a folder's own code does at each step of generate, as releases up to 4.55 or 4.57 wanted it.

P59: a cache that generate makes from 4.56 on has its layers before anything is in them: its length is not 0.
P60: transformers 5 passes no cache_position, the places of the new tokens, and what reads it reads None.
The ranges are measured (the laboratory's steps cases).
"""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ReachableCode,
    assignments,
    call_name,
    calls,
    combined,
    is_combined,
    is_none,
    parameters,
    string,
)
from pinfold.audit.rules.decided import settings
from pinfold.audit.rules.generation import generates, generates_itself, writes_text
from pinfold.audit.rules.handed import keeps_none, makes_no_cache
from pinfold.audit.rules.members import MOST_ASKED, Asks, once, taken_from_config
from pinfold.common.trees import below, every, walk
from pinfold.folder.releases import release_ranges

CACHE, PLACES = "past_key_values", "cache_position"
ABSENT = ("inputs_embeds",)  # what generate does not hand over where it was given words
MAKERS = ("_get_initial_cache_position",)  # code that calls it makes the places itself


def cache_length(code: ReachableCode) -> Iterator[Finding]:
    """P59: a preparation that takes a cache with a length, or any cache at all, for one that has something in it."""
    for cls in handed_steps(code):
        prepare = code.folder.method(cls, "prepare_inputs_for_generation")
        if prepare is None or makes_no_cache(code, cls) or CACHE not in _names(prepare[1]):
            continue
        asks_length = any(call_name(call) == "get_seq_length" for call in calls(prepare[1]))
        for node in every(prepare[1], ast.If, ast.IfExp):
            case = _taken_for_filled(node.test)
            branch = node.body if isinstance(node.body, list) else [node.body]
            if not case or not any(_cuts_words(part) for part in branch):
                continue
            affected = harmed(case, code.lowest_version)
            if affected:
                yield code.finding(
                    "P59",
                    f"{cls}.prepare_inputs_for_generation asks {ast.unparse(node.test)[:60]}, which holds for an "
                    f"empty cache of transformers {release_ranges(affected)}: the model sees the last token alone.",
                    prepare[0],
                    node,
                    fix=f"Ask {CACHE}.get_seq_length() > 0, and cut by it: input_ids[:, {CACHE}.get_seq_length() :].",
                    releases=affected,
                    # a question for its length, before or inside, can make it right
                    severity=WARNING if asks_length else ERROR,
                    case="" if asks_length else case,
                )
                break


def last_word_alone(code: ReachableCode) -> Iterator[Finding]:
    """P70: a preparation that takes one word from a text, however many the cache lacks."""
    for cls in handed_steps(code):
        prepare = code.folder.method(cls, "prepare_inputs_for_generation")
        if prepare is None or makes_no_cache(code, cls) or CACHE not in _names(prepare[1]):
            continue
        for node in every(prepare[1], ast.If, ast.IfExp):
            if not isinstance(node, (ast.If, ast.IfExp)) or _taken_for_filled(node.test):
                continue  # P59 names this cure too
            of_cache = any(each.id == CACHE for each in every(node.test, ast.Name))
            branch = node.body if isinstance(node.body, list) else [node.body]
            alone = [part for part in branch if not (isinstance(part, ast.If) or every(part, ast.IfExp))]
            if of_cache and any(_cuts_words(part) for part in alone):
                yield code.finding(
                    "P70",
                    f"{cls}.prepare_inputs_for_generation takes the last token alone where there is a cache: a second "
                    "turn that goes on from a cache loses words, and assisted decoding (prompt_lookup_num_tokens) "
                    "fails.",
                    prepare[0],
                    node,
                    fix=f"Cut by what the cache has: input_ids[:, {CACHE}.get_seq_length() :].",
                    severity=WARNING,
                )
                break


def _taken_for_filled(test: ast.expr) -> str:
    """The laboratory's case of a test for what is in the cache: len(past_key_values) > 0, or past_key_values alone."""
    case = ""
    for part in test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]:
        if isinstance(part, ast.Compare) and len(part.ops) == 1:
            right = part.comparators[0]
            number = right.value if isinstance(right, ast.Constant) else None
            if _is_cache(part.left) and is_none(right) and isinstance(part.ops[0], ast.IsNot):
                continue
            more = (isinstance(part.ops[0], (ast.Gt, ast.NotEq)) and number == 0) or (
                isinstance(part.ops[0], ast.GtE) and number == 1
            )
            if not (more and _is_length(part.left)):
                return ""
            case = "P59.length"
        elif _is_length(part):
            case = "P59.length"
        elif _is_cache(part):
            case = case or "P59.truth"
        elif not (isinstance(part, ast.Name) and part.id == "use_cache"):
            return ""
    return case


def _is_cache(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == CACHE


def _is_length(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and call_name(node) == "len" and len(node.args) == 1 and _is_cache(node.args[0])


def _cuts_words(node: ast.AST) -> bool:
    """input_ids[:, -1:] or input_ids[:, -1].unsqueeze(-1), in whatever it is a part of."""
    for part in every(node, ast.Subscript):
        index = part.slice.elts[-1] if isinstance(part.slice, ast.Tuple) else part.slice
        start = index.lower if isinstance(index, ast.Slice) and index.upper is None else index
        of_words = isinstance(part.value, ast.Name) and part.value.id == "input_ids"
        if of_words and start is not None and ast.unparse(start) == "-1":
            return True
    return False


def places(code: ReachableCode) -> Iterator[Finding]:
    """P60: cache_position that is read without a question whether it is there."""
    if any(call_name(call) in MAKERS for module in code.modules for call in calls(module.tree)):
        return
    for cls in handed_steps(code):
        yield from _prepared(code, cls)
        yield from _updated(code, cls)


def _prepared(code: ReachableCode, cls: str) -> Iterator[Finding]:
    """What prepare_inputs_for_generation reads of it."""
    prepare = code.folder.method(cls, "prepare_inputs_for_generation")
    if prepare is None or PLACES not in _names(prepare[1]) or _asks(prepare[1]):
        return
    for cached, case in ((False, "P60.always"), (True, "P60.shape")):
        step = _Step(settings(code), prepare[1], cached)
        node = next(step.reads(prepare[1].body), None)
        if node is None:
            continue
        if cached and isinstance(node, ast.Name):
            case = "P60.index"
        affected = harmed(case, code.lowest_version)
        if affected:
            yield code.finding(
                "P60",
                f"{cls}.prepare_inputs_for_generation reads {ast.unparse(node)[:60]}, and transformers "
                f"{release_ranges(affected)} passes no {PLACES}.",
                prepare[0],
                node,
                fix=f"Go by {CACHE}.get_seq_length() where {PLACES} is None.",
                releases=affected,
                case=case,
            )
        return


def _updated(code: ReachableCode, cls: str) -> Iterator[Finding]:
    """model_kwargs["cache_position"] in an update of the folder's own, which nothing has set there."""
    update = code.folder.method(cls, "_update_model_kwargs_for_generation")
    affected = harmed("P60.update", code.lowest_version)
    if update is None or not affected or _asks(update[1]):
        return
    for statement in update[1].body:
        if isinstance(statement, ast.If) and "use_cache" not in ast.unparse(statement.test):
            continue
        for node in every(statement, ast.Subscript):
            if string(node.slice) == PLACES and isinstance(node.ctx, ast.Load):
                yield code.finding(
                    "P60",
                    f"{cls}._update_model_kwargs_for_generation reads {ast.unparse(node)}, which transformers "
                    f"{release_ranges(affected)} does not set.",
                    update[0],
                    node,
                    fix=f'Ask if "{PLACES}" in model_kwargs before.',
                    releases=affected,
                    case="P60.update",
                )
                return


def handed_steps(code: ReachableCode) -> Iterator[str]:
    """Models that generate of transformers runs with a cache."""
    if keeps_none(code):
        return
    for cls in code.models:
        if code.folder.is_stock(cls) or generates_itself(code, cls):
            continue
        if writes_text(code, cls) or generates(code, cls):
            yield cls


def _names(function: ast.FunctionDef) -> set[str]:
    return {each.arg for each in parameters(function)}


def _asks(function: ast.FunctionDef) -> bool:
    """Whether a function asks if it is there, sets it, or looks it up with a default."""
    for node in walk(function):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            if any(isinstance(s, ast.Name) and s.id == PLACES for s in sides) and any(map(is_none, sides)):
                return True
            if string(node.left) == PLACES:
                return True
        looks = isinstance(node, ast.Call) and call_name(node) in ("get", "pop", "setdefault", "getattr", "isinstance")
        if looks and any(string(a) == PLACES or getattr(a, "id", "") == PLACES for a in getattr(node, "args", ())):
            return True
        if isinstance(node, (ast.If, ast.IfExp)) and isinstance(node.test, ast.Name) and node.test.id == PLACES:
            return True
        if isinstance(node, ast.Match) and any(part.id == PLACES for part in every(node.subject, ast.Name)):
            return True
        if isinstance(node, ast.Try):
            return True
        if any(isinstance(target, ast.Name) and target.id == PLACES for target, _ in assignments(node)):
            return True
    return False


@dataclass(frozen=True)
class _Step:
    """What a step of generate runs of a function that prepares it.

    Args:
        values: what is known of the configuration. cached: whether it is handed a cache.
    """

    values: dict[str, Any]
    function: ast.FunctionDef
    cached: bool

    @functools.cached_property
    def named(self) -> dict[str, ast.expr]:
        """Names that one assignment sets."""
        return once(self.function)

    @functools.cached_property
    def asks(self) -> Asks:
        """What is asked of the configuration."""
        return Asks(self.values, taken_from_config(self.function, self.values), {}, self.cached)

    def holds(self, test: ast.expr, asking: frozenset[str] = frozenset()) -> bool | None:
        """Whether a condition holds; None where that is not known. asking: as in Asks.holds."""
        if is_combined(test):
            return combined(test, lambda part: self.holds(part, asking))
        named = self.named.get(test.id) if isinstance(test, ast.Name) else None
        if isinstance(test, ast.Name) and named is not None and not isinstance(named, ast.Call):
            known = test.id not in asking and len(asking) < MOST_ASKED
            return self.holds(named, asking | {test.id}) if known else None
        if isinstance(test, ast.Compare) and getattr(test.left, "id", "") in ABSENT and is_none(test.comparators[0]):
            return isinstance(test.ops[0], ast.Is)
        return self.asks.holds(test)

    def reads(self, body: list[ast.stmt]) -> Iterator[ast.expr]:
        """Where the statements that run for certain read the places; up to where they may end."""
        for statement in body:
            if isinstance(statement, ast.If):
                yield from self.in_expression(statement.test)
                holds = self.holds(statement.test)
                branch = [] if holds is None else statement.body if holds else statement.orelse
                yield from self.reads(branch)
                ends = [statement] if holds is None else branch
                if any(every(part, ast.Return) for part in ends):
                    return
            elif isinstance(statement, ast.Match):
                yield from self.in_expression(statement.subject)
                case = self.chosen(statement)
                yield from self.reads(case.body if case else [])
                if any(every(part, ast.Return) for part in ([statement] if case is None else case.body)):
                    return
            elif isinstance(statement, (ast.For, ast.While, ast.With, ast.FunctionDef, ast.ClassDef)):
                if every(statement, ast.Return):
                    return
            else:
                yield from self.in_expression(statement)
                if isinstance(statement, (ast.Return, ast.Raise)):
                    return

    def chosen(self, statement: ast.Match) -> ast.match_case | None:
        """The case of a match that runs, where None and "all else" decide it; None where that is not known."""
        for case in statement.cases:
            pattern = case.pattern
            if case.guard is not None:
                return None
            if isinstance(pattern, ast.MatchAs) and pattern.pattern is None:
                return case
            if not (isinstance(pattern, ast.MatchSingleton) and pattern.value is None):
                return None
            holds = self.holds(ast.Compare(statement.subject, [ast.Is()], [ast.Constant(None)]))
            if holds is not False:
                return case if holds else None
        return None

    def in_expression(self, node: ast.AST) -> Iterator[ast.expr]:
        """cache_position.shape and cache_position[0], or the name itself, where it is an index."""
        if isinstance(node, (ast.Lambda, ast.ListComp, ast.GeneratorExp, ast.DictComp)):
            return
        if isinstance(node, ast.IfExp):
            yield from self.in_expression(node.test)
            holds = self.holds(node.test)
            if holds is not None:
                yield from self.in_expression(node.body if holds else node.orelse)
            return
        if isinstance(node, ast.BoolOp):
            for part in node.values:
                yield from self.in_expression(part)
                if self.holds(part) is not isinstance(node.op, ast.And):
                    return
            return
        if isinstance(node, (ast.Attribute, ast.Subscript)):
            if isinstance(node.value, ast.Name) and node.value.id == PLACES:
                yield node
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
                yield from (e for e in node.slice.elts if isinstance(e, ast.Name) and e.id == PLACES)
        for child in below(node):
            yield from self.in_expression(child)
