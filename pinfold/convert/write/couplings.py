"""What a class's new name breaks where nothing says so: fixed in the renamed text, one function for each.

transformers couples a model to its name in places that no import shows: the loss is picked by the class's name,
published weights are renamed by model type, sub-models are found in tables by their configuration's class, guards ask
whether a configuration is of a class of which a local folder has two copies, and the loader wants every package that
a function may import. `apply` runs all of them on a generated file; each of them twice is the same as once.
"""

import ast
import functools
import re
import sys

from pinfold.convert.edits import last_name, replaced, segment
from pinfold.convert.read.model import kind_of
from pinfold.convert.read.workspace import Conversion
from pinfold.convert.write import heads, parts
from pinfold.convert.write.attributes import keep_attributes
from pinfold.convert.write.facts import Facts, config_of, coupling_facts
from pinfold.convert.write.imports import absolute_imports, optional_imports

REGISTER = "register_checkpoint_conversion_mapping"


def apply(conversion: Conversion, kind: str, text: str) -> str:
    """A generated file's text with every coupling fixed; what cannot be is noted in the conversion."""
    known = coupling_facts(conversion)
    text = keep_attributes(text, known)
    text = absolute_imports(text)
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


def loss_of(name: str) -> str | None:
    """The loss that PreTrainedModel picks for a class of this name (the same rule from 4.48 on)."""
    from transformers.loss.loss_utils import LOSS_MAPPING

    if name in LOSS_MAPPING:
        return name
    matches = re.findall(f"({'|'.join(LOSS_MAPPING)})", name)
    return matches[0] if matches else None


def losses(text: str, classes: dict[str, str]) -> str:
    """`self.loss_type = ...` after super().__init__ where the new name would give another loss than the old one.

    PreTrainedModel.__init__ sets it from the class's name, in every version, so that a class attribute would be
    overwritten; a class without an __init__ gets a property that cannot be.
    """
    edits = []
    for node in ast.parse(text).body:
        if not isinstance(node, ast.ClassDef) or node.name not in classes:
            continue
        upstream = loss_of(classes[node.name])
        own = loss_of(node.name)
        if (
            upstream is None
            or own in (upstream, node.name)
            or not re.search(r"For[A-Z]|Model|Head", classes[node.name])
        ):
            continue
        body = segment(text, node)
        if "loss_type" in body or not any(
            "PreTrained" in ast.unparse(b) or "For" in ast.unparse(b) for b in node.bases
        ):
            continue
        init = next((n for n in node.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        call = next((n for n in init.body if ast.unparse(n).startswith("super().__init__(")), None) if init else None
        if call is not None:
            line = f'{segment(text, call)}\n{" " * call.col_offset}self.loss_type = "{upstream}"'
            edits.append((call, line))
        else:
            last = node.body[-1]
            edits.append(
                (
                    last,
                    f'{segment(text, last)}\n\n    loss_type = property(lambda self: "{upstream}", lambda *_: None)',
                )
            )
    return replaced(text, edits) if edits else text


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


SPECIAL = ("pad_token_id", "bos_token_id", "eos_token_id", "sep_token_id", "decoder_start_token_id")


def special_tokens(text: str, modeling: str) -> str:
    """Ids of special tokens that a model reads, and its configuration declares nowhere, are None by default.

    Every configuration had them in transformers 4, where T5's shift of labels takes its first token from; in 5 they
    are there only if config.json says so, and reading another is an AttributeError.
    """
    classes = {n.name: n for n in ast.parse(modeling).body if isinstance(n, ast.ClassDef)}
    read_by: dict[str, set[str]] = {}
    for node in classes.values():
        config = config_of(classes, node)
        for part in ast.walk(node) if config else ():
            read = isinstance(part, ast.Attribute) and part.attr in SPECIAL and isinstance(part.ctx, ast.Load)
            if read and ast.unparse(part.value) in ("config", "self.config"):
                read_by.setdefault(config, set()).add(part.attr)
    lines = text.split("\n")
    for node in reversed(ast.parse(text).body):
        if not isinstance(node, ast.ClassDef) or node.name not in read_by or "Config" not in node.name:
            continue
        fields = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        bases = [ast.unparse(b) for b in node.bases]
        plain = bases in (["PreTrainedConfig"], ["PretrainedConfig"])
        if not fields or not plain or any(getattr(n, "name", "") == "__init__" for n in node.body):
            continue
        whole = segment(text, node)
        missing = [n for n in SPECIAL if n in read_by[node.name] and not re.search(rf"\b{n}\b", whole)]
        lines[fields[-1].end_lineno : fields[-1].end_lineno] = [f"    {n}: int | None = None" for n in missing]
    return "\n".join(lines)


def dangling(text: str) -> list[str]:
    """Notes: classes named as strings (`_no_split_modules`, `_can_record_outputs`) that this file does not have."""
    tree = ast.parse(text)
    known = {n.name for n in ast.walk(tree) if isinstance(n, ast.ClassDef)} | {
        a.asname or a.name for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom)) for a in n.names
    }
    known |= set(dir(sys.modules.get("torch.nn"))) if "torch.nn" in sys.modules else set()
    notes = []
    for node in tree.body:
        for part in node.body if isinstance(node, ast.ClassDef) else ():
            if not isinstance(part, ast.Assign) or last_name(part.targets[0]) != "_no_split_modules":
                continue
            for word in ast.walk(part.value):
                if isinstance(word, ast.Constant) and isinstance(word.value, str) and word.value not in known:
                    notes.append(f"{node.name}._no_split_modules names {word.value}, which this folder does not have")
    return list(dict.fromkeys(notes))


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
            and kind_of(node.name) == kind
            and not node.name.endswith("Kwargs")
            and f"{node.name}.register_for_auto_class" not in text
        ):
            lines.append(f'{node.name}.register_for_auto_class("{AUTO_OF_KIND[kind]}")')
    return text.rstrip() + "\n\n\n" + "\n".join(lines) + "\n" if lines else text
