"""What is known while a folder is read: what each name can be, what was reported, and who calls whom.

The layers of the interpreter, each of which uses only those before it: this state, the calls (functions that take it),
expressions.py (a subclass that evaluates) and interpreter.py (a subclass that goes through statements).
"""

import ast
import builtins
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.security.configured import CONFIG, entry, part, settings_of
from pinfold.audit.security.tables.functions import DELETES, PATH_METHODS, PATH_ONLY, WRITERS
from pinfold.audit.security.tables.library import is_private
from pinfold.audit.security.tables.methods import METHODS
from pinfold.audit.security.tables.names import (
    HUB_SECRETS,
    INTROSPECTION,
    LONGEST_PATH,
    SENSITIVE,
    WATCHED_MODULES,
    canonical,
    judge,
)
from pinfold.audit.security.tables.secrets import SECRET_PLACES
from pinfold.audit.security.values import (
    Bound,
    Call,
    Const,
    Decoded,
    Given,
    Instance,
    Many,
    Own,
    Ref,
    Settings,
    Unknown,
    Value,
    Values,
    has_unknown,
    imported_paths,
    known_strings,
    printable_excerpt,
    softened,
    union,
    with_unknown,
    without_arguments,
)
from pinfold.folder.model_folder import Module
from pinfold.folder.releases import exists, releases_of_modules

FIELDS = re.compile(r"%[sdri]|\{[^{}/]{0,40}\}")
# Ways from an object to its class and to the classes that it derives from, which others share.
HIERARCHY = re.compile(r"^builtins\.type\(\)|__(?:base|bases|mro|thisclass|self_class|class)__|\.mro\(\)")
LONGEST_ANNOTATION = 1000  # characters of a text that is read as an expression
LONGEST_LINEAGE = 100  # classes of the folder that one derives from and that are followed
UNLESS_REACHED = "S03"  # what a user's own program sends or fetches is its own matter
STEPS = 15_000  # elements that comprehensions and the like may compute in one folder
# What a function of the folder holds by which other functions are made.
OF_FUNCTIONS = {"__class__": "types.FunctionType", "__code__": "types.CodeType()"}
OUT_OF_EVERYTHING = ("gc.get_objects()", "gc.get_referrers()", "gc.get_referents()")
NAMESPACE = "builtins.globals()"  # the names of a file, also by way of vars() and __dict__
# What can be a module of the folder: what is stored in it can be any of its names.
SOME_MODULE = re.compile(r"^(?:inspect\.getmodule\(\)|sys\.modules[\[.]|imported\(\))")
FunctionNode: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass
class Scope:
    """The names of a module, class or function."""

    kind: str  # "module", "class" or "function"
    node: ast.AST
    module: Module
    parent: "Scope | None" = None
    names: dict[str, Values] = field(default_factory=dict)
    elsewhere: dict[str, "Scope"] = field(default_factory=dict)  # global and nonlocal names
    stars: list[str] = field(default_factory=list)  # modules of which every name is imported
    settings: dict[str, str] = field(default_factory=dict)  # parameter -> the class of settings that it is one of
    takes_self: bool = False  # a method, whose first parameter no call gives

    def top(self) -> "Scope":
        """The scope of the module."""
        scope = self
        while scope.parent:
            scope = scope.parent
        return scope


class State(ABC):
    """What is known of one folder while it is read."""

    def __init__(self, modules: Iterable[Module], config: object = None):
        self.settings = settings_of(config)
        self.modules = list(modules)
        self.by_name = {module.name: module for module in self.modules}
        self.reports: dict[tuple[str, int, str], Finding] = {}
        self.reported_in: dict[tuple[str, int, str], ast.AST | None] = {}  # the function that a finding is in
        self.unless_reached: set[tuple[str, int, str]] = set()
        self.only_imports: set[tuple[str, int, str]] = set()  # what is named there is not called there
        self.faults: dict[ast.AST, int] = {}  # function -> line of an error in it
        self.handed_on: dict[str, tuple[int, str]] = {}  # file -> line and code of the first thing that acts
        # Calls of it knows not what -> file, function, what it can be.
        self.chosen: dict[ast.Call, tuple[str, ast.AST | None, Values]] = {}
        # (Dicts instead of sets: in the order of the program, so that the same folder always has the same findings.)
        self.calls: dict[ast.AST, dict[ast.AST, None]] = {}  # function -> the folder's functions that it calls
        self.called_at_import: dict[tuple[str, int], dict[ast.AST, None]] = {}  # file and line -> the same
        self.hooks: list[tuple[ast.AST, Module]] = []
        # Functions that a file imports by their own name (file, function, statement, path), and those that it calls.
        self.imported: list[tuple[str, ast.AST | None, ast.AST, str]] = []
        self.called: set[tuple[str, str]] = set()  # file, path
        # what grows from one reading to the next:
        self.scopes: dict[ast.AST, Scope] = {}
        self.returns: dict[ast.AST, Values] = {}
        self.bases: dict[ast.AST, Values] = {}
        self.config_classes: dict[ast.AST, None] = {}
        self.changed = True
        self.first_reading = True
        # Where the reading is.
        self.queue: list[tuple[FunctionNode, Scope]] = []  # functions whose bodies are still to be read
        self.file = ""
        self.function: ast.AST | None = None
        self.in_main_block = False  # if __name__ == "__main__"
        self.makes_names = False  # at run time, whichever they are
        self.main_blocks: dict[str, list[tuple[int, int]]] = {}  # file -> first and last line of each
        self.steps = STEPS

    @abstractmethod
    def annotation(self, node: ast.expr | None, scope: Scope) -> None:
        """Read an annotation; of a text, the calls in it, which typing.get_type_hints evaluates."""

    def importing(self) -> bool:
        """Whether the statement at hand runs when the file is imported."""
        return self.function is None and not self.in_main_block

    # What is reported.

    def report(self, code: str, node: ast.AST, what: str, severity: str = ERROR, unless_reached: bool = False) -> None:
        """Keep one finding for a line and a code: the first, or the first error where there is one.

        Args:
            unless_reached: a warning after all, where neither a load nor a call of the model reaches the function.
        """
        line = getattr(node, "lineno", 0)
        what = what.removeprefix("builtins.")  # where programs write eval(...)
        key = (self.file, line, code)
        earlier = self.reports.get(key)
        if severity == ERROR and self.function is not None:
            self.faults.setdefault(self.function, line)
        if earlier is None or (earlier.severity == WARNING and severity == ERROR):
            self.reports[key] = Finding(code, f"{self.file}:{line}: {what}", self.file, line, severity=severity)
            self.reported_in[key] = self.function
            self.unless_reached.discard(key)
            if unless_reached or code == UNLESS_REACHED:
                self.unless_reached.add(key)

    def report_name(self, path: str, node: ast.AST, called: bool = False) -> None:
        """Report a name that says by itself what it does."""
        if judgement := judge(path):
            code, severity, words = judgement
            if called:
                self.called.add((self.file, path))
            what = f"{printable_excerpt(path)}(...)" if called else f"names {printable_excerpt(path)}, which"
            self.report(code, node, f"{what} {words}.", severity)

    def report_names(self, values: Values, node: ast.AST, called: bool = False) -> None:
        for path in imported_paths(values):
            self.report_name(path, node, called)

    def report_handed_on(self, values: Values, node: ast.AST) -> None:
        """Report a module or a function whose arguments matter where it leaves what can be followed."""
        for value in without_arguments(values):
            if not isinstance(value, Ref):
                self.makes_names |= isinstance(value, Own) and isinstance(value.node, ast.Module)
                continue
            path = value.path
            if path in WATCHED_MODULES:
                what = f"the module {path} is handed on as a value; what is done with it cannot be followed."
                self._report_passed("S15", node, what)
            elif path in SENSITIVE:
                code, words = SENSITIVE[path]
                severity = WARNING if path in ("builtins.open", "io.open", "os.getenv") else ERROR
                self._report_passed(code, node, f"{path} is handed on as a value: it {words}.", severity)
            elif path in DELETES or path in WRITERS:  # torch.save is what save_pretrained takes
                does = "deletes or moves" if path in DELETES else "writes"
                severity = ERROR if path in DELETES or path.startswith(("os.", "shutil.")) else WARNING
                self._report_passed("S07", node, f"{path} is handed on as a value: it {does} files.", severity)
            elif path.startswith(NAMESPACE):
                self.makes_names = True
            elif "()." in path:
                self._report_bound_method(path, node)
            elif (judgement := judge(path)) and judgement[1] == ERROR:
                self.handed_on.setdefault(self.file, (getattr(node, "lineno", 0), judgement[0]))

    def _report_bound_method(self, path: str, node: ast.AST) -> None:
        """A method that acts and is handed on with its object: what gets it can call it."""
        method = path.rpartition(".")[2]
        if method in PATH_METHODS or (method in PATH_ONLY and path.startswith("pathlib.")):
            self._report_passed("S07", node, f".{method} is handed on as a value: it writes or deletes files.")
        elif method in METHODS:
            code, words = METHODS[method]
            self._report_passed(code, node, f".{method} is handed on as a value: it {words}.")

    def _report_passed(self, code: str, node: ast.AST, what: str, severity: str = ERROR) -> None:
        self.report(code, node, what, severity)
        if severity == ERROR:
            self.handed_on.setdefault(self.file, (getattr(node, "lineno", 0), code))

    def report_secret_place(self, value: str | bytes, node: ast.AST) -> None:
        """Report a text that is the place of passwords or keys."""
        text = value[:4096] if isinstance(value, str) else value[:4096].decode("latin-1")
        if "%" in text or "{" in text:
            text = FIELDS.sub("1", text)  # whatever is put there, such as the number of a process
        if SECRET_PLACES.search(text):
            self.report("S08", node, f'"{printable_excerpt(text)}" is where passwords or keys are kept.')

    def afford(self, count: int, node: ast.AST) -> bool:
        """Whether so many more elements may be computed; where not, what they would be is unknown."""
        if 0 <= self.steps < count:
            self.report("S15", node, "computes more than can be followed here.", WARNING)
            self.steps = -1
        self.steps -= count
        return self.steps >= 0

    # Names.

    def bind_name(self, name: str, values: Values, scope: Scope) -> None:
        """Add to what a name can be."""
        scope = scope.elsewhere.get(name, scope)
        if path := scope.settings.get(name):
            values = tuple(Ref(f"{path}()") if value == Ref(path) else value for value in values)
        before = scope.names.get(name)
        after = self._added(before or (), values)
        if before is None or len(after) != len(before):
            scope.names[name] = after
            self.changed = True

    def look_for(self, name: str, scope: Scope) -> Values:
        """What a name can be. A builtin stays possible where the module's own binding may come later."""
        values: Values = ()
        bound = False
        outer: Scope | None = scope
        while outer is not None:
            where = outer.elsewhere.get(name, outer) if outer is scope else outer
            if name in where.names and (outer.kind != "class" or outer is scope):
                values = union(values, where.names[name])
                if outer.kind == "function" and where is outer:
                    return values
                if outer.kind == "module":
                    bound = True
                    break
            outer = outer.parent
        bound = bound or bool(values)
        builtin = f"builtins.{name}" if hasattr(builtins, name) else ""
        if builtin and (not bound or judge(builtin) or builtin in SENSITIVE):
            return union(values, (Ref(builtin),))
        if not bound:
            return tuple(Ref(canonical(f"{star}.{name}")) for star in scope.top().stars)
        return values

    def _added(self, before: Values, values: Values) -> Values:
        """What something can be that gets a further value.

        By the second reading every value is known that can be known at all, so that one of which nothing is known can
        be anything; in the first it can be what is read later.
        """
        if self.first_reading:
            return union(
                before, tuple(v for v in values if not isinstance(v, Unknown)) if has_unknown(values) else values
            )
        return union(before, values) if values else with_unknown(before)

    def add_returned(self, function: ast.AST, values: Values) -> None:
        """Add to what a function can give back."""
        before = self.returns.get(function, ())
        after = self._added(before, values)
        self.returns[function] = after
        self.changed |= len(after) != len(before)

    def store_attribute(self, owners: Values, name: str | None, values: Values, node: ast.AST) -> None:
        """``owner.name = value``, also by setattr (where the name can be unknown) and del."""
        if name in INTROSPECTION - {"__spec__", "__loader__"}:
            self.report("S11", node, f"replaces {name}, and so what a function does.")
        self.makes_names |= _stores_own_name(owners, name)
        for owner in owners:
            if isinstance(owner, (Instance, Own)) and name and (inner := self.scopes.get(owner.node)):
                self.bind_name(name, values, inner)
            elif isinstance(owner, Ref) and not owner.path.startswith("."):
                self._report_stored_attribute(owner.path, name, node)

    def _report_stored_attribute(self, path: str, name: str | None, node: ast.AST) -> None:
        if path.startswith(OUT_OF_EVERYTHING):
            self.report("S11", node, "changes what was taken out of all objects that Python holds.")
            return
        if "()" in path and not HIERARCHY.search(path):
            return
        if path in ("os.environ", "os.environb") or (path, name) == ("os", "environ"):
            self.report("S09", node, "changes the environment of this process and its children.")
            return
        if name and name[0] != "_" and path in releases_of_modules() and not exists(path, name):
            words = f"adds {printable_excerpt(path)}.{name}, which no release of transformers has"
            self.report("S11", node, f"{words}, for everything else in the process.", WARNING)
            return
        switch = path.startswith(("torch.backends.", "torch._dynamo.config", "torch._inductor.config"))
        what = f"changes {printable_excerpt(path)}.{name or '...'} for everything else in the process."
        self.report("S11", node, what, WARNING if switch else ERROR)

    def store_item(self, owners: Values, index: Values, node: ast.AST) -> None:
        """``owner[index] = value`` and del."""
        self.makes_names |= any(map(SOME_MODULE.match, imported_paths(owners)))
        for path in [owner.path for owner in owners if isinstance(owner, Ref) and not owner.path.startswith(".")]:
            if path in ("os.environ", "os.environb"):
                name = printable_excerpt(", ".join(known_strings(index)) or "...", 40)
                words = f"changes the environment variable {name} of this process."
                self.report("S09", node, words, unless_reached=True)
            elif path.startswith(OUT_OF_EVERYTHING):
                self.report("S11", node, "changes what was taken out of all objects that Python holds.")
            elif path == NAMESPACE:
                self.makes_names = True
                self.report("S15", node, "makes names of this file at run time.", WARNING)
            elif "()" not in path and len(owners) == 1:
                severe = path.startswith(("sys.", "builtins")) or path.endswith("__dict__")
                what = f"puts something into {printable_excerpt(path)}, which others use."
                self.report("S11", node, what, ERROR if severe else WARNING)

    # Attributes.

    def attribute(self, owners: Values, name: str, node: ast.AST, called: bool = False) -> Values:
        """``owner.name`` for everything that the owner can be."""
        if name in INTROSPECTION:
            severity = WARNING if name == "__code__" else ERROR
            self.makes_names = True
            self.report("S15", node, f".{name} reaches into Python, where any name can be found.", severity)
        if name == "__class__" and not any(isinstance(v, (Own, Instance)) for v in owners):
            return (Ref("builtins.type()"),)
        groups: list[Values] = []
        for owner in owners:
            groups += self._attribute_of(owner, name, node, called)
        if not any(groups) and not called:
            groups.append(self.configuration(name))
        return union(*groups)

    def configuration(self, name: str) -> Values:
        """The folder's settings, where a name says that it holds a configuration."""
        if self.settings is None or not CONFIG.match(name):
            return ()
        return (part(self.settings, name),)

    def _setting(self, settings: Settings, name: str) -> list[Values]:
        """``config.name``: what config.json says, and what the folder's class of configurations sets."""
        if name == "__dict__":
            return [(settings,)]
        groups = [entry(settings, name)]
        for cls in self.config_classes if settings is self.settings else ():
            texts = tuple(v for v in self.class_member(cls, name) if not isinstance(v, Const) or known_strings((v,)))
            groups.append(softened(texts))
        return groups if any(groups) else [self.configuration(name)]

    def _attribute_of(self, owner: Value, name: str, node: ast.AST, called: bool) -> list[Values]:
        if isinstance(owner, Bound):
            return [owner.functions] if name == "func" else [(owner,)] if name == "__call__" else []
        if isinstance(owner, Ref):
            return self._attribute_of_import(owner, name, node, called)
        if isinstance(owner, Settings):
            return self._setting(owner, name)
        if isinstance(owner, Own) and isinstance(owner.node, ast.Module):
            if name == "__dict__":
                return [(Ref(NAMESPACE),)]
            self.makes_names |= name in ("__setattr__", "__delattr__")
            values = self.scopes[owner.node].names.get(name, ())
            self.report_names(values, node, called)
            return [values]
        if isinstance(owner, Own) and isinstance(owner.node, FUNCTIONS):
            if name in OF_FUNCTIONS:
                return [(Ref(OF_FUNCTIONS[name]),)]
            return [(owner,)] if name in ("__call__", "__wrapped__", "__func__") else []
        if isinstance(owner, Own) and name == "__class__":
            return [(Ref("builtins.type"),)]
        if isinstance(owner, (Own, Instance)):
            return self._attribute_of_class(owner.node, name)
        if isinstance(owner, Decoded) or (isinstance(owner, Given) and name not in ("parent", "parents")):
            return [(owner,)]
        return []

    def _attribute_of_import(self, owner: Ref, name: str, node: ast.AST, called: bool) -> list[Values]:
        if name == "__call__" or (name in ("__wrapped__", "__func__", "func") and "()" not in owner.path):
            return [(owner,)]
        if name == "__module__" and "()" not in owner.path and "." in owner.path:
            return [(Const(owner.path.rpartition(".")[0]),)]
        if name == "__self__" and "()" not in owner.path:
            module = owner.path.rpartition(".")[0]
            self.report("S15", node, f".__self__ of {printable_excerpt(owner.path)} is the module that it is from.")
            return [(Ref(module),)]
        if len(owner.path) >= LONGEST_PATH:
            return []
        path = canonical(f"{owner.path}.{name}")
        self.report_name(path, node, called)
        if owner.path.startswith("huggingface_hub.") and "()" in owner.path and name in HUB_SECRETS:
            self.report("S08", node, f"{printable_excerpt(path)} holds the user's token for the Hub.")
        if is_private(owner.path, name):
            words = f"{printable_excerpt(owner.path)}.{name} is a part of that library that has no documentation"
            self.report("S15", node, f"{words}; what it does is not known here.", WARNING)
        return [with_place(path)]

    def _attribute_of_class(self, owner: ast.AST, name: str) -> list[Values]:
        groups: list[Values] = [(Own(owner),)] if name == "__class__" else []
        if name in ("__base__", "__bases__", "__mro__", "mro"):
            return [self.foreign_bases(owner)]
        for member in self.class_member(owner, name):
            groups.append((member,))
            if isinstance(member, Instance):  # a descriptor gives what its __get__ gives
                getters = [v for v in self.class_member(member.node, "__get__") if isinstance(v, Own)]
                groups += [self.returns.get(getter.node, ()) for getter in getters]
            if isinstance(member, Own) and _is_property(member.node):
                if self.function is not None:
                    self.calls.setdefault(self.function, {})[member.node] = None
                groups.append(self.returns.get(member.node, ()))
        return groups or self._looked_up(owner, name)

    def _looked_up(self, owner: ast.AST, name: str) -> list[Values]:
        """What the class's own ``__getattr__`` gives, which Python calls for a name that is not there."""
        groups: list[Values] = []
        for member in self.class_member(owner, "__getattr__") if not name.startswith("__") else ():
            if not isinstance(member, Own) or not isinstance(member.node, ast.FunctionDef):
                continue
            inner = self.scopes.get(member.node)
            if inner is not None and len(member.node.args.args) > 1:
                self.bind_name(member.node.args.args[1].arg, (Const(name),), inner)
            if self.function is not None:
                self.calls.setdefault(self.function, {})[member.node] = None
            groups.append(self.returns.get(member.node, ()))
        return groups

    def foreign_bases(self, node: ast.AST) -> Values:
        """A class of the folder, and those that it derives from: a change of one of them changes other models too."""
        lineage = self.lineage(node)
        foreign: list[Value] = [base for each in lineage for base in self.bases.get(each, ()) if isinstance(base, Ref)]
        every = tuple(dict.fromkeys([*foreign, *(Own(each) for each in lineage)]))
        return union(every, (Many((every,), len(every)),))

    def lineage(self, node: ast.AST) -> list[ast.AST]:
        """A class of the folder with all that it derives from there, as far as they are followed."""
        seen: dict[ast.AST, None] = {node: None}
        for current in (queue := [node]):
            for base in self.bases.get(current, ()):
                if isinstance(base, Own) and base.node not in seen and len(seen) <= LONGEST_LINEAGE:
                    seen[base.node] = None
                    queue.append(base.node)
        return queue

    def class_member(self, node: ast.AST, name: str) -> Values:
        """An attribute of a class of the folder, or of its bases; each class is looked at once."""
        groups: list[Values] = []
        seen = {node}
        for current in (queue := [node]):
            scope = self.scopes.get(current)
            if scope is not None and name in scope.names:
                groups.append(scope.names[name])
            elif scope is not None and len(seen) <= LONGEST_LINEAGE:
                bases = [base.node for base in self.bases.get(current, ()) if isinstance(base, Own)]
                queue += [base for base in bases if isinstance(base, ast.ClassDef) and base not in seen]
                seen |= set(bases)
        return union(*groups)


# What a rule says about a call of a dotted name: what the call gives back, or NOTHING_TO_SAY, and then the next rule
# has its turn. A rule can report and still have nothing to say about the result.
Rule: TypeAlias = Callable[[State, str, Call, Scope], Values | None]
NOTHING_TO_SAY = None


# Names of libraries that are places.
PLACES = {
    **dict.fromkeys(("huggingface_hub.constants.HF_HOME", "huggingface_hub.constants.hf_cache_home"), "$HF_HOME"),
    "huggingface_hub.constants.default_home": "~/.cache",
    **dict.fromkeys(("pwd.getpwuid().pw_dir", "pwd.getpwnam().pw_dir"), "~"),
}


def with_place(path: str) -> Values:
    """A name of a library, with the text that it stands for."""
    return (Ref(path), Const(PLACES[path], soft=True)) if path in PLACES else (Ref(path),)


def _stores_own_name(owners: Values, name: str | None) -> bool:
    """Whether what is stored can be the ``__name__`` of a file of the folder: a function's own is another."""
    modules = [v for v in owners if isinstance(v, Own) and isinstance(v.node, ast.Module)]
    if modules or any(map(SOME_MODULE.match, imported_paths(owners))):
        return name in (None, "__name__", "__dict__")
    return name == "__name__" and all(isinstance(v, Unknown) for v in owners)


def _is_property(node: ast.AST) -> bool:
    decorators = [d for d in getattr(node, "decorator_list", ()) if not isinstance(d, ast.Call)]
    return not {"property", "cached_property"}.isdisjoint(ast.unparse(d).split(".")[-1] for d in decorators)
