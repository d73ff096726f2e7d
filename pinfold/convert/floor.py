"""`MIN_TRANSFORMERS = "4.48"` in a modular file: its folder runs in every transformers from that release on.

Generated files use the helpers of the transformers that they were made with, and the newest of those decides from
which release on a folder loads. A modular file that declares a lower one gets files without them:

- What decorates is left out: docstrings, hub kernels, type checks.
- What acts is replaced by a function or class of the same name from floor_parts.py, whose source goes into the file:
  masks, attention, rotary positions, recorded outputs, gradient checkpointing, heads, initial weights. They compute in
  every release what the newest one computes.
- A configuration that is a dataclass gets an `__init__`; `rope_theta` and `rope_scaling` are read and kept readable.
- The cache is called past_key_values, as up to 5.23; `cache`, as from 5.24 on, is taken too.

It reaches what is built on Llama's parts (Llama, Gemma, Mistral, Qwen2 and their like). A file that needs another late
helper is refused in one line that names it.
"""

import ast
import re
from pathlib import Path
from types import SimpleNamespace

import transformers
from packaging.version import InvalidVersion, Version

from pinfold.common.errors import UserError
from pinfold.convert import build, couplings, docstrings, source
from pinfold.folder import releases

DECLARED = "MIN_TRANSFORMERS"
PARTS = Path(__file__).with_name("floor_parts.py")
DECORATIVE = {"auto_docstring", "strict", "use_kernel_forward_from_hub", "use_kernelized_func"}
# what transformers 4's base class sets from its own arguments, and would overwrite with its defaults
BASE_FIELDS = (
    "pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id", "is_decoder",
    "add_cross_attention", "is_encoder_decoder", "tie_word_embeddings",
)  # fmt: skip
HEADS = re.compile(r"^GenericFor\w+$")


def declared(conversion: "build.Conversion") -> str | None:
    """The lowest release that the modular file asks for, or None.

    Raises:
        UserError: it is no version from 4.48 on.
    """
    item = conversion.module.items.get(DECLARED)
    if item is None:
        return None
    value = getattr(getattr(item.node, "value", None), "value", None)
    try:
        if Version(value) > Version(transformers.__version__):
            raise UserError(
                f"{conversion.path}:{item.line}: {DECLARED} is {value}, and this is transformers "
                f"{transformers.__version__}, which could not load the result; ask for at most this one"
            )
        if Version(value) >= Version(releases.OLDEST):
            return value
    except (InvalidVersion, TypeError):
        pass
    raise UserError(
        f'{conversion.path}:{item.line}: {DECLARED} must be a version from {releases.OLDEST} on, such as "4.57", not '
        f"{ast.unparse(item.node).partition(' = ')[2]}"
    )


def lower(conversion: "build.Conversion", kind: str, text: str, floor: str) -> str:
    """A generated file's text without what releases from ``floor`` on lack.

    Raises:
        UserError: something that the file needs has no stand-in.
    """
    if kind == "configuration":
        text = configurations(text, conversion)
    elif kind == "modeling":
        text = cache_names(text)
        text = calls(text)
        text = docstrings.documented(models(text))
    else:
        return text
    text = plain_arguments(decorators(text))
    return imports(text, conversion, floor)


# --- editing ---------------------------------------------------------------------------------------------------------


def at(node: ast.AST, length: int | None = None) -> SimpleNamespace:
    """Where a node begins, for an edit of its first characters."""
    end = node.end_col_offset if length is None else node.col_offset + length
    last = node.end_lineno if length is None else node.lineno
    return SimpleNamespace(lineno=node.lineno, col_offset=node.col_offset, end_lineno=last, end_col_offset=end)


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]


def classes(text: str) -> list[ast.ClassDef]:
    return [n for n in ast.parse(text).body if isinstance(n, ast.ClassDef)]


def bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(b) for b in node.bases]


def method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == name), None)


def assigned(node: ast.AST) -> set[str]:
    """Names that a class's body or a method sets."""
    found = set()
    for part in ast.walk(node):
        targets = part.targets if isinstance(part, ast.Assign) else [getattr(part, "target", None)]
        found |= {couplings.last_name(t) for t in targets if t is not None}
    return found


def with_lines(text: str, more: list[tuple[int, list[str]]]) -> str:
    """Put lines behind those with the given numbers."""
    lines = text.split("\n")
    for number, added in sorted(more, reverse=True):
        lines[number:number] = added
    return "\n".join(lines)


def without_lines(text: str, spans: list[tuple[int, int]]) -> str:
    gone = {n for first, last in spans for n in range(first, last + 1)}
    return "\n".join(line for n, line in enumerate(text.split("\n"), 1) if n not in gone)


def decorator_name(node: ast.expr) -> str:
    return couplings.last_name(node.func if isinstance(node, ast.Call) else node)


# --- modeling --------------------------------------------------------------------------------------------------------


def cache_names(text: str) -> str:
    """`cache` is past_key_values again where transformers 5.24 has renamed it."""
    tree, edits = ast.parse(text), []
    for node in functions(tree):
        if not any(is_rename(d) for d in node.decorator_list):
            continue
        inside: set[int] = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Call) and "Output" in couplings.last_name(part.func):
                for given in part.keywords:
                    if given.arg == "cache":
                        value = renamed(couplings.segment(text, given.value))
                        edits.append((given, f"**with_cache({value})"))
                        inside |= {id(x) for x in ast.walk(given)}
        for part in ast.walk(node):
            if id(part) in inside:
                continue
            if isinstance(part, ast.Attribute) and part.attr == "cache" and "output" in ast.unparse(part.value):
                edits.append((part, f"getattr({couplings.segment(text, part.value)}, CACHE)"))
            elif isinstance(part, (ast.arg, ast.keyword)) and part.arg == "cache":
                edits.append((at(part, len("cache")), "past_key_values"))
            elif isinstance(part, ast.Dict):  # mask_kwargs
                keys = [k for k in part.keys if isinstance(k, ast.Constant) and k.value == "cache"]
                edits += [(k, '"past_key_values"') for k in keys]
            elif isinstance(part, ast.Name) and part.id == "cache":
                edits.append((part, "past_key_values"))
    return couplings.replaced(text, edits) if edits else text


def renamed(text: str) -> str:
    text = re.sub(r"\b(\w*outputs?)\.cache\b", r"getattr(\1, CACHE)", text)
    return re.sub(r"(?<!\.)\bcache\b", "past_key_values", text)


def is_rename(node: ast.expr) -> bool:
    return decorator_name(node) == "deprecate_kwarg" and "new_name='cache'" in ast.unparse(node)


def calls(text: str) -> str:
    """Calls that are written otherwise in older releases."""
    tree, edits = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value == "colwise_gather_output":
            edits.append((node, '"colwise_rep"'))  # the name that every release knows
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name == "ALL_ATTENTION_FUNCTIONS.get_interface":
            edits.append((node.func, "attention_function"))
        elif name == "DynamicCache" and node.keywords:
            edits.append((node, "DynamicCache()"))
        elif name.endswith(".update") and any(k.arg == "kwargs" for k in node.keywords):
            given = [couplings.segment(text, x) for x in (node.func.value, *node.args, node.keywords[-1].value)]
            edits.append((node, f"update_cache({', '.join(given)})"))
        elif name.startswith("init."):
            edits.append((node.func, f"nn.{name}"))
        elif name.endswith("._init_weights") and name.partition("._")[0] in ("super()", "PreTrainedModel"):
            edits.append((node, f"draw_weights(self, {couplings.segment(text, node.args[-1])})"))
    for node in classes(text):
        if node.name.endswith("ForCausalLM"):
            found = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
            edits += [(f, "causal_lm_loss") for f in found if ast.unparse(f) == "self.loss_function"]
    return couplings.replaced(text, edits) if edits else text


def models(text: str) -> str:
    """What the base class of older releases wants to be told, and examples of another model's use left out."""
    edits, found = [], classes(text)
    for node in found:
        own = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
        here, init, added = assigned_in_body(node), method(node, "__init__"), []
        if "PreTrainedModel" in bases(node):
            values = {
                "_supports_flash_attn_2": here.get("_supports_flash_attn"),  # up to 4.52
                "_supports_cache_class": "True",  # up to 4.53, as the next
                "_supports_static_cache": "True",
                "_skip_keys_device_placement": '["past_key_values", "cache"]',
            }
            added += [f"    {k} = {v}" for k, v in values.items() if v and k not in here]
            if "_init_weights" not in own:
                added += ["", "    def _init_weights(self, module):", "        draw_weights(self, module)"]
            if "_tied_weights_keys" in text:
                added += TIED.split("\n")
        set_here = assigned(init) if init is not None else set()
        if any("PreTrainedModel" in b for b in bases(node)):
            if "embed_tokens" in set_here and "get_input_embeddings" not in own:
                added += accessors("input", "embed_tokens")
            if "lm_head" in set_here and "get_output_embeddings" not in own:
                added += accessors("output", "lm_head")
        if any(HEADS.match(b) for b in bases(node)):
            body = next((b for b in bases(node) if b.endswith("PreTrainedModel")), "")
            body = body.removesuffix("PreTrainedModel") + "Model"
            if body in {n.name for n in found}:
                added = [f"    body_class = {body}", *added]
        if added:
            last, lines = node.body[-1], text.split("\n")
            spot = at(last)
            spot.end_col_offset = len(lines[last.end_lineno - 1].encode())  # with the remark behind it
            before = "" if ast.unparse(last) in ("...", "pass") else couplings.segment(text, spot)
            edits.append((spot, "\n".join([before, *added])))
    return without_examples(couplings.replaced(text, edits) if edits else text)


TIED = """
    def mark_tied_weights_as_initialized(self, *args):
        super().mark_tied_weights_as_initialized(*args)
        put_back_tied(self, *args)"""


def assigned_in_body(node: ast.ClassDef) -> dict[str, str]:
    return {couplings.last_name(n.targets[0]): ast.unparse(n.value) for n in node.body if isinstance(n, ast.Assign)}


def with_lines_and_gone(text: str, more: list[tuple[int, list[str]]], gone: list[tuple[int, int]]) -> str:
    mark = "\0"  # lines that go keep their numbers until the new ones are in
    lines = text.split("\n")
    for first, last in gone:
        lines[first - 1 : last] = [mark] * (last - first + 1)
    return "\n".join(x for x in with_lines("\n".join(lines), more).split("\n") if x != mark)


def accessors(which: str, attribute: str) -> list[str]:
    return [
        "",
        f"    def get_{which}_embeddings(self):",
        f"        return self.{attribute}",
        "",
        f"    def set_{which}_embeddings(self, value):",
        f"        self.{attribute} = value",
    ]


def without_examples(text: str) -> str:
    spans = []
    for node in functions(ast.parse(text)):
        first = node.body[0]
        if len(node.body) > 1 and ast.get_docstring(node) and ">>>" in ast.get_docstring(node):
            spans.append((first.lineno, first.end_lineno))
    return without_lines(text, spans)


def decorators(text: str) -> str:
    """Those that decorate go; one that renames the cache stays on models, as the function that does it here."""
    tree, spans, edits = ast.parse(text), [], []
    owners = [(node, node) for node in tree.body]
    owners += [(owner, node) for owner in tree.body if isinstance(owner, ast.ClassDef) for node in owner.body]
    for owner, node in owners:
        model = isinstance(owner, ast.ClassDef) and any("PreTrainedModel" in b for b in bases(owner))
        for each in getattr(node, "decorator_list", []):
            if decorator_name(each) in DECORATIVE or (is_rename(each) and not model):
                spans.append((each.lineno, each.end_lineno))
            elif is_rename(each):
                edits.append((each, "takes_cache"))
    text = couplings.replaced(text, edits) if edits else text  # on one line each, so that numbers stay
    return without_lines(text, spans)


def plain_arguments(text: str) -> str:
    """`**kwargs: Unpack[TransformersKwargs]` says nothing at run time, and its names are late ones."""
    edits = []
    for node in functions(ast.parse(text)):
        last = node.args.kwarg
        if last is not None and last.annotation is not None and "Unpack" in ast.unparse(last.annotation):
            edits.append((last, last.arg))
    return couplings.replaced(text, edits) if edits else text


# --- imports ---------------------------------------------------------------------------------------------------------


def imports(text: str, conversion: "build.Conversion", floor: str) -> str:
    """Drop imports that nothing needs any more, and put stand-ins in the place of those that come too late."""
    parts = source.load(PARTS, "")
    tree = ast.parse(text)
    used = set(build.global_names(text))
    for node in tree.body:  # an import is no use of its name
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            used -= {a.asname or a.name.split(".")[0] for a in node.names}
    body = "\n".join(
        "" if isinstance(n, (ast.Import, ast.ImportFrom)) else couplings.segment(text, n) for n in tree.body
    )
    used = set(build.global_names(body)) | decorated(tree)
    edits, wanted = [], {n for n in used if n in parts.items and n not in top_level(tree)}
    for node in tree.body:
        if not isinstance(node, ast.ImportFrom):
            continue
        kept = []
        for alias in node.names:
            name = alias.asname or alias.name
            if name not in used or name in parts.items:
                continue
            ours = not node.level and node.module.split(".")[0] == source.TRANSFORMERS
            late = releases.absent(node.module, alias.name, floor) if ours else ()
            if late:
                raise UserError(
                    f"{conversion.path}: {DECLARED} is {floor}, but {name} of {node.module} is not in transformers "
                    f"{releases.release_ranges(late)} and has no stand-in; declare a later one, or write {name} out"
                )
            kept.append(alias.name + (f" as {alias.asname}" if alias.asname else ""))
        level = "." * node.level
        edits.append((node, f"from {level}{node.module} import {', '.join(kept)}" if kept else "pass"))
    text = couplings.replaced(text, edits)
    text = re.sub(r"^pass\n", "", text, flags=re.MULTILINE)
    check_calls(text, parts, wanted, conversion)
    return with_parts(text, parts, wanted)


def decorated(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        for each in getattr(node, "decorator_list", []):
            found |= {n.id for n in ast.walk(each) if isinstance(n, ast.Name)}
    return found


def top_level(tree: ast.Module) -> set[str]:
    return {n.name for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}


def check_calls(text: str, parts: source.Source, wanted: set[str], conversion: "build.Conversion") -> None:
    """A stand-in does what models of this family ask of the helper; what asks for more is refused.

    Raises:
        UserError: an argument that the stand-in does not take.
    """
    overlays = re.search(r"\b(?:or_mask_function|and_mask_function|block_sequence_ids)\b", text)
    if overlays and "create_causal_mask" in wanted:
        raise UserError(
            f"{conversion.path}: {DECLARED} cannot be had: masks with {overlays[0]} have no stand-in for older "
            f"releases; leave {DECLARED} out"
        )
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in wanted):
            continue
        made = parts.items[node.func.id].node
        if not isinstance(made, ast.FunctionDef):
            continue
        known = {a.arg for a in made.args.args + made.args.kwonlyargs}
        more = sorted(k.arg for k in node.keywords if k.arg and k.arg not in known)
        if more:
            raise UserError(
                f"{conversion.path}: {DECLARED} cannot be had: {node.func.id}({more[0]}=...) has no stand-in for "
                f"older releases; leave {DECLARED} out"
            )


def with_parts(text: str, parts: source.Source, wanted: set[str]) -> str:
    """The file with stand-ins, what they use, and what that imports, in front of its first definition."""
    found, queue = set(), sorted(wanted)
    imported = set()
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        item = parts.items[name]
        for each in item.names or (name,):
            found.add(each)
        for other in sorted(build.global_names(item.text) | decorated(ast.parse(item.text))):
            if other in parts.items and other not in found:
                queue.append(other)
            elif other in parts.imports:
                imported.add(other)
    tree = ast.parse(text)
    if not found:
        return text
    lines = text.split("\n")
    there = {a.asname or a.name for n in tree.body if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names}
    first = next(n for n in tree.body if not isinstance(n, (ast.Import, ast.ImportFrom)) and not is_text(n))
    line = min([first.lineno, *(d.lineno for d in getattr(first, "decorator_list", []))])
    while line > 1 and lines[line - 2].startswith("#"):
        line -= 1
    seen, bodies = set(), []
    for name, item in parts.items.items():
        if name in found and id(item) not in seen:
            seen.add(id(item))
            bodies.append(re.sub(r"^# --- .*\n+", "", item.text, flags=re.MULTILINE).replace("  # noqa: B905", ""))
    new = sorted(parts.imports[i].line() for i in imported if i not in there)
    added = "\n".join(new) + "\n\n\n" + "\n\n\n".join(bodies) + "\n\n\n"
    return "\n".join([*lines[: line - 1], added, *lines[line - 1 :]])


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


# --- configurations --------------------------------------------------------------------------------------------------


def configurations(text: str, conversion: "build.Conversion") -> str:
    """Classes with annotated fields get an `__init__` that does in every release what transformers 5 makes of them."""
    names = {n.name for n in classes(text)}
    for name in sorted(names):
        node = next(n for n in classes(text) if n.name == name)
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign) and "ClassVar" not in ast.unparse(n.annotation)]
        if not fields or method(node, "__init__"):
            continue
        if set(bases(node)) & names or "PreTrainedConfig" not in bases(node):
            raise UserError(
                f"{conversion.path}: {DECLARED} cannot be had: {name} inherits its fields from {bases(node)[0]}; "
                "derive it from one built-in configuration alone"
            )
        text = one_configuration(text, node, fields, conversion)
    return re.sub(r"\bPreTrainedConfig\b", "PretrainedConfig", text)


def one_configuration(
    text: str, node: ast.ClassDef, fields: list[ast.AnnAssign], conversion: "build.Conversion"
) -> str:
    """A dataclass's fields, and its __post_init__, as an __init__."""
    lines = text.split("\n")
    head, body, checks = ["    def __init__(", "        self,"], [], []
    for each in fields:
        name = each.target.id
        kind = re.sub(r"\bRopeParameters \| | \| RopeParameters\b", "", ast.unparse(each.annotation))
        default, remark = (
            couplings.segment(text, each.value),
            lines[each.end_lineno - 1][each.end_col_offset :].strip(),
        )
        value = name
        if isinstance(each.value, ast.Call):
            given = {k.arg: couplings.segment(text, k.value) for k in each.value.keywords}
            if "default_factory" in given:
                default, value = "None", f"({given['default_factory']})() if {name} is None else {name}"
                kind += " | None"
            elif "default" in given:
                default = given["default"]
                checks += interval_check(name, each.value)
            else:
                raise UserError(f"{conversion.path}: {DECLARED} cannot be had: {name}'s default is {default}")
        head.append(f"        {name}: {kind} = {default}," + (f"  {remark}" if remark else ""))
        body.append(f"        self.{name} = {value}")
    names = [each.target.id for each in fields]
    before, after = post_init(text, method(node, "__post_init__"), conversion)
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
                f"{conversion.path}: {DECLARED} cannot be had: {name_of(node, each)} calls a check that transformers "
                "4 does not have; override it, or leave it out"
            )
    body += [*checks, *(f"        self.{v.name}()" for v in validators)]
    passed = "".join(f"{n}=self.{n}, " for n in names if n in BASE_FIELDS)
    body.append(f"        super().__init__({passed}**kwargs)")
    made = [*head, "        **kwargs,", "    ):", *body, *after]
    if rotary:
        made += ROTARY_NAMES.split("\n")
    old = method(node, "__post_init__")
    gone = [(n.lineno, n.end_lineno) for n in fields] + ([(old.lineno, old.end_lineno)] if old else [])
    return with_lines_and_gone(text, [(fields[-1].end_lineno, made)], gone)


def name_of(node: ast.ClassDef, part: ast.FunctionDef) -> str:
    return f"{node.name}.{part.name}"


def interval_check(name: str, call: ast.Call) -> list[str]:
    """`interval(min=0.0, max=1.0)(default=0.02)`: the check that it stands for."""
    ends = {k.arg: ast.unparse(k.value) for k in getattr(call.func, "keywords", [])}
    low, high = ends.get("min"), ends.get("max")
    if low is None or high is None:
        return []
    return [
        f"        if not {low} <= {name} <= {high}:",
        f'            raise ValueError(f"{name}={{{name}!r}} must be a number from {low} to {high}")',
    ]


def post_init(text: str, node: ast.FunctionDef | None, conversion: "build.Conversion") -> tuple[list[str], list[str]]:
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
            f"{conversion.path}: {DECLARED} cannot be had: a __post_init__ must call super().__post_init__(**kwargs) "
            "once, and not inside of an if"
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
