"""Follow names through a folder's programs, and report what they reach. Nothing is imported or executed.

A small interpreter over syntax trees: each name of each scope has the set of things that it can be, whatever the order
of the statements (a loop or a later call can turn it round). The folder is read again until nothing is learned.
"""

import ast
import builtins
from collections.abc import Iterable

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security import values
from pinfold.audit.security.calls import Call, apply, look_up
from pinfold.audit.security.expressions import Expressions, Scope
from pinfold.audit.security.names import DELETES, INTROSPECTION, KEPT, SENSITIVE, canonical, judge
from pinfold.audit.security.values import Decoded, Given, Instance, Many, Own, Ref, shown, union
from pinfold.folder.model_folder import Module

PASSES = 4
STEPS = 15_000  # elements that comprehensions and the like may compute in one folder
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
HOOKS = frozenset(
    "__reduce__ __reduce_ex__ __setstate__ __init_subclass__ __set_name__ __class_getitem__ __prepare__ "  # noqa: SIM905
    "__getstate__ __getnewargs__ __getnewargs_ex__ __mro_entries__ __instancecheck__ __subclasscheck__ __del__".split()
)
QUIET_HOOKS = frozenset(("__getstate__", "__getnewargs__", "__getnewargs_ex__", "__del__"))  # unless they do something


class Reading(Expressions):
    """One folder while it is read; ``findings()`` is the result."""

    def __init__(self, modules: Iterable[Module]):
        self.modules = list(modules)
        self.reports: dict[tuple[str, int, str], Finding] = {}
        self.faults: dict[ast.AST, int] = {}  # function -> line of an error in it
        self.calls: dict[ast.AST, set[ast.AST]] = {}  # function -> the folder's functions that it calls
        self.at_import: dict[tuple[str, int], set[ast.AST]] = {}
        self.hooks: list[tuple[ast.AST, Module]] = []
        self.scopes: dict[ast.AST, Scope] = {}
        self.returns: dict[ast.AST, tuple] = {}
        self.bases: dict[ast.ClassDef, tuple] = {}
        self.queue: list[tuple[ast.AST, Scope]] = []
        self.function: ast.AST | None = None
        self.changed, self.first, self.steps, self.main, self.file = True, True, STEPS, False, ""

    # What is reported.

    def report(self, code: str, node: ast.AST, what: str, severity: str = ERROR) -> None:
        line = getattr(node, "lineno", 0)
        what = what.removeprefix("builtins.")  # where everybody writes eval(...)
        key = (self.file, line, code)
        old = self.reports.get(key)
        if severity == ERROR and self.function is not None:
            self.faults.setdefault(self.function, line)
        if old is None or (old.severity == WARNING and severity == ERROR):
            self.reports[key] = Finding(code, f"{self.file}:{line}: {what}", self.file, line, severity=severity)

    def mention(self, path: str, node: ast.AST, called: bool = False) -> None:
        if found := judge(path):
            code, severity, words = found
            self.report(code, node, f"{shown(path)}{'(...)' * called} {words}.", severity)

    def hand_on(self, found: tuple, node: ast.AST) -> None:
        """Report a module or a function whose arguments matter where it leaves what can be followed."""
        for value in found:
            if isinstance(value, Ref) and value.path in KEPT:
                words = "is handed on as a value; what is done with it cannot be followed"
                self.report("S15", node, f"the module {value.path} {words}.")
            elif isinstance(value, Ref) and value.path in SENSITIVE:
                code, words = SENSITIVE[value.path]
                severity = WARNING if value.path in ("builtins.open", "io.open", "os.getenv") else ERROR
                self.report(code, node, f"{value.path} is handed on as a value: it {words}.", severity)
            elif isinstance(value, Ref) and value.path in DELETES:
                self.report("S07", node, f"{value.path} is handed on as a value: it deletes or moves files.")

    def findings(self) -> list[Finding]:
        """Everything that was seen, by file and line."""
        for module in self.modules:
            self.scopes[module.tree] = Scope("module", module.tree, module)
        for number in range(PASSES):
            # what the last reading says counts: an earlier one does not know yet what every name can be
            self.changed, self.steps, self.first = False, STEPS, number == 0
            for seen in (self.reports, self.faults, self.calls, self.at_import, self.hooks):
                seen.clear()
            for module in self.modules:
                self.run(module.tree, self.scopes[module.tree])
                while self.queue:
                    self.run(*self.queue.pop())
            if not self.changed:
                break
        self.consequences()
        order = {module.file: number for number, module in enumerate(self.modules)}
        return sorted(self.reports.values(), key=lambda f: (order.get(f.file, 0), f.line, f.code))

    def consequences(self) -> None:
        """What runs at import, and hooks, do whatever the functions do that they call."""
        reach: dict[ast.AST, set] = {}
        for node, called in self.calls.items():
            for other in called:
                reach.setdefault(other, set()).add(node)
        bad, queue = dict(self.faults), list(self.faults)
        while queue:
            node = queue.pop()
            for caller in reach.get(node, ()):
                if caller not in bad:
                    bad[caller] = bad[node]
                    queue.append(caller)
        for (file, line), nodes in self.at_import.items():
            for node in nodes & bad.keys():
                self.file, self.function = file, None
                self.report("S12", ast.Pass(lineno=line), f"runs on import what line {bad[node]} does.")
        for node, module in self.hooks:
            self.file, self.function = module.file, None
            name = getattr(node, "name", "__new__")
            if node in bad:
                self.report("S13", node, f"{name} runs by itself, and does what line {bad[node]} does.")
            elif name not in QUIET_HOOKS:
                when = "when objects are unpickled or copied" if "state" in name or "reduce" in name else "by itself"
                self.report("S13", node, f"{name} runs {when}, without being called.", WARNING)

    def afford(self, count: int, node: ast.AST) -> bool:
        """Whether so many more elements may be computed; where not, what they would be is unknown."""
        if 0 <= self.steps < count:
            self.report("S15", node, "computes more than can be followed here.", WARNING)
            self.steps = -1
        self.steps -= count
        return self.steps >= 0

    # Statements.

    def run(self, node: ast.AST, scope: Scope) -> None:
        self.file = scope.module.file
        self.function = None if isinstance(node, ast.Module) else node
        if isinstance(node, ast.Lambda):
            self.guarded(lambda: self.returned(node, self.evaluate(node.body, scope, "base")), node)
        else:
            self.body(node.body, scope)
        self.function = None

    def guarded(self, action, node: ast.AST) -> None:
        try:
            action()
        except RecursionError:
            self.report("S15", node, "is nested too deeply to be read; nobody can vouch for what it does.")

    def body(self, statements: list[ast.stmt], scope: Scope) -> None:
        for statement in statements:
            try:
                handler = getattr(self, f"do_{type(statement).__name__}", None)
                handler(statement, scope) if handler else self.children(statement, scope)
            except RecursionError:
                self.report("S15", statement, "is nested too deeply to be read; nobody can vouch for what it does.")

    def children(self, node: ast.AST, scope: Scope) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.evaluate(child, scope)
            elif isinstance(child, ast.stmt):
                self.body([child], scope)
            elif not isinstance(child, (ast.expr_context, ast.operator)):
                self.children(child, scope)

    def do_Expr(self, node: ast.Expr, scope: Scope) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring is no program
            self.evaluate(node.value, scope, "base")

    def do_FunctionDef(self, node: ast.FunctionDef, scope: Scope) -> None:
        self.define(node, scope)
        found = (Own(node),)
        for decorator in reversed(node.decorator_list):
            given = self.evaluate(decorator, scope, "call")
            found = union(found, *(apply(self, v, Call(decorator, [(Own(node),)], {}), scope) for v in given))
        self.bind_name(node.name, found, scope)
        if scope.kind == "class":
            metaclass = node.name in ("__new__", "__init__", "__call__") and any(
                isinstance(v, Ref) and v.path == "builtins.type" for v in self.bases.get(scope.node, ())
            )
            plain = all(_is_quiet(statement) for statement in node.body)
            if (node.name in HOOKS or metaclass) and not plain and (node, scope.module) not in self.hooks:
                self.hooks.append((node, scope.module))
        elif scope.kind == "module" and node.name == "__getattr__" and (node, scope.module) not in self.hooks:
            self.hooks.append((node, scope.module))

    do_AsyncFunctionDef = do_FunctionDef

    def define(self, node: ast.FunctionDef | ast.Lambda, scope: Scope) -> None:
        """Parameters with their defaults; the body is read later, when every name of the module is known."""
        inner = self.scopes.get(node)
        if inner is None:
            inner = self.scopes[node] = Scope("function", node, scope.module, scope)
        arguments = node.args
        ordered = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(ordered) - len(arguments.defaults)) + list(arguments.defaults)
        pairs = [*zip(ordered, defaults, strict=True), *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
        for argument, default in pairs:
            self.annotation(argument.annotation, scope)
            given = self.evaluate(default, scope, "base") if default is not None else ()
            self.bind_name(argument.arg, given, inner)
        for argument in (arguments.vararg, arguments.kwarg):
            if argument:
                self.annotation(argument.annotation, scope)
                self.bind_name(argument.arg, (), inner)
        self.annotation(getattr(node, "returns", None), scope)
        name = getattr(node, "name", "")
        if scope.kind == "class" and ordered:
            texts = {d.id for d in node.decorator_list if isinstance(d, ast.Name)} if name else set()
            if "staticmethod" not in texts:
                whole = "classmethod" in texts or name in ("__new__", "__init_subclass__", "__class_getitem__")
                self.bind_name(ordered[0].arg, (Own(scope.node) if whole else Instance(scope.node),), inner)
        if name.lstrip("_").startswith("save"):
            first = ordered[1:2] if scope.kind == "class" else []
            for argument in (*first, *(a for a in ordered if a.arg == "save_directory")):
                self.bind_name(argument.arg, (Given(),), inner)
        self.queue.append((node, inner))

    def annotation(self, node: ast.expr | None, scope: Scope) -> None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 1000:
            try:
                tree = ast.parse(node.value.strip(), mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return
            for inner in ast.walk(tree):
                if isinstance(inner, ast.Call):  # typing.get_type_hints evaluates it
                    for part in ast.walk(inner):
                        if isinstance(part, ast.expr):  # contexts are shared between all trees
                            part.lineno = node.lineno
                    self.evaluate(inner, scope)
        elif node is not None:
            self.evaluate(node, scope, "base")

    def do_ClassDef(self, node: ast.ClassDef, scope: Scope) -> None:
        inner = self.scopes.get(node)
        if inner is None:
            inner = self.scopes[node] = Scope("class", node, scope.module, scope)
        self.bases[node] = union(*(self.evaluate(base, scope, "base") for base in node.bases))
        for keyword in node.keywords:
            found = self.evaluate(keyword.value, scope, "base")
            if keyword.arg == "metaclass":
                for value in found:
                    apply(self, value, Call(node, [], {}), scope)
        for value in self.bases[node]:  # a base's __init_subclass__ runs now
            if isinstance(value, Own) and isinstance(value.node, ast.ClassDef):
                for hook in self.member(value.node, "__init_subclass__"):
                    apply(self, hook, Call(node, [(Own(node),)], {}), scope)
        self.body(node.body, inner)
        found = (Own(node),)
        for decorator in reversed(node.decorator_list):
            given = self.evaluate(decorator, scope, "call")
            found = union(found, *(apply(self, v, Call(decorator, [(Own(node),)], {}), scope) for v in given))
        self.bind_name(node.name, found, scope)

    def do_Return(self, node: ast.Return, scope: Scope) -> None:
        if node.value is not None and self.function is not None:
            self.returned(self.function, self.evaluate(node.value, scope, "base"))

    def returned(self, function: ast.AST, found: tuple) -> None:
        before = self.returns.get(function, ())
        after = self.returns[function] = union(before, found)
        self.changed |= len(after) != len(before)

    def do_Assign(self, node: ast.Assign, scope: Scope) -> None:
        found = self.evaluate(node.value, scope, "base")
        for target in node.targets:
            if not isinstance(target, ast.Name):
                self.hand_on(found, node)
            self.bind(target, found, scope)

    def do_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        self.annotation(node.annotation, scope)
        if node.value is not None:
            self.bind(node.target, self.evaluate(node.value, scope, "base"), scope)

    def do_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        load = ast.copy_location(ast.BinOp(node.target, node.op, node.value), node)
        self.bind(node.target, self.evaluate(load, scope), scope)

    def do_Delete(self, node: ast.Delete, scope: Scope) -> None:
        for target in node.targets:
            self.bind(target, (), scope)

    def do_For(self, node: ast.For, scope: Scope) -> None:
        found = self.evaluate(node.iter, scope)
        self.bind(node.target, union(*values.elements(found)), scope)
        self.body(node.body, scope)
        self.body(node.orelse, scope)

    do_AsyncFor = do_For

    def do_While(self, node: ast.While, scope: Scope) -> None:
        if self.importing():
            self.report("S12", node, "a while loop runs when the file is imported.", WARNING)
        self.evaluate(node.test, scope, "base")
        self.body(node.body, scope)
        self.body(node.orelse, scope)

    def do_If(self, node: ast.If, scope: Scope) -> None:
        while True:  # a long chain of elif is no nesting
            self.evaluate(node.test, scope, "base")
            main, self.main = self.main, self.main or _is_main(node.test)
            self.body(node.body, scope)
            self.main = main
            if len(node.orelse) != 1 or not isinstance(node.orelse[0], ast.If):
                break
            node = node.orelse[0]
        self.body(node.orelse, scope)

    def do_With(self, node: ast.With, scope: Scope) -> None:
        for item in node.items:
            found = self.evaluate(item.context_expr, scope, "base")
            if item.optional_vars is not None:
                entered = [self.member(v.node, "__enter__") for v in found if isinstance(v, Instance)]
                given = [self.returns.get(m.node, ()) for group in entered for m in group if isinstance(m, Own)]
                self.bind(item.optional_vars, union(found, *given), scope)
        self.body(node.body, scope)

    do_AsyncWith = do_With

    def do_Global(self, node: ast.Global, scope: Scope) -> None:
        for name in node.names:
            scope.elsewhere[name] = scope.top()

    def do_Nonlocal(self, node: ast.Nonlocal, scope: Scope) -> None:
        for name in node.names:
            outer = scope.parent
            while outer and outer.parent and (outer.kind != "function" or name not in outer.names):
                outer = outer.parent
            if outer:
                scope.elsewhere[name] = outer

    def do_Import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            if alias.name in ("antigravity", "this", "idlelib.__main__", "__main__"):
                self.report("S12", node, f"import {alias.name} runs that module.", WARNING)
            path = alias.name if alias.asname else alias.name.split(".")[0]
            self.bind_name(alias.asname or path, (Ref(canonical(path)),), scope)

    def do_ImportFrom(self, node: ast.ImportFrom, scope: Scope) -> None:
        sibling = None
        if node.level == 1 and node.module:
            sibling = next((self.scopes[m.tree] for m in self.modules if m.name == node.module), None)
        for alias in node.names:
            name = alias.asname or alias.name
            path = canonical("." * bool(node.level) + ".".join(p for p in (node.module, alias.name) if p))
            if alias.name == "*":
                if sibling:
                    for other, found in list(sibling.names.items()):
                        self.bind_name(other, found, scope)
                elif not node.level and node.module and node.module not in scope.top().stars:
                    scope.top().stars.append(node.module)
                if canonical(node.module or "") in KEPT:
                    self.report("S15", node, f"from {shown(node.module)} import * takes every name of that module.")
                continue
            if sibling:
                self.bind_name(name, sibling.names.get(alias.name, ()), scope)
                continue
            if node.level == 1 and not node.module:
                own = next((m for m in self.modules if m.name == alias.name), None)
                self.bind_name(name, (Own(own.tree),) if own else (Ref(path),), scope)
                continue
            self.mention(path, node)
            self.bind_name(name, (Ref(path),), scope)

    def do_Match(self, node: ast.Match, scope: Scope) -> None:
        subject = self.evaluate(node.subject, scope, "base")
        for case in node.cases:
            self.pattern(case.pattern, subject, scope)
            if case.guard is not None:
                self.evaluate(case.guard, scope, "base")
            self.body(case.body, scope)

    def pattern(self, node: ast.pattern, subject: tuple, scope: Scope) -> None:
        if isinstance(node, (ast.MatchAs, ast.MatchStar)):
            if node.name:
                self.bind_name(node.name, subject, scope)
            if getattr(node, "pattern", None) is not None:
                self.pattern(node.pattern, subject, scope)
        elif isinstance(node, ast.MatchClass):
            self.evaluate(node.cls, scope, "base")
            for name, inner in zip(node.kwd_attrs, node.kwd_patterns, strict=True):
                self.pattern(inner, self.attribute(subject, name, node), scope)
            for inner in node.patterns:
                self.pattern(inner, subject, scope)
        elif isinstance(node, ast.MatchMapping):
            self.hand_on(subject, node)
            for key, inner in zip(node.keys, node.patterns, strict=True):
                found = look_up(self, subject, self.evaluate(key, scope), node, scope)
                self.pattern(inner, found, scope)
        elif isinstance(node, ast.MatchValue):
            self.evaluate(node.value, scope, "base")
        else:
            for inner in getattr(node, "patterns", ()):
                self.pattern(inner, union(subject, *values.elements(subject)), scope)

    # Names.

    def importing(self) -> bool:
        return self.function is None and not self.main

    def bind_name(self, name: str, found: tuple, scope: Scope) -> None:
        scope = scope.elsewhere.get(name, scope)
        before = scope.names.get(name)
        after = union(before or (), found)
        if before is None or len(after) != len(before):
            scope.names[name] = after
            self.changed = True

    def bind(self, target: ast.expr, found: tuple, scope: Scope) -> None:
        if isinstance(target, ast.Name):
            self.bind_name(target.id, found, scope)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, found, scope)
        elif isinstance(target, (ast.Tuple, ast.List)):
            whole = [v for v in found if isinstance(v, Many) and len(v.items) == len(target.elts)]
            rest = union(*values.elements(tuple(v for v in found if v not in whole)))
            for position, inner in enumerate(target.elts):
                self.bind(inner, union(rest, *(v.items[position] for v in whole)), scope)
        elif isinstance(target, ast.Attribute):
            owners = self.evaluate(target.value, scope, "base")
            self.store(owners, target.attr, found, target, scope)
        elif isinstance(target, ast.Subscript):
            owners = self.evaluate(target.value, scope, "base")
            index = self.evaluate(target.slice, scope)
            self.store_item(owners, index, found, target)

    def store(self, owners: tuple, name: str | None, found: tuple, node: ast.AST, scope: Scope | None = None) -> None:
        """``owner.name = found``, also by setattr (where the name can be unknown) and del."""
        if name in INTROSPECTION - {"__spec__", "__loader__"}:
            self.report("S11", node, f"replaces {name}, and so what a function does.")
        for owner in owners:
            if isinstance(owner, (Instance, Own)) and name and (inner := self.scopes.get(owner.node)):
                self.bind_name(name, found, inner)
            elif isinstance(owner, Ref) and not owner.path.startswith("."):
                if "()" in owner.path and owner.path != "builtins.type()":
                    continue
                if owner.path in ("os.environ", "os.environb") or (owner.path, name) == ("os", "environ"):
                    self.report("S09", node, "changes the environment of this process and its children.")
                    continue
                switch = owner.path.startswith(("torch.backends.", "torch._dynamo.config", "torch._inductor.config"))
                what = f"changes {shown(owner.path)}.{name or '...'} for everything else in the process."
                self.report("S11", node, what, WARNING if switch else ERROR)

    def store_item(self, owners: tuple, index: tuple, found: tuple, node: ast.AST) -> None:
        """``owner[index] = found`` and del."""
        for owner in owners:
            if isinstance(owner, Ref) and not owner.path.startswith("."):
                path = owner.path
                if path in ("os.environ", "os.environb"):
                    name = shown(", ".join(values.strings(index)) or "...", 40)
                    self.report("S09", node, f"changes the environment variable {name} of this process.")
                elif path == "builtins.globals()":
                    self.report("S15", node, "makes names of this file while it runs.", WARNING)
                elif "()" not in path and len(owners) == 1:
                    severe = ERROR if path.startswith(("sys.", "builtins")) or path.endswith("__dict__") else WARNING
                    self.report("S11", node, f"puts something into {shown(path)}, which others use.", severe)

    def look_for(self, name: str, scope: Scope) -> tuple:
        """What a name can be. A builtin stays possible where the module's own binding may come later."""
        first, found = scope, ()
        while scope is not None:
            where = scope.elsewhere.get(name, scope) if scope is first else scope
            if name in where.names and (scope.kind != "class" or scope is first):
                found = union(found, where.names[name])
                if scope.kind == "function" and where is scope:
                    return found
                if scope.kind == "module":
                    break
            scope = scope.parent
        bound = scope is not None or found
        outside = Ref(f"builtins.{name}") if hasattr(builtins, name) else None
        if outside and (not bound or judge(outside.path) or outside.path in SENSITIVE):
            found = union(found, (outside,))
        elif not bound:
            stars = first.top().stars
            found = tuple(Ref(canonical(f"{star}.{name}")) for star in stars)
        return found

    def member(self, node: ast.ClassDef, name: str) -> tuple:
        """An attribute of a class of the folder, or of its bases; each class is looked at once."""
        found: list[tuple] = []
        queue, seen = [node], {node}
        while queue:
            scope = self.scopes.get(node := queue.pop(0))
            if scope is not None and name in scope.names:
                found.append(scope.names[name])
            elif scope is not None:
                bases = [base.node for base in self.bases.get(node, ()) if isinstance(base, Own)]
                queue += [base for base in bases if isinstance(base, ast.ClassDef) and base not in seen]
                seen |= set(bases)
        return union(*found)

    def attribute(self, owners: tuple, name: str, node: ast.AST, called: bool = False) -> tuple:
        """``owner.name`` for everything that the owner can be."""
        if name in INTROSPECTION:
            severity = WARNING if name == "__code__" else ERROR
            self.report("S15", node, f".{name} reaches into Python, where any name can be found.", severity)
        found: list[tuple] = []
        for owner in owners:
            if isinstance(owner, Ref):
                if name == "__call__" or (name in ("__wrapped__", "__func__", "func") and "()" not in owner.path):
                    found.append((owner,))
                elif name == "__self__" and owner.path.startswith("builtins."):
                    self.report("S15", node, ".__self__ of a builtin is the module of all builtins.")
                    found.append((Ref("builtins"),))
                elif len(owner.path) < 200:
                    path = canonical(f"{owner.path}.{name}")
                    self.mention(path, node, called)
                    found.append((Ref(path),))
            elif isinstance(owner, Own) and isinstance(owner.node, ast.Module):
                named = self.scopes[owner.node].names.get(name, ())
                for value in named:
                    if isinstance(value, Ref):
                        self.mention(value.path, node, called)
                found.append(named)
            elif isinstance(owner, Own) and isinstance(owner.node, FUNCTIONS):
                found.append((owner,) if name in ("__call__", "__wrapped__", "__func__") else ())
            elif isinstance(owner, (Own, Instance)):
                if name == "__class__":
                    found.append((Own(owner.node),))
                for member in self.member(owner.node, name):
                    found.append((member,))
                    if isinstance(member, Instance):  # a descriptor gives what its __get__ gives
                        given = [v for v in self.member(member.node, "__get__") if isinstance(v, Own)]
                        found += [self.returns.get(v.node, ()) for v in given]
                    if isinstance(member, Own) and _is_property(member.node):
                        self.calls.setdefault(self.function, set()).add(member.node)
                        found.append(self.returns.get(member.node, ()))
            elif (isinstance(owner, Given) and name not in ("parent", "parents")) or isinstance(owner, Decoded):
                found.append((owner,))
        return union(*found)


def _is_main(test: ast.expr) -> bool:
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    right = test.comparators[0]
    name = isinstance(test.left, ast.Name) and test.left.id == "__name__"
    return name and isinstance(right, ast.Constant) and right.value == "__main__"


def _is_property(node: ast.AST) -> bool:
    names = {ast.unparse(d).split(".")[-1] for d in getattr(node, "decorator_list", ()) if not isinstance(d, ast.Call)}
    return bool(names & {"property", "cached_property"})


def _is_quiet(node: ast.stmt) -> bool:
    """A docstring, pass, or the call of the base class's method."""
    if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return True
    value = node.value if isinstance(node, (ast.Expr, ast.Return)) else None
    function = value.func if isinstance(value, ast.Call) else None
    owner = function.value if isinstance(function, ast.Attribute) else None
    return isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"
