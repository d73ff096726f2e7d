"""What each kind of expression can be: the layer of the interpreter that evaluates."""

import ast
import re

from pinfold.audit.finding import ERROR, WARNING
from pinfold.audit.security import configured
from pinfold.audit.security.calls import call_argument, call_function, call_started
from pinfold.audit.security.computing import (
    any_element,
    elements_of,
    function_result,
    method_result,
    operator_result,
    slice_index,
    subscript_result,
)
from pinfold.audit.security.lookups import class_hierarchy, look_up
from pinfold.audit.security.rules import paths
from pinfold.audit.security.rules.chosen import note_chosen
from pinfold.audit.security.rules.functions import decorators, defined_above, is_method
from pinfold.audit.security.rules.keeps import report_kernels
from pinfold.audit.security.rules.looks import use_of_arguments
from pinfold.audit.security.rules.methods import call_unknown_method, is_blob, report_format, walks_attributes
from pinfold.audit.security.rules.process import REGISTRIES, computes_only, report_code, report_registered
from pinfold.audit.security.state import LONGEST_ANNOTATION, FunctionNode, Scope, State
from pinfold.audit.security.tables.functions import COMMON_WORDS, PATH_METHODS
from pinfold.audit.security.tables.names import SENSITIVE, judge
from pinfold.audit.security.values import (
    COMPUTED_PLACE,
    MOST_CHARACTERS,
    Call,
    Const,
    Decoded,
    Given,
    Instance,
    Many,
    Own,
    Picked,
    Ref,
    Settings,
    Table,
    Unknown,
    Value,
    Values,
    all_given,
    can_be_other,
    count_values,
    dict_of,
    either,
    imported_paths,
    known_strings,
    sequence_of,
    union,
    with_unknown,
)
from pinfold.common.trees import below, walk

PLACE = re.compile(r"path|dir|folder|file|out|save|root|dest|place")  # of parameters that are places
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)
# Methods of a model, a tokenizer or a processor that others call, and with more than the user chooses.
FROM_OUTSIDE = frozenset(
    ("__init__", "__call__", "forward", "generate", "from_pretrained", "from_dict", "from_config")
)
ADDERS = frozenset(("append", "appendleft", "add", "insert", "setdefault"))
CLASS_METHODS = ("__new__", "__init_subclass__", "__class_getitem__")  # without a decorator


class Expressions(State):
    """Evaluates expressions: a method ``of_X`` for each kind X of them that is more than its parts."""

    def evaluate(self, node: ast.expr, scope: Scope, use: str = "value") -> Values:
        """What an expression can be.

        Args:
            use: "value" where the result goes somewhere that is not followed, "base" where it is looked at here,
                "look" where the elements of a tuple are as well, "call" where it is called.
        """
        handler = getattr(self, f"of_{type(node).__name__}", None)
        if handler is None:
            self.evaluate_parts(node, scope)
            return ()
        values: Values = handler(node, scope, use)
        if use == "value" and isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
            self.report_handed_on(values, node)
            if not values and isinstance(node, ast.Attribute) and node.attr in PATH_METHODS:
                words = "of an unknown object is handed on as a value: it writes or deletes files"
                self.report("S07", node, f".{node.attr} {words}.", WARNING if node.attr in COMMON_WORDS else ERROR)
        for value in values:
            if isinstance(value, Const) and isinstance(value.value, (str, bytes)) and len(value.value) > 4:
                self.report_secret_place(value.value, node)
        return values

    def evaluate_parts(self, node: ast.AST, scope: Scope) -> None:
        """Evaluate every expression in a node."""
        for child in below(node):
            if isinstance(child, ast.expr):
                self.evaluate(child, scope)
            else:
                self.evaluate_parts(child, scope)

    def of_Constant(self, node: ast.Constant, scope: Scope, use: str) -> Values:
        value = node.value
        if isinstance(value, (str, bytes)) and is_blob(value):
            self.report("S10", node, f"{len(value)} characters of text that is not readable.", WARNING)
        if isinstance(value, (str, bytes)) and len(value) > MOST_CHARACTERS:
            return ()
        if isinstance(value, str) and "{" in value and (attribute := walks_attributes(value)):
            words = f"a format string takes {attribute} out of an object, where any name can be found."
            self.report("S15", node, words)
        return (Const(value),) if isinstance(value, (str, bytes, int, float, type(None))) else ()

    def of_Name(self, node: ast.Name, scope: Scope, use: str) -> Values:
        values = self.look_for(node.id, scope)
        if scope.kind == "class" and defined_above(node, scope.node):
            values = tuple(v for v in values if v != Ref(f"builtins.{node.id}"))
        if all(isinstance(v, Unknown) or v == Const(None) for v in values) and use != "call":
            values = union(values, self.configuration(node.id))
        if node.id == "__builtins__" and not values:
            values = (Ref("builtins"),)
        if node.id in ("__builtins__", "__loader__", "__spec__"):
            self.report("S15", node, f"{node.id} reaches into Python, where any name can be found.")
        self.report_names(values, node, use == "call")
        if node.id in ("__loader__", "__spec__") and not values:
            return (Ref(node.id),)
        return values

    def of_Attribute(self, node: ast.Attribute, scope: Scope, use: str) -> Values:
        owners = self.evaluate(node.value, scope, "base")
        return self.attribute(owners, node.attr, node, use == "call")

    def of_Call(self, node: ast.Call, scope: Scope, use: str) -> Values:
        # The function is evaluated here and not in a separate step: a chain a().b().c() is as deep as it is long.
        method = node.func.attr if isinstance(node.func, ast.Attribute) else None
        owners: Values = ()
        if isinstance(node.func, ast.Attribute):
            owners = self.evaluate(node.func.value, scope, "base")
            functions = self.attribute(owners, node.func.attr, node.func, True)
        elif computes_only(self, node, scope):
            self.report("S01", node, "eval(...) runs a constant text, which only computes a value.", WARNING)
            return ()
        else:
            functions = self.evaluate(node.func, scope, "call")
        note_chosen(self, node, functions, owners, scope)
        call = self._arguments(node, functions, scope)
        self.report_names(functions, node, True)  # also where it was named on another line, and kept in a table
        report_code(self, functions, call)
        if isinstance(node.func, ast.Subscript) and not functions and isinstance(node.func.slice, ast.Constant):
            call_unknown_method(self, (), str(node.func.slice.value), call)  # table["system"](...)
        results = [either(*(call_function(self, function, call, scope) for function in functions))]
        if method is not None:
            if self.steps > 0:
                results += [method_result(owner, method, call.arguments, call.keywords) for owner in owners]
                self.steps -= sum(map(count_values, results))
            if method in ("format", "format_map") and known_strings(owners):
                report_format(self, [owners], call.arguments, call)
                results += [] if any(results) else [configured.address_formatted(owners)]
            if all(isinstance(v, Picked) for v in functions):
                call_unknown_method(self, owners, method, call)
                call_argument(self, f".{method}", call, scope)
            results += [(v,) for v in owners if isinstance(v, (Given, Decoded))]
            results += [(v,) for v in owners if isinstance(v, Settings) and method in configured.SAME_AGAIN]
            results += [paths.path_method(self, owners, method, call)]
            if method == "start":
                call_started(self, owners, call)
            elif method == "mro":
                results = [class_hierarchy(self, owners), *results]
            elif method == "join" and not known_strings(union(*results)):
                paths.report_joined(self, owners, call)
            elif method in ADDERS and isinstance(node.func, ast.Attribute):
                self._keep(node.func.value, owners, (), union(*call.arguments[-1:]), scope)
        values = union(*results)
        return with_unknown(values) if values and known_strings(owners) and can_be_other(owners) else values

    def _keep(self, table: ast.expr, owners: Values, index: Values, values: Values, scope: Scope) -> None:
        """What a list or a dict of the folder holds later on, where that is something of which the audit speaks."""
        acting = tuple(v for v in values if isinstance(v, Ref) and (judge(v.path) or v.path in SENSITIVE))
        if not acting or not all(isinstance(v, (Table, Many)) for v in owners):
            return
        keys = [v.value for v in index if isinstance(v, Const)]
        kept = dict_of([(key, acting) for key in keys]) if keys else sequence_of([acting])
        holder = table.value if isinstance(table, ast.Attribute) else None
        if isinstance(table, ast.Name):
            self.bind_name(table.id, kept, scope)
        elif holder is not None and all(isinstance(v, Instance) for v in self.evaluate(holder, scope, "base")):
            self.bind(table, kept, scope)

    def _arguments(self, node: ast.Call, functions: Values, scope: Scope) -> Call:
        use = use_of_arguments(self, node, functions, lambda argument: self.evaluate(argument, scope, "base"))
        call = Call(node)
        for argument in node.args:
            if isinstance(argument, ast.Starred):
                values = self.evaluate(argument.value, scope)
                rows = [v.items for v in values if isinstance(v, Many)]
                call.arguments += rows[0] if len(rows) == 1 else [union(*elements_of(values))]
                call.open_ended |= len(rows) != 1
            else:
                call.arguments.append(self.evaluate(argument, scope, use))
        for keyword in node.keywords:
            values = self.evaluate(keyword.value, scope)
            if keyword.arg:
                call.keywords[keyword.arg] = values
                continue
            tables = [v for v in values if isinstance(v, Table)]
            call.open_ended |= not tables
            for table in tables:
                call.keywords |= {key: value for key, value in table.entries if isinstance(key, str)}
        return call

    def of_Lambda(self, node: ast.Lambda, scope: Scope, use: str) -> Values:
        self.define(node, scope)
        return (Own(node),)

    def of_NamedExpr(self, node: ast.NamedExpr, scope: Scope, use: str) -> Values:
        values = self.evaluate(node.value, scope, "base")
        self.bind(node.target, values, scope)
        while isinstance(scope.node, COMPREHENSIONS) and scope.parent:  # it binds a name of what is around them
            scope = scope.parent
            self.bind(node.target, values, scope)
        return values

    def of_IfExp(self, node: ast.IfExp, scope: Scope, use: str) -> Values:
        self.evaluate(node.test, scope, "base")
        return either(self.evaluate(node.body, scope, use), self.evaluate(node.orelse, scope, use))

    def of_BoolOp(self, node: ast.BoolOp, scope: Scope, use: str) -> Values:
        return either(*(self.evaluate(value, scope, use) for value in node.values))

    def of_Compare(self, node: ast.Compare, scope: Scope, use: str) -> Values:
        for side in (node.left, *node.comparators):
            values = self.evaluate(side, scope, "base")
            if "os.environ" in imported_paths(values):
                self.report("S08", node, "checks which environment variables are set.", WARNING)
        return ()

    def of_UnaryOp(self, node: ast.UnaryOp, scope: Scope, use: str) -> Values:
        values = self.evaluate(node.operand, scope, "base")
        if not isinstance(node.op, ast.USub):
            return ()
        numbers = [v.value for v in values if isinstance(v, Const)]
        return tuple(Const(-number) for number in numbers if type(number) is int or type(number) is float)

    def of_BinOp(self, node: ast.BinOp, scope: Scope, use: str) -> Values:
        chain = [node]
        while isinstance(chain[-1].left, ast.BinOp):  # a + b + c + ... is deep on its left side only
            chain.append(chain[-1].left)
        values = self.evaluate(chain[-1].left, scope)
        joined = ""  # the path that pathlib's / has put together so far
        parts = [values]
        for part in reversed(chain):
            right = self.evaluate(part.right, scope)
            if isinstance(part.op, ast.Div) and any(isinstance(v, Given) for v in values):
                values = tuple(v for v in values if isinstance(v, Given)) if paths.is_below(right) else ()
            elif isinstance(part.op, ast.Div) and paths.is_path(values):
                values, joined = paths.path_joined(self, values, right, joined, part)
            elif isinstance(part.op, ast.Add) and all_given(values):
                values = values if paths.is_below(right, joined=True) else ()
            else:
                kind = type(part.op)
                values = operator_result(kind, values, right) or configured.address_after(kind, values)
            for value in values:
                if isinstance(value, Const) and isinstance(value.value, str):
                    self.report_secret_place(value.value, part)
            parts.append(right)
        if isinstance(node.op, ast.Add):
            paths.report_added(self, parts, node)
        return values

    def of_JoinedStr(self, node: ast.JoinedStr, scope: Scope, use: str) -> Values:
        parts: list[Values] = []
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                values = self.evaluate(part.value, scope, "base")
                if part.format_spec is not None:
                    self.evaluate(part.format_spec, scope)
                    values = ()
                if values == (Const(None),):
                    values = (Const(COMPUTED_PLACE),)
                parts.append(function_result("builtins.str", [values], {}, False) or values)
            else:
                parts.append(self.evaluate(part, scope))
        if parts and all_given(parts[0]):
            return parts[0] if all(paths.is_below(part, joined=True) for part in parts[1:]) else ()
        self.report_secret_place("".join((known_strings(part) or [paths.PLACEHOLDER])[0] for part in parts), node)
        text: Values = (Const(""),)
        for values in parts:
            text = operator_result(ast.Add, text, values) or configured.address_begun(text)
        return text

    def of_List(self, node: ast.List | ast.Tuple | ast.Set, scope: Scope, use: str) -> Values:
        use = use if use == "look" else "value"
        items = [self.evaluate(e.value if isinstance(e, ast.Starred) else e, scope, use) for e in node.elts]
        if any(isinstance(e, ast.Starred) for e in node.elts):
            spread: list[Values] = []
            for element, item in zip(node.elts, items, strict=True):
                spread += elements_of(item) if isinstance(element, ast.Starred) else [item]
            items = spread
        return sequence_of(items)

    of_Tuple = of_Set = of_List

    def of_Dict(self, node: ast.Dict, scope: Scope, use: str) -> Values:
        entries: list[tuple[object, Values]] = []
        for key, value in zip(node.keys, node.values, strict=True):
            keys = self.evaluate(key, scope) if key is not None else ()
            values = self.evaluate(value, scope)
            if key is None:
                entries += [pair for v in values if isinstance(v, Table) for pair in v.entries]
            entries += [(v.value, values) for v in keys if isinstance(v, Const)]
        return dict_of(entries)

    def of_Subscript(self, node: ast.Subscript, scope: Scope, use: str) -> Values:
        owners = self.evaluate(node.value, scope, "base")
        if isinstance(node.slice, ast.Slice):
            bounds = (node.slice.lower, node.slice.upper, node.slice.step)
            values = [self.evaluate(bound, scope) if bound else (Const(None),) for bound in bounds]
            return subscript_result(owners, slice_index(values))
        return look_up(self, owners, self.evaluate(node.slice, scope, "base"), node, scope)

    def of_Starred(self, node: ast.Starred, scope: Scope, use: str) -> Values:
        return self.evaluate(node.value, scope)

    def of_Await(self, node: ast.Await, scope: Scope, use: str) -> Values:
        return self.evaluate(node.value, scope, use)

    def of_Yield(self, node: ast.Yield, scope: Scope, use: str) -> Values:
        if node.value is not None and self.function is not None:
            self.add_returned(self.function, sequence_of([self.evaluate(node.value, scope)]))
        return ()

    def of_ListComp(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope, use: str
    ) -> Values:
        results: list[Values] = []
        for generator in node.generators:
            rows = elements_of(self.evaluate(generator.iter, scope))
            self.bind(generator.target, either(*rows), scope)
            for test in generator.ifs:
                self.evaluate(test, scope, "base")
            if not isinstance(node, ast.DictComp) and len(node.generators) == 1 and not generator.ifs:
                results = self._rows(node, generator.target, rows, scope)
        if not results:
            parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
            values = [self.evaluate(part, scope) for part in parts][-1]
            if any(isinstance(v, (Ref, Own)) for v in values) or known_strings(values):
                return sequence_of([with_unknown(values)])  # those that a condition leaves
        return sequence_of(results) if results and all(results) else ()

    of_GeneratorExp = of_SetComp = of_DictComp = of_ListComp

    def _rows(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp, target: ast.expr, rows: list[Values], scope: Scope
    ) -> list[Values]:
        """The elements of a comprehension one by one, where each row is known and there are not too many."""
        if not isinstance(target, (ast.Name, ast.Tuple)) or not rows or not all(rows):
            return []
        if not self.afford(len(rows), node):
            return []
        inner = Scope("function", node, scope.module, scope)
        results: list[Values] = []
        for row in rows:
            inner.names = {}
            self.bind(target, row, inner)
            results.append(self.evaluate(node.elt, inner))
        return results

    # What expressions and statements bind.

    def bind(self, target: ast.expr, values: Values, scope: Scope) -> None:
        """``target = value``, where the target can be a name, a part of something, or several of them."""
        if isinstance(target, ast.Name):
            self.bind_name(target.id, values, scope)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, values, scope)
        elif isinstance(target, (ast.Tuple, ast.List)):
            rows = [v for v in values if isinstance(v, Many) and len(v.items) == len(target.elts)]
            others = tuple(v for v in values if v not in rows)
            rest = [any_element(others)] if others else []
            for position, inner in enumerate(target.elts):
                self.bind(inner, either(*rest, *(row.items[position] for row in rows)), scope)
        elif isinstance(target, ast.Attribute):
            owners = self.evaluate(target.value, scope, "base")
            self.store_attribute(owners, target.attr, values, target)
            report_kernels(self, target.attr, values, Call(target))
        elif isinstance(target, ast.Subscript):
            owners = self.evaluate(target.value, scope, "base")
            index = self.evaluate(target.slice, scope)
            self.store_item(owners, index, target)
            self._keep(target.value, owners, index, values, scope)
            for path in imported_paths(owners):
                if REGISTRIES.search(path):
                    report_registered(self, path, index, target)

    def define(self, node: FunctionNode, scope: Scope) -> None:
        """Parameters with their defaults; the body is read later, when every name of the module is known."""
        inner = self.scopes.setdefault(node, Scope("function", node, scope.module, scope))
        parameters = node.args
        ordered = [*parameters.posonlyargs, *parameters.args]
        from_outside = bool(parameters.defaults or parameters.kw_defaults) and self._is_from_outside(node, scope)
        defaults: list[ast.expr | None] = [None] * (len(ordered) - len(parameters.defaults))
        defaults += parameters.defaults
        for parameter, default in (
            *zip(ordered, defaults, strict=True),
            *zip(parameters.kwonlyargs, parameters.kw_defaults, strict=True),
        ):
            self._settings_class(parameter, scope, inner)
            values = self.evaluate(default, scope, "base") if default else ()
            if values == (Const(""),) and PLACE.search(parameter.arg):
                values = (*values, Const(COMPUTED_PLACE))
            self._bind_parameter(parameter.arg, with_unknown(values) if from_outside else values, inner)
        for rest in (parameters.vararg, parameters.kwarg):
            if rest:
                self.annotation(rest.annotation, scope)
                self._bind_parameter(rest.arg, (), inner)
        if not isinstance(node, ast.Lambda):
            self.annotation(node.returns, scope)
        name = "" if isinstance(node, ast.Lambda) else node.name
        if name == "__init__" and isinstance(scope.node, ast.ClassDef) and self.settings is not None:
            self._bind_settings(scope.node, ordered[1:], parameters, inner)
        inner.takes_self = isinstance(scope.node, ast.ClassDef) and bool(ordered) and is_method(node, scope.node)
        if isinstance(scope.node, ast.ClassDef) and inner.takes_self:
            is_classmethod = "classmethod" in decorators(node) or name in CLASS_METHODS
            owner: Value = Own(scope.node) if is_classmethod else Instance(scope.node)
            self.bind_name(ordered[0].arg, (owner,), inner)
        if name.lstrip("_").startswith("save"):
            directories = [parameter for parameter in ordered if parameter.arg == "save_directory"]
            if scope.kind == "class":  # the first after self
                directories += ordered[1:2]
            for parameter in directories:
                self.bind_name(parameter.arg, (Given(),), inner)
        self.queue.append((node, inner))

    def _bind_parameter(self, name: str, values: Values, inner: Scope) -> None:
        """A parameter without a default is nothing by itself: what it can be is what calls give it."""
        if values or name not in inner.names:
            self.bind_name(name, values, inner)

    def _is_from_outside(self, node: FunctionNode, scope: Scope) -> bool:
        """Whether a library calls a method with arguments of its own, out of the settings of a tokenizer perhaps."""
        if isinstance(node, ast.Lambda) or not isinstance(scope.node, ast.ClassDef) or node.name not in FROM_OUTSIDE:
            return False
        paths = imported_paths(self.foreign_bases(scope.node))
        of_settings = node.name == "__init__" and any(map(configured.CONFIG_CLASS.search, paths))
        return bool(paths) and not of_settings

    def _settings_class(self, parameter: ast.arg, scope: Scope, inner: Scope) -> None:
        """A parameter that is annotated with a class of settings is one of them, whatever its default value says."""
        self.annotation(parameter.annotation, scope)
        if isinstance(parameter.annotation, (ast.Name, ast.Attribute)):
            for path in imported_paths(self.evaluate(parameter.annotation, scope, "base")):
                if path.endswith("Config"):
                    inner.settings[parameter.arg] = path

    def _bind_settings(
        self, cls: ast.ClassDef, ordered: list[ast.arg], parameters: ast.arguments, inner: Scope
    ) -> None:
        """What transformers hands to a constructor: the configuration to a model, its entries to its own class."""
        paths = imported_paths(self.foreign_bases(cls))
        settings = self.settings
        if settings is not None and any(map(configured.CONFIG_CLASS.search, paths)):
            self.config_classes[cls] = None
            for parameter in (*ordered, *parameters.kwonlyargs):
                self._bind_parameter(parameter.arg, configured.entry(settings, parameter.arg), inner)
            if parameters.kwarg:
                self.bind_name(parameters.kwarg.arg, (settings,), inner)
        elif settings is not None and ordered and any(map(configured.MODEL_CLASS.search, paths)):
            self.bind_name(ordered[0].arg, (settings,), inner)

    def annotation(self, node: ast.expr | None, scope: Scope) -> None:
        """Read an annotation; of a text, the calls in it, which typing.get_type_hints evaluates."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < LONGEST_ANNOTATION:
            try:
                tree = ast.parse(node.value.strip(), mode="eval").body
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                return
            for inner in walk(tree):
                if isinstance(inner, ast.Call):
                    for part in walk(inner):
                        if isinstance(part, ast.expr):  # contexts are shared between all trees
                            part.lineno = node.lineno
                    self.evaluate(inner, scope)
        elif node is not None:
            self.evaluate(node, scope, "base")
