"""Classes that load themselves: what transformers 5 does on the meta device does not happen to them.

A from_pretrained of the class's own that builds the model by calling it, cls(config), is called by every Auto class in
place of transformers' own, in all releases (from_pretrained in models/auto/auto_factory.py).
"""

import ast
import dataclasses
from collections.abc import Iterable, Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.reachable import ReachableCode, calls, chain
from pinfold.audit.rules.members import mains
from pinfold.common.trees import walk
from pinfold.folder.model_folder import ModelFolder

# Objects whose from_pretrained makes no model.
NO_MODEL = ("Config", "Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor", "ProcessorFast")
# Rules about building on the meta device, initialising after loading, and tying while loading.
OF_LOADING = frozenset(
    ("P10", "P11", "P11b", "P11c", "P11d", "P11e", "P11f", "P12", "P13", "P14", "P14b", "P14c", "P14d", "P48")
)


def judged(code: ReachableCode, findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings; those about loading are warnings where no class that a load makes is loaded by transformers."""
    table = code.configs.get("config.json", {}).get("auto_map")
    entries = table.items() if isinstance(table, dict) else ()
    named = [str(place).split(".")[-1] for auto, place in entries if auto.startswith("AutoModel")]
    loaded = [cls for cls in named if cls in code.models] or code.models
    alone = all(loads_itself(code.folder, cls) for cls in loaded) and bool(loaded)
    for finding in findings:
        if alone and finding.code == "P11" and finding.case.startswith("P11.list"):
            # no load reads the keys; save_pretrained, which is transformers' own, does
            saved = code.models and any(f"{cls}._tied_weights_keys" in finding.sentence for cls in mains(code))
            finding = dataclasses.replace(finding, case="P11.list_untied", severity=ERROR if saved else WARNING)
        elif alone and finding.code in OF_LOADING:
            words = "It has a from_pretrained of its own, so that a load does not meet this."
            finding = dataclasses.replace(finding, severity=WARNING, fix=words)
        yield finding


def loads_itself(folder: ModelFolder, cls: str) -> bool:
    """Whether the class has a from_pretrained that makes the model and does not go on to transformers' own."""
    own = folder.method(cls, "from_pretrained")
    if own is None:
        return False
    makes = any(isinstance(call.func, ast.Name) and call.func.id in ("cls", cls) for call in calls(own[1]))
    for node in walk(own[1]):  # super().from_pretrained, called or not
        if isinstance(node, ast.Attribute) and node.attr in ("from_pretrained", "_from_config"):
            owner = (chain(node.value) or [""])[-1]
            makes = makes and (owner.endswith(NO_MODEL) or owner == "config_class")
    return makes
