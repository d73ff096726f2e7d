"""P15: fields that the configuration of transformers 4 has by itself, and that of 5 has not; and lost **kwargs.

- a field is taken as an argument with the default of transformers 4, and passed on.
- a setting of generate is read with its default: a configuration that holds one is refused by generate.
- a value that goes up beside **kwargs, which may have it too, becomes an argument with this default.
"""

import ast

from pinfold.audit.finding import ERROR, Finding
from pinfold.audit.fixes.source import Source
from pinfold.audit.fixes.work import Work
from pinfold.audit.reachable import call_name, own_nodes, parameters
from pinfold.audit.rules.config import OF_GENERATE, SET_BEFORE_5, reads_of_base, reads_of_config
from pinfold.audit.rules.defaults import beside_kwargs
from pinfold.folder.kinds import KINDS

# What PretrainedConfig() of 4.48.3 and of 4.57.6 has for what it sets and 5 does not, where that is not None.
NOT_NONE = {
    **dict.fromkeys(("add_cross_attention", "is_decoder", "tf_legacy_loss", "tie_encoder_decoder"), False),
    **dict.fromkeys(("torchscript", "use_bfloat16"), False),
    "tie_word_embeddings": True,
}
TABLES = ("pruned_heads",)  # it has an empty table there, which every configuration would share as a default


def fix(work: Work) -> None:
    """Change what the audit reports."""
    findings = [f for f in work.findings if f.code == "P15" and f.severity == ERROR]
    for finding in findings:
        case = finding.case.split(":")[0]
        if case == "P15.set_before_5":
            _take(work, finding)
        elif case in ("P15.no_kwargs", "P15.kwargs_not_passed_on"):
            _pass_on(work, finding)
        elif case in ("P15.no_default", "P15.never_set", "P15.field_without_value_no_constructor"):
            _say(work, finding)
        elif " on beside **" in finding.sentence:
            _take_once(work, finding)
    _with_default(work, findings)
    for cls, node in reads_of_base(work.code):
        module, _ = work.code.folder.classes[cls]
        if any(
            f.case == "P15.own_constructor_reads_base" and f" {cls}.__init__ reads" in f.sentence for f in findings
        ):
            work.source(module).replace(node, f'getattr(self, "{node.attr}", {_default(node.attr)!r})', "P15")


def _default(name: str) -> object:
    return OF_GENERATE.get(name, NOT_NONE.get(name))


def _say(work: Work, finding: Finding) -> None:
    """Which value a field has only its author knows."""
    source = next((s for s in work.sources.values() if s.module.file == finding.file), None)
    if source is not None:
        words = finding.sentence.removeprefix(f"{finding.file}:{finding.line}: ").rstrip(".")
        source.reasons.append(f"{finding.file}:{finding.line}: {words}, and it is not clear which value it has")


def _take(work: Work, finding: Finding) -> None:
    """Take a field as an argument of the configuration's constructor, and pass it on."""
    code = work.code
    cls = next((c for c in code.config_classes if f" {c}.__init__: " in finding.sentence), None)
    name = next((n for n in sorted(SET_BEFORE_5, key=len) if f": {n} is read by the model" in finding.sentence), None)
    if cls is None or name is None:
        return
    source, init, above = _constructor(work, cls)
    node = init or code.folder.classes[cls][1]
    taken = {each.arg for each in parameters(init)} if init else set()
    passed = [keyword for keyword in above.keywords if keyword.arg is None] if above else []
    plain = init and init.args.kwarg and len(passed) == 1 and getattr(passed[0].value, "id", "") == init.args.kwarg.arg
    if init is None or not plain or name in taken or name in TABLES or not _is_plain(work, cls):
        source.say(node, f"{cls} does not set {name}: take it as an argument and pass it to super().__init__")
        return
    stars = source.text.rindex("**", 0, source.first(init.args.kwarg or init))
    source.add_argument(stars, f"{name}={_default(name)!r}", "P15")
    source.add_argument(source.first(passed[0]), f"{name}={name}", "P15")


def _is_plain(work: Work, cls: str) -> bool:
    """Whether only transformers' own base is above it: a configuration of transformers' own has other defaults."""
    folder = work.code.folder
    above = {base for owner in folder.lineage(cls) for base, _ in folder.bases(owner) if base not in folder.classes}
    return above <= KINDS["config"]


def _constructor(work: Work, cls: str) -> tuple[Source, ast.FunctionDef | None, ast.Call | None]:
    """The constructor that builds a configuration, and the only call in it of the one above."""
    found = work.code.folder.method(cls, "__init__")
    source = work.source(work.code.folder.classes[found[0] if found else cls][0])
    if found is None:
        return source, None, None
    above = [
        node
        for node in own_nodes(found[1])
        if isinstance(node, ast.Call) and call_name(node) == "__init__" and isinstance(node.func, ast.Attribute)
    ]
    return source, found[1], above[0] if len(above) == 1 else None


def _pass_on(work: Work, finding: Finding) -> None:
    """Take **kwargs, and pass them on."""
    cls = next((c for c in work.code.config_classes if f" {c}.__init__: " in finding.sentence), None)
    if cls is None:
        return
    source, init, above = _constructor(work, cls)
    if init is None or above is None or work.code.folder.method(cls, "__init__") != (cls, init):
        return
    names = {each.arg for each in parameters(init)}
    given_twice = [keyword.arg for keyword in above.keywords if keyword.arg not in names]
    if given_twice or above.args or "kwargs" in names:
        source.say(init, f"{cls}.__init__ does not pass **kwargs on, and says more to the one above; add it there")
        return
    name = init.args.kwarg.arg if init.args.kwarg else "kwargs"
    _append(source, above, above.keywords, f"**{name}")
    if not init.args.kwarg:
        every: list[ast.AST] = [*parameters(init), *init.args.defaults]
        every += [each for each in (*init.args.kw_defaults, init.args.vararg) if each is not None]
        last = max(map(source.last, every))
        source.insert(last, f"{_gap(source, parameters(init))}**{name}", "P15")


def _take_once(work: Work, finding: Finding) -> None:
    """Take as an argument what goes up beside **kwargs, where its value is written there."""
    cls = next((c for c in work.code.config_classes if f" {c}.__init__ passes " in finding.sentence), None)
    if cls is None:
        return
    source, init, above = _constructor(work, cls)
    if init is None or init.args.kwarg is None or above is None:
        return
    for keyword in beside_kwargs(init, init.args.kwarg.arg):
        if f" passes {keyword.arg} on beside" not in finding.sentence:
            continue
        if not isinstance(keyword.value, ast.Constant):
            source.say(keyword, f"{keyword.arg} is computed, and goes up beside **{init.args.kwarg.arg}: pop it there")
            continue
        stars = source.text.rindex("**", 0, source.first(init.args.kwarg))
        source.add_argument(stars, f"{keyword.arg}={source.of(keyword.value)}", "P15")
        source.replace(keyword.value, str(keyword.arg), "P15")


def _append(source: Source, call: ast.Call, arguments: list[ast.keyword], text: str) -> None:
    """Add an argument at the end of a call."""
    if arguments:
        source.insert(source.last(arguments[-1]), f"{_gap(source, arguments)}{text}", "P15")
    else:
        source.insert(source.last(call) - 1, text, "P15")


def _gap(source: Source, nodes: list) -> str:
    """What comes between two arguments, as it does between those that are there."""
    last = max(nodes, key=source.first)
    start = source.starts[last.lineno - 1]
    before = source.text[start : source.first(last)]
    return ", " if before.strip() else f",{source.end}{before}"


def _with_default(work: Work, findings: list[Finding]) -> None:
    """Read a setting of generate with the default that transformers has for it, wherever it is read."""
    names = {
        name
        for name in OF_GENERATE
        for finding in findings
        if finding.case.startswith("P15.of_generation") and f": {name} is read by the model" in finding.sentence
    }
    models = {place.split(".")[0] for auto, place in work.code.auto_map.items() if auto.startswith("AutoModel")}
    for module in work.code.folder.closure(sorted(models)) if names else ():
        source = work.source(module)
        for name, node in reads_of_config(work.code, module):
            if name not in names:
                continue
            if isinstance(node, ast.Attribute):
                source.replace(node, f'getattr({source.of(node.value)}, "{name}", {_default(name)!r})', "P15")
            else:
                source.insert(source.last(node.args[-1]), f", {_default(name)!r}", "P15")
