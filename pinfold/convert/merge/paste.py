"""The parent's statements in the place of super().method(...)."""

import ast
from collections import Counter
from dataclasses import replace

from pinfold.convert.merge.functions import (
    arguments_of,
    deleted_targets,
    loaded_names,
    own_scope,
    parameters,
    read_names,
    target_of,
    with_defaults,
)
from pinfold.convert.merge.members import Member
from pinfold.convert.merge.supers import statement_super


def paste(
    rows: list[Member], at: int, theirs: list[Member], node: ast.FunctionDef, parent: ast.FunctionDef
) -> list[Member]:
    """The parent's statements in place of the call `rows[at]`: the subclass's method and the parent's as one.

    The rules, in their order; words in quotes name a case of PAIRS in tests/convert/test_convert_users.py:

    1. `del self.x` behind the call removes the parent's `self.x = ...`; where the parent goes on to read it, both stay
       ("deleted after use").
    2. An assignment behind the call takes the place of the parent's to the same target, but not where it reads what
       is set only in between ("set from a later local"), or its own target ("twice assigned"). It comes after 1:
       where the parent's is removed there is no place to take.
    3. An `if` behind the call that the parent has as well is dropped.
    4. Parameters that the call fills with something else than their names are assigned first ("swapped", "by keyword",
       "default"). It comes after 1 to 3, since only those are assigned that the remaining statements read.
    5. In `__init__` the parent's own super().__init__() goes to the top, above what the subclass does before its call
       and above the assignments of 4: nothing can be set before the module is one.
    6. self.post_init() is called once, at the end of all of it.
    """
    before = rows[:at]
    call = rows[at]
    after = rows[at + 1 :]
    body, after = without_deleted(theirs, after)
    moved = movable(after, {m.key for m in body if m.key})
    pasted = with_later_assignments(body, moved)
    after = [m for m in after if m not in moved.values() and not repeats(m, body)]
    pasted = bindings(statement_super(call.node, node.name), node, parent, pasted) + pasted
    if node.name == "__init__":
        before, pasted = with_init_first(before, pasted)
    return with_post_init_last(before + pasted + after)


def without_deleted(theirs: list[Member], after: list[Member]) -> tuple[list[Member], list[Member]]:
    """Rule 1: the parent's rows and those behind the call, without what these delete and nothing reads."""
    deleted = {name for m in after for name in deleted_targets(m.node)}
    replaced = movable([m for m in after if not deleted_targets(m.node)], {m.key for m in theirs if m.key})
    remaining = [m for m in theirs if m.key not in deleted and m.key not in replaced]
    read = {name for m in remaining for name in deleted & read_names(m.node)}
    # a statement that deletes several names is carried out for all of them
    carried_out = {n for m in after if set(deleted_targets(m.node)) & read for n in deleted_targets(m.node)}
    body = [m for m in theirs if not m.key or m.key not in deleted - carried_out]
    return body, [m for m in after if not deleted_targets(m.node) or set(deleted_targets(m.node)) & carried_out]


def with_later_assignments(body: list[Member], moved: dict[str, Member]) -> list[Member]:
    """Rule 2: the parent's rows, in which each target of `moved` is assigned once, where it was first."""
    rows = []
    placed: set[str] = set()
    for row in body:
        if row.key not in moved:
            rows.append(row)
        elif row.key not in placed:
            placed.add(row.key)
            rows.append(replace(moved[row.key], spaced=row.spaced or moved[row.key].spaced))
    return rows


def movable(after: list[Member], known: set[str]) -> dict[str, Member]:
    """Assignments that can take the place of the parent's: they read nothing that comes only later."""
    moved: dict[str, Member] = {}
    counted = Counter(m.key for m in after)
    late: set[str] = set()  # what rows that stay where they are set
    for row in after:
        reads = read_names(row.node)
        # a local may be read by its new value (x = x + 1): both methods share their names
        reads_itself = row.key in reads and "." in row.key and not isinstance(row.node, ast.AnnAssign)
        if row.key in known and counted[row.key] == 1 and not reads & late and not reads_itself:
            moved[row.key] = row
        else:
            late |= {ast.unparse(n) for n in own_scope(row.node) if isinstance(getattr(n, "ctx", None), ast.Store)}
    return moved


def repeats(row: Member, body: list[Member]) -> bool:
    """Rule 3: whether a row is an `if` of the parent's that only sets attributes: once more would change nothing."""
    leaves = [n for n in ast.walk(row.node) if isinstance(n, ast.stmt) and not isinstance(n, ast.If)]
    assignments = [n for n in leaves if isinstance(n, ast.Assign)]
    targets = {target_of(n) for n in assignments}
    if not isinstance(row.node, ast.If) or len(leaves) != len(assignments):
        return False
    if not all(str(name).startswith("self.") for name in targets) or targets & read_names(row.node):
        return False
    return any(ast.dump(m.node) == ast.dump(row.node) for m in body)


def bindings(call: ast.Call, node: ast.FunctionDef, parent: ast.FunctionDef, rows: list[Member]) -> list[Member]:
    """Rule 4: `parameter = argument` for arguments of super() that say something else than the parent's own names.

    In a modular file both methods share their names, so an argument that is one of the parent's parameters means
    it wherever it is written.
    """
    names = arguments_of(parent)
    arguments = call_arguments(call, node, parent)
    if arguments is None:
        return []
    exchanged = any(are_exchanged(name, value, arguments) for name, value in arguments.items())
    read = loaded_names([m.node for m in rows])

    def means_itself(name: str, value: ast.expr) -> bool:
        return isinstance(value, ast.Name) and (value.id == name or (value.id in names and not exchanged))

    bound = {n: v for n, v in arguments.items() if n in read and not means_itself(n, v)}
    if not bound:
        return []
    # one that another one reads would have its new value by then: all of them at once
    if any(n in loaded_names([ast.Expr(value)]) for n in bound for m, value in bound.items() if m != n):
        bound = {", ".join(bound): ast.Tuple(list(bound.values()), ast.Load())}
    lines = [f"{name} = {ast.unparse(value)}" for name, value in bound.items()]
    return [Member("", "row", f"        {line}", ast.parse(line).body[0]) for line in lines]


def call_arguments(call: ast.Call, node: ast.FunctionDef, parent: ast.FunctionDef) -> dict[str, ast.expr] | None:
    """What each of the parent's parameters is in a call, defaults included; None where `*args` hides it."""
    positional = [a for a in call.args if not (isinstance(a, ast.Name) and a.id in ("self", "cls"))]
    if any(isinstance(a, ast.Starred) for a in positional):
        return None
    names = arguments_of(parent)
    own = parameters(node)
    arguments = dict(zip(names, positional, strict=False))
    arguments |= {k.arg: k.value for k in call.keywords if k.arg in names}
    defaults = {a.arg: default for a, default in with_defaults(parent) if default is not None}
    # what neither the call nor the subclass names
    return arguments | {n: defaults[n] for n in names if n not in arguments and n not in own and n in defaults}


def are_exchanged(name: str, value: ast.expr, arguments: dict[str, ast.expr]) -> bool:
    """Whether two parameters are each other's argument: super().f(b, a)."""
    if not isinstance(value, ast.Name) or value.id == name:
        return False
    other = arguments.get(value.id)
    return isinstance(other, ast.Name) and other.id == name


def with_init_first(before: list[Member], pasted: list[Member]) -> tuple[list[Member], list[Member]]:
    """Rule 5: super().__init__() of the pasted rows in front of all, where only assignments come before it."""
    start = next((m for m in pasted if statement_super(m.node, "__init__") is not None), None)
    if not before or start is None:
        return before, pasted
    if not all(m.key or m is start for m in pasted[: pasted.index(start) + 1]):
        return before, pasted
    return [start, *before], [m for m in pasted if m is not start]


def with_post_init_last(rows: list[Member]) -> list[Member]:
    """Rule 6."""
    calls = [m for m in rows if is_post_init(m.node)]
    return [m for m in rows if not is_post_init(m.node)] + calls[-1:]


def is_post_init(node: ast.stmt) -> bool:
    is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    return is_call and ast.unparse(node.value) == "self.post_init()"
