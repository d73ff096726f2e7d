"""Arguments of forward that are a dict or a list of tensors: which keys a forward asks for.

How it works:
- forward is run on a dict that writes down each key that it is asked for. What it gives for a key that is new may stop
  forward there; then the layer that this key reaches says what goes in, and forward is run again.
- The tensors of such arguments are then looked at one by one, under names such as "features.user", as if each were an
  argument of its own: ``Apart`` puts them together again.
"""

import ast
import contextlib
import inspect
import textwrap
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from . import declared

MOST, LISTED = 32, 8  # keys; those that a message names
SEVERAL = 2  # tensors of a list whose annotation does not say how many
ANY = {"shape": [2], "values": "ramp", "below": 2}  # goes in for a key that is asked for the first time


class Apart:
    """A model whose forward takes each tensor of its dicts and lists by itself.

    Args:
        structure: name of an argument -> the keys that it has, a number for a list; other arguments are as they are.
    """

    def __init__(self, model, structure: dict[str, list[str] | int]):
        self.model, self.structure = model, structure

    def __getattr__(self, name: str):
        return getattr(self.model, name)

    def __call__(self, **tensors):
        return self.model(**self.together(tensors))

    def described(self) -> str:
        """Which arguments are dicts and lists, for a message."""
        said = []
        for name, inside in self.structure.items():
            if isinstance(inside, int):
                said.append(f"{name} is a list of tensors")
            else:
                more = f" and {len(inside) - LISTED} more" if len(inside) > LISTED else ""
                said.append(f"{name} is a dict of tensors with the keys {', '.join(inside[:LISTED])}{more}")
        return f"; {', '.join(said)}"

    def places(self, name: str) -> list[str]:
        """What an argument is called here: by its own name, or by those of the tensors in it."""
        inside = self.structure.get(name)
        keys = range(inside) if isinstance(inside, int) else inside
        return [name] if keys is None else [f"{name}.{key}" for key in keys]

    def together(self, values: dict[str, Any]) -> dict[str, Any]:
        """The arguments, from what goes in at each place; keys and places in their own order."""
        arguments = {}
        for name in dict.fromkeys(name.partition(".")[0] for name in values):
            inside = {place.partition(".")[2]: values[place] for place in self.places(name) if place in values}
            is_list = isinstance(self.structure.get(name), int)
            arguments[name] = list(inside.values()) if is_list else inside if name in self.structure else values[name]
        return arguments


class Asked(dict):
    """Inputs that write down the keys that are asked for; what is not in there is another tensor each time.

    Args:
        named: the keys that it seems to have where forward takes them all.
    """

    def __init__(self, values: dict, other: Callable[[], Any], named: Sequence[str]):
        super().__init__(values)
        self.other, self.named, self.keys_asked = other, named, list(values)

    def _ask(self, key):
        if isinstance(key, str) and key not in self.keys_asked:
            self.keys_asked.append(key)

    def __missing__(self, key):
        self._ask(key)
        return self.other()

    def get(self, key, default=None):
        return self[key]

    def __contains__(self, key) -> bool:
        self._ask(key)
        return True

    def _all(self) -> dict:
        for key in self.named if not self.keys_asked else ():
            self._ask(key)
        return {key: super(Asked, self).get(key, self.other()) for key in self.keys_asked}

    def keys(self):
        return self._all().keys()

    def values(self):
        return self._all().values()

    def items(self):
        return self._all().items()

    def __iter__(self):
        return iter(self._all())


def structure(
    model, arguments: Mapping[str, inspect.Parameter], words_of: Callable, is_small: bool
) -> dict[str, list[str] | int]:
    """Which arguments are dicts or lists of tensors, and what is in them; nothing where none is.

    Args:
        words_of: the declaration that is likeliest, of a model, a name there, an argument and what goes in beside it.
        is_small: forward is run for it.
    """
    inside: dict[str, list[str] | int] = {}
    for name, argument in arguments.items():
        if count := _listed(argument):
            inside[name] = count
    for name in arguments:
        if name in inside:
            continue
        keys = _written(model, name)
        if is_small:
            keys = _keys(model, name, arguments, dict(inside), words_of, keys)
        if keys:
            inside[name] = keys
    return inside


def inner(argument: inspect.Parameter) -> inspect.Parameter:
    """The argument with the annotation of a tensor in it."""
    for each in (argument.annotation, *typing.get_args(argument.annotation)):
        if is_dict_or_list(each):
            return argument.replace(annotation=typing.get_args(each)[-1] if typing.get_args(each) else each)
    return argument


def is_dict_or_list(annotation) -> bool:
    """Whether an annotation says that it is one, with what in it."""
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, (Mapping, Sequence))


def is_said(argument: inspect.Parameter) -> bool:
    """Whether the annotation says that it is one, or None."""
    each = argument.annotation
    inside = [one for one in typing.get_args(each) if one is not type(None)]
    return is_dict_or_list(each) or (len(inside) == 1 and is_dict_or_list(inside[0]))


def _listed(argument: inspect.Parameter) -> int:
    """How many tensors a list or a tuple has by its annotation; 0 for another argument."""
    annotations = [argument.annotation, *typing.get_args(argument.annotation)]
    for each in annotations:
        inner = [one for one in typing.get_args(each) if one is not Ellipsis]
        if typing.get_origin(each) in (list, tuple, Sequence) and inner and _is_tensor(inner[0]):
            is_counted = typing.get_origin(each) is tuple and Ellipsis not in typing.get_args(each)
            return len(inner) if is_counted else SEVERAL
    return 0


def _is_tensor(annotation) -> bool:
    return "Tensor" in str(annotation)


def _keys(model, name: str, arguments: Mapping, inside: dict, words_of: Callable, written: list[str]) -> list[str]:
    """The keys of a dict that forward takes, in the order in which it asks for them.

    Args:
        inside: the other arguments that are dicts or lists. written: keys that the source has.
    """
    import torch
    from torch import nn

    apart, argument = Apart(model, inside), inner(arguments[name])
    places = {
        place: inner(each) for other, each in arguments.items() if other != name for place in apart.places(other)
    }
    others = {place: words_of(apart, place, each, {}) for place, each in places.items()}
    beside = apart.together({place: declared.made(each) for place, each in others.items()})
    parts = [part for part in model.modules() if isinstance(part, (nn.ModuleDict, nn.ParameterDict))]
    names = list(dict.fromkeys(key for part in parts for key in part))
    words: dict[str, dict] = {}
    for _ in range(MOST):
        asked = Asked({key: declared.made(each) for key, each in words.items()}, lambda: declared.made(ANY), names)
        with contextlib.suppress(Exception), torch.no_grad():  # it may go no further than the first key
            model(**declared.in_own_type(model, beside), **{name: asked})
        new = [key for key in dict.fromkeys((*asked.keys_asked, *written)) if key not in words]
        if not new or len(words) >= MOST:
            break
        words |= dict.fromkeys(new, ANY)
        apart = Apart(model, {**inside, name: list(words)})
        for key in new:
            in_dict = {f"{name}.{other}": each for other, each in words.items() if other != key}
            words[key] = words_of(apart, f"{name}.{key}", argument, {**others, **in_dict})
    return list(words)


def _written(model, name: str) -> list[str]:
    """Keys that forward's source asks this argument for, where they are written there as text."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(type(model).forward)))
    except (OSError, TypeError, SyntaxError):  # of a class that was made in memory
        return []
    keys = []
    for node in ast.walk(tree):
        key = None
        if isinstance(node, ast.Subscript):
            key = node.slice if getattr(node.value, "id", None) == name else None
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            key = node.args[0] if node.args and getattr(node.func.value, "id", None) == name else None
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            keys.append((node.lineno, node.col_offset, key.value))
    return list(dict.fromkeys(key for *_, key in sorted(keys)))
