"""Follow names through a folder's programs, and report what they reach. Nothing is imported or executed.

A small interpreter over syntax trees: each name of each scope has the set of things that it can be, whatever the order
of the statements (a loop or a later call can reverse it). The folder is read again until nothing new is learned.
"""

import ast
import dataclasses
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.calls import call_function, report_overrides
from pinfold.audit.security.computing import any_element, elements_of
from pinfold.audit.security.expressions import Expressions
from pinfold.audit.security.lookups import look_up
from pinfold.audit.security.reached import Reached
from pinfold.audit.security.rules.chosen import report_chosen
from pinfold.audit.security.rules.own_name import binds_own_name
from pinfold.audit.security.rules.process import report_merged
from pinfold.audit.security.state import LONGEST_LINEAGE, STEPS, FunctionNode, Scope, with_place
from pinfold.audit.security.tables.names import WATCHED_MODULES, canonical, judge
from pinfold.audit.security.values import Call, Instance, Own, Ref, Values, imported_paths, printable_excerpt, union
from pinfold.common.trees import below
from pinfold.folder.model_folder import Module

READINGS = 4
HOOKS = frozenset(
    "__reduce__ __reduce_ex__ __setstate__ __init_subclass__ __set_name__ __class_getitem__ __prepare__ "  # noqa: SIM905
    "__getstate__ __getnewargs__ __getnewargs_ex__ __mro_entries__ __instancecheck__ __subclasscheck__ __del__".split()
)
QUIET_HOOKS = frozenset(("__getstate__", "__getnewargs__", "__getnewargs_ex__", "__del__"))  # unless they do something
METACLASS_HOOKS = frozenset(("__new__", "__init__", "__call__"))  # of a class below type
RUNS_WHEN_IMPORTED = frozenset(("antigravity", "this", "idlelib.__main__", "__main__"))
IN_PLACE = (
    ".__dict__",
    "builtins.globals()",
    "os.environ",
    "os.environb",
    "sys.modules",
    "sys.path",
)  # changed by |= and +=
TOO_DEEP = "is nested too deeply to be read; what it does is not known."


class Interpreter(Expressions):
    """One folder while it is read; ``findings()`` is the result."""

    def findings(self, readings: int = READINGS) -> list[Finding]:
        """Everything that was seen, by file and line.

        Args:
            readings: how often the folder is read at most; each one knows what the last has learned.
        """
        for module in self.modules:
            self.scopes[module.tree] = Scope("module", module.tree, module)
        for number in range(readings):
            # what the last reading says counts: an earlier one does not know yet what every name can be
            self.changed = False
            self.first_reading = number == 0
            self._read_all()
            if not self.changed:
                break
        self._report_imports()
        report_chosen(self)
        self._report_consequences()  # last: it needs every fault and every call
        self._lower_main_blocks()
        self._say_from_where()
        order = {module.file: number for number, module in enumerate(self.modules)}
        return sorted(self.reports.values(), key=lambda f: (order.get(f.file, 0), f.line, f.code))

    def _read_all(self) -> None:
        self.steps = STEPS
        for learned in (self.reports, self.faults, self.calls, self.called_at_import, self.hooks, self.main_blocks):
            learned.clear()
        self.imported.clear()
        self.called.clear()
        self.reported_in.clear()
        self.unless_reached.clear()
        self.handed_on.clear()
        for module in self.modules:
            self._read(module.tree, self.scopes[module.tree])
            while self.queue:
                self._read(*self.queue.pop())

    def _read(self, node: ast.Module | FunctionNode, scope: Scope) -> None:
        self.file = scope.module.file
        self.function = None if isinstance(node, ast.Module) else node
        if isinstance(node, ast.Lambda):
            try:
                self.add_returned(node, self.evaluate(node.body, scope, "base"))
            except RecursionError:
                self.report("S15", node, TOO_DEEP)
        else:
            self.read_statements(node.body, scope)
        self.function = None

    def _report_imports(self) -> None:
        """Functions that act and are imported by their name: where the file calls one, that is the act."""
        for file, function, node, path in self.imported:
            private = any(part.startswith("_") for part in path.split("."))
            judgement = judge(path)
            if judgement is None or ((file, path) in self.called and not private):
                continue
            code, severity, words = judgement
            self.file, self.function = file, function
            before = self.reports.get((file, getattr(node, "lineno", 0), code))
            self.report(code, node, f"imports {printable_excerpt(path)}, which {words}.", severity)
            key = (file, getattr(node, "lineno", 0), code)
            if self.reports[key] is not before:
                self.only_imports.add(key)
        self.function = None

    def _lower_main_blocks(self) -> None:
        """No load runs what stands below ``if __name__ == "__main__"``, unless something can make it the program."""
        inside = {
            key for key in self.reports if self.reported_in.get(key) is None and self._is_in_main_block(*key[:2])
        }
        starts = ("S01", "S02", "S04")  # a program, or code by its name, which may be this file as a program
        outside = [finding for key, finding in self.reports.items() if key not in inside]
        if any(finding.severity == ERROR and finding.code in starts for finding in outside):
            return
        if not inside or self.makes_names or any(binds_own_name(module.tree) for module in self.modules):
            return
        for key in inside:
            finding = self.reports.pop(key)
            if finding.severity == ERROR:
                sentence = f"{finding.sentence.removesuffix('.')} (not when the file is imported)."
                self.reports[key] = dataclasses.replace(finding, sentence=sentence, severity=WARNING)

    def _is_in_main_block(self, file: str, line: int) -> bool:
        return any(first <= line <= last for first, last in self.main_blocks.get(file, ()))

    def _say_from_where(self) -> None:
        """Add to each error from where it is reached, and lower what nothing reaches where that matters."""
        if not any(finding.severity == ERROR for finding in self.reports.values()):
            return
        at_import = [function for functions in self.called_at_import.values() for function in functions]
        reached = Reached(self.modules, at_import, self.calls)
        for key, finding in self.reports.items():
            function = self.reported_in.get(key)
            if finding.severity != ERROR or finding.code in ("S12", "S13") or key in self.only_imports:
                continue
            words = reached.words(function)
            lower = key in self.unless_reached and function is not None and function not in reached.origin
            sentence = f"{finding.sentence.removesuffix('.')} ({words})." if words else finding.sentence
            severity = WARNING if lower else ERROR
            self.reports[key] = dataclasses.replace(finding, sentence=sentence, severity=severity)

    def _report_consequences(self) -> None:
        """What runs at import, and hooks, do whatever the functions do that they call."""
        faults = self._faults_of_callers()
        for (file, line), functions in self.called_at_import.items():
            for function in [function for function in functions if function in faults]:
                self.file = file
                self.function = None
                self.report("S12", ast.Pass(lineno=line), f"runs on import what line {faults[function]} does.")
        for hook, module in self.hooks:
            self.file = module.file
            self.function = None
            name = getattr(hook, "name", "__new__")
            if hook in faults:
                self.report("S13", hook, f"{name} runs automatically, and does what line {faults[hook]} does.")
            elif name not in QUIET_HOOKS:
                copies = "state" in name or "reduce" in name
                when = "when objects are unpickled or copied" if copies else "automatically"
                self.report("S13", hook, f"{name} runs {when}, without being called.", WARNING)

    def _faults_of_callers(self) -> dict[ast.AST, int]:
        """Function -> line of an error in it or in what it calls."""
        callers: dict[ast.AST, list[ast.AST]] = {}
        for caller, functions in self.calls.items():
            for function in functions:
                callers.setdefault(function, []).append(caller)
        faults = dict(self.faults)
        queue = list(faults)
        while queue:
            function = queue.pop()
            for caller in callers.get(function, ()):
                if caller not in faults:
                    faults[caller] = faults[function]
                    queue.append(caller)
        return faults

    # Statements: a method do_X for each kind X of them that is more than its parts.

    def read_statements(self, statements: list[ast.stmt], scope: Scope) -> None:
        """Statements one after the other; one that is too deep to be read is a finding, and the rest is read."""
        for statement in statements:
            try:
                handler = getattr(self, f"do_{type(statement).__name__}", self.read_parts)
                handler(statement, scope)
            except RecursionError:
                self.report("S15", statement, TOO_DEEP)

    def read_parts(self, node: ast.AST, scope: Scope) -> None:
        """Every expression and statement in a statement."""
        for child in below(node):
            if isinstance(child, ast.expr):
                self.evaluate(child, scope)
            elif isinstance(child, ast.stmt):
                self.read_statements([child], scope)
            else:
                if isinstance(child, ast.ExceptHandler) and child.name:
                    self.bind_name(child.name, (), scope)
                self.read_parts(child, scope)

    def do_Expr(self, node: ast.Expr, scope: Scope) -> None:
        if not isinstance(node.value, ast.Constant):  # a docstring is not a program
            self.evaluate(node.value, scope, "base")

    def do_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        self.define(node, scope)
        self.bind_name(node.name, self._decorated(node, scope), scope)
        if self._is_hook(node, scope) and (node, scope.module) not in self.hooks:
            self.hooks.append((node, scope.module))

    do_AsyncFunctionDef = do_FunctionDef

    def _decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, scope: Scope) -> Values:
        """A function or class, and what its decorators make of it: the lowest is called first."""
        values: Values = (Own(node),)
        for decorator in reversed(node.decorator_list):
            functions = self.evaluate(decorator, scope, "call")
            call = Call(decorator, [(Own(node),)])
            values = union(values, *(call_function(self, function, call, scope) for function in functions))
        return values

    def _is_hook(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> bool:
        """Whether Python calls a function by itself, and it does more than the base class's."""
        if scope.kind == "module":
            return node.name == "__getattr__"
        if scope.kind != "class" or all(map(_is_quiet, node.body)):
            return False
        bases = imported_paths(self.bases.get(scope.node, ()))
        return node.name in HOOKS or (node.name in METACLASS_HOOKS and "builtins.type" in bases)

    def do_ClassDef(self, node: ast.ClassDef, scope: Scope) -> None:
        inner = self.scopes.setdefault(node, Scope("class", node, scope.module, scope))
        self.bases[node] = union(*(self.evaluate(base, scope, "base") for base in node.bases))
        if len(self.lineage(node)) > LONGEST_LINEAGE:
            words = (
                f"derives from more than {LONGEST_LINEAGE} classes of this folder; what it has from them is not known."
            )
            self.report("S15", node, words)
        for keyword in node.keywords:
            values = self.evaluate(keyword.value, scope, "base")
            if keyword.arg != "metaclass":  # a base's __init_subclass__ gets it
                self.report_handed_on(values, node)
            else:
                for metaclass in values:
                    call_function(self, metaclass, Call(node), scope)
        for base in self.bases[node]:  # a base's __init_subclass__ runs now
            if isinstance(base, Own) and isinstance(base.node, ast.ClassDef):
                for hook in self.class_member(base.node, "__init_subclass__"):
                    call_function(self, hook, Call(node, [(Own(node),)]), scope)
        self.read_statements(node.body, inner)
        for path in imported_paths(self.foreign_bases(node)):
            report_overrides(self, node, path, node)
        self.bind_name(node.name, self._decorated(node, scope), scope)

    def do_Return(self, node: ast.Return, scope: Scope) -> None:
        if node.value is not None and self.function is not None:
            self.add_returned(self.function, self.evaluate(node.value, scope, "base"))

    def do_Assign(self, node: ast.Assign, scope: Scope) -> None:
        values = self.evaluate(node.value, scope, "base")
        for target in node.targets:
            if not isinstance(target, ast.Name) or (scope.kind == "class" and target.id.startswith("__")):
                self.report_handed_on(values, node)  # Python itself calls what a class has under such a name
            self.bind(target, values, scope)

    def do_AnnAssign(self, node: ast.AnnAssign, scope: Scope) -> None:
        self.annotation(node.annotation, scope)
        if node.value is not None:
            self.bind(node.target, self.evaluate(node.value, scope, "base"), scope)

    def do_AugAssign(self, node: ast.AugAssign, scope: Scope) -> None:
        tables = self.evaluate(node.target, scope, "base") if isinstance(node.target, ast.Name) else ()
        if isinstance(node.target, ast.Attribute) and node.target.attr == "__dict__":
            # it is changed first, and then cannot be stored
            tables = self.attribute(self.evaluate(node.target.value, scope, "base"), "__dict__", node.target)
        if any(path.endswith(IN_PLACE) for path in imported_paths(tables)):
            self.store_item(tables, (), node)
        elif isinstance(node.op, ast.BitOr) and imported_paths(tables):
            report_merged(self, tables, self.evaluate(node.value, scope, "base"), node)
        result = ast.copy_location(ast.BinOp(node.target, node.op, node.value), node)
        self.bind(node.target, self.evaluate(result, scope), scope)

    def do_Delete(self, node: ast.Delete, scope: Scope) -> None:
        for target in node.targets:
            if not isinstance(target, ast.Name) or target.id not in scope.names:
                self.bind(target, (), scope)

    def do_For(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        values = self.evaluate(node.iter, scope)
        self.bind(node.target, any_element(values), scope)
        self.read_statements(node.body, scope)
        self.read_statements(node.orelse, scope)

    do_AsyncFor = do_For

    def do_While(self, node: ast.While, scope: Scope) -> None:
        if self.importing():
            self.report("S12", node, "a while loop runs when the file is imported.", WARNING)
        self.evaluate(node.test, scope, "base")
        self.read_statements(node.body, scope)
        self.read_statements(node.orelse, scope)

    def do_If(self, node: ast.If, scope: Scope) -> None:
        for branch in _branches(node):
            self.evaluate(branch.test, scope, "base")
            outer = self.in_main_block
            if _is_main(branch.test) and _is_direct(node, scope):
                self.in_main_block = True
                last = branch.body[-1]
                self.main_blocks.setdefault(self.file, []).append((branch.body[0].lineno, last.end_lineno or 0))
            self.read_statements(branch.body, scope)
            self.in_main_block = outer
        self.read_statements(branch.orelse, scope)

    def do_With(self, node: ast.With | ast.AsyncWith, scope: Scope) -> None:
        for item in node.items:
            managers = self.evaluate(item.context_expr, scope, "base")
            if item.optional_vars is not None:
                entering = [self.class_member(v.node, "__enter__") for v in managers if isinstance(v, Instance)]
                methods = [method.node for group in entering for method in group if isinstance(method, Own)]
                entered = [self.returns.get(method, ()) for method in methods]
                self.bind(item.optional_vars, union(managers, *entered), scope)
        self.read_statements(node.body, scope)

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
            if alias.name in RUNS_WHEN_IMPORTED:
                self.report("S12", node, f"import {alias.name} runs that module.", WARNING)
            path = alias.name if alias.asname else alias.name.split(".")[0]
            self.bind_name(alias.asname or path, (Ref(canonical(path)),), scope)

    def do_ImportFrom(self, node: ast.ImportFrom, scope: Scope) -> None:
        place = self._place(node, scope)
        sibling = self._own_module(place) if place is not None and node.module else None
        names = self.scopes[sibling.tree].names if sibling else None
        for alias in node.names:
            if alias.name == "*":
                self._import_everything(node, names, scope)
                continue
            own = self._own_module(f"{place}.{alias.name}".lstrip(".")) if place is not None else None
            if names is not None and (alias.name in names or own is None):
                self.bind_name(alias.asname or alias.name, names.get(alias.name, ()), scope)
            elif own is not None:
                self.bind_name(alias.asname or alias.name, (Own(own.tree),), scope)
            else:
                self.bind_name(alias.asname or alias.name, self._imported(node, alias.name), scope)

    @staticmethod
    def _place(node: ast.ImportFrom, scope: Scope) -> str | None:
        """What a relative import names, from the top of the repository on; None for any other import."""
        if not node.level:
            return None
        above = scope.module.name.split(".")[: -node.level]
        return ".".join([*above, *([node.module] if node.module else [])])

    def _own_module(self, name: str) -> Module | None:
        return self.by_name.get(name) or self.by_name.get(f"{name}.__init__")

    def _import_everything(self, node: ast.ImportFrom, names: dict[str, Values] | None, scope: Scope) -> None:
        stars = scope.top().stars
        if names is not None:
            for name, values in list(names.items()):
                self.bind_name(name, values, scope)
        elif not node.level and node.module and node.module not in stars:
            stars.append(node.module)
        if canonical(node.module or "") in WATCHED_MODULES:
            words = "import * takes every name of that module"
            self.report("S15", node, f"from {printable_excerpt(node.module)} {words}.")

    def _imported(self, node: ast.ImportFrom, name: str) -> Values:
        """``from package import name``, or ``from . import name``."""
        path = canonical("." * bool(node.level) + ".".join(part for part in (node.module, name) if part))
        if not node.level:
            self.imported.append((self.file, self.function, node, path))
        return with_place(path)

    def do_Match(self, node: ast.Match, scope: Scope) -> None:
        subject = self.evaluate(node.subject, scope, "base")
        for case in node.cases:
            self._pattern(case.pattern, subject, scope)
            if case.guard is not None:
                self.evaluate(case.guard, scope, "base")
            self.read_statements(case.body, scope)

    def _pattern(self, node: ast.pattern, subject: Values, scope: Scope) -> None:
        """Bind the names of a pattern to what they can be."""
        if isinstance(node, (ast.MatchAs, ast.MatchStar)):
            if node.name:
                self.bind_name(node.name, subject, scope)
            if isinstance(node, ast.MatchAs) and node.pattern is not None:
                self._pattern(node.pattern, subject, scope)
        elif isinstance(node, ast.MatchClass):
            self.evaluate(node.cls, scope, "base")
            for name, inner in zip(node.kwd_attrs, node.kwd_patterns, strict=True):
                self._pattern(inner, self.attribute(subject, name, node), scope)
            for inner in node.patterns:
                self._pattern(inner, subject, scope)
        elif isinstance(node, ast.MatchMapping):
            self.report_handed_on(subject, node)
            for key, inner in zip(node.keys, node.patterns, strict=True):
                values = look_up(self, subject, self.evaluate(key, scope), node, scope)
                self._pattern(inner, values, scope)
            if node.rest:
                self.bind_name(node.rest, (), scope)
        elif isinstance(node, ast.MatchValue):
            self.evaluate(node.value, scope, "base")
        else:
            for inner in getattr(node, "patterns", ()):
                self._pattern(inner, union(subject, *elements_of(subject)), scope)


def _branches(node: ast.If) -> Iterator[ast.If]:
    """An if with its elifs: a long chain of them is not deep."""
    yield node
    while len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If):
        node = node.orelse[0]
        yield node


def _is_direct(node: ast.If, scope: Scope) -> bool:
    """Whether a statement is one of the module itself: a class and a function can have a ``__name__`` of their own."""
    return scope.kind == "module" and any(node is each for each in scope.module.tree.body)


def _is_main(test: ast.expr) -> bool:
    """``__name__ == "__main__"``."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1 or not isinstance(test.ops[0], ast.Eq):
        return False
    sides = (test.left, test.comparators[0])
    name = any(isinstance(side, ast.Name) and side.id == "__name__" for side in sides)
    return name and any(isinstance(side, ast.Constant) and side.value == "__main__" for side in sides)


def _is_quiet(node: ast.stmt) -> bool:
    """A docstring, pass, or the call of the base class's method."""
    if isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
        return True
    value = node.value if isinstance(node, (ast.Expr, ast.Return)) else None
    function = value.func if isinstance(value, ast.Call) else None
    owner = function.value if isinstance(function, ast.Attribute) else None
    return isinstance(owner, ast.Call) and isinstance(owner.func, ast.Name) and owner.func.id == "super"
