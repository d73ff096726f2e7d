"""P52: settings of generate that GenerationConfig.validate refuses, so that some releases cannot save the model.

Settings of sampling do nothing without do_sample, those of beams nothing without num_beams, and so on. validate of
generation/configuration_utils.py warns, and raises where it is strict, which saving is in some releases (the
laboratory's P52 cases).
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    defaults,
    is_none,
    is_self_attribute,
)
from pinfold.audit.rules.config import OF_GENERATE
from pinfold.audit.rules.generation import generates, writes_text
from pinfold.audit.rules.members import mains
from pinfold.audit.rules.stock_flow import writes_or_derives
from pinfold.common.trees import every
from pinfold.folder.releases import release_ranges

# Settings of sampling that validate looks at, and what they are where nobody sets them.
OF_SAMPLING = {
    **dict.fromkeys(("temperature", "top_p", "typical_p"), 1.0),
    "top_k": 50,
    "min_p": None,
    **dict.fromkeys(("epsilon_cutoff", "eta_cutoff"), 0.0),
}
OF_BEAMS = {"early_stopping": False, "length_penalty": 1.0}
FILES = {"generation_config.json": "in_file", "config.json": "in_config"}
CONSTRUCTOR = "in_constructor"
SETTINGS = "generation_config"
DECLARES = (
    "TapasConfig"  # of transformers' configurations the only one that has a setting of sampling among its fields
)
OLDER = ("num_beam_groups", "diversity_penalty")  # no settings any more


def refused_settings(code: ReachableCode) -> Iterator[Finding]:
    """P52: in a file of settings, or in what a constructor sets where there is none of generate."""
    if not any(generates(code, cls) or writes_text(code, cls) for cls in code.models):
        return
    file = next((name for name in FILES if name in code.configs), "")
    yield from _refused(file, code.configs.get(file, {}), FILES.get(file, ""), code)
    if file != "generation_config.json":
        for cls in mains(code):
            own = code.folder.method(cls, "__init__")
            settings = _set_in(own[1]) if own else {}
            if own and settings:
                yield from _refused(code.folder.classes[own[0]][0].file, settings, CONSTRUCTOR, code)


def _refused(file: str, settings: dict[str, Any], place: str, code: ReachableCode) -> Iterator[Finding]:
    for case, names, without, fix in _faults(settings, place):
        own = {field.name: field for field in _own_fields(code)} if place == "in_config" else {}
        if case == "samples_not" and set(names) <= set(own):
            case = "samples_named" + "_before" * all(own[name].before for name in names)
        if affected := harmed(f"P52.{case}_{place}", code.lowest_version):
            yield Finding(
                "P52",
                f"{file}: {' and '.join(names)} without {without}, which transformers refuses.",
                file,
                fix=fix,
                releases=affected,
                case=f"P52.{case}_{place}",
            )


def _faults(settings: dict[str, Any], place: str) -> Iterator[tuple[str, list[str], str, str]]:
    """(case, settings, what they need, the cure) of settings that do not go together."""
    samples = settings.get("do_sample") is True
    beams = settings.get("num_beams")
    several = isinstance(beams, int) and beams > 1
    names = [n for n, usual in OF_SAMPLING.items() if n in settings and settings[n] not in (None, usual)]
    if names and not samples:
        yield "samples_not", names, "do_sample: true", 'Add "do_sample": true, or take them out.'
    names = [n for n, usual in OF_BEAMS.items() if n in settings and settings[n] not in (None, usual)]
    if names and not several and place != CONSTRUCTOR:
        yield "beams_not", names, "num_beams above 1", "Take them out."
    if place == CONSTRUCTOR:
        return
    padding = settings.get("pad_token_id")
    if isinstance(padding, int) and padding < 0:
        yield "negative_padding", [f"pad_token_id {padding}"], "a token of that number", "Write null."


def fields_of_generate(code: ReachableCode) -> Iterator[Finding]:
    """P52: settings of generate among the fields of a configuration, which later releases want elsewhere."""
    found = _own_fields(code)
    case = "P52.own_field" + "_before" * all(field.before for field in found)
    # a model that writes no text is not saved either, in fewer releases
    writes = any(
        (generates(code, cls) or writes_or_derives(code, cls)) and not _says_it_cannot(code, cls)
        for cls in code.models
    )
    for each in (case, f"{case}#save") if found and writes else (f"{case}_no_text",) if found else ():
        if not (affected := harmed(each, code.lowest_version)):
            continue
        main = code.auto_map["AutoConfig"].split(".")[-1]
        names = [field.name for field in found]
        yield code.finding(
            "P52",
            f"{main} has {' and '.join(names[:3])}, which transformers {release_ranges(affected)} takes for settings "
            f"of generate: it {'cannot be saved' if each != case else 'cannot generate, or not be saved'}.",
            main,
            found[0].node,
            fix="Give the field another name.",
            releases=affected,
            case=each,
        )


def _says_it_cannot(code: ReachableCode, cls: str) -> bool:
    """Whether its can_generate returns False, which transformers asks for when it saves."""
    own = code.folder.method(cls, "can_generate")
    results = [node.value for node in every(own[1], ast.Return)] if own else []
    return bool(results) and all(isinstance(value, ast.Constant) and value.value is False for value in results)


@dataclass(frozen=True)
class _Field:
    """A field that is named as a setting of generate; ``before`` is whether super().__init__(...) comes behind it."""

    name: str
    node: ast.stmt
    before: bool


def _own_fields(code: ReachableCode) -> list[_Field]:
    """Fields that the constructor of the configuration fills, and that are named as settings of generate."""
    main = code.auto_map.get("AutoConfig", "").split(".")[-1]
    init = code.folder.method(main, "__init__") if main in code.config_classes else None
    bases = {base for owner in code.folder.lineage(main) for base, _ in code.folder.bases(owner)} if init else set()
    of_stock = bases - set(code.folder.classes) - {"PretrainedConfig", "PreTrainedConfig"}
    if init is None or DECLARES in of_stock:
        return []
    names = OF_SAMPLING if of_stock else OF_GENERATE
    stored, usual = code.configs.get("config.json", {}), defaults(init[1])
    declared = {
        part.target.id
        for owner in code.folder.lineage(main)
        for part in code.folder.classes[owner][1].body
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
    }
    of_base = [call.lineno for call in calls(init[1]) if call_name(call) == "__init__"]
    fields = []
    for statement in init[1].body:
        for target, value in assignments(statement):
            name = target.attr if is_self_attribute(target) else ""
            if name not in names or name in declared or name in OLDER:
                continue
            if isinstance(value, ast.Name) and is_none(usual.get(value.id)) and stored.get(name) is None:
                continue
            if value is not None and not is_none(value) and code.folder.method(main, name) is None:
                fields.append(_Field(name, statement, bool(of_base) and statement.lineno < max(of_base)))
    return fields


def _set_in(init: ast.FunctionDef) -> dict[str, Any]:
    """What plain statements of a constructor set of the settings of generate: constants alone."""
    settings: dict[str, Any] = {}
    for statement in init.body:
        for target, value in assignments(statement):
            path = chain(target)
            if path[:2] == ["self", SETTINGS] and len(path) == 3 and isinstance(value, ast.Constant):
                settings[path[2]] = value.value
            elif path == ["self", SETTINGS] and isinstance(value, ast.Call) and call_name(value) == "GenerationConfig":
                if value.args or any(keyword.arg is None for keyword in value.keywords):
                    return {}
                settings = {k.arg: getattr(k.value, "value", None) for k in value.keywords if k.arg}
        if not isinstance(statement, ASSIGNMENTS) and any(
            SETTINGS in chain(n) for n in every(statement, ast.Attribute)
        ):
            return {}  # what a condition or a call does with them is not known
    return settings
