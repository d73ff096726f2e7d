"""Rules about the configuration class (P15): built without arguments, from any JSON, and complete."""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.reachable import Reached, argument, assignments, call_name, chain, is_self_attribute, string
from pinfold.folder.model_folder import Module

# What PretrainedConfig() has in every release from 4.48.3 to 5.23.0 (compared by running dir() in four of them).
# transformers 5 dropped the ids of special tokens, is_decoder, tie_word_embeddings and what generation reads.
ALWAYS_SET = (  # noqa: SIM905
    "_attn_implementation _attn_implementation_internal _auto_class _name_or_path architectures attribute_map "
    "base_config_key base_model_tp_plan chunk_size_feed_forward from_dict from_json_file from_pretrained "
    "get_config_dict get_text_config id2label is_encoder_decoder label2id model_type name_or_path num_labels "
    "output_attentions output_hidden_states problem_type push_to_hub register_for_auto_class return_dict "
    "save_pretrained sub_configs to_dict to_diff_dict to_json_file to_json_string torch_dtype transformers_version "
    "update update_from_string use_return_dict __class__ __dict__"
).split()


def config_class(code: Reached) -> Iterator[Finding]:
    """P15: arguments without default, no **kwargs, attributes that nobody sets."""
    for cls in code.config_classes:
        yield from _arguments(code, cls)
    if code.config_classes and not any(code.folder.is_stock(cls) for cls in code.config_classes):
        yield from _attributes(code)


def _arguments(code: Reached, cls: str) -> Iterator[Finding]:
    module, node = code.folder.classes[cls]
    init = next((s for s in node.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
    if init is None:
        for field in node.body:  # fields, as transformers 5 turns them into arguments
            bare = isinstance(field, ast.AnnAssign) and field.value is None and isinstance(field.target, ast.Name)
            if bare and "ClassVar" not in module.text(field.annotation):
                yield _lacks_default(code, cls, field.target.id, field)
        return
    given = init.args
    positional = [*given.posonlyargs, *given.args]
    required = positional[1 : len(positional) - len(given.defaults)]
    required += [a for a, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    for each in required:
        yield _lacks_default(code, cls, each.arg, each)
    if given.kwarg is None:
        yield code.finding("P15", f"{cls}.__init__: no **kwargs.", cls, init, fix=_PASS_ON)
    elif not any(isinstance(n, ast.Name) and n.id == given.kwarg.arg for n in ast.walk(init)):
        words = f"{cls}.__init__: **{given.kwarg.arg} is not passed on."
        yield code.finding("P15", words, cls, init, fix=_PASS_ON)


_PASS_ON = "Take **kwargs and end with super().__init__(**kwargs): it carries labels, dtype and auto_map."


def _lacks_default(code: Reached, cls: str, name: str, node: ast.AST) -> Finding:
    words = f'{cls}.__init__: parameter "{name}" has no default.'
    return code.finding("P15", words, cls, node, fix="transformers builds it without arguments; give it one.")


def _attributes(code: Reached) -> Iterator[Finding]:
    known: set[str] = set(ALWAYS_SET)
    if code.floor >= (5, 0):
        known.add("dtype")  # as transformers 5 calls torch_dtype
    for cls in code.config_classes:
        for owner in code.folder.lineage(cls):
            own = _set_by(code.folder.classes[owner][1])
            if own is None:  # names that are computed
                return
            known |= own
    wanted = code.auto_map.get("AutoConfig", "").split(".")[-1]
    named = wanted if wanted in code.config_classes else code.config_classes[-1]
    stored = code.configs.get("config.json", {})
    composite = any(name.endswith("_config") for name in known - set(ALWAYS_SET))  # config may be that of a part there
    told = set()
    models = {place.split(".")[0] for auto, place in code.auto_map.items() if auto.startswith("AutoModel")}
    for module in code.folder.closure(sorted(models)):
        for name, node in _read_from_config(code, module):
            if name in known or name in told or name.startswith("__"):
                continue
            told.add(name)
            here = f"{module.file}:{node.lineno}: "
            yield Finding(
                "P15",
                f"{here}{named}.__init__: {name} is read by the model but never set.",
                module.file,
                node.lineno,
                fix=f"Take {name} as an argument with a default and set it; transformers 5 sets fewer than 4.",
                severity=WARNING if composite or name in stored else ERROR,
            )


def _set_by(cls: ast.ClassDef) -> set[str] | None:
    """Attributes that a class sets; None where it computes their names."""
    found: set[str] = set()
    for statement in cls.body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            found.add(statement.name)
            if statement.name in ("__getattr__", "__getattribute__"):
                return None
        for target, value in assignments(statement):
            if isinstance(target, ast.Name):
                found.add(target.id)
                if target.id == "attribute_map":
                    found |= {string(n) for n in ast.walk(value or target) if string(n)}
    for node in ast.walk(cls):
        for target, _ in assignments(node):
            if is_self_attribute(target):
                found.add(target.attr)
            elif isinstance(target, ast.Subscript):
                found.add(string(target.slice) or "")
            elif isinstance(target, ast.Starred) and is_self_attribute(target.value):
                found.add(target.value.attr)
        if isinstance(node, ast.Call):
            name = call_name(node)
            own = chain(node.func)[:1] == ["self"] or chain(node.func)[:2] == ["self", "__dict__"]
            if name in ("setattr", "__setattr__"):
                given = argument(node, 0 if own else 1, "name") if name == "__setattr__" else argument(node, 1, "name")
                if string(given) is None and not _names_its_argument(given, cls):
                    return None
                found.add(string(given) or "")
            if name == "update" and (own or _is_vars(node)):
                return None
            if name == "setdefault":
                found.add(string(argument(node, 0, "")) or "")
            if name == "__init__":
                found |= {keyword.arg for keyword in node.keywords if keyword.arg}
                inside = [n for k in node.keywords if k.arg is None for n in ast.walk(k.value)]
                found |= {string(key) for n in inside if isinstance(n, ast.Dict) for key in n.keys if string(key)}
    return found


def _names_its_argument(node: ast.AST | None, cls: ast.ClassDef) -> bool:
    """Inside a __setattr__ of its own, super().__setattr__(name, value) sets nothing new."""
    overrides = [s for s in cls.body if isinstance(s, ast.FunctionDef) and s.name == "__setattr__"]
    return any(isinstance(node, ast.Name) and node.id in {a.arg for a in s.args.args} for s in overrides)


def _is_vars(call: ast.Call) -> bool:
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(owner, ast.Call) and call_name(owner) == "vars"


def _read_from_config(code: Reached, module: Module) -> Iterator[tuple[str, ast.AST]]:
    """Attributes read from ``config`` or ``self.config``, as far as that is the folder's configuration."""
    asked = {
        string(node.args[1])
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and call_name(node) in ("hasattr", "setattr") and len(node.args) > 1
    }
    asked |= {
        string(node.args[1])
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and call_name(node) == "getattr" and len(node.args) > 2
    }
    stack: list[tuple[ast.AST, bool, bool]] = [(module.tree, True, True)]  # node, config is ours, self.config is
    written = set()
    while stack:
        node, plain, own = stack.pop()
        if isinstance(node, ast.ClassDef):
            config = node.name in code.config_classes
            own = not config and (code.folder.kind(node.name) in ("model", None)) and not _other_config(code, node)
        elif isinstance(node, ast.FunctionDef):
            plain = plain and _is_ours(code, node) if not own else _is_ours(code, node)
        elif isinstance(node, (ast.If, ast.IfExp)) and _asks_first(node.test):
            rest = node.orelse if isinstance(node.orelse, list) else [node.orelse]
            stack += [(child, plain, own) for child in reversed(rest)]  # the rest runs where the attribute is there
            continue
        elif isinstance(node, ast.Try) and any(_catches_attributes(h) for h in node.handlers):
            continue
        elif isinstance(node, ast.Attribute):
            path = chain(node)
            ours = (len(path) == 2 and path[0] == "config" and plain) or (path[:2] == ["self", "config"] and own)
            direct = isinstance(node.value, ast.Name) if path[:1] == ["config"] else len(path) == 3
            if ours and direct and isinstance(node.value, (ast.Name, ast.Attribute)):
                if isinstance(node.ctx, ast.Load) and node.attr not in asked | written:
                    yield node.attr, node
                elif not isinstance(node.ctx, ast.Load):
                    written.add(node.attr)
        elif isinstance(node, ast.Call) and call_name(node) == "getattr" and len(node.args) == 2:
            path = chain(node.args[0])
            ours, name = (path == ["config"] and plain) or (path == ["self", "config"] and own), string(node.args[1])
            if ours and name and name not in asked:
                yield name, node
        stack += [(child, plain, own) for child in reversed(list(ast.iter_child_nodes(node)))]


def _asks_first(test: ast.expr) -> bool:
    """`hasattr(config, "add_adapter") and config.add_adapter`: what follows needs an attribute that may be absent."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    asked = [p.args[0] for p in parts if isinstance(p, ast.Call) and call_name(p) == "hasattr" and len(p.args) == 2]
    return any(chain(each)[-1:] == ["config"] for each in asked)


def _catches_attributes(handler: ast.ExceptHandler) -> bool:
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(t is None or chain(t)[-1:] in (["AttributeError"], ["Exception"]) for t in types)


def _is_ours(code: Reached, function: ast.FunctionDef) -> bool:
    """Whether ``config`` in a function is the folder's: by its annotation, and unless it is bound again."""
    for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs):
        if each.arg == "config" and each.annotation is not None:
            names = {n.id for n in ast.walk(each.annotation) if isinstance(n, ast.Name)}
            names |= {n.attr for n in ast.walk(each.annotation) if isinstance(n, ast.Attribute)}
            names |= {word for n in ast.walk(each.annotation) if (text := string(n)) for word in [text.split(".")[-1]]}
            if not names & ({"PretrainedConfig", "PreTrainedConfig"} | set(code.config_classes)):
                return False
    for node in ast.walk(function):
        for target, value in assignments(node):
            if isinstance(target, ast.Name) and target.id == "config" and chain(value) != ["self", "config"]:
                return False
        if isinstance(node, (ast.For, ast.comprehension)) and chain(node.target) == ["config"]:
            return False
    return True


def _other_config(code: Reached, cls: ast.ClassDef) -> bool:
    """Whether self.config of a class is something else than the folder's configuration."""
    inits = [s for s in cls.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"]
    for init in inits:
        names = {a.arg for a in (*init.args.args, *init.args.kwonlyargs)}
        if "config" in names and not _is_ours(code, init):
            return True
        for node in ast.walk(init):
            for target, value in assignments(node):
                if is_self_attribute(target) and target.attr == "config" and chain(value) != ["config"]:
                    return True
    return False
