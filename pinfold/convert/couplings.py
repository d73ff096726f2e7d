"""What a class's new name breaks where nothing says so: mended in the renamed text, one function for each.

transformers couples a model to its name in places that no import shows: the loss is picked by the class's name,
published weights are renamed by model type, sub-models are found in tables by their configuration's class, guards ask
whether a configuration is of a class of which a local folder has two copies, and the loader wants every package that
a function may import. `apply` runs all of them on a generated file; each of them twice is the same as once.
"""

import ast
import functools
import re
import sys
from dataclasses import dataclass, field

from pinfold.convert import build, heads, names, parts, source

# packages that are there wherever transformers and torch are
ALWAYS = {"torch", "transformers", "numpy", "packaging", "huggingface_hub", "safetensors", "tqdm", "regex", "yaml"}
OPTIONAL = "# an optional package: the loader wants what is imported outside of try"
REGISTER = "register_checkpoint_conversion_mapping"


@dataclass
class Facts:
    """What of a conversion the couplings depend on."""

    name: str = ""  # of the modular file: my_llama
    classes: dict[str, str] = field(default_factory=dict)  # new name -> the class upstream that it was made from
    types: dict[str, str] = field(default_factory=dict)  # new model_type -> the one upstream
    configs: frozenset[str] = frozenset()  # new names of configuration classes
    of_type: dict[str, str] = field(default_factory=dict)  # new model_type -> configuration class
    lows: dict[str, str] = field(default_factory=dict)  # new lower-case prefix -> upstream's, of copies


def facts(conversion: "build.Conversion") -> Facts:
    """Read them from a conversion."""
    found = Facts(conversion.name)
    configs = set()
    for name, made in conversion.definitions.items():
        if made.kind != "class" or name != made.name:
            continue
        if made.origin:
            found.classes[name] = made.origin.rpartition(".")[2]
        if build.kind_of(name) != "configuration":
            continue
        configs.add(name)
        new = model_type_of(made.text)
        if new is None:
            continue
        found.of_type[new] = name
        if made.origin:
            module, _, old = made.origin.rpartition(".")
            item = source.load(source.find(module), module.rpartition(".")[0]).items.get(old)
            before = model_type_of(item.text) if item else None
            if before and before != new:
                found.types[new] = before
    found.configs = frozenset(configs)
    for vendored in conversion.vendored.values():
        renaming = vendored.renaming
        if renaming is not None and renaming.new_lower.endswith(f"_{renaming.old_lower}"):
            found.lows[renaming.new_lower] = renaming.old_lower
    return found


def model_type_of(text: str) -> str | None:
    for node in ast.parse(text).body[0].body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if (
            isinstance(target, ast.Name)
            and target.id == "model_type"
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            return node.value.value
    return None


def apply(conversion: "build.Conversion", kind: str, text: str) -> str:
    """A generated file's text with every coupling mended; what cannot be is noted in the conversion."""
    known = facts(conversion)
    text = keep_attributes(text, known)
    text = inner_imports(text)
    text = optional_imports(text)
    if kind == "modeling":
        text = config_guards(text, known.configs)
        text, headless = heads.own_bodies(text, known)
        text = losses(text, known.classes)
        text = accumulation(text)
        text = parts.own_parts(text, known)
        text = checkpoint_names(text, known)
        remarks = [*headless, *dangling(text), *parts.built_in_parts(text)]
        conversion.notes += [n for n in remarks if n not in conversion.notes]
    elif kind == "configuration":
        text = parts.part_configurations(text, known)
        text = special_tokens(text, conversion.files.get(f"modeling_{conversion.name}.py", ""))
    elif kind in AUTO_OF_KIND:
        text = register_others(text, kind, {n for n, i in conversion.module.items.items() if i.kind == "class"})
    return text


def accumulation(text: str) -> str:
    """A class that computes its own loss says that it does not divide it by ``num_items_in_batch``.

    Trainer takes **kwargs in forward for the promise to do so, and multiplies gradients by the number of accumulation
    steps otherwise. transformers' own classes have the same fault; this is the attribute that it reads.
    """
    lines = text.split("\n")
    for node in reversed(ast.parse(text).body):
        if not isinstance(node, ast.ClassDef):
            continue
        forward = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "forward"), None)
        if forward is None or forward.args.kwarg is None:
            continue
        names = [a.arg for a in forward.args.args + forward.args.kwonlyargs]
        whole = ast.unparse(node)
        takes = any("label" in n or "target" in n for n in names)
        if not takes or "num_items_in_batch" in whole or "accepts_loss_kwargs" in whole:
            continue
        calls = [n for n in ast.walk(forward) if isinstance(n, ast.Call) and last_name(n.func) == "loss_function"]
        if any(k.arg is None for n in calls for k in n.keywords):
            continue
        first = next((n for n in node.body if isinstance(n, ast.FunctionDef)), forward)
        at = min([first.lineno, *(d.lineno for d in first.decorator_list)]) - 1
        while lines[at - 1].lstrip().startswith("#"):
            at -= 1
        lines[at:at] = ["    accepts_loss_kwargs = False  # its loss is a mean over the batch that it is given", ""]
    return "\n".join(lines)


# --- editing by position ---------------------------------------------------------------------------------------------


def replaced(text: str, edits: list[tuple[ast.AST, str]]) -> str:
    """Replace the source of nodes; the rest keeps its comments and its form."""
    raw, starts = text.encode(), [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line.encode()) + 1)
    spots = [
        (starts[n.lineno - 1] + n.col_offset, starts[n.end_lineno - 1] + n.end_col_offset, new) for n, new in edits
    ]
    for a, b, new in sorted(spots, reverse=True):
        raw = raw[:a] + new.encode() + raw[b:]
    return raw.decode()


def segment(text: str, node: ast.AST) -> str:
    return ast.get_source_segment(text, node) or ast.unparse(node)


# --- names of attributes ---------------------------------------------------------------------------------------------


def keep_attributes(text: str, known: Facts) -> str:
    """`self.my_bert` is `self.bert` again where MyBert is a copy of Bert; model types keep their new name.

    The attributes' names are the weights' names: renamed, no published checkpoint of the original would load. A
    prefix of its own (`My` for `Bert`) is no copy, and follows the modular file's names.
    """
    for new, old in known.lows.items():
        text = one_attribute(text, new, old, known)
    return text


def one_attribute(text: str, new: str, old: str, known: Facts) -> str:
    pattern = re.compile(rf"(?<![a-zA-Z0-9]){re.escape(new)}(?![a-z0-9])")
    if not pattern.search(text):
        return text
    kept = type_positions(ast.parse(text), lambda t: t in known.of_type or pattern.sub(old, t) not in model_types())
    lines, out = text.split("\n"), []
    for number, line in enumerate(lines, 1):
        if re.match(rf"\s*from \.\w+_{re.escape(known.name)} import", line):
            out.append(line)
            continue

        def back(match: re.Match, number=number, line=line) -> str:
            column = len(line[: match.start()].encode())
            return match[0] if any(a <= (number, column) < b for a, b in kept) else old

        out.append(pattern.sub(back, line))
    return "\n".join(out)


@functools.lru_cache(maxsize=1)
def model_types() -> frozenset[str]:
    """The types of models that transformers has."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return frozenset(CONFIG_MAPPING_NAMES)


def type_positions(tree: ast.AST, ours) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where string constants stand for a model type, not for an attribute of the same name.

    A type of another architecture whose name begins with this one's (vibevoice_asr, for vibevoice) is not among them:
    `ours` says whether a type is of this folder.
    """
    spots = []

    def keep(node: ast.AST | None, surely: bool = False) -> None:
        for part in ast.walk(node) if node is not None else ():
            if isinstance(part, ast.Constant) and isinstance(part.value, str) and (surely or ours(part.value)):
                spots.append(((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)))

    for node in ast.walk(tree):
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(last_name(t) == "model_type" for t in targets):
                keep(node.value, surely=True)
        elif isinstance(node, ast.Compare) and "model_type" in ast.unparse(node):
            keep(node)
        elif isinstance(node, ast.Subscript) and "MAPPING" in ast.unparse(node.value):
            keep(node.slice)
        elif isinstance(node, ast.keyword) and node.arg == "model_type":
            keep(node.value)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            first = node.args[0] if node.args else None
            about_type = isinstance(first, ast.Constant) and first.value == "model_type"
            if called.endswith("for_model") or called == "AutoConfig.register":
                keep(first)
            elif about_type and len(node.args) > 1:
                keep(node.args[1])
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "model_type":
                    keep(value)
    return spots


def last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return str(node.slice.value)
    return node.id if isinstance(node, ast.Name) else ""


# --- imports ---------------------------------------------------------------------------------------------------------


def optional_imports(text: str) -> str:
    """An import of an optional package inside of a function or a condition goes into a try that raises it again.

    The loader refuses a folder if any package that it imports outside of try is missing, also where the code asks
    first whether it is there: wav2vec2 would need deepspeed, which is used with deepspeed only.
    """
    tree, edits = ast.parse(text), []

    def visit(node: ast.AST, inside: bool) -> None:
        for part in ast.iter_child_nodes(node):
            if isinstance(part, ast.Try):
                continue
            if isinstance(part, (ast.Import, ast.ImportFrom)) and inside and needs_try(part):
                pad = " " * part.col_offset
                body = segment(text, part)
                body = "\n".join("    " + line if n else line for n, line in enumerate(body.split("\n")))
                edits.append((part, f"try:  {OPTIONAL}\n{pad}    {body}\n{pad}except ImportError:\n{pad}    raise"))
            visit(part, inside or not isinstance(part, ast.Module))

    visit(tree, False)
    return replaced(text, edits) if edits else text


def needs_try(node: ast.Import | ast.ImportFrom) -> bool:
    if isinstance(node, ast.ImportFrom):
        roots = [] if node.level else [(node.module or "").split(".")[0]]
    else:
        roots = [a.name.split(".")[0] for a in node.names]
    return any(r not in ALWAYS and r not in sys.stdlib_module_names for r in roots)


def inner_imports(text: str) -> str:
    """A relative import in a function or a condition, of what lies above one architecture's folder, is absolute.

    What is for type checkers only and names an architecture of transformers goes.
    """
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse:
            theirs = [n for n in node.body if isinstance(n, ast.ImportFrom) and source.is_model_module(n.module or "")]
            for part in [node] if len(theirs) == len(node.body) else theirs:
                lines[part.lineno - 1 : part.end_lineno] = [""] * (part.end_lineno - part.lineno + 1)
        elif isinstance(node, ast.ImportFrom) and node.level > 1:
            where = "." * node.level + (node.module or "")
            module = source.absolute(node, "transformers.models.any")
            if module.startswith("transformers.models.auto"):
                module = source.auto_module(module, node.names[0].name)
            line = lines[node.lineno - 1]
            lines[node.lineno - 1] = line.replace(f"from {where} import", f"from {module} import", 1)
    return "\n".join(lines)


# --- guards ----------------------------------------------------------------------------------------------------------


def config_guards(text: str, configs: frozenset[str]) -> str:
    """`isinstance(x, XConfig)` in the modeling file asks for the name of the class instead.

    A local folder is loaded once for each entry file, so the configuration class that the modeling file imports and
    the one that AutoConfig made an object of are two classes with one name, and the guard of a composite fails.
    """
    edits = []
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "isinstance"
            and len(node.args) == 2
        ):
            asked = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
            ours = [a.id for a in asked if isinstance(a, ast.Name) and a.id in configs]
            if not ours:
                continue
            value = segment(text, node.args[0])
            others = [segment(text, a) for a in asked if not (isinstance(a, ast.Name) and a.id in configs)]
            new = f"any(c.__name__ in {tuple(ours)!r} for c in type({value}).__mro__)"
            if others:
                new = f"(isinstance({value}, ({', '.join(others)},)) or {new})"
            edits.append((node, new))
    return replaced(text, edits) if edits else text


# --- loss ------------------------------------------------------------------------------------------------------------


def loss_of(name: str) -> str | None:
    """The loss that PreTrainedModel picks for a class of this name (the same rule from 4.48 on)."""
    from transformers.loss.loss_utils import LOSS_MAPPING

    if name in LOSS_MAPPING:
        return name
    found = re.findall(f"({'|'.join(LOSS_MAPPING)})", name)
    return found[0] if found else None


def losses(text: str, classes: dict[str, str]) -> str:
    """`self.loss_type = ...` after super().__init__ where the new name would give another loss than the old one.

    PreTrainedModel.__init__ sets it from the class's name, in every version, so that a class attribute would be
    overwritten; a class without an __init__ of its own gets a property that cannot be.
    """
    edits = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef) or node.name not in classes:
            continue
        wanted, own = loss_of(classes[node.name]), loss_of(node.name)
        if wanted is None or own in (wanted, node.name) or not re.search(r"For[A-Z]|Model|Head", classes[node.name]):
            continue
        body = segment(text, node)
        if "loss_type" in body or not any(
            "PreTrained" in ast.unparse(b) or "For" in ast.unparse(b) for b in node.bases
        ):
            continue
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        call = next((n for n in init.body if ast.unparse(n).startswith("super().__init__(")), None) if init else None
        if call is not None:
            line = f'{segment(text, call)}\n{" " * call.col_offset}self.loss_type = "{wanted}"'
            edits.append((call, line))
        else:
            last = node.body[-1]
            edits.append(
                (last, f'{segment(text, last)}\n\n    loss_type = property(lambda self: "{wanted}", lambda *_: None)')
            )
    return replaced(text, edits) if edits else text


# --- names of published weights --------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def conversion_keys() -> frozenset[str]:
    """Model types and classes for which transformers 5 renames the weights of published checkpoints."""
    try:
        from transformers import conversion_mapping as table
    except ImportError:
        return frozenset()
    table.get_checkpoint_conversion_mapping("")
    return frozenset(table._checkpoint_conversion_mapping_cache or {})


def checkpoint_names(text: str, known: Facts) -> str:
    """Registers transformers' own renaming of published weights for the new model types and classes.

    transformers 5 looks it up by class and model type and leaves custom code out: without it a published vit or
    mixtral loads with missing weights and a warning. Versions without the table, or without an entry, have code that
    reads the published names as they are.
    """
    if REGISTER in text or "PreTrainedModel" not in text:
        return text
    here = {n.name for n in ast.parse(text).body if isinstance(n, ast.ClassDef)}
    pairs = {new: old for new, old in known.types.items() if old in conversion_keys()}
    pairs |= {n: o for n, o in known.classes.items() if n in here and n != o and o in conversion_keys()}
    if not pairs:
        return text
    rows = "".join(f'        "{new}": "{old}",\n' for new, old in sorted(pairs.items()))
    return f"""{text.rstrip()}


try:  # what renames the weights of published checkpoints knows the original's names, and has to be told of these
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping, {REGISTER}
except ImportError:  # transformers 4 renames nothing
    pass
else:
    _published_names = {{
{rows}    }}
    for _new, _old in _published_names.items():
        _mapping = get_checkpoint_conversion_mapping(_old)
        if _mapping is not None:
            {REGISTER}(_new, _mapping, overwrite=True)
    try:  # config.json of a published checkpoint says the original's type, under which these classes are found too
        from transformers.conversion_mapping import USER_REGISTERED_MAPPINGS
    except ImportError:
        pass
    else:
        _models = [n for n, c in globals().items() if isinstance(c, type) and issubclass(c, PreTrainedModel)]
        USER_REGISTERED_MAPPINGS.update(_models)
"""


# --- fields that the base class had --------------------------------------------------------------------------------

SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id")


def special_tokens(text: str, modeling: str) -> str:
    """Ids of special tokens that a model reads, and its configuration declares nowhere, are None by default.

    Every configuration had them in transformers 4, where T5's shift of labels takes its first token from; in 5 they
    are there only if config.json says so, and reading another is an AttributeError.
    """
    classes = {n.name: n for n in ast.parse(modeling).body if isinstance(n, ast.ClassDef)}
    wanted: dict[str, set[str]] = {}
    for node in classes.values():
        config = config_of(classes, node)
        for part in ast.walk(node) if config else ():
            read = isinstance(part, ast.Attribute) and part.attr in SPECIAL and isinstance(part.ctx, ast.Load)
            if read and ast.unparse(part.value) in ("config", "self.config"):
                wanted.setdefault(config, set()).add(part.attr)
    lines = text.split("\n")
    for node in reversed(ast.parse(text).body):
        if not isinstance(node, ast.ClassDef) or node.name not in wanted or "Config" not in node.name:
            continue
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        bases = [ast.unparse(b) for b in node.bases]
        plain = bases in (["PreTrainedConfig"], ["PretrainedConfig"])
        if not fields or not plain or any(getattr(n, "name", "") == "__init__" for n in node.body):
            continue
        whole = segment(text, node)
        missing = [n for n in SPECIAL if n in wanted[node.name] and not re.search(rf"\b{n}\b", whole)]
        lines[fields[-1].end_lineno : fields[-1].end_lineno] = [f"    {n}: int | None = None" for n in missing]
    return "\n".join(lines)


def config_of(classes: dict[str, ast.ClassDef], node: ast.ClassDef | None) -> str | None:
    """Which configuration a model's class has, by itself or by its bases in the same file."""
    while node is not None:
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and last_name(part.target) == "config":
                return ast.unparse(part.annotation).strip("\"'")
            if isinstance(part, ast.Assign) and last_name(part.targets[0]) == "config_class":
                return ast.unparse(part.value)
        node = next((classes[b.id] for b in node.bases if isinstance(b, ast.Name) and b.id in classes), None)
    return None


# --- names in strings ------------------------------------------------------------------------------------------------


def dangling(text: str) -> list[str]:
    """Notes: classes named as strings (`_no_split_modules`, `_can_record_outputs`) that this file does not have."""
    tree = ast.parse(text)
    known = {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef)} | {
        a.asname or a.name for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names
    }
    known |= set(dir(sys.modules.get("torch.nn"))) if "torch.nn" in sys.modules else set()
    found = []
    for node in tree.body:
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            if not isinstance(part, ast.Assign) or last_name(part.targets[0]) != "_no_split_modules":
                continue
            for word in ast.walk(part.value):
                if isinstance(word, ast.Constant) and isinstance(word.value, str) and word.value not in known:
                    found.append(f"{node.name}._no_split_modules names {word.value}, which this folder does not have")
    return list(dict.fromkeys(found))


# --- classes beside the model ----------------------------------------------------------------------------------------

AUTO_OF_KIND = {
    "tokenization": "AutoTokenizer",
    "tokenization_fast": "AutoTokenizer",
    "processing": "AutoProcessor",
    "feature_extraction": "AutoFeatureExtractor",
    "image_processing": "AutoImageProcessor",
    "image_processing_pil": "AutoImageProcessor",
    "image_processing_fast": "AutoImageProcessor",
    "video_processing": "AutoVideoProcessor",
}


def register_others(text: str, kind: str, own: set[str]) -> str:
    """`register_for_auto_class` for tokenizers, processors and their like, so that saving writes auto_map and code."""
    lines = []
    for node in ast.parse(text).body:
        if (
            isinstance(node, ast.ClassDef)
            and node.bases  # BERT's BasicTokenizer is a helper
            and node.name in own
            and node.bases  # a helper with such a name is none
            and build.kind_of(node.name) == kind
            and not node.name.endswith("Kwargs")
            and f"{node.name}.register_for_auto_class" not in text
        ):
            lines.append(f'{node.name}.register_for_auto_class("{AUTO_OF_KIND[kind]}")')
    return text.rstrip() + "\n\n\n" + "\n".join(lines) + "\n" if lines else text


def renamed_type(old: str, renaming: names.Renaming, prefix: str) -> str:
    """`clip_text_model` -> `my_clip_text_model`; a type that does not carry the name gets the prefix in front."""
    new = renaming.word(old)
    return new if new != old else f"{prefix}_{old}"
