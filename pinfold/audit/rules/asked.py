"""P33, P35, P36 and P38: what transformers and other tools ask of a class or a file before a model is there."""

import ast
from collections.abc import Iterable, Iterator

from pinfold.audit.finding import WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    argument,
    assignments,
    call_name,
    chain,
    is_none,
    is_self_attribute,
    is_try,
    parameters,
    string,
)
from pinfold.common.safetensors import Tensor
from pinfold.common.trees import every, walk
from pinfold.folder.releases import every_minor, exists, model_types

READ_EARLY = ("_supports_sdpa", "_supports_flex_attn", "_supports_attention_backend", "_supports_flash_attn")
TABLES = ("AutoConfig", "CONFIG_MAPPING")
COMPLEX = ("C64", "C128")
# Types of numbers that some releases cannot read -> the laboratory's case.
UNREAD = {
    **dict.fromkeys(COMPLEX, "P33.complex_buffer"),
    **dict.fromkeys(("F8_E8M0", "F8_E5M2FNUZ", "F8_E4M3FNUZ"), "P33.f8"),
    "F4": "P33.f4",
}


def properties_of_parts(code: ReachableCode) -> Iterator[Finding]:
    """P35: _supports_... as a property that reads a part: it is asked for before the parts are made."""
    for cls in code.models:
        for owner in code.folder.lineage(cls):
            for statement in code.folder.classes[owner][1].body:
                if not isinstance(statement, ast.FunctionDef) or statement.name not in READ_EARLY:
                    continue
                names = [chain(decorator)[-1:] for decorator in statement.decorator_list]
                if (["property"] in names or ["cached_property"] in names) and (part := _part(code, cls, statement)):
                    yield code.finding(
                        "P35",
                        f"{owner}.{statement.name} is a property that reads self.{part}: transformers asks for it in "
                        "super().__init__, before the part is there.",
                        owner,
                        statement,
                        fix=f"Write {statement.name} = True (or False) in the body of the class, or read self.config.",
                        releases=harmed("P35.property_of_part", code.lowest_version),
                    )


def _part(code: ReachableCode, cls: str, function: ast.FunctionDef) -> str:
    """A module of the model that a property reads without asking whether it is there; "" without one."""
    if _asks(function):
        return ""
    pairs = [
        pair
        for owner in code.folder.lineage(cls)
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS)
        for pair in assignments(node)
    ]
    local = {target.id for target, value in pairs if isinstance(target, ast.Name) and isinstance(value, ast.Call)}
    made = {
        target.attr
        for target, value in pairs
        if is_self_attribute(target)
        and (isinstance(value, ast.Call) or (isinstance(value, ast.Name) and value.id in local))
    }
    return _read_of_self(code, cls, function, made, {function.name})


def _read_of_self(code: ReachableCode, cls: str, function: ast.FunctionDef, made: set[str], seen: set[str]) -> str:
    """The first of these attributes that a method reads of its object, or another method or property that it asks."""
    me = {each.arg for each in parameters(function)[:1]}
    for node in walk(function):
        me |= {t.id for t, value in assignments(node) if isinstance(t, ast.Name) and _is_one_of(value, me)}
    read = [n.attr for n in walk(function) if isinstance(n, ast.Attribute) and _is_one_of(n.value, me)]
    if parts := [name for name in read if name in made]:
        return parts[0]
    for name in read:
        method = code.folder.method(cls, name) if name not in seen else None
        seen.add(name)
        if method and not _asks(method[1]) and (part := _read_of_self(code, cls, method[1], made, seen)):
            return part
    return ""


def _is_one_of(value: ast.expr | None, names: set[str]) -> bool:
    return isinstance(value, ast.Name) and value.id in names


def _asks(function: ast.FunctionDef) -> bool:
    """Whether it asks if something is there, or catches that it is not."""
    asked = any(isinstance(n, ast.Call) and call_name(n) in ("hasattr", "getattr") for n in walk(function))
    return asked or any(is_try(node) for node in walk(function))


def registered_types(code: ReachableCode) -> Iterator[Finding]:
    """P36: a model type that the code registers and that some release brings along: it raises when it is imported."""
    lowest = code.lowest_version
    releases = [r for r in every_minor() if tuple(map(int, r.split(".")[:2])) >= lowest]
    for module in code.modules:
        # what stands in a function, below a condition or in a try does not run, or is caught, in some releases
        for call in (n.value for n in module.tree.body if isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)):
            path = chain(call.func)
            if path[-1:] != ["register"] or path[-2:-1] not in [[name] for name in TABLES]:
                continue
            kind = string(argument(call, 0, "model_type"))
            may_exist = argument(call, 2, "exist_ok")
            if kind is None or (may_exist is not None and not is_none(may_exist) and not _is_false(may_exist)):
                continue
            if affected := tuple(release for release in releases if kind in model_types(release)):
                yield Finding(
                    "P36",
                    f'{module.file}:{call.lineno}: {module.text(call, 60)} raises where transformers has a "{kind}" '
                    "of its own.",
                    module.file,
                    call.lineno,
                    fix="Remove the line, as auto_map is enough; or give it exist_ok=True.",
                    releases=affected,
                )


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def same_names(code: ReachableCode) -> Iterator[Finding]:
    """P38: a class that an Auto class loads and that is called as one of transformers' own."""
    for auto, place in sorted(code.auto_map.items()):
        cls = place.split(".")[-1]
        if auto.startswith("AutoModel") and cls in code.folder.classes and exists("transformers", cls):
            yield code.finding(
                "P38",
                f"{cls} is also the name of a class of transformers: tools that go by the class's name, such as "
                "mlflow, ctranslate2 and transformers serve, run that one instead.",
                cls,
                fix=f"Give it a name of its own, such as Custom{cls}.",
                severity=WARNING,
            )


def unread_tensors(tensors: Iterable[Tensor], config: dict, lowest: tuple[int, int]) -> Iterator[Finding]:
    """P33: tensors of complex numbers, and of small floating-point types, which not all releases can read."""
    first: dict[str, Tensor] = {}
    for tensor in tensors:
        if tensor.dtype in UNREAD:
            first.setdefault(UNREAD[tensor.dtype], tensor)
    says = config.get("torch_dtype") or config.get("dtype")
    for case, tensor in first.items():
        if not says:  # it is the type of the first tensor then, which every release looks up in the same table
            case = "P33.f8_without_dtype" if tensor.dtype not in COMPLEX else f"{case}_without_dtype"
        affected = harmed(case, lowest)
        if not affected:
            continue
        if tensor.dtype in COMPLEX:
            words = f"{tensor.name} holds complex numbers ({tensor.dtype})"
            fix = "Store them as real numbers, torch.view_as_real(x), or compute them in the constructor: a buffer "
            fix += "with persistent=False is not stored."
        else:
            words = f"{tensor.name} is of the type {tensor.dtype}"
            fix = "Store it as float32, which has each of its values, and convert it in forward."
            fix = "Store its bytes, x.view(torch.uint8)." if tensor.dtype == "F4" else fix
        yield Finding(
            "P33",
            f"{words}, which some releases of transformers cannot load.",
            "model.safetensors",
            fix=fix,
            releases=affected,
            case=case,
        )
