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
    """`X.register_for_auto_class(...)` for every class of this file that has an Auto class in these releases.

    The rules, in their order:

    1. A configuration that names a model_type is AutoConfig's. The architecture's own comes last, after its towers',
       since AutoConfig keeps the last one.
    2. A model of a tower's configuration is left out: config.json is the whole model's. No Auto class is asked for
       before this, as a tower has one of its own upstream.
    3. A model has the Auto classes that list the class it was made from; where none does, the one that its name's end
       has most often, or AutoModel.
    4. Of these, those that every release has; where none is, the last.
    5. Of several models for one Auto class (the towers of CLIP and CLIP itself) the whole model's is registered, else
       the first. It comes last: what was left out before cannot be chosen.
    """
    classes = {n.name: n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)}
    own = [node for node in classes.values() if node.name in conversion.module.items]
    root = root_configuration(conversion)
    lines: list[str] = []
    if kind == "configuration":
        lines = of_configurations(own, root)
    elif kind == "modeling":
        towers = {node.name for node in own if root and (config_of(classes, node) or root) != root}
        lines = of_models(conversion, [node.name for node in own if node.name not in towers], lowest)
    return ["\n", *lines, ""] if lines else []


def of_configurations(nodes: list[ast.ClassDef], root: str | None) -> list[str]:
    """Rule 1."""
    typed = [
        node.name
        for node in nodes
        if any(isinstance(n, (ast.Assign, ast.AnnAssign)) and "model_type" in ast.unparse(n) for n in node.body)
    ]
    return [f"{name}.register_for_auto_class()" for name in sorted(typed, key=lambda name: name == root)]


def of_models(conversion: Conversion, names: list[str], lowest: str) -> list[str]:
    """Rules 3 to 5, for the models that rule 2 leaves."""
    models: dict[str, list[tuple[bool, str]]] = {}  # Auto class -> (whether it is the whole model's, class)
    for name in names:
        if name.endswith("PreTrainedModel"):
            continue
        definition = conversion.definitions.get(name)
        autos = auto_classes_of(conversion, name, definition)
        everywhere = [a for a in autos if not releases.absent(modules.TRANSFORMERS, a, lowest)]
        for auto in everywhere or autos[-1:]:
            models.setdefault(auto, []).append((is_whole(definition, auto), name))
    first = {auto: next((name for whole, name in listed if whole), listed[0][1]) for auto, listed in models.items()}
    chosen: dict[str, list[str]] = {}
    for auto, name in first.items():
        chosen.setdefault(name, []).append(auto)
    return [f'{name}.register_for_auto_class("{auto}")' for name, autos in chosen.items() for auto in autos]


def auto_classes_of(conversion: Conversion, name: str, definition: Definition | None) -> list[str]:
    """Rule 3."""
    exact, ends = auto_classes()
    autos = exact.get(definition.origin.rpartition(".")[2], []) if definition and definition.origin else []
    if autos or not is_model(conversion, definition):
        return autos
    auto = next((a for end, a in ends.items() if name.endswith(end)), None)
    auto = auto or ("AutoModel" if name.endswith("Model") else None)
    return [auto] if auto else []


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
