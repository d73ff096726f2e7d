"""One class from two: the parent's renamed text, and what the subclass changes in it."""

from dataclasses import replace

from pinfold.convert.merge.functions import FUNCTIONS, are_functions, function_parts
from pinfold.convert.merge.members import Body, Member, raises_attribute_error
from pinfold.convert.merge.supers import other_supers
from pinfold.convert.merge.unroll import unroll


def merge_class(child: Body, parent: Body) -> Body:
    """The class that `class child(parent)` describes, without `parent`.

    Members that both have come in the parent's order; the child's own values go in front of the methods and its own
    methods behind them; the parent's methods that super() still calls are last, under private names.
    """
    merged, called = parents_members(child, parent)
    added, called_too = added_members(child, parent)
    docstring = [m for m in added if m.kind == "docstring"]
    values = [m for m in added if m.kind in ("value", "other")]
    methods = [m for m in added if m.kind == "method"]
    at = next((i for i, m in enumerate(merged) if m.kind == "method"), len(merged))
    inherited = {m.key: m for m in reversed([*called, *called_too])}  # of several with one key the first
    ordered = [inherited.pop(m.key) for m in [*called, *called_too] if m.key in inherited]
    body = [*docstring, *merged[:at], *values, *merged[at:], *methods, *ordered]
    marks = [d for d in child.decorators if d.strip() != "@no_inherit_decorator"]
    decorated = any(not line.startswith("#") for d in child.decorators for line in d.splitlines())
    return Body(child.name, marks if decorated else parent.decorators, parent.bases, body)


def parents_members(child: Body, parent: Body) -> tuple[list[Member], list[Member]]:
    """The parent's members as the child changes them, and those that the child's methods still call."""
    merged: list[Member] = []
    called: list[Member] = []
    for member in parent.members:
        own = child.find(member.key) if member.kind != "pass" else None
        if own is None:
            merged.append(member)
        elif raises_attribute_error(own.node):
            continue
        elif member.kind == "docstring":
            merged.append(own)
        elif own.kind == "method" and member.kind == "method" and are_functions(own.node, member.node):
            text, more = unroll(own, member, parent)
            called += more
            merged.append(replace(own, text=text))
        else:
            merged.append(replace(own, spaced=member.spaced))
    return merged, called


def added_members(child: Body, parent: Body) -> tuple[list[Member], list[Member]]:
    """What only the child has, and the parent's members that its methods call."""
    inherited = {m.key for m in parent.members if m.kind != "pass"}
    added: list[Member] = []
    called: list[Member] = []
    for member in child.members:
        if member.key in inherited or member.kind == "pass":
            continue
        if member.kind != "method" and raises_attribute_error(member.node):
            continue  # what is removed was not there
        if isinstance(member.node, FUNCTIONS):
            text, more = other_supers(*function_parts(member.text), parent)
            called += more
            member = replace(member, text=text)
        added.append(member)
    return added, called
