"""P49 and P50: what releases of transformers took out of their own code, or changed in it, below a folder's code.

P49: a method that a class of the folder has anew, and that the class of transformers from which it derives calls in
some releases only. P50: a call of a function, constructor or method of transformers with arguments that a release does
not take. In which releases is read from their sources (stock.json.gz).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from pinfold.audit import stock
from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, call_name, chain, is_none, is_self_attribute
from pinfold.audit.rules.certain import CertainCalls
from pinfold.audit.rules.generation import writes_text
from pinfold.audit.rules.guards import guarded
from pinfold.audit.rules.members import built
from pinfold.audit.rules.names import module_aliases
from pinfold.audit.rules.stock_flow import stock_bases
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module
from pinfold.folder.releases import RELEASES, REPLACEMENTS, release_ranges

NOT_CALLED = "P49.always"
REFUSED = ("P50.load", "P50.forward", "P50.generate")
# What a constructor takes as **kwargs, and hands to one that refuses it; where was measured.
HANDED_ON = {("DynamicCache", "config"): "P50.cache_of_config"}
ASKS_FOR = ("signature", "getfullargspec")


def methods_not_called(code: ReachableCode) -> Iterator[Finding]:
    """P49: methods that transformers' own class does not call in every release."""
    loaded = {place.split(".")[-1] for place in code.auto_map.values()} | set(built(code))
    for cls in (name for name in code.classes if name in loaded):
        for place, base in stock_bases(code, cls):
            for method, releases in stock.lost(place, base).items():
                definition = code.folder.method(cls, method)
                if definition is None or _is_called(code, method) or not _goes_on(code, cls, "forward"):
                    continue
                affected = tuple(r for r in releases if _is_supported(code, r))
                if not affected or _hands_on_alone(definition[1]):
                    continue
                certain = all(releases[release] for release in affected)
                yield code.finding(
                    "P49",
                    f"{definition[0]}.{method} is not called in transformers {release_ranges(affected)}: {base} "
                    f"has no such method there, and calls it in others{'' if certain else ' on some conditions'}.",
                    definition[0],
                    definition[1],
                    fix="Do its work in a forward of your own, and give super().forward(...) what comes out of it: "
                    "attention_mask takes a finished mask of four dimensions."
                    * ("mask" in method)
                    or "Do its work in a forward of your own.",
                    releases=affected,
                    severity="error" if certain else WARNING,
                    case=NOT_CALLED,
                )


def _is_called(code: ReachableCode, method: str) -> bool:
    """Whether the folder names a method outside of the methods of that name."""
    inside = {
        node
        for module in code.modules
        for function in every(module.tree, ast.FunctionDef)
        if function.name == method
        for node in every(function, ast.Attribute)
    }
    return any(
        node.attr == method and node not in inside
        for module in code.modules
        for node in every(module.tree, ast.Attribute)
    )


def _goes_on(code: ReachableCode, cls: str, name: str) -> bool:
    """Whether a method of transformers' class runs: the folder's classes do not have it, or go on to it."""
    own = code.folder.method(cls, name)
    return own is None or any(
        call_name(call) == name and isinstance(call.func, ast.Attribute) for call in every(own[1], ast.Call)
    )


def _hands_on_alone(function: ast.FunctionDef) -> bool:
    """return super().method(...) and nothing else, but for a docstring."""
    body = [
        part for part in function.body if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
    ]
    if len(body) != 1 or not isinstance(body[0], ast.Return) or not isinstance(body[0].value, ast.Call):
        return False
    return ast.unparse(body[0].value.func) == f"super().{function.name}"


def _is_supported(code: ReachableCode, release: str) -> bool:
    return tuple(map(int, release.split(".")[:2])) >= code.lowest_version


@dataclass(frozen=True)
class _Use:
    """A call, and what of transformers it calls: (module, name) in order of preference."""

    module: Module
    call: ast.Call
    names: tuple[tuple[str, str], ...]


def arguments(code: ReachableCode, certain: CertainCalls) -> Iterator[Finding]:
    """P50: calls with arguments that a release does not take."""
    for module in code.modules:
        expected: set[ast.AST] | None = None
        for use in _uses(code, module):
            if not (refused := _refused(code, use)):
                continue
            expected = guarded(module, ast.Call, "TypeError", ASKS_FOR) if expected is None else expected
            if use.call in expected:
                continue
            stage = certain.stage.get(use.call, "")
            name = use.names[0][1].removesuffix(".__init__")
            first = refused[min(refused, key=RELEASES.index)]
            affected = tuple(r for r in RELEASES if r in refused)
            other = sorted({words for words in refused.values()} - {first})
            yield Finding(
                "P50",
                f"{module.file}:{use.call.lineno}: {module.text(use.call, 60)} raises a TypeError in transformers "
                f"{release_ranges(affected)}: {name} {first} there{', or ' + other[0] if other else ''}.",
                module.file,
                use.call.lineno,
                fix=_cure(name, first),
                releases=affected,
                severity="error" if stage else WARNING,
                case=f"P50.{stage}" if stage else "",
            )


def _cure(name: str, why: str) -> str:
    """What to do about a call that raises."""
    if name in REPLACEMENTS:
        return f"Use {REPLACEMENTS[name]}."
    argument = why.removeprefix("takes no ")
    without = f", or do without {argument}" if argument.isidentifier() else ""
    return f"Ask inspect.signature({name}) what it takes{without}."


def _refused(code: ReachableCode, use: _Use) -> dict[str, str]:
    """Release -> why it raises there."""
    refused: dict[str, str] = {}
    known: set[str] = set()
    for place, name in use.names:
        for release, parameters in stock.parameters(place, name).items():
            if release not in known and _is_supported(code, release):
                known.add(release)
                if why := parameters.refuses(use.call):
                    refused[release] = why
    for (name, argument), case in HANDED_ON.items():
        values = [k.value for k in use.call.keywords if k.arg == argument and not is_none(k.value)]
        if values and use.names[0][1] == name:
            refused |= {r: f"takes no {argument}" for r in harmed(case, code.lowest_version) if r in known}
    return refused


def _uses(code: ReachableCode, module: Module) -> Iterator[_Use]:
    """Calls of what a file imports from transformers, and of what its classes inherit from there."""
    bound = _bound(module)
    taken = {name: place for name, place in module.imports.items() if place[0].split(".")[0] == "transformers"}
    modules = module_aliases(module)
    for call in every(module.tree, ast.Call):
        path = chain(call.func)
        if not path or path[0] in bound or isinstance(call.func, ast.Subscript):
            continue
        if path[0] in modules and len(path) > 1:  # masking_utils.create_causal_mask(...)
            yield _Use(module, call, ((".".join([modules[path[0]], *path[1:-1]]), path[-1]),))
        elif path[0] in taken and len(path) == 1:
            yield _Use(module, call, (taken[path[0]],))
        elif path[0] in taken and len(path) == 2 and not _is_bound_by_hand(call):
            place, name = taken[path[0]]
            yield _Use(module, call, ((place, f"{name}.{path[1]}"),))
    for cls, (where, node) in code.folder.classes.items():
        if where is module:
            yield from _inherited(code, module, cls, node)


def _bound(module: Module) -> set[str]:
    """Names that stand for something of the folder's own somewhere in a file."""
    names = {n.id for n in every(module.tree, ast.Name) if isinstance(n.ctx, ast.Store)}
    names |= {n.name for n in module.tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    names |= {n.arg for n in every(module.tree, ast.arg)}
    for node in every(module.tree, ast.ImportFrom):  # one of two imports of a name, in a try
        if node.level or (node.module or "").split(".")[0] != "transformers":
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def _is_bound_by_hand(call: ast.Call) -> bool:
    """Base.method(self, ...)"""
    return bool(call.args) and isinstance(call.args[0], ast.Name) and call.args[0].id in ("self", "cls")


def _inherited(code: ReachableCode, module: Module, cls: str, node: ast.ClassDef) -> Iterator[_Use]:
    """super().__init__(...), super().method(...) and self.method(...), where the method is transformers' own."""
    bases = list(stock_bases(code, cls))
    if cls in code.models and writes_text(code, cls):
        bases.append(("transformers", "GenerationMixin"))
    inner = [call for nested in every(node, ast.ClassDef) if nested is not node for call in every(nested, ast.Call)]
    for call in every(node, ast.Call) if bases else ():
        func = call.func
        if not isinstance(func, ast.Attribute) or call in inner:
            continue
        of_super = isinstance(func.value, ast.Call) and call_name(func.value) == "super"
        if not of_super and not is_self_attribute(func):
            continue
        names = tuple((place, f"{base}.{func.attr}") for place, base in bases)
        if func.attr == "__init__":
            names = tuple([base for base in bases if stock.parameters(*base)][:1])
        if any(stock.parameters(*name) for name in names) and not _is_of_folder(code, cls, func.attr, of_super):
            yield _Use(module, call, names)


def _is_of_folder(code: ReachableCode, cls: str, method: str, of_super: bool) -> bool:
    """Whether a class of the folder has the method that is called."""
    if of_super:
        owners = [base for base in code.folder.own_bases(cls) if base in code.folder.classes]
    else:
        owners = [name for name in code.classes if cls in code.folder.lineage(name)]
    return any(code.folder.method(owner, method) for owner in owners)
