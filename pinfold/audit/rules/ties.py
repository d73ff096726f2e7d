"""Rules about tied weights (P11): the one way that all releases understand, and those that fail in some of them."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    argument,
    assignments,
    call_name,
    chain,
    is_config,
    is_none,
    makes,
    own_nodes,
    string,
)
from pinfold.audit.rules.embeddings import HEAD, has_input_embeddings
from pinfold.audit.rules.files import asked_of_transformers
from pinfold.audit.rules.members import mains
from pinfold.audit.rules.model import has_weights
from pinfold.audit.rules.names import asks_for_version, version_names
from pinfold.audit.rules.saving import same_modules
from pinfold.audit.rules.weights import stored_apart, stored_names
from pinfold.common.trees import every
from pinfold.folder.releases import release_ranges


def tied_keys(code: ReachableCode) -> Iterator[Finding]:
    """P11 and P11b: ties in a form that one of the two major versions does not know."""
    # transformers 5 reads the keys while loading where weights are tied, and in save_pretrained always
    tied = code.configs.get("config.json", {}).get("tie_word_embeddings", ties(code)) is True
    for cls in code.classes:
        if code.folder.kind(cls) != "model":
            continue
        by_version = _chosen_by_version(code, cls)
        for node in every(code.folder.classes[cls][1], *ASSIGNMENTS):
            for target, value in assignments(node) if not by_version else ():
                named = chain(target)[-1:] == ["_tied_weights_keys"] and not isinstance(target, ast.Subscript)
                if named and (kind := _not_a_dict(code, cls, value)):
                    yield code.finding(
                        "P11",
                        f'{cls}._tied_weights_keys is a {kind}; transformers 5 needs {{"target": "source"}}.',
                        cls,
                        node,
                        case="P11.list" if tied else _case_of_list(code, cls, value),
                    )
    for cls in code.models:
        by_version = any(_chosen_by_version(code, owner) for owner in code.folder.lineage(cls))
        if not code.folder.is_stock(cls) and not by_version:
            yield from _ties(code, cls)


def _chosen_by_version(code: ReachableCode, cls: str) -> bool:
    """Whether the version, or what transformers has, decides on a class's keys: each release gets its own form."""
    module, node = code.folder.classes[cls]
    names = version_names(module)
    return any(
        chain(target)[-1:] == ["_tied_weights_keys"]
        for choice in every(node, ast.If)
        if asks_for_version(choice, names)
        for part in every(choice, *ASSIGNMENTS)
        for target, _ in assignments(part)
    )


def _case_of_list(code: ReachableCode, cls: str, value: ast.expr | None) -> str:
    """What a list of keys does where no settings say that weights are tied: transformers 4 ties a head, 5 does not."""
    silent = ties(code) is None and "tie_word_embeddings" not in code.configs.get("config.json", {})
    keys = [text for key in _targets(value) if (text := string(key))]
    heads = {f"{name}.weight" for name in _places(code, cls, "get_output_embeddings")} & set(keys)
    if not (silent and heads) or cls not in mains(code) or code.lowest_version >= (5, 0):
        return "P11.list_untied"
    return "P11.list_untied" if heads & stored_names(code.directory) else "P11.list_no_flag"


def _not_a_dict(code: ReachableCode, cls: str, value: ast.expr | None) -> str | None:
    if isinstance(value, ast.Name):  # a constant of the same file
        for node in code.folder.classes[cls][0].tree.body:
            value = next((v for t, v in assignments(node) if isinstance(t, ast.Name) and t.id == value.id), value)
            if not isinstance(value, ast.Name):
                break
    if isinstance(value, ast.BinOp):
        return _not_a_dict(code, cls, value.left)
    kinds = {ast.List: "list", ast.ListComp: "list", ast.Tuple: "tuple", ast.Set: "set", ast.SetComp: "set"}
    if isinstance(value, ast.Call) and call_name(value) in ("list", "tuple", "set", "frozenset"):
        return call_name(value)
    if isinstance(value, ast.Constant) and value.value is not None:
        return type(value.value).__name__
    return kinds.get(type(value))


def _ties(code: ReachableCode, cls: str) -> Iterator[Finding]:
    keys, flag = code.folder.attribute(cls, "_tied_weights_keys"), ties(code)
    exposed = code.folder.method(cls, "get_output_embeddings")
    returns = exposed and not all(
        node.value is None or is_none(node.value) or _of_part(node.value)
        for node in own_nodes(exposed[1])
        if isinstance(node, ast.Return)
    )
    says = (flag, code.configs.get("config.json", {}).get("tie_word_embeddings"))
    if isinstance(keys, ast.Dict) and keys.keys and exposed and returns and False not in says:
        yield from _not_declared(code, cls, keys, exposed[1])
    if isinstance(keys, ast.Dict) and keys.keys and _are_one(code, cls, keys):
        return
    if isinstance(keys, ast.Dict) and keys.keys:
        yield from _declared(code, cls, keys, says)
    elif exposed and returns and (keys is None or is_none(keys)) and False not in says:
        if _is_the_input(code, cls, exposed[1]):
            return
        override = code.folder.method(cls, "tie_weights")
        if override and _is_switched_off(override[1], code.configs.get("config.json", {})):
            return
        if any(stored_apart(code.directory, f"{name}.weight") for name in _returned(exposed[1])):
            fault = "ties the two, and what the checkpoint has for the head is lost."
            fix = "Take tie_word_embeddings=False in the configuration's __init__ and pass it to super().__init__."
        else:
            fault = 'ties the two, transformers 5 needs {"target": "source"} and leaves the head random.'
            fix = "Or set tie_word_embeddings=False in the configuration."
        yield code.finding(
            "P11",
            f"{cls}._tied_weights_keys is missing although get_output_embeddings is defined: transformers 4 {fault}",
            cls,
            fix=fix,
            case="P11.dynamic_keys" if override and takes_any_arguments(override[1]) else "P11.missing",
        )


def _not_declared(code: ReachableCode, cls: str, keys: ast.Dict, exposed: ast.FunctionDef) -> Iterator[Finding]:
    """P11 of a head that is exposed, and that keys about other weights leave out: transformers 4 ties it."""
    if _is_the_input(code, cls, exposed):
        return
    named = [text for node in (*keys.keys, *keys.values) if (text := string(node))]
    for head in _returned(exposed) if len(named) == 2 * len(keys.keys) else ():
        weight = f"{head}.weight"
        if any(re.search(text, weight) or weight.endswith(f".{text}") for text in named if _compiles(text)):
            return
        yield code.finding(
            "P11",
            f"{cls}._tied_weights_keys leaves out {weight}, which get_output_embeddings returns: transformers 4 ties "
            "it to the input embeddings, and 5 does not.",
            cls,
            fix=f'Where they are tied, add "{weight}" to the keys; where not, let get_output_embeddings return None.',
            case="P11.head_not_declared",
        )


def _compiles(pattern: str) -> bool:
    """Whether a key can be read as a regular expression, as transformers reads it."""
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _declared(code: ReachableCode, cls: str, keys: ast.Dict, says: tuple) -> Iterator[Finding]:
    """P11b and P11g of a class with tied keys.

    Args:
        says: what the configuration class and config.json have for tie_word_embeddings.
    """
    first = string(keys.keys[0]) or "its target"
    apart = stored_apart(code.directory, first)
    if says[0] is None and "tie_word_embeddings" not in code.configs.get("config.json", {}):
        harm = f"transformers 4 ties {first}, and what the checkpoint has for it is lost"
        yield code.finding(
            "P11b",
            f"{cls}._tied_weights_keys is set but config.json has no tie_word_embeddings: "
            f"{harm if apart else f'transformers 5 leaves {first} random'}.",
            cls,
            fix=f"Take tie_word_embeddings={not apart} in the configuration's __init__ and pass it to "
            "super().__init__.",
        )
    if apart or False in says:  # the keys tie nothing
        return
    yield from _taken_for_loaded(code, cls, first)
    exposed = code.folder.method(cls, "get_output_embeddings") or code.folder.method(cls, "_tie_weights")
    weights = any((string(key) or "").endswith("weight") for key in keys.keys)
    case = "P11b.not_exposed" + "_lm_head" * (first == f"{HEAD}.weight" and has_input_embeddings(code, cls))
    if weights and not exposed and code.lowest_version < (5, 0):
        yield code.finding(
            "P11b",
            f"{cls}._tied_weights_keys is set but get_output_embeddings is not defined: transformers 4 leaves "
            f"{first} random.",
            cls,
            fix="Define get_output_embeddings and set_output_embeddings.",
            releases=harmed(case, code.lowest_version),
            case=case,
        )


def _are_one(code: ReachableCode, cls: str, keys: ast.Dict) -> bool:
    """Whether each target and its source are one module under two names, which needs no tying."""
    pairs = [(string(key), string(value)) for key, value in zip(keys.keys, keys.values, strict=True)]
    groups = same_modules(code, cls)
    return all(
        target and source and any(_held_by(target, names) and _held_by(source, names) for names in groups)
        for target, source in pairs
    )


def _held_by(weight: str, names: list[str]) -> bool:
    return any(weight.startswith(f"{name}.") for name in names)


def _is_switched_off(override: ast.FunctionDef, config: dict) -> bool:
    """Whether all that a tie_weights of the code's own does is below a setting that config.json has as False."""
    body = override.body[1:] if ast.get_docstring(override) is not None else override.body
    only = body[0] if len(body) == 1 else None
    if not isinstance(only, ast.If) or only.orelse or not isinstance(only.test, ast.Attribute):
        return False
    return is_config(only.test.value) and config.get(only.test.attr) is False


def _taken_for_loaded(code: ReachableCode, cls: str, first: str) -> Iterator[Finding]:
    """P11g: transformers 5.3 looks for modules that are tied, and takes tied weights of remote code for loaded ones.

    mark_tied_weights_as_initialized of modeling_utils.py, 5.3.0, puts their names out of those that are missing, and
    tie_weights then believes that the file has both; 5.4.0 leaves them in.
    """
    asked = asked_of_transformers(code.folder, code.directory, code.home)
    affected = tuple(filter(asked.contains, harmed("P11g.plain", code.lowest_version)))
    if affected and not code.folder.method(cls, "mark_tied_weights_as_initialized"):
        yield code.finding(
            "P11g",
            f"{cls}: transformers {release_ranges(affected)} takes tied weights of remote code for loaded, and leaves "
            f"{first} empty.",
            cls,
            fix="Ask for another release, requirements.txt with transformers!=5.3.*; or override "
            "mark_tied_weights_as_initialized, and put the names of all_tied_weights_keys back into missing_keys.",
            releases=affected,
            severity=WARNING,
        )


def _returned(method: ast.FunctionDef | None) -> Iterator[str]:
    """The attributes that a method returns: "lm_head" of `return self.lm_head`."""
    for node in own_nodes(method) if method else ():
        path = chain(node.value) if isinstance(node, ast.Return) else []
        if path[:1] == ["self"] and len(path) > 1:
            yield ".".join(path[1:])


def _is_the_input(code: ReachableCode, cls: str, exposed: ast.FunctionDef) -> bool:
    """Whether get_output_embeddings returns the input embeddings themselves: one name, and nothing to tie."""
    values = [n.value for n in own_nodes(exposed) if isinstance(n, ast.Return) and n.value and not is_none(n.value)]
    inputs, outputs = _places(code, cls, "get_input_embeddings"), _places(code, cls, "get_output_embeddings")
    asked = [isinstance(value, ast.Call) and chain(value.func) == ["self", "get_input_embeddings"] for value in values]
    return bool(values) and (all(asked) or (bool(outputs) and len(outputs) == len(values) and outputs <= inputs))


def _places(code: ReachableCode, cls: str, name: str, deep: int = 3) -> set[str]:
    """What a method returns, from the model on: "model.embed" of self.model.embed, or of a part that returns it."""
    method, places = code.folder.method(cls, name), set(_returned((code.folder.method(cls, name) or ("", None))[1]))
    for node in own_nodes(method[1]) if method and deep else ():
        value = node.value if isinstance(node, ast.Return) else None
        path = chain(value.func) if isinstance(value, ast.Call) else []
        if len(path) == 3 and path[0] == "self" and path[2].endswith("_embeddings"):
            built = _built(code, cls, path[1])
            places |= {f"{path[1]}.{each}" for part in built for each in _places(code, part, path[2], deep - 1)}
    return places


def _built(code: ReachableCode, cls: str, attribute: str) -> set[str]:
    """The folder's classes that self.attribute is made of."""
    return {
        call_name(value)
        for owner in code.folder.lineage(cls)
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS)
        for target, value in assignments(node)
        if isinstance(value, ast.Call) and chain(target) == ["self", attribute]
    } & set(code.folder.classes)


def _of_part(value: ast.expr) -> bool:
    """`self.decoder.get_output_embeddings()`: the part ties its own weights."""
    return isinstance(value, ast.Call) and call_name(value) == "get_output_embeddings"


def ties(code: ReachableCode) -> bool | None:
    """What the configuration class says about tie_word_embeddings; None if it never sets it."""
    registered = code.auto_map.get("AutoConfig", "").split(".")[-1]
    if registered in code.config_classes and code.folder.is_stock(registered):
        own = says_of_ties(code, registered)
        return _is_not_false(own) if own else True
    values: list[ast.expr | None] = []
    for cls in code.config_classes:
        if code.folder.is_stock(cls):
            return True
        values += says_of_ties(code, cls)
    return _is_not_false(values) if values else None


def _is_not_false(values: list[ast.expr | None]) -> bool:
    return not all(isinstance(value, ast.Constant) and value.value is False for value in values)


def says_of_ties(code: ReachableCode, cls: str) -> list[ast.expr | None]:
    """What a class sets tie_word_embeddings to; an argument of its constructor is its default."""
    values: list[ast.expr | None] = []
    node = code.folder.classes[cls][1]
    for inner in every(node, *ASSIGNMENTS, ast.Call, ast.Dict):
        for target, value in assignments(inner):
            named = chain(target)[-1:] == ["tie_word_embeddings"]
            if named or (isinstance(target, ast.Subscript) and string(target.slice) == "tie_word_embeddings"):
                values.append(value)
        if isinstance(inner, ast.Call):
            values += [k.value for k in inner.keywords if k.arg == "tie_word_embeddings"]
            if call_name(inner) == "setdefault" and string(argument(inner, 0, "")) == "tie_word_embeddings":
                values.append(argument(inner, 1, ""))
        if isinstance(inner, ast.Dict):
            pairs = zip(inner.keys, inner.values, strict=True)
            values += [value for key, value in pairs if string(key) == "tie_word_embeddings"]
    init = code.folder.method(cls, "__init__")
    if not init:
        return values
    signature = init[1].args
    positional = [*signature.posonlyargs, *signature.args]
    optional = positional[-len(signature.defaults) :] if signature.defaults else []
    defaults: dict[str, ast.expr | None] = {}
    defaults |= {a.arg: default for a, default in zip(optional, signature.defaults, strict=True)}
    defaults |= {a.arg: d for a, d in zip(signature.kwonlyargs, signature.kw_defaults, strict=True)}
    return [defaults.get(v.id, v) if isinstance(v, ast.Name) else v for v in values]


def shared_weights(code: ReachableCode) -> Iterator[Finding]:
    """P11c: one tensor under two names, made by assignment and declared nowhere."""
    known = {name for names in code.parameters.values() for name in names} | {"weight", "bias"}
    tables = [code.folder.attribute(model, "_tied_weights_keys") for model in code.models]
    declared = {(string(key) or "").replace("\\", "") for table in tables for key in _targets(table)}
    for cls in code.torch_modules:
        own = code.folder.classes[cls][1].body
        init = next((s for s in own if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
        held = {name for owner in code.folder.lineage(cls) for name in code.parameters.get(owner, ())}
        for node in _Sharing(code, known, held).nodes(init) if init else ():
            if _is_declared(node, declared):
                continue
            by_name = _ties_by_name(code, cls, node)
            yield code.finding(
                "P11c",
                f"{cls}: weight shared by assignment in __init__; it is untied after loading.",
                cls,
                node,
                fix='Use _tied_weights_keys = {"target": "source"}.',
                case="P11c.assigned_lm_head" if by_name else "P11c.assigned",
            )


def _ties_by_name(code: ReachableCode, cls: str, node: ast.AST) -> bool:
    """Whether what an assignment shares is the head that some releases tie by its name (rules/heads.py, P11f)."""
    sides = [chain(side) for pair in assignments(node) for side in pair if side is not None]
    config = code.configs.get("config.json", {}).get("tie_word_embeddings")
    return (
        ["self", HEAD, "weight"] in sides
        and code.folder.kind(cls) == "model"
        and False not in (config, ties(code))
        and code.folder.method(cls, "get_output_embeddings") is None
        and has_input_embeddings(code, cls)
    )


def _targets(table: ast.expr | None) -> list[ast.expr | None]:
    """The targets that keys name, also in a list: transformers 4 reads one, and for 5 it is a fault itself (P11)."""
    if isinstance(table, ast.Dict):
        return [*table.keys]
    return [*table.elts] if isinstance(table, (ast.List, ast.Tuple, ast.Set)) else []


def _is_declared(node: ast.AST, declared: set[str]) -> bool:
    """Whether _tied_weights_keys names one side of a statement that gives a tensor two names: it is tied anyway."""
    pairs = [(chain(target), chain(value) if value is not None else []) for target, value in assignments(node)]
    # the other side is a part of the model where it begins with self; a local name can hold anything
    names = [
        ".".join(side[1:]) for target, value in pairs for side in (target, value if value[:1] == ["self"] else [])
    ]
    return any(name and any(f".{key}".endswith(f".{name}") for key in declared) for name in names)


@dataclass
class _Sharing:
    """Follows the names of parameters and modules through one __init__.

    A local name that holds a new module or parameter is written <name>.
    """

    code: ReachableCode
    known: set[str]
    held: set[str]
    local: dict[str, list[str]] = field(default_factory=dict)
    homes: dict[tuple, list[str]] = field(default_factory=dict)
    tensors: set[tuple] = field(default_factory=set)

    def nodes(self, init: ast.FunctionDef) -> Iterator[ast.AST]:
        """Statements that give a tensor a second name; a module with two names is P37's (saving.py)."""
        later = []
        for node in own_nodes(init):
            pairs = list(assignments(node)) + (_given_by_call(node) if isinstance(node, ast.Call) else [])
            for target, value in pairs:
                source = self.resolved(value)
                if isinstance(target, ast.Name):
                    label = f"<{target.id}, line {target.lineno}>"  # the name may be given to another one later
                    self.local[target.id] = source or ([label] if self.makes(value) else [])
                    if makes(value, "Parameter"):
                        self.tensors.add((label,))
                    continue
                into = self.resolved(target)
                if not into or not (into[0] == "self" or into[0].startswith("<")) or into == source:
                    continue
                if self.makes(value):
                    self.homes.setdefault(tuple(into), into)
                    if makes(value, "Parameter"):
                        self.tensors.add(tuple(into))
                elif self.shares(source):
                    module = len(source) == 2 and source[1] not in self.held and tuple(source) not in self.tensors
                    yield from () if module else (node,)
                elif len(source) >= 2 and source[0].startswith("<") and source[-1] in self.known:
                    later.append((source[0], node))
                elif (
                    len(source) == 1
                    and source[0].startswith("<")
                    and self.homes.setdefault((source[0],), into) != into
                ):
                    yield from (node,) if (source[0],) in self.tensors else ()
        yield from (node for name, node in later if (name,) in self.homes)

    def makes(self, value: ast.expr | None) -> bool:
        """Whether it is a new parameter, or a new module with weights."""
        return self.code.builds_module(value) and has_weights(value)

    def resolved(self, node: ast.AST | None) -> list[str]:
        names = [name for name in chain(node) if name not in ("data", "_parameters")]
        return [*self.local[names[0]], *names[1:]] if names and self.local.get(names[0]) else names

    def shares(self, source: list[str]) -> bool:
        if source[:1] != ["self"] or "config" in source:
            return False
        if len(source) == 2:
            return source[1] in self.held or tuple(source) in self.homes
        return len(source) > 2 and source[-1] in self.known


def _given_by_call(call: ast.Call) -> list[tuple[ast.expr, ast.expr | None]]:
    """setattr(x, "weight", y) and x.register_parameter("weight", y), as the assignment that they are."""
    if call_name(call) == "setattr" and len(call.args) == 3 and (name := string(call.args[1])):
        return [(ast.Attribute(call.args[0], name, ast.Store()), call.args[2])]
    name = string(argument(call, 0, "name"))
    if call_name(call) in ("register_parameter", "add_module") and isinstance(call.func, ast.Attribute) and name:
        value = argument(call, 1, "param") or argument(call, 1, "module")
        return [(ast.Attribute(call.func.value, name, ast.Store()), value)]
    return []


def takes_any_arguments(override: ast.FunctionDef) -> bool:
    """Whether an override of tie_weights takes what transformers 5 gives it."""
    names = {a.arg for a in (*override.args.args, *override.args.kwonlyargs)}
    return override.args.kwarg is not None or {"missing_keys", "recompute_mapping"} <= names


def tie_weights(code: ReachableCode) -> Iterator[Finding]:
    """P11d: an override that transformers 5 calls with arguments which it does not take."""
    for cls in code.classes:
        if code.folder.kind(cls) != "model":
            continue
        for node in code.folder.classes[cls][1].body:
            if isinstance(node, ast.FunctionDef) and node.name == "tie_weights":
                takes = takes_any_arguments(node)
                yield code.finding(
                    "P11d",
                    f"{cls}: tie_weights() is overridden.",
                    cls,
                    node,
                    fix='Use _tied_weights_keys = {"target": "source"}; transformers 5 calls it with arguments.',
                    severity=WARNING if takes else ERROR,
                )
