"""P10, P11 and P16: what a model class says of itself: post_init, tied keys, config_class."""

import ast
import re
from collections.abc import Iterator

from pinfold.audit.fixes.source import Source
from pinfold.audit.reachable import assignments, call_name, chain, is_none, is_self_attribute, own_nodes, string
from pinfold.audit.rules.own_loading import loads_itself
from pinfold.audit.rules.ties import takes_any_arguments
from pinfold.folder.model_folder import ModelFolder


class Classes:
    """The changes to the classes of one file."""

    def __init__(self, folder: ModelFolder, source: Source):
        self.folder, self.module, self.source = folder, source.module, source

    def find_edits(self) -> None:
        """Find all changes."""
        models = [name for name in self.folder.classes if self.folder.kind(name) == "model"]
        built = [name for name in models if self.folder.is_concrete(name)]
        # an abstract base is left alone: when its __init__ ends, the weights that its heirs tie are not there yet
        inits = [self.folder.method(name, "__init__") for name in built]
        for cls, init in dict.fromkeys(init for init in inits if init is not None):
            if self.here(cls):
                self.post_init(cls, init)
        for cls in models:
            if self.here(cls):
                self.tied_keys(cls)
        for cls in dict.fromkeys(self.topmost(name) for name in built if not self.folder.is_stock(name)):
            if self.here(cls) and self.folder.attribute(cls, "config_class") is None:
                self.config_class(cls)

    def here(self, cls: str) -> bool:
        return self.folder.classes[cls][0] is self.module

    def topmost(self, cls: str) -> str:
        return [owner for owner in self.folder.lineage(cls) if self.folder.kind(owner) == "model"][-1]

    def post_init(self, cls: str, init: ast.FunctionDef) -> None:
        """P10: ``self.post_init()`` wherever ``__init__`` ends."""
        names = [argument.arg for argument in (*init.args.posonlyargs, *init.args.args)]
        nodes = list(own_nodes(init))
        override = self.folder.method(cls, "tie_weights")
        if override and not takes_any_arguments(override[1]):
            self.source.say(
                init, f"{cls}.tie_weights takes no arguments, and post_init of transformers 5 gives it some"
            )
            return
        if loads_itself(self.folder, cls):
            self.source.say(init, f"{cls} has a from_pretrained of its own, which makes the model without post_init")
            return
        if not names or any(isinstance(n, ast.Attribute) and n.attr == "post_init" for n in nodes):
            return
        call, first, last = f"{names[0]}.post_init()", init.body[0], init.body[-1]
        returns = [node for node in nodes if isinstance(node, ast.Return)]
        for node in returns:
            if self.source.indent(node) is None or not (node.value is None or is_none(node.value)):
                self.source.say(
                    node, f"{cls}.__init__ returns in the middle of a line; call self.post_init() before it"
                )
                return
        indent = self.source.indent(first)
        if indent is None:  # def __init__(self, config): super().__init__(config)
            own = self.source.indent(init)
            if own is None:
                self.source.say(init, f"{cls}.__init__ does not begin its line; end it with self.post_init()")
                return
            indent = own + ("\t" if "\t" in own else "    ")
            place = self.source.offset(first.lineno, first.col_offset)
            gap = len(self.source.text[:place]) - len(self.source.text[:place].rstrip(" \t"))
            self.source.edits.append((place - gap, place, self.source.end + indent, "P10"))
        for node in returns:
            place = self.source.starts[node.lineno - 1]
            self.source.edits.append((place, place, f"{self.source.indent(node)}{call}{self.source.end}", "P10"))
        if not isinstance(last, ast.Return):
            self.source.after_line(last, indent + call, "P10")

    def tied_keys(self, cls: str) -> None:
        """P11: one tied key in a list becomes a table, where there is one embedding that it can mean."""
        for statement in self.folder.classes[cls][1].body:
            for target, value in assignments(statement):
                if not (isinstance(target, ast.Name) and target.id == "_tied_weights_keys"):
                    continue
                if not isinstance(value, (ast.List, ast.Tuple, ast.Set)):
                    continue
                keys = [string(element) for element in value.elts]
                if not keys:
                    self.source.replace(value, "{}", "P11")
                    continue
                key = (keys[0] or "").replace("\\.", ".").removeprefix("^").removesuffix("$")
                source = _input_embeddings(self.folder, cls) if len(keys) == 1 else None
                if len(keys) > 1:
                    self.source.say(
                        value, f"{cls}._tied_weights_keys has {len(keys)} keys; say which weight each is tied to"
                    )
                elif not re.fullmatch(r"[\w.]+\.weight", key) or not _has(self.folder, cls, key.split(".")[0]):
                    self.source.say(value, f"{cls}._tied_weights_keys: it is not clear which weight of {cls} it names")
                elif source is None or source == key.removesuffix(".weight"):
                    self.source.say(value, f"{cls}: it is not clear which embedding {key} is tied to")
                else:
                    self.source.replace(value, f'{{"{key}": "{source}.weight"}}', "P11")

    def config_class(self, cls: str) -> None:
        """P16: the only configuration class, where the file knows it by name."""
        config = self.folder.config_class(self.folder.auto_map())
        node = self.folder.classes[cls][1]
        names = [n for n, (place, original) in self.module.imports.items() if place[:1] == "." and original == config]
        if config:
            home, definition = self.folder.classes[config]
            if home is self.module and definition.lineno < node.lineno:
                names = [config]
        first = node.body[0]
        indent = self.source.indent(first)
        if not names or indent is None:
            self.source.say(node, f"{cls} has no config_class, and it is not clear which one it needs")
            return
        line = f"{indent}config_class = {names[0]}"
        if isinstance(first, ast.Expr) and string(first.value) is not None:  # the docstring stays first
            self.source.after_line(first, line, "P16")
        else:
            self.source.before_line(first, line, "P16")


def _has(folder: ModelFolder, cls: str, name: str) -> bool:
    """Whether a class sets an attribute in its ``__init__``."""
    return _assigned(folder, cls, name) is not None


def _assigned(folder: ModelFolder, cls: str, name: str) -> ast.expr | None:
    """What the ``__init__`` of a class, or of a base in this folder, assigns to ``self.name``."""
    for owner in folder.lineage(cls):
        for init in folder.classes[owner][1].body:
            for node in own_nodes(init) if isinstance(init, ast.FunctionDef) and init.name == "__init__" else ():
                for target, value in assignments(node):
                    if is_self_attribute(target) and target.attr == name and value is not None:
                        return value
    return None


def _input_embeddings(folder: ModelFolder, cls: str, depth: int = 0) -> str | None:
    """The path of the word embeddings below a class: what it says itself, else the only ones over a vocabulary."""
    getter = folder.method(cls, "get_input_embeddings")
    if getter and depth < 4:
        returns = [node.value for node in own_nodes(getter[1]) if isinstance(node, ast.Return)]
        if len(returns) != 1:
            return None
        value = returns[0]
        asks = False
        if (
            isinstance(value, ast.Call)
            and isinstance(value.func, ast.Attribute)
            and value.func.attr == "get_input_embeddings"
        ):
            value = value.func.value
            asks = True
        names = chain(value)
        if names[:1] != ["self"] or len(names) < 2 or not _has(folder, cls, names[1]):
            return None
        if not asks:
            return ".".join(names[1:])
        part = _assigned(folder, cls, names[1]) if len(names) == 2 else None
        inner = call_name(part) if isinstance(part, ast.Call) else ""
        rest = _input_embeddings(folder, inner, depth + 1) if inner in folder.classes else None
        return f"{names[1]}.{rest}" if rest else None
    paths = list(_vocabularies(folder, cls))
    return paths[0] if len(paths) == 1 else None


def _vocabularies(folder: ModelFolder, cls: str, depth: int = 0) -> Iterator[str]:
    """Paths of nn.Embedding whose size speaks of a vocabulary, in a class and in the parts that it builds."""
    init = folder.method(cls, "__init__")
    for node in own_nodes(init[1]) if init and depth < 5 else ():
        for target, value in assignments(node):
            if not (is_self_attribute(target) and isinstance(value, ast.Call)):
                continue
            called = call_name(value)
            if called == "Embedding" and value.args and "vocab" in ast.unparse(value.args[0]):
                yield target.attr
            elif called in folder.classes and called != cls:
                yield from (f"{target.attr}.{inner}" for inner in _vocabularies(folder, called, depth + 1))
