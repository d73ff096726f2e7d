"""`register_for_auto_class` for every class that has an Auto class."""

import ast
import functools
from collections import Counter

from pinfold.convert.read import modules
from pinfold.convert.read.model import Definition
from pinfold.convert.read.workspace import Conversion
from pinfold.convert.write.facts import config_of
from pinfold.folder import releases


@functools.lru_cache(maxsize=1)
def auto_classes() -> tuple[dict[str, list[str]], dict[str, str]]:
    """Auto classes of each built-in class, and of each end of a name such as ForCausalLM, by the commonest use."""
    from transformers.models.auto import modeling_auto

    exact: dict[str, list[str]] = {}
    ends: dict[str, Counter] = {}
    autos = {n: getattr(a, "_model_mapping", None) for n, a in vars(modeling_auto).items() if isinstance(a, type)}
    tables = {n: mapping._model_mapping for n, mapping in autos.items() if mapping is not None}
    # a class saves itself for the Auto class that it was registered for last: AutoModel, or else what lists the fewest
    for name, table in sorted(tables.items(), key=lambda pair: (pair[0] == "AutoModel", -len(pair[1]), pair[0])):
        for listed in table.values():
            for cls in [listed] if isinstance(listed, str) else listed:
                if name == "AutoModelForPreTraining" and not cls.endswith("ForPreTraining"):
                    continue
                if name not in exact.setdefault(cls, []):
                    exact[cls].append(name)
                if "For" in cls:
                    ends.setdefault("For" + cls.rpartition("For")[2], Counter())[name] += 1
    return exact, {end: counted.most_common(1)[0][0] for end, counted in ends.items()}


def registrations(conversion: Conversion, kind: str, text: str, lowest: str) -> list[str]:
    """`X.register_for_auto_class(...)` for every class of this file that has an Auto class in these releases."""
    exact, ends = auto_classes()
    lines: list[str] = []
    root = root_configuration(conversion)
    models: dict[str, list[tuple[bool, str]]] = {}  # Auto class -> (whether it is the whole model's, class)
    classes = {n.name: n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)}
    for node in classes.values():
        if node.name not in conversion.module.items:
            continue
        definition = conversion.definitions.get(node.name)
        if kind == "configuration":
            if any(isinstance(n, (ast.Assign, ast.AnnAssign)) and "model_type" in ast.unparse(n) for n in node.body):
                lines.append(f"{node.name}.register_for_auto_class()")
        elif kind == "modeling" and not node.name.endswith("PreTrainedModel"):
            if root and (config_of(classes, node) or root) != root:
                continue  # a tower: config.json is the whole model's
            autos = exact.get(definition.origin.rpartition(".")[2], []) if definition and definition.origin else []
            if not autos and is_model(conversion, definition):
                auto = next((a for e, a in ends.items() if node.name.endswith(e)), None)
                auto = auto or ("AutoModel" if node.name.endswith("Model") else None)
                autos = [auto] if auto else []
            everywhere = [a for a in autos if not releases.absent(modules.TRANSFORMERS, a, lowest)]
            for auto in everywhere or autos[-1:]:
                models.setdefault(auto, []).append((is_whole(definition, auto), node.name))
    lines.sort(key=lambda line: line.partition(".")[0] == root)  # the last one is AutoConfig's
    # of several classes for one Auto class (the towers of CLIP and CLIP itself) the whole model's; else the first
    first = {auto: next((name for whole, name in listed if whole), listed[0][1]) for auto, listed in models.items()}
    chosen: dict[str, list[str]] = {}
    for auto, name in first.items():
        chosen.setdefault(name, []).append(auto)
    lines += [f'{name}.register_for_auto_class("{auto}")' for name, autos in chosen.items() for auto in autos]
    return ["\n", *lines, ""] if lines else []


def is_whole(definition: Definition | None, auto: str) -> bool:
    """Whether a class is what an Auto class gives for its architecture's own model type."""
    from transformers.models.auto import modeling_auto

    if definition is None or not definition.origin:
        return False
    module, _, name = definition.origin.rpartition(".")
    package = modules.package_of(module)
    table = getattr(modeling_auto, auto)._model_mapping._model_mapping
    listed = [table.get(package), table.get(package.replace("_", "-"))]
    return any(name in ([x] if isinstance(x, str) else x or ()) for x in listed)


def root_configuration(conversion: Conversion) -> str | None:
    """The configuration of the architecture itself, not of a part of it, where it is made from one of transformers."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    for name in conversion.module.items:
        module, _, old = conversion.definitions[name].origin.rpartition(".")
        if module.startswith(f"{modules.TRANSFORMERS}."):
            package = module.split(".")[2]
            if old in (CONFIG_MAPPING_NAMES.get(package), CONFIG_MAPPING_NAMES.get(package.replace("_", "-"))):
                return name
    return None


def is_model(conversion: Conversion, definition: Definition | None) -> bool:
    """Whether a class has PreTrainedModel among its ancestors, as far as this file shows them."""
    if definition is None or definition.kind != "class":
        return False
    for base in ast.parse(definition.text).body[0].bases:
        name = ast.unparse(base)
        if name == "PreTrainedModel" or is_model(conversion, conversion.definitions.get(name)):
            return True
    return False
