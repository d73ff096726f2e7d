"""Make stock.json.gz: what the functions and classes of each transformers release take, call and return.

    python scripts/stock.py

Run it when scripts/releases.py is run, and for the same releases: those of its table. It reads sources, from this
environment, runs/overlays or the package index, and imports none.

How it works:
- parameters: of functions, constructors and methods, written as in Python; of models' files those of functions and
  constructors alone, and of a forward that takes something else in other releases. Code that was written for an older
  release than the first of these can fail in all of them.
- lost: methods of model classes and their layers that forward calls in some releases, and that the class does not have
  in others. A class that derives from it and has the method anew is then not asked.
- returns, parts, hands: what the modules of models return, which modules they build, and how they call them
  (stock_flow.py); of these only what changes between releases, or how many values a tuple has, and the parts on the
  way to it.
- attention: parts of models that look attention up by the choice alone, which a model makes (stock_parts.py).
"""

import ast
import concurrent.futures
import datetime
import gzip
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from releases import LEFT_OUT, read_files, sources
from stock_flow import File, Flow
from stock_parts import looking_up

from pinfold.common.trees import every
from pinfold.folder.releases import RELEASES

TABLE = Path(__file__).resolve().parents[1] / "pinfold" / "audit" / "stock.json.gz"
# Decorators that hand on what they get. deprecate_kwarg takes an older name too.
TRANSPARENT = (  # noqa: SIM905
    "abstractmethod add_code_sample_docstrings add_end_docstrings add_start_docstrings "
    "add_start_docstrings_to_model_forward auto_docstring can_return_tuple classmethod contextmanager deprecate_func "
    "deprecate_kwarg dynamic_rope_update lru_cache no_grad replace_return_docstrings requires staticmethod "
    "torch_compilable_check unused wraps"
).split()
# What model code takes nothing from.
NOT_READ = re.compile(
    r"^transformers\.(agents|benchmark|commands|convert_|core_model_loading|data|debug_utils|dependency|distributed|exporters"
    r"|hf_argparser|hyperparameter|kernels|keras_|modelcard|onnx|optimization|pipelines|quantizers|safetensors_conversion"
    r"|sagemaker|testing_utils|tf_|trainer|training_args|modeling_(tf|flax)_|generation\.(continuous|flax|tf|watermark|candidate)"
    r"|integrations\.(?!sdpa|eager|flash|flex)|utils\.(doc|dummy|hub|import_utils|notebook|quantization|sentencepiece_model)"
    r"|models\.(?!.*\.modeling_(?!tf_|flax_)))"
)
WITHOUT = f"{LEFT_OUT.pattern}|{NOT_READ.pattern}"
UNKNOWN = "?"  # anything may be handed over
FORWARD = "forward"
NO_CONSTRUCTOR = ("object", "ABC", "Generic", "Protocol")  # bases that add no parameter
OF_TORCH = set(dir(torch.nn.Module))
SAYS_FIELDS = ("ModelOutput", "OrderedDict", "UserDict", "NamedTuple", "TypedDict", "Enum", "ExplicitEnum", "str")
Function = ast.FunctionDef | ast.AsyncFunctionDef
Called = tuple[set[str], set[str], set[str]]


@dataclass
class Method:
    """A function: its parameters, and the methods of self that it calls, on every way through it and on some."""

    takes: str
    always: set[str] = field(default_factory=set)
    somewhere: set[str] = field(default_factory=set)


@dataclass
class Class:
    """A class: its bases as they are written, its methods, and whether something else makes its constructor."""

    bases: list[str]
    methods: dict[str, Method]
    odd: bool


@dataclass
class Facts:
    """What one file says: functions at its top, classes, and imported names -> (level, module, name there)."""

    functions: dict[str, str] = field(default_factory=dict)
    classes: dict[str, Class] = field(default_factory=dict)
    imported: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    flows: dict[str, Flow] = field(default_factory=dict)


def facts_of(source: str, calls: bool) -> Facts:
    """Read one file. A name that is defined twice, as on two sides of a condition, is not known.

    Args:
        calls: it is one of models: which methods its methods call, and what its modules return, is asked for too.
    """
    facts = Facts()
    statements = list(_top(ast.parse(source).body))
    facts.flows = File(statements).flows() if calls else {}
    for node in statements:
        if isinstance(node, ast.ImportFrom):
            facts.imported |= {a.asname or a.name: (node.level, node.module or "", a.name) for a in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            twice = node.name in facts.functions
            facts.functions[node.name] = UNKNOWN if twice else takes(node, False)
        elif isinstance(node, ast.ClassDef):
            twice = node.name in facts.classes
            facts.classes[node.name] = _class(node, calls)
            facts.classes[node.name].odd |= twice
        elif isinstance(node, ast.Assign):
            for target in (t.id for t in node.targets if isinstance(t, ast.Name)):
                facts.functions.pop(target, None)
    return facts


def _top(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements at the top of a file, in its conditions and guards too."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from _top([*node.body, *node.orelse])
            for handler in getattr(node, "handlers", []):
                yield from _top(handler.body)


def _class(node: ast.ClassDef, calls: bool) -> Class:
    methods: dict[str, Method] = {}
    bodies: dict[str, Function] = {}
    for item in _top(node.body):
        if isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
            methods[item.name] = Method(UNKNOWN if item.name in methods else takes(item, True))
            bodies[item.name] = item
        for target in getattr(item, "targets", []):  # forward = other
            if isinstance(target, ast.Name):
                methods[target.id] = Method(UNKNOWN)
    pending = ["forward"] if "forward" in bodies else list(bodies) if calls else []
    while pending and calls:  # what forward does not come to is not asked for
        name = pending.pop()
        if name in bodies:
            body = bodies.pop(name)
            methods[name].always, methods[name].somewhere = set(_always(body.body)), _calls(body)
            pending += methods[name].somewhere
    bases = [ast.unparse(base.value if isinstance(base, ast.Subscript) else base) for base in node.bases]
    odd = bool(node.keywords) or any(base.split(".")[-1] in SAYS_FIELDS for base in bases)
    odd |= any(
        _word(each) not in ("auto_docstring", "requires", "add_start_docstrings") for each in node.decorator_list
    )
    return Class(bases, methods, odd or "__new__" in methods)


def _word(node: ast.expr) -> str:
    """The last word of a decorator or of what a call calls."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def takes(function: Function, of_class: bool) -> str:
    """Parameters of a function, as Python writes them but without values; self is left out. old=new: another name.

    >>> takes(ast.parse("def f(self, a, b=1, *, c, **kwargs): pass").body[0], True)
    'a b= * c **'
    """
    words = [_word(each) for each in function.decorator_list]
    if any(word not in TRANSPARENT for word in words):
        return UNKNOWN
    signature = function.args
    positional = [*signature.posonlyargs, *signature.args]
    without = len(positional) - len(signature.defaults)
    parts = [each.arg + "=" * (place >= without) for place, each in enumerate(positional)]
    parts = parts[1:] if of_class and "staticmethod" not in words else parts
    by_name = [
        each.arg + "=" * (default is not None)
        for each, default in zip(signature.kwonlyargs, signature.kw_defaults, strict=True)
    ]
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and _word(decorator) == "deprecate_kwarg" and decorator.args:
            new = [ast.literal_eval(k.value) for k in decorator.keywords if k.arg == "new_name"]
            by_name += [
                f"{old.value}={(new or [''])[0]}" for old in decorator.args[:1] if isinstance(old, ast.Constant)
            ]
        elif _word(decorator) == "can_return_tuple" and "return_dict=" not in parts + by_name:
            by_name.append("return_dict=")
    if signature.vararg:
        parts.append("*args")
    elif by_name:
        parts.append("*")
    by_name = list(dict.fromkeys(by_name))
    return " ".join([*parts, *by_name, *(["**"] if signature.kwarg else [])])


def _calls(node: ast.AST) -> set[str]:
    """Methods of self that are called in a node."""
    return {
        call.func.attr
        for call in every(node, ast.Call)
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "self"
    }


def _always(body: list[ast.stmt]) -> Iterator[str]:
    """The same, of those that each call of a function comes to: not what is in conditions or behind a return."""
    for statement in body:
        if isinstance(statement, (ast.With, ast.For)):
            yield from _always(statement.body)
        elif isinstance(statement, ast.If):
            yield from _calls(statement.test)
        elif not isinstance(statement, (ast.Try, ast.While, ast.FunctionDef, ast.ClassDef)):
            conditions = every(statement, ast.IfExp, ast.BoolOp, ast.Lambda)
            yield from _calls(statement) - {name for node in conditions for name in _calls(node)}
        if isinstance(statement, ast.Raise) or every(statement, ast.Return):  # a raise below ends calls that are wrong
            return


class Release:
    """One transformers package."""

    def __init__(self, texts: dict[str, str], read: dict[bytes, Facts]):
        self.facts, self.packages = read_files(
            texts,
            read,
            lambda text, name: facts_of(text, ".models." in name),
            f"{LEFT_OUT.pattern}|{NOT_READ.pattern}",
        )
        self._lineages: dict[tuple[str, str], list[tuple[str, Class | None]]] = {}

    def place(self, module: str, name: str, seen: tuple = ()) -> tuple[str, str] | None:
        """Where a class that a module names is defined."""
        facts = self.facts.get(module)
        if facts is None or (module, name) in seen:
            return None
        if name in facts.classes:
            return module, name
        level, there, original = facts.imported.get(name, (0, "", ""))
        parts = module.split(".")
        above = parts[: len(parts) - level + (module in self.packages)] if level else []
        return self.place(".".join([*above, *([there] if there else [])]), original, (*seen, (module, name)))

    def lineage(self, module: str, name: str) -> list[tuple[str, Class | None]]:
        """A class and its bases, nearest first; None for one that is not of transformers."""
        if (module, name) not in self._lineages:
            self._lineages[(module, name)] = list(self._lineage(module, name, ()))
        return self._lineages[(module, name)]

    def _lineage(self, module: str, name: str, seen: tuple) -> Iterator[tuple[str, Class | None]]:
        place = self.place(module, name.split(".")[-1]) if "." not in name else None
        if place is None or place in seen:
            yield name.split(".")[-1], None
            return
        cls = self.facts[place[0]].classes[place[1]]
        yield place[1], cls
        for base in cls.bases:
            yield from self._lineage(place[0], base, (*seen, place))

    def method(self, module: str, cls: str, name: str) -> str:
        """The parameters of a method, as far as they can be known."""
        for word, owner in self.lineage(module, cls):
            if owner is None:
                if word not in NO_CONSTRUCTOR and not (word == "Module" and name not in OF_TORCH):
                    return UNKNOWN
            elif name in owner.methods:
                return owner.methods[name].takes
            elif owner.odd and name == "__init__":
                return UNKNOWN
        return UNKNOWN

    def parameters(self) -> dict[tuple[str, str], str]:
        """Module and "function", "Class" or "Class.method" -> parameters."""
        table: dict[tuple[str, str], str] = {}
        for module, facts in self.facts.items():
            table |= {(module, name): parameters for name, parameters in facts.functions.items()}
            for name, cls in facts.classes.items():
                table[(module, name)] = UNKNOWN if cls.odd else self.method(module, name, "__init__")
                if ".models." in module:
                    if any(owner and FORWARD in owner.methods for _, owner in self.lineage(module, name)):
                        table[(module, f"{name}.{FORWARD}")] = self.method(module, name, FORWARD)
                    continue
                inherited = {each for _, owner in self.lineage(module, name) if owner for each in owner.methods}
                table |= {(module, f"{name}.{m}"): self.method(module, name, m) for m in inherited if m[:2] != "__"}
        return table

    def called(self) -> dict[tuple[str, str], Called]:
        """Module and class -> methods that its forward calls always, and sometimes, and all that it has."""
        table = {}
        for module, facts in self.facts.items():
            if ".models." not in module or ".modeling_" not in module:
                continue
            for name in facts.classes:
                owners = [owner for _, owner in self.lineage(module, name) if owner]
                methods: dict[str, Method] = {}
                for owner in reversed(owners):
                    methods |= owner.methods
                if "forward" in methods:
                    always = _reached(methods, lambda method: method.always)
                    table[(module, name)] = always, _reached(methods, lambda m: m.somewhere), set(methods)
        return table


def _reached(methods: dict[str, Method], calls: Callable[[Method], set[str]]) -> set[str]:
    """Methods that forward comes to."""
    reached, pending = set(), ["forward"]
    while pending:
        for name in calls(methods[pending.pop()]):
            if name in methods and name not in reached:
                reached.add(name)
                pending.append(name)
    return reached


def ranges(present: list[bool]) -> str:
    """Runs of releases as releases.json.gz has them: "4.48-4.52 5.0-"; the last goes up to the newest."""
    minors = [".".join(release.split(".")[:2]) for release in RELEASES]
    runs, start = [], None
    for position, there in enumerate([*present, False]):
        if there and start is None:
            start = position
        elif not there and start is not None:
            runs.append(f"{minors[start]}-{minors[position - 1] if position < len(present) else ''}")
            start = None
    return " ".join(runs)


def of_parameters(tables: list[dict[tuple[str, str], str]]) -> dict[str, dict[str, dict[str, str]]]:
    """Module -> name in it -> releases -> parameters; left out where anything may be handed over."""
    known: dict[str, dict[str, dict[str, str]]] = {}
    for place in sorted(set().union(*tables)):
        each = [table.get(place) for table in tables]
        variants = [v for v in dict.fromkeys(each) if v is not None and v != UNKNOWN and v != "*args **"]
        if len(variants) > (".models." in place[0] and place[1].endswith(f".{FORWARD}")):
            row = {ranges([one == variant for one in each]): variant for variant in variants}
            known.setdefault(place[0], {})[place[1]] = row
    return known


def of_lost(tables: list[dict[tuple[str, str], Called]]) -> dict[str, dict[str, dict[str, str]]]:
    """Module -> class -> releases in which it lacks them -> methods that it calls in others.

    A method that forward comes to on some conditions has a "?".
    """
    lost: dict[str, dict[str, dict[str, str]]] = {}
    for name in sorted(set().union(*tables)):
        each = [table.get(name) for table in tables]
        there = [part for part in each if part is not None]
        for method in sorted(set().union(*(part[1] for part in there))):
            lacks = [part is not None and method not in part[2] for part in each]
            if any(lacks):
                certain = all(method in part[0] for part in there if method in part[2])
                row = lost.setdefault(name[0], {}).setdefault(name[1], {})
                row[ranges(lacks)] = f"{row.get(ranges(lacks), '')} {method}{'' if certain else '?'}".strip()
    return lost


def of_attention(tables: list[dict[str, set[str]]]) -> dict[str, dict[str, str]]:
    """Module -> class -> releases in which it looks attention up."""
    modules = sorted({module for table in tables for module in table})
    return {
        module: {
            name: ranges([name in table.get(module, ()) for table in tables])
            for name in sorted({name for table in tables for name in table.get(module, ())})
        }
        for module in modules
    }


def of_flows(releases: list[Release]) -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    """Kind -> module -> class, or class and attribute -> releases -> what Flow has of it."""
    flows: dict[str, dict[str, dict[str, dict[str, str]]]] = {"returns": {}, "parts": {}, "hands": {}}
    modules = sorted({module for release in releases for module, facts in release.facts.items() if facts.flows})
    for module in modules:
        each = [release.facts[module].flows if module in release.facts else {} for release in releases]
        returns = _rows([{name: flow.returns for name, flow in row.items()} for row in each])
        hands = _rows([_of_parts({n: flow.hands for n, flow in row.items()}) for row in each])
        parts = _rows([_of_parts({n: flow.parts for n, flow in row.items()}) for row in each])
        kept = {name: row for name, row in hands.items() if len(row) > 1}
        changed = {name: row for name, row in returns.items() if len(row) > 1 or _is_counted(row)}
        known = {*changed, *(name.partition(".")[0] for name in kept)}
        leads = _that_lead(parts, known)
        for kind, rows in (("returns", changed), ("parts", leads), ("hands", kept)):
            if rows:
                flows[kind][module] = rows
    return flows


def _is_counted(row: dict[str, str]) -> bool:
    """Whether it is always a tuple of so many: code for an older release can expect another number of them."""
    return all(text.isdigit() and int(text) > 1 for text in row.values())


def _of_parts(classes: dict[str, dict[str, str]]) -> dict[str, str]:
    return {f"{name}.{part}": text for name, parts in classes.items() for part, text in parts.items()}


def _rows(each: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    """Name -> releases -> text, of the releases in which there is one."""
    rows = {}
    for name in sorted(set().union(*each)):
        texts = [part.get(name, "") for part in each]
        if any(texts):
            rows[name] = {ranges([text == one for text in texts]): one for one in dict.fromkeys(texts) if one}
    return rows


def _that_lead(parts: dict[str, dict[str, str]], known: set[str]) -> dict[str, dict[str, str]]:
    """Parts that are of classes of which something is known, or that have such parts."""
    while True:
        leads = {n: row for n, row in parts.items() if any(text.removesuffix("*") in known for text in row.values())}
        further = {name.partition(".")[0] for name in leads} - known
        if not further:
            return leads
        known |= further


def read_together(texts: dict[str, str], read: dict[bytes, Facts], pool: concurrent.futures.Executor) -> None:
    """Read the files of a release that are in no earlier one, in several processes."""
    further: dict[bytes, tuple[str, bool]] = {}
    for file, text in texts.items():
        name = file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        digest = hashlib.sha256(text.encode()).digest()
        if digest not in read and not re.search(WITHOUT, name):
            further[digest] = text, ".models." in name
    if further:
        all_facts = pool.map(facts_of, *zip(*further.values(), strict=True), chunksize=4)
        read.update(zip(further, all_facts, strict=True))


def make(versions: Iterable[str], pool: concurrent.futures.Executor) -> dict:
    """The table, for releases in ascending order."""
    read: dict[bytes, Facts] = {}
    parameters, called, releases, attention = [], [], [], []
    for version in versions:
        texts = sources(version)
        read_together(texts, read, pool)
        releases.append(Release(texts, read))
        parameters.append(releases[-1].parameters())
        called.append(releases[-1].called())
        attention.append(looking_up(texts))
        print(f"transformers {version}: {len(parameters[-1])} functions and classes", flush=True)
    return {
        "made": f"python scripts/stock.py, {datetime.date.today()}",
        "releases": list(versions),
        "parameters": of_parameters(parameters),
        "lost": of_lost(called),
        **of_flows(releases),
        "attention": of_attention(attention),
    }


def main() -> int:
    """Read every release and write the table."""
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        text = json.dumps(make(RELEASES, pool), indent=0) + "\n"
    TABLE.write_bytes(gzip.compress(text.encode(), mtime=0))  # no time: the same table gives the same bytes
    print(f"{TABLE}: {TABLE.stat().st_size / 1e3:.0f} KB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
