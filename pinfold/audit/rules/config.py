"""Rules about the configuration class (P15): built without arguments, from any JSON, and complete."""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import (
    ASSIGNMENTS,
    ReachableCode,
    argument,
    assignments,
    call_name,
    calls,
    chain,
    defaults,
    is_config,
    is_self_attribute,
    is_try,
    own_nodes,
    parameters,
    reads_typed,
    string,
)
from pinfold.audit.rules.branches import condition
from pinfold.audit.rules.generation import sets_up_cache
from pinfold.common.trees import below, every, walk
from pinfold.folder.model_folder import Module, located

# Settings of rotary positions, which transformers 5 keeps as rope_parameters. Set to None after super().__init__, they
# are lost when the configuration is saved and read again (5.24.0); passed on, they stay (4.48.3 to 5.24.0). Set before
# it, they get the keys that some kinds need, and None gets some too (the laboratory's P15.rope_scaling).
ROPE = ("rope_scaling", "rope_parameters")
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
# What PretrainedConfig() has in 4.48.3 and in 4.57.6, and not in 5.0.0 and 5.24.0 (the same comparison).
_BEFORE_5 = (
    "add_cross_attention bad_words_ids begin_suppress_tokens bos_token_id cross_attention_hidden_size "
    "decoder_start_token_id diversity_penalty do_sample early_stopping encoder_no_repeat_ngram_size eos_token_id "
    "exponential_decay_length_penalty finetuning_task forced_bos_token_id forced_eos_token_id is_decoder "
    "length_penalty max_length min_length no_repeat_ngram_size num_beam_groups num_beams num_return_sequences "
    "output_scores pad_token_id prefix pruned_heads remove_invalid_values repetition_penalty "
    "return_dict_in_generate sep_token_id suppress_tokens task_specific_params temperature tf_legacy_loss "
    "tie_encoder_decoder tie_word_embeddings tokenizer_class top_k top_p torchscript typical_p use_bfloat16"
)
SET_BEFORE_5 = frozenset(_BEFORE_5.split())
# Names of parts that get_text_config takes for the text's settings; decoder_layers is what it takes for the layers of
# an encoder-decoder.
PARTS_OF_TEXT = {"decoder", "generator", "text_config", "decoder_layers"}
# Those of them that are settings of generate, and what GenerationConfig() of 4.57.6 has for them. A configuration that
# sets one itself loads, but generate and save_pretrained of 5.24.0 refuse it ("You have modified the pretrained model
# configuration to control generation"); a default where it is read works from 4.48.3 to 5.24.0.
OF_GENERATE = {
    **dict.fromkeys(("bad_words_ids", "begin_suppress_tokens", "exponential_decay_length_penalty")),
    **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id", "suppress_tokens")),
    **dict.fromkeys(("do_sample", "early_stopping", "output_scores"), False),
    **dict.fromkeys(("remove_invalid_values", "return_dict_in_generate"), False),
    **dict.fromkeys(("encoder_no_repeat_ngram_size", "min_length", "no_repeat_ngram_size"), 0),
    **dict.fromkeys(("num_beam_groups", "num_beams", "num_return_sequences"), 1),
    **dict.fromkeys(("length_penalty", "repetition_penalty", "temperature", "top_p", "typical_p"), 1.0),
    "diversity_penalty": 0.0,
    "max_length": 20,
    "top_k": 50,
}


def config_class(code: ReachableCode) -> Iterator[Finding]:
    """P15: arguments without default, no **kwargs, attributes that are not set."""
    for cls in code.config_classes:
        yield from _arguments(code, cls)
    if code.config_classes and not any(code.folder.is_stock(cls) for cls in code.config_classes):
        yield from _attributes(code)


def _arguments(code: ReachableCode, cls: str) -> Iterator[Finding]:
    body = code.folder.classes[cls][1].body
    init = next((s for s in body if isinstance(s, ast.FunctionDef) and s.name == "__init__"), None)
    if init is None:  # rules/fields.py
        return
    signature = init.args
    for each in parameters(init)[1:]:
        if each.arg not in defaults(init):
            yield _lacks_default(code, cls, each.arg, each)
    if signature.kwarg is None:
        yield code.finding("P15", f"{cls}.__init__: no **kwargs.", cls, init, fix=_PASS_ON, case="P15.no_kwargs")
    elif not any(isinstance(n, ast.Name) and n.id == signature.kwarg.arg for n in walk(init)):
        words = f"{cls}.__init__: **{signature.kwarg.arg} is not passed on."
        yield code.finding("P15", words, cls, init, fix=_PASS_ON, case="P15.kwargs_not_passed_on")


_PASS_ON = "Take **kwargs and end with super().__init__(**kwargs): it carries labels, dtype and auto_map."


def _lacks_default(code: ReachableCode, cls: str, name: str, node: ast.AST) -> Finding:
    words = f'{cls}.__init__: parameter "{name}" has no default.'
    fix = "transformers builds it without arguments; give it one."
    return code.finding("P15", words, cls, node, fix=fix, case="P15.no_default")


def _attributes(code: ReachableCode) -> Iterator[Finding]:
    known: set[str] = set(ALWAYS_SET)
    if code.lowest_version >= (5, 0):
        known.add("dtype")  # as transformers 5 calls torch_dtype
    for cls in code.config_classes:
        for owner in code.folder.lineage(cls):
            own = _set_by(code.folder.classes[owner][1])
            if own is None:  # names that are computed
                return
            known |= own
    registered = code.auto_map.get("AutoConfig", "").split(".")[-1]
    named = registered if registered in code.config_classes else code.config_classes[-1]
    stored = code.configs.get("config.json", {})
    composite = any(name.endswith("_config") for name in known - set(ALWAYS_SET))  # config may be that of a part there
    reported: set[str] = set()
    layers, nested = "num_hidden_layers", code.folder.attribute(named, "sub_configs") is not None
    # get_text_config(decoder=True) gives the one part that is called so, or else the whole
    of_part = nested or known & PARTS_OF_TEXT or code.folder.method(named, "get_text_config") is not None
    if not of_part and layers not in known | set(stored) and sets_up_cache(code):
        yield code.finding(
            "P15",
            f"{named}.__init__: {layers} is read by generate but never set.",
            named,
            releases=harmed("P15.layers_never_set", code.lowest_version),
            case="P15.layers_never_set",
            fix=f"Set it, or name the field that holds it in the body of {named}: "
            f'attribute_map = {{"{layers}": "..."}}.',
        )
    models = {place.split(".")[0] for auto, place in code.auto_map.items() if auto.startswith("AutoModel")}
    ours = classes_with_config(code)
    for module in code.folder.closure(sorted(models)):
        for name, node in _ConfigReads(code, module, ours).reads():
            if name in known or name in reported or name.startswith("__"):
                continue
            reported.add(name)
            here = f"{module.file}:{node.lineno}: "
            before_5, fix = name in SET_BEFORE_5, _to_have(name, module, node)
            case, where = _case(name, module, node)
            affected = harmed(case, code.lowest_version)
            if not affected:
                continue
            yield Finding(
                "P15",
                f"{here}{named}.__init__: {name} is read by the model but never set.",
                module.file,
                node.lineno,
                fix=f"{fix}; transformers 4 sets it, and 5 does not." if before_5 else f"{fix}.",
                releases=affected,
                severity=WARNING if (composite and not reads_typed(module, node, named)) or name in stored else ERROR,
                case=case,
                where=where,
            )


def _case(name: str, module: Module, read: ast.AST) -> tuple[str, str]:
    """The laboratory's case of a field that is read and not set, and where the read runs, if that is not sure."""
    line = located(read).lineno
    around = [
        node for node in every(module.tree, ast.FunctionDef) if node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    inner = max(around, key=lambda node: node.lineno) if around else None
    function = inner.name if inner else "__init__"
    by_base = "P15.of_generation" if name in OF_GENERATE else "P15.set_before_5"
    case = by_base if name in SET_BEFORE_5 else "P15.never_set"
    if inner and function == "forward":
        when = condition(module, inner, read)
        return f"{case}:forward", f"where {when}" if when else ""
    return f"{case}:constructor", "" if function == "__init__" else f"where {function} reads it"


def own_constructor(code: ReachableCode) -> Iterator[Finding]:
    """P15: a constructor that reads what the base class of transformers 4 has set, and that of 5 does not."""
    affected = harmed("P15.own_constructor_reads_base", code.lowest_version)
    reported: set[str] = set()
    for cls, node in reads_of_base(code) if affected else ():
        if cls not in reported:
            reported.add(cls)
            yield code.finding(
                "P15",
                f"{cls}.__init__ reads self.{node.attr}, which transformers 4 sets, and 5 does not.",
                cls,
                node,
                fix=f'Read it with a default, getattr(self, "{node.attr}", None).',
                releases=affected,
                case="P15.own_constructor_reads_base",
            )


def reads_of_base(code: ReachableCode) -> Iterator[tuple[str, ast.Attribute]]:
    """What constructors of configurations read so: class and place."""
    for cls in code.config_classes if not any(map(code.folder.is_stock, code.config_classes)) else ():
        init = code.folder.method(cls, "__init__")
        if init is None or any(is_try(node) for node in walk(init[1])):
            continue
        asked = {string(node) for node in walk(init[1])}  # hasattr(self, "top_k"), and what it sets by its name
        own = asked.union(
            code.configs.get("config.json", {}),
            *(_set_by(code.folder.classes[o][1]) or SET_BEFORE_5 for o in code.folder.lineage(cls)),
        )
        for node in own_nodes(init[1]) if init[0] == cls else ():
            if is_self_attribute(node) and isinstance(node.ctx, ast.Load) and node.attr in SET_BEFORE_5 - own:
                yield cls, node


def _to_have(name: str, module: Module, read: ast.Attribute | ast.Call) -> str:
    """The cure for a field that is read and not set."""
    if name in OF_GENERATE:
        owner = module.text(read.value if isinstance(read, ast.Attribute) else read.args[0])
        return f'Read it with a default, getattr({owner}, "{name}", {OF_GENERATE[name]!r})'
    if name in ROPE:
        return (
            f"Take {name}=None as an argument. Behind self.max_position_embeddings = ..., and the other sizes, write "
            f"if {name}: self.{name} = {name}, and then super().__init__({name}={name}, **kwargs): transformers 5 "
            "reads them there"
        )
    return f"Take {name} as an argument with a default and set it"


def _set_by(cls: ast.ClassDef) -> set[str] | None:
    """Attributes that a class sets; None where it computes their names."""
    names: set[str] = set()
    for statement in cls.body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            if statement.name in ("__getattr__", "__getattribute__"):
                return None
            names.add(statement.name)
        for target, value in assignments(statement):
            if isinstance(target, ast.Name):
                names.add(target.id)
                if target.id == "attribute_map":
                    names |= {text for n in walk(value or target) if (text := string(n))}
    for node in every(cls, *ASSIGNMENTS, ast.Call):
        for target, _ in assignments(node):
            names |= _set_by_target(target)
        if isinstance(node, ast.Call):
            of_call = _set_by_call(node, cls)
            if of_call is None:
                return None
            names |= of_call
    return names


def _set_by_target(target: ast.expr) -> set[str]:
    """The attribute that an assignment sets: self.x, *self.x, or self.__dict__["x"]."""
    if isinstance(target, ast.Subscript):
        return {string(target.slice) or ""}
    owner = target.value if isinstance(target, ast.Starred) else target
    return {owner.attr} if isinstance(owner, ast.Attribute) and is_self_attribute(owner) else set()


def _set_by_call(call: ast.Call, cls: ast.ClassDef) -> set[str] | None:
    """Attributes that a call inside a class sets; None where it computes their names."""
    name = call_name(call)
    own = chain(call.func)[:1] == ["self"] or chain(call.func)[:2] == ["self", "__dict__"]
    if name in ("setattr", "__setattr__"):
        attribute = argument(call, 0 if own and name == "__setattr__" else 1, "name")
        if string(attribute) is None and not _names_its_argument(attribute, cls):
            return None
        return {string(attribute) or ""}
    if name == "update" and (own or _is_vars(call)):
        return None
    if name == "setdefault":
        return {string(argument(call, 0, "")) or ""}
    if name == "__init__":  # super().__init__(x=1, **{"y": 2})
        tables = [keyword.value for keyword in call.keywords if keyword.arg is None]
        if any(isinstance(table, ast.Name) and not _is_parameter(table.id, cls) for table in tables):
            return None  # a table that was computed before
        unpacked = [n for table in tables for n in walk(table)]
        keys = {string(key) for node in unpacked if isinstance(node, ast.Dict) for key in node.keys}
        return {text for text in ({keyword.arg for keyword in call.keywords} | keys) if text}
    return set()


def _is_parameter(name: str, cls: ast.ClassDef) -> bool:
    """Whether it is the **kwargs of a method of the class."""
    return any(isinstance(s, ast.FunctionDef) and s.args.kwarg and s.args.kwarg.arg == name for s in walk(cls))


def _names_its_argument(node: ast.AST | None, cls: ast.ClassDef) -> bool:
    """Inside the class's __setattr__, super().__setattr__(name, value) sets nothing new."""
    overrides = [s for s in cls.body if isinstance(s, ast.FunctionDef) and s.name == "__setattr__"]
    return any(isinstance(node, ast.Name) and node.id in {a.arg for a in s.args.args} for s in overrides)


def _is_vars(call: ast.Call) -> bool:
    owner = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(owner, ast.Call) and call_name(owner) == "vars"


@dataclass(frozen=True)
class _Scope:
    """What two names hold at a place in the code: whether ``config`` and ``self.config`` are the folder's."""

    config: bool
    self_config: bool


class _ConfigReads:
    """What a file reads from ``config`` or ``self.config``, as far as that is the folder's configuration."""

    def __init__(self, code: ReachableCode, module: Module, ours: set[str]):
        self.code = code
        self.module = module
        self.ours = ours
        self.written: set[str] = set()
        self.probed = {
            string(call.args[1])
            for call in calls(module.tree)
            if (call_name(call) in ("hasattr", "setattr") and len(call.args) > 1)
            or (call_name(call) == "getattr" and len(call.args) > 2)
        }

    def reads(self) -> Iterator[tuple[str, ast.Attribute | ast.Call]]:
        """(attribute, where), in the order of the text: what was written above is there."""
        pending: list[tuple[ast.AST, _Scope]] = [(self.module.tree, _Scope(config=True, self_config=True))]
        while pending:
            node, scope = pending.pop()
            if isinstance(node, ast.Attribute) and (name := self._attribute(node, scope)):
                yield name, node
            if isinstance(node, ast.Call) and (name := self._getattr(node, scope)):
                yield name, node
            pending += reversed(self._parts(node, scope))

    def _parts(self, node: ast.AST, scope: _Scope) -> list[tuple[ast.AST, _Scope]]:
        """The parts of a node that read what must be there, each with its scope."""
        if isinstance(node, ast.ClassDef):
            own = node.name in self.ours and not other_config(self.code, node)
            scope = replace(scope, config=own, self_config=own)
        elif isinstance(node, ast.FunctionDef):
            # a method of a class with the folder's configuration starts anew; another one inherits what is around it
            scope = replace(scope, config=(scope.config or scope.self_config) and is_ours(self.code, node))
        elif isinstance(node, ast.If) and _asks_first(node.test):
            return [(child, scope) for child in node.orelse]  # the rest runs where the attribute is there
        elif isinstance(node, ast.IfExp) and _asks_first(node.test):
            return [(node.orelse, scope)]
        elif isinstance(node, ast.Try) and any(_catches_attributes(handler) for handler in node.handlers):
            return []
        return [(child, scope) for child in below(node)]

    def _attribute(self, node: ast.Attribute, scope: _Scope) -> str | None:
        """The attribute that config.x or self.config.x reads. Others are noted when they are written."""
        path = chain(node)
        if not isinstance(node.value, (ast.Name, ast.Attribute)):
            return None
        of_config = path[:1] == ["config"] and len(path) == 2 and scope.config and isinstance(node.value, ast.Name)
        of_self = path[:2] == ["self", "config"] and len(path) == 3 and scope.self_config
        if not (of_config or of_self):
            return None
        if isinstance(node.ctx, ast.Load):
            return None if node.attr in self.probed | self.written else node.attr
        self.written.add(node.attr)
        return None

    def _getattr(self, node: ast.Call, scope: _Scope) -> str | None:
        """The attribute that getattr(config, "x"), without a default, reads."""
        if call_name(node) != "getattr" or len(node.args) != 2:
            return None
        owner = node.args[0]
        ours = is_config(owner) and (scope.config if isinstance(owner, ast.Name) else scope.self_config)
        name = string(node.args[1])
        return name if ours and name not in self.probed else None


def reads_of_config(code: ReachableCode, module: Module) -> Iterator[tuple[str, ast.Attribute | ast.Call]]:
    """(field, where) of what a file reads from the folder's configuration, and has to be there."""
    return _ConfigReads(code, module, classes_with_config(code)).reads()


def _asks_first(test: ast.expr) -> bool:
    """`hasattr(config, "add_adapter") and config.add_adapter`: what follows needs an attribute that may be absent."""
    parts = test.values if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And) else [test]
    asked = [p.args[0] for p in parts if isinstance(p, ast.Call) and call_name(p) == "hasattr" and len(p.args) == 2]
    return any(chain(each)[-1:] == ["config"] for each in asked)


def _catches_attributes(handler: ast.ExceptHandler) -> bool:
    types = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(t is None or chain(t)[-1:] in (["AttributeError"], ["Exception"]) for t in types)


def is_ours(code: ReachableCode, function: ast.FunctionDef) -> bool:
    """Whether ``config`` in a function is the folder's: by its annotation, and unless it is bound again."""
    for each in parameters(function):
        if each.arg == "config" and each.annotation is not None:
            names = {n.id for n in every(each.annotation, ast.Name)}
            names |= {n.attr for n in every(each.annotation, ast.Attribute)}
            names |= {word for n in walk(each.annotation) if (text := string(n)) for word in [text.split(".")[-1]]}
            if not names & ({"PretrainedConfig", "PreTrainedConfig"} | set(code.config_classes)):
                return False
    for node in every(function, *ASSIGNMENTS, ast.For, ast.comprehension):
        for target, value in assignments(node):
            if isinstance(target, ast.Name) and target.id == "config" and not is_config(value):
                return False
        if isinstance(node, (ast.For, ast.comprehension)) and chain(node.target) == ["config"]:
            return False
    return True


def classes_with_config(code: ReachableCode, models: Sequence[str] | None = None) -> set[str]:
    """Classes whose ``config`` is the folder's: models, their mixins, and what these build with it.

    Args:
        models: those to begin with, where not all of the folder's are meant.

    A layer that is built with something else, Namespace(**config.vision_config) or config.text_config, and what it
    builds in turn, has another one. A class that nothing in the folder builds by its name may be built from a table.
    """
    folder = code.folder
    ours = {owner for cls in (code.models if models is None else models) for owner in folder.lineage(cls)}
    takes = {
        cls: place
        for cls in folder.classes
        if cls not in ours and folder.kind(cls) is None and (place := _place_of_config(code, cls)) is not None
    }
    builds = [build for module in folder.modules.values() for build in _builds(code, module.tree, takes)]
    new = {cls for cls in takes if cls not in {build.built for build in builds}}
    while True:
        ours |= {owner for cls in new for owner in folder.lineage(cls)}
        new = {
            build.built
            for build in builds
            if build.built not in ours and build.hands_on and (build.inside in ours | {""})
        }
        if not new:
            return ours


@dataclass(frozen=True)
class _Build:
    """A call that builds a class of the folder.

    Args:
        inside: the class around the call, or "".
        hands_on: whether it gets the configuration that is the folder's if that of ``inside`` is.
    """

    built: str
    inside: str
    hands_on: bool


def _place_of_config(code: ReachableCode, cls: str) -> int | None:
    """At which position, self not counted, the constructor of a class takes ``config``."""
    init = code.folder.method(cls, "__init__")
    names = [a.arg for a in (*init[1].args.posonlyargs, *init[1].args.args)][1:] if init else []
    return names.index("config") if "config" in names else None


def _builds(code: ReachableCode, tree: ast.Module, takes: dict[str, int]) -> Iterator[_Build]:
    """Every call in a file that builds one of these classes."""
    for outer in tree.body:
        of_class = isinstance(outer, ast.ClassDef) and outer.name in code.folder.classes
        inside = outer.name if isinstance(outer, ast.ClassDef) and of_class else ""
        for part in outer.body if isinstance(outer, ast.ClassDef) else [outer]:
            for call in calls(part):
                if (name := call_name(call)) in takes:
                    value = argument(call, takes[name], "config")
                    yield _Build(name, inside, _hands_on(code, value, part, outer))


def _hands_on(code: ReachableCode, value: ast.expr | None, part: ast.stmt, outer: ast.stmt) -> bool:
    """Whether a call passes on the configuration that the code around it has; a call with **kwargs may.

    Args:
        part: the function around the call. outer: the class around that.
    """
    if value is None:
        return True
    if isinstance(value, ast.Name):
        return is_config(value) and not (isinstance(part, ast.FunctionDef) and not is_ours(code, part))
    return is_config(value) and not (isinstance(outer, ast.ClassDef) and other_config(code, outer))


def other_config(code: ReachableCode, cls: ast.ClassDef) -> bool:
    """Whether self.config of a class is something else than the folder's configuration."""
    inits = [s for s in cls.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"]
    for init in inits:
        if "config" in {each.arg for each in parameters(init)} and not is_ours(code, init):
            return True
        for node in every(init, *ASSIGNMENTS):
            for target, value in assignments(node):
                if is_self_attribute(target) and target.attr == "config" and not is_config(value):
                    return True
    return False
