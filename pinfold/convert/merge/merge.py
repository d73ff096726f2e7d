"""One class from two: the parent's renamed text, and what the subclass changes in it."""

import ast
import re
from collections import Counter
from dataclasses import dataclass, replace

from pinfold.common.errors import UserError

WORD = re.compile(r"[A-Za-z_]\w*")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BINDING = {"property", "staticmethod", "classmethod", "cached_property", "functools.cached_property"}
ROOTS = {"nn.Module", "PreTrainedModel", "PreTrainedConfig"}  # their __init__ is what super() comes to


@dataclass
class Member:
    """A statement of a class body, with the comments above it."""

    key: str
    kind: str  # docstring, value, method, other
    text: str
    node: ast.stmt
    spaced: bool = False  # an empty line above it


@dataclass
class Body:
    """A class in parts; texts keep their indentation."""

    name: str
    decorators: list[str]
    bases: str  # what stands between the parentheses
    members: list[Member]

    def find(self, key: str) -> Member | None:
        return next((m for m in self.members if m.key == key), None)

    def text(self) -> str:
        parts = [*self.decorators, f"class {self.name}{f'({self.bases})' if self.bases else ''}:"]
        shown = [m for m in self.members if m.kind != "pass"]
        for number, member in enumerate(shown):
            if number and (
                member.spaced or member.kind == "method" or shown[number - 1].kind in ("method", "docstring")
            ):
                parts.append("")
            parts.append(member.text)
        if not shown:
            parts.append("    pass")
        return "\n".join(parts)


def split(text: str) -> Body:
    """Take a class's text apart; it stands alone and unindented."""
    node, lines = ast.parse(text).body[0], text.split("\n")
    decorators, start = [], 1
    for part in node.decorator_list:
        decorators.append("\n".join(lines[start - 1 : part.end_lineno]))
        start = part.end_lineno + 1
    comments = lines[start - 1 : node.lineno - 1]
    decorators += comments
    first = node.body[0]
    top = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
    bases = ", ".join(
        [ast.get_source_segment(text, b) for b in node.bases]
        + [f"{k.arg}={ast.get_source_segment(text, k.value)}" for k in node.keywords]
    )
    # comments between the head and the first statement belong to that statement
    end_of_head = top - 1
    while end_of_head > node.lineno and (
        not lines[end_of_head - 1].strip() or lines[end_of_head - 1].strip()[:1] == "#"
    ):
        end_of_head -= 1
    return Body(node.name, decorators, bases, members(node.body, lines, end_of_head))


def members(body: list[ast.stmt], lines: list[str], above: int) -> list[Member]:
    found = []
    for number, node in enumerate(body):
        text = lines[above : node.end_lineno]
        spaced = False
        while text and not text[0].strip():
            spaced, text = True, text[1:]
        above = node.end_lineno
        key, kind = classify(node, number)
        found.append(Member(key, kind, "\n".join(text), node, spaced))
    return found


def classify(node: ast.stmt, number: int) -> tuple[str, str]:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        # a property and its setter share a name
        marks = [
            d.attr for d in node.decorator_list if isinstance(d, ast.Attribute) and d.attr in ("setter", "deleter")
        ]
        return node.name + "".join(f".{m}" for m in marks), "method"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        if node.value.value is ...:
            return "pass", "pass"
        if number == 0 and isinstance(node.value.value, str):
            return "__doc__", "docstring"
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id, "value"
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id, "value"
    if isinstance(node, ast.Pass):
        return "pass", "pass"
    if isinstance(node, (ast.ClassDef,)):
        return node.name, "method"
    return ast.unparse(node), "other"


def raises_attribute_error(node: ast.AST) -> bool:
    """`attr = AttributeError()`, or a method whose body only raises it: what the subclass removes."""
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        value = node.value
        if isinstance(value, ast.Call):
            value = value.func
        return isinstance(value, ast.Name) and value.id == "AttributeError"
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        body = [n for n in node.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))]
        if len(body) == 1 and isinstance(body[0], ast.Raise) and body[0].exc is not None:
            raised = body[0].exc.func if isinstance(body[0].exc, ast.Call) else body[0].exc
            removed = ("AttributeError", "NotImplementedError")  # either says that the class has no such method
            return isinstance(raised, ast.Name) and raised.id in removed
    return False


def merge(child: Body, parent: Body, where: str) -> Body:
    """The class that `class child(parent)` describes, without `parent`.

    Args:
        where: file and line of the subclass, for messages.

    Raises:
        UserError: a super() call whose meaning cannot be kept.
    """
    merged, taken = [], set()
    extra: list[Member] = []
    for member in parent.members:
        own = child.find(member.key) if member.kind != "pass" else None
        if own is None:
            merged.append(member)
            continue
        taken.add(member.key)
        if raises_attribute_error(own.node):
            continue
        if member.kind == "docstring":
            merged.append(own)
        elif own.kind == "method" and member.kind == "method" and are_functions(own.node, member.node):
            text, kept = unroll(own, member, parent, where)
            extra += kept
            merged.append(replace(own, text=text))
        else:
            merged.append(replace(own, spaced=member.spaced))
    new = [m for m in child.members if m.key not in taken and m.kind != "pass"]
    new = [m for m in new if m.kind == "method" or not raises_attribute_error(m.node)]
    for member in list(new):
        if isinstance(member.node, FUNCTIONS):
            text, kept = other_supers(*function_parts(member.text), parent)
            extra += kept
            new[new.index(member)] = replace(member, text=text)
    docstring = [m for m in new if m.kind == "docstring"]
    values = [m for m in new if m.kind in ("value", "other")]
    methods = [m for m in new if m.kind == "method"]
    at = next((i for i, m in enumerate(merged) if m.kind == "method"), len(merged))
    body = docstring + merged[:at] + values + merged[at:] + methods
    seen = set()
    for member in extra:
        if member.key not in seen:
            seen.add(member.key)
            body.append(member)
    marks = [d for d in child.decorators if d.strip() != "@no_inherit_decorator"]
    own = any(not line.startswith("#") for d in child.decorators for line in d.splitlines())  # not comments alone
    return Body(child.name, marks if own else parent.decorators, parent.bases, body)


def are_functions(*nodes: ast.AST) -> bool:
    return all(isinstance(n, FUNCTIONS) for n in nodes)


def function_parts(text: str) -> tuple[ast.FunctionDef, list[str]]:
    """A method's tree and lines, inside of a class of no name, so that no indentation changes."""
    whole = f"class _:\n{text}"
    return ast.parse(whole).body[0].body[0], whole.split("\n")


def super_call(node: ast.AST) -> ast.Call | None:
    """The call in `super().m(...)`, or in `super(Class, self).m(...)`."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Call)
        and isinstance(node.func.value.func, ast.Name)
        and node.func.value.func.id == "super"
    ):
        return node
    return None


def is_super_attribute(node: ast.AST) -> bool:
    """`super().x`, called or not."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Load)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id == "super"
    )


def header_end(node: ast.FunctionDef) -> int:
    """Last line of `def ...:`; a one-line body shares it."""
    ends = [node.lineno]
    for part in ast.walk(node.args):
        if hasattr(part, "end_lineno"):
            ends.append(part.end_lineno)
    if node.returns is not None:
        ends.append(node.returns.end_lineno)
    return max(ends)


def find_header_end(lines: list[str], node: ast.FunctionDef) -> int:
    """The line that ends the signature: the formatter closes it with `):` or `) -> x:` at the margin."""
    last = header_end(node)
    first = node.body[0]
    top = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
    for number in range(last, top):
        if lines[number - 1].rstrip().endswith(":"):
            last = number
            break
        # a comment after the colon
        if re.search(r":\s*#", lines[number - 1]):
            last = number
            break
    return last


def target_of(node: ast.stmt) -> str | None:
    """What a plain assignment sets: `self.x`, `x`."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
    elif isinstance(node, ast.AnnAssign):
        target = node.target
    else:
        return None
    return ast.unparse(target) if isinstance(target, (ast.Attribute, ast.Name, ast.Tuple)) else None


def deleted(node: ast.stmt) -> list[str]:
    return [ast.unparse(t) for t in node.targets] if isinstance(node, ast.Delete) else []


def unroll(own: Member, inherited: Member, parent: Body, where: str) -> tuple[str, list[Member]]:
    """A method with `super().same_method(...)` replaced by the parent's body."""
    node, lines = function_parts(own.text)
    theirs, their_lines = function_parts(inherited.text)
    if node.args.kwarg and node.args.kwarg.arg == "super_kwargs":
        node, lines = with_parents_signature(node, lines, theirs, their_lines)
    else:
        node, lines = with_parents_marks(node, lines, theirs, their_lines)
    their_doc, their_rows = split_function(theirs, their_lines)
    direct = [n for n in node.body if statement_super(n, node.name) is not None]
    unrolled = None
    if len(direct) == 1:
        late = node.body.index(direct[0]) < len(node.body) - 1 and isinstance(direct[0], ast.Expr)
        inside = [n for m in their_rows for n in own_scope(m.node)]
        early_return = any(isinstance(n, ast.Return) for n in inside)
        waits = any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in inside) or type(node) is not type(theirs)
        if (
            not (late and early_return and not only_replaces(node.body, direct[0], their_rows))
            and not waits
            and can_bind(direct[0], node, theirs)
        ):
            unrolled = direct[0]
    text, kept = other_supers(node, lines, parent, unrolled)
    node, lines = function_parts(text)
    doc, rows = split_function(node, lines)
    if unrolled is not None:
        at = next(i for i, m in enumerate(rows) if statement_super(m.node, node.name) is not None)
        rows = paste(rows, at, their_rows, node, theirs)
    header = "\n".join(lines[1 : find_header_end(lines, node)])
    return assemble_function(header, doc or their_doc, rows), kept


def with_parents_marks(node, lines, theirs, their_lines):
    """The parent's decorators and the type of its result, where the child has none.

    One that only renames an argument of callers, @deprecate_kwarg, stands beside the parent's.
    """
    if any(isinstance(d, ast.Name) and d.id == "no_inherit_decorator" for d in node.decorator_list):
        marked = [d.lineno for d in node.decorator_list if isinstance(d, ast.Name) and d.id == "no_inherit_decorator"]
        return function_parts("\n".join(line for n, line in enumerate(lines[1:], 2) if n not in marked))
    changed = list(lines)
    if node.returns is None and theirs.returns is not None:
        end = find_header_end(lines, node) - 1
        result = " ".join(ast.get_source_segment("\n".join(their_lines), theirs.returns).split())
        changed[end] = re.sub(r":(\s*(#.*)?)$", lambda m: f" -> {result}:{m[1]}", changed[end])
    own = [ast.unparse(d) for d in node.decorator_list]
    if theirs.decorator_list and all(d.startswith("deprecate_kwarg(") for d in own):
        first = min(d.lineno for d in theirs.decorator_list) - 1
        marks = list(their_lines[: theirs.lineno - 1])
        for mark in reversed([d for d in theirs.decorator_list if ast.unparse(d) in own]):
            del marks[mark.lineno - 1 : mark.end_lineno]
        at = min([node.lineno, *(d.lineno for d in node.decorator_list)]) - 1
        changed[at:at] = marks[first:]
    return function_parts("\n".join(changed[1:])) if changed != lines else (node, lines)


def own_scope(node: ast.AST):
    """Nodes of a statement, without those of functions defined in it."""
    yield node
    for part in ast.iter_child_nodes(node):
        if not isinstance(part, (*FUNCTIONS, ast.Lambda, ast.ClassDef)):
            yield from own_scope(part)


def split_function(node: ast.FunctionDef, lines: list[str]) -> tuple[str, list[Member]]:
    start = find_header_end(lines, node)
    rows = members(node.body, lines, start)
    doc = ""
    if rows and rows[0].kind == "docstring":
        doc, rows = rows[0].text, rows[1:]
    return doc, [replace(m, key=target_of(m.node) or "", kind="row") for m in rows if not isinstance(m.node, ast.Pass)]


def assemble_function(header: str, doc: str, rows: list[Member]) -> str:
    parts = [header]
    if doc:
        parts.append(doc)
    for number, row in enumerate(rows):
        if row.spaced and (number or doc):
            parts.append("")
        parts.append(row.text)
    if not doc and not rows:
        parts.append("        pass")
    return "\n".join(parts)


def statement_super(node: ast.stmt, method: str) -> ast.Call | None:
    if isinstance(node, (ast.Expr, ast.Return)) and node.value is not None:
        call = super_call(node.value)
        if call is not None and call.func.attr == method:
            return call
    return None


def paste(
    rows: list[Member], at: int, theirs: list[Member], node: ast.FunctionDef, parent: ast.FunctionDef
) -> list[Member]:
    """The parent's statements in place of the call; later assignments to one target replace the parent's."""
    before, call, after = rows[:at], rows[at], rows[at + 1 :]
    gone = {name for m in after for name in deleted(m.node)}
    replaced = movable([m for m in after if not deleted(m.node)], {m.key for m in theirs if m.key})
    # what the parent goes on to read is set, and deleted where the subclass says so
    read = {name for m in theirs if m.key not in gone and m.key not in replaced for name in gone & reads(m.node)}
    stays = {name for m in after if set(deleted(m.node)) & read for name in deleted(m.node)}
    after = [m for m in after if not deleted(m.node) or set(deleted(m.node)) & stays]
    body = [m for m in theirs if not m.key or m.key not in gone - stays]
    moved = movable(after, {x.key for x in body if x.key})
    result, placed = [], set()
    for m in body:
        if m.key not in moved:
            result.append(m)
        elif m.key not in placed:
            placed.add(m.key)
            result.append(replace(moved[m.key], spaced=m.spaced or moved[m.key].spaced))
    after = [m for m in after if m not in moved.values() and not repeats(m, body)]
    result = bindings(statement_super(call.node, node.name), node, parent, result) + result
    if node.name == "__init__":  # nothing can be set before the module is one
        start = next((m for m in result if statement_super(m.node, "__init__") is not None), None)
        if before and start is not None and all(m.key or m is start for m in result[: result.index(start) + 1]):
            result.remove(start)
            before = [start, *before]
    merged = before + result + after
    post = [m for m in merged if is_post_init(m.node)]
    if post:
        merged = [m for m in merged if not is_post_init(m.node)] + [post[-1]]
    return merged


def repeats(row: Member, body: list[Member]) -> bool:
    """Whether a row is an `if` that only sets attributes, which the parent has too: once more would change nothing."""
    leaves = [n for n in ast.walk(row.node) if isinstance(n, ast.stmt) and not isinstance(n, ast.If)]
    sets = {target_of(n) for n in leaves if isinstance(n, ast.Assign)}
    plain = isinstance(row.node, ast.If) and len(leaves) == len([n for n in leaves if isinstance(n, ast.Assign)])
    if not plain or not all(str(name).startswith("self.") for name in sets) or sets & reads(row.node):
        return False
    return any(ast.dump(m.node) == ast.dump(row.node) for m in body)


def reads(node: ast.AST) -> set[str]:
    """Names and attributes of `self` that a statement reads."""
    read = (n for n in ast.walk(node) if isinstance(n, (ast.Name, ast.Attribute)) and isinstance(n.ctx, ast.Load))
    return {ast.unparse(n) for n in read}


def movable(after: list[Member], known: set[str]) -> dict[str, Member]:
    """Assignments that can stand where the parent has its own: they read nothing that comes only later."""
    moved: dict[str, Member] = {}
    counted = Counter(m.key for m in after)
    late: set[str] = set()  # what rows that stay where they are set
    for m in after:
        if (
            m.key in known
            and counted[m.key] == 1
            and not reads(m.node) & late
            and (isinstance(m.node, ast.AnnAssign) or m.key not in reads(m.node) or "." not in m.key)
        ):
            moved[m.key] = m
        else:
            late |= {ast.unparse(n) for n in own_scope(m.node) if isinstance(getattr(n, "ctx", None), ast.Store)}
    return moved


def parameters(node: ast.FunctionDef) -> list[str]:
    return [a.arg for a in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]


def arguments_of(node: ast.FunctionDef) -> list[str]:
    """What a call passes: without `self` and `cls`."""
    bare = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    return parameters(node)[0 if bare else 1 :]


def can_bind(statement: ast.stmt, node: ast.FunctionDef, parent: ast.FunctionDef) -> bool:
    """Whether the parent's parameters are known where its body is to be pasted.

    Not where `*args` or `**kwargs` carry one of them, nor where a local of the subclass, which it reads again, or one
    that it has for something else, would be the parent's as well.
    """
    call = statement_super(statement, node.name)
    own, theirs = parameters(node), arguments_of(parent)
    given = {*own, *theirs[: len(call.args)], *(k.arg for k in call.keywords)}
    missing = [name for name in theirs if name not in given]
    starred = any(isinstance(a, ast.Starred) for a in call.args) or any(k.arg is None for k in call.keywords)
    if starred and missing:
        return False
    for theirs_rest, own_rest in ((parent.args.vararg, node.args.vararg), (parent.args.kwarg, node.args.kwarg)):
        if theirs_rest and own_rest and theirs_rest.arg != own_rest.arg and theirs_rest.arg in loaded(parent.body):
            return False
    at = node.body.index(statement)
    before, after = stored(node.body[:at]) - set(own), loaded(node.body[at + 1 :])
    if before & after & stored(parent.body):
        return False
    return not before & (loaded(parent.body) - stored(parent.body) - set(theirs))


def only_replaces(body: list[ast.stmt], call: ast.stmt, theirs: list[Member]) -> bool:
    """Whether all that follows super() are assignments that the parent has too, and it returns at its end alone.

    To Python these would be without effect, so what is meant is the parent's body with other lines.
    """
    returns = [n for m in theirs for n in own_scope(m.node) if isinstance(n, ast.Return)]
    known = {m.key for m in theirs if m.key}
    after = body[body.index(call) + 1 :]
    return returns == [theirs[-1].node] and all(target_of(n) in known for n in after)


def names_of(body: list[ast.stmt], context: type) -> set[str]:
    return {
        n.id for s in body for n in own_scope(s) if isinstance(n, ast.Name) and isinstance(n.ctx, context)
    }  # fmt: skip


def stored(body: list[ast.stmt]) -> set[str]:
    return names_of(body, ast.Store)


def loaded(body: list[ast.stmt]) -> set[str]:
    return {n.id for s in body for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def is_post_init(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value) == "self.post_init()"
    )


def bindings(call: ast.Call, node: ast.FunctionDef, parent: ast.FunctionDef, rows: list[Member]) -> list[Member]:
    """`parameter = argument` for arguments of super() that say something else than the parent's own names.

    In a modular file both methods share their names, so an argument that is one of the parent's parameters stands
    for it wherever it is written.
    """
    names, own = arguments_of(parent), parameters(node)
    arguments = [a for a in call.args if not (isinstance(a, ast.Name) and a.id in ("self", "cls"))]
    if any(isinstance(a, ast.Starred) for a in arguments):
        return []
    given = dict(zip(names, arguments, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg in names}
    defaults = {a.arg: d for a, d in with_defaults(parent) if d is not None}
    # what neither the call nor the subclass speaks of
    given |= {n: defaults[n] for n in names if n not in given and n not in own and n in defaults}
    read = loaded([m.node for m in rows])
    swapped = any(
        isinstance(v, ast.Name) and v.id in given and isinstance(given[v.id], ast.Name) and given[v.id].id == n != v.id
        for n, v in given.items()
    )
    found = {
        name: value
        for name, value in given.items()
        if name in read
        and not (isinstance(value, ast.Name) and (value.id == name or (value.id in names and not swapped)))
    }
    if not found:
        return []
    if any(n in loaded([ast.Expr(v)]) for n in found for m, v in found.items() if m != n):  # all of them at once
        found = {", ".join(found): ast.Tuple(list(found.values()), ast.Load())}
    lines = [f"{name} = {ast.unparse(value)}" for name, value in found.items()]
    return [Member("", "row", f"        {line}", ast.parse(line).body[0]) for line in lines]


def with_parents_signature(node, lines, theirs, their_lines):
    """`**super_kwargs` stands for the parent's parameters; decorators and result too, where the child has none."""
    marks = (lines[1 : node.lineno - 1] if node.decorator_list else []) or their_lines[1 : theirs.lineno - 1]
    signature = "\n".join(their_lines[theirs.lineno - 1 : find_header_end(their_lines, theirs)])
    theirs_too = {a.arg for a, _ in with_defaults(theirs)}
    own = [(a, d) for a, d in with_defaults(node)]
    if any(a.arg in theirs_too - {"self"} or d is None for a, d in own if a.arg != "self"):
        signature = merged_signature(node, theirs)
        own = []
    more = [ast.unparse(a) + (f" = {ast.unparse(d)}" if d else "") for a, d in own if a.arg != "self"]
    if more:
        end = ", ".join(more)
        plain = re.sub(
            r",?\s*\*\*" + (theirs.args.kwarg.arg if theirs.args.kwarg else "kwargs"),
            lambda m: f", {end}{m[0]}",
            signature,
        )
        signature = plain if theirs.args.kwarg else re.sub(r",?\s*\)", f", {end})", signature, count=1)
    body = "\n".join(lines[find_header_end(lines, node) :])
    text = "\n".join(x for x in ("\n".join(marks), signature, body) if x)
    return function_parts(text.replace("(**super_kwargs)", "(" + ", ".join(forwarded(theirs)) + ")"))


def merged_signature(node: ast.FunctionDef, theirs: ast.FunctionDef) -> str:
    """The parent's parameters, in which the child's of the same name take their place; then its others."""
    own = {a.arg: (a, d) for a, d in with_defaults(node)}
    both = [own.pop(a.arg, (a, d)) for a, d in with_defaults(theirs)]
    both += list(own.values())
    needed = [x for x in both if x[1] is None]
    both = [*needed, *(x for x in both if x[1] is not None)]
    told = [ast.unparse(a) + (f" = {ast.unparse(d)}" if d is not None else "") for a, d in both]
    if theirs.args.kwarg:
        told.append(f"**{ast.unparse(theirs.args.kwarg)}")
    result = node.returns or theirs.returns
    return f"    def {node.name}({', '.join(told)}){f' -> {ast.unparse(result)}' if result else ''}:"


def with_defaults(node: ast.FunctionDef) -> list[tuple[ast.arg, ast.expr | None]]:
    listed = node.args.posonlyargs + node.args.args
    defaults = [None] * (len(listed) - len(node.args.defaults)) + node.args.defaults
    return [*zip(listed, defaults, strict=True), *zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]


def forwarded(node: ast.FunctionDef) -> list[str]:
    names = [a.arg for a in node.args.posonlyargs + node.args.args][1:]
    found = names + [f"{a.arg}={a.arg}" for a in node.args.kwonlyargs]
    if node.args.vararg:
        found.append(f"*{node.args.vararg.arg}")
    if node.args.kwarg:
        found.append(f"**{node.args.kwarg.arg}")
    return found


def other_supers(
    node: ast.FunctionDef, lines: list[str], parent: Body, but: ast.stmt | None = None
) -> tuple[str, list[Member]]:
    """super() calls that could not be unrolled, and `Ancestor.m(self, ...)`, which means super().

    Where the parent itself has the method, it is kept under a private name, and called by that.
    """
    kept, edits = [], []
    unrolled = set() if but is None else {id(n) for n in ast.walk(but)}
    first = next((a.arg for a in node.args.posonlyargs + node.args.args), "self")
    for part in ast.walk(node):
        if id(part) in unrolled:
            continue
        if is_super_attribute(part):
            theirs = parent.find(part.attr)
            if theirs is not None and theirs.kind in ("method", "value"):
                private = free_name(part.attr, parent)
                edits.append((part, f"{first}.{private}"))
                change = (rf"\bdef {re.escape(part.attr)}\b", f"def {private}")
                if theirs.kind == "value":
                    change = (rf"^(\s*){re.escape(part.attr)}\b", rf"\g<1>{private}")
                text = undecorated(theirs, node) if part.attr == node.name else theirs.text
                text = re.sub(*change, text, count=1, flags=re.MULTILINE)
                kept.append(Member(private, theirs.kind, text, theirs.node, True))
        elif (
            isinstance(part, ast.Call)
            and isinstance(part.func, ast.Attribute)
            and part.func.attr == node.name
            and isinstance(part.func.value, (ast.Name, ast.Attribute))
            and (
                node.name == "__init__"
                or ast.unparse(part.func.value) in parent.bases.replace(" ", "").split(",")
                or first == "cls"  # a class method of the root itself is none of this class
            )
            and ast.unparse(part.func.value) in ROOTS | set(parent.bases.replace(" ", "").split(","))
        ):
            given = part.args[1:] if part.args and ast.unparse(part.args[0]) in ("self", "cls") else part.args
            rest = [ast.unparse(a) for a in given] + [
                f"{k.arg}={ast.unparse(k.value)}" if k.arg else f"**{ast.unparse(k.value)}" for k in part.keywords
            ]
            edits.append((part, f"super().{node.name}({', '.join(rest)})"))
    if not edits:
        return "\n".join(lines[1:]), kept
    return edit(lines, edits).partition("\n")[2], kept


def undecorated(theirs: Member, node: ast.FunctionDef) -> str:
    """The parent's method without the decorators that the method that calls it has as well: each acts once.

    Those that say how a method is bound stay.
    """
    if not isinstance(theirs.node, FUNCTIONS):
        return theirs.text
    tree, lines = function_parts(theirs.text)
    twice = {ast.unparse(d) for d in node.decorator_list} - BINDING
    gone = {
        n for d in tree.decorator_list if ast.unparse(d) in twice for n in range(d.lineno, d.end_lineno + 1)
    }  # fmt: skip
    return "\n".join(line for n, line in enumerate(lines[1:], 2) if n not in gone)


def free_name(attribute: str, parent: Body) -> str:
    """What the parent's own is called in the merged class; a parent that was merged itself may keep its parent's."""
    private, number = f"_inherited_{attribute.strip('_')}", 1
    while parent.find(private):
        number += 1
        private = f"_inherited{number}_{attribute.strip('_')}"
    return private


def edit(lines: list[str], edits: list[tuple[ast.AST, str]]) -> str:
    """Replace the text of nodes, from the last to the first."""
    text, starts = "\n".join(lines), [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()) + 1)
    raw = text.encode()
    for node, new in sorted(edits, key=lambda e: (e[0].lineno, e[0].col_offset), reverse=True):
        a, b = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        raw = raw[:a] + new.encode() + raw[b:]
    return raw.decode()


def check_indent(text: str, where: str) -> None:
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise UserError(f"{where}: the merged class is not Python ({error.msg}); write its methods out") from None
