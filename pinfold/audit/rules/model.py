"""Rules about model classes: how they are built, and what they declare (P10, P16-P18, P24, P25)."""

import ast
import re
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    FUNCTIONS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    is_self_attribute,
    own_nodes,
    string,
)
from pinfold.audit.rules.members import built, mains
from pinfold.audit.rules.not_built import NotBuilt
from pinfold.common.trees import below, every, walk
from pinfold.folder.kinds import head, stock_kind
from pinfold.folder.model_folder import Module
from pinfold.folder.outputs import auto_of_outputs
from pinfold.folder.releases import exists, release_ranges

REGISTERS_ON_LOAD = (4, 53)
WEIGHTLESS = re.compile(
    r"(Loss|Dropout\w*|Identity|(?<!P)ReLU6?|GELU|SiLU|[SCLG]?ELU|Mish|Tanh|Tanhshrink|Sigmoid|Softmax\w*|Softplus|Softsign"
    r"|Hard\w+|Flatten|Pool\dd|Upsample\w*|Pixel(Uns|S)huffle|Pad\dd|Fold|Unfold)$"
)


def post_init(code: ReachableCode) -> Iterator[Finding]:
    """P10: models that do not end with post_init. A part needs it where it is loaded by itself alone.

    Measured: the post_init of the model that holds it goes on to the part.
    """
    loaded = mains(code)
    parts = set(built(code)) - {place.split(".")[-1] for place in code.auto_map.values()}
    for cls in code.models:
        if code.folder.is_stock(cls):  # its base calls it
            continue
        owners = code.folder.lineage(cls)
        reached, late = _post_init(code, owners, cls, frozenset())
        init = code.folder.method(cls, "__init__")
        node = init[1] if init and init[0] == cls else None
        if not reached:
            fails = "transformers 5 fails with \"object has no attribute 'all_tied_weights_keys'\"."
            is_part = bool(loaded) and cls not in loaded
            yield code.finding(
                "P10",
                f"{cls}.__init__ does not call self.post_init(): {'loaded by itself, ' * is_part}{fails}",
                cls,
                node,
                fix="End it with self.post_init().",
                severity=WARNING if is_part and cls in parts else ERROR,
                case="P10.part" * is_part,
            )
        elif late is not None:
            name = code.folder.classes[cls][0].text(late, 60)
            yield code.finding(
                "P10",
                f'{cls}.__init__ adds a module after self.post_init(): "{name}" is not initialised by it.',
                cls,
                late,
                fix="End __init__ with self.post_init().",
                severity=WARNING,
            )


def _post_init(code: ReachableCode, owners: list[str], cls: str, seen: frozenset) -> tuple[bool, ast.AST | None]:
    """Whether constructing ``cls`` through the first of ``owners`` gets there, and a module that it adds later."""
    for i, owner in enumerate(owners):
        own = [s for s in code.folder.classes[owner][1].body if isinstance(s, ast.FunctionDef)]
        init = next((s for s in own if s.name == "__init__"), None)
        if init is None:
            continue
        reached, late = False, None
        for node in own_nodes(init):
            if isinstance(node, ast.Call) and _leads_there(code, node, owners[i + 1 :], cls, seen | {id(init)}):
                reached, late = True, None
            elif (
                reached
                and late is None
                and any(
                    is_self_attribute(t) and code.builds_module(v) and has_weights(v) for t, v in assignments(node)
                )
            ):
                late = node
        return reached, late
    return False, None


def _leads_there(code: ReachableCode, call: ast.Call, rest: list[str], cls: str, seen: frozenset) -> bool:
    name, func = call_name(call), call.func
    if name == "post_init":
        return True
    if not isinstance(func, ast.Attribute):
        return False
    if name == "__init__":
        named = func.value.id if isinstance(func.value, ast.Name) else ""
        owners = code.folder.lineage(named) if named in code.folder.classes else rest
        return _post_init(code, owners, cls, seen)[0]
    if is_self_attribute(func) and (definition := code.folder.method(cls, name)) and id(definition[1]) not in seen:
        inside = seen | {id(definition[1])}
        inner = [node for node in own_nodes(definition[1]) if isinstance(node, ast.Call)]
        return any(_leads_there(code, node, rest, cls, inside) for node in inner)
    return False


def has_weights(value: ast.Call) -> bool:
    """Whether what torch.nn makes by this call can have weights, going by its name."""
    return not WEIGHTLESS.search(call_name(value))


def config_class(code: ReachableCode) -> Iterator[Finding]:
    """P16: models whose configuration class is not the registered one."""
    registered = code.auto_map.get("AutoConfig", "").split(".")[-1]
    for cls in sorted({p.split(".")[-1] for a, p in code.auto_map.items() if a.startswith("AutoModel")}):
        if cls not in code.folder.classes:
            continue
        declared = code.folder.attribute(cls, "config_class")
        if _assigned_later(code, cls):
            continue
        if declared is None and code.folder.is_stock(cls):
            yield from _of_base(code, cls, registered)
            continue
        if not registered and declared is not None:
            continue
        if declared is None or chain(declared)[-1:] != [registered]:
            yield code.finding(
                "P16",
                f"{cls}.config_class is missing or is not {registered or 'a configuration class'}.",
                cls,
                fix=f"Set config_class = {registered or 'YourConfig'} in the class.",
                case="P16.annotated" if declared is None and _annotates(code, cls) else "P16.missing",
            )


def _of_base(code: ReachableCode, cls: str, registered: str) -> Iterator[Finding]:
    """P16: a class that has the config_class of the class of transformers' own that it derives from."""
    bases = [pair for owner in code.folder.lineage(cls) for pair in code.folder.bases(owner)]
    stock = [base for base, place in bases if stock_kind(base, place) == "model"]
    names = {f"{base[:size]}Config" for base in stock for size in range(len(base))}  # BertModel has a BertConfig
    theirs = {name for name in names if exists("transformers", name)}
    case = "P16.stock_same_name" if registered in theirs else "P16.stock"
    case = "P16.annotated" if _annotates(code, cls) else case
    affected = harmed(case, code.lowest_version)
    if registered in code.folder.classes and theirs and affected:
        yield code.finding(
            "P16",
            f"{cls} has the config_class of {stock[0]}, and auto_map registers {registered}.",
            cls,
            fix=f"Set config_class = {registered} in the class.",
            releases=affected,
            case=case,
        )


def _assigned_later(code: ReachableCode, cls: str) -> bool:
    """``MyModel.config_class = MyConfig`` behind the class."""
    module = code.folder.classes[cls][0]
    return any(chain(target) == [cls, "config_class"] for node in module.tree.body for target, _ in assignments(node))


def _annotates(code: ReachableCode, cls: str) -> bool:
    """``config: MyConfig`` in the body of the class, which newer releases take for its config_class."""
    return any(
        isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == "config"
        for owner in code.folder.lineage(cls)
        for node in code.folder.classes[owner][1].body
    )


def parameter_names(code: ReachableCode) -> Iterator[Finding]:
    """P17: names that 4.48 rewrites on loading; and weight_norm, whose names changed."""
    without = NotBuilt(code)
    for cls in code.classes:
        module, node = code.folder.classes[cls]
        if cls in code.torch_modules and code.lowest_version <= (4, 48) and cls not in without.classes:
            for name, where in _registered(code, cls):
                if id(where) in without.nodes:
                    continue
                if "gamma" in name or "beta" in name:
                    yield code.finding("P17", _renamed(name), cls, where, fix=_RENAME)
        affected = harmed("P17.weight_norm", code.lowest_version)
        for call in calls(node) if affected else ():
            if _is_old_weight_norm(module, call):
                yield code.finding(
                    "P17",
                    f'"{module.text(call, 60)}" gives parameter names that transformers {release_ranges(affected)} '
                    "takes for missing: other weights are loaded.",
                    cls,
                    call,
                    fix="Use torch.nn.utils.parametrizations.weight_norm.",
                    releases=affected,
                    case="P17.weight_norm",
                )


_RENAME = (
    "Give it another name, in the code and in the checkpoint; or leave these releases out, with "
    'MIN_TRANSFORMERS = "4.49" at the top of the configuration\'s file.'
)


def _renamed(name: str) -> str:
    return f'parameter "{name}" contains gamma/beta; transformers 4.46-4.48 renames it and loads nothing.'


def stored_names(names: list[str], file: str) -> Iterator[Finding]:
    """P17 for the tensors of a file."""
    for name in [n for n in names if "gamma" in n or "beta" in n][:3]:
        yield Finding("P17", _renamed(name), file, fix=_RENAME)


def _registered(code: ReachableCode, cls: str) -> Iterator[tuple[str, ast.AST]]:
    yield from code.parameters.get(cls, {}).items()
    for node in every(code.folder.classes[cls][1], *ASSIGNMENTS):
        for target, value in assignments(node):
            if is_self_attribute(target) and code.builds_module(value):
                yield target.attr, node


def _is_old_weight_norm(module: Module, call: ast.Call) -> bool:
    """Whether it is torch's own, in a file that neither knows the newer one nor takes it off again."""
    path = chain(call.func)
    place, original = module.imports.get((path or [""])[0], ("", ""))
    whole = ".".join([place, *([original] if original and place != original else []), *path[1:]]) if place else ""
    if not (whole.startswith("torch") and ".nn" in whole and whole.endswith(".weight_norm")):
        return False
    if "parametrizations" in module.source or "remove_weight_norm" in module.source:
        return False
    own = {node.name for node in every(module.tree, ast.FunctionDef, ast.ClassDef)}
    return path[0] not in own


def loss_arguments(code: ReachableCode) -> Iterator[Finding]:
    """P18: a forward that Trainer takes for one that counts the items of a step itself."""
    for cls in code.models:
        definition = code.folder.method(cls, "forward")
        if not definition or _has_unseen_code(code, cls):
            continue
        owner, forward = definition
        kwargs = forward.args.kwarg
        if kwargs is None:
            continue
        names = [a.arg for a in (*forward.args.posonlyargs, *forward.args.args, *forward.args.kwonlyargs)]
        if not any("label" in name or "target" in name for name in names):
            continue
        accepts = code.folder.attribute(cls, "accepts_loss_kwargs")
        if isinstance(accepts, ast.Constant) and accepts.value is False:
            continue
        if _sets_false(code, cls, "accepts_loss_kwargs") or _counts_items(code, cls, forward, kwargs.arg):
            continue
        yield code.finding(
            "P18",
            f"{cls}.forward takes **{kwargs.arg} but neither uses num_items_in_batch nor sets "
            "accepts_loss_kwargs = False: gradients are multiplied by gradient_accumulation_steps.",
            owner,
            forward,
            fix=f"Set accepts_loss_kwargs = False in the body of {cls}.",
        )


def _has_unseen_code(code: ReachableCode, cls: str) -> bool:
    """Whether it derives from a model of transformers' own. A XPreTrainedModel has neither a forward nor a loss."""
    bases = [pair for owner in code.folder.lineage(cls) for pair in code.folder.bases(owner)]
    return any(stock_kind(base, place) == "model" and not base.endswith("PreTrainedModel") for base, place in bases)


def _sets_false(code: ReachableCode, cls: str, name: str) -> bool:
    for owner in code.folder.lineage(cls):
        for node in every(code.folder.classes[owner][1], *ASSIGNMENTS):
            for target, value in assignments(node):
                if is_self_attribute(target) and target.attr == name and isinstance(value, ast.Constant):
                    return value.value is False
    return False


def _counts_items(code: ReachableCode, cls: str, forward: ast.AST, kwargs: str) -> bool:
    """Whether num_items_in_batch is read, or goes on to something that computes the loss."""
    for owner in code.folder.lineage(cls):
        for node in walk(code.folder.classes[owner][1]):
            named = getattr(node, "id", None) or getattr(node, "arg", None) or string(node)
            if named == "num_items_in_batch":
                return True
    for call in calls(forward):
        values = [*call.args, *(k.value for k in call.keywords)]
        passed = any(isinstance(v, ast.Name) and v.id == kwargs for v in values)
        words = {n.id for v in values for n in every(v, ast.Name)}
        words |= {k.arg for k in call.keywords if k.arg}
        if passed and (
            "loss" in call_name(call).lower()
            or call_name(call) in ("forward", "criterion")
            or any("label" in word or "target" in word for word in words)
        ):
            return True
    return False


def base_prefix(code: ReachableCode) -> Iterator[Finding]:
    """P24: heads that cannot exchange checkpoints with their base model."""
    for cls in code.models:
        if head(cls) and not code.folder.is_stock(cls) and (base := _base_of(code, cls)):
            prefix = code.folder.attribute(cls, "base_model_prefix")
            if prefix is None or string(prefix) == "":
                yield code.finding(
                    "P24",
                    f"{cls} has no base_model_prefix: a checkpoint of the base model does not load into it, nor its "
                    "own into the base model.",
                    cls,
                    fix=f'Set base_model_prefix = "{base}", the attribute that holds the base model.',
                    severity=WARNING,
                )


def _base_of(code: ReachableCode, cls: str) -> str | None:
    """The attribute in which a head keeps another model, of the folder or of transformers; None without one."""
    for owner in code.folder.lineage(cls):
        module, definition = code.folder.classes[owner]
        for statement in definition.body:
            if not (isinstance(statement, ast.FunctionDef) and statement.name == "__init__"):
                continue
            for node in own_nodes(statement):
                if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    target = node.targets[0]
                    if is_self_attribute(target) and builds_model(code, module.imports, node.value):
                        return target.attr
    return None


def builds_model(code: ReachableCode, imports: dict[str, tuple[str, str]], call: ast.Call) -> bool:
    path = chain(call.func)
    if not path:
        return False
    source, name = imports.get(path[0], ("", path[0]))
    if path[-1] in ("from_config", "from_pretrained", "_from_config"):
        return len(path) > 1 and path[-2].startswith("AutoModel")
    own = path[-1] in code.folder.classes and code.folder.kind(path[-1]) == "model"
    return own or (source.split(".")[0] == "transformers" and name.endswith("Model"))


def registered_at_import(code: ReachableCode) -> Iterator[Finding]:
    """P25: classes that importing a file enters into transformers' own tables, as if they were local code.

    Configurations of parts of a model may be registered alone.
    """
    main = code.auto_map.get("AutoConfig", "").split(".")[-1]
    for module in code.modules:
        for call in _calls_at_import(module.tree):
            path = chain(call.func)
            if len(path) < 2 or path[-1] != "register":
                continue
            auto = module.imports.get(path[-2], ("", path[-2]))[1] or path[-2]
            arguments = [*call.args, *(k.value for k in call.keywords)]
            last_words = [path[-1] for path in map(chain, arguments) if path]
            names = [name for name in last_words if name in code.folder.classes]
            if auto.startswith("AutoModel"):
                cls = names[-1] if names else "YourModel"
            elif auto == "AutoConfig" and main and main in names:
                cls = main
            else:
                continue
            yield Finding(
                "P25",
                f"{module.file}:{call.lineno}: {module.text(call, 80)} at import makes the loader take these classes "
                "for local code, and a later save_pretrained leaves the code files out. Use "
                f"{cls}.register_for_auto_class().",
                module.file,
                call.lineno,
            )


def not_registered(code: ReachableCode) -> Iterator[Finding]:
    """P28: classes that auto_map names and no register_for_auto_class does.

    Before transformers 4.53 save_pretrained copies the code of registered classes only, so that a model that a user
    has loaded, tuned and saved cannot be loaded again. A load from a directory registers the configuration and the
    processors in every release, one from the Hub from 4.53 on (os.path.isdir in models/auto/configuration_auto.py of
    4.52): the saved config.json then names the Hub's configuration, unpinned, beside the model's own file. 4.48 does
    not load that, as the two are classes of two places.
    """
    if code.lowest_version >= REGISTERS_ON_LOAD:
        return
    registered = {
        chain(node.func)[-2]
        for module in code.modules  # what a training script registers is not so for who loads
        for node in every(module.tree, ast.Call)
        if chain(node.func)[-1:] == ["register_for_auto_class"]
    }
    lines: dict[str, tuple[str, str]] = {}  # class -> the file it is in, and the line that it needs
    for auto, entry in sorted(code.auto_map.items(), reverse=True):
        cls = entry.split(".")[-1]
        if cls not in code.folder.classes or cls in registered | lines.keys():
            continue
        if auto == "AutoModel":  # the one that pipelines look for, where its outputs say so
            auto = auto_of_outputs(code.folder, cls) or auto
        name = "" if auto == "AutoConfig" else f'"{auto}"'
        lines[cls] = code.folder.classes[cls][0].file, f"{cls}.register_for_auto_class({name})"
    if lines:
        ends = [f"end {file} with {line}" for file, line in lines.values()]
        yield code.finding(
            "P28",
            f"{_listed(list(lines))} {'are' if len(lines) > 1 else 'is'} not registered: before transformers 4.53, "
            "what was loaded from the Hub and saved lacks this code: it runs the Hub's newest, or does not load.",
            next(iter(lines)),
            fix=f"To save it with its code, {_listed(ends)}.",
            severity=WARNING,
        )


def _listed(words: list[str]) -> str:
    """Words with commas and an "and".

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _calls_at_import(tree: ast.Module) -> Iterator[ast.Call]:
    """Calls that run when a file is imported: also in if, try, with and loops, and not those under __main__."""
    stack: list[ast.AST] = list(reversed(tree.body))
    while stack:
        node = stack.pop()
        if isinstance(node, FUNCTIONS):
            continue
        if isinstance(node, ast.Call):
            yield node
        if isinstance(node, ast.If) and any(string(n) == "__main__" for n in walk(node.test)):
            stack.extend(reversed(node.orelse))
            continue
        stack.extend(reversed(below(node)))
