"""Methods of a folder's own that transformers calls in the place of its own (P57, P61, P62), and ties (P63, P64).

Which of them a release calls, and with what, is measured (the laboratory's own_methods cases).
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    assignments,
    call_name,
    calls,
    chain,
    defined_functions,
    is_none,
    is_self_attribute,
    own_nodes,
    parameters,
    string,
    word,
)
from pinfold.audit.rules.members import mains
from pinfold.audit.rules.own_loading import loads_itself
from pinfold.audit.rules.ties import says_of_ties
from pinfold.common.trees import every, walk
from pinfold.folder.releases import release_ranges

# What from_pretrained reads weights from, in names and in the constants and functions that stand for them.
WEIGHTS = ("model.safetensors", "pytorch_model", "tf_model", "flax_model")
WRITES = ("SAFE_WEIGHTS_NAME", "WEIGHTS_NAME", "save_model", "save_torch_state_dict", "save_torch_model")
SAVES, SUFFIX = "save_pretrained", ".safetensors"  # a name of a file may be put together
PARTS = ("config", "generation_config", "processor", "tokenizer", "image_processor")  # whose save writes no weights
OF_VALIDATE = "P61.no_strict_own_constructor"
TEXT = ("decoder", "generator", "text_config")  # where get_text_config of every release looks for the text's settings


def saves_elsewhere(code: ReachableCode) -> Iterator[Finding]:
    """P57: a save_pretrained that writes no file of weights that from_pretrained reads."""
    for cls in mains(code):
        own = code.folder.method(cls, "save_pretrained")
        if own is None or code.folder.method(cls, "from_pretrained") or writes_weights(code, cls, own[1]):
            continue
        if any(isinstance(statement, ast.Raise) for statement in own[1].body):  # it says itself that it does not save
            continue
        yield code.finding(
            "P57",
            f"{cls}.save_pretrained writes no model.safetensors, and from_pretrained cannot load what it saved.",
            own[0],
            own[1],
            fix="Call super().save_pretrained(save_directory, **kwargs) as well.",
            releases=harmed("P57.writes_elsewhere", code.lowest_version),
            case="P57.writes_elsewhere",
        )


def writes_weights(code: ReachableCode, cls: str, function: ast.FunctionDef, deep: int = 2) -> bool:
    """Whether a method, or one of the class that it calls, may write the weights where from_pretrained looks."""
    module = code.folder.classes[cls][0]
    constants = {
        target.id if isinstance(target, ast.Name) else "": value
        for owner in code.folder.lineage(cls)
        for body in (code.folder.classes[owner][1].body, code.folder.classes[owner][0].tree.body)
        for statement in body
        for target, value in assignments(statement)
    }
    called_directly = {call.func for call in every(function, ast.Call)}
    directory = parameters(function)[1].arg if len(parameters(function)) > 1 else ""
    for node in walk(function):
        said = constants.get(node.id) if isinstance(node, ast.Name) else None
        said = constants.get(node.attr) if isinstance(node, ast.Attribute) else said
        text = string(node) or string(said) or ""
        if (isinstance(said, ast.Attribute) and said.attr == SAVES) or text in (SAVES, SUFFIX):
            return True
        if isinstance(node, ast.Attribute) and node.attr == SAVES and node not in called_directly:
            return True  # it is kept, or handed on
        if any(name in text for name in WEIGHTS) or (getattr(node, "id", "") or word(node)) in WRITES:
            return True
        if not isinstance(node, ast.Call):
            continue
        if call_name(node) == "save_pretrained":
            owner = chain(node.func)[:-1]
            first = node.args[0] if node.args else next((k.value for k in node.keywords), None)
            here = not isinstance(first, ast.expr) or (isinstance(first, ast.Name) and first.id == directory)
            if not owner or owner[0] != "self" or (here and owner[-1] not in PARTS):
                return True  # super().save_pretrained, PreTrainedModel.save_pretrained, or a part in its place
        elif is_self_attribute(node.func):
            called = code.folder.method(cls, node.func.attr)
            if called and (not deep or writes_weights(code, cls, called[1], deep - 1)):
                return True
        elif isinstance(node.func, ast.Name) and (
            module.imports.get(node.func.id, ("",))[0].startswith(".") or node.func.id in defined_functions(module)
        ):
            return True  # a helper of the folder, which is not followed
    return False


def refuses_arguments(code: ReachableCode) -> Iterator[Finding]:
    """P61: a GenerationConfig of the folder's own with a validate that does not take what transformers gives it."""
    for cls in code.classes:
        bases = [base for owner in code.folder.lineage(cls) for base in code.folder.bases(owner)]
        own = code.folder.method(cls, "validate")
        if own is None or not any(b == "GenerationConfig" and p.split(".")[0] == "transformers" for b, p in bases):
            continue
        takes = own[1].args.kwarg is not None or any(each.arg == "strict" for each in parameters(own[1]))
        affected = () if takes else harmed(OF_VALIDATE, code.lowest_version)
        if affected:
            yield code.finding(
                "P61",
                f"{cls}.validate does not take what transformers {release_ranges(affected)} calls it with.",
                own[0],
                own[1],
                fix="Write def validate(self, *args, **kwargs).",
                releases=affected,
                severity=ERROR if _is_of_a_model(code, cls) else WARNING,
                case=OF_VALIDATE,
            )


def _is_of_a_model(code: ReachableCode, cls: str) -> bool:
    """Whether some code makes one the settings of a model: self.generation_config = Own.from_model_config(config)."""
    return any(
        isinstance(target, ast.Attribute)
        and target.attr == "generation_config"
        and isinstance(value, ast.Call)
        and cls in chain(value.func)
        for module in code.modules
        for node in every(module.tree, *ASSIGNMENTS)
        for target, value in assignments(node)
    )


def asked_too_early(code: ReachableCode) -> Iterator[Finding]:
    """P62: a get_text_config that reads a field which the constructor sets behind super().__init__().

    From 5.4 on the constructor of the base checks the special tokens against the settings of the text.
    """
    case = "P62.text_config_after_super"
    affected = harmed(case, code.lowest_version)
    for cls in code.config_classes if affected else ():
        own, init = code.folder.method(cls, "get_text_config"), code.folder.method(cls, "__init__")
        if own is None or init is None or code.folder.is_stock(cls) or _guards_itself(own[1]):
            continue
        late = _set_late(init[1])
        reads = [
            node
            for node in own_nodes(own[1])
            if is_self_attribute(node) and isinstance(node.ctx, ast.Load) and node.attr in late
        ]
        in_class = (code.folder.attribute(cls, n.attr) or code.folder.method(cls, n.attr) for n in reads)
        if not reads or any(in_class):
            continue
        yield code.finding(
            "P62",
            f"{cls}.get_text_config reads self.{reads[0].attr}, which __init__ sets behind super().__init__(): "
            f"transformers {release_ranges(affected)} asks there.",
            own[0],
            reads[0],
            fix=f"Set self.{reads[0].attr} before super().__init__(**kwargs).",
            releases=affected,
            case=case,
        )


def _guards_itself(function: ast.FunctionDef) -> bool:
    """Whether a method asks whether a field is there, or expects that it is not."""
    asks = any(call_name(call) in ("hasattr", "getattr", "vars") for call in calls(function))
    return asks or bool(every(function, ast.Try)) or any(n.attr == "__dict__" for n in every(function, ast.Attribute))


def _is_of_base(call: ast.Call) -> bool:
    """super().__init__(...) or Base.__init__(self, ...)"""
    if call_name(call) != "__init__" or not isinstance(call.func, ast.Attribute):
        return False
    of_super = isinstance(call.func.value, ast.Call) and call_name(call.func.value) == "super"
    return of_super or (bool(call.args) and getattr(call.args[0], "id", "") == "self")


def _set_late(init: ast.FunctionDef) -> set[str]:
    """Fields that a constructor sets only behind super().__init__(...), and does not hand to it."""
    before: set[str] = set()
    behind: set[str] = set()
    reached = False
    for statement in init.body:
        known = behind if reached else before
        stored = (node for node in every(statement, ast.Attribute) if isinstance(node.ctx, ast.Store))
        known |= {node.attr for node in stored if is_self_attribute(node)}  # in tuples and loops too
        base = [call for call in calls(statement) if _is_of_base(call)]
        if not reached and any(call_name(c) == "setattr" or is_self_attribute(c.func) for c in calls(statement)):
            return set()  # it may set anything
        if base:
            reached = True
            before |= {keyword.arg for call in base for keyword in call.keywords if keyword.arg}
    return behind - before if reached else set()


def ties_by_the_outer(code: ReachableCode) -> Iterator[Finding]:
    """P63: settings that say nothing of ties around those of the text, which say that nothing is tied.

    tie_weights of 4.48 asks the outer ones, whose default is to tie; later ones ask what get_text_config gives.
    """
    stored = code.configs.get("config.json", {})
    affected = harmed("P63.outer_ties", code.lowest_version)
    main = code.auto_map.get("AutoConfig", "").split(".")[-1]
    if not affected or main not in code.config_classes or "tie_word_embeddings" in stored:
        return
    if code.folder.is_stock(main) or any(says_of_ties(code, owner) for owner in code.folder.lineage(main)):
        return
    if _sets_ties(code, main):
        return
    own = code.folder.method(main, "get_text_config")
    returned = [n.value for n in own_nodes(own[1]) if isinstance(n, ast.Return)] if own else []
    names = {(chain(value) or [""])[-1] for value in returned} if own else set(TEXT)
    said = [_ties_of_part(code, main, name) for name in sorted(names)]
    if [each for each in said if each is not None] != [False]:
        return
    for cls in mains(code):
        exposed = [code.folder.method(cls, name) for name in ("get_input_embeddings", "get_output_embeddings")]
        gives = [n.value for each in exposed[1:] if each for n in own_nodes(each[1]) if isinstance(n, ast.Return)]
        if gives and all(value is None or is_none(value) for value in gives):
            continue  # nothing is exposed
        if not all(exposed) or code.folder.method(cls, "tie_weights") or loads_itself(code.folder, cls):
            continue
        yield code.finding(
            "P63",
            f"{cls}: config.json says tie_word_embeddings for the text alone, and transformers "
            f"{release_ranges(affected)} goes by the outer settings: it ties what is not tied.",
            cls,
            fix='Write "tie_word_embeddings": false into the outer settings of config.json too, and pass it to '
            f"super().__init__ in {main}.",
            releases=affected,
            case="P63.outer_ties",
        )


def _sets_ties(code: ReachableCode, main: str) -> bool:
    """Whether code sets tie_word_embeddings in a way that says_of_ties does not read."""
    name = "tie_word_embeddings"
    nodes = [code.folder.classes[owner][1] for owner in code.folder.lineage(main)]
    texts = any(each.value == name for node in nodes for each in every(node, ast.Constant))
    models = [code.folder.classes[cls][1] for cls in code.models]
    stores = [n for node in models for n in every(node, ast.Attribute) if isinstance(n.ctx, ast.Store)]
    return texts or code.folder.method(main, name) is not None or any(each.attr == name for each in stores)


def _ties_of_part(code: ReachableCode, main: str, name: str) -> bool | None:
    """What the settings of a part say of ties: in config.json, or by its class's default; None where they do not."""
    stored = code.configs.get("config.json", {}).get(name)
    if isinstance(stored, dict) and "tie_word_embeddings" in stored:
        return stored["tie_word_embeddings"] is not False
    init = code.folder.method(main, "__init__")
    built = {
        call_name(call)
        for node in (every(init[1], *ASSIGNMENTS) if init else ())
        for target, value in assignments(node)
        if is_self_attribute(target) and target.attr == name and value is not None
        for call in every(value, ast.Call)
    } & set(code.config_classes)
    values = says_of_ties(code, built.pop()) if len(built) == 1 else []
    return any(not (isinstance(v, ast.Constant) and v.value is False) for v in values) if values else None
