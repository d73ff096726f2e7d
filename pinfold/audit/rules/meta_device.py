"""P14: what is said of a fault on the meta device, where transformers 5 builds (constructors.py finds them)."""

import ast
from dataclasses import dataclass

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.folder.model_folder import Module, located

FAULTS = {
    "P14": "P14.item",
    "P14b": "P14b.tensor",
    "P14c": "P14c.nested",
    "P14d": "P14d.to",
}  # cases of the laboratory
UNSURE = "unsure"  # of a move to a device that the configuration may leave open


@dataclass(frozen=True)
class Fault:
    """What is wrong at a node.

    Args:
        prefix: of the code that a message quotes, or UNSURE. case: of the laboratory. where: on which condition.
    """

    rule: str
    module: Module
    node: ast.AST
    prefix: str = ""
    case: str = ""
    where: str = ""


def finding_of(fault: Fault, lowest: tuple[int, int]) -> Finding:
    words, cures = {
        "P14": (
            "reads a tensor value in __init__ and fails on the meta device in transformers 5.",
            'Compute it with Python numbers and math, or make the tensor with device="cpu".',
        ),
        "P14b": (
            "is a plain tensor attribute: it stays on the meta device in transformers 5.",
            "Use register_buffer and fill it in _init_weights.",
        ),
        "P14d": (
            "moves to a device in __init__, and fails on the meta device in transformers 5.",
            "Leave it out: who loads the model moves it, with device_map or model.to(device).",
        ),
        "P14c": (
            "loads a pretrained model in __init__: it fails on the meta device in transformers 5.",
            "Build it from a configuration; its weights are part of this checkpoint.",
        ),
    }[fault.rule]
    module, line = fault.module, located(fault.node).lineno
    if fault.prefix == UNSURE:
        words = words.replace("moves to a device in __init__", "moves to a device in __init__, where that is set")
    quoted = f"{fault.prefix * (fault.prefix != UNSURE)}{module.text(fault.node, 80)}"
    severity = WARNING if fault.prefix == UNSURE or not harmed(fault.case or FAULTS[fault.rule], lowest) else ERROR
    return Finding(
        fault.rule,
        f'{module.file}:{line}: "{quoted}" {words}',
        module.file,
        line,
        fix=cures,
        severity=severity,
        case=fault.case,
        where=fault.where,
    )
