"""P50 of parts: self.encoder(...), where that is a module of transformers that a release calls with other arguments.

Which module it is: what the folder's constructors put there, or what the class of transformers builds from which the
folder's own derives (stock.json.gz).
"""

import ast
from collections.abc import Iterator

from pinfold.audit import stock
from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.reachable import ReachableCode, is_self_attribute
from pinfold.audit.rules.certain import CertainCalls
from pinfold.audit.rules.guards import guarded
from pinfold.audit.rules.stock_code import ASKS_FOR
from pinfold.audit.rules.stock_flow import OWN, STOCK, Flows
from pinfold.audit.rules.values import MODULE
from pinfold.common.trees import every
from pinfold.folder.model_folder import Module
from pinfold.folder.releases import RELEASES, release_ranges

Refused = dict[str, tuple[str, str]]  # release -> the class that is called, and why it raises


def part_arguments(code: ReachableCode, certain: CertainCalls, flows: Flows) -> Iterator[Finding]:
    """P50: calls of parts with arguments that their forward does not take in a release."""
    for call, (module, refused) in _calls(code, flows).items():
        if call in guarded(module, ast.Call, "TypeError", ASKS_FOR):
            continue
        stage = certain.stage.get(call, "")
        affected = tuple(release for release in RELEASES if release in refused)
        cls, why = refused[affected[0]]
        yield Finding(
            "P50",
            f"{module.file}:{call.lineno}: {module.text(call, 60)} raises a TypeError in transformers "
            f"{release_ranges(affected)}: forward of {cls} {why} there.",
            module.file,
            call.lineno,
            fix=f"Ask inspect.signature({cls}.forward) what it takes.",
            releases=affected,
            severity=ERROR if stage else WARNING,
            case=f"P50.{stage}" if stage else "",
        )


def _calls(code: ReachableCode, flows: Flows) -> dict[ast.Call, tuple[Module, Refused]]:
    """Call -> its file, and where it raises."""
    refused: dict[ast.Call, tuple[Module, Refused]] = {}
    places = {
        call: (cls, code.folder.classes[cls][0])
        for cls in flows.concerned
        for call in every(code.folder.classes[cls][1], ast.Call)
        if is_self_attribute(call.func) and not code.folder.method(cls, call.func.attr)
    }
    for modules, releases in flows.alike if places else ():
        for call, (cls, module) in places.items():
            value = modules.part((OWN, cls), call.func.attr)  # type: ignore[attr-defined]
            if value.kind != MODULE or value.of[:1] != (STOCK,):
                continue
            takes = stock.parameters(value.of[1], f"{value.of[2]}.forward")
            for release in (each for each in releases if each in takes):
                if why := takes[release].refuses(call):
                    refused.setdefault(call, (module, {}))[1][release] = (value.of[2], why)
    return refused
