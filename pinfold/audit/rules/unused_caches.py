"""P82: a forward that names the cache and neither fills nor reads it.

From 4.54 on generate makes a cache for it all the same, and its steps are then handed the last word alone, whose past
nothing has kept. A preparation of its own that hands over the whole text is right (measured).
"""

import ast
from collections.abc import Iterator

from pinfold.audit.finding import Finding
from pinfold.audit.ranges import harmed
from pinfold.audit.reachable import ReachableCode, assignments, call_name, calls, chain, is_none, parameters, string
from pinfold.audit.rules.generation import generates, generates_itself, has_unknown_base, writes_text
from pinfold.audit.rules.handed import attributes_of, keeps_none, makes_no_cache
from pinfold.audit.rules.masks import has_encoder
from pinfold.audit.rules.members import mains
from pinfold.common.trees import every, walk
from pinfold.folder.releases import release_ranges

CACHE, NEWER, PREPARES = "past_key_values", "cache", "prepare_inputs_for_generation"
OTHERS = {"cache_params", "state", "mems", "past", "layer_past", "past_buckets_states", "past_key_value"}
DEEP = 6  # modules inside of modules


def unused(code: ReachableCode) -> Iterator[Finding]:
    """P82: nothing is put into the cache, and the settings do not say that there is none."""
    for cls in mains(code):
        definition = code.folder.method(cls, "forward")
        if definition is None or not _is_handed_one(code, cls) or not (case := _case(code, cls)):
            continue
        owner, forward = definition
        reading = _Unused(code)
        names = {each.arg for each in parameters(forward)}
        if CACHE not in names or names & OTHERS or _keeps_state(code):
            continue
        if any(reading.uses(cls, forward, name, 0) for name in (CACHE, NEWER) if name in names):
            continue
        if affected := harmed(case, code.lowest_version):
            yield code.finding(
                "P82",
                f"{cls}.forward takes {CACHE} and keeps nothing in it. generate of transformers "
                f"{release_ranges(affected)} then passes only the last token, and other text is written.",
                owner,
                forward,
                fix='Set use_cache=False in the configuration class, and write "use_cache": false into config.json.',
                releases=affected,
                case=case,
            )


def _is_handed_one(code: ReachableCode, cls: str) -> bool:
    """Whether transformers' generate runs the class with a cache that it makes itself."""
    if not (writes_text(code, cls) or generates(code, cls)) or generates_itself(code, cls):
        return False
    if code.folder.is_stock(cls) or has_unknown_base(code, cls) or has_encoder(code):
        return False
    own_loop = any(code.folder.method(cls, n) for n in ("_sample", "_update_model_kwargs_for_generation", "__call__"))
    return not own_loop and not keeps_none(code) and not makes_no_cache(code, cls)


def _case(code: ReachableCode, cls: str) -> str:
    """The laboratory's case; "" where the whole text is handed over at each step, or that is not known."""
    own = code.folder.method(cls, PREPARES)
    says = code.folder.attribute(cls, "_supports_cache_class")
    if own is None:
        takes_one = isinstance(says, ast.Constant) and says.value is True
        return "P82.handed_back" if takes_one and _hands_back(code, cls) else "P82.named"
    asked = [node for node in every(own[1], ast.If) if _is_there(node.test)]
    cuts = [node for node in asked for part in node.body if _takes_last(part)]
    hands_on = any(call_name(call) == PREPARES for call in calls(own[1]))
    return "P82.prepares_last" if cuts and not hands_on else ""


def _is_there(test: ast.expr) -> bool:
    """past_key_values is not None"""
    return (
        isinstance(test, ast.Compare)
        and isinstance(test.left, ast.Name)
        and test.left.id == CACHE
        and isinstance(test.ops[0], ast.IsNot)
        and is_none(test.comparators[0])
    )


def _takes_last(statement: ast.stmt) -> bool:
    """input_ids = input_ids[:, -1:]"""
    for target, value in assignments(statement):
        if isinstance(target, ast.Name) and target.id == "input_ids" and isinstance(value, (ast.Subscript, ast.Call)):
            return any(ast.unparse(part) in ("-1", "-1:") for part in walk(value))
    return False


def _hands_back(code: ReachableCode, cls: str) -> bool:
    """Whether what forward gives has the cache that it was handed."""
    definition = code.folder.method(cls, "forward")
    return definition is not None and any(
        k.arg == CACHE and isinstance(k.value, ast.Name) and k.value.id == CACHE
        for call in calls(definition[1])
        for k in call.keywords
        if call_name(call)[:1].isupper()
    )


def _keeps_state(code: ReachableCode) -> bool:
    """Whether some forward keeps anything on its own object: what came before may be there."""
    for cls in code.torch_modules:
        for function in code.folder.classes[cls][1].body:
            if isinstance(function, ast.FunctionDef) and not function.name.startswith(("__init__", "_init_weights")):
                stores = [n for n in every(function, ast.Attribute) if isinstance(n.ctx, ast.Store)]
                if function.name.startswith(("set_", "_set_", "enable_", "disable_", "gradient_", "resize_")):
                    continue
                if stores or any(call_name(c) in ("register_buffer", "setattr") for c in calls(function)):
                    return True
    return False


class _Unused:
    """Whether functions do anything with a cache but hand it on, hand it back, and ask whether it is there."""

    def __init__(self, code: ReachableCode):
        self.code = code
        self.seen: set[tuple[str, str]] = set()

    def uses(self, cls: str, function: ast.FunctionDef, name: str, depth: int) -> bool:
        """Whether a forward of a class uses the value of an argument; yes where that cannot be decided."""
        if depth > DEEP or function.args.vararg is not None:
            return True
        if (cls, name) in self.seen:
            return False
        self.seen.add((cls, name))
        harmless = {part for node in every(function, ast.Compare) if _asks(node) for part in walk(node)}
        for call in every(function, ast.Call):
            if call_name(call) in ("locals", "vars", "eval"):
                return True
            given = [*call.args, *(k.value for k in call.keywords)]
            held = {value for value in given if isinstance(value, ast.Name) and value.id == name}
            if held and not self._call_uses(cls, function, call, name, depth):
                harmless |= held
        for target, value in (pair for node in walk(function) for pair in assignments(node)):
            if isinstance(target, ast.Name) and target.id == name and not is_none(value):
                return True
        for node in every(function, ast.Return):
            harmless |= {part for part in walk(node) if _is_name(part, name) and not _read(node, part)}
        asks_length = [c for c in calls(function) if call_name(c) == "get_seq_length"]  # which stays 0
        harmless |= {part for call in asks_length for part in walk(call.func)}
        loads = [n for n in every(function, ast.Name) if n.id == name and isinstance(n.ctx, ast.Load)]
        texts = [n for n in every(function, ast.Constant) if string(n) == name]
        return bool(texts) or any(node not in harmless for node in loads)

    def _call_uses(self, cls: str, function: ast.FunctionDef, call: ast.Call, name: str, depth: int) -> bool:
        """Whether what is called does something with it: a module of the folder is followed, an output class not."""
        path = chain(call.func)
        if len(path) == 1 and path[0][:1].isupper() and "Output" in path[0]:
            return False
        parts = self._parts(cls, _of_loop(function, path))
        if not parts:
            return True
        for part in parts:
            forward = self.code.folder.method(part, "forward")
            if forward is None or any(isinstance(value, ast.Starred) for value in call.args):
                return True
            names = [each.arg for each in parameters(forward[1])][1:]
            places = [names[at] for at, v in enumerate(call.args) if _is_name(v, name) and at < len(names)]
            places += [k.arg for k in call.keywords if _is_name(k.value, name) and k.arg in names]
            given = sum(_is_name(v, name) for v in [*call.args, *(k.value for k in call.keywords)])
            if len(places) != given or any(self.uses(part, forward[1], place, depth + 1) for place in places):
                return True
        return False

    def _parts(self, cls: str, path: list[str]) -> list[str]:
        """The modules of the folder that self.attribute(...) can be; nothing where that is not sure."""
        if len(path) != 2 or path[0] != "self":
            return []
        return [part for part in self.code.torch_modules if path[1] in attributes_of(self.code, cls, part)]


def _of_loop(function: ast.FunctionDef, path: list[str]) -> list[str]:
    """self.layers for layer, where a loop goes over it: for number, layer in enumerate(self.layers)."""
    if len(path) != 1:
        return path
    for node in every(function, ast.For, ast.comprehension):
        if any(each.id == path[0] for each in every(node.target, ast.Name)):
            held = [chain(each) for each in every(node.iter, ast.Attribute)]
            return next((each for each in held if len(each) == 2 and each[0] == "self"), path)
    return path


def _asks(node: ast.Compare) -> bool:
    return isinstance(node.left, ast.Name) and len(node.ops) == 1 and is_none(node.comparators[0])


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _read(statement: ast.Return, name: ast.AST) -> bool:
    """Whether a part of what is returned reads it: past_key_values[0], past_key_values.to_legacy_cache(), f(past)."""
    holders = [*every(statement, ast.Attribute, ast.Subscript)]
    inside = [c for c in calls(statement) if "Output" not in call_name(c)]
    given = [v for c in inside for v in [*c.args, *(k.value for k in c.keywords)]]
    return any(holder.value is name for holder in holders) or any(value is name for value in given)
