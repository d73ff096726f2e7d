"""P71: a field that makes the cache keep a window of the text, beside code that counts on all of it.

From transformers 4.56 on generate makes its cache by the configuration: where that has sliding_window, each layer
keeps the last tokens alone, and get_seq_length still counts all of them (cache_utils.py, 4.56 to 5.24). Code that
makes its masks with transformers.masking_utils asks the cache how much it has. What other code does there is measured
(the laboratory's P71 cases).
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, call_name, parameters
from pinfold.audit.rules.decided import settings
from pinfold.audit.rules.handed import makes_no_cache
from pinfold.audit.rules.not_built import NotBuilt
from pinfold.audit.rules.own_caches import stock_base
from pinfold.audit.rules.steps import handed_steps
from pinfold.common.trees import every, walk
from pinfold.folder.model_folder import Module, located
from pinfold.folder.releases import release_ranges

FIELDS = ("sliding_window", "attention_chunk_size")  # which DynamicCache asks for, in this order
TYPES = "layer_types"
OF_WINDOWS = ("sliding_attention", "chunked_attention")
PARTS = ("text_config", "decoder", "generator")  # then the cache goes by the settings of that part
MASKS = "masking_utils"
USUAL = 20  # tokens: as far as generate writes where nothing is asked of it (max_length of GenerationConfig)
TAKEN = 3  # arguments of a cache's update: the keys, the values, the layer


def windows(code: ReachableCode) -> Iterator[Finding]:
    """P71, once for each place that adds to the cache of generate."""
    window = _window(code)
    if window is None or _asks_the_cache(code):
        return
    field, length = window
    if not any(not makes_no_cache(code, cls) for cls in handed_steps(code)):
        return
    without = NotBuilt(code)
    for cls in code.torch_modules:
        module, node = code.folder.classes[cls]
        for function in (part for part in node.body if isinstance(part, ast.FunctionDef)):
            if cls in without.classes or not _adds_to_cache(function):
                continue
            case = _case(code, cls, function, field)
            if case and (affected := harmed(case, code.lowest_version)):
                yield _finding(module, function, cls, field, length, case, affected)
                return


def _finding(
    module: Module, function: ast.FunctionDef, cls: str, field: str, length: int, case: str, affected: tuple[str, ...]
) -> Finding:
    line = located(function).lineno
    does = "generate raises" if case == "P71.mask_of_all" else "other text is written"
    return Finding(
        "P71",
        f"{module.file}:{line}: {cls}.{function.name} counts on all tokens in the cache, and with {field}={length} "
        f"the cache of transformers {release_ranges(affected)} keeps the last {length} alone: {does} for "
        "longer texts.",
        module.file,
        line,
        fix=f"Keep the number under another name than {field}; or make the mask as wide as the keys that update "
        "returns, counted from their end.",
        releases=affected,
        severity=ERROR if length <= USUAL else WARNING,
        case=case if length <= USUAL else "",
    )


def _window(code: ReachableCode) -> tuple[str, int] | None:
    """The field, and how many tokens a layer of the cache keeps for it; None where it keeps all."""
    values = settings(code)
    stored = code.configs.get("config.json", {})
    if any(values.get(part) or stored.get(part) for part in PARTS):
        return None
    types = stored.get(TYPES)
    if types is None and any(
        node.attr == TYPES and not isinstance(node.ctx, ast.Load)
        for cls in code.config_classes
        for node in every(code.folder.classes[cls][1], ast.Attribute)
    ):
        return None
    if types is not None and not (isinstance(types, list) and any(each in OF_WINDOWS for each in types)):
        return None
    for field in FIELDS:
        length = values.get(field)
        if isinstance(length, int) and length > 0:
            return field, length
    return None


def _asks_the_cache(code: ReachableCode) -> bool:
    """Whether masks come from transformers, or the folder has caches of its own, which generate may be handed."""
    own = any("Cache" in stock_base(code, cls) for cls in code.classes)
    return own or any(MASKS in place for module in code.modules for place, _ in module.imports.values())


def _adds_to_cache(function: ast.FunctionDef) -> bool:
    """past_key_value.update(key, value, self.layer_idx)"""
    names = {each.arg for each in parameters(function)}
    return any(
        call_name(call) == "update"
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id in names
        and len(call.args) + len(call.keywords) >= TAKEN
        for call in every(function, ast.Call)
    )


def _case(code: ReachableCode, cls: str, function: ast.FunctionDef, field: str) -> str:
    """The laboratory's case of a function that adds to the cache; "" where it counts what it gets, or may."""
    masks = {each.arg for each in parameters(function) if "mask" in each.arg}
    asked = {part for node in every(function, ast.If, ast.IfExp) for part in walk(node.test)}
    uses = [node for node in every(function, ast.Name) if node.id in masks and node not in asked]
    if not any(isinstance(node.ctx, ast.Load) for node in uses):
        return "" if _reads(code, cls, field) else "P71.ignored"
    cuts = [
        index
        for node in every(function, ast.Subscript)
        if isinstance(node.value, ast.Name) and node.value.id in masks
        for index in (node.slice.elts[-1:] if isinstance(node.slice, ast.Tuple) else [node.slice])
        if isinstance(index, ast.Slice)
    ]
    if any(cut.lower is not None for cut in cuts):
        return ""
    return "P71.mask_cut" if any(cut.upper is not None for cut in cuts) else "P71.mask_of_all"


def _reads(code: ReachableCode, cls: str, field: str) -> bool:
    """Whether a class may go by the window: it reads the field, or something whose name says so."""
    words = {field, "window"}
    return any(
        any(word in name for word in words)
        for owner in code.folder.lineage(cls)
        for node in walk(code.folder.classes[owner][1])
        if (name := getattr(node, "attr", "") or getattr(node, "id", "") or getattr(node, "arg", "") or "")
    )
