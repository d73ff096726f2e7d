"""A configuration that is a dataclass, as releases before transformers 5 need it."""

import ast
import re

from pinfold.common.errors import UserError
from pinfold.convert.edits import assigned_in_body, base_names, classes_in, method_named, segment, with_lines_and_gone
from pinfold.convert.lowest.version import DECLARED
from pinfold.convert.read.workspace import Conversion

# what transformers 4's base class sets from its own arguments, and would overwrite with its defaults
BASE_FIELDS = (
    "pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id", "is_decoder",
    "add_cross_attention", "is_encoder_decoder", "tie_word_embeddings",
)  # fmt: skip


def with_inits(text: str, conversion: Conversion) -> str:
    """Classes with annotated fields get an `__init__` that does in every release what transformers 5 makes of them."""
    names = {n.name for n in classes_in(text)}
    for name in sorted(names):
        node = next(n for n in classes_in(text) if n.name == name)
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and "ClassVar" not in ast.unparse(n.annotation)]
        if not fields or method_named(node, "__init__"):
            continue
        if set(base_names(node)) & names or "PreTrainedConfig" not in base_names(node):
            raise UserError(
                f"{conversion.path}: {DECLARED} cannot be lowered here: {name} inherits its fields from "
                f"{base_names(node)[0]}; derive it from one built-in configuration only"
            )
        text = one_configuration(text, node, fields, conversion)
    return re.sub(r"\bPreTrainedConfig\b", "PretrainedConfig", text)


def one_configuration(text: str, node: ast.ClassDef, fields: list[ast.AnnAssign], conversion: Conversion) -> str:
    """A dataclass's fields, and its __post_init__, as an __init__."""
    lines = text.split("\n")
    head = ["    def __init__(", "        self,"]
    body = []
    checks = []
    for each in fields:
        name = each.target.id
        kind = re.sub(r"\bRopeParameters \| | \| RopeParameters\b", "", ast.unparse(each.annotation))
        default, remark = (
            segment(text, each.value),
            lines[each.end_lineno - 1][each.end_col_offset :].strip(),
        )
        value = name
        if isinstance(each.value, ast.Call):
            arguments = {k.arg: segment(text, k.value) for k in each.value.keywords}
            if "default_factory" in arguments:
                default = "None"
                value = f"({arguments['default_factory']})() if {name} is None else {name}"
                kind += " | None"
            elif "default" in arguments:
                default = arguments["default"]
                checks += interval_check(name, each.value)
            else:
                raise UserError(f"{conversion.path}: {DECLARED} cannot be lowered here: {name}'s default is {default}")
        head.append(f"        {name}: {kind} = {default}," + (f"  {remark}" if remark else ""))
        body.append(f"        self.{name} = {value}")
    names = [each.target.id for each in fields]
    before, after = post_init(text, method_named(node, "__post_init__"), conversion)
    body += before
    rotary = "rope_parameters" in names
    if rotary:
        base = assigned_in_body(node).get("default_theta", "10000.0")
        body.append(
            "        self.rope_parameters = rotary_fields(self.rope_parameters, kwargs, self.max_position_embeddings, "
            f"{base})"
        )
    validators = [n for n in node.body if isinstance(n, ast.FunctionDef) and n.name.startswith("validate_")]
    for each in validators:
        if "super()" in ast.unparse(each):
            raise UserError(
                f"{conversion.path}: {DECLARED} cannot be lowered here: {name_of(node, each)} calls a check that "
                "transformers 4 does not have; override it, or leave it out"
            )
    body += [*checks, *(f"        self.{v.name}()" for v in validators)]
    passed = "".join(f"{n}=self.{n}, " for n in names if n in BASE_FIELDS)
    body.append(f"        super().__init__({passed}**kwargs)")
    init = [*head, "        **kwargs,", "    ):", *body, *after]
    if rotary:
        init += ROTARY_NAMES.split("\n")
    old = method_named(node, "__post_init__")
    gone = [(n.lineno, n.end_lineno) for n in fields] + ([(old.lineno, old.end_lineno)] if old else [])
    return with_lines_and_gone(text, [(fields[-1].end_lineno, init)], gone)


def name_of(node: ast.ClassDef, part: ast.FunctionDef) -> str:
    return f"{node.name}.{part.name}"


def interval_check(name: str, call: ast.Call) -> list[str]:
    """`interval(min=0.0, max=1.0)(default=0.02)`: the check that it means."""
    ends = {k.arg: ast.unparse(k.value) for k in getattr(call.func, "keywords", [])}
    low = ends.get("min")
    high = ends.get("max")
    if low is None or high is None:
        return []
    return [
        f"        if not {low} <= {name} <= {high}:",
        f'            raise ValueError(f"{name}={{{name}!r}} must be a number from {low} to {high}")',
    ]


def post_init(text: str, node: ast.FunctionDef | None, conversion: Conversion) -> tuple[list[str], list[str]]:
    """Lines of `__post_init__` before and behind its super() call.

    Raises:
        UserError: there is none at its top level.
    """
    if node is None:
        return [], []
    lines = text.split("\n")
    spot = [n for n in node.body if ast.unparse(n).removeprefix("return ") == "super().__post_init__(**kwargs)"]
    if len(spot) != 1 or "super()" in re.sub(r"super\(\)\.__post_init__\(\*\*kwargs\)", "", ast.unparse(node)):
        raise UserError(
            f"{conversion.path}: {DECLARED} cannot be lowered here: a __post_init__ must call "
            "super().__post_init__(**kwargs) once, and not inside an if"
        )
    first = node.body[0].lineno
    while lines[first - 2].lstrip().startswith("#"):
        first -= 1
    return lines[first - 1 : spot[0].lineno - 1], lines[spot[0].end_lineno : node.end_lineno]


ROTARY_NAMES = '''
    @property
    def rope_theta(self):
        """The name up to transformers 4, for what still reads it."""
        return self.rope_parameters["rope_theta"]

    @rope_theta.setter
    def rope_theta(self, value):
        self.rope_parameters = {**self.rope_parameters, "rope_theta": value}

    @property
    def rope_scaling(self):
        """The name up to transformers 4; None where nothing is scaled."""
        return None if self.rope_parameters["rope_type"] == "default" else self.rope_parameters

    @rope_scaling.setter
    def rope_scaling(self, value):
        self.rope_parameters = rotary_fields(value, {}, self.max_position_embeddings, self.rope_theta)
'''
