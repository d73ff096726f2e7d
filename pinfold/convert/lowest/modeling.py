"""A modeling file as releases before the newest need it."""

import ast
import re

from pinfold.convert.edits import (
    assigned_in_body,
    assigned_names,
    base_names,
    classes_in,
    decorator_name,
    functions_in,
    last_name,
    method_named,
    replaced,
    segment,
    span_of,
    without_lines,
)

HEADS = re.compile(r"^GenericFor\w+$")


def cache_names(text: str) -> str:
    """`cache` is past_key_values again where transformers 5.24 has renamed it."""
    tree = ast.parse(text)
    edits = []
    for node in functions_in(tree):
        if not any(is_rename(d) for d in node.decorator_list):
            continue
        inside: set[int] = set()
        for part in ast.walk(node):
            if isinstance(part, ast.Call) and "Output" in last_name(part.func):
                for keyword in part.keywords:
                    if keyword.arg == "cache":
                        value = renamed_cache(segment(text, keyword.value))
                        edits.append((keyword, f"**with_cache({value})"))
                        inside |= {id(x) for x in ast.walk(keyword)}
        for part in ast.walk(node):
            if id(part) in inside:
                continue
            if isinstance(part, ast.Attribute) and part.attr == "cache" and "output" in ast.unparse(part.value):
                edits.append((part, f"getattr({segment(text, part.value)}, CACHE)"))
            elif isinstance(part, (ast.arg, ast.keyword)) and part.arg == "cache":
                edits.append((span_of(part, len("cache")), "past_key_values"))
            elif isinstance(part, ast.Dict):  # mask_kwargs
                keys = [k for k in part.keys if isinstance(k, ast.Constant) and k.value == "cache"]
                edits += [(k, '"past_key_values"') for k in keys]
            elif isinstance(part, ast.Name) and part.id == "cache":
                edits.append((part, "past_key_values"))
    return replaced(text, edits) if edits else text


def renamed_cache(text: str) -> str:
    text = re.sub(r"\b(\w*outputs?)\.cache\b", r"getattr(\1, CACHE)", text)
    return re.sub(r"(?<!\.)\bcache\b", "past_key_values", text)


def is_rename(node: ast.expr) -> bool:
    return decorator_name(node) == "deprecate_kwarg" and "new_name='cache'" in ast.unparse(node)


def older_calls(text: str) -> str:
    """Calls that are written otherwise in older releases."""
    tree = ast.parse(text)
    edits = []
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
            arguments = [segment(text, x) for x in (node.func.value, *node.args, node.keywords[-1].value)]
            edits.append((node, f"update_cache({', '.join(arguments)})"))
        elif name.startswith("init."):
            edits.append((node.func, f"nn.{name}"))
        elif name.endswith("._init_weights") and name.partition("._")[0] in ("super()", "PreTrainedModel"):
            edits.append((node, f"draw_weights(self, {segment(text, node.args[-1])})"))
    for node in classes_in(text):
        if node.name.endswith("ForCausalLM"):
            called = [n.func for n in ast.walk(node) if isinstance(n, ast.Call)]
            edits += [(f, "causal_lm_loss") for f in called if ast.unparse(f) == "self.loss_function"]
    return replaced(text, edits) if edits else text


def older_models(text: str) -> str:
    """With what the base class of older releases needs to know, and without examples of another model's use."""
    edits = []
    nodes = classes_in(text)
    for node in nodes:
        own = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
        here = assigned_in_body(node)
        init = method_named(node, "__init__")
        added = []
        if "PreTrainedModel" in base_names(node):
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
        set_here = assigned_names(init) if init is not None else set()
        if any("PreTrainedModel" in b for b in base_names(node)):
            if "embed_tokens" in set_here and "get_input_embeddings" not in own:
                added += accessors("input", "embed_tokens")
            if "lm_head" in set_here and "get_output_embeddings" not in own:
                added += accessors("output", "lm_head")
        if any(HEADS.match(b) for b in base_names(node)):
            body = next((b for b in base_names(node) if b.endswith("PreTrainedModel")), "")
            body = body.removesuffix("PreTrainedModel") + "Model"
            if body in {n.name for n in nodes}:
                added = [f"    body_class = {body}", *added]
        if added:
            last = node.body[-1]
            lines = text.split("\n")
            spot = span_of(last)
            spot.end_col_offset = len(lines[last.end_lineno - 1].encode())  # with the remark behind it
            before = "" if ast.unparse(last) in ("...", "pass") else segment(text, spot)
            edits.append((spot, "\n".join([before, *added])))
    return without_examples(replaced(text, edits) if edits else text)


TIED = """
    def mark_tied_weights_as_initialized(self, *args):
        super().mark_tied_weights_as_initialized(*args)
        put_back_tied(self, *args)"""


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
    for node in functions_in(ast.parse(text)):
        first = node.body[0]
        if len(node.body) > 1 and ast.get_docstring(node) and ">>>" in ast.get_docstring(node):
            spans.append((first.lineno, first.end_lineno))
    return without_lines(text, spans)
