"""The other lowering: a class stays a subclass of what it was made from, under a private name, with a real super().

How it works
- `class MyMLP(LlamaMLP)` becomes `class _BaseMyMLP(nn.Module)`, the renamed LlamaMLP, and `class MyMLP(_BaseMyMLP)`
  with what the modular file says. Neither texts of methods are joined nor arguments bound, so Python itself says what
  super() means: verification compares what this computes with what the joined classes compute.
- What a modular file says and Python cannot stays joined: a later assignment that takes the place of the parent's and
  that the parent goes on to read, attributes that are removed before the parent reads them, and code after an early
  return. Configurations stay joined too: their fields are set by the __init__ that is made of all of them.
"""

import ast
import re
from dataclasses import replace

from pinfold.convert.merge.functions import (
    are_functions,
    deleted_targets,
    function_parts,
    own_scope,
    parameters,
    read_names,
    split_function,
    stored_names,
    target_of,
)
from pinfold.convert.merge.members import Body, Member, raises_attribute_error
from pinfold.convert.merge.signatures import with_parents_marks, with_parents_signature
from pinfold.convert.merge.supers import statement_super, undecorated
from pinfold.convert.read.model import Definition, Vendored, global_names, kind_of
from pinfold.convert.read.workspace import Conversion

BASE = "_Base"


def subclass(
    conversion: Conversion, vendored: Vendored, child: Body, parent: Body, merged: Body, origin: str
) -> Body | None:
    """The class as a subclass, its base added to the conversion's definitions; None where it cannot be one.

    Args:
        merged: the class in which both are joined.
        origin: what the base is made from.
    """
    if not conversion.keep or kind_of(child.name) != "modeling":
        return None
    if all(m.kind in ("pass", "docstring") for m in child.members):
        return None
    if any(re.search(r"\.(setter|deleter|getter)\b", m.text.split("def ")[0]) for m in child.members):
        return None  # a property's setter here, the property there
    inherited = {m.key for m in parent.members}
    removed = {m.key for m in child.members if raises_attribute_error(m.node)} & inherited
    base = BASE + child.name
    joined = {m.key: m for m in merged.members}
    members: list[Member] = []
    called: dict[str, str] = {}  # the parent's methods that super() calls
    for member in child.members:
        if member.key in removed or member.kind == "pass":
            continue
        theirs = parent.find(member.key)
        if theirs is None or not are_functions(member.node, theirs.node):
            members.append(member)
        elif says_more_than_python(member, theirs, child):
            if re.search(r"_inherited\d*_", joined[member.key].text):
                return None
            # its super() came with the parent's text, and means what is above the base
            text = re.sub(r"\bsuper\(\)", f"super({base}, self)", joined[member.key].text)
            members.append(replace(joined[member.key], text=text))
        else:
            members.append(marked(member, theirs))
            called[theirs.key] = undecorated(theirs, function_parts(members[-1].text)[0])
    of_base = [
        replace(m, text=own_super(called.get(m.key, m.text), parent.name, base))
        for m in parent.members if m.key not in removed
    ]  # fmt: skip
    text = Body(base, [], parent.bases, of_base).text()
    # the class itself keeps its name everywhere else: isinstance(module, MyMLP)
    if parent.name != child.name:
        text = re.sub(rf"\b{re.escape(parent.name)}\b", child.name, text)
    conversion.definitions[base] = Definition(
        base, text, "class", (0, -1 - len(conversion.definitions)), vendored, (base,), global_names(text), origin
    )
    return Body(child.name, merged.decorators, base, members)


def own_super(text: str, old: str, base: str) -> str:
    """`super(LlamaModel, self)` in the base names the base."""
    return re.sub(rf"\bsuper\(\s*{re.escape(old)}\s*,", f"super({base},", text)


def marked(member: Member, theirs: Member) -> Member:
    """The child's method with the parent's decorators, and its parameters for `**super_kwargs`."""
    node, lines = function_parts(member.text)
    their_node, their_lines = function_parts(theirs.text)
    if node.args.kwarg and node.args.kwarg.arg == "super_kwargs":
        node, lines = with_parents_signature(node, lines, their_node, their_lines)
    else:
        node, lines = with_parents_marks(node, lines, their_node, their_lines)
    return replace(member, text="\n".join(lines[1:]))


def says_more_than_python(member: Member, theirs: Member, child: Body) -> bool:
    """Whether a method follows the rules of modular files where Python's differ."""
    node, _ = function_parts(member.text)
    their_node, their_lines = function_parts(theirs.text)
    if node.args.kwarg and node.args.kwarg.arg == "super_kwargs":
        return False
    calls = [n for n in node.body if statement_super(n, node.name) is not None]
    if len(calls) != 1:
        return False
    _, rows = split_function(their_node, their_lines)
    after = node.body[node.body.index(calls[0]) + 1 :]
    if any(isinstance(n, ast.Return) for m in rows for n in own_scope(m.node)) and after:
        return True
    gone = {name.removeprefix("self.") for n in after for name in deleted_targets(n)}
    if gone & {m.key for m in child.members}:
        return True  # what the parent sets is a property here, which Python would not let it set
    # locals that the parent has as well are shared, by the rule that both methods are one
    read = {ast.unparse(n) for s in after for n in ast.walk(s) if isinstance(n, ast.Name)}
    if read & (stored_names([m.node for m in rows]) - set(parameters(node))):
        return True
    changed = {target_of(n) for n in after} | {name for n in after for name in deleted_targets(n)}
    changed |= {
        ast.unparse(n) for s in after for n in own_scope(s)
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, (ast.Store, ast.Del))
    }  # fmt: skip
    return any(changed & read_names(m.node) for m in rows)
