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

from pinfold.convert import build
from pinfold.convert.merge import merge

BASE = "_Base"


def subclass(conversion, vendored, child: merge.Body, parent: merge.Body, merged: merge.Body, where: str, origin: str):
    """The class as a subclass, its base added to the conversion's definitions; None where it cannot be one."""
    if not conversion.keep or build.kind_of(child.name) != "modeling":
        return None
    if not any(m.kind != "pass" and m.kind != "docstring" for m in child.members):
        return None
    inherited = {m.key for m in parent.members}
    if any(re.search(r"\.(setter|deleter|getter)\b", m.text.split("def ")[0]) for m in child.members):
        return None  # a property's setter here, the property there
    removed = {m.key for m in child.members if merge.raises_attribute_error(m.node)} & inherited
    base = BASE + child.name
    members, joined, called = [], {m.key: m for m in merged.members}, {}
    for member in child.members:
        if member.key in removed or member.kind == "pass":
            continue
        theirs = parent.find(member.key)
        if theirs is None or not merge.are_functions(member.node, theirs.node):
            members.append(member)
        elif says_more_than_python(member, theirs, child):
            if re.search(r"_inherited\d*_", joined[member.key].text):
                return None
            # its super() came with the parent's text, and means what stands above the base
            text = re.sub(r"\bsuper\(\)", f"super({base}, self)", joined[member.key].text)
            members.append(replace(joined[member.key], text=text))
        else:
            members.append(marked(member, theirs))
            called[theirs.key] = merge.undecorated(theirs, merge.function_parts(members[-1].text)[0])
    above = [
        replace(m, text=own_super(called.get(m.key, m.text), parent.name, base))
        for m in parent.members if m.key not in removed
    ]  # fmt: skip
    text = merge.Body(base, [], parent.bases, above).text()
    # the class itself keeps its name everywhere else: isinstance(module, MyMLP)
    if parent.name != child.name:
        text = re.sub(rf"\b{re.escape(parent.name)}\b", child.name, text)
    made = build.Definition(
        base, text, "class", (0, -1 - len(conversion.definitions)), vendored, (base,), build.global_names(text), origin
    )
    conversion.definitions[base] = made
    return merge.Body(child.name, merged.decorators, base, members)


def own_super(text: str, old: str, base: str) -> str:
    """`super(LlamaModel, self)` of the base speaks of the base."""
    return re.sub(rf"\bsuper\(\s*{re.escape(old)}\s*,", f"super({base},", text)


def marked(member: merge.Member, theirs: merge.Member) -> merge.Member:
    """The child's method with the parent's decorators, and its parameters for `**super_kwargs`."""
    node, lines = merge.function_parts(member.text)
    their_node, their_lines = merge.function_parts(theirs.text)
    if node.args.kwarg and node.args.kwarg.arg == "super_kwargs":
        node, lines = merge.with_parents_signature(node, lines, their_node, their_lines)
    else:
        node, lines = merge.with_parents_marks(node, lines, their_node, their_lines)
    return replace(member, text="\n".join(lines[1:]))


def says_more_than_python(member: merge.Member, theirs: merge.Member, child: merge.Body) -> bool:
    """Whether a method follows the rules of modular files where Python's differ."""
    node, _ = merge.function_parts(member.text)
    their_node, their_lines = merge.function_parts(theirs.text)
    if node.args.kwarg and node.args.kwarg.arg == "super_kwargs":
        return False
    calls = [n for n in node.body if merge.statement_super(n, node.name) is not None]
    if len(calls) != 1:
        return False
    _, rows = merge.split_function(their_node, their_lines)
    after = node.body[node.body.index(calls[0]) + 1 :]
    if any(isinstance(n, ast.Return) for m in rows for n in merge.own_scope(m.node)) and after:
        return True
    gone = {name.removeprefix("self.") for n in after for name in merge.deleted(n)}
    if gone & {m.key for m in child.members}:
        return True  # what the parent sets is a property here, which Python would not let it set
    # locals that the parent has as well are shared, by the rule that both methods are one
    mine = {ast.unparse(n) for s in after for n in ast.walk(s) if isinstance(n, ast.Name)}
    if mine & (merge.stored([m.node for m in rows]) - set(merge.parameters(node))):
        return True
    changed = {merge.target_of(n) for n in after} | {name for n in after for name in merge.deleted(n)}
    changed |= {
        ast.unparse(n) for s in after for n in merge.own_scope(s)
        if isinstance(n, ast.Attribute) and isinstance(n.ctx, (ast.Store, ast.Del))
    }  # fmt: skip
    return any(changed & merge.reads(m.node) for m in rows)
