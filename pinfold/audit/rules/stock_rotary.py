"""P31 and P12 of a rotary embedding of transformers' own in a model of the folder's own.

In transformers 5 it reads rope_parameters of the configuration, which a configuration without rotary settings does not
have, and its table is not in the file: transformers' own _init_weights fills it.
"""

import ast
from collections.abc import Iterator

from pinfold.audit import stock
from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, argument, call_name, calls, is_config, word
from pinfold.audit.rules.init_weights import Initialisation
from pinfold.audit.rules.not_built import NotBuilt
from pinfold.audit.rules.rope import NAMES
from pinfold.common.trees import every, walk
from pinfold.folder.model_folder import Module

KIND = "RotaryEmbedding"
TABLE = "inv_freq"
LACKS, EMPTY = "P31.stock_embedding", "P12.stock_rotary"
PLAIN = ("PretrainedConfig", "PreTrainedConfig")


def stock_rotary(code: ReachableCode, initialisation: Initialisation) -> Iterator[Finding]:
    """Both, for the first such embedding that a constructor builds without a condition."""
    call = next(_built(code), None)
    if call is None:
        return
    cls, node, name = call
    config = code.auto_map.get("AutoConfig", "").split(".")[-1]
    if (affected := harmed(LACKS, code.lowest_version)) and _lacks_settings(code, config):
        yield code.finding(
            "P31",
            f"{cls} builds {name}, which reads rope_parameters in transformers 5, and {config} has none.",
            cls,
            node,
            fix='Set self.rope_parameters = {"rope_type": "default", "rope_theta": ...} in the constructor of '
            f"{config}.",
            releases=affected,
            case=LACKS,
        )
    if (affected := harmed(EMPTY, code.lowest_version)) and not _is_filled(code, initialisation):
        yield code.finding(
            "P12",
            f'{cls} builds {name}, whose "{TABLE}" no file holds, and _init_weights does not fill it: transformers 5 '
            "returns uninitialised memory.",
            cls,
            node,
            fix="Call super()._init_weights(module) in _init_weights, which fills it.",
            releases=affected,
            case=EMPTY,
        )


def _built(code: ReachableCode) -> Iterator[tuple[str, ast.Call, str]]:
    """(class, call, what it builds) of embeddings that are made of the whole configuration."""
    without = NotBuilt(code)
    for cls in (name for name in code.torch_modules if name not in without.classes):
        module, node = code.folder.classes[cls]
        for init in (part for part in node.body if getattr(part, "name", "") == "__init__"):
            for statement in init.body if isinstance(init, ast.FunctionDef) else ():
                if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or id(statement) in without.nodes:
                    continue
                for call in every(statement, ast.Call):
                    if is_config(argument(call, 0, "config")) and (name := _stock(module, call)):
                        yield cls, call, name


def _stock(module: Module, call: ast.Call) -> str:
    """The class of transformers that a call builds, where that takes a configuration; else nothing."""
    place, name = module.imports.get(call.func.id, ("", "")) if isinstance(call.func, ast.Name) else ("", "")
    if not place.startswith("transformers.models.") or not name.endswith(KIND):
        return ""
    takes = stock.parameters(place, name)
    return name if any("config" in each.positional for each in takes.values()) else ""


def _lacks_settings(code: ReachableCode, config: str) -> bool:
    """Whether nothing gives the configuration rotary settings, under either of their names."""
    if config not in code.folder.classes or set(NAMES) & set(code.configs.get("config.json", {})):
        return False
    owners = code.folder.lineage(config)
    if {base for owner in owners for base, _ in code.folder.bases(owner)} - set(owners) - set(PLAIN):
        return False
    names = {
        getattr(node, "arg", "") or word(node) for owner in owners for node in walk(code.folder.classes[owner][1])
    }
    outside = {node.attr for module in code.modules for node in every(module.tree, ast.Attribute)}
    return not set(NAMES) & (names | outside)


def _is_filled(code: ReachableCode, initialisation: Initialisation) -> bool:
    """Whether an _init_weights of the folder fills it, or goes on to transformers' own, or there is none."""
    own = [method for cls in code.models if (method := code.folder.method(cls, "_init_weights"))]
    if not own or initialisation.fills_all or any(TABLE in write.names for write in initialisation.writes):
        return True
    return any(call_name(call) == "_init_weights" for method in own for call in calls(method[1]))
