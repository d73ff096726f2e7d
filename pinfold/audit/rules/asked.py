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
    string,
)
from pinfold.common.safetensors import Tensor
from pinfold.common.trees import every, walk
from pinfold.folder.releases import every_minor, exists, model_types

READ_EARLY = ("_supports_sdpa", "_supports_flex_attn", "_supports_attention_backend", "_supports_flash_attn")
TABLES = ("AutoConfig", "CONFIG_MAPPING")
COMPLEX = ("C64", "C128")


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
    asks = any(isinstance(n, ast.Call) and call_name(n) in ("hasattr", "getattr") for n in walk(function))
    if asks or any(is_try(node) for node in walk(function)):
        return ""
    made = {
        target.attr
        for owner in code.folder.lineage(cls)
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS)
        for target, value in assignments(node)
        if is_self_attribute(target) and isinstance(value, ast.Call)
    }
    return next((node.attr for node in walk(function) if is_self_attribute(node) and node.attr in made), "")


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


def complex_tensors(tensors: Iterable[Tensor], config: dict, lowest: tuple[int, int]) -> Iterator[Finding]:
    """P33: tensors of complex numbers, which transformers cannot read in all releases."""
    named = [tensor.name for tensor in tensors if tensor.dtype in COMPLEX]
    says = config.get("torch_dtype") or config.get("dtype")
    case = "P33.complex_buffer" if says else "P33.complex_buffer_without_dtype"
    affected = harmed(case, lowest)
    if named and affected:
        yield Finding(
            "P33",
            f"{named[0]} holds complex numbers (C64), which some releases of transformers cannot load.",
            "model.safetensors",
            fix="Store them as real numbers, torch.view_as_real(x), or compute them in the constructor: a buffer with "
            "persistent=False is not stored.",
            releases=affected,
            case=case,
        )
