"""The modular file of a drawing: the user's names and the drawn values, on top of a tested model folder.

What enters Python source is the two names, which a regular expression and a check for keywords let through, and
numbers, booleans and words of the schema's lists. Everything else of a drawing stays in config.json.
"""

import ast
import inspect
from typing import Any

from pinfold.builder.drawing.architectures import Architecture
from pinfold.builder.drawing.state import Drawing

KINDS = {  # kinds of attention and their classes in attention_bert.py; BERTSelfAttention is also what they derive from
    "full": "BERTSelfAttention",
    "local": "LocalWindowAttention",
    "strided": "StridedAttention",
    "random": "RandomAttention",
}


def modular_text(drawing: Drawing) -> str:
    """modular_NAME.py, which ``pinfold convert`` turns into the folder's other files."""
    architecture = drawing.of
    module, config_class = architecture.configuration
    folder = architecture.folder
    models = {auto: architecture.classes[auto] for auto in ("AutoModel", *drawing.heads)}
    bases = sorted(place.partition(".")[2] for place in models.values())
    modeling = models["AutoModel"].partition(".")[0]
    kinds = used_kinds(drawing)
    imports = [
        *(
            [f"from {folder}.attention_bert import {', '.join(sorted(map(KINDS.__getitem__, {'full', *kinds})))}"]
            if kinds
            else []
        ),
        f"from {folder}.{module} import {config_class}",
        f"from {folder}.{modeling} import {', '.join(bases)}",
    ]
    parts = [
        f'"""A model that was drawn on top of {folder}. The other files are made by: pinfold convert '
        f'modular_{drawing.model_type}.py"""',
        "\n".join(imports),
        "\n".join(['MIN_TRANSFORMERS = "4.48"', *([f"ATTENTION_TYPES = {tuple(kinds)!r}"] if kinds else [])]),
        configuration_text(drawing, architecture),
        *(attention_text(drawing, kinds) if kinds else []),
        *(
            f"class {drawing.class_of(auto)}({place.partition('.')[2]}):\n    pass"
            for auto, place in models.items()
        ),
    ]  # fmt: skip
    return "\n\n\n".join(parts).replace('"""\n\n\n', '"""\n\n', 1) + "\n"


def used_kinds(drawing: Drawing) -> list[str]:
    """The kinds of attention of an encoder that leaves one of them out; [] where all are used, and of a decoder."""
    kinds = [kind for kind in KINDS if kind in drawing.config.get("attention_type", KINDS)]
    return kinds if len(kinds) < len(KINDS) else []


def attention_text(drawing: Drawing, kinds: list[str]) -> list[str]:
    """The classes of the used kinds, and the table that leaves the others out."""
    own = {kind: drawing.prefix + KINDS[kind].removeprefix("BERT") for kind in ("full", *kinds)}
    classes = [f"class {own[kind]}({KINDS[kind]}):\n    pass" for kind in dict.fromkeys(("full", *kinds))]
    return [*classes, "KINDS = {" + ", ".join(f'"{kind}": {own[kind]}' for kind in kinds) + "}"]


def configuration_text(drawing: Drawing, architecture: Architecture) -> str:
    """The configuration's class, with the drawn values as its defaults."""
    own = architecture.configuration[1]
    comments = remarks(architecture)
    values = {**drawing.configuration(), **drawing.config}
    lines = [
        f"class {drawing.class_of('AutoConfig')}({own}):",
        '    """Sizes and variant of the model; the defaults are what was drawn.',
        "",
        "    Raises ValueError for a value that no model can be built from, with the cure.",
        '    """',
        "",
        f'    model_type = "{drawing.model_type}"',
        "",
        "    def __init__(",
        "        self,",
    ]
    for name, parameter in architecture.arguments.items():
        value = default_of(name, values, parameter)
        kind = annotation(parameter)
        lines.append(f"        {name}: {kind} = {value},{comments.get(name, '')}")
    lines += ["        **kwargs,", "    ):"]
    if drawing.config["num_labels"] != 2:
        lines += ['        if "id2label" not in kwargs:',
                  f'            kwargs.setdefault("num_labels", {drawing.config["num_labels"]!r})']  # fmt: skip
    if drawing.config["problem_type"] is not None:
        lines.append(f'        kwargs.setdefault("problem_type", {drawing.config["problem_type"]!r})')
    if "rope_theta" in drawing.config:
        lines += ["        if rope_parameters is None:",
                  f'            kwargs.setdefault("rope_theta", {drawing.config["rope_theta"]!r})']  # fmt: skip
    passed = [f"            {name}={name}," for name in architecture.arguments]
    return "\n".join([*lines, "        super().__init__(", *passed, "            **kwargs,", "        )"])


def default_of(name: str, values: dict[str, Any], parameter: inspect.Parameter) -> str:
    """A drawn value as Python source; what is not drawn keeps its default."""
    value = values[name] if name in values and name != "rope_parameters" else parameter.default
    if isinstance(value, list):
        value = value[0] if value.count(value[0]) == len(value) else tuple(value)
    plain = (int, float, bool, str, type(None))
    if not isinstance(value, plain) and not (isinstance(value, tuple) and all(isinstance(v, str) for v in value)):
        value = parameter.default
    return repr(value)


def annotation(parameter: inspect.Parameter) -> str:
    kind = parameter.annotation
    return inspect.formatannotation(kind) if kind is not parameter.empty else "object"


def remarks(architecture: Architecture) -> dict[str, str]:
    """The comment behind each argument in the model folder's own file."""
    module, name = architecture.configuration
    source = architecture.code.modules[module]
    cls = next(n for n in source.tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    init = next(n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    behind = {}
    for argument in init.args.args:
        line = source.lines[(argument.end_lineno or argument.lineno) - 1]
        behind[argument.arg] = f"  {line[line.index('  #') :].strip()}" if "  #" in line else ""
    return behind
