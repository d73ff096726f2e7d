"""`MIN_TRANSFORMERS = "4.48"` in a modular file: its folder runs in every transformers from that release on.

Generated files use the helpers of the transformers that they were made with, and the newest of those decides from
which release on a folder loads. A modular file that declares a lower one gets files without them:

- What decorates is left out: docstrings, hub kernels, type checks.
- What acts is replaced by a function or class of the same name from stand_ins, whose source goes into the file:
  masks, attention, rotary positions, recorded outputs, gradient checkpointing, heads, initial weights. They compute in
  every release what the newest one computes.
- A configuration that is a dataclass gets an `__init__`; `rope_theta` and `rope_scaling` are read and kept readable.
- The cache is called past_key_values, as up to 5.23; `cache`, as from 5.24 on, is taken too.

It reaches what is built on Llama's parts (Llama, Gemma, Mistral, Qwen2 and their like). A file that needs another late
helper is refused in one line that names it.
"""

import ast

from pinfold.convert.edits import base_names, decorator_name, functions_in, replaced, without_lines
from pinfold.convert.lowest import docstrings
from pinfold.convert.lowest.configurations import with_inits
from pinfold.convert.lowest.imports import with_stand_ins
from pinfold.convert.lowest.modeling import cache_names, is_rename, older_calls, older_models
from pinfold.convert.read.workspace import Conversion

DECORATIVE = {"auto_docstring", "strict", "use_kernel_forward_from_hub", "use_kernelized_func"}


def lower(conversion: Conversion, kind: str, text: str, floor: str) -> str:
    """A generated file's text without what releases from ``floor`` on lack.

    Raises:
        UserError: something that the file needs has no stand-in.
    """
    if kind == "configuration":
        text = with_inits(text, conversion)
    elif kind == "modeling":
        text = cache_names(text)
        text = older_calls(text)
        text = docstrings.documented(older_models(text))
    else:
        return text
    text = plain_arguments(decorators(text))
    return with_stand_ins(text, conversion, floor)


def decorators(text: str) -> str:
    """Those that decorate go; one that renames the cache stays on models, as the function that does it here."""
    tree = ast.parse(text)
    spans = []
    edits = []
    owners = [(node, node) for node in tree.body]
    owners += [(owner, node) for owner in tree.body if isinstance(owner, ast.ClassDef) for node in owner.body]
    for owner, node in owners:
        model = isinstance(owner, ast.ClassDef) and any("PreTrainedModel" in b for b in base_names(owner))
        for each in getattr(node, "decorator_list", []):
            if decorator_name(each) in DECORATIVE or (is_rename(each) and not model):
                spans.append((each.lineno, each.end_lineno))
            elif is_rename(each):
                edits.append((each, "takes_cache"))
    text = replaced(text, edits) if edits else text  # on one line each, so that numbers stay
    return without_lines(text, spans)


def plain_arguments(text: str) -> str:
    """`**kwargs: Unpack[TransformersKwargs]` says nothing at run time, and its names are late ones."""
    edits = []
    for node in functions_in(ast.parse(text)):
        last = node.args.kwarg
        if last is not None and last.annotation is not None and "Unpack" in ast.unparse(last.annotation):
            edits.append((last, last.arg))
    return replaced(text, edits) if edits else text
